"""A disk that is full while a run writes: one line, and what was there stays whole."""

from __future__ import annotations

import json
import resource
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from gnas.export.names import FORMS, SUFFIXES, Form
from tests import commands
from tests.test_kills import CELL, GNAS

RECORD = """
import sys
from pathlib import Path
import torch
from gnas.errors import DataError
from gnas.training.recording import RunRecord

class State:
    step, epochs, processes = 0, [], 1
    def tensors(self):
        return {"w": torch.zeros(10)}
    def record(self):
        return {"processes": 1}

state = State()
record = RunRecord(Path(sys.argv[1]), {"config": {}})
record.start(state)
try:
    for k in range(1, 400):
        state.step, state.epochs = k, [*state.epochs, {"epoch": k, "note": "x" * 40}]
        record.epoch(state)
except DataError as error:
    print(error)
finally:
    try:
        record.close()
    except DataError as error:
        print(error)
"""


def full_after(count: int) -> Callable[[], None]:
    """No file of the process grows beyond this many bytes, as on a disk that is full."""
    return partial(_limit, count)


def _limit(count: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, count))


def failed(command: list[str], where: Path, count: int) -> str:
    """What a command says that must fail for lack of room."""
    done = commands.run(
        command, cwd=where, preexec_fn=full_after(count), capture_output=True, text=True,
        timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    return str(done.stderr.splitlines()[-1])


def leftovers(folder: Path) -> list[Path]:
    return [p for p in folder.rglob("*") if p.name.endswith(".tmp") or p.name == ".lock"]


@pytest.mark.parametrize("count", [30, 1000, 20_000])
def test_retrain(tmp_path: Path, count: int) -> None:
    command = [*GNAS, "retrain", CELL, "--epochs", "1", "--layers", "1", "--channels", "4"]
    line = failed([*command, "--out", "run"], tmp_path, count)
    assert line.startswith("error: ") and "File too large" in line
    assert not leftovers(tmp_path)
    for path in tmp_path.rglob("*.json"):
        json.loads(path.read_text())


@pytest.mark.parametrize("form", FORMS)
def test_export(tmp_path: Path, form: Form) -> None:
    """Written to a file, a program of `torch.export` ended the process by SIGABRT."""
    command = [*GNAS, "export", CELL, "--to", form, "--layers", "1", "--channels", "4"]
    line = failed([*command, "--out", f"net{SUFFIXES[form]}"], tmp_path, 1000)
    assert line.startswith("error: net") and "File too large" in line
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_records(tmp_path: Path) -> None:
    """The lines and TensorBoard's events, which grow beside the whole files."""
    command = [sys.executable, "-c", RECORD, str(tmp_path / "run")]
    done = commands.run(
        command, preexec_fn=full_after(12_000), capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "must be writable, but writing failed: File too large" in done.stdout
    assert not leftovers(tmp_path)


def test_bench_search(tmp_path: Path) -> None:
    command = [*GNAS, "bench", "search", "nasbench101", "--table", "nasbench101-mini", "--seeds"]
    command += ["3", "--searchers", "random", "--budget", "40", "--out", "run"]
    line = failed(command, tmp_path, 1000)
    assert "searches.jsonl" in line and "File too large" in line
    assert not leftovers(tmp_path)
    done = commands.run([*command, "--json", "-"], cwd=tmp_path, capture_output=True, check=True)
    assert len(json.loads(done.stdout)["rows"]) == 1
