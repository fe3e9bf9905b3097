"""Architectures of a run, those of most interest with a small drawing."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from markupsafe import Markup

from gnas.data.files import FORMAT_ERRORS
from gnas.errors import GnasError
from gnas.report.drawing import inline_svg
from gnas.report.page import Architecture, Drawing
from gnas.spaces import READY_MADE, SPACES, Space, space_of_record

MAX_DRAWN = 40
"""Architectures of a single run that get a drawing."""
MAX_DRAWING_BYTES = 400_000
"""Maximum total size of the drawings in bytes."""


class Gallery:
    """Architectures by number, each text once.

    Args:
        space: Whose they are; None where it is of a user's own file, which is not run unasked, and
            nothing is drawn.
        most: Architectures that get a drawing, of `MAX_DRAWING_BYTES` in all.
    """

    def __init__(self, space: Space | None, most: int = MAX_DRAWN) -> None:
        self.space, self._most = space, most
        self._texts: dict[str, int] = {}

    def add(self, text: str) -> int:
        """The number of an architecture."""
        return self._texts.setdefault(text, len(self._texts))

    def drawn(self, first: Iterable[str] = ()) -> tuple[Architecture, ...]:
        """All architectures, with drawings as far as they are few and small.

        Args:
            first: Those that are drawn before others.
        """
        order = dict.fromkeys([*(text for text in first if text in self._texts), *self._texts])
        drawings: dict[str, Markup] = {}
        size = 0
        for text in [*order][: self._most] if self.space is not None else ():
            drawing = Markup("").join(one.svg for one in self.draw(text))
            if drawing and size + len(drawing) <= MAX_DRAWING_BYTES:
                drawings[text], size = drawing, size + len(drawing)
        return tuple(Architecture(text, drawings.get(text)) for text in self._texts)

    def draw(self, text: str) -> list[Drawing]:
        """Drawings of an architecture, cell by cell; none of a space that is not known."""
        return [] if self.space is None else [*_drawings(self.space, text)]


@lru_cache(500)
def _drawings(space: Space, text: str) -> tuple[Drawing, ...]:
    """Drawings of an architecture; a watched run has the same ones again and again."""
    try:
        figures = space.draw(space.from_str(text))
    except GnasError:
        raise
    except FORMAT_ERRORS:  # a space of a user's own may draw nothing
        return ()
    return tuple(Drawing(inline_svg(figure, f"{name} cell")) for name, figure in figures.items())


def space_of(record: object, own: Space | None) -> Space | None:
    """The space of a run's record; None of a user's own that was not given.

    Raises:
        ConfigError: the record is damaged, or of another space than the one given.
    """
    made = SPACES | READY_MADE
    if own is None and not (isinstance(record, dict) and record.get("name") in made):
        return None
    return space_of_record(record, own)
