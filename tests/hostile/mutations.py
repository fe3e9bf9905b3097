"""Hostile versions of sound content: other types, sizes and depths, and damaged bytes."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from typer.testing import CliRunner

from gnas.cli import app
from gnas.errors import GnasError

ROUNDS = int(os.environ.get("GNAS_FUZZ_ROUNDS", "1"))
"""How many times as many mutations as the default suite tries."""
MAX_MESSAGE = 2000
NAMES = ("", "x", "[/]", "\x1b[31m", "../../x", "é\u202e", "none", "9" * 40, "a\nb", "nan")
NUMBERS = (-1, 0, 1, 3, 255, 2**31, 2**63, 10**19, 10**400, 0.5, -0.5, 1e308, float("inf"))
DEEP = 3000


def values() -> list[Any]:
    """What may stand where something else is expected."""
    deep: list[Any] = []
    for _ in range(DEEP):
        deep = [deep]
    containers: list[Any] = [[], {}, [[]], {"": None}, [None], [1, "x"], {"a": {"b": []}}, deep]
    return [None, True, False, float("nan"), *NUMBERS, *NAMES, *containers]


VALUES = values()


def any_value(rng: np.random.Generator) -> Any:
    """One of `VALUES`, made anew: mutations change containers in place."""
    return values()[int(rng.integers(len(VALUES)))]


def places(content: Any, depth: int = 6) -> list[tuple[Any, Any]]:
    """Every container and key of a JSON-like value, down to ``depth``."""
    keys: list[Any] = []
    if isinstance(content, dict):
        keys = [*content]
    elif isinstance(content, list):
        keys = list(range(len(content)))[:8]
    found = [(content, key) for key in keys]
    if depth:
        for key in keys:
            found += places(content[key], depth - 1)
    return found


def copied(content: Any) -> Any:
    """A copy; of what is too deep to be copied the thing itself."""
    try:
        return copy.deepcopy(content)
    except RecursionError:
        return content


def mutated(content: Any, rng: np.random.Generator) -> Any:
    """One to three values of a JSON-like value replaced, removed, repeated or put elsewhere."""
    changed = copy.deepcopy(content)
    for _ in range(int(rng.integers(1, 4))):
        spots = places(changed)
        if not spots:
            return any_value(rng)
        container, key = spots[int(rng.integers(len(spots)))]
        action = rng.random()
        if action < 0.7:
            container[key] = any_value(rng)
        elif action < 0.85:
            del container[key]
        elif isinstance(container, list):
            container.append(copied(container[key]))
        else:
            container[NAMES[int(rng.integers(len(NAMES)))]] = copied(container[key])
    return changed


def dumped(content: Any) -> str:
    """JSON of any depth, with the numbers that JSON lacks."""
    try:
        return json.dumps(content)
    except RecursionError:
        return "[" * 100_000


def flipped(content: bytes, rng: np.random.Generator) -> bytes:
    """Bytes flipped, cut out, repeated or cut off."""
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(len(changed))) if changed else 0
        action = rng.random()
        if action < 0.6 and changed:
            changed[at] ^= 1 << int(rng.integers(8))
        elif action < 0.75:
            del changed[at : at + int(rng.integers(1, 40))]
        elif action < 0.9:
            changed[at:at] = changed[at : at + int(rng.integers(1, 40))]
        else:
            del changed[at:]
    return bytes(changed)


SPLICES = (*"()[]{}|~+,='\"\\-*#é\0\n\u202e", "9" * 30, "None", "__import__('os')", "[" * 400,
           "(" * 400, "Genotype(", "op~0|", "1e999", "range(2, 10**9)", "lambda: 0")  # fmt: skip


def scrambled(text: str, rng: np.random.Generator) -> str:
    """Characters removed, repeated, exchanged or put in."""
    for _ in range(int(rng.integers(1, 5))):
        at, to = sorted(rng.integers(len(text) + 1, size=2).tolist())
        action = rng.random()
        if action < 0.35:
            text = text[:at] + SPLICES[int(rng.integers(len(SPLICES)))] + text[at:]
        elif action < 0.6:
            text = text[:at] + text[at + 1 + int(rng.integers(4)) :]
        elif action < 0.8:
            text = text[:at] + text[to : to + 12] + text[at:]
        elif action < 0.9:
            text = text[:at]
        else:
            text = text[:at] + text[at : at + 30] * 50 + text[at:]
    return text


def refused(work: Callable[[], object]) -> bool:
    """Whether hostile content is refused; it may be harmless, but never raise anything else."""
    try:
        work()
    except GnasError as error:
        message = str(error)
        assert 0 < len(message) < MAX_MESSAGE, message[:400]
        return True
    return False


def command(*arguments: str | Path) -> int:
    """The exit code of a command; fails on a traceback, or an error of other than one line."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise AssertionError(f"gnas {arguments}: traceback") from done.exception
    assert done.exit_code in (0, 1, 2), done.exit_code
    assert "Traceback (" not in done.output, done.output[-2000:]
    if done.exit_code == 1:  # what was said before may stand above
        *before, last = done.stderr.splitlines()
        assert last.startswith("error: ") and len(last) < MAX_MESSAGE, done.stderr[:600]
        assert not any(line.startswith("error: ") for line in before), done.stderr[:600]
    return done.exit_code
