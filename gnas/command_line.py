"""Command line of a run for its record, without passwords."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from gnas.printable import printable

_ARGUMENTS: ContextVar[tuple[str, ...]] = ContextVar("arguments", default=())
_URL = re.compile(r"(?P<scheme>\w[\w.+-]*://)(?:.*@)?(?P<place>[^\s?#]*).*", re.DOTALL)
"""Passwords may hold anything, so all before the last @ and all after the place is cut."""


@contextmanager
def override_command_line(arguments: Sequence[str]) -> Iterator[None]:
    """Make `command_line` return these arguments inside the block."""
    token = _ARGUMENTS.set(tuple(arguments))
    try:
        yield
    finally:
        _ARGUMENTS.reset(token)


def command_line() -> str | None:
    """The command as it was typed, quoted for a shell; None outside the command line.

    URLs are without user, password and options.

    Examples:
        >>> with override_command_line(["search", "random", "--storage", "postgresql://me:secret@host/db?x=y"]):
        ...     command_line()
        'gnas search random --storage postgresql://host/db'
    """
    arguments = _ARGUMENTS.get()
    return shell_line(["gnas", *map(_without_password, arguments)]) if arguments else None


def continues() -> bool:
    """Whether the command goes on with an earlier run."""
    return any(one == "--resume" or one.startswith("--resume=") for one in _ARGUMENTS.get())


def shell_line(words: Iterable[str | os.PathLike[str]]) -> str:
    r"""One line that a shell splits into these words again, safe to show.

    Paths that begin with a dash begin with ``./`` there. Words with line ends, control characters
    or bytes that are no UTF-8 become ``$'...'``, which bash, zsh and ksh read.

    Args:
        words: A command and its arguments.

    Examples:
        >>> print(shell_line(["gnas", "show", "my runs", "a\x1bb"]))
        gnas show 'my runs' $'a\x1bb'
    """
    return " ".join(_quoted(_argument(word)) for word in words)


def _argument(word: str | os.PathLike[str]) -> str:
    """A word; a path that commands would take for an option as one that they do not."""
    text = os.fspath(word)
    is_path = not isinstance(word, str)
    return os.path.join(os.curdir, text) if is_path and text.startswith("-") else text


def _quoted(word: str) -> str:
    if printable(word) == word and not {"\n", "\t"} & set(word):
        return shlex.quote(word)
    return f"$'{''.join(map(_escaped, word))}'"


def _escaped(character: str) -> str:
    if character in "\n\t" or printable(character) != character:
        is_byte = "\udc80" <= character <= "\udcff"  # of a file's name, as Python shows it
        found = character.encode("utf-8", "surrogateescape" if is_byte else "surrogatepass")
        return "".join(f"\\x{byte:02x}" for byte in found)
    return f"\\{character}" if character in "'\\" else character


def _without_password(argument: str) -> str:
    return _URL.sub(r"\g<scheme>\g<place>", argument)
