"""Pictures of cells: nodes in order on a line, operations as labelled arcs above it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from gnas.spaces.drawing import RADIUS, RISE, arc
from gnas.spaces.toponas.cells import CELL_TYPES, PRIMITIVES
from gnas.spaces.toponas.genotype import Genotype
from gnas.style import COLOURS
from gnas.topology import candidate_edges

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gnas.figure import Figure

TITLES = {"normal": "Normal cell", "reduce": "Reduction cell"}
LABELS = {
    "max_pool_3x3": "max 3x3",
    "avg_pool_3x3": "avg 3x3",
    "skip_connect": "skip",
    "sep_conv_3x3": "sep 3x3",
    "sep_conv_5x5": "sep 5x5",
    "dil_conv_3x3": "dil 3x3",
    "dil_conv_5x5": "dil 5x5",
}
OP_COLOURS = dict(zip(PRIMITIVES, (COLOURS[i] for i in (2, 4, 7, 5, 6, 1, 3)), strict=True))
"""A colour for every operation; the same in all figures."""


def cell_figures(
    genotype: Genotype, edge_probabilities: Mapping[str, Tensor] | None = None
) -> dict[str, Figure]:
    """A figure of each cell by its name, "normal" and "reduce".

    Args:
        genotype: The cells.
        edge_probabilities: For each cell, how probable every candidate edge is [E]; printed below
            the kept ones' operations.
    """
    return {
        cell: _cell_figure(genotype, cell, (edge_probabilities or {}).get(cell))
        for cell in CELL_TYPES
    }


def _cell_figure(genotype: Genotype, cell: str, probabilities: Tensor | None) -> Figure:
    from gnas.figure import Figure

    entries = getattr(genotype, cell)
    num_nodes = len(entries) + 3
    rows = {edge: row for row, edge in enumerate(candidate_edges(num_nodes))}
    kept = [(op, i, j) for j, node in enumerate(entries, start=2) for op, i in node]
    highest = max(j - i for _, i, j in kept) * RISE
    figure = Figure(figsize=(1.55 * num_nodes, 1.5 * highest + 1.9), layout="constrained")
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set_xlim(-0.45, num_nodes - 0.55)
    axes.set_ylim(-0.85, highest + 0.4)
    axes.set_title(f"{TITLES[cell]}: {len(kept)} operations", fontsize=12)
    for j in getattr(genotype, f"{cell}_concat"):
        arc(axes, j, num_nodes - 1, -0.14, "#bbbbbb", 1.0)
    for op, i, j in kept:
        height = (j - i) * RISE
        arc(axes, i, j, RISE, OP_COLOURS[op], 2.2)
        label = LABELS[op]
        if probabilities is not None:
            label += f"\n{float(probabilities[rows[i, j]]):.2f}"
        axes.text(
            *((i + j) / 2, height),
            label,
            ha="center",
            va="center",
            fontsize=9,
            bbox={"boxstyle": "round,pad=0.2", "fc": "white", "ec": OP_COLOURS[op], "lw": 1},
            zorder=4,
        )
    _nodes(axes, num_nodes)
    notes = ["grey: joined to the output"]
    if probabilities is not None:
        notes.append("numbers: probability of the edge")
    axes.text(-0.4, -0.8, "; ".join(notes), fontsize=8, color="#555555", va="bottom")
    return figure


def _nodes(axes: Axes, num_nodes: int) -> None:
    from matplotlib.patches import Circle

    names = ["$c_{k-2}$", "$c_{k-1}$", *(str(j) for j in range(2, num_nodes - 1)), "$c_k$"]
    for x, name in enumerate(names):
        is_end = x < 2 or x == num_nodes - 1
        axes.add_patch(
            Circle((x, 0), RADIUS, fc="#dbe9f6" if is_end else "white", ec="#333333", zorder=5)
        )
        axes.text(x, 0, name, ha="center", va="center", fontsize=10, zorder=6)
    axes.set_aspect("equal")
