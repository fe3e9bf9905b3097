"""Other projects' ways to write the architectures of a space.

Two projects may write different cells in the same way, as tuples of six numbers: which notation a
text is in must be said, and is never guessed.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass

from gnas.errors import GraphError
from gnas.geometric import Data

MAX_TEXT = 10_000
"""Characters of one architecture in a foreign notation."""


@dataclass(frozen=True)
class Notation:
    """A foreign notation of a space's architectures; `Space.notations` lists those of a space."""

    name: str
    """Unique among all spaces: commands know it by ``--notation``."""
    about: str
    """Description and origin of the notation, with an example."""
    read: Callable[[str], Data]
    """The architecture of a text, validated; raises GraphError."""
    write: Callable[[Data], str]
    """The text of an architecture of the space; raises GraphError where the notation has none."""


def numbers(text: str, count: int, limit: int, what: str) -> list[int]:
    """The numbers of a tuple or list in Python's or JSON's form.

    Args:
        text: For example ``(0, 1, 2, 3, 4, 0)``; brackets may be left out.
        count: Expected number.
        limit: They must be in [0, limit).
        what: The notation, for messages.

    Raises:
        GraphError: it is not that.
    """
    try:
        if len(text) > MAX_TEXT:
            raise ValueError
        found = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        found = None
    good = isinstance(found, tuple | list) and len(found) == count
    if not good or not all(type(k) is int and 0 <= k < limit for k in found):
        raise GraphError(
            f"{what} must be {count} numbers in [0, {limit}), like ({', '.join(['0'] * count)}), "
            f"but got {text.strip()[:80]!r}"
        )
    return list(found)
