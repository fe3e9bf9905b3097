from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gnas.cli import app
from gnas.data import BenchmarkTable, save_table
from tests.data.conftest import drawn_records, frame, make_table


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GNAS_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def run(*args: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["data", *args])
    return result.exit_code, result.stdout, result.stderr


def test_from_file_to_table(folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "nasbench.tfrecord"
    source.write_bytes(b"".join(frame(content) for content in drawn_records(rows=3)))
    code, out, _ = run("convert", "nasbench101", str(source))
    assert code == 0
    assert "3 cells, self-made" in out
    code, out, _ = run("list", "--json", "-")
    rows = {row["name"]: row for row in json.loads(out)["rows"]}
    assert (code, rows["nasbench101"]["state"]) == (0, "table")
    code, out, _ = run("verify", "nasbench101", "--json", "-")
    facts = json.loads(out)["table"]
    assert (code, facts["rows"], facts["path"]) == (0, 3, str(folder / "nasbench101.parquet"))


def test_addresses_are_shown_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = run("list")
    where = "".join(line.split("│")[4].strip() for line in out.splitlines() if "│" in line)
    assert "https://github.com/google-research/nasbench" in where


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("verify", "nope"), 1, "table 'nope' not found"),
        (("convert", "nope"), 1, "unknown source 'nope'"),
        (("convert", "nasbench101"), 1, "run `gnas data fetch nasbench101`"),
        (
            ("convert", "nasbench101", "/dev/null"),
            1,
            "must be a TFRecord file, but: it is a device",
        ),
        (("fetch", "nasbench201"), 1, "has no direct address"),
        (("fetch",), 2, "Missing argument"),
        (("polish",), 2, "No such command"),
    ],
)
def test_errors_take_one_line(args: tuple[str, ...], code: int, message: str) -> None:
    found, out, err = run(*args)
    assert (found, out) == (code, "")
    assert message in err
    assert code == 2 or len(err.splitlines()) == 1


BEFORE_TORCH = """
import json, sys
sys.modules["torch"] = None
from typer.testing import CliRunner
from gnas.cli import app
done = [CliRunner().invoke(app, ["data", *words]) for words in json.loads(sys.argv[1])]
print(json.dumps([[one.exit_code, one.stderr] for one in done]))
"""


def test_paths_are_looked_into_before_torch_is_imported(tmp_path: Path) -> None:
    for name in ("empty", "damaged", "images/a", "images/b"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "damaged" / "000000.pickle.pbz2").write_text("no")
    (tmp_path / "empty.tfrecord").touch()
    for name in "ab":
        (tmp_path / "images" / name / "0.png").touch()
    a_folder = "must be a NATS-tss 'simple' folder with files like 000000.pickle.pbz2, but"
    expected = {
        ("verify", "empty"): f"empty {a_folder} has none",
        ("verify", "damaged"): "000000.pickle.pbz2 must be an intact bz2 file, but is not",
        ("verify", "empty.tfrecord"): "empty.tfrecord must hold at least one record, but is empty",
        ("convert", "nasbench201", "empty.tfrecord"): f"empty.tfrecord {a_folder} is no folder",
        ("convert", "nasbench201", "damaged"): "must be an intact bz2 file",
        ("convert", "nasbench101", "empty.tfrecord"): "must hold at least one record",
        ("subset", "empty", "--out", "list.txt"): "for each of at least 2 classes, but empty has",
        ("subset", "images", "--out", "list.txt"): "",
    }
    done = subprocess.run(
        [sys.executable, "-c", BEFORE_TORCH, json.dumps([*expected])],
        cwd=tmp_path, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    for (code, line), message in zip(json.loads(done.stdout), expected.values(), strict=True):
        assert code == bool(message) and message in line and line.count("\n") == code


def test_a_damaged_table(folder: Path, small_table_path: Path) -> None:
    content = small_table_path.read_bytes()
    small_table_path.write_bytes(content[:-9])
    code, _, err = run("verify", str(small_table_path))
    assert code == 1
    assert err.startswith("error: ")
    assert "must be an intact Parquet file" in err


@pytest.fixture
def small_table_path(tmp_path: Path) -> Path:
    table: BenchmarkTable = make_table(rows=5)
    save_table(table, tmp_path / "small.parquet")
    return tmp_path / "small.parquet"
