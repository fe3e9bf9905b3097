from __future__ import annotations

import json
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
