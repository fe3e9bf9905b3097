"""The figure that everything is drawn in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from matplotlib import figure
from matplotlib.artist import Artist
from matplotlib.axis import Axis
from matplotlib.text import Text

from gnas.printable import printable


class Figure(figure.Figure):
    """A figure that shows every text as it is: names may hold ``$``, escapes or anything else.

    Ticks are left to their formatters, which write powers as formulas.
    """

    def draw(self, renderer: Any) -> None:
        """See `matplotlib.figure.Figure.draw`."""
        for text in _texts(self):
            text.set_parse_math(False)
            text.set_text(printable(text.get_text()))
        super().draw(renderer)


def plain_ticks(axis: Axis) -> None:
    """Write ticks of a logarithmic axis as plain numbers.

    Of minor ones all within a power of ten, and 2 and 5 times a power within two.
    """

    def minor(value: float, _: float) -> str:
        low, high = axis.get_view_interval()
        shown = high < 10 * low or (high < 100 * low and f"{value:e}"[0] in "25")
        return f"{value:g}" if shown else ""

    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(minor)


def _texts(artist: Artist) -> Iterator[Text]:
    """The texts of an artist and of all that it holds, but for those of ticks."""
    if isinstance(artist, Text):
        yield artist
    for child in [artist.label] if isinstance(artist, Axis) else artist.get_children():
        yield from _texts(child)
