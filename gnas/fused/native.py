"""The supernet's kernels in C for CPUs: see `gnas.fused.operators`. Once differentiable."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gnas.fused import operators
from gnas.fused.features import EPS, Block, FeatureMap
from gnas.fused.library import REALS, unavailable


def separable(x: Tensor, blocks: Sequence[Block]) -> list[FeatureMap]:
    """See `Kernels.separable`."""
    inputs = [_nhwc(x)]
    mean = rstd = None
    for block in blocks:
        *inputs, mean, var = operators.separable(
            inputs, block.depthwise, block.pointwise, mean, rstd, block.stride, block.dilation
        )
        rstd = torch.rsqrt(var + EPS)
    assert mean is not None and rstd is not None, "at least one block"
    return [FeatureMap(*part) for part in zip(inputs, mean, rstd, strict=True)]


def pools(x: Tensor, stride: int) -> tuple[FeatureMap, FeatureMap]:
    """See `Kernels.pools`."""
    highest, average, _, mean, var = operators.pools(_nhwc(x), stride)
    rstd = torch.rsqrt(var + EPS)
    return FeatureMap(highest, mean[0], rstd[0]), FeatureMap(average, mean[1], rstd[1])


def normalised(values: Sequence[Tensor]) -> list[FeatureMap]:
    """See `Kernels.normalised`; `weighted_sum` knows the moments' gradient."""
    values = [_nhwc(value) for value in values]
    mean, var = operators.moments(values)
    return [FeatureMap(*part) for part in zip(values, mean, torch.rsqrt(var + EPS), strict=True)]


def weighted_sum(weights: Tensor, terms: Sequence[FeatureMap], *, fold: bool = False) -> Tensor:
    """See `Kernels.weighted_sum`.

    Args:
        weights: Weights of the terms.
        terms: Feature maps.
        fold: Take several pixels of few channels as one of many, so that vectors are full: up to
            ten times as fast below 16 channels, and the sums of the backward are rounded in
            another order.
    """
    values = [_nhwc(term.value) for term in terms]
    channels = values[0].size(1)
    raw = values[0].new_zeros(channels), values[0].new_ones(channels)
    mean = torch.stack([raw[0] if term.mean is None else term.mean for term in terms])
    rstd = torch.stack([raw[1] if term.rstd is None else term.rstd for term in terms])
    with_norm = [term.mean is not None for term in terms]
    return operators.weighted_sum(values, weights, mean, rstd, with_norm, fold)


def native_problem(x: Tensor) -> str | None:
    """Reason in one line why these kernels do not support ``x``; None if they do.

    Args:
        x: Images or feature maps, as they would enter.

    Examples:
        >>> native_problem(torch.zeros(1, 3, 8, 8, dtype=torch.float16))
        'the native kernels need float32 or float64, but got torch.float16'
    """
    if x.device.type != "cpu":
        return f"the native kernels run on the CPU, but the images are on {x.device}"
    if torch.is_autocast_enabled("cpu"):
        return "the native kernels have no mixed precision, but autocast is on"
    if x.dtype not in REALS:
        return f"the native kernels need float32 or float64, but got {x.dtype}"
    return unavailable(x.dtype)


def _nhwc(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)
