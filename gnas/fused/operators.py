"""The C kernels as operators of PyTorch, ``torch.ops.gnas``: see `kernels.c`.

Every operator checks its shapes before C reads a pointer, says by a fake rule what it returns, and
has a gradient; once, as that of the backward is not written. Feature maps may have any memory
format; they are read, and returned, with channels last.

Batch norms' statistics are constants to autograd here: the backward of the operator that applies
them (`separable` of its input, `weighted_sum` of its terms) has their gradient in closed form.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from gnas.errors import GraphError
from gnas.fused.library import VECTORS, library

Maps = list[Tensor]
Kernel = Callable[..., Any]

_SCHEMAS = {
    "separable": "(Tensor[] x, Tensor depthwise, Tensor pointwise, Tensor? mean, Tensor? rstd, "
    "int stride, int dilation) -> Tensor[]",
    "separable_backward": "(Tensor[] grads, Tensor[] x, Tensor depthwise, Tensor pointwise, "
    "Tensor? mean, Tensor? rstd, int stride, int dilation, bool of_weights) -> Tensor[]",
    "pools": "(Tensor x, int stride) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    "pools_backward": "(Tensor highest, Tensor average, Tensor choice, SymInt height, "
    "SymInt width, int stride) -> Tensor",
    "moments": "(Tensor[] values) -> (Tensor, Tensor)",
    "weighted_sum": "(Tensor[] z, Tensor weights, Tensor mean, Tensor rstd, bool[] normalised, "
    "bool fold) -> Tensor",
    "weighted_sum_backward": "(Tensor grad, Tensor[] z, Tensor weights, Tensor mean, "
    "Tensor rstd, bool[] normalised, bool fold) -> Tensor[]",
}
"""Schema of each operator."""


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


def _separable(
    x: Maps,
    depthwise: Tensor,
    pointwise: Tensor,
    mean: Tensor | None,
    rstd: Tensor | None,
    stride: int,
    dilation: int,
) -> Maps:
    """One block of J edges: J maps, then their means and biased variances, both [J, C_out].

    Inputs are normalised by ``mean`` and ``rstd`` [J, C] if given; a single one is all edges'.
    """
    outputs = _fake_separable(x, depthwise, pointwise, mean, rstd, stride, dilation)
    x = [_nhwc(value) for value in x]
    shape = _shape(x, depthwise, pointwise, stride, dilation)
    scale, shift = _affine(mean, rstd)  # [J, C] each
    depthwise, pointwise = depthwise.contiguous(), pointwise.contiguous()
    *z, out_mean, out_var = outputs  # J times [B, C_out, h, w], then [J, C_out] each
    _run(
        _library(x[0].dtype, shape.in_channels, shape.out_channels).separable_forward(
            ctypes.byref(shape),
            _pointers(x),
            *map(_pointer, (scale, shift, depthwise, pointwise)),
            _pointers(z),
            *map(_pointer, (out_mean, out_var)),
        )
    )
    return outputs


def _fake_separable(
    x: Maps,
    depthwise: Tensor,
    pointwise: Tensor,
    mean: Tensor | None,
    rstd: Tensor | None,
    stride: int,
    dilation: int,
) -> Maps:
    groups, out_channels = _check_separable(x, depthwise, pointwise, mean, rstd, stride, dilation)
    images, _, height, width = x[0].shape
    size = (images, out_channels, -(-height // stride), -(-width // stride))  # rounded up
    moments = [x[0].new_empty(groups, out_channels) for _ in range(2)]
    return [*(_empty(x[0], size) for _ in range(groups)), *moments]


def _separable_backward(
    grads: Maps,
    x: Maps,
    depthwise: Tensor,
    pointwise: Tensor,
    mean: Tensor | None,
    rstd: Tensor | None,
    stride: int,
    dilation: int,
    of_weights: bool,
) -> Maps:
    """Gradients of the depthwise and the pointwise weights, if asked for, then of every input."""
    groups, out_channels = _check_separable(x, depthwise, pointwise, mean, rstd, stride, dilation)
    images, _, height, width = x[0].shape
    size = (images, out_channels, -(-height // stride), -(-width // stride))
    _check_maps("the gradients", grads, x[0].dtype, count=groups, size=size)
    x, grads = [_nhwc(value) for value in x], [_nhwc(grad) for grad in grads]
    shape = _shape(x, depthwise, pointwise, stride, dilation)
    scale, shift = _affine(mean, rstd)
    grad_x = [torch.empty_like(value) for value in x]
    depthwise, pointwise = depthwise.contiguous(), pointwise.contiguous()
    grad_weights = [torch.zeros_like(w) for w in (depthwise, pointwise) if of_weights]
    sums = torch.zeros(2, groups, shape.in_channels, dtype=torch.float64)  # [2, J, C]
    _run(
        _library(x[0].dtype, shape.in_channels, shape.out_channels).separable_backward(
            ctypes.byref(shape),
            _pointers(x),
            *map(_pointer, (scale, shift, depthwise, pointwise)),
            _pointers(grads),
            _pointers(grad_x),
            *(map(_pointer, grad_weights) if of_weights else (None, None)),
            *map(_pointer, (sums[0], sums[1])),
        )
    )
    if mean is not None and rstd is not None:
        ones = torch.ones(groups, dtype=mean.dtype)
        factors = _norm_backward(ones, mean, rstd, sums[0], sums[1], _pixels(x[0]))
        _combine(grad_x, x, factors, grad_x)
    return [*grad_weights, *grad_x]


def _fake_separable_backward(
    grads: Maps, x: Maps, depthwise: Tensor, pointwise: Tensor, *options: Any
) -> Maps:
    *_, of_weights = options
    weights = [torch.empty_like(w, memory_format=torch.contiguous_format)
               for w in (depthwise, pointwise) if of_weights]  # fmt: skip
    return [*weights, *(_empty(value, value.shape) for value in x)]


def _pools(x: Tensor, stride: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Max-pool and average pool, the max-pool's choices, and the moments of both [2, C]."""
    outputs = _fake_pools(x, stride)
    x = _nhwc(x)
    shape = _pool_shape(x, stride)
    kernels = _library(x.dtype, shape.in_channels)
    _run(kernels.pools_forward(ctypes.byref(shape), *map(_pointer, (x, *outputs))))
    return outputs


def _fake_pools(x: Tensor, stride: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    _check_maps("the input", [x], x.dtype)
    if stride < 1:
        raise _refuse("stride must be at least 1", stride)
    images, channels, height, width = x.shape
    size = (images, channels, -(-height // stride), -(-width // stride))
    highest, average = _empty(x, size), _empty(x, size)
    choice = x.new_empty(highest.numel(), dtype=torch.uint8)
    return highest, average, choice, x.new_empty(2, channels), x.new_empty(2, channels)


def _pools_backward(
    highest: Tensor, average: Tensor, choice: Tensor, height: int, width: int, stride: int
) -> Tensor:
    """The gradient of the input from those of both pools."""
    size = (*highest.shape[:2], -(-height // stride), -(-width // stride))
    _check_maps("the gradients", [highest, average], highest.dtype, count=2, size=size)
    if choice.dtype != torch.uint8 or choice.shape != (highest.numel(),):
        raise _refuse(f"choice must be uint8 [{highest.numel()}]", choice)
    grad = _fake_pools_backward(highest, average, choice, height, width, stride).zero_()
    shape = _pool_shape(grad, stride)
    parts = (_nhwc(highest), _nhwc(average), choice.contiguous(), grad)
    _library(highest.dtype, shape.in_channels).pools_backward(
        ctypes.byref(shape), *map(_pointer, parts)
    )
    return grad


def _fake_pools_backward(
    highest: Tensor, average: Tensor, choice: Tensor, height: int, width: int, stride: int
) -> Tensor:
    return _empty(highest, (highest.size(0), highest.size(1), height, width))


def _moments(values: Maps) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of every channel, both [K, C], of K maps [B, C, H, W]."""
    mean, var = _fake_moments(values)
    z = [_nhwc(value) for value in values]
    shape = _sum(z[0], len(z))
    pointers = map(_pointer, (mean, var))
    kernels = _library(z[0].dtype, shape.channels)
    _run(kernels.moments(ctypes.byref(shape), _pointers(z), *pointers))
    return mean, var


def _fake_moments(values: Maps) -> tuple[Tensor, Tensor]:
    first = _check_maps("the maps", values)
    return first.new_empty(len(values), first.size(1)), first.new_empty(len(values), first.size(1))


def _weighted_sum(
    z: Maps, weights: Tensor, mean: Tensor, rstd: Tensor, normalised: Sequence[bool], fold: bool
) -> Tensor:
    """Sum of K weighted maps, each normalised by ``mean`` and ``rstd`` [K, C]."""
    out = _fake_weighted_sum(z, weights, mean, rstd, normalised, fold)
    z = [_nhwc(value) for value in z]
    folded = _folded(z[0]) if fold else 1
    scale = (weights[:, None].to(out.dtype) * rstd).contiguous()  # [K, C]
    constant = -(scale * mean).sum(0)  # [C]
    if folded > 1:
        scale, constant = scale.repeat(1, folded), constant.repeat(folded)
    shape = _sum(z[0], len(z), folded)
    _library(out.dtype, shape.channels).weighted_sum(
        ctypes.byref(shape),
        _pointers(z),
        *map(_pointer, (scale, constant, out)),
    )
    return out


def _fake_weighted_sum(
    z: Maps, weights: Tensor, mean: Tensor, rstd: Tensor, normalised: Sequence[bool], fold: bool
) -> Tensor:
    first = _check_sum(z, weights, mean, rstd, normalised)
    return _empty(first, first.shape)


def _weighted_sum_backward(
    grad: Tensor,
    z: Maps,
    weights: Tensor,
    mean: Tensor,
    rstd: Tensor,
    normalised: Sequence[bool],
    fold: bool,
) -> Maps:
    """Gradients of the weights, then of every map."""
    first = _check_sum(z, weights, mean, rstd, normalised)
    _check_maps("the gradient", [grad], first.dtype, size=first.shape)
    grad, z = _nhwc(grad), [_nhwc(value) for value in z]
    folded = _folded(z[0]) if fold else 1
    shape = _sum(grad, len(z), folded)
    dots = torch.zeros(len(z) + 1, shape.channels, dtype=torch.float64)
    _run(
        _library(grad.dtype, shape.channels).weighted_sum_dots(
            ctypes.byref(shape), _pointers(z), _pointer(grad), _pointer(dots)
        )
    )
    dots = dots.view(len(z) + 1, folded, -1).sum(1)  # [K + 1, C]
    dot, total = dots[:-1], dots[-1].expand(len(z), -1)  # [K, C] each
    grad_weights = (rstd * (dot - mean * total)).sum(1).to(weights.dtype)  # [K]
    factors = _norm_backward(weights, mean, rstd, total, dot, _pixels(grad))
    keep = torch.tensor(normalised)[:, None]  # [K, 1]
    factors = (factors[0], factors[1] * keep, factors[2] * keep)
    grad_z = [torch.empty_like(value) for value in z]
    _combine([grad] * len(z), z, factors, grad_z, folded)
    return [grad_weights, *grad_z]


def _fake_weighted_sum_backward(grad: Tensor, z: Maps, weights: Tensor, *options: Any) -> Maps:
    return [torch.empty_like(weights), *(_empty(value, value.shape) for value in z)]


class _Separable(torch.autograd.Function):
    """`_separable` with its gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        stride: int,
        dilation: int,
        depthwise: Tensor,
        pointwise: Tensor,
        mean: Tensor | None,
        rstd: Tensor | None,
        *x: Tensor,
    ) -> tuple[Tensor, ...]:
        inputs = ([*x], depthwise, pointwise, mean, rstd, stride, dilation)
        output = _separable(*inputs)
        _keep_separable(ctx, inputs, output)
        return (*output,)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        ctx.of_weights = any(ctx.needs_input_grad[2:4])
        found = _separable_grads(ctx, grads, _separable_backward)
        return (None, None, found[0], found[1], None, None, *found[2:])


class _Pools(torch.autograd.Function):
    """`_pools` with its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, stride: int) -> tuple[Tensor, ...]:
        output = _pools(x, stride)
        _keep_pools(ctx, (x, stride), output)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return *_pools_grads(ctx, grads, _pools_backward), None


class _WeightedSum(torch.autograd.Function):
    """`_weighted_sum` with its gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        normalised: list[bool],
        fold: bool,
        weights: Tensor,
        mean: Tensor,
        rstd: Tensor,
        *z: Tensor,
    ) -> Tensor:
        inputs = ([*z], weights, mean, rstd, normalised, fold)
        output = _weighted_sum(*inputs)
        _keep_sum(ctx, inputs, output)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        found = _sum_grads(ctx, grads, _weighted_sum_backward)
        return (None, None, found[0], None, None, *found[1:])


def _keep_separable(ctx: Any, inputs: tuple[Any, ...], output: Maps) -> None:
    x, depthwise, pointwise, mean, rstd, *ctx.geometry = inputs
    ctx.save_for_backward(depthwise, pointwise, mean, rstd, *x)
    ctx.mark_non_differentiable(*output[-2:])


def _separable_grads(
    ctx: Any, grads: Sequence[Tensor], kernel: Kernel
) -> tuple[Tensor | None, ...]:
    """Gradients of depthwise and pointwise weights, then of every input.

    Those of the weights are None where ``ctx.of_weights`` is false: a step on alpha or beta has
    no use for them, and they are the larger part of the work.
    """
    depthwise, pointwise, mean, rstd, *x = ctx.saved_tensors
    options = (*ctx.geometry, ctx.of_weights)
    found = kernel([*grads[:-2]], x, depthwise, pointwise, mean, rstd, *options)
    return (*found,) if ctx.of_weights else (None, None, *found)


def _keep_pools(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.size, ctx.stride = inputs[0].shape[2:], inputs[1]
    ctx.save_for_backward(output[2])
    ctx.mark_non_differentiable(*output[2:])


def _pools_grads(ctx: Any, grads: Sequence[Tensor], kernel: Kernel) -> tuple[Tensor, ...]:
    """The gradient of the input."""
    (choice,) = ctx.saved_tensors
    return (kernel(*grads[:2], choice, *ctx.size, ctx.stride),)


def _keep_sum(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    z, weights, mean, rstd, *ctx.options = inputs
    ctx.save_for_backward(weights, mean, rstd, *z)


def _sum_grads(ctx: Any, grads: Sequence[Tensor], kernel: Kernel) -> tuple[Tensor, ...]:
    """Gradients of the weights, then of every map."""
    weights, mean, rstd, *z = ctx.saved_tensors
    return (*kernel(grads[0], z, weights, mean, rstd, *ctx.options),)


def _once(gradient: Kernel, operator: Kernel, ctx: Any, grads: Sequence[Tensor]) -> Maps:
    """Gradients by an operator, which raise an error where they are differentiated again."""

    def by_operator(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        found: tuple[Tensor | None, ...] = gradient(ctx, grads, operator)
        return found

    found: Any = once_differentiable(by_operator)(ctx, *grads)  # of one output, a tensor
    return [found] if isinstance(found, Tensor) else [*found]


def _separable_rule(ctx: Any, grads: Maps) -> tuple[Any, ...]:
    ctx.of_weights = any(ctx.needs_input_grad[1:3])
    found = _once(_separable_grads, torch.ops.gnas.separable_backward, ctx, grads)
    return found[2:], found[0], found[1], None, None, None, None


def _pools_rule(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
    return *_once(_pools_grads, torch.ops.gnas.pools_backward, ctx, grads[:2]), None


def _sum_rule(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    found = _once(_sum_grads, torch.ops.gnas.weighted_sum_backward, ctx, [grad])
    return found[1:], found[0], None, None, None, None


def _keep_moments(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.count = len(inputs[0])
    ctx.mark_non_differentiable(*output)


def _no_gradient(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
    return ([None] * ctx.count,)


def separable(
    x: Sequence[Tensor],
    depthwise: Tensor,
    pointwise: Tensor,
    mean: Tensor | None,
    rstd: Tensor | None,
    stride: int,
    dilation: int,
) -> Maps:
    """``torch.ops.gnas.separable`` without PyTorch's dispatcher.

    The dispatcher's way through lists of tensors takes up to .3 ms a call, as long as the kernel
    on small maps. Programs that are compiled have the operator.

    Args:
        x: One map for all J edges, or J maps, [B, C, H, W].
        depthwise: Weights [J * C, 1, k, k].
        pointwise: Weights [J * C_out, C, 1, 1].
        mean: Means of every edge's input, [J, C]; None for inputs that are not normalised.
        rstd: Inverse deviations [J, C], or None.
        stride: Stride of the depthwise convolution.
        dilation: Dilation of the depthwise convolution.

    Returns:
        J maps [B, C_out, ceil(H / stride), ceil(W / stride)], then their means and biased
        variances, both [J, C_out].

    Raises:
        GraphError: shapes or number types do not fit.
    """
    if torch.compiler.is_compiling():
        found: Maps = torch.ops.gnas.separable(
            x, depthwise, pointwise, mean, rstd, stride, dilation
        )
        return found
    return [*_Separable.apply(stride, dilation, depthwise, pointwise, mean, rstd, *x)]


def pools(x: Tensor, stride: int) -> tuple[Tensor, ...]:
    """``torch.ops.gnas.pools``; see `separable`.

    Args:
        x: A map [B, C, H, W].
        stride: Stride of both pools.

    Returns:
        Max-pool and average pool, the max-pool's choices, and the means and biased variances of
        both pools, [2, C] each.

    Raises:
        GraphError: shapes or number types do not fit.
    """
    operator = torch.ops.gnas.pools if torch.compiler.is_compiling() else _Pools.apply
    found: tuple[Tensor, ...] = operator(x, stride)
    return found


def weighted_sum(
    z: Sequence[Tensor],
    weights: Tensor,
    mean: Tensor,
    rstd: Tensor,
    normalised: Sequence[bool],
    fold: bool,
) -> Tensor:
    """``torch.ops.gnas.weighted_sum``; see `separable`.

    Args:
        z: K maps [B, C, H, W].
        weights: Weights of the maps, [K].
        mean: Means of the maps, [K, C]; 0 where one is not normalised.
        rstd: Inverse deviations [K, C]; 1 where one is not normalised.
        normalised: Whether the gradient goes through each map's batch norm, K values.
        fold: See `gnas.fused.native.weighted_sum`.

    Raises:
        GraphError: shapes or number types do not fit.
    """
    if torch.compiler.is_compiling():
        out: Tensor = torch.ops.gnas.weighted_sum(z, weights, mean, rstd, normalised, fold)
    else:
        out = _WeightedSum.apply([*normalised], fold, weights, mean, rstd, *z)
    return out


@torch.no_grad()
def moments(values: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """``torch.ops.gnas.moments``; see `separable`.

    Args:
        values: K maps [B, C, H, W].

    Returns:
        Mean and biased variance of every channel, both [K, C].

    Raises:
        GraphError: shapes or number types do not fit.
    """
    operator = torch.ops.gnas.moments if torch.compiler.is_compiling() else _moments
    found: tuple[Tensor, Tensor] = operator([*values])
    return found


def _norm_backward(
    weights: Tensor, mean: Tensor, rstd: Tensor, sum_g: Tensor, sum_gz: Tensor, pixels: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Factors a, b, c of the gradient a g + b z + c through w (z - mean) rstd, all [K, C]."""
    double = rstd.double()
    scale = weights.double()[:, None] * double
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
    if folded > 1:
        factors = tuple(factor.repeat(1, folded) for factor in factors)
    factors = tuple(factor.contiguous() for factor in factors)
    shape = _sum(z[0], len(z), folded)
    _library(z[0].dtype, shape.channels).combine(
        ctypes.byref(shape),
        _pointers(z),
        _pointers(g),
        *map(_pointer, factors),
        _pointers(out),
    )


def _refuse(what: str, found: object) -> GraphError:
    """The error of what must hold, and what was found."""
    shown = f"{found.dtype} {[*found.shape]}" if isinstance(found, Tensor) else found
    return GraphError(f"{what}, but got {shown}")


def _check_maps(
    what: str,
    maps: Sequence[Tensor],
    dtype: torch.dtype | None = None,
    *,
    count: int | None = None,
    size: Sequence[int] | None = None,
) -> Tensor:
    """Check that there are feature maps [B, C, H, W] of one shape; return the first."""
    if not maps or count not in (None, len(maps)):
        raise _refuse(f"{what} must be {count or 'at least one'}", len(maps))
    first = maps[0]
    wanted, kind = tuple(first.shape if size is None else size), dtype or first.dtype
    for one in maps:
        if (
            one.shape != wanted
            or one.dtype != kind
            or len(wanted) != 4
            or one.device.type not in ("cpu", "meta")
        ):
            raise _refuse(f"{what} must be maps [B, C, H, W] of {kind} {[*wanted]}", one)
    if 0 in wanted:
        raise _refuse(f"{what} must not be empty", first)
    return first


def _check_separable(
    x: Maps,
    depthwise: Tensor,
    pointwise: Tensor,
    mean: Tensor | None,
    rstd: Tensor | None,
    stride: int,
    dilation: int,
) -> tuple[int, int]:
    """Check a block; return its number of edges and of output channels."""
    first = _check_maps("the inputs", x)
    channels, dtype = first.size(1), first.dtype
    if stride < 1 or dilation < 1:
        raise _refuse("stride and dilation must be at least 1", (stride, dilation))
    size, groups = depthwise.size(-1), depthwise.size(0) // channels
    wanted = (groups * channels, 1, size, size)
    if depthwise.shape != wanted or depthwise.dtype != dtype or size % 2 == 0 or groups < 1:
        what = f"depthwise weights must be {dtype} [edges * {channels}, 1, k, k] of odd k"
        raise _refuse(what, depthwise)
    out_channels = pointwise.size(0) // groups
    wanted = (groups * out_channels, channels, 1, 1)
    if pointwise.shape != wanted or pointwise.dtype != dtype or out_channels < 1:
        what = f"pointwise weights must be {dtype} [{groups} * C, {channels}, 1, 1]"
        raise _refuse(what, pointwise)
    if len(x) not in (1, groups):
        raise _refuse(f"the inputs must be 1 or {groups}", len(x))
    if (mean is None) != (rstd is None):
        raise _refuse("mean and rstd must both be given, or neither", (mean, rstd))
    for one in (mean, rstd):
        if one is not None and (one.shape != (groups, channels) or one.dtype != dtype):
            raise _refuse(f"mean and rstd must be {dtype} [{groups}, {channels}]", one)
    return groups, out_channels


def _check_sum(
    z: Maps, weights: Tensor, mean: Tensor, rstd: Tensor, normalised: Sequence[bool]
) -> Tensor:
    """Check the terms of a weighted sum; return the first map."""
    first = _check_maps("the terms", z)
    if weights.shape != (len(z),) or len(normalised) != len(z):
        raise _refuse(f"weights and normalised must be [{len(z)}]", weights)
    for one in (mean, rstd):
        if one.shape != (len(z), first.size(1)) or one.dtype != first.dtype:
            raise _refuse(f"mean and rstd must be {first.dtype} [{len(z)}, {first.size(1)}]", one)
    return first


def _shape(
    x: Sequence[Tensor], depthwise: Tensor, pointwise: Tensor, stride: int, dilation: int
) -> _Shape:
    images, channels, height, width = x[0].shape
    groups = depthwise.size(0) // channels
    threads = min(torch.get_num_threads(), images)
    return _Shape(
        *(images, height, width, channels, pointwise.size(0) // groups),
        *(depthwise.size(-1), stride, dilation, groups, len(x) == 1, threads),
    )


def _pool_shape(x: Tensor, stride: int) -> _Shape:
    images, channels, height, width = x.shape
    threads = min(torch.get_num_threads(), images)
    return _Shape(*(images, height, width, channels, channels), *(3, stride, 1, 1, 1, threads))


def _sum(z: Tensor, terms: int, folded: int = 1) -> _Sum:
    pixels, channels = _pixels(z) // len(z) // folded, z.size(1) * folded
    return _Sum(len(z), pixels, channels, terms, torch.get_num_threads())


def _library(dtype: torch.dtype, *channels: int) -> ctypes.CDLL:
    """The kernels whose vectors fit so many channels."""
    bytes_needed = max(channels) * dtype.itemsize
    return library(
        dtype, min(size for size in VECTORS if size >= bytes_needed or size == VECTORS[0])
    )


def _folded(z: Tensor) -> int:
    """Pixels of an image that fill a vector together; 1 where they do not."""
    lanes, pixels = VECTORS[0] // z.element_size(), _pixels(z) // len(z)
    folded = max(lanes // z.size(1), 1)
    return folded if lanes % z.size(1) == 0 and pixels % folded == 0 else 1


def _pixels(z: Tensor) -> int:
    return z.numel() // z.size(1)


def _affine(mean: Tensor | None, rstd: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    if mean is None or rstd is None:
        return None, None
    return rstd.contiguous(), (-mean * rstd).contiguous()


def _empty(like: Tensor, size: Sequence[int]) -> Tensor:
    return torch.empty(
        tuple(size), dtype=like.dtype, device=like.device, memory_format=torch.channels_last
    )


def _nhwc(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _pointer(tensor: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())


def _pointers(tensors: Sequence[Tensor]) -> Any:
    return (ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))


def _run(failed: int) -> None:
    if failed:
        raise MemoryError("the native kernels need memory for their buffers, but got none")


_KERNELS: dict[str, tuple[Kernel, Kernel]] = {
    "separable": (_separable, _fake_separable),
    "separable_backward": (_separable_backward, _fake_separable_backward),
    "pools": (_pools, _fake_pools),
    "pools_backward": (_pools_backward, _fake_pools_backward),
    "moments": (_moments, _fake_moments),
    "weighted_sum": (_weighted_sum, _fake_weighted_sum),
    "weighted_sum_backward": (_weighted_sum_backward, _fake_weighted_sum_backward),
}
for _name, (_kernel, _fake) in _KERNELS.items():
    torch.library.define(f"gnas::{_name}", _SCHEMAS[_name], tags=(torch.Tag.pt2_compliant_tag,))
    torch.library.impl(f"gnas::{_name}", "cpu", _kernel)
    torch.library.register_fake(f"gnas::{_name}", _fake)
for _name, _rule, _keep in (
    ("separable", _separable_rule, _keep_separable),
    ("pools", _pools_rule, _keep_pools),
    ("moments", _no_gradient, _keep_moments),
    ("weighted_sum", _sum_rule, _keep_sum),
):
    torch.library.register_autograd(f"gnas::{_name}", _rule, setup_context=_keep)
