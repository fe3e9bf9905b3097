"""Pictures of architectures of any space: nodes in order on a line, edges as arcs above it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch_geometric.data import Data

from gnas.graphs import to_adjacency
from gnas.spaces.vocabulary import Vocabulary
from gnas.style import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gnas.figure import Figure

RISE = 0.62
"""Height of an arc for each node that it spans."""
RADIUS = 0.17


def architecture_figure(vocabulary: Vocabulary, graph: Data) -> Figure:
    """An architecture with its operations by colour.

    Args:
        vocabulary: What its operations are called.
        graph: The architecture.
    """
    from matplotlib.lines import Line2D

    from gnas.figure import Figure

    adjacency, ops = (tensor.tolist() for tensor in to_adjacency(graph))
    edges = [(i, j, kind) for i, row in enumerate(adjacency) for j, kind in enumerate(row) if kind]
    highest = max((j - i for i, j, _ in edges), default=1) * RISE
    figure = Figure(
        figsize=(max(5.0, 1.1 * len(ops) + 1), min(9.0, 1.1 * highest + 2.0)), layout="constrained"
    )
    axes = figure.subplots()
    axes.set_axis_off()
    palette = COLOURS[1:]
    names = vocabulary.edge_ops or vocabulary.ops
    colour = {name: palette[k % len(palette)] for k, name in enumerate(names)}
    for i, j, kind in edges:
        name = names[kind - 1] if vocabulary.edge_ops else None
        arc(axes, i, j, RISE, colour[name] if name else "#777777", 2.0 if name else 1.2)
    for x, op in enumerate(ops):
        node = vocabulary.ops[op]
        face = "white" if vocabulary.edge_ops else colour[node]
        axes.plot(x, 0, "o", ms=17, mfc=face, mec="#333333", zorder=5)
        axes.text(x, 0, str(x), ha="center", va="center", fontsize=9, zorder=6)
        axes.text(x, -0.3, node, ha="right", va="top", fontsize=8, rotation=30, zorder=6)
    axes.set_xlim(-0.9, len(ops) - 0.4)
    axes.set_ylim(-1.1, highest + 0.3)
    shown = {names[kind - 1] for _, _, kind in edges} if vocabulary.edge_ops else set()
    handles = [
        Line2D([], [], color=colour[name], lw=2.5, label=name) for name in names if name in shown
    ]
    if handles:
        axes.legend(handles=handles, fontsize=9, frameon=False, loc="upper left")
    return figure


def arc(axes: Axes, i: int, j: int, rise: float, colour: str, width: float) -> None:
    """Half an ellipse from node i to node j, above the line if ``rise`` > 0, with an arrowhead."""
    angle = np.linspace(np.pi, 0, 240)
    x = (i + j) / 2 + (j - i) / 2 * np.cos(angle)
    y = (j - i) * rise * np.sin(angle)
    outside = np.hypot(x - i, y) > RADIUS
    outside &= np.hypot(x - j, y) > RADIUS + 0.02
    x, y = x[outside], y[outside]
    axes.plot(x[:-1], y[:-1], color=colour, linewidth=width, zorder=2, solid_capstyle="butt")
    axes.annotate(
        "",
        (x[-1], y[-1]),
        (x[-6], y[-6]),
        arrowprops={"arrowstyle": "-|>", "color": colour, "lw": width, "shrinkA": 0, "shrinkB": 0},
        zorder=3,
    )
