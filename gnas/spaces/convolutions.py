"""Convolutions of the networks of several spaces."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

Norm = Callable[[int], nn.Module]
"""Makes the batch norm of so many channels."""


def conv_norm(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, norm: Norm = nn.BatchNorm2d
) -> list[nn.Module]:
    """Convolution that keeps the size (but for the stride), batch norm."""
    padding = kernel // 2
    return [
        nn.Conv2d(in_channels, out_channels, kernel, stride, padding, bias=False),
        norm(out_channels),
    ]


def conv_norm_params(in_channels: int, out_channels: int, kernel: int) -> int:
    """Trainable parameters of `conv_norm`.

    Args:
        in_channels: Input channels.
        out_channels: Output channels.
        kernel: Side of the kernel in pixels.
    """
    return kernel**2 * in_channels * out_channels + 2 * out_channels
