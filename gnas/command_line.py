"""Command line of a run for its record, without passwords."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from shlex import join

_ARGUMENTS: ContextVar[tuple[str, ...]] = ContextVar("arguments", default=())
_URL = re.compile(r"(?P<scheme>\w[\w.+-]*://)(?:.*@)?(?P<place>[^\s?#]*).*", re.DOTALL)
"""Passwords may hold anything, so all before the last @ and all after the place is cut."""


@contextmanager
def recorded(arguments: Sequence[str]) -> Iterator[None]:
    """Make `command_line` return these arguments inside the block."""
    token = _ARGUMENTS.set(tuple(arguments))
    try:
        yield
    finally:
        _ARGUMENTS.reset(token)


def command_line() -> str | None:
    """The command as it was typed, quoted for a shell; None outside the command line.

    URLs are without user, password and options.

    Example:
        >>> with recorded(["search", "random", "--storage", "postgresql://me:secret@host/db?x=y"]):
        ...     command_line()
        'gnas search random --storage postgresql://host/db'
    """
    arguments = _ARGUMENTS.get()
    return join(["gnas", *map(_without_password, arguments)]) if arguments else None


def continues() -> bool:
    """Whether the command goes on with an earlier run."""
    return any(one == "--resume" or one.startswith("--resume=") for one in _ARGUMENTS.get())


def _without_password(argument: str) -> str:
    return _URL.sub(r"\g<scheme>\g<place>", argument)
