"""Common parts of the two implementations of the supernet's kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from torch import Tensor

EPS = 1e-5
"""Added to variances by every batch norm; PyTorch's default."""


class FeatureMap(NamedTuple):
    """A feature map whose batch norm is still to be applied: it means (value - mean) * rstd.

    Shapes:
        value [B, C, H, W], mean [C], rstd [C]; without the two, it means the value itself.

    Examples:
        >>> import torch
        >>> from gnas.fused import kernels_for
        >>> x = torch.tensor([1.0, 3.0]).view(2, 1, 1, 1)
        >>> [found] = kernels_for(x, "torch").normalised([x])
        >>> found.mean, found.rstd
        (tensor([2.]), tensor([1.0000]))
    """

    value: Tensor
    mean: Tensor | None = None
    rstd: Tensor | None = None


class Block(NamedTuple):
    """ReLU, depthwise and pointwise convolution of J edges that leave one node.

    Shapes:
        depthwise [J * C, 1, k, k], pointwise [J * C_out, C, 1, 1], edge by edge.

    Examples:
        >>> import torch
        >>> from gnas.fused import kernels_for
        >>> images = torch.rand(2, 4, 8, 8)
        >>> edges, channels = 3, 4
        >>> rows = edges * channels
        >>> block = Block(torch.rand(rows, 1, 3, 3), torch.rand(rows, channels, 1, 1), stride=2)
        >>> found = kernels_for(images, "torch").separable(images, [block])
        >>> len(found), found[0].value.shape
        (3, torch.Size([2, 4, 4, 4]))
    """

    depthwise: Tensor
    pointwise: Tensor
    stride: int = 1
    dilation: int = 1


class Kernels(Protocol):
    """The passes that take nearly all of a supernet's time.

    Examples:
        >>> import torch
        >>> from gnas.fused import FeatureMap, kernels_for
        >>> x = torch.ones(2, 4, 8, 8)
        >>> weights, terms = torch.tensor([0.25, 0.5]), [FeatureMap(x), FeatureMap(x)]
        >>> total = kernels_for(x, "torch").weighted_sum(weights, terms)
        >>> bool((total == 0.75).all())
        True
    """

    def separable(self, x: Tensor, blocks: Sequence[Block]) -> list[FeatureMap]:
        """Every edge's blocks one after another, each followed by a batch norm without weights.

        Shapes:
            x [B, C, H, W] -> J times [B, C_out, ceil(H / stride), ceil(W / stride)].
        """
        ...

    def pools(self, x: Tensor, stride: int) -> tuple[FeatureMap, FeatureMap]:
        """3x3 max-pool and average pool (of the pixels inside), each followed by a batch norm.

        Shapes:
            x [B, C, H, W] -> twice [B, C, ceil(H / stride), ceil(W / stride)].
        """
        ...

    def normalised(self, values: Sequence[Tensor]) -> list[FeatureMap]:
        """Feature maps of one shape, each to be followed by a batch norm without weights.

        Shapes:
            K times [B, C, H, W] -> K times the same.
        """
        ...

    def weighted_sum(
        self, weights: Tensor, terms: Sequence[FeatureMap], *, fold: bool = False
    ) -> Tensor:
        """Sum over K terms of ``weights[k]`` times the (normalised) feature map.

        ``fold`` is faster where there are few channels; see `gnas.fused.native.weighted_sum`.

        Shapes:
            weights [K], K times [B, C, H, W] -> [B, C, H, W].
        """
        ...
