"""The trainable network of a NASGEM cell: convolutions joined by concatenation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from gnas.geometric import Data
from gnas.graphs import op_indices, to_adjacency
from gnas.spaces.convolutions import conv_norm
from gnas.spaces.nasgem import NASGEM, OPS
from gnas.spaces.nasgem.config import NasgemNetworkConfig


@dataclass(frozen=True)
class Wiring:
    """Computation of a cell, nodes in topological order."""

    ops: tuple[str, ...]
    """Operation of every node."""
    inputs: tuple[tuple[int, ...], ...]
    """The nodes that every node joins; none for node 0, which reads the cell's input."""
    outputs: tuple[int, ...]
    """The nodes that the cell's output joins."""


def nasgem_network(graph: Data, config: NasgemNetworkConfig | None = None) -> NasgemNetwork:
    """The network that stacks a NASGEM cell, whatever number of nodes and inputs it has.

    Args:
        graph: A NASGEM architecture; every edge is built.
        config: Size and form; None for a small network for images of 32x32.

    Raises:
        GraphError: ``graph`` is not a NASGEM cell.

    Examples:
        >>> from gnas.spaces import NASGEM
        >>> cell = NASGEM().from_str("conv_1x1|0")
        >>> nasgem_network(cell)(torch.zeros(2, 3, 16, 16)).shape
        torch.Size([2, 10])
    """
    return NasgemNetwork(**network_arguments(graph, config or NasgemNetworkConfig()))


def network_arguments(graph: Data, config: NasgemNetworkConfig) -> dict[str, Any]:
    """Arguments of a cell's `NasgemNetwork`.

    Args:
        graph: A NASGEM architecture.
        config: Size and form.

    Raises:
        GraphError: ``graph`` is not a NASGEM cell.
    """
    return asdict(wiring(graph)) | asdict(config)


def wiring(graph: Data) -> Wiring:
    """Computation of a NASGEM cell: its nodes, edges and leaves.

    Raises:
        GraphError: ``graph`` is not a NASGEM cell.
    """
    n = len(op_indices(graph))
    NASGEM(num_nodes=n, max_inputs=n).validate(graph)
    adjacency, ops = to_adjacency(graph)
    return Wiring(
        tuple(OPS[op] for op in ops.tolist()),
        tuple(tuple(column.nonzero().flatten().tolist()) for column in adjacency.t()),
        tuple((adjacency.sum(1) == 0).nonzero().flatten().tolist()),
    )


class NasgemNetwork(nn.Module):
    """Stem, stages of cells, global average, classifier.

    Choices, where the paper is silent: every node of a stage has the same number of channels,
    whatever it joins; a stage that halves the maps begins with a 3x3 depthwise separable
    convolution of stride 2, and operations inside cells have stride 1; node 0 alone reads the
    cell's input; the classifier reads the average of the last cell's output directly.

    Args:
        ops: Operation of every node of a cell.
        inputs: The nodes that every node joins; none for node 0, which reads the cell's input.
        outputs: The nodes that the cell's output joins.
        in_channels: Image channels.
        num_classes: Width of the classifier.
        channels: Channels of the nodes of the first stage; each further stage doubles them.
        num_stages: Stages; each but the first halves height and width.
        cells_per_stage: Cells in each stage.
        stem: A 3x3 convolution of stride 1 ("cifar") or 2 ("imagenet").

    Source: Cheng et al., NASGEM, AAAI 2021, sections 3.3 and 4.

    Examples:
        >>> network = NasgemNetwork(
        ...     ops=("conv_1x1", "dw_sep_conv_3x3"), inputs=((), (0,)), outputs=(1,),
        ...     in_channels=3, num_classes=100, channels=8, num_stages=2, cells_per_stage=1,
        ...     stem="cifar",
        ... )
        >>> network(torch.zeros(2, 3, 16, 16)).shape
        torch.Size([2, 100])
    """

    def __init__(
        self,
        *,
        ops: tuple[str, ...],
        inputs: tuple[tuple[int, ...], ...],
        outputs: tuple[int, ...],
        in_channels: int,
        num_classes: int,
        channels: int,
        num_stages: int,
        cells_per_stage: int,
        stem: Literal["cifar", "imagenet"],
    ) -> None:
        super().__init__()
        width = last = channels
        first = conv_norm(in_channels, width, 3, stride=2 if stem == "imagenet" else 1)
        self.stem = nn.Sequential(*first, nn.ReLU())
        self.layers = nn.ModuleList()
        for stage in range(num_stages):
            if stage:
                width *= 2
            if stage or stem == "imagenet":
                self.layers.append(separable_conv(last, width, stride=2))
                last = width
            for _ in range(cells_per_stage):
                self.layers.append(NasgemCell(ops, inputs, outputs, last, width))
                last = len(outputs) * width
        self.classifier = nn.Linear(last, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> logits [B, num_classes]."""
        x = self.stem(images)  # [B, channels, H, W], or half the size
        for layer in self.layers:
            x = layer(x)  # [B, width or len(outputs) * width, h, w]
        logits: Tensor = self.classifier(x.mean((2, 3)))
        return logits


class NasgemCell(nn.Module):
    """One cell: every node joins its inputs and computes its operation.

    Args:
        ops: Operation of every node.
        inputs: The nodes that every node joins; none for node 0, which reads the cell's input.
        outputs: The nodes that the cell's output joins.
        in_channels: Channels of the input.
        channels: Channels of every node.
    """

    def __init__(
        self,
        ops: tuple[str, ...],
        inputs: tuple[tuple[int, ...], ...],
        outputs: tuple[int, ...],
        in_channels: int,
        channels: int,
    ) -> None:
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        self.nodes = nn.ModuleList(
            OPERATIONS[op](len(read) * channels or in_channels, channels)
            for op, read in zip(ops, inputs, strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_channels, H, W] -> [B, len(outputs) * channels, H, W]."""
        maps: list[Tensor] = []  # [B, channels, H, W] each
        for inputs, node in zip(self.inputs, self.nodes, strict=True):
            maps.append(node(torch.cat([maps[k] for k in inputs], dim=1) if inputs else x))
        return torch.cat([maps[k] for k in self.outputs], dim=1)


def conv(in_channels: int, out_channels: int) -> nn.Sequential:
    """1x1 convolution, batch norm, ReLU."""
    return nn.Sequential(*conv_norm(in_channels, out_channels, 1), nn.ReLU())


def separable_conv(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    """3x3 depthwise convolution, then `conv`."""
    depthwise = nn.Conv2d(
        in_channels, in_channels, 3, stride, padding=1, groups=in_channels, bias=False
    )
    return nn.Sequential(depthwise, *conv_norm(in_channels, out_channels, 1), nn.ReLU())


OPERATIONS: dict[str, Callable[[int, int], nn.Module]] = {
    "conv_1x1": lambda in_channels, out_channels: conv(in_channels, out_channels),
    "dw_sep_conv_3x3": lambda in_channels, out_channels: separable_conv(in_channels, out_channels),
}
"""Makes each operation, from ``in_channels`` to ``out_channels``."""


def nasgem_imagenet(channels: int = 24, num_classes: int = 1000) -> NasgemNetworkConfig:
    """The form for images of 224x224: four stages of one cell, at 56, 28, 14 and 7 pixels.

    Args:
        channels: Channels of the first stage; each further one has twice as many.
        num_classes: Width of the classifier.

    Examples:
        >>> from gnas.spaces import NASGEM
        >>> network = nasgem_network(NASGEM().from_str("conv_1x1|0"), nasgem_imagenet(channels=8))
        >>> network(torch.zeros(1, 3, 64, 64)).shape
        torch.Size([1, 1000])
    """
    return NasgemNetworkConfig(
        stem="imagenet", num_stages=4, channels=channels, num_classes=num_classes
    )


def _text(ops: str, wires: str) -> str:
    """A cell's text from one digit for each operation and the hex digits of its wiring."""
    return ",".join(OPS[int(op)] for op in ops) + "|" + wires


GEMNET_A_SIZED = _text(
    "11011111101001101010110",
    "1c090148c49108010a8900110c1401c482132808430000008208251004209000",
)
"""A drawn cell whose network has the size of GEMNet-A, 4.29M parameters and 464M MACs in the form
of `nasgem_imagenet`; GEMNet's own cells are not published, and nothing else is alike."""
GEMNET_B_SIZED = _text(
    "01101001111111110001010101",
    "12c0808e1244320a2825280c1000700024800801009432880040018294200800400000a30840a06011",
)
"""Likewise with the size of GEMNet-B: 4.52M parameters and 563M MACs."""
