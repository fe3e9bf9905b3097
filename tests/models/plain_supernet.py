"""The DARTS supernet written edge by edge: slow, plain, and what any faster one is tested against.

Source: Liu et al., DARTS, ICLR 2019, and its published code; the ImageNet stem and the order of
layers inside the operations are that code's. Partial channels: Xu et al., PC-DARTS, ICLR 2020.

Parameters are called ``cells.{c}.edges.{e}.{primitive}...``, with edges in the order of
`candidate_edges`. Convolutions have no bias. Every batch norm uses the statistics of its batch,
in training and evaluation alike; only the stem's have weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from gnas.spaces.toponas.cells import PRIMITIVES


class Config(Protocol):
    """The fields of `SupernetConfig` that change the function."""

    @property
    def in_channels(self) -> int: ...
    @property
    def num_classes(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def num_cells(self) -> int: ...
    @property
    def num_nodes(self) -> int: ...
    @property
    def stem(self) -> str: ...
    @property
    def stem_multiplier(self) -> int: ...
    @property
    def partial(self) -> int: ...


class Weights(Protocol):
    """The fields of `MixedWeights`: ops [E, 7], edges [E]."""

    @property
    def ops(self) -> Tensor: ...
    @property
    def edges(self) -> Tensor: ...


def candidate_edges(num_nodes: int) -> list[tuple[int, int]]:
    return [(i, j) for j in range(2, num_nodes - 1) for i in range(j)]


def conv(c_in: int, c_out: int, kernel: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    """Keeps height and width up to the stride: H -> ceil(H / stride)."""
    padding = dilation * (kernel // 2)
    return nn.Conv2d(c_in, c_out, kernel, stride, padding, dilation, bias=False)


def depthwise(channels: int, kernel: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    padding = dilation * (kernel // 2)
    return nn.Conv2d(
        channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False
    )


def norm(channels: int, *, affine: bool = False) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, affine=affine, track_running_stats=False)


class FactorizedReduce(nn.Module):
    """ReLU, two 1x1 convolutions with stride 2, the second shifted by one pixel, batch norm."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.conv_1 = nn.Conv2d(c_in, c_out // 2, 1, 2, bias=False)
        self.conv_2 = nn.Conv2d(c_in, c_out - c_out // 2, 1, 2, bias=False)
        self.bn = norm(c_out)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(x)
        # As x[:, :, 1:, 1:] for even sizes; odd sizes see one row and column of zeros.
        shifted = nn.functional.pad(x, (-1, 1, -1, 1))
        out: Tensor = self.bn(torch.cat([self.conv_1(x), self.conv_2(shifted)], 1))
        return out


def relu_conv_bn(c_in: int, c_out: int) -> nn.Sequential:
    return nn.Sequential(nn.ReLU(), conv(c_in, c_out, 1), norm(c_out))


def sep_conv(channels: int, kernel: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ReLU(),
        depthwise(channels, kernel, stride),
        conv(channels, channels, 1),
        norm(channels),
        nn.ReLU(),
        depthwise(channels, kernel),
        conv(channels, channels, 1),
        norm(channels),
    )


def dil_conv(channels: int, kernel: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ReLU(),
        depthwise(channels, kernel, stride, dilation=2),
        conv(channels, channels, 1),
        norm(channels),
    )


OPS: dict[str, Callable[[int, int], nn.Module]] = {
    "max_pool_3x3": lambda c, s: nn.Sequential(nn.MaxPool2d(3, s, 1), norm(c)),
    "avg_pool_3x3": lambda c, s: nn.Sequential(
        nn.AvgPool2d(3, s, 1, count_include_pad=False), norm(c)
    ),
    "skip_connect": lambda c, s: nn.Identity() if s == 1 else FactorizedReduce(c, c),
    "sep_conv_3x3": lambda c, s: sep_conv(c, 3, s),
    "sep_conv_5x5": lambda c, s: sep_conv(c, 5, s),
    "dil_conv_3x3": lambda c, s: dil_conv(c, 3, s),
    "dil_conv_5x5": lambda c, s: dil_conv(c, 5, s),
}


class MixedOp(nn.ModuleDict):
    """Weighted sum of all primitives on the first 1/partial of the channels.

    The other channels pass by (through a 2x2 max-pool at stride 2); then the groups are shuffled.
    """

    def __init__(self, channels: int, stride: int, partial: int) -> None:
        super().__init__({name: OPS[name](channels // partial, stride) for name in PRIMITIVES})
        self.partial, self.stride = partial, stride

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """x [B, C, H, W], weights [7] -> [B, C, H / stride, W / stride]."""
        active = x[:, : x.size(1) // self.partial]
        pairs = zip(weights.unbind(), self.values(), strict=True)
        mixed = torch.as_tensor(sum(w * op(active) for w, op in pairs))
        if self.partial == 1:
            return mixed
        rest = x[:, x.size(1) // self.partial :]
        if self.stride == 2:
            rest = nn.functional.max_pool2d(rest, 2, 2, ceil_mode=True)
        return nn.functional.channel_shuffle(torch.cat([mixed, rest], 1), self.partial)


class PlainCell(nn.Module):
    """x_j = sum over i < j of s(i, j) * o_ij(x_i); the output joins the intermediate nodes."""

    def __init__(
        self,
        config: Config,
        c_before: int,
        c_in: int,
        channels: int,
        reduction: bool,
        shrunk: bool,
    ) -> None:
        super().__init__()
        self.reduction, self.num_nodes = reduction, config.num_nodes
        self.preprocess0 = (FactorizedReduce if shrunk else relu_conv_bn)(c_before, channels)
        self.preprocess1 = relu_conv_bn(c_in, channels)
        self.edges = nn.ModuleList(
            MixedOp(channels, 2 if reduction and i < 2 else 1, config.partial)
            for i, _ in candidate_edges(config.num_nodes)
        )

    def forward(self, before: Tensor, x: Tensor, weights: Weights) -> Tensor:
        nodes = [self.preprocess0(before), self.preprocess1(x)]
        index = {edge: e for e, edge in enumerate(candidate_edges(self.num_nodes))}
        for j in range(2, self.num_nodes - 1):
            terms = []
            for i in range(j):
                e = index[i, j]
                terms.append(weights.edges[e] * self.edges[e](nodes[i], weights.ops[e]))
            nodes.append(torch.as_tensor(sum(terms)))
        return torch.cat(nodes[2:], 1)


class PlainSupernet(nn.Module):
    """The whole network; same constructor and call as `gnas.spaces.toponas.supernet.Supernet`."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        c = config.channels
        if config.stem == "cifar":
            c_stem = config.stem_multiplier * c
            self.stem = nn.Sequential(
                conv(config.in_channels, c_stem, 3), norm(c_stem, affine=True)
            )
        else:
            c_stem = c
            self.stem0 = nn.Sequential(
                conv(config.in_channels, c // 2, 3, 2),
                norm(c // 2, affine=True),
                nn.ReLU(),
                conv(c // 2, c, 3, 2),
                norm(c, affine=True),
            )
            self.stem1 = nn.Sequential(nn.ReLU(), conv(c, c, 3, 2), norm(c, affine=True))
        shrunk = config.stem == "imagenet"  # the two inputs of the first cell differ in size
        before, last = c_stem, c_stem
        self.cells = nn.ModuleList()
        for k in range(config.num_cells):
            reduction = k in (config.num_cells // 3, 2 * config.num_cells // 3)
            c = 2 * c if reduction else c
            self.cells.append(PlainCell(config, before, last, c, reduction, shrunk))
            before, last, shrunk = last, (config.num_nodes - 3) * c, reduction
        self.classifier = nn.Linear(last, config.num_classes)

    def forward(self, images: Tensor, normal: Weights, reduce: Weights) -> Tensor:
        """images [B, in_channels, H, W] -> logits [B, num_classes]."""
        if self.config.stem == "cifar":
            before = x = self.stem(images)
        else:
            before = self.stem0(images)
            x = self.stem1(before)
        for cell in self.cells:
            before, x = x, cell(before, x, reduce if cell.reduction else normal)
        logits: Tensor = self.classifier(x.mean((2, 3)))
        return logits
