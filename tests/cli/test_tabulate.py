from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gnas.cli import app
from gnas.data import load_table
from gnas.errors import DataError
from gnas.studies import CandidateStudy
from tests import commands

SHORT = ("--set", "epochs=2", "--set", "num_train=128", "--set", "batch_size=64")
SMALL = ("--dataset", "digits", "--cells", "2", "--seeds", "1", *SHORT)
LARGE = ("--dataset", "digits", "--cells", "50")


def gnas(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["tabulate", "nasbench101", *arguments])


def num_done(out: Path) -> int:
    """Trainings that are finished in the study beside a table."""
    try:
        return CandidateStudy.join("table", out.with_name(out.name + ".study.db")).progress().done
    except DataError:
        return 0  # it is just being made


def wait_for_result(process: subprocess.Popen[str], out: Path) -> None:
    """Returns once the first training is finished."""
    deadline = time.monotonic() + 120
    while not num_done(out):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)


def test_a_table_of_ones_own(tmp_path: Path) -> None:
    out = tmp_path / "own.parquet"
    done = commands.run(  # a process: its workers share the pipe, and may print nothing
        [sys.executable, "-m", "gnas", "tabulate", "nasbench101", "--out", str(out), *SMALL],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    told = f"{out}: 2 cells, 1 training each\nnext: gnas data verify {out}\n"
    assert done.stdout == told and "\x1b" not in done.stderr
    table = load_table(out)
    assert len(table) == 2 and table.provenance.kind == "self-made"
    assert done.stderr.startswith("digits: 10 classes") and done.stderr.count("\n") == 1
    assert sorted(os.listdir(tmp_path)) == [
        "own.parquet",
        "own.parquet.study.db",
        "own.parquet.study.db.lock",
    ]
    written = out.stat().st_mtime_ns
    again = gnas("--like", str(out), "--out", str(tmp_path / "b.parquet"), *SMALL)
    assert again.exit_code == 0, again.stderr
    assert (load_table(tmp_path / "b.parquet").val_acc() == table.val_acc()).all()
    assert out.stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("space", "small"), [("nasbench201", "cells_per_stage=1"), ("nasgem", "num_stages=1")]
)
def test_the_next_command_takes_the_table(tmp_path: Path, space: str, small: str) -> None:
    few = [f"num_{part}=20" for part in ("train", "val", "test")]
    settings = [f"--set={pair}" for pair in ("epochs=1", "channels=2", small, *few)]
    command = ["tabulate", space, "--dataset", "digits", "--cells", "20", "--seeds", "2"]
    made = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "own.parquet"), *settings])
    words = shlex.split(made.stdout.splitlines()[-1])
    assert words[:4] == ["next:", "gnas", "bench", space]
    found = CliRunner().invoke(app, [*words[2:], "--seeds", "1", "--predictors", "default"])
    assert found.exit_code == 0, found.stderr
    text = " ".join(found.stdout.split())
    if space == "nasbench201":
        assert "val_acc of 2 runs (1 epoch), averaged over each function" in text
        assert "Two runs' test_acc (1 epoch) agree to" in text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_the_command(tmp_path: Path, number: signal.Signals) -> None:
    out = tmp_path / "own.parquet"
    with commands.Popen(
        [sys.executable, "-m", "gnas", "tabulate", "nasbench101", "--out", str(out), *LARGE],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_for_result(process, out)
        process.send_signal(number)
        assert process.stderr is not None
        # Workers share the pipe: it ends when the last of them has.
        reader = threading.Thread(target=process.stderr.read, daemon=True)
        reader.start()
        reader.join(timeout=30)
        assert not reader.is_alive(), "a worker goes on"
    assert process.returncode == (143 if number == signal.SIGTERM else -number)
    assert not out.exists()


def test_refusals_are_one_line(tmp_path: Path) -> None:
    table = str(tmp_path / "t.parquet")
    for words, message in (
        (["--out", str(tmp_path)], "error: the output must be a file"),
        (["--out", table, "--dataset", "nowhere"], "there is no nowhere"),
        (["--out", str(tmp_path / "t.txt"), "--cells", "500000"], "must end in .parquet"),
        (["--out", table, "--cells", "500000"], "at most 423624"),
    ):
        refused = gnas(*words)
        assert refused.exit_code == 1 and message in refused.stderr
        assert refused.stderr.startswith("error: ") and refused.stderr.count("\n") == 1
    assert gnas("--out", table, "--cells", "0").exit_code == 2
    assert list(tmp_path.iterdir()) == []
