"""The DARTS supernet: every candidate operation on every candidate edge, weighted from outside."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gnas.fused import kernels_for
from gnas.spaces.supernets import MixedWeights, SupernetConfig
from gnas.spaces.toponas.cells import PRIMITIVES
from gnas.spaces.toponas.primitives import build_stem, reduction_cells
from gnas.spaces.toponas.supercell import SuperCell
from gnas.topology import candidate_edges


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
        self.kernels = config.kernels
        self.stem, last = build_stem(
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
        kernels = kernels_for(images, self.kernels)
        images = images.contiguous(memory_format=torch.channels_last)
        before = x = self.stem[0](images)  # [B, c, H, W]
        for part in self.stem[1:]:
            before, x = x, part(x)
        for cell in self.cells:
            weights = reduce if cell.reduction else normal
            if self.config.recompute and torch.is_grad_enabled():
                out = checkpoint(cell, before, x, weights, kernels, use_reentrant=False)
            else:
                out = cell(before, x, weights, kernels)
            before, x = x, out  # [B, (num_nodes - 3) * channels, h, w]
        logits: Tensor = self.classifier(x.mean((2, 3)))
        return logits


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
