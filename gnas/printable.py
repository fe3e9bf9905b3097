"""Foreign text (names of files, classes, columns, tables) made safe to show, in one place.

Everything that gnas prints, logs or draws goes through `printable`: consoles
(`gnas.cli.output.console`), logs and error lines, and figures (`gnas.figure.Figure`).
"""

from __future__ import annotations

import logging
import unicodedata

_KEPT = {"\n", "\t"}
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode's categories of control characters, invisible formatting (directions of writing among
it), surrogates (bytes of a name that are no UTF-8), unassigned ones and separators of lines."""
_JOINERS = {"\u200c", "\u200d"}
"""Parts of words in several scripts and of emoji."""


def printable(text: str) -> str:
    r"""The text with every character that could act on a terminal written as an escape.

    Line ends and tabs stay.

    Args:
        text: Any text; names of files may hold surrogates.

    Examples:
        >>> printable("a\x1b[31mb")
        'a\\x1b[31mb'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def amount(count: int, noun: str) -> str:
    """A number and what it counts, in the singular or the plural.

    Args:
        count: The number.
        noun: What is counted, in the singular, with a regular plural.

    Examples:
        >>> amount(1, "epoch"), amount(2, "epoch"), amount(3, "query"), amount(12000, "search")
        ('1 epoch', '2 epochs', '3 queries', '12,000 searches')
    """
    if count == 1:
        return f"1 {noun}"
    if noun.endswith("y"):
        return f"{count:,} {noun[:-1]}ies"
    hisses = noun.endswith(("s", "x", "ch")) and noun != "epoch"
    return f"{count:,} {noun}{'es' if hisses else 's'}"


class PrintableFormatter(logging.Formatter):
    """Formatter for a terminal: ``warning: text``, and plain ``text`` below warnings."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        text = printable(super().format(record))
        return f"{record.levelname.lower()}: {text}" if record.levelno >= logging.WARNING else text


def _shown(character: str) -> str:
    if character in _KEPT or character in _JOINERS:
        return character
    if unicodedata.category(character) not in _HIDDEN:
        return character
    return character.encode("unicode_escape").decode("ascii")
