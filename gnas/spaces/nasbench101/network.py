"""The trainable network of a NAS-Bench-101 cell."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from gnas.errors import ConfigError
from gnas.geometric import Data
from gnas.graphs import to_adjacency
from gnas.spaces import NASBench101
from gnas.spaces.convolutions import conv_norm
from gnas.spaces.nasbench101 import OPS
from gnas.spaces.nasbench101.config import NASBench101NetworkConfig


def nasbench101_network(
    cell: Data, config: NASBench101NetworkConfig | None = None
) -> NASBench101Network:
    """The network that stacks ``cell``.

    Args:
        cell: A NAS-Bench-101 architecture.
        config: Size; None for the benchmark's.

    Shapes:
        The network maps [B, in_channels, H, W] to logits [B, num_classes].

    Raises:
        GraphError: ``cell`` is not a NAS-Bench-101 cell.
        ConfigError: its vertices are more than the channels that they share.

    Examples:
        >>> import torch
        >>> from gnas.spaces import NASBench101
        >>> cell = NASBench101().from_str("input,conv3x3-bn-relu,maxpool3x3,output|33")
        >>> config = NASBench101NetworkConfig(stem_channels=8, cells_per_stack=1)
        >>> nasbench101_network(cell, config)(torch.zeros(2, 3, 16, 16)).shape
        torch.Size([2, 10])
    """
    return NASBench101Network(**network_arguments(cell, config or NASBench101NetworkConfig()))


def network_arguments(cell: Data, config: NASBench101NetworkConfig) -> dict[str, Any]:
    """Arguments of a cell's `NASBench101Network`.

    Args:
        cell: A NAS-Bench-101 architecture.
        config: Size.

    Raises:
        GraphError: ``cell`` is not a NAS-Bench-101 cell.
        ConfigError: the vertices that share the output's channels are more than these.
    """
    NASBench101().validate(cell)
    adjacency, ops = to_adjacency(cell)  # [n, n] and [n]
    sharing = int(adjacency[1:, -1].sum())
    if config.stem_channels < sharing:
        raise ConfigError(
            f"stem_channels must be at least {sharing}, one for each of the {sharing} vertices "
            f"that share the output's channels, but is {config.stem_channels}"
        )
    return {
        "ops": tuple(OPS[op] for op in ops.tolist()),
        "edges": tuple(map(tuple, adjacency.nonzero().tolist())),
        "in_channels": config.in_channels,
        "num_classes": config.num_classes,
        "stem_channels": config.stem_channels,
        "num_stacks": config.num_stacks,
        "cells_per_stack": config.cells_per_stack,
    }


class NASBench101Network(nn.Module):
    """Stem, stacks of cells with max-pools between them, global average, classifier.

    A seed gives the weights of the package nasbench-pytorch, and the same outputs. Its batch norms
    are PyTorch's: nasbench-pytorch's own momentum of 0.997 is TensorFlow's weight of the old
    statistics, where PyTorch's is that of the new ones.

    Args:
        ops: Operations of the vertices, with "input" first and "output" last.
        edges: Source and target of every edge, the lower vertex first.
        in_channels: Image channels.
        num_classes: Width of the classifier.
        stem_channels: Channels of the first stack; each later stack doubles them.
        num_stacks: Stacks, with a 2x2 max-pool between them.
        cells_per_stack: Cells in each stack.

    Source: Ying et al., NAS-Bench-101, ICML 2019, section 2.2.

    Examples:
        >>> network = NASBench101Network(
        ...     ops=("input", "conv3x3-bn-relu", "output"), edges=((0, 1), (1, 2)), in_channels=3,
        ...     num_classes=10, stem_channels=8, num_stacks=3, cells_per_stack=1,
        ... )
        >>> network(torch.zeros(2, 3, 16, 16)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        *,
        ops: tuple[str, ...],
        edges: tuple[tuple[int, int], ...],
        in_channels: int,
        num_classes: int,
        stem_channels: int,
        num_stacks: int,
        cells_per_stack: int,
    ) -> None:
        super().__init__()
        last = width = stem_channels
        self.layers = nn.ModuleList([conv_norm_relu(in_channels, width, 3)])
        for stack in range(num_stacks):
            if stack:
                self.layers.append(nn.MaxPool2d(2, stride=2))
                width *= 2
            for _ in range(cells_per_stack):
                self.layers.append(NASBench101Cell(ops, edges, last, width))
                last = width
        self.classifier = nn.Linear(width, num_classes)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights anew."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
                nn.init.normal_(module.weight, 0, math.sqrt(2 / fan_out))
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01)
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """[B, in_channels, H, W] -> logits [B, num_classes]."""
        x = images
        for layer in self.layers:
            x = layer(x)  # [B, width, h, w]
        logits: Tensor = self.classifier(x.mean((2, 3)))
        return logits


class NASBench101Cell(nn.Module):
    """Vertices that add up what they read; those that the output reads are joined.

    What reads the cell's input reads a projection of it, and a vertex reads as many channels of
    another as it has itself.

    Args:
        ops: Operations of the vertices, with "input" first and "output" last.
        edges: Source and target of every edge.
        in_channels: Channels of the input.
        out_channels: Channels of the output.
    """

    def __init__(
        self,
        ops: tuple[str, ...],
        edges: tuple[tuple[int, int], ...],
        in_channels: int,
        out_channels: int,
    ) -> None:
        super().__init__()
        last = len(ops) - 1
        self.widths = vertex_widths(edges, last, out_channels)
        self.inputs = [[s for s, t in edges if s and t == vertex] for vertex in range(last + 1)]
        self.ops, self.projections = nn.ModuleDict(), nn.ModuleDict()
        draw_placeholder()
        for t in range(1, last):
            self.ops[str(t)] = OPERATIONS[ops[t]](self.widths[t])
        draw_placeholder()
        for t in range(1, last + 1):
            if (0, t) in edges:
                self.projections[str(t)] = conv_norm_relu(in_channels, self.widths[t], 1)
            else:
                draw_placeholder()

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_channels, H, W] -> [B, out_channels, H, W]."""
        values = [x]  # [B, widths[t], H, W] for every vertex t but the input
        for t, op in enumerate(self.ops.values(), start=1):
            read = [values[s][:, : self.widths[t]] for s in self.inputs[t]]
            if str(t) in self.projections:
                read.append(self.projections[str(t)](x))
            values.append(op(reduce(torch.add, read)))
        last = len(self.inputs) - 1
        joined = (
            [torch.cat([values[s] for s in self.inputs[last]], 1)] if self.inputs[last] else []
        )
        if str(last) in self.projections:
            joined.append(self.projections[str(last)](x))
        return reduce(torch.add, joined)


def vertex_widths(edges: tuple[tuple[int, int], ...], last: int, out_channels: int) -> list[int]:
    """Channels of every vertex; 0 for the input.

    The vertices that the output reads share its channels evenly, the first of them taking one more
    where some are left over; any other vertex is as wide as the widest that reads it.

    Args:
        edges: Source and target of every edge.
        last: The output.
        out_channels: Channels of the output.
    """
    joined = [s for s, t in edges if s and t == last]
    widths = [0] * last + [out_channels]
    for k, vertex in enumerate(sorted(joined)):
        widths[vertex] = out_channels // len(joined) + (k < out_channels % len(joined))
    for vertex in reversed(range(1, last)):
        if vertex not in joined:
            widths[vertex] = max(widths[t] for s, t in edges if s == vertex)
    return widths


def conv_norm_relu(in_channels: int, out_channels: int, kernel: int) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    return nn.Sequential(*conv_norm(in_channels, out_channels, kernel), nn.ReLU())


def draw_placeholder() -> None:
    """Draw a number and forget it, as nasbench-pytorch does for every part that a cell lacks.

    The numbers after it, and so the weights of a seed, are then those of nasbench-pytorch.
    """
    torch.randn(())


OPERATIONS: dict[str, Callable[[int], nn.Module]] = {
    "conv3x3-bn-relu": lambda channels: conv_norm_relu(channels, channels, 3),
    "conv1x1-bn-relu": lambda channels: conv_norm_relu(channels, channels, 1),
    "maxpool3x3": lambda channels: nn.MaxPool2d(3, stride=1, padding=1),
}
"""Makes each operation, from ``channels`` to ``channels``."""
