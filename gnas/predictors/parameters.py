"""The number of parameters of a benchmark's network, straight from its cell's graph."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gnas.errors import GraphError
from gnas.graphs import DenseBatch, Graphs, as_batch
from gnas.predictors.features import Rows
from gnas.spaces.nasbench101 import OPS
from gnas.spaces.nasbench201 import CANDIDATES, ROLES
from gnas.spaces.vocabulary import check_vocabulary

STEM_CHANNELS = 128
NUM_STACKS = 3
CELLS_PER_STACK = 3
NUM_CLASSES = 10
IMAGE_CHANNELS = 3
"""The benchmark's network: Ying et al., ICML 2019, section 2.2."""


@dataclass(frozen=True)
class NASBench101Params:
    """One column: the number of trainable parameters of every cell's NAS-Bench-101 network."""

    name: str = field(default="number of parameters", init=False)

    def __call__(self, graphs: Graphs) -> Rows:
        """Rows float64 [N, 1]."""
        batch = as_batch(graphs)
        return nasbench101_num_params(batch).astype(np.float64)[:, None]


@dataclass(frozen=True)
class NASBench201Params:
    """One column: the number of trainable parameters of every cell's NAS-Bench-201 network.

    For ten classes; dead branches count, as in the benchmark. Up to a constant.
    """

    name: str = field(default="number of parameters", init=False)

    def __call__(self, graphs: Graphs) -> Rows:
        """Rows float64 [N, 1].

        Raises:
            GraphError: the vocabulary is not that of NAS-Bench-201.
        """
        batch = as_batch(graphs)
        check_vocabulary(batch, len(ROLES), len(CANDIDATES) - 1)
        total = torch.zeros(len(batch))
        for name, size in (("nor_conv_1x1", 1), ("nor_conv_3x3", 3)):
            count = (batch.adjacency == CANDIDATES.index(name)).sum((1, 2))
            total += count * sum(5 * _conv(width, width, kernel=size) for width in (16, 32, 64))
        return total.double().numpy()[:, None]


def nasbench101_num_params(batch: DenseBatch) -> NDArray[np.int64]:
    """Trainable parameters of the benchmark's network of every cell: int64 [N].

    Isomorphic cells can differ by a few channels: those left over when the output's are divided
    among its inputs go to the vertices that come first.

    Args:
        batch: N cells without dead vertices.

    Raises:
        GraphError: the vocabulary is not that of NAS-Bench-101.

    Source: Ying et al., NAS-Bench-101, ICML 2019, section 2.1 and appendix; convolutions carry no
    bias, each is followed by a batch normalisation of two parameters a channel.
    """
    if batch.num_ops != len(OPS) or batch.has_edge_ops:
        raise GraphError(f"cells must have the {len(OPS)} NAS-Bench-101 ops, got {batch.num_ops}")
    channels = STEM_CHANNELS
    total = torch.full((len(batch),), _conv(IMAGE_CHANNELS, channels, kernel=3))
    for (in_channels, out_channels), count in _cells().items():
        total += count * _cell_params(batch, in_channels, out_channels)
        channels = out_channels
    counts: NDArray[np.int64] = (total + (channels + 1) * NUM_CLASSES).numpy()
    return counts


def _cells() -> Counter[tuple[int, int]]:
    """How many cells have which (input, output) channels, from stem to classifier."""
    widths = [
        STEM_CHANNELS * 2**stack for stack in range(NUM_STACKS) for _ in range(CELLS_PER_STACK)
    ]
    return Counter(zip([STEM_CHANNELS, *widths[:-1]], widths, strict=True))


def _conv(in_channels: int, out_channels: int, *, kernel: int) -> int:
    """Parameters of a convolution and its batch normalisation."""
    return kernel**2 * in_channels * out_channels + 2 * out_channels


def _cell_params(batch: DenseBatch, in_channels: int, out_channels: int) -> Tensor:
    """Parameters of one cell: its operations and the projections of its input, int64 [N]."""
    edges = batch.adjacency.long()
    last = torch.nn.functional.one_hot(batch.num_nodes - 1, batch.max_nodes)  # [N, n]
    to_output = (edges * last[:, None, :]).sum(2)  # [N, n]
    width = vertex_channels(batch, out_channels)
    inner = (1 - last) * (batch.ops >= 0)
    inner[:, 0] = 0
    kernel = (batch.ops == OPS.index("conv3x3-bn-relu")).long() * 9
    kernel += (batch.ops == OPS.index("conv1x1-bn-relu")).long()
    convs = (kernel * width**2 + 2 * width * (kernel > 0)) * inner
    projections = edges[:, 0] * inner * (in_channels + 2) * width
    skip = to_output[:, 0] * _conv(in_channels, out_channels, kernel=1)
    return (convs + projections).sum(1) + skip


def vertex_channels(batch: DenseBatch, out_channels: int) -> Tensor:
    """Channels of every inner vertex, int64 [N, n] (0 for input, output and padding).

    The output concatenates its inner inputs, which share its channels evenly; any other vertex
    has as many channels as the widest vertex it feeds.
    """
    n = batch.max_nodes
    edges = batch.adjacency.long()
    last = torch.nn.functional.one_hot(batch.num_nodes - 1, n)
    feeds = (edges * last[:, None, :]).sum(2)
    feeds[:, 0] = 0  # the input is projected and added, not concatenated
    fan_in = feeds.sum(1, keepdim=True).clamp(min=1)
    extra = (feeds.cumsum(1) <= out_channels % fan_in).long()
    width = feeds * (out_channels // fan_in + extra)
    for v in range(n - 2, 0, -1):
        widest = (edges[:, v] * width).amax(1)
        width[:, v] = torch.where(feeds[:, v] > 0, width[:, v], widest)
    return width
