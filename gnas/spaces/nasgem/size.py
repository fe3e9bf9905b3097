"""Multiply-accumulates of many NASGEM networks at once, straight from their cells' graphs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gnas.errors import GraphError
from gnas.graphs import DenseBatch, Graphs, as_batch
from gnas.spaces.nasgem import OPS
from gnas.spaces.nasgem.config import NasgemNetworkConfig

CHUNK_SIZE = 1_000
"""Cells counted at a time: they stay in cache."""


@dataclass(frozen=True)
class _Counts:
    """Cell properties that determine the network's size, int64 [N] each."""

    joined: Tensor
    """Inputs of all nodes."""
    joined_by_separable: Tensor
    """Those of separable convolutions."""
    separable_start: Tensor
    """1 if node 0, which reads the cell's input, is a separable convolution."""
    outputs: Tensor
    """Nodes that the cell's output joins."""


def nasgem_macs(cells: Graphs, config: NasgemNetworkConfig, image_size: int) -> NDArray[np.int64]:
    """`gnas.models.num_macs` of every cell's network, without building it: int64 [N].

    Exact. 50,000 cells take a second or two.

    Args:
        cells: N NASGEM cells.
        config: Size and form of the networks.
        image_size: Pixels a side of their images.

    Raises:
        GraphError: the cells are not of the NASGEM vocabulary, or one has a node without input.

    Examples:
        >>> import numpy as np
        >>> from gnas.models import nasgem_network, num_macs
        >>> from gnas.spaces import NASGEM
        >>> cells = NASGEM(num_nodes=8).sample_batch(3, np.random.default_rng(0))
        >>> macs = nasgem_macs(cells, NasgemNetworkConfig(), image_size=32)
        >>> int(macs[0]) == num_macs(nasgem_network(cells.data(0)), (3, 32, 32))
        True
    """
    cells = as_batch(cells)
    if cells.num_ops != len(OPS) or cells.has_edge_ops:
        raise GraphError(f"cells must have the {len(OPS)} NASGEM ops, but got {cells.num_ops}")
    unreached = (cells.ops[:, 1:] >= 0) & ~cells.adjacency[:, :, 1:].bool().any(1)
    if bool(unreached.any()):
        row, node = unreached.nonzero()[0].tolist()
        raise GraphError(
            f"every node of a cell must be reached from node 0, but node {node + 1} of cell {row} "
            "has no input; `gnas.spaces.NASGEM.check` says more"
        )
    parts = [
        _macs(_counts(cells[start : start + CHUNK_SIZE]), config, image_size)
        for start in range(0, len(cells), CHUNK_SIZE)
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
    """Counts of what cells compute."""
    edges = cells.adjacency > 0
    joined = edges.sum(1)  # [N, n]
    separable = cells.ops == OPS.index("dw_sep_conv_3x3")
    return _Counts(
        joined=joined.sum(1),
        joined_by_separable=(joined * separable).sum(1),
        separable_start=separable[:, 0].long(),
        outputs=(~edges.any(2) & (cells.ops >= 0)).sum(1),
    )
