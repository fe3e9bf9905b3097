"""The figure that everything is drawn in."""

from __future__ import annotations

from typing import Any

from matplotlib import figure
from matplotlib.text import Text

from gnas.printable import printable


class Figure(figure.Figure):
    """A figure that shows every text as it is: names may hold ``$``, escapes or anything else.

    Ticks are left to their formatters, which write powers as formulas.
    """

    def draw(self, renderer: Any) -> None:
        """See `matplotlib.figure.Figure.draw`."""
        axes = [axis for each in self.axes for axis in (each.xaxis, each.yaxis)]
        ticks = {text for axis in axes for text in axis.findobj(Text)} - {a.label for a in axes}
        for text in self.findobj(Text):
            if isinstance(text, Text) and text not in ticks:
                text.set_parse_math(False)
                text.set_text(printable(text.get_text()))
        super().draw(renderer)
