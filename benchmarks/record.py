"""What the scripts here share: the option ``--save``, and the two files that it writes."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from gnas.jsonl import JsonlLog

RESULTS = Path(__file__).parent / "results"


def command_line(doc: str | None) -> argparse.ArgumentParser:
    """A parser that knows ``--save`` and describes itself by the first line of ``doc``."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("--save", metavar="NAME", help="write benchmarks/results/NAME.*")
    return parser


def save_record(name: str, what: str, command: str, text: str, **facts: object) -> None:
    """Writes ``results/NAME.json`` and ``.md``.

    Args:
        name: What was measured, on which hardware, in which month.
        what: The title.
        command: What makes the record anew, from the repository's root.
        text: The Markdown that the script printed.
        facts: The numbers, and what they depend on beside the machine.
    """
    record = {
        "what": what,
        "command": command,
        "cpus": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "python": platform.python_version(),
        "torch": torch.__version__,
        **facts,
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n")
    (RESULTS / f"{name}.md").write_text(f"# {what}\n\n`{command}`\n\n{text.rstrip()}\n")


class Kept:
    """Results by key, kept in a file as they come, so that a script goes on where it was.

    Args:
        path: The file; None keeps nothing.
        facts: What all results depend on.
        what: What they are, for messages.
    """

    def __init__(self, path: Path | None, facts: Mapping[str, Any], what: str) -> None:
        self._log = None if path is None else JsonlLog(path, facts, what=what, read=_result)
        self._known = {} if self._log is None else dict(self._log.records)

    def __call__(self, key: str, compute: Callable[[], float]) -> float:
        """The result of a key, computed if it is not kept yet."""
        if key not in self._known:
            self._known[key] = compute()
            if self._log is not None:
                self._log.add({"key": key, "value": self._known[key]})
        return self._known[key]


def _result(record: Any) -> tuple[str, float]:
    return str(record["key"]), float(record["value"])
