"""The supernet of the NAS-Bench-201 space: all operations on all edges, weighted from outside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from gnas.errors import ConfigError
from gnas.fused import FeatureMap, Kernels, kernels_for
from gnas.spaces.convolutions import conv_norm
from gnas.spaces.nasbench201.network import NUM_STAGES, ResidualReduction
from gnas.spaces.nasbench201.space import CANDIDATES, EDGES, NUM_NODES
from gnas.spaces.supernets import MixedWeights, SupernetConfig

OPS = CANDIDATES[1:]
"""The operations of an edge, without "none"."""


class NASBench201Supernet(nn.Module):
    """The network that differentiable methods search NAS-Bench-201 cells in.

    The benchmark's skeleton of three stages of cells; ``config.num_cells`` counts the cells of one
    stage. It has the weights w only: how operations and edges are weighted comes with every call.
    Batch norms of the cells have no weights, and all of them use the statistics of the batch, in
    training and evaluation alike.

    Where no gradient of the weights is asked for, an operation whose weight is exactly 0 is not
    computed: a supernet that is asked about one cell, or about sampled operations, costs as much
    as these do.

    Args:
        config: Size and form; the stem is the benchmark's, of ``channels``.

    Raises:
        ConfigError: ``config`` has another number of nodes, or the ImageNet stem.

    Source: Dong and Yang, NAS-Bench-201, ICLR 2020, section 2.1, and the searching networks of its
    published code; Huang et al., Explicitly Learning Topology for Differentiable NAS, 2020, eq. 6
    (the factors s); Xu et al., PC-DARTS, ICLR 2020, section 3.2 (``partial``).
    """

    def __init__(self, config: SupernetConfig) -> None:
        super().__init__()
        if config.num_nodes != NUM_NODES or config.stem != "cifar":
            raise ConfigError(
                f"supernets of nasbench201 must have num_nodes={NUM_NODES} and the cifar stem, "
                f"but got num_nodes={config.num_nodes} and stem={config.stem!r}"
            )
        self.config = config
        self.kernels = config.kernels
        width = config.channels
        self.stem = nn.Sequential(*conv_norm(config.in_channels, width, 3, 1, _norm))
        self.layers = nn.ModuleList()
        for stage in range(NUM_STAGES):
            if stage:
                self.layers.append(ResidualReduction(width, 2 * width, _norm))
                width *= 2
            self.layers.extend(MixedCell(width, config.partial) for _ in range(config.num_cells))
        self.last = nn.Sequential(_norm(width), nn.ReLU())
        self.classifier = nn.Linear(width, config.num_classes)
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor, weights: MixedWeights) -> Tensor:
        """Logits of ``images``.

        Shapes:
            images [B, C, H, W] -> [B, num_classes].

        Raises:
            UnsupportedError: see `gnas.fused.kernels_for`.
        """
        kernels = kernels_for(images, self.kernels)
        x = self.stem(images.contiguous(memory_format=torch.channels_last))  # [B, channels, H, W]
        for layer in self.layers:
            if not isinstance(layer, MixedCell):
                x = layer(x)
            elif self.config.recompute and torch.is_grad_enabled():
                x = checkpoint(layer, x, weights, kernels, use_reentrant=False)
            else:
                x = layer(x, weights, kernels)
        logits: Tensor = self.classifier(self.last(x).mean((2, 3)))
        return logits


class MixedCell(nn.Module):
    """x_j = sum over i < j of s(i, j) o_ij(x_i), for the three nodes after the input.

    With partial channels, the operations see the first ``channels / partial`` of a node's
    channels; the others are added up as they are, and the node's channels are shuffled.

    Args:
        channels: Channels of every node.
        partial: The operations see 1/partial of the channels.
    """

    def __init__(self, channels: int, partial: int = 1) -> None:
        super().__init__()
        self.partial, self.active = partial, channels // partial
        for size in (1, 3):
            convolutions = nn.ModuleList(
                nn.Conv2d(self.active, self.active, size, padding=size // 2, bias=False)
                for _ in EDGES
            )
            self.add_module(f"nor_conv_{size}x{size}", convolutions)

    def forward(self, x: Tensor, weights: MixedWeights, kernels: Kernels) -> Tensor:
        """[B, channels, H, W] -> the same shape."""
        factors = weights.ops * weights.edges[:, None]  # [E, O]
        used = torch.ones_like(factors, dtype=torch.bool)  # [E, O]
        if not (factors.requires_grad and torch.is_grad_enabled()):
            used = factors != 0
        wanted = used.tolist()
        nodes, leaving = [x], [self._leaving(0, x, wanted, kernels)]
        for j in range(1, NUM_NODES):
            rows = [row for row, (_, target) in enumerate(EDGES) if target == j]
            terms = [term for i, row in enumerate(rows) for term in leaving[i][row]]
            kept = factors[rows][used[rows]]  # [terms]
            mixed = (
                kernels.weighted_sum(kept, terms, fold=True)
                if terms
                else torch.zeros_like(x[:, : self.active])
            )
            if self.partial > 1:
                rest = [FeatureMap(nodes[i][:, self.active :]) for i in range(j)]
                passed = kernels.weighted_sum(weights.edges[rows], rest, fold=True)
                mixed = F.channel_shuffle(torch.cat([mixed, passed], 1), self.partial)
            nodes.append(mixed)
            if j < NUM_NODES - 1:
                leaving.append(self._leaving(j, mixed, wanted, kernels))
        return nodes[-1]

    def _leaving(
        self, node: int, x: Tensor, wanted: Sequence[Sequence[bool]], kernels: Kernels
    ) -> dict[int, list[FeatureMap]]:
        """For every edge that leaves ``node``, the maps of its wanted operations, in order."""
        x = x[:, : self.active]  # [B, active, H, W]
        own = [row for row, (source, _) in enumerate(EDGES) if source == node]
        places = [(row, op) for row in own for k, op in enumerate(OPS) if wanted[row][k]]
        rectified = F.relu(x)
        convolved = [(row, op) for row, op in places if op.startswith("nor_conv")]
        maps = [self.get_submodule(f"{op}.{row}")(rectified) for row, op in convolved]
        found = dict(zip(convolved, kernels.normalised(maps) if maps else [], strict=True))
        shared = {"skip_connect": FeatureMap(x)}
        if any(op == "avg_pool_3x3" for _, op in places):
            shared["avg_pool_3x3"] = FeatureMap(average_pool(x))
        return {
            row: [found.get((r, op)) or shared[op] for r, op in places if r == row] for row in own
        }


def average_pool(x: Tensor) -> Tensor:
    """Mean of the pixels of a 3x3 window that lie inside: AvgPool2d without the padding.

    Sums of shifted maps, which on CPUs take half the time of PyTorch's own.

    Shapes:
        [B, C, H, W] -> [B, C, H, W].
    """
    taps = [torch.full((size,), 3.0, device=x.device, dtype=x.dtype) for size in x.shape[2:]]
    for side in taps:
        side[0] -= 1
        side[-1] -= 1
    out: Tensor = _BoxSum.apply(x) / (taps[0][:, None] * taps[1])  # [B, C, H, W]
    return out


class _BoxSum(torch.autograd.Function):
    """Sum over 3x3 windows, zeros outside: a symmetric map, so its own adjoint."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        rows = x.clone()  # [B, C, H, W], sums of three columns
        rows[:, :, :, 1:] += x[:, :, :, :-1]
        rows[:, :, :, :-1] += x[:, :, :, 1:]
        out = rows.clone()  # [B, C, H, W], of those sums over three rows
        out[:, :, 1:] += rows[:, :, :-1]
        out[:, :, :-1] += rows[:, :, 1:]
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        out: Tensor = _BoxSum.apply(grads[0])
        return out


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, track_running_stats=False)
