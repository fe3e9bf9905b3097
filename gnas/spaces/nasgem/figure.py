"""Pictures of NASGEM cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnas.geometric import Data
from gnas.printable import amount
from gnas.spaces.drawing import END, LINE, Box, graph_figure
from gnas.spaces.nasgem.network import wiring
from gnas.spaces.nasgem.space import OPS
from gnas.style import COLOURS

if TYPE_CHECKING:
    from gnas.figure import Figure

OP_COLOURS = dict(zip(OPS, (COLOURS[1], COLOURS[2]), strict=True))
OP_LABELS = dict(zip(OPS, ("1x1 convolution", "3x3 depthwise separable"), strict=True))


def nasgem_cell_figure(graph: Data) -> Figure:
    """Figure of the built part of a NASGEM cell, from input (left) to output (right)."""
    cell = wiring(graph)
    end = len(cell.ops) + 1
    boxes = [
        Box(text="in", colour=END, is_light=False),
        *(Box(text=str(k), colour=OP_COLOURS[op]) for k, op in enumerate(cell.ops)),
        Box(text="out", colour=END, is_light=False),
    ]
    edges = {(i + 1, j + 1): LINE for j, inputs in enumerate(cell.inputs) for i in inputs}
    ends = {(0, 1): "#a9b1ba"} | {(j + 1, end): "#a9b1ba" for j in cell.outputs}
    return graph_figure(
        boxes,
        edges | ends,
        title=f"{amount(len(cell.ops), 'operation')}, {amount(len(edges), 'connection')}, "
        f"{len(cell.outputs)} joined as output",
        legend={OP_LABELS[op]: OP_COLOURS[op] for op in OPS},
    )
