"""Figures as small inline SVG that follows the page's colours."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from gnas.printable import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEAR = 0.25
"""Pixels by which a simplified line may miss the points that it leaves out."""
ENLARGED = 1.3
"""Pixels of the page that a point of the drawing takes."""
_NUMBER = re.compile(r"-?\d+\.\d+")
_SIZE = re.compile(r"([\d.]+)px")
_STYLES = ("fill", "stroke", "stroke-width", "stroke-dasharray", "opacity", "fill-opacity")
_SVG, _LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
_BOX_FONT = 9.0
"""Points of the text inside boxes, which stay light whatever the page's colours are."""


def inline_svg(figure: Figure, label: str) -> Markup:
    """A figure as an ``<svg>`` element for an HTML page.

    It has no identifiers, scripts, style sheets or references, so that several of them can stand
    on a page; what is black in it and not in a box takes the colour of the page's text.

    Args:
        figure: A drawing of an architecture; see `gnas.spaces.Space.draw`.
        label: Alternative text for screen readers.
    """
    from matplotlib import rc_context

    file = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "gnas"}):
        options: dict[str, Any] = {
            "metadata": dict.fromkeys(("Date", "Creator", "Format", "Type"))
        }
        figure.savefig(file, format="svg", transparent=True, **options)
    root = ElementTree.fromstring(file.getvalue())
    _, _, width, height = (float(part) for part in root.attrib["viewBox"].split())
    markers = {each.attrib["id"]: each for each in root.iter() if "id" in each.attrib}
    body = Markup("").join(_elements(root, markers, in_legend=False))
    return Markup(
        '<svg class="graph" role="img" aria-label="{}" viewBox="0 0 {} {}" width="{}" '
        'height="{}">{}</svg>'
    ).format(
        printable(label),
        *map(_short, (width, height, ENLARGED * width, ENLARGED * height)),
        body,
    )


def _elements(
    parent: ElementTree.Element, markers: Mapping[str, ElementTree.Element], *, in_legend: bool
) -> Iterator[Markup]:
    for element in parent:
        name = element.tag.removeprefix(_SVG)
        inside = in_legend or element.attrib.get("id", "").startswith("legend")
        if name == "g":
            yield from _elements(element, markers, in_legend=inside)
        elif name == "path" and "clip" not in element.attrib.get("id", ""):
            yield _path(element, _style(element))
        elif name == "use":
            marker = markers.get(element.attrib.get(_LINK, "").removeprefix("#"))
            if marker is not None:
                place = [float(element.attrib.get(axis, 0)) for axis in ("x", "y")]
                yield _path(marker, _style(marker) | _style(element), place)
        elif name == "text":
            yield _text(element, inside)


def _path(
    element: ElementTree.Element, style: Mapping[str, str], place: list[float] | None = None
) -> Markup:
    shown = {name: style[name] for name in _STYLES if name in style}
    shown.setdefault("fill", "none" if "stroke" in style else "#000000")
    if shown.get("fill") == "none" and shown.get("stroke", "none") == "none":
        return Markup("")
    if shown.get("stroke") == "none":
        shown = {k: v for k, v in shown.items() if not k.startswith("stroke")}
    drawn = {"d": _outline(element.attrib.get("d", "")), **shown}
    if place is not None:
        drawn["transform"] = f"translate({_short(place[0])} {_short(place[1])})"
    return Markup("<path{}/>").format(_attributes(drawn))


def _outline(commands: str) -> str:
    """The commands of a path with what the eye can see; curves drawn as many lines get few."""
    parts = commands.split()
    if set(parts[3::3]) == {"L"} and parts[0] == "M" and len(parts) % 3 == 0:
        points = np.array([*map(float, parts[1::3])]) + 1j * np.array([*map(float, parts[2::3])])
        kept = (f"{_short(point.real)} {_short(point.imag)}" for point in points[_corners(points)])
        return f"M{'L'.join(kept)}"
    return _NUMBER.sub(lambda found: _short(float(found[0])), " ".join(parts))


def _corners(points: NDArray[np.complex128]) -> list[int]:
    """Indices of the points that a line needs to stay within `NEAR` of all.

    Source: Douglas and Peucker, Algorithms for the reduction of the number of points required to
    represent a digitized line or its caricature, Cartographica 1973.
    """
    kept, open_parts = {0, len(points) - 1}, [(0, len(points) - 1)]
    while open_parts:
        low, high = open_parts.pop()
        if high - low < 2:
            continue
        chord = points[high] - points[low]
        offsets = points[low + 1 : high] - points[low]
        length = abs(chord)
        far = np.abs((offsets * np.conj(chord)).imag) / length if length else np.abs(offsets)
        most = int(far.argmax())
        if far[most] > NEAR:
            kept.add(low + 1 + most)
            open_parts += [(low, low + 1 + most), (low + 1 + most, high)]
    return sorted(kept)


def _text(element: ElementTree.Element, in_legend: bool) -> Markup:
    """A line of text; several are several elements."""
    style = _style(element)
    sizes = _SIZE.search(style.get("font-size") or style.get("font", ""))
    size = float(sizes[1]) if sizes else _BOX_FONT
    drawn = {
        "font-size": _short(size),
        "text-anchor": style.get("text-anchor", "start"),
        "transform": _NUMBER.sub(
            lambda found: _short(float(found[0])), element.attrib.get("transform", "")
        ),
    }
    for axis in ("x", "y"):
        if axis in element.attrib:
            drawn[axis] = _short(float(element.attrib[axis]))
    in_box = size == _BOX_FONT and not in_legend
    drawn["fill"] = "#1a1d21" if in_box else "currentColor"
    return Markup("<text{}>{}</text>").format(
        _attributes({name: value for name, value in drawn.items() if value}),
        "".join(element.itertext()).strip(),
    )


def _style(element: ElementTree.Element) -> dict[str, str]:
    pairs = (part.partition(":") for part in element.attrib.get("style", "").split(";"))
    return {name.strip(): value.strip() for name, _, value in pairs if value}


def _attributes(values: Mapping[str, str]) -> Markup:
    return Markup("").join(
        Markup(' {}="{}"').format(Markup(name), escape(value)) for name, value in values.items()
    )


def _short(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".") if math.isfinite(value) else "0"
