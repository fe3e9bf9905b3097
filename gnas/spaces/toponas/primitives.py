"""Operations of derived networks and supernets of DARTS cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from gnas.spaces.convolutions import Norm, conv_norm


def separable(channels: int, kernel: int, stride: int, dilation: int = 1) -> list[nn.Module]:
    """ReLU, depthwise and pointwise convolution, batch norm."""
    padding = dilation * (kernel // 2)
    return [
        nn.ReLU(),
        nn.Conv2d(
            channels,
            channels,
            kernel,
            stride,
            padding,
            dilation=dilation,
            groups=channels,
            bias=False,
        ),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
    ]


def relu_conv_norm(
    in_channels: int, out_channels: int, norm: Norm = nn.BatchNorm2d
) -> nn.Sequential:
    """ReLU, 1x1 convolution, batch norm."""
    return nn.Sequential(
        nn.ReLU(), nn.Conv2d(in_channels, out_channels, 1, bias=False), norm(out_channels)
    )


class FactorizedReduce(nn.Module):
    """Half the height and width without dropping pixels: two 1x1 convolutions, one pixel apart.

    Odd sizes are rounded up: the second convolution then sees one row and column of zeros.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the result.
        norm: Makes the batch norm.
    """

    def __init__(self, in_channels: int, out_channels: int, norm: Norm = nn.BatchNorm2d) -> None:
        super().__init__()
        half = out_channels // 2
        self.relu = nn.ReLU()
        self.conv_1 = nn.Conv2d(in_channels, half, 1, stride=2, bias=False)
        self.conv_2 = nn.Conv2d(in_channels, out_channels - half, 1, stride=2, bias=False)
        self.norm = norm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_channels, H, W] -> [B, out_channels, ceil(H / 2), ceil(W / 2)]."""
        x = self.relu(x)
        shifted = nn.functional.pad(x, (-1, 1, -1, 1))  # x[:, :, 1:, 1:], of unchanged size
        out: Tensor = self.norm(torch.cat([self.conv_1(x), self.conv_2(shifted)], dim=1))
        return out


def reduction_cells(num_cells: int) -> set[int]:
    """Indices of reduction cells, at 1/3 and 2/3 of the depth."""
    return {num_cells // 3, 2 * num_cells // 3}


def build_stem(
    kind: Literal["cifar", "imagenet"],
    in_channels: int,
    channels: int,
    multiplier: int,
    norm: Norm = nn.BatchNorm2d,
) -> tuple[nn.ModuleList, int]:
    """The parts before the cells, whose last two outputs (or only one) enter them; channels.

    Args:
        kind: One 3x3 convolution to ``multiplier * channels``, or three with stride 2.
        in_channels: Image channels.
        channels: Channels of the first cells.
        multiplier: Channel multiplier of the CIFAR stem.
        norm: Makes the batch norms.
    """
    if kind == "cifar":
        width = multiplier * channels
        return nn.ModuleList([nn.Sequential(*conv_norm(in_channels, width, 3, 1, norm))]), width
    half = channels // 2
    first = nn.Sequential(
        *conv_norm(in_channels, half, 3, 2, norm),
        nn.ReLU(),
        *conv_norm(half, channels, 3, 2, norm),
    )
    second = nn.Sequential(nn.ReLU(), *conv_norm(channels, channels, 3, 2, norm))
    return nn.ModuleList([first, second]), channels


def drop_path(x: Tensor, prob: Tensor) -> Tensor:
    """``x`` with whole samples set to zero with probability ``prob``, the rest scaled up."""
    keep = 1 - prob
    mask = torch.rand(len(x), 1, 1, 1, device=x.device) < keep
    return x * (mask / keep).to(x.dtype)


def sep_conv(channels: int, kernel: int, stride: int) -> nn.Sequential:
    """Two separable convolutions, the first with ``stride``."""
    return nn.Sequential(*separable(channels, kernel, stride), *separable(channels, kernel, 1))


def dil_conv(channels: int, kernel: int, stride: int) -> nn.Sequential:
    """A separable convolution with dilation 2."""
    return nn.Sequential(*separable(channels, kernel, stride, dilation=2))


def skip(channels: int, stride: int) -> nn.Module:
    """The input itself, or at stride 2 a `FactorizedReduce` of it."""
    return nn.Identity() if stride == 1 else FactorizedReduce(channels, channels)


def average_pool(stride: int) -> nn.AvgPool2d:
    """Mean of the pixels of a 3x3 window that lie inside."""
    return nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)


OPERATIONS: dict[str, Callable[[int, int], nn.Module]] = {
    "max_pool_3x3": lambda channels, stride: nn.MaxPool2d(3, stride, padding=1),
    "avg_pool_3x3": lambda channels, stride: average_pool(stride),
    "skip_connect": lambda channels, stride: skip(channels, stride),
    "sep_conv_3x3": lambda channels, stride: sep_conv(channels, 3, stride),
    "sep_conv_5x5": lambda channels, stride: sep_conv(channels, 5, stride),
    "dil_conv_3x3": lambda channels, stride: dil_conv(channels, 3, stride),
    "dil_conv_5x5": lambda channels, stride: dil_conv(channels, 5, stride),
}
"""Makes each operation of a derived network, from ``channels`` to ``channels``, with a stride.

Pools have no batch norm (the supernet's have one). Source: Liu et al., DARTS, ICLR 2019, section
3.1.1 and the published code."""
