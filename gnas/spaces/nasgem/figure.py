"""Pictures of NASGEM cells: layers of nodes from the input on the left to the output."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch_geometric.data import Data

from gnas.spaces.nasgem.network import Wiring, wiring
from gnas.spaces.nasgem.space import OPS
from gnas.style import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gnas.figure import Figure

OP_COLOURS = dict(zip(OPS, (COLOURS[1], COLOURS[2]), strict=True))
OP_LABELS = dict(zip(OPS, ("1x1 convolution", "3x3 depthwise separable"), strict=True))


def nasgem_cell_figure(graph: Data) -> Figure:
    """What of a NASGEM cell is built, from its input on the left to its output on the right."""
    from matplotlib.lines import Line2D

    from gnas.figure import Figure

    cell = wiring(graph)
    places = _places(cell)
    columns, rows = np.ptp(places[:, 0]) + 3, np.ptp(places[:, 1]) + 1
    figure = Figure(
        figsize=(max(6.0, 0.72 * columns + 1), max(3.0, 0.62 * rows + 1.4)), layout="constrained"
    )
    axes = figure.subplots()
    axes.set_axis_off()
    _draw_edges(axes, cell, places)
    _draw_nodes(axes, cell, places)
    edges = sum(len(inputs) for inputs in cell.inputs)
    axes.set_title(
        f"{len(cell.ops)} operations, {edges} connections, {len(cell.outputs)} joined as output",
        fontsize=11,
    )
    handles = [
        Line2D([], [], marker="o", ls="", ms=9, mfc=OP_COLOURS[op], mec="#333333", label=label)
        for op, label in OP_LABELS.items()
    ]
    axes.legend(
        handles=handles, fontsize=9, frameon=False, ncols=2, loc="upper center",
        bbox_to_anchor=(0.5, 0.02),
    )  # fmt: skip
    return figure


def _places(cell: Wiring) -> NDArray[np.float64]:
    """X is the longest path from node 0; y keeps a node near what it is joined to: [n, 2]."""
    depth = np.zeros(len(cell.ops), dtype=int)
    for j, inputs in enumerate(cell.inputs):
        depth[j] = max((depth[i] + 1 for i in inputs), default=0)
    readers: list[list[int]] = [[] for _ in cell.ops]
    for j, inputs in enumerate(cell.inputs):
        for i in inputs:
            readers[i].append(j)
    y = np.zeros(len(cell.ops))
    layers = [np.flatnonzero(depth == d) for d in range(depth.max() + 1)]
    for sweep in range(8):
        sides = cell.inputs if sweep % 2 == 0 else readers
        for layer in layers if sweep % 2 == 0 else layers[::-1]:
            wanted = [np.mean(y[list(sides[j])]) if sides[j] else y[j] for j in layer]
            order = np.argsort(np.array(wanted) + 1e-6 * np.arange(len(layer)), kind="stable")
            for place, k in enumerate(order):
                y[layer[k]] = place - (len(layer) - 1) / 2
    # Neighbouring layers half a step apart, so that long edges pass between nodes.
    y += np.where(depth % 2 == 1, 0.22, -0.22) * (np.array([len(layers[d]) for d in depth]) > 0)
    return np.stack([depth.astype(float), y], 1)


def _draw_edges(axes: Axes, cell: Wiring, places: NDArray[np.float64]) -> None:
    from matplotlib.patches import FancyArrowPatch

    ends = [
        (places[i], places[j], "#4a6a86") for j, inputs in enumerate(cell.inputs) for i in inputs
    ]
    start, end = _ends(places)
    ends += [(start, places[0], "#999999"), *((places[j], end, "#999999") for j in cell.outputs)]
    for a, b, colour in ends:
        span = b[0] - a[0]
        bend = 0.0 if span <= 1 else 0.16 * np.sign(a[1] + b[1] + 0.01)
        axes.add_patch(
            FancyArrowPatch(
                (float(a[0]), float(a[1])),
                (float(b[0]), float(b[1])),
                connectionstyle=f"arc3,rad={-bend:.3f}",
                arrowstyle="-|>",
                mutation_scale=7,
                shrinkA=9,
                shrinkB=10,
                color=colour,
                linewidth=0.8,
                alpha=0.75,
                zorder=1,
            )
        )


def _ends(places: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where the cell's input and output stand."""
    first, last = places[:, 0].min() - 1, places[:, 0].max() + 1
    return np.array([first, places[0, 1]]), np.array([last, 0.0])


def _draw_nodes(axes: Axes, cell: Wiring, places: NDArray[np.float64]) -> None:
    colours = [OP_COLOURS[op] for op in cell.ops]
    axes.scatter(
        places[:, 0],
        places[:, 1],
        s=230,
        c=colours,
        edgecolors="#333333",
        linewidths=0.8,
        zorder=2,
    )
    for k, (x, y) in enumerate(places):
        axes.text(x, y, str(k), ha="center", va="center", fontsize=7.5, zorder=3)
    for name, (x, y) in zip(("in", "out"), _ends(places), strict=True):
        box = {"boxstyle": "round,pad=0.3", "fc": "#eeeeee", "ec": "#666666"}
        axes.text(x, y, name, ha="center", va="center", fontsize=9, bbox=box, zorder=3)
    axes.set_xlim(places[:, 0].min() - 1.5, places[:, 0].max() + 1.6)
    axes.set_ylim(places[:, 1].min() - 1.0, places[:, 1].max() + 0.7)
