"""Commands that are killed: nothing of them lives on, and the next start clears up and goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests import commands

GNAS = (sys.executable, "-m", "gnas")
CELL = "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|"
DEADLINE_S = 120.0


def children(pid: int) -> set[int]:
    """Every process below this one."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pid:
            child = int(path.parent.name)
            found |= {child} | children(child)
    return found


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def wait_for(is_so: Callable[[], bool], seconds: float = DEADLINE_S) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def started(arguments: Sequence[str], where: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    return commands.Popen(
        [*GNAS, *arguments], cwd=where, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def run(arguments: Sequence[str], where: Path) -> str:
    """A command that runs to its end; returns what it printed."""
    with started(arguments, where) as process:
        output, errors = process.communicate(timeout=2 * DEADLINE_S)
    assert process.returncode == 0, errors
    return output


def searches(path: Path) -> list[dict[str, Any]]:
    """The lines of searches.jsonl, without how long each took."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


BENCH = ("bench", "search", "nasbench101", "--table", "nasbench101-mini", "--workers", "2")


def test_searches_end_with_their_command(tmp_path: Path) -> None:
    command = [*BENCH, "--searchers", "bayes", "--seeds", "2", "--budget", "400", "--out", "a"]
    with started(command, tmp_path) as process:

        def searching() -> set[int]:
            return {pid for below in children(process.pid) for pid in children(below)}

        wait_for(lambda: len(searching()) == 2)
        time.sleep(0.5)
        below, working = children(process.pid), searching()
        assert process.poll() is None and all(map(alive, working))
        process.send_signal(signal.SIGKILL)
    wait_for(lambda: not any(map(alive, working)), 15.0)  # each search takes minutes
    wait_for(lambda: not any(map(alive, below)))


def test_bench_search(tmp_path: Path) -> None:
    command = [*BENCH, "--searchers", "random,evolution", "--seeds", "6", "--budget", "60"]
    file = tmp_path / "a" / "searches.jsonl"
    with started([*command, "--out", "a"], tmp_path) as process:
        wait_for(lambda: file.exists() and file.read_text().count("\n") > 1)
        process.send_signal(signal.SIGKILL)
    left = tmp_path / "a" / "figures" / ".regret.png.12345.tmp"
    left.parent.mkdir(exist_ok=True)
    left.touch()
    run([*command, "--out", "a"], tmp_path)
    run([*command, "--out", "b"], tmp_path)
    assert not left.exists() and not (tmp_path / "a" / ".lock").exists()
    assert searches(file) == searches(tmp_path / "b" / "searches.jsonl")


def test_retrain(tmp_path: Path) -> None:
    command = [
        "retrain",
        CELL,
        "--epochs",
        "500",
        "--layers",
        "1",
        "--channels",
        "4",
        "--out",
        "a",
    ]
    with started([*command, "--set", "batch_size=500"], tmp_path) as process:
        wait_for(lambda: (tmp_path / "a" / "metrics.jsonl").exists())
        below = children(process.pid)
        with started(["retrain", "--resume", "a"], tmp_path) as second:
            assert second.communicate()[1] == (
                f"error: the run's folder a must be used by one process at a time, but process "
                f"{process.pid} on {os.uname().nodename} is using it; wait for its end, or choose "
                "another\n"
            )
        assert second.returncode == 1
        process.send_signal(signal.SIGKILL)
        process.communicate()
    wait_for(lambda: not any(map(alive, below)))
    assert (tmp_path / "a" / ".lock").exists()
