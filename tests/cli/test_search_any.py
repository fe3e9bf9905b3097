"""``gnas search random|evolution|local|predictor|bayes`` as users call it."""

from __future__ import annotations

import html
import json
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from gnas.cli import app
from gnas.cli.architectures import read_architecture
from gnas.cli.search_any import HELP
from gnas.command_line import command_line, override_command_line
from gnas.data import BenchmarkTable, Column, Provenance, save_table
from gnas.search import SEARCHERS, read_result, run_search
from gnas.spaces import NASBench201
from tests import commands
from tests.cli.conftest import without_pictures

run = CliRunner().invoke


CELLS = 5**5
"""Architectures in tables: those whose first edge does nothing."""


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    graphs = NASBench201().enumerate()[:CELLS]
    adjacency = graphs.adjacency.sum((1, 2)).double().numpy()
    values = {
        Column.of("val_acc", dataset="cifar10-valid", epochs=200): adjacency / 40,
        Column.of("test_acc", dataset="cifar10", epochs=200): adjacency / 41,
        Column.of("val_acc", dataset="cifar100", epochs=200): adjacency / 50,
        Column.of("test_acc", dataset="cifar100", epochs=200): adjacency / 51,
    }
    facts = Provenance("made", "nasbench201", "a test", "self-made")
    by_name = {column.name: array for column, array in values.items()}
    path: Path = tmp_path_factory.mktemp("tables") / "made.parquet"
    save_table(BenchmarkTable(graphs, list(values), facts, by_name), path)
    return str(path)


def test_runs_of_one_second_have_folders_of_their_own(
    table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of `for seed in 0 1 2 3; do gnas search ... & done`."""
    monkeypatch.chdir(tmp_path)
    words = ["search", "random", "--space", "nasbench201", "--table", table, "--budget", "1"]
    for seed in range(8):
        done = run(app, [*words, "--seed", str(seed)])
        assert done.exit_code == 0, done.output
    folders = [*(tmp_path / "runs").iterdir()]
    assert len(folders) == 8
    assert {read_result(folder).config["seed"] for folder in folders} == {*range(8)}


def test_every_searcher_has_its_command() -> None:
    assert {*HELP} == {*SEARCHERS} - {"nasgem"}


@pytest.mark.pictures
@pytest.mark.parametrize("searcher", ["random", "bayes"])
def test_a_search_in_a_table(searcher: str, table: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["search", searcher, "--space", "nasbench201", "--table", table, "--budget", "14"]
    done = run(app, [*words, "--out", str(out), "--json", str(tmp_path / "result.json")])
    assert done.exit_code == 0, done.output
    found = read_result(out)
    head, *lines = done.stderr.splitlines()[-15:]
    assert head.split() == ["evaluation", "val_acc", "test_acc", "best"]
    best = -1.0
    for line, one in zip(lines, found.evaluations, strict=True):
        number, val_acc, _, *star = line.split()
        assert one.measures is not None and int(number) == one.number
        assert float(val_acc) == pytest.approx(one.measures["val_acc"], rel=1e-5)
        assert bool(star) == (one.measures["val_acc"] > best)
        best = max(best, one.measures["val_acc"])
    assert all(sign == "\n" or sign.isprintable() for sign in done.stderr)
    assert json.loads((tmp_path / "result.json").read_text()) == json.loads(
        (out / "result.json").read_text()
    )
    assert found.architecture in done.stdout and "14 evaluated in space nasbench201" in done.stdout
    assert found.config["evaluator"]["dataset"] == "cifar10"  # of several, said in the record
    assert found.metrics["val_acc"] == pytest.approx(found.metrics["test_acc"] * 41 / 40)
    assert (out / "figures" / "progress.png").stat().st_size > 10_000
    with without_pictures():
        again = run(app, ["search", searcher, "--resume", str(out), "--budget", "16"])
    assert again.exit_code == 0 and "16 evaluated" in again.stdout
    assert read_result(out).evaluations[:14] == found.evaluations
    shown = run(app, ["show", str(out), "--out", str(tmp_path / "pictures")])
    assert shown.exit_code == 0, shown.output
    pictures = {path.name for path in (tmp_path / "pictures").glob("*.svg")}
    assert pictures == {"progress.svg", "architecture.svg"}
    with without_pictures():
        other = run(app, [*words, "--dataset", "cifar100", "--out", str(tmp_path / "other")])
    assert other.exit_code == 0
    assert read_result(tmp_path / "other").config["evaluator"]["dataset"] == "cifar100"


def test_a_budget_that_leaves_nothing_to_choose(table: str, tmp_path: Path) -> None:
    words = ["search", "evolution", "--space", "nasbench201", "--table", table]
    said = "all 3 architectures will be drawn at random: a search by evolution chooses after its"
    for population, is_warned in ((3, True), (2, False)):
        more = ["--budget", "3", "--set", f"population={population}"]
        done = run(app, [*words, *more, "--out", str(tmp_path / str(population))])
        assert done.exit_code == 0 and (said in done.stderr) == is_warned


def test_a_front_and_a_member_of_it(table: str, tmp_path: Path) -> None:
    hardware = tmp_path / "hardware.parquet"
    graphs = NASBench201().enumerate()[:CELLS]
    edges = (graphs.adjacency > 0).sum((1, 2)).double().numpy()
    column, facts = Column.of("edge_latency_ms"), Provenance("hw", "nasbench201", "x", "self-made")
    save_table(BenchmarkTable(graphs, [column], facts, {column.name: 1 + edges}), hardware)
    out = tmp_path / "run"
    words = ["search", "predictor", "--space", "nasbench201", "--table", table, "--budget", "18"]
    words += ["--table", str(hardware), "--objective", "val_acc", "--objective", "edge_latency_ms"]
    done = run(app, [*words, "--at-most", "edge_latency_ms=6", "--out", str(out)])
    assert done.exit_code == 0, done.output
    found = read_result(out)
    assert len(found.front) > 2 and found.feasible and "member" in done.stdout
    assert (out / "figures" / "front.svg").exists()
    again = run(app, ["search", "predictor", "--resume", str(out)])
    assert again.exit_code == 0 and read_result(out).evaluations == found.evaluations
    text = read_architecture(str(out), member=1).text
    assert text == found.evaluations[found.front[1]].architecture != found.architecture
    trained = ["retrain", str(out), "--member", "1", "--dataset", "digits", "--epochs", "1"]
    trained += ["--set", "batch_size=400"]
    trained += ["--layers", "1", "--channels", "4", "--out", str(tmp_path / "trained")]
    done = run(app, trained)
    assert done.exit_code == 0, done.output
    record = json.loads((tmp_path / "trained" / "config.json").read_text())
    assert record["config"]["architecture"] == text
    wrong = run(app, ["retrain", str(out), "--member", "99"])
    assert wrong.exit_code == 1 and "member must be in [0, " in wrong.output


def test_a_search_by_trainings_with_settings(tmp_path: Path) -> None:
    words = ["search", "evolution", "--space", "nasgem", "--dataset", "digits", "--workers", "2"]
    settings = {"population": 2, "tournament": 1, "epochs": 1, "channels": 2, "percent": 30}
    words += [word for k, v in settings.items() for word in ("--set", f"{k}={v}")]
    done = run(app, [*words, "--budget", "4", "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    found = read_result(tmp_path / "run")
    assert found.config["searcher"]["population"] == 2
    read = "digits: 10 classes (0, 1, 2, ...); images: 323 for training, "
    assert done.stderr.count(read) == 1  # by the command, not by each of its workers
    data = json.loads((tmp_path / "run" / "config.json").read_text())["data"]
    assert data["read"].startswith(read) and data["parts"][0]["images"] == 323
    evaluator = found.config["evaluator"]
    assert evaluator["recipe"]["epochs"] == 1 and evaluator["images"]["percent"] == 30
    assert evaluator["network"] == {"channels": 2, "cells_per_stage": 1}
    assert found.params and found.macs and 0 < found.metrics["val_acc"] <= 1
    changed = run(app, ["search", "evolution", "--resume", str(tmp_path / "run"), "--seed", "1"])
    assert changed.exit_code == 1 and "seed is 0, not 1" in changed.output
    same = [
        "--seed",
        "0",
        "--objective",
        "val_acc:max",
        "--space",
        "nasgem",
        "--dataset",
        "digits",
    ]
    effective = {**settings, "parallel": 8, "num_stages": 3, "momentum": 0.9, "cells_per_stage": 1}
    same += [word for k, v in effective.items() for word in ("--set", f"{k}={v}")]
    done = run(app, ["search", "evolution", "--resume", str(tmp_path / "run"), *same])
    assert done.exit_code == 0, done.output  # what is so by default may be said
    assert read_result(tmp_path / "run").evaluations == found.evaluations
    for setting, message in {
        "populaton=2": "unknown setting 'populaton'; did you mean population?",
        "momentum=0.8": "momentum is 0.9, not 0.8",
        "cells_per_stage=2": "cells_per_stage is 1, not 2",
    }.items():
        words = ["search", "evolution", "--resume", str(tmp_path / "run"), "--set", setting]
        changed = run(app, words)
        assert changed.exit_code == 1 and message in changed.output
    changed = run(app, ["search", "random", "--resume", str(tmp_path / "run")])
    assert changed.exit_code == 1 and "a search by 'evolution', not by 'random'" in changed.output


def test_counts_are_shown_whole_and_other_numbers_with_six_digits(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "def worth(graph, *, seed):\n"
        "    return {'score': 1 / 3, 'macs': 1629440, 'big': 1e15, 'time_s': 0.0000123}\n"
    )
    words = [
        "search",
        "random",
        "--space",
        "nasbench201",
        "--evaluate",
        f"{tmp_path}/own.py:worth",
    ]
    done = run(app, [*words, "--budget", "1", "--out", str(tmp_path / "run")])
    numbers = ["0", "0.333333", "1629440", "1e+15", "1.23e-05"]
    assert [*numbers, "*"] in [line.split() for line in done.stderr.splitlines()]
    assert numbers in [line.split() for line in done.stdout.splitlines()]


def test_a_space_and_a_function_of_one_s_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from gnas.spaces import NASGEM\n\n\nclass Small(NASGEM):\n    name = 'small'\n\n"
        "    def __init__(self, nodes=3):\n        super().__init__(nodes)\n\n\n"
        "def worth(graph, *, seed):\n    return graph.num_edges\n"
    )
    words = ["search", "local", "--space", f"{file}:Small(nodes=5)", "--evaluate", f"{file}:worth"]
    done = run(app, [*words, "--budget", "12", "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    found = read_result(tmp_path / "run")
    assert found.space["name"] == "mine.py:Small" and len(found.space["sha256"]) == 64
    assert 5 <= found.metrics["score"] <= 10
    name = shlex.quote(f"{file}:Small(nodes=5)")
    assert f"next: gnas show {tmp_path}/run --space {name}\n" in done.output
    file.write_text(file.read_text() + "\n")
    changed = run(app, ["search", "local", "--resume", str(tmp_path / "run")])
    assert changed.exit_code == 1 and "is now" in changed.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dataset", "digits"], "--space must be given"),
        (["--space", "nasgem"], "must be evaluated in one way"),
        (["--space", "nasgem", "--dataset", "mars"], "unknown dataset 'mars'; choose from"),
        (["--space", "nasgem", "--table", "x", "--evaluate", "y"], "evaluated in one way"),
        (["--space", "nasgem", "--evaluate", "y.py:f", "--dataset", "digits"], "sees no --data"),
        (["--space", "mars", "--dataset", "digits"], "unknown space 'mars'; choose from"),
        (["--space", "nasgem", "--dataset", "digits", "--set", "speed=1"], "unknown setting 'sp"),
        (["--space", "nasgem", "--evaluate", "none.py:f"], "none.py must be a Python file"),
        (["--space", "nasgem", "--dataset", "digits", "--seed", "-1"], "seed must be a whole"),
        (["--space", "nasgem", "--table", "nasbench101"], "must hold architectures of nasgem"),
        (["--space", "nasbench101", *2 * ["--table", "nasbench101-mini"]],
         "every --table must add a measure, but nasbench101-mini adds none: of"),
        (["--space", "nasbench101", "--table", "nasbench101-mini", "--objective", "joy:max"],
         "nasbench101-mini: unknown measure 'joy'; choose from"),
        (["--space", "nasgem", "--dataset", "digits", "--set", f"epochs={'[' * 9999}"],
         "epochs must be a whole number"),
    ],
)  # fmt: skip
def test_wrong_usage(words: list[str], message: str, tmp_path: Path) -> None:
    done = run(app, ["search", "random", *words, "--out", str(tmp_path / "run")])
    assert done.exit_code in (1, 2) and message in " ".join(done.output.split())
    assert not (tmp_path / "run" / "config.json").exists()


def test_the_result_is_one_json_object(table: str, tmp_path: Path) -> None:
    words = ["search", "random", "--space", "nasbench201", "--table", table, "--budget", "3"]
    done = run(app, [*words, "--json", "-", "--out", str(tmp_path / "run")])
    record = json.loads(done.stdout)
    assert {"command", "config", "space", "architecture", "metrics", "params", "macs"} <= {*record}
    assert np.isfinite(record["metrics"]["val_acc"]) and record["front"] == [record["best"]]


@pytest.mark.pictures  # of the report
@pytest.mark.usefixtures("no_pictures")
def test_a_run_keeps_the_commands_that_began_and_resumed_it(table: str, tmp_path: Path) -> None:
    out = tmp_path / "a run"
    words = ["search", "random", "--space", "nasbench201", "--table", table, "--budget", "3"]
    words += ["--out", str(out), "--report"]

    def kept() -> list[object]:
        record = json.loads((out / "config.json").read_text())
        return [record["command_line"], *record.get("resumed_by", [])]

    lines = [shlex.join(["gnas", "--verbose", *words])]
    assert run(app, ["--verbose", *words]).exit_code == 0
    assert kept() == lines
    again = ["search", "random", "--resume", str(out), "--budget", "5"]
    lines.append(shlex.join(["gnas", *again]))
    for _ in range(2):  # once in the record
        ended = run(app, again)
        assert ended.exit_code == 0 and kept() == lines
    assert f"older than this result; write it again: gnas report '{out}'" in ended.stdout
    assert run(app, [*again, "--report"]).exit_code == 0
    result = (out / "result.json").read_bytes()  # nothing changes any more
    assert "older than this result" not in run(app, again).stdout
    assert (out / "result.json").read_bytes() == result
    page = html.unescape((out / "report.html").read_text())
    assert all(line in page for line in lines)
    python = tmp_path / "python"  # the command before is over: nothing was typed for this one
    run_search(NASBench201(), "random", lambda graph, *, seed: 1.0, budget=1, out=python)
    assert json.loads((python / "config.json").read_text())["command_line"] is None


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("postgresql://me:secret@host:5432/db", "postgresql://host:5432/db"),
        ("--storage=postgresql://me:se@cr/et@host/db", "--storage=postgresql://host/db"),
        ("postgresql+psycopg2:///db?user=me&password=secret", "postgresql+psycopg2:///db"),
        ("postgresql://me:se cr\net@host/db", "postgresql://host/db"),
        ("postgresql://host/db?password=my secret", "postgresql://host/db"),
        ("https://example.org/a.parquet#secret", "https://example.org/a.parquet"),
        ("runs/me@host", "runs/me@host"),
    ],
)
def test_a_recorded_command_has_no_password(typed: str, kept: str) -> None:
    with override_command_line(["worker", typed]):
        assert command_line() == f"gnas worker {shlex.join([kept])}"
    assert command_line() is None


def test_what_a_function_raises_is_told_as_text(tmp_path: Path) -> None:
    """Also by the worker's process, and where the function ends the program."""
    (tmp_path / "f[red].py").write_text(
        "import sys\n\n\ndef worth(graph, *, seed):\n    if graph.num_edges % 3 == 0:\n"
        "        raise ValueError('\\x1b[31m[/]\\nsecond')\n    if graph.num_edges % 3 == 1:\n"
        "        sys.exit(3)\n    return graph.num_edges\n"
    )
    words = ["search", "random", "--space", "nasgem(num_nodes=7)", "--evaluate", "f[red].py:worth"]
    done = commands.run(
        [sys.executable, "-m", "gnas", *words, "--budget", "12", "--out", "run"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "warning: candidate" in done.stderr and "\x1b" not in done.stderr + done.stdout
    lines = [json.loads(x) for x in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    errors = {line["error"] for line in lines} - {None}
    assert r"DataError: ValueError: \x1b[31m[/] second" in {ascii(e)[1:-1] for e in errors}
    assert "DataError: it ends the program by SystemExit: 3" in errors


def test_bounds_that_no_architecture_keeps(tmp_path: Path) -> None:
    words = ["search", "random", "--space", "nasbench101", "--table", "nasbench101-mini"]
    words += ["--at-most", "macs=-1", "--budget", "3", "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1
    assert "some architecture must be evaluated, but none was: " in done.stderr
