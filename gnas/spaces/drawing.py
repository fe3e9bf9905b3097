"""Pictures of architectures: nodes in columns from input to output, edges around them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gnas.geometric import Data
from gnas.graphs import to_adjacency
from gnas.spaces.vocabulary import Vocabulary
from gnas.style import COLOURS

if TYPE_CHECKING:
    from gnas.figure import Figure

MAX_NAMED = 12
"""Nodes of the largest graph whose boxes hold the operations' names; others hold numbers."""
LINE, END = "#6b7785", "#e3e6ea"
"""Colours of edges, and of inputs and outputs."""
ENDS = ("input", "output", "in", "out")
"""Operations of nodes that compute nothing: where a cell begins and ends."""
LETTER, ROW = 0.082, 0.17
"""Width of a letter and height of a line of text, in inches."""
MARGIN = 0.2
"""Around the drawing, in inches."""


@dataclass(frozen=True, kw_only=True)
class Box:
    """Label of a node."""

    text: str
    colour: str
    is_light: bool = True
    """Whether the colour is mixed with white."""
    late: bool = False
    """Whether it stands just before what reads it."""

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in inches, wide enough for the text."""
        lines = self.text.split("\n")
        return max(map(len, lines)) * LETTER + 0.2, len(lines) * ROW + 0.13


def architecture_figure(vocabulary: Vocabulary, graph: Data) -> Figure:
    """An architecture with its operations by colour; those on edges in boxes of their own.

    Args:
        vocabulary: Names of its operations.
        graph: The architecture.
    """
    adjacency, ops = (tensor.tolist() for tensor in to_adjacency(graph))
    names = [vocabulary.ops[op] for op in ops]
    edges = [(i, j, kind) for i, row in enumerate(adjacency) for j, kind in enumerate(row) if kind]
    if vocabulary.edge_ops:
        states = [
            Box(text=name if names.count(name) == 1 else f"{name} {k}", colour=END, is_light=False)
            for k, name in enumerate(names)
        ]
        colours = colours_of(vocabulary.edge_ops)
        kinds = [(i, j, vocabulary.edge_ops[kind - 1]) for i, j, kind in edges]
        return graph_figure(
            *with_operations(states, [(i, j, name, colours[name]) for i, j, name in kinds])
        )
    colours = colours_of(vocabulary.ops)
    named = len(names) <= MAX_NAMED
    boxes = [
        Box(text=name if named else str(k), colour=colours[name]) for k, name in enumerate(names)
    ]
    shown = {name: colours[name] for name in vocabulary.ops if name in names and not named}
    return graph_figure(boxes, {(i, j): LINE for i, j, _ in edges}, legend=shown)


def colours_of(ops: Sequence[str]) -> dict[str, str]:
    """A colour for every operation of a space."""
    palette = itertools.cycle(COLOURS[1:])
    return {name: END if name in ENDS else next(palette) for name in ops}


def with_operations(
    states: Sequence[Box], operations: Iterable[tuple[int, int, str, str]]
) -> tuple[list[Box], dict[tuple[int, int], str]]:
    """Boxes and edges of a graph with operations on its edges, which get boxes of their own.

    Args:
        states: Labels of the nodes, in topological order.
        operations: Source and target of every edge, its text and its colour.

    Returns:
        Boxes in topological order, and edges between them by colour.
    """
    entering: dict[int, list[tuple[int, str, str]]] = {}
    for i, j, text, colour in operations:
        entering.setdefault(j, []).append((i, text, colour))
    boxes: list[Box] = []
    edges: dict[tuple[int, int], str] = {}
    place: list[int] = []
    for j, state in enumerate(states):
        found = []
        for i, text, colour in entering.get(j, ()):
            edges[place[i], len(boxes)] = LINE
            found.append((len(boxes), colour))
            boxes.append(Box(text=text, colour=colour, late=True))
        place.append(len(boxes))
        boxes.append(state)
        edges |= {(box, place[j]): colour for box, colour in found}
    return boxes, edges


def graph_figure(
    boxes: Sequence[Box],
    edges: Mapping[tuple[int, int], str],
    *,
    title: str = "",
    legend: Mapping[str, str] | None = None,
    note: str = "",
) -> Figure:
    """A layered drawing of a graph, with one artist for each box ("node K") and edge ("edge I J").

    Args:
        boxes: Labels of the nodes, in topological order.
        edges: Pairs of nodes, the lower one first, and the colour of each edge.
        title: Above the graph.
        legend: Colours by what they mean.
        note: Below the graph.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import FancyBboxPatch, Polygon

    from gnas.figure import Figure
    from gnas.spaces.layout import HEAD, layered

    late = [k for k, box in enumerate(boxes) if box.late]
    layout = layered([box.size for box in boxes], list(edges), late)
    below = MARGIN + 0.25 * bool(note) + 0.3 * bool(legend)
    low = layout.low - np.array([MARGIN, below])
    high = layout.high + np.array([MARGIN, MARGIN + 0.25 * bool(title)])
    needed = LETTER * max(len(title), len(note), sum(len(name) + 6 for name in legend or ()))
    spare = max(0.0, needed - (high - low)[0]) / 2
    low[0], high[0] = low[0] - spare, high[0] + spare
    figure = Figure(figsize=tuple(high - low))
    axes = figure.add_axes((0, 0, 1, 1), xticks=(), yticks=())  # which take time to be left out
    axes.set_axis_off()
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
    for (i, j), points in reversed(list(layout.routes.items())):  # the first ones on top
        colour = edges[i, j]
        axes.add_artist(Line2D(*points.T, color=colour, lw=1.1, zorder=1, gid=f"edge {i} {j}"))
        tip = points[-1]
        head = [tip, tip - (HEAD, 0.035), tip - (HEAD, -0.035)]
        axes.add_artist(Polygon(head, facecolor=colour, linewidth=0, zorder=2))
    for k, (box, (x, y)) in enumerate(zip(boxes, layout.places, strict=True)):
        width, height = box.size
        patch = FancyBboxPatch(
            (x - width / 2, y - height / 2), width, height, "round,pad=0,rounding_size=0.07",
            facecolor=_light(box.colour) if box.is_light else box.colour, edgecolor="#333333",
            linewidth=0.8, zorder=3, gid=f"node {k}",
        )  # fmt: skip
        axes.add_artist(patch)
        axes.text(x, y, box.text, ha="center", va="center", fontsize=9, zorder=4)
    middle = (low[0] + high[0]) / 2
    axes.text(middle, high[1] - 0.1, title, ha="center", va="top", fontsize=11)
    axes.text(middle, low[1] + 0.1, note, ha="center", va="bottom", fontsize=8, color="#555555")
    if legend:
        handles = [
            Line2D([], [], marker="s", ls="", ms=9, mfc=_light(colour), mec="#333333", label=name)
            for name, colour in legend.items()
        ]
        figure.legend(
            handles=handles, fontsize=9, frameon=False, ncols=len(handles), loc="lower center",
            bbox_to_anchor=(0.5, 0.25 / (high - low)[1] if note else 0), borderaxespad=0.1,
        )  # fmt: skip
    return figure


def _light(colour: str) -> str:
    """A colour on which black text is easy to read."""
    from matplotlib.colors import to_hex, to_rgb

    red, green, blue = (0.5 + 0.5 * part for part in to_rgb(colour))
    return to_hex((red, green, blue))
