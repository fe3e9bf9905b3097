"""The network that is trained and used after the search: a stack of two derived cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from gnas.geometric import Data
from gnas.spaces.toponas.config import DartsNetworkConfig
from gnas.spaces.toponas.genotype import CellEntries, Genotype
from gnas.spaces.toponas.primitives import (
    OPERATIONS,
    FactorizedReduce,
    build_stem,
    drop_path,
    reduction_cells,
    relu_conv_norm,
)

Edge = tuple[int, int, str]
"""Source, target and operation."""


def darts_network(graph: Data, config: DartsNetworkConfig | None = None) -> DartsNetwork:
    """The network that stacks the two cells of an architecture.

    Args:
        graph: A normal and a reduction cell, any number of edges into a node; outputs may join
            some nodes only. Whatever no path joins to the network's output is not built.
        config: Size and form; None for DARTS' on CIFAR-10.

    Raises:
        GraphError: ``graph`` is not a pair of cells.

    Examples:
        >>> import numpy as np
        >>> from gnas.spaces import TopoNAS
        >>> cells = TopoNAS.darts().sample(np.random.default_rng(0))
        >>> network = darts_network(cells, DartsNetworkConfig(channels=4, num_cells=3))
        >>> network(torch.zeros(2, 3, 16, 16)).shape
        torch.Size([2, 10])
    """
    return DartsNetwork(**network_arguments(graph, config or DartsNetworkConfig()))


def network_arguments(graph: Data, config: DartsNetworkConfig) -> dict[str, Any]:
    """Arguments of the `DartsNetwork` of an architecture; plain data without an auxiliary head.

    Args:
        graph: A normal and a reduction cell.
        config: Size and form.

    Raises:
        GraphError: ``graph`` is not a pair of cells.
    """
    genotype = Genotype.from_graph(graph)
    needed = needed_cells(genotype, config)
    arguments: dict[str, Any] = {
        "normal": tuple(live_edges(genotype.normal, genotype.normal_concat)),
        "normal_concat": genotype.normal_concat,
        "reduce": tuple(live_edges(genotype.reduce, genotype.reduce_concat)),
        "reduce_concat": genotype.reduce_concat,
        "in_channels": config.in_channels,
        "num_classes": config.num_classes,
        "channels": config.channels,
        "num_cells": config.num_cells,
        "stem": config.stem,
        "stem_multiplier": config.stem_multiplier,
        "unread": tuple(k for k in range(config.num_cells) if k not in needed),
    }
    if config.auxiliary:
        head = partial(AuxiliaryHead, num_classes=config.num_classes, stem=config.stem)
        arguments["auxiliary"] = head
    return arguments


class DartsNetwork(nn.Module):
    """Stem, cells, global average, classifier.

    ``drop_path_prob`` is the probability with which a path is dropped in training, 0 at first;
    the training loop raises it (DARTS: linearly over the epochs, to 0.2).

    Args:
        normal: Edges of the normal cell, by target: source, target and operation. Nodes 0 and 1
            are the outputs of the cell before last and of the last one.
        normal_concat: The nodes that its output joins.
        reduce: Edges of the reduction cell; those from nodes 0 and 1 have stride 2.
        reduce_concat: The nodes that its output joins.
        in_channels: Image channels.
        num_classes: Width of the classifier.
        channels: Channels of the first cells' nodes; each reduction cell doubles them.
        num_cells: Cells; those at 1/3 and 2/3 of the depth reduce.
        stem: One 3x3 convolution ("cifar"), or three with stride 2 ("imagenet").
        stem_multiplier: Channels of the CIFAR stem, in multiples of ``channels``.
        unread: The cells whose outputs nothing reads, which are not built.
        auxiliary: Makes a second classifier that reads the last reduction cell in training, from
            the cell's number of channels; None for no such classifier.

    Source: Liu et al., DARTS, ICLR 2019, appendix A.2 and the published code. Differences: any
    in-degree; images of any size (odd maps are rounded up, the auxiliary head averages over
    whatever is left).

    Examples:
        >>> import numpy as np
        >>> from gnas.spaces import TopoNAS
        >>> cells = TopoNAS.darts().sample(np.random.default_rng(0))
        >>> config = DartsNetworkConfig(channels=4, num_cells=3, auxiliary=True)
        >>> network = DartsNetwork(**network_arguments(cells, config))
        >>> network.drop_path_prob = 0.2
        >>> [logits.shape for logits in network(torch.zeros(2, 3, 32, 32))]
        [torch.Size([2, 10]), torch.Size([2, 10])]
    """

    def __init__(
        self,
        *,
        normal: Sequence[Edge],
        normal_concat: Sequence[int],
        reduce: Sequence[Edge],
        reduce_concat: Sequence[int],
        in_channels: int,
        num_classes: int,
        channels: int,
        num_cells: int,
        stem: Literal["cifar", "imagenet"],
        stem_multiplier: int,
        unread: Sequence[int] = (),
        auxiliary: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self._drops_paths = False
        self._drop_path_prob: Tensor
        # not a number, by which torch.compile would compile the network anew in every epoch
        self.register_buffer("_drop_path_prob", torch.zeros(()), persistent=False)
        self.stem, last = build_stem(stem, in_channels, channels, stem_multiplier)
        before = last
        shrunk = stem == "imagenet"  # the first cell's inputs differ in size
        self.cells = nn.ModuleList()
        self.auxiliary_head: nn.Module | None = None
        self.head_after = max(reduction_cells(num_cells))
        for k in range(num_cells):
            reduction = k in reduction_cells(num_cells)
            channels = 2 * channels if reduction else channels
            edges, concat = (reduce, reduce_concat) if reduction else (normal, normal_concat)
            if k in unread:
                self.cells.append(nn.Identity())
            else:
                cell = DartsCell(edges, concat, (before, last), channels, reduction, shrunk)
                self.cells.append(cell)
            before, last, shrunk = last, len(concat) * channels, reduction
            if auxiliary is not None and k == self.head_after:
                self.auxiliary_head = auxiliary(last)
        self.classifier = nn.Linear(last, num_classes)

    @property
    def drop_path_prob(self) -> float:
        """Probability with which training drops a path."""
        return float(self._drop_path_prob)

    @drop_path_prob.setter
    def drop_path_prob(self, prob: float) -> None:
        if not 0 <= prob < 1:
            raise ValueError(f"drop_path_prob must be in [0, 1), but got {prob}")
        self._drop_path_prob.fill_(prob)
        self._drops_paths = prob > 0

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Logits; in training with an auxiliary head, its logits too, as a pair.

        Shapes:
            images [B, C, H, W] -> [B, num_classes].
        """
        before = x = self.stem[0](images)  # [B, width of the stem, h, w]
        for part in self.stem[1:]:
            before, x = x, part(x)
        drop_prob = self._drop_path_prob if self.training and self._drops_paths else None
        second = None
        for k, cell in enumerate(self.cells):
            # [B, nodes joined * channels, h, w]
            before, x = x, cell(before, x, drop_prob) if isinstance(cell, DartsCell) else x
            if k == self.head_after and self.auxiliary_head is not None and self.training:
                second = self.auxiliary_head(x)
        logits: Tensor = self.classifier(x.mean((2, 3)))
        return logits if second is None else (logits, second)


class DartsCell(nn.Module):
    """One cell: its inputs brought to one width and size, then node after node.

    Args:
        edges: Source, target and operation, by target.
        concat: The nodes that the output joins.
        in_channels: Channels of the cell before last and of the last one.
        channels: Channels of every node.
        reduction: Whether operations on the inputs have stride 2.
        shrunk: Whether the last cell's output is half the size of that of the cell before.
    """

    def __init__(
        self,
        edges: Sequence[Edge],
        concat: Sequence[int],
        in_channels: tuple[int, int],
        channels: int,
        reduction: bool,
        shrunk: bool,
    ) -> None:
        super().__init__()
        self.concat = sorted(concat)
        self.edges = [(source, target) for source, target, _ in edges]
        self.ops = nn.ModuleList(
            OPERATIONS[op](channels, 2 if reduction and source < 2 else 1)
            for source, _, op in edges
        )
        read = {source for source, _ in self.edges}
        self.before: nn.Module | None = None
        if 0 in read:
            fit = FactorizedReduce if shrunk else relu_conv_norm
            self.before = fit(in_channels[0], channels)
        self.last = relu_conv_norm(in_channels[1], channels) if 1 in read else None

    def forward(self, before: Tensor, last: Tensor, drop_path_prob: Tensor | None) -> Tensor:
        """The nodes' outputs, joined: [B, len(concat) * channels, H, W] (half that if reducing).

        Every path but an identity is dropped with probability ``drop_path_prob``, a scalar.
        """
        states = {}  # [B, channels, H, W] each
        if self.before is not None:
            states[0] = self.before(before)
        if self.last is not None:
            states[1] = self.last(last)
        for (source, target), op in zip(self.edges, self.ops, strict=True):
            out = op(states[source])
            if drop_path_prob is not None and not isinstance(op, nn.Identity):
                out = drop_path(out, drop_path_prob)
            states[target] = states[target] + out if target in states else out
        return torch.cat([states[node] for node in self.concat], dim=1)


class AuxiliaryHead(nn.Module):
    """The classifier in the middle that helps training.

    Maps of DARTS' own sizes (8x8 on CIFAR-10, 7x7 on ImageNet) give exactly its head; larger ones
    are averaged at the end, smaller ones pooled to 2x2 first. As in DARTS' published ImageNet
    results, the second batch norm is absent there.

    Args:
        in_channels: Channels of the cell that it reads.
        num_classes: Width of the classifier.
        stem: The network's.
    """

    def __init__(
        self, in_channels: int, num_classes: int, stem: Literal["cifar", "imagenet"]
    ) -> None:
        super().__init__()
        cifar = stem == "cifar"
        self.stride = 3 if cifar else 2
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 128, 1, bias=False),
            nn.BatchNorm2d(128),
            nn.ReLU(),
            nn.Conv2d(128, 768, 2, bias=False),
            nn.BatchNorm2d(768) if cifar else nn.Identity(),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(768, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_channels, H, W] -> logits [B, num_classes]."""
        x = torch.relu(x)
        if min(x.shape[2:]) >= 5 + self.stride:
            x = nn.functional.avg_pool2d(x, 5, self.stride)
        else:
            x = nn.functional.adaptive_avg_pool2d(x, 2)
        logits: Tensor = self.classifier(self.features(x).mean((2, 3)))
        return logits


def live_edges(entries: CellEntries, concat: Sequence[int]) -> list[Edge]:
    """The edges (source, target, operation) of a cell from which a path leads to its output."""
    needed = set(concat)
    for target in reversed(range(2, 2 + len(entries))):
        if target in needed:
            needed.update(source for _, source in entries[target - 2])
    return [
        (source, target, op)
        for target, inputs in enumerate(entries, start=2)
        for op, source in inputs
        if target in needed
    ]


def needed_cells(genotype: Genotype, config: DartsNetworkConfig) -> set[int]:
    """The cells that the classifiers depend on: a cell may read only one of the two before it."""
    needed = {config.num_cells - 1}
    if config.auxiliary:
        needed.add(max(reduction_cells(config.num_cells)))
    for k in reversed(range(config.num_cells)):
        reduction = k in reduction_cells(config.num_cells)
        entries = genotype.reduce if reduction else genotype.normal
        concat = genotype.reduce_concat if reduction else genotype.normal_concat
        if k in needed:
            needed.update(k - 2 + s for s, _, _ in live_edges(entries, concat) if s < 2)
    return needed
