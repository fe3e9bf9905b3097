"""Pictures of cells: nodes and, in boxes on the edges between them, operations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from gnas.config import checked
from gnas.printable import amount
from gnas.spaces.drawing import END, Box, graph_figure, with_operations
from gnas.spaces.toponas.cells import CELL_TYPES, PRIMITIVES
from gnas.spaces.toponas.genotype import Genotype
from gnas.style import COLOURS
from gnas.topology import candidate_edges

if TYPE_CHECKING:
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


@checked
def cell_figures(
    genotype: Genotype, edge_probabilities: Mapping[str, Tensor] | None = None
) -> dict[str, Figure]:
    """A figure of each cell by its name, "normal" and "reduce".

    Args:
        genotype: The cells.
        edge_probabilities: For each cell, how probable every candidate edge is [E]; printed below
            the kept ones' operations.

    Examples:
        >>> import numpy as np
        >>> from gnas.spaces import TopoNAS
        >>> cells = Genotype.from_graph(TopoNAS.darts().sample(np.random.default_rng(0)))
        >>> sorted(cell_figures(cells))
        ['normal', 'reduce']
    """
    return {
        cell: _cell_figure(genotype, cell, (edge_probabilities or {}).get(cell))
        for cell in CELL_TYPES
    }


def _cell_figure(genotype: Genotype, cell: str, probabilities: Tensor | None) -> Figure:
    entries = getattr(genotype, cell)
    end = len(entries) + 2
    rows = {edge: row for row, edge in enumerate(candidate_edges(end + 1))}
    kept = [(op, i, j) for j, node in enumerate(entries, start=2) for op, i in node]
    names = [*map(node_name, range(end)), "cₖ"]
    states = [
        Box(text=name, colour=END if k in (0, 1, end) else "white", is_light=False)
        for k, name in enumerate(names)
    ]
    texts = {
        (i, j): LABELS[op]
        + ("" if probabilities is None else f"\n{float(probabilities[rows[i, j]]):.2f}")
        for op, i, j in kept
    }
    boxes, edges = with_operations(
        states, [(i, j, texts[i, j], OP_COLOURS[op]) for op, i, j in kept]
    )
    place = [k for k, box in enumerate(boxes) if not box.late]
    edges |= {(place[j], place[end]): "#b9bfc6" for j in getattr(genotype, f"{cell}_concat")}
    notes = ["light grey: joined to the output"]
    if probabilities is not None:
        notes.append("numbers: probability of the edge")
    return graph_figure(
        boxes,
        edges,
        title=f"{TITLES[cell]}: {amount(len(kept), 'operation')}",
        note="; ".join(notes),
    )


def node_name(node: int) -> str:
    """Label of a cell's node in figures: an output of an earlier cell, or a number."""
    return ("cₖ₋₂", "cₖ₋₁")[node] if node < 2 else str(node)
