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
    """

    value: Tensor
    mean: Tensor | None = None
    rstd: Tensor | None = None


class Block(NamedTuple):
    """ReLU, depthwise and pointwise convolution of J edges that leave one node.

    Shapes:
        depthwise [J * C, 1, k, k], pointwise [J * C_out, C, 1, 1], edge by edge.
    """

    depthwise: Tensor
    pointwise: Tensor
    stride: int = 1
    dilation: int = 1


class Kernels(Protocol):
    """The passes that take nearly all of a supernet's time."""

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
