"""Commands that are asked to end, or get Ctrl-C twice, and then go on to the same result."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import pytest

from gnas.data import load_table, save_table
from tests.bench.test_supernet import make_table
from tests.commands import Popen
from tests.test_kills import alive, wait_for

PROGRAM = """
from matplotlib.figure import Figure
from gnas.bench import supernet
from gnas.cli import main

supernet.ONE_SHOT_CELLS = 5
Figure.savefig = lambda self, file, **options: file.write(b"a picture")
main()
"""
CELL = "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|"
PROMPT_S = 60.0
"""Commands end in one or two seconds; this machine may do much else at the same time."""
_OWN = re.compile(r"second|time|version|git_commit|machine|command_line|resumed_by|path|_s$")
"""Fields that differ between two equal runs."""


def settings(**values: object) -> tuple[str, ...]:
    return tuple(word for name, value in values.items() for word in ("--set", f"{name}={value}"))


SUPERNET = settings(batch_size=128, image_size=8, channels=2)
NASGEM = settings(
    num_nodes=8, iterations=6, top=2, pool=100, epochs=1, final_epochs=2, channels=2,
    num_stages=2, batch_size=256, update_every=2, percent=50,
)  # fmt: skip
SHORT = settings(epochs=1, num_train=64, num_val=32, num_test=32)


def begin(where: Path, arguments: Sequence[str]) -> Popen:
    """Starts a command in a folder, with files for what it says, as its own session."""
    where.mkdir(exist_ok=True)
    with open(where / "stdout", "w") as output, open(where / "stderr", "w") as errors:
        return Popen(
            [sys.executable, "-c", PROGRAM, *arguments], cwd=where, stdin=DEVNULL, stdout=output,
            stderr=errors, start_new_session=True,
        )  # fmt: skip


def session(leader: int) -> set[int]:
    """Living processes of a session."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            stat = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(stat[3]) == leader and stat[0] not in "ZX":
            found.add(int(path.parent.name))
    return found


def has_lines(path: Path, count: int = 1) -> bool:
    return path.exists() and path.read_text().count("\n") >= count


def plain(record: Any) -> Any:
    """A record without times, places and machines."""
    if isinstance(record, dict):
        return {name: plain(v) for name, v in record.items() if not _OWN.search(name)}
    return [plain(one) for one in record] if isinstance(record, list) else record


def outcome(folder: Path) -> dict[str, Any]:
    """What a command has left: records without times, the values of tables, other files' bytes."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.suffix == ".json":
            found[name] = plain(json.loads(path.read_text()))
        elif path.suffix == ".jsonl":
            found[name] = [plain(json.loads(line)) for line in path.read_text().splitlines()]
        elif path.suffix == ".parquet":
            table = load_table(path)
            found[name] = {c.name: table.raw(c.name).tolist() for c in table.columns}
            found[name] = plain(found[name])
        elif path.suffix in (".safetensors", ".npy", ".py"):
            found[name] = path.read_bytes()
        elif "study" not in name and "events" not in name and path.is_file():
            found[name] = None  # figures, the outputs
    return found


def works_without_a_trace(folder: Path) -> bool:
    """Waits a moment: what writes nothing before its end has begun by then."""
    time.sleep(0.5)
    return folder.exists()


Moment = Callable[[Path], bool]
COMMANDS: dict[str, tuple[tuple[str, ...], tuple[str, ...] | None, Moment, signal.Signals]] = {
    "search toponas": (
        ("search", "toponas", "--space", "nasbench201", "--epochs", "4", *SUPERNET, "--out", "o"),
        ("search", "toponas", "--resume", "o"),
        lambda folder: has_lines(folder / "o" / "metrics.jsonl"),
        signal.SIGTERM,
    ),
    "search nasgem": (
        ("search", "nasgem", *NASGEM, "--out", "o"),
        ("search", "nasgem", "--resume", "o"),
        lambda folder: has_lines(folder / "o" / "metrics.jsonl", 2),
        signal.SIGINT,
    ),
    "retrain": (
        ("retrain", CELL, "--epochs", "12", "--layers", "1", "--channels", "2", "--out", "o",
         *settings(batch_size=128)),
        ("retrain", "--resume", "o"),
        lambda folder: has_lines(folder / "o" / "metrics.jsonl", 2),
        signal.SIGINT,
    ),
    "tabulate": (
        ("tabulate", "nasbench101", "--cells", "4", "--seeds", "1", *SHORT, "--out", "o.parquet"),
        None,
        lambda folder: (folder / "o.parquet.study.db").exists(),
        signal.SIGTERM,
    ),
    "bench supernet": (
        ("bench", "supernet", "nasbench201", "--table", "../full.parquet", "--methods",
         "darts", "--seeds", "2", *SUPERNET, *settings(epochs=1), "--out", "o"),
        None,
        lambda folder: has_lines(folder / "o" / "searches.jsonl"),
        signal.SIGINT,
    ),
    "export": (
        ("export", CELL, "--to", "pt2", "--channels", "4", "--out", "o.pt2"),
        None,
        works_without_a_trace,
        signal.SIGTERM,
    ),
}  # fmt: skip
"""The command, how it goes on (None: the same again), the moment and the signal that stops it."""


@pytest.mark.parametrize("name", COMMANDS)
def test_a_stopped_command_goes_on_to_the_same_result(name: str, tmp_path: Path) -> None:
    command, again, comes, number = COMMANDS[name]
    if name == "bench supernet":
        save_table(make_table(), tmp_path / "full.parquet")
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    process = begin(stopped, command)
    leader = process.pid
    wait_for(lambda: comes(stopped) or not alive(leader))
    os.killpg(leader, number)  # as a terminal or a service manager does
    start = time.monotonic()
    if number == signal.SIGINT:
        time.sleep(0.2)
        if alive(leader):
            os.killpg(leader, number)
    code = process.wait()
    assert time.monotonic() - start < PROMPT_S
    said = (stopped / "stderr").read_text()
    # shells call both 130; Python ends itself by the signal if it comes when all is done
    assert code in ((143,) if number == signal.SIGTERM else (130, -signal.SIGINT)), said
    assert "Traceback" not in said and "Exception ignored" not in said
    *_, last = said.splitlines()
    assert last == said[said.index("error: ") :].rstrip("\n")
    reason = "interrupted" if number == signal.SIGINT else "asked to end"
    how = {"export": "start it again with: gnas export"}.get(name, f"go on with: gnas {name} ")
    assert last.startswith(f"error: {reason}; {how}")
    wait_for(lambda: not session(leader), 5.0)
    left = [path.name for path in stopped.rglob("*") if re.search(r"\.tmp$|^\.lock$", path.name)]
    assert not left and not (stopped / command[-1]).is_file() and not list(stopped.glob("*.pt2"))
    if name == "export":
        return  # nothing was begun, and programs differ in the order of their parts
    for folder, words in ((stopped, again or command), (whole, command)):
        assert begin(folder, words).wait() == 0, (folder / "stderr").read_text()
    assert outcome(stopped) == outcome(whole)
