"""The supernet's kernels in plain PyTorch: any device, any number type, twice differentiable.

All edges that leave a node go through one grouped convolution, which on a GPU saves launches.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from gnas.fused.features import EPS, Block, FeatureMap


def separable(x: Tensor, blocks: Sequence[Block]) -> list[FeatureMap]:
    """See `Kernels.separable`."""
    edges = blocks[0].depthwise.size(0) // x.size(1)
    h = F.relu(x).repeat(1, edges, 1, 1)  # [B, J * C, H, W]
    for k, block in enumerate(blocks):
        if k > 0:
            h = F.relu(F.batch_norm(h, None, None, training=True, eps=EPS))
        padding = block.dilation * (block.depthwise.size(-1) // 2)
        h = F.conv2d(
            h,
            block.depthwise,
            stride=block.stride,
            padding=padding,
            dilation=block.dilation,
            groups=h.size(1),
        )
        h = F.conv2d(h, block.pointwise, groups=edges)  # [B, J * C_out, h, w]
    mean, rstd = _moments(h)  # [J * C_out] each
    parts = (h.chunk(edges, 1), mean.chunk(edges), rstd.chunk(edges))
    return [FeatureMap(*part) for part in zip(*parts, strict=True)]


def pools(x: Tensor, stride: int) -> tuple[FeatureMap, FeatureMap]:
    """See `Kernels.pools`."""
    highest = F.max_pool2d(x, 3, stride, 1)
    average = F.avg_pool2d(x, 3, stride, 1, count_include_pad=False)
    return FeatureMap(highest, *_moments(highest)), FeatureMap(average, *_moments(average))


def normalised(values: Sequence[Tensor]) -> list[FeatureMap]:
    """See `Kernels.normalised`."""
    return [FeatureMap(value, *_moments(value)) for value in values]


def weighted_sum(weights: Tensor, terms: Sequence[FeatureMap], *, fold: bool = False) -> Tensor:
    """See `Kernels.weighted_sum`: batch norms are folded into the factors of the sum.

    ``fold`` changes nothing here.
    """
    total: Tensor | None = None
    constant: Tensor | None = None
    for weight, (value, mean, rstd) in zip(weights.unbind(), terms, strict=True):
        if mean is None or rstd is None:
            part = value * weight
        else:
            scale = weight * rstd  # [C]
            part = value * scale[:, None, None].to(value.dtype)
            shift = mean * scale  # [C]
            constant = shift if constant is None else constant + shift
        total = part if total is None else total + part
    if total is None:
        raise ValueError("a weighted sum needs at least one term, but got none")
    return total if constant is None else total - constant[:, None, None].to(total.dtype)


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and inverse standard deviation by channel, in float32 at least."""
    wide = x if x.dtype == torch.float64 else x.float()
    var, mean = torch.var_mean(wide, (0, 2, 3), correction=0)  # [C] each
    return mean, torch.rsqrt(var + EPS)
