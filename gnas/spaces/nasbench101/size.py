"""Parameters of many NAS-Bench-101 networks at once, straight from their cells' graphs."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gnas.errors import GraphError
from gnas.graphs import DenseBatch, Graphs, as_batch
from gnas.spaces.convolutions import conv_norm_params
from gnas.spaces.nasbench101 import OPS
from gnas.spaces.nasbench101.config import NASBench101NetworkConfig


def nasbench101_num_params(
    batch: Graphs, config: NASBench101NetworkConfig | None = None
) -> NDArray[np.int64]:
    """Trainable parameters of every cell's network, without building it: int64 [N].

    Isomorphic cells can differ by a few channels: those left over when the output's are divided
    among its inputs go to the vertices that come first.

    Args:
        batch: N cells without dead vertices.
        config: Size of the networks; None for the benchmark's.

    Raises:
        GraphError: the vocabulary is not that of NAS-Bench-101.

    Source: Ying et al., NAS-Bench-101, ICML 2019, section 2.1 and appendix; convolutions carry no
    bias, each is followed by a batch normalisation of two parameters a channel.

    Examples:
        >>> from gnas.models import nasbench101_network, num_params
        >>> from gnas.spaces import NASBench101
        >>> cell = NASBench101().from_str("input,conv3x3-bn-relu,maxpool3x3,output|33")
        >>> config = NASBench101NetworkConfig(stem_channels=8)
        >>> counts = nasbench101_num_params(DenseBatch.from_data([cell]), config)
        >>> counts == num_params(nasbench101_network(cell, config))
        array([ True])
    """
    batch = as_batch(batch)
    if batch.num_ops != len(OPS) or batch.has_edge_ops:
        raise GraphError(f"cells must have the {len(OPS)} NAS-Bench-101 ops, got {batch.num_ops}")
    config = config or NASBench101NetworkConfig()
    channels = width = config.stem_channels
    total = torch.full((len(batch),), conv_norm_params(config.in_channels, width, 3))
    for _ in range(config.num_stacks):
        first, later = (_cell_params(batch, before, width) for before in (channels, width))
        total += first + (config.cells_per_stack - 1) * later
        channels, width = width, 2 * width
    counts: NDArray[np.int64] = (total + (channels + 1) * config.num_classes).numpy()
    return counts


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
    skip = to_output[:, 0] * conv_norm_params(in_channels, out_channels, 1)
    return (convs + projections).sum(1) + skip


def vertex_channels(batch: DenseBatch, out_channels: int) -> Tensor:
    """Channels of every inner vertex, int64 [N, n] (0 for input, output and padding).

    The output concatenates its inner inputs, which share its channels evenly; any other vertex
    has as many channels as the widest vertex it feeds.
    """
    n = batch.max_nodes
    edges = batch.adjacency.long()
    last = torch.nn.functional.one_hot(batch.num_nodes - 1, n)  # [N, n]
    feeds = (edges * last[:, None, :]).sum(2)  # [N, n]
    feeds[:, 0] = 0  # the input is projected and added, not concatenated
    fan_in = feeds.sum(1, keepdim=True).clamp(min=1)  # [N, 1]
    extra = (feeds.cumsum(1) <= out_channels % fan_in).long()
    width = feeds * (out_channels // fan_in + extra)  # [N, n]
    for v in range(n - 2, 0, -1):
        widest = (edges[:, v] * width).amax(1)
        width[:, v] = torch.where(feeds[:, v] > 0, width[:, v], widest)
    return width
