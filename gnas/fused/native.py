"""The supernet's kernels in C for CPUs: see `kernels.c`. Once differentiable.

Batch norms' statistics are constants to autograd here: the backward of whoever applies them
(`_Separable` of its input, `_WeightedSum` of its terms) contains their gradient in closed form.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from gnas.fused.features import EPS, Block, Features
from gnas.fused.library import REALS, library, unavailable


def separable(x: Tensor, blocks: Sequence[Block]) -> list[Features]:
    """See `Kernels.separable`."""
    inputs: Sequence[Tensor] = (_nhwc(x),)
    mean = rstd = None
    for block in blocks:
        geometry = (block.stride, block.dilation)
        *outputs, mean, var = _Separable.apply(
            geometry, block.depthwise, block.pointwise, mean, rstd, *inputs
        )
        inputs, rstd = outputs, torch.rsqrt(var + EPS)
    assert mean is not None and rstd is not None, "at least one block"
    return [Features(*part) for part in zip(inputs, mean, rstd, strict=True)]


def pools(x: Tensor, stride: int) -> tuple[Features, Features]:
    """See `Kernels.pools`."""
    highest, average, mean, var = _Pools.apply(_nhwc(x), stride)
    rstd = torch.rsqrt(var + EPS)
    return Features(highest, mean[0], rstd[0]), Features(average, mean[1], rstd[1])


@torch.no_grad()
def _moments(values: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of every channel, both [K, C], of K maps [B, C, H, W]."""
    z = [_nhwc(value) for value in values]
    mean, var = z[0].new_empty(2, len(z), z[0].size(1))
    _run(
        library(z[0].dtype).moments(
            ctypes.byref(_sum(z[0], len(z))), _pointers(z), *map(_pointer, (mean, var))
        )
    )
    return mean, var


def normalised(values: Sequence[Tensor]) -> list[Features]:
    """See `Kernels.normalised`; `weighted_sum` knows the moments' gradient."""
    values = [_nhwc(value) for value in values]
    mean, var = _moments(values)
    return [Features(*part) for part in zip(values, mean, torch.rsqrt(var + EPS), strict=True)]


def weighted_sum(weights: Tensor, terms: Sequence[Features], *, fold: bool = False) -> Tensor:
    """See `Kernels.weighted_sum`.

    Args:
        weights: Of the terms.
        terms: Feature maps.
        fold: Take several pixels of few channels as one of many, so that vectors are full: up to
            ten times as fast below 16 channels, and the sums of the backward are rounded in
            another order.
    """
    values = [_nhwc(term.value) for term in terms]
    channels = values[0].size(1)
    raw = values[0].new_zeros(channels), values[0].new_ones(channels)
    normalised = torch.tensor([term.mean is not None for term in terms])
    mean = torch.stack([raw[0] if term.mean is None else term.mean for term in terms])
    rstd = torch.stack([raw[1] if term.rstd is None else term.rstd for term in terms])
    out: Tensor = _WeightedSum.apply(fold, weights, normalised, mean, rstd, *values)
    return out


def native_problem(x: Tensor) -> str | None:
    """Why these kernels cannot compute on tensors like ``x``, in one line; None if they can."""
    if x.device.type != "cpu":
        return f"the native kernels run on the CPU, but the images are on {x.device}"
    if torch.is_autocast_enabled("cpu"):
        return "the native kernels have no mixed precision, but autocast is on"
    if x.dtype not in REALS:
        return f"the native kernels need float32 or float64, but got {x.dtype}"
    return unavailable(x.dtype)


class _Shape(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_int64)
        for name in (
            *("images", "height", "width", "in_channels", "out_channels"),
            *("kernel", "stride", "dilation", "groups", "shared", "threads"),
        )
    )


class _Sum(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_int64) for name in ("images", "pixels", "channels", "terms", "threads")
    )


class _Separable(torch.autograd.Function):
    """One block of J edges; inputs are normalised by ``mean`` and ``rstd`` [J, C] if given."""

    @staticmethod
    def forward(
        ctx: Any,
        geometry: tuple[int, int],
        depthwise: Tensor,
        pointwise: Tensor,
        mean: Tensor | None,
        rstd: Tensor | None,
        *x: Tensor,
    ) -> tuple[Tensor, ...]:
        ctx.shape = shape = _shape(x, depthwise, pointwise, geometry)
        scale, shift = _affine(mean, rstd)
        first = x[0]
        size = [-(-int(side) // shape.stride) for side in first.shape[2:]]
        z = [
            torch.empty(
                (first.size(0), shape.out_channels, *size),
                dtype=first.dtype,
                memory_format=torch.channels_last,
            )
            for _ in range(shape.groups)
        ]
        out_mean, out_var = first.new_empty(2, shape.groups, shape.out_channels)
        depthwise, pointwise = depthwise.contiguous(), pointwise.contiguous()
        _run(
            library(first.dtype).separable_forward(
                ctypes.byref(shape),
                _pointers(x),
                *map(_pointer, (scale, shift, depthwise, pointwise)),
                _pointers(z),
                *map(_pointer, (out_mean, out_var)),
            )
        )
        ctx.save_for_backward(depthwise, pointwise, mean, rstd, *x)
        ctx.mark_non_differentiable(out_mean, out_var)
        return (*z, out_mean, out_var)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        depthwise, pointwise, mean, rstd, *x = ctx.saved_tensors
        shape = ctx.shape
        grad_z = [_nhwc(grad) for grad in grads[: shape.groups]]
        scale, shift = _affine(mean, rstd)
        grad_x = [torch.empty_like(value) for value in x]
        grad_depthwise, grad_pointwise = torch.zeros_like(depthwise), torch.zeros_like(pointwise)
        sums = torch.zeros(2, shape.groups, shape.in_channels, dtype=torch.float64)
        _run(
            library(x[0].dtype).separable_backward(
                ctypes.byref(shape),
                _pointers(x),
                *map(_pointer, (scale, shift, depthwise, pointwise)),
                _pointers(grad_z),
                _pointers(grad_x),
                *map(_pointer, (grad_depthwise, grad_pointwise, sums[0], sums[1])),
            )
        )
        if mean is not None:
            ones = torch.ones(shape.groups, dtype=mean.dtype)
            factors = _norm_backward(ones, mean, rstd, sums[0], sums[1], _pixels(x[0]))
            _combine(grad_x, x, factors, grad_x)
        return (None, grad_depthwise, grad_pointwise, None, None, *grad_x)


class _Pools(torch.autograd.Function):
    """Max-pool and average pool, and the moments of both [2, C]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, stride: int) -> tuple[Tensor, ...]:
        images, channels, height, width = x.shape
        threads = min(torch.get_num_threads(), images)
        ctx.shape = shape = _Shape(
            *(images, height, width, channels, channels), *(3, stride, 1, 1, 1, threads)
        )
        size = (images, channels, -(-height // stride), -(-width // stride))
        highest, average = (
            torch.empty(size, dtype=x.dtype, memory_format=torch.channels_last) for _ in range(2)
        )
        choice = torch.empty(highest.numel(), dtype=torch.uint8)
        mean, var = x.new_empty(2, 2, channels)
        _run(
            library(x.dtype).pools_forward(
                ctypes.byref(shape), *map(_pointer, (x, highest, average, choice, mean, var))
            )
        )
        ctx.save_for_backward(choice)
        ctx.mark_non_differentiable(mean, var)
        return highest, average, mean, var

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (choice,) = ctx.saved_tensors
        highest, average = map(_nhwc, grads[:2])
        s = ctx.shape
        size = (s.images, s.in_channels, s.height, s.width)
        grad_x = torch.empty(size, dtype=highest.dtype, memory_format=torch.channels_last).zero_()
        library(highest.dtype).pools_backward(
            ctypes.byref(s), *map(_pointer, (highest, average, choice, grad_x))
        )
        return grad_x, None


class _WeightedSum(torch.autograd.Function):
    """Sum of weighted feature maps, each normalised where ``normalised`` says so."""

    @staticmethod
    def forward(
        ctx: Any,
        fold: bool,
        weights: Tensor,
        normalised: Tensor,
        mean: Tensor,
        rstd: Tensor,
        *z: Tensor,
    ) -> Tensor:
        first = z[0]
        ctx.folded = folded = _folded(first) if fold else 1
        scale = (weights.detach()[:, None].to(first.dtype) * rstd).contiguous()
        constant = -(scale * mean).sum(0)
        out = torch.empty_like(first)
        scale, constant = scale.repeat(1, folded), constant.repeat(folded)
        library(first.dtype).weighted_sum(
            ctypes.byref(_sum(first, len(z), folded)),
            _pointers(z),
            *map(_pointer, (scale, constant, out)),
        )
        ctx.save_for_backward(weights, normalised, mean, rstd, *z)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weights, normalised, mean, rstd, *z = ctx.saved_tensors
        grad = _nhwc(grad)
        shape = _sum(grad, len(z), ctx.folded)
        dots = torch.zeros(len(z) + 1, shape.channels, dtype=torch.float64)
        _run(
            library(grad.dtype).weighted_sum_dots(
                ctypes.byref(shape), _pointers(z), _pointer(grad), _pointer(dots)
            )
        )
        dots = dots.view(len(z) + 1, ctx.folded, -1).sum(1)
        dot, total = dots[:-1], dots[-1].expand(len(z), -1)
        grad_weights = (rstd * (dot - mean * total)).sum(1).to(weights.dtype)
        factors = _norm_backward(weights, mean, rstd, total, dot, _pixels(grad))
        keep = normalised[:, None]
        factors = (factors[0], factors[1] * keep, factors[2] * keep)
        grad_z = [torch.empty_like(value) for value in z]
        _combine([grad] * len(z), z, factors, grad_z, ctx.folded)
        return (None, grad_weights, None, None, None, *grad_z)


def _norm_backward(
    weights: Tensor, mean: Tensor, rstd: Tensor, sum_g: Tensor, sum_gz: Tensor, pixels: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Factors a, b, c of the gradient a g + b z + c through w (z - mean) rstd, all [K, C]."""
    double = rstd.double()
    scale = weights.detach().double()[:, None] * double
    projection = double * double * (sum_gz - mean * sum_g) / pixels
    constant = scale * (projection * mean - sum_g / pixels)
    dtype = rstd.dtype
    return scale.to(dtype), (-scale * projection).to(dtype), constant.to(dtype)


def _combine(
    g: Sequence[Tensor],
    z: Sequence[Tensor],
    factors: tuple[Tensor, ...],
    out: Sequence[Tensor],
    folded: int = 1,
) -> None:
    """out[k] = a[k] g[k] + b[k] z[k] + c[k], channel by channel."""
    factors = tuple(factor.repeat(1, folded).contiguous() for factor in factors)
    library(z[0].dtype).combine(
        ctypes.byref(_sum(z[0], len(z), folded)),
        _pointers(z),
        _pointers(g),
        *map(_pointer, factors),
        _pointers(out),
    )


def _shape(
    x: Sequence[Tensor], depthwise: Tensor, pointwise: Tensor, geometry: tuple[int, int]
) -> _Shape:
    images, channels, height, width = x[0].shape
    groups = depthwise.size(0) // channels
    out_channels = pointwise.size(0) // groups
    stride, dilation = geometry
    shared = len(x) == 1
    threads = min(torch.get_num_threads(), images)
    return _Shape(
        *(images, height, width, channels, out_channels),
        *(depthwise.size(-1), stride, dilation, groups, shared, threads),
    )


def _sum(z: Tensor, terms: int, folded: int = 1) -> _Sum:
    pixels, channels = _pixels(z) // len(z) // folded, z.size(1) * folded
    return _Sum(len(z), pixels, channels, terms, torch.get_num_threads())


def _folded(z: Tensor) -> int:
    """Pixels of an image that fill a vector together; 1 where they do not."""
    lanes, pixels = 64 // z.element_size(), _pixels(z) // len(z)
    folded = max(lanes // z.size(1), 1)
    return folded if lanes % z.size(1) == 0 and pixels % folded == 0 else 1


def _pixels(z: Tensor) -> int:
    return z.numel() // z.size(1)


def _affine(mean: Tensor | None, rstd: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    if mean is None or rstd is None:
        return None, None
    return rstd.contiguous(), -mean * rstd


def _nhwc(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _pointer(tensor: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())


def _pointers(tensors: Sequence[Tensor]) -> Any:
    return (ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))


def _run(failed: int) -> None:
    if failed:
        raise MemoryError("the native kernels need memory for their buffers, but got none")
