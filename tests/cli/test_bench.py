from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from gnas.cli import app
from gnas.data import BenchmarkTable, Column, Provenance, save_table
from gnas.spaces import NASBench101


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Cells whose accuracies grow with their edges, in a table that says what it is."""
    rng = np.random.default_rng(4)
    graphs = NASBench101().enumerate()[:2500]
    graphs = graphs[torch.from_numpy(rng.choice(2500, 60, replace=False))]
    true = 0.8 + 0.01 * graphs.adjacency.sum((1, 2)).double().numpy()
    columns = [Column.of(f"{split}_acc", epochs=1, run=1) for split in ("val", "test")]
    values = {column.name: true + rng.normal(0, 0.002, 60) for column in columns}
    facts = Provenance("small", "nasbench101", "drawn", "self-made", "It means nothing.")
    path = tmp_path_factory.mktemp("tables") / "small.parquet"
    save_table(BenchmarkTable(graphs, columns, facts, values), path)
    return str(path)


QUICK = ["--samples", "20", "--seeds", "2", "--encoders", "none"]


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["bench", "nasbench101", *arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("width", [80, 120])
def test_names_are_whole_at_any_common_width(
    table: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    code, out, _ = run(*QUICK, "--table", table)
    assert code == 0
    for name in ("random forest", "number of parameters", "Kendall tau", "bias %"):
        assert name in out
    assert ("Spearman " in out) == (width == 120)
    assert max(map(len, out.splitlines())) <= width


@pytest.mark.pictures
def test_the_command_prints_and_writes_one_result(
    table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)  # as in a pipe: the full table
    file, folder = tmp_path / "r.json", tmp_path / "run"
    outputs = ["--seeds", "5", "--json", str(file), "--out", str(folder)]
    code, out, err = run(*QUICK, "--table", table, *outputs)
    assert code == 0, err
    assert err == ""
    for text in ("small: SELF-MADE, 60 cells", "It means nothing.", "60 labelled cells usable",
                 "20 samples, 5 seeds", "random forest", "number of parameters", "Ceiling",
                 "random pick", "bias %", "± is half the 95% interval over seeds."):  # fmt: skip
        assert text in out
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 120
    record = json.loads(file.read_text())
    assert record == json.loads((folder / "result.json").read_text())
    assert record["command"] == "bench nasbench101"
    assert record["config"]["samples"] == [20]
    forest = next(row for row in record["rows"] if row["predictor"] == "random forest")
    mean, high = forest["kendall_tau"]["mean"], forest["kendall_tau"]["high"]
    assert f"{mean:.3f}±{high - mean:.3f}" in out
    assert f"{100 * forest['global_bias']['mean']:.2f}±" in out
    config = json.loads((folder / "config.json").read_text())
    assert config["table"]["sha256"] == record["table"]["sha256"]
    for name in ("bias", "kendall_tau"):
        assert (folder / "figures" / f"{name}.png").stat().st_size > 5000
        assert (folder / "figures" / f"{name}.svg").stat().st_size > 5000


def test_json_on_stdout_is_nothing_but_json(table: str, capfd: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(*QUICK, "--seeds", "1", "--table", table, "--json", "-")
    assert code == 0
    assert json.loads(out)["rows"][0]["kendall_tau"]["low"] is None
    assert "20 samples, 1 seed" in err
    assert "1 seed: no intervals, which need 5." in err and "±" not in err
    assert "\x1b" not in err
    assert capfd.readouterr() == ("", "")  # libraries print past Python


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--samples", "0"], "samples[0] must be at least 2, but got 0"),
        (["--samples", "-3"], "samples[0] must be at least 2, but got -3"),
        (
            ["--samples", "500"],
            "samples must be at most 50, which leaves 10 of the 60",
        ),
        (["--samples", "20,500"], "to rank, but got 500"),
        (["--encoders", "a.safetensors,a.safetensors"], "encoders must differ, but got ['a."),
        (["--encoders", "word2vec"], "unknown encoder 'word2vec'; choose from"),
        (["--table", "no-such.parquet"], "no-such.parquet must be a Parquet file, but is no file"),
        (["--table", "cells.csv"], "cells.csv must be a Parquet file, but is no file"),
        (["--table", "/"], "/ must be a Parquet file, but is a folder"),
        (["--table", "."], ". must be a Parquet file, but is a folder"),
    ],
)
def test_bad_values_are_one_line(arguments: list[str], message: str, table: str) -> None:
    known = [] if "--table" in arguments else ["--table", table]
    plain = [] if "--encoders" in arguments else ["--encoders", "none"]
    code, out, err = run(*arguments, *known, *plain)
    assert code == 1
    assert out == ""
    assert err.startswith("error: ") and err.count("\n") == 1
    assert message in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--samples", "many"],
        ["--samples", "1.5"],
        ["--seeds", "x"],
        ["--ops", "some"],
        ["--nope"],
        ["--seeds", "0"],
        ["--pool", "9"],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    code, out, err = run(*arguments)
    assert code == 2
    assert out == ""
    assert arguments[0] in err


def test_unwritable_outputs_are_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    for option in ("--json", "--out"):
        target = tmp_path / "file" / "below"
        code, _, err = run("--table", "no-such.parquet", option, str(target))
        assert code == 1
        assert err.count("\n") == 1 and "must be writable" in err
    assert (tmp_path / "file").read_text() == "kept"
    code, _, err = run("--table", "no-such.parquet", "--out", str(tmp_path / "file"))
    assert code == 1 and err.endswith("file: it is a file\n")
    code, _, err = run("--table", "no-such.parquet", "--json", str(tmp_path))
    assert code == 1 and "is a folder" in err


def test_the_command_on_published_accuracies_is_announced_as_partial(
    shared_data: object,
) -> None:
    assert callable(shared_data)
    path = shared_data("nasbench101/nasbench101_partial.parquet")
    code, out, err = run("--samples", "50", "--seeds", "1", "--encoders", "none",
                         "--table", str(path), "--pool", "300")  # fmt: skip
    assert code == 0, err
    assert "PARTIAL, 4,400 cells" in out
    assert "4,400 labelled cells usable, 300 of them candidates" in out
    assert "0.941" in out


def test_searchers_that_do_the_same_are_named(table: str) -> None:
    """The table has few neighbours of its cells: local search restarts at once."""
    small = ["--table", table, "--budget", "8", "--seeds", "2"]
    found = CliRunner().invoke(
        app, ["bench", "search", "nasbench101", *small, "--searchers", "random,local,evolution"]
    )
    assert found.exit_code == 0, found.output
    assert "random, local, evolution: the same regrets after every query" in found.stdout
    alone = CliRunner().invoke(
        app, ["bench", "search", "nasbench101", *small, "--searchers", "random"]
    )
    assert "the same regrets" not in alone.stdout
