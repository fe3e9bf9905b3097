"""One cell of the supernet, and the operations that leave each of its nodes."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gnas.fused import Block, FeatureMap, Kernels
from gnas.spaces.supernets import MixedWeights
from gnas.spaces.toponas.cells import PRIMITIVES
from gnas.spaces.toponas.primitives import FactorizedReduce, relu_conv_norm
from gnas.topology import candidate_edges

CONVOLUTIONS = {
    "sep_conv_3x3": (3, 1, 2),
    "sep_conv_5x5": (5, 1, 2),
    "dil_conv_3x3": (3, 2, 1),
    "dil_conv_5x5": (5, 2, 1),
}
"""Kernel size, dilation and number of blocks of the operations that have weights."""


class SuperCell(nn.Module):
    """x_j = sum over i < j of s(i, j) o_ij(x_i); the output joins the intermediate nodes.

    With partial channels, the operations see the first ``channels / partial`` of a node's
    channels; the others are added up as they are (at stride 2 through a 2x2 max-pool), and the
    node's channels are shuffled.

    Args:
        c_before: Channels of the output of the cell before the last.
        c_in: Channels of the last cell's output.
        channels: Channels of every node.
        num_nodes: Nodes, the two inputs and the output included.
        partial: The operations see 1/partial of the channels.
        reduction: Halve height and width on the edges from the two inputs.
        shrunk: The first input is twice as large as the second.
    """

    def __init__(
        self,
        c_before: int,
        c_in: int,
        channels: int,
        *,
        num_nodes: int = 7,
        partial: int = 1,
        reduction: bool = False,
        shrunk: bool = False,
    ) -> None:
        super().__init__()
        self.reduction, self.partial = reduction, partial
        self.active = channels // partial
        self.edges = candidate_edges(num_nodes)
        self.preprocess0 = (
            FactorizedReduce(c_before, channels, _norm)
            if shrunk
            else relu_conv_norm(c_before, channels, _norm)
        )
        self.preprocess1 = relu_conv_norm(c_in, channels, _norm)
        self.sources = nn.ModuleList(
            EdgeSource(
                self.active,
                num_edges=sum(i == source for i, _ in self.edges),
                stride=2 if reduction and source < 2 else 1,
            )
            for source in range(num_nodes - 2)
        )

    def forward(
        self, before: Tensor, x: Tensor, weights: MixedWeights, kernels: Kernels
    ) -> Tensor:
        """[B, c_before, H', W'], [B, c_in, H, W] -> [B, (num_nodes - 3) * channels, h, w]."""
        nodes = [self.preprocess0(before), self.preprocess1(x)]  # [B, channels, H, W] each
        factors = weights.ops * weights.edges[:, None]  # [E, 7]
        leaving: list[list[list[FeatureMap]]] = []  # [source][edge of the source][primitive]
        for source in self.sources:
            if len(leaving) >= 2:
                nodes.append(self._node(nodes, leaving, factors, weights.edges, kernels))
            leaving.append(source(nodes[len(leaving)][:, : self.active], kernels))
        nodes.append(self._node(nodes, leaving, factors, weights.edges, kernels))
        return torch.cat(nodes[2:], 1)  # [B, (num_nodes - 3) * channels, h, w]

    def _node(
        self,
        nodes: list[Tensor],
        leaving: list[list[list[FeatureMap]]],
        factors: Tensor,
        scales: Tensor,
        kernels: Kernels,
    ) -> Tensor:
        """The next intermediate node, from all nodes before it."""
        j = len(nodes)
        rows = [row for row, (_, target) in enumerate(self.edges) if target == j]  # edges into j
        terms = [term for i in range(j) for term in leaving[i][j - max(i + 1, 2)]]
        mixed = kernels.weighted_sum(factors[rows[0] : rows[-1] + 1].flatten(), terms)
        if self.partial == 1:
            return mixed
        rest = [FeatureMap(self._bypass(i, nodes[i][:, self.active :])) for i in range(j)]
        passed = kernels.weighted_sum(scales[rows[0] : rows[-1] + 1], rest)
        return F.channel_shuffle(torch.cat([mixed, passed], 1), self.partial)

    def _bypass(self, i: int, rest: Tensor) -> Tensor:
        return F.max_pool2d(rest, 2, 2, ceil_mode=True) if self.reduction and i < 2 else rest


class EdgeSource(nn.Module):
    """All operations on the J edges that leave one node, computed together.

    Pools are shared by the edges; so is the skip connection at stride 1.

    Args:
        channels: Channels C that the operations see.
        num_edges: J.
        stride: 2 on the edges from a reduction cell's inputs.
    """

    def __init__(self, channels: int, *, num_edges: int, stride: int) -> None:
        super().__init__()
        self.stride, self.num_edges = stride, num_edges
        self.convolutions = nn.ModuleDict(
            {
                name: nn.ModuleList(
                    SeparableWeights(channels, num_edges, kernel) for _ in range(num_blocks)
                )
                for name, (kernel, _, num_blocks) in CONVOLUTIONS.items()
            }
        )
        self.skip = nn.ModuleList(
            FactorizedReduce(channels, channels, _norm) for _ in range(num_edges * (stride == 2))
        )

    def forward(self, x: Tensor, kernels: Kernels) -> list[list[FeatureMap]]:
        """[B, C, H, W] -> for every edge, the feature map of every primitive."""
        highest, average = kernels.pools(x, self.stride)  # [B, C, h, w] each
        skips = [FeatureMap(skip(x)) for skip in self.skip] or [FeatureMap(x)] * self.num_edges
        found: dict[str, list[FeatureMap]] = {
            "max_pool_3x3": [highest] * self.num_edges,
            "avg_pool_3x3": [average] * self.num_edges,
            "skip_connect": skips,
        }
        for name, (_, dilation, _) in CONVOLUTIONS.items():
            weights = cast("list[SeparableWeights]", self.convolutions[name])
            blocks = [
                Block(weight.depthwise, weight.pointwise, self.stride if k == 0 else 1, dilation)
                for k, weight in enumerate(weights)
            ]
            found[name] = kernels.separable(x, blocks)  # J times [B, C, h, w]
        return [[found[name][edge] for name in PRIMITIVES] for edge in range(self.num_edges)]


class SeparableWeights(nn.Module):
    """Weights of J depthwise-separable convolutions, drawn as `torch.nn.Conv2d` draws its own.

    Shapes:
        depthwise [J * C, 1, k, k], pointwise [J * C, C, 1, 1], edge by edge.
    """

    def __init__(self, channels: int, num_edges: int, kernel: int) -> None:
        super().__init__()
        self.depthwise = nn.Parameter(torch.empty(num_edges * channels, 1, kernel, kernel))
        self.pointwise = nn.Parameter(torch.empty(num_edges * channels, channels, 1, 1))
        for weight, fan_in in ((self.depthwise, kernel**2), (self.pointwise, channels)):
            nn.init.uniform_(weight, -(fan_in**-0.5), fan_in**-0.5)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, affine=False, track_running_stats=False)
