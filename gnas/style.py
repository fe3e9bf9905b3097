"""Style of all figures."""

from __future__ import annotations

from collections.abc import Iterable

COLOURS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7", "#999999")
"""Okabe and Ito's palette, which people with any colour vision tell apart."""
_BLACK, _ORANGE, _SKY, _GREEN, _BLUE, _RED, _PINK, _GREY = COLOURS
PREDICTOR_COLOURS = {
    "default": _RED,
    "MLP": _BLUE,
    "random forest": _GREEN,
    "GP": _ORANGE,
    "ARD GP": _PINK,
    "WL GP": _SKY,
    "none": _GREY,
    # searchers, by the predictor that they search with
    "predictor": _RED,
    "nasgem": _BLUE,
    "bayes": _SKY,
    "evolution": _GREEN,
    "local": _ORANGE,
    "random": _GREY,
}
"""The colour of a predictor, or of a searcher, in all figures."""
LINES = ("-", "--", "-.", ":")
"""Styles of lines that may lie on each other, as shares that stay at 0 do."""
_OTHERS = (_BLACK, "#8C564B", "#5E3C99", "#7F7F00", "#17BECF")


def predictor_colours(names: Iterable[str]) -> dict[str, str]:
    """A colour for every name: that of `PREDICTOR_COLOURS`, or one that none of those has."""
    others = [name for name in dict.fromkeys(names) if name not in PREDICTOR_COLOURS]
    spare = {name: _OTHERS[k % len(_OTHERS)] for k, name in enumerate(others)}
    return PREDICTOR_COLOURS | spare


def palette_places(names: Iterable[str]) -> dict[str, int]:
    """Place in `COLOURS` of every name: the colour that it has in figures, or one that is free.

    Examples:
        >>> palette_places(["mine", "nasgem"])
        {'mine': 0, 'nasgem': 4}
    """
    names = list(dict.fromkeys(names))
    known = {n: COLOURS.index(PREDICTOR_COLOURS[n]) for n in names if n in PREDICTOR_COLOURS}
    taken = set(known.values())
    free = [k for k in range(len(COLOURS)) if k not in taken] or [0]
    others = [name for name in names if name not in known]
    places = known | {name: free[k % len(free)] for k, name in enumerate(others)}
    return {name: places[name] for name in names}


def shade(colour: str, k: int, count: int) -> str:
    """The k-th of several shades of a colour: the first is the colour, the last is pale."""
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    white = 0.55 * k / max(count - 1, 1)
    parts = (round(part + white * (255 - part)) for part in (red, green, blue))
    return "#" + "".join(f"{part:02X}" for part in parts)
