"""The trainable network of a NAS-Bench-201 cell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from gnas.geometric import Data
from gnas.graphs import to_adjacency
from gnas.spaces.convolutions import Norm, conv_norm
from gnas.spaces.nasbench201 import CANDIDATES, EDGES, NUM_NODES, NASBench201
from gnas.spaces.nasbench201.config import NASBench201NetworkConfig

NUM_STAGES = 3
"""Stages of cells; a residual block between two of them halves the maps and doubles the width."""

Edge = tuple[int, int, str]
"""Source, target and operation."""


def nasbench201_network(
    graph: Data, config: NASBench201NetworkConfig | None = None
) -> NASBench201Network:
    """The benchmark's network of a cell.

    Args:
        graph: A NAS-Bench-201 architecture.
        config: Size; None for the benchmark's.

    Raises:
        GraphError: ``graph`` is not a NAS-Bench-201 cell.

    Examples:
        >>> from gnas.spaces import NASBench201
        >>> config = NASBench201NetworkConfig(channels=4, cells_per_stage=1)
        >>> network = nasbench201_network(NASBench201().enumerate().data(9), config)
        >>> network(torch.zeros(2, 3, 16, 16)).shape
        torch.Size([2, 10])
    """
    return NASBench201Network(**network_arguments(graph, config or NASBench201NetworkConfig()))


def network_arguments(graph: Data, config: NASBench201NetworkConfig) -> dict[str, Any]:
    """Arguments of a cell's `NASBench201Network`; its edges by target and then by source.

    Args:
        graph: A NAS-Bench-201 architecture.
        config: Size.

    Raises:
        GraphError: ``graph`` is not a NAS-Bench-201 cell.
    """
    NASBench201().validate(graph)
    adjacency, _ = to_adjacency(graph)  # [n, n], operations
    return {
        "edges": tuple(
            (i, j, CANDIDATES[int(adjacency[i, j])]) for i, j in EDGES if adjacency[i, j]
        ),
        "in_channels": config.in_channels,
        "num_classes": config.num_classes,
        "channels": config.channels,
        "cells_per_stage": config.cells_per_stage,
    }


class NASBench201Network(nn.Module):
    """Stem, three stages of cells with residual blocks between them, global average, classifier.

    Args:
        edges: Source, target and operation of the edges of a cell.
        in_channels: Image channels.
        num_classes: Width of the classifier.
        channels: Channels of the first stage; each later stage doubles them.
        cells_per_stage: Cells in each of the three stages.

    Source: Dong and Yang, NAS-Bench-201, ICLR 2020, figure 1 and section 2.1, and the published
    code. No difference is known.

    Examples:
        >>> network = NASBench201Network(
        ...     edges=((0, 1, "nor_conv_3x3"), (0, 3, "skip_connect"), (1, 3, "avg_pool_3x3")),
        ...     in_channels=3, num_classes=10, channels=4, cells_per_stage=1,
        ... )
        >>> network(torch.zeros(2, 3, 16, 16)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        *,
        edges: tuple[Edge, ...],
        in_channels: int,
        num_classes: int,
        channels: int,
        cells_per_stage: int,
    ) -> None:
        super().__init__()
        width = channels
        self.stem = nn.Sequential(*conv_norm(in_channels, width, 3))
        self.layers = nn.ModuleList()
        for stage in range(NUM_STAGES):
            if stage:
                self.layers.append(ResidualReduction(width, 2 * width))
                width *= 2
            self.layers.extend(NASBench201Cell(edges, width) for _ in range(cells_per_stage))
        self.last = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU())
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> logits [B, num_classes]."""
        x = self.stem(images)  # [B, channels, H, W]
        for layer in self.layers:
            x = layer(x)  # [B, 4 * channels, H / 4, W / 4] in the end
        logits: Tensor = self.classifier(self.last(x).mean((2, 3)))
        return logits


class NASBench201Cell(nn.Module):
    """Four feature maps; each is the sum of the operations that enter it.

    A map that nothing enters is zero, and operations on it are computed all the same, as in the
    benchmark: a batch norm turns zeros into its own shift.

    Args:
        edges: Source, target and operation.
        channels: Channels of all maps.
    """

    def __init__(self, edges: tuple[Edge, ...], channels: int) -> None:
        super().__init__()
        self.edges = [(source, target) for source, target, _ in edges]
        self.ops = nn.ModuleList(OPERATIONS[op](channels) for _, _, op in edges)

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, H, W] -> the same shape."""
        maps = [x, *[torch.zeros_like(x)] * (NUM_NODES - 1)]  # [B, channels, H, W] each
        for (source, target), op in zip(self.edges, self.ops, strict=True):
            maps[target] = maps[target] + op(maps[source])
        return maps[-1]


class ResidualReduction(nn.Module):
    """ResNet's basic block with stride 2; the shortcut averages 2x2 pixels, then widens.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the result.
        norm: Makes the batch norms.
    """

    def __init__(self, in_channels: int, out_channels: int, norm: Norm = nn.BatchNorm2d) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.ReLU(),
            *conv_norm(in_channels, out_channels, 3, 2, norm),
            nn.ReLU(),
            *conv_norm(out_channels, out_channels, 3, 1, norm),
        )
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2, stride=2, ceil_mode=True),
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_channels, H, W] -> [B, out_channels, ceil(H / 2), ceil(W / 2)]."""
        out: Tensor = self.shortcut(x) + self.block(x)
        return out


OPERATIONS: dict[str, Callable[[int], nn.Module]] = {
    "skip_connect": lambda channels: nn.Identity(),
    "nor_conv_1x1": lambda channels: nn.Sequential(nn.ReLU(), *conv_norm(channels, channels, 1)),
    "nor_conv_3x3": lambda channels: nn.Sequential(nn.ReLU(), *conv_norm(channels, channels, 3)),
    "avg_pool_3x3": lambda channels: nn.AvgPool2d(3, 1, padding=1, count_include_pad=False),
}
"""Makes each operation of the benchmark, from ``channels`` to ``channels``."""
