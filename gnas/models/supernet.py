"""The DARTS supernet: every candidate operation on every candidate edge, weighted from outside."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cache
from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gnas.config import Count, Depth, configuration
from gnas.errors import ConfigError, UnsupportedError
from gnas.models.fused import Kernels, native, native_problem, plain
from gnas.models.supercell import MixedWeights, SuperCell
from gnas.spaces.primitives import reduction_cells, stem
from gnas.spaces.sizes import check_sizes
from gnas.spaces.toponas import PRIMITIVES, candidate_edges

logger = logging.getLogger(__name__)


@configuration
class SupernetConfig:
    """Size and form of a supernet; the defaults are DARTS' on CIFAR-10."""

    in_channels: Count = 3
    """Image channels."""
    num_classes: Count = 10
    """Width of the classifier."""
    channels: Count = 16
    """Channels of the first cells' nodes; each reduction cell doubles them."""
    num_cells: Depth = 8
    """Cells; those at 1/3 and 2/3 of the depth reduce."""
    num_nodes: Count = 7
    """Nodes of a cell, its two inputs and its output included."""
    stem: Literal["cifar", "imagenet"] = "cifar"
    """One 3x3 convolution, or three with stride 2."""
    stem_multiplier: Count = 3
    """Channels of the CIFAR stem, in multiples of ``channels``."""
    partial: Count = 1
    """Only 1/partial of the channels go through the operations; 4 is PC-DARTS."""
    kernels: Literal["auto", "native", "torch"] = "auto"
    """Who computes the cells: C code (CPU, float32 and float64), PyTorch, or C where it can."""
    recompute: bool = False
    """Keep only the cells' outputs and compute the rest again in the backward: less memory."""

    def __post_init__(self) -> None:
        check_sizes(self)
        if self.num_nodes < 4:
            raise ConfigError(f"num_nodes must be at least 4, but got {self.num_nodes}")
        if self.channels % 2:
            raise ConfigError(f"channels must be even, but got {self.channels}")
        if self.partial < 1 or self.channels % self.partial:
            raise ConfigError(
                f"partial must divide the {self.channels} channels, but got {self.partial}"
            )
        for field, choices in (
            ("stem", ("cifar", "imagenet")),
            ("kernels", ("auto", "native", "torch")),
        ):
            if getattr(self, field) not in choices:
                raise ConfigError(
                    f"{field} must be one of {choices}, but got {getattr(self, field)!r}"
                )


class Supernet(nn.Module):
    """The network that DARTS, MiLeNAS and TopoNAS search in.

    It has the weights w only: how operations and edges are weighted comes with every call, so
    any method can use it. Batch norms of the cells have no weights, and all of them use the
    statistics of the batch, in training and evaluation alike.

    Args:
        config: Size and form.

    Source: Liu et al., DARTS, ICLR 2019, sections 2.1, 2.2 and appendix A.1; Huang et al.,
    Explicitly Learning Topology for Differentiable NAS, 2020, eq. 6 (the factors s); Xu et al.,
    PC-DARTS, ICLR 2020, section 3.2 (``partial``).
    """

    def __init__(self, config: SupernetConfig) -> None:
        super().__init__()
        self.config = config
        self.stem, last = stem(
            config.stem, config.in_channels, config.channels, config.stem_multiplier, _norm
        )
        before = last
        shrunk = config.stem == "imagenet"  # the first cell's inputs differ in size
        self.cells = nn.ModuleList()
        channels = config.channels
        for k in range(config.num_cells):
            reduction = k in reduction_cells(config.num_cells)
            channels = 2 * channels if reduction else channels
            self.cells.append(
                SuperCell(
                    *(before, last, channels),
                    num_nodes=config.num_nodes,
                    partial=config.partial,
                    reduction=reduction,
                    shrunk=shrunk,
                )
            )
            before, last, shrunk = last, (config.num_nodes - 3) * channels, reduction
        self.classifier = nn.Linear(last, config.num_classes)
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor, normal: MixedWeights, reduce: MixedWeights) -> Tensor:
        """Logits of ``images``.

        Args:
            images: A batch of any height and width that the reductions leave something of.
            normal: Weights of the normal cells' operations and edges.
            reduce: Those of the reduction cells.

        Shapes:
            images [B, C, H, W] -> [B, num_classes].

        Raises:
            UnsupportedError: ``kernels="native"``, but they cannot run here (no C compiler,
                another device or number type).
        """
        kernels = self._kernels(images)
        images = images.contiguous(memory_format=torch.channels_last)
        before = x = self.stem[0](images)
        for part in self.stem[1:]:
            before, x = x, part(x)
        for cell in self.cells:
            weights = reduce if cell.reduction else normal
            if self.config.recompute and torch.is_grad_enabled():
                out = checkpoint(cell, before, x, weights, kernels, use_reentrant=False)
            else:
                out = cell(before, x, weights, kernels)
            before, x = x, out
        logits: Tensor = self.classifier(x.mean((2, 3)))
        return logits

    def _kernels(self, images: Tensor) -> Kernels:
        if self.config.kernels == "torch":
            return plain
        problem = native_problem(images)
        if problem is None:
            return native
        if self.config.kernels == "native":
            raise UnsupportedError(problem)
        if images.device.type == "cpu":
            _warn_once(problem)
        return plain


def supernet_macs(config: SupernetConfig, image_size: int) -> int:
    """Multiply-accumulates of the convolutions and the classifier for one square image.

    Source: `torch.utils.flop_counter`, which counts two operations for each.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        network = Supernet(replace(config, kernels="torch", recompute=False))
        count = len(candidate_edges(config.num_nodes))
        weights = MixedWeights(torch.ones(count, len(PRIMITIVES)), torch.ones(count))
        images = torch.empty(1, config.in_channels, image_size, image_size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(images, weights, weights)
    return int(counter.get_total_flops()) // 2


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, track_running_stats=False)


@cache
def _warn_once(problem: str) -> None:
    logger.warning("%s; the supernet falls back to plain PyTorch, which is slower", problem)
