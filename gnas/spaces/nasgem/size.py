"""Multiply-accumulates of many NASGEM networks at once, straight from their cells' graphs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gnas.errors import GraphError
from gnas.graphs import DenseBatch, prune_batch
from gnas.spaces.nasgem import OPS
from gnas.spaces.nasgem.network import NasgemNetworkConfig, spread

CHUNK = 1_000
"""Cells counted at a time: they stay in cache."""


@dataclass(frozen=True)
class _Counts:
    """What of a cell its network's size depends on, int64 [N] each."""

    joined: Tensor
    """Inputs of all nodes that are built."""
    joined_by_separable: Tensor
    """Those of separable convolutions."""
    separable_start: Tensor
    """1 if node 0, which reads the cell's input, is a separable convolution."""
    outputs: Tensor
    """Nodes that the cell's output joins."""


def nasgem_macs(
    cells: DenseBatch, config: NasgemNetworkConfig, image_size: int
) -> NDArray[np.int64]:
    """`gnas.models.num_macs` of every cell's network, without building it: int64 [N].

    Exact, for the nodes that are dropped and the cap on joined inputs too: what
    `gnas.spaces.nasgem.network.wiring` builds of each cell is counted. 50,000 cells take a second
    or two.

    Args:
        cells: N NASGEM cells, dead nodes included or not.
        config: Size and form of the networks.
        image_size: Pixels a side of their images.

    Raises:
        GraphError: the cells are not of the NASGEM vocabulary.
    """
    if cells.num_ops != len(OPS) or cells.has_edge_ops:
        raise GraphError(f"cells must have the {len(OPS)} NASGEM ops, but got {cells.num_ops}")
    parts = [
        _macs(_counts(cells[start : start + CHUNK]), config, image_size)
        for start in range(0, len(cells), CHUNK)
    ]
    total: NDArray[np.int64] = torch.cat([torch.zeros(0, dtype=torch.int64), *parts]).numpy()
    return total


def _macs(cell: _Counts, config: NasgemNetworkConfig, size: int) -> Tensor:
    """The layers of `gnas.spaces.nasgem.network.NasgemNetwork`, one after another: int64 [N]."""
    imagenet = config.stem == "imagenet"
    width = config.channels
    size = (size + 1) // 2 if imagenet else size
    total = torch.full_like(cell.outputs, size**2 * 9 * config.in_channels * width)
    last = torch.full_like(cell.outputs, width)
    for stage in range(config.num_stages):
        if stage:
            width *= 2
        if stage or imagenet:
            size = (size + 1) // 2
            total += size**2 * (9 + width) * last
            last = torch.full_like(last, width)
        inner = width * (width * cell.joined + 9 * cell.joined_by_separable)
        for _ in range(config.cells_per_stage):
            total += size**2 * (inner + (width + 9 * cell.separable_start) * last)
            last = cell.outputs * width
    return total + last * config.num_classes


def _counts(cells: DenseBatch) -> _Counts:
    """Counts of what `gnas.spaces.nasgem.network.wiring` builds."""
    cells = prune_batch(cells, to_output=False)
    edges = cells.adjacency > 0
    leaves = ~edges.any(2) & (cells.ops >= 0)
    joins = edges & _kept(edges)
    read = leaves.clone()
    for j in reversed(range(cells.max_nodes)):  # successors first
        read[:, j] |= (joins[:, j] & read).any(1)
    joined = joins.sum(1) * read  # [N, n]
    separable = cells.ops == OPS.index("dw_sep_conv_3x3")
    return _Counts(
        joined=joined.sum(1),
        joined_by_separable=(joined * separable).sum(1),
        separable_start=separable[:, 0].long(),
        outputs=leaves.sum(1),
    )


def _kept(edges: Tensor) -> Tensor:
    """Which of the possible edges the cap on inputs leaves, bool [N, n, n]."""
    n = edges.size(1)
    kept = torch.zeros(n + 1, n, dtype=torch.bool)
    for degree in range(n + 1):
        kept[degree, spread(list(range(degree)))] = True
    rank = edges.cumsum(1) - 1  # of a source among the target's, [N, n, n]
    degrees = edges.sum(1, keepdim=True).expand_as(rank)
    return kept[degrees, rank.clamp(min=0)]
