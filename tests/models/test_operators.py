"""The C kernels as operators of PyTorch: schema, fake and gradient rules, checks of shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from gnas.errors import GraphError
from gnas.fused import Block, library, native, operators

pytestmark = pytest.mark.skipif(
    library.unavailable(torch.float32) is not None, reason="needs a C compiler"
)


def drawn(*shape: int, grad: bool = True) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_(grad)


def nhwc(*shape: int, grad: bool = True) -> Tensor:
    return (
        drawn(*shape, grad=False)
        .contiguous(memory_format=torch.channels_last)
        .requires_grad_(grad)
    )


def separable(x: list[Tensor], *, first: bool, stride: int = 1) -> tuple[Any, ...]:
    channels = x[0].size(1)
    mean = drawn(3, channels, grad=False)
    moments = (None, None) if first else (mean, mean.exp())
    weights = drawn(3 * channels, 1, 3, 3), drawn(3 * 6, channels, 1, 1)
    return (x, *weights, *moments, stride, 1)


CASES: dict[str, tuple[str, Callable[[], tuple[Any, ...]]]] = {
    "one input": ("separable", lambda: separable([nhwc(2, 4, 5, 6)], first=True, stride=2)),
    "three inputs": (
        "separable",
        lambda: separable([nhwc(2, 4, 5, 6) for _ in range(3)], first=False),
    ),
    "other memory": ("separable", lambda: separable([drawn(2, 4, 5, 6)], first=True)),
    "pools": ("pools", lambda: (nhwc(2, 4, 5, 6), 2)),
    "moments": ("moments", lambda: ([nhwc(2, 4, 5, 6), nhwc(2, 4, 5, 6)],)),
    "sum": (
        "weighted_sum",
        lambda: (
            [nhwc(2, 4, 6, 6), nhwc(2, 4, 6, 6)],
            drawn(2),
            drawn(2, 4, grad=False),
            drawn(2, 4, grad=False).exp(),
            [True, False],
            True,
        ),
    ),
    "separable backward": (
        "separable_backward",
        lambda: (
            [nhwc(2, 6, 5, 6, grad=False)] * 3,
            *_no_grad(separable([nhwc(2, 4, 5, 6)] * 3, first=False)),
            True,
        ),
    ),
    "separable backward of the maps alone": (
        "separable_backward",
        lambda: (
            [nhwc(2, 6, 5, 6, grad=False)] * 3,
            *_no_grad(separable([nhwc(2, 4, 5, 6)] * 3, first=False)),
            False,
        ),
    ),
    "pools backward": (
        "pools_backward",
        lambda: (
            nhwc(2, 4, 3, 3, grad=False),
            nhwc(2, 4, 3, 3, grad=False),
            torch.ops.gnas.pools(nhwc(2, 4, 5, 6, grad=False), 2)[2],
            5,
            6,
            2,
        ),
    ),
    "sum backward": (
        "weighted_sum_backward",
        lambda: (nhwc(2, 4, 6, 6, grad=False), *_no_grad(CASES["sum"][1]())),
    ),
}


def _no_grad(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    def bare(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.detach()
        if isinstance(value, list) and isinstance(value[0], Tensor):
            return [one.detach() for one in value]
        return value

    return tuple(map(bare, arguments))


@pytest.mark.filterwarnings("ignore")  # of PyTorch's own compiler
@pytest.mark.parametrize("name", CASES)
def test_every_operator_passes_opcheck(name: str) -> None:
    operator, arguments = CASES[name]
    found = torch.library.opcheck(getattr(torch.ops.gnas, operator), arguments())
    assert set(found.values()) == {"SUCCESS"}


def test_both_ways_to_the_gradient_give_the_same_bits() -> None:
    x, depthwise, pointwise = nhwc(2, 4, 5, 6), drawn(8, 1, 3, 3), drawn(12, 4, 1, 1)
    factors = drawn(4)
    terms = [*native.separable(x, [Block(depthwise, pointwise)])]
    ours = native.weighted_sum(factors[:2], terms)
    *z, mean, var = torch.ops.gnas.separable([x], depthwise, pointwise, None, None, 1, 1)
    rstd = torch.rsqrt(var + 1e-5)
    theirs = torch.ops.gnas.weighted_sum(z, factors[:2], mean, rstd, [True, True], False)
    assert torch.equal(ours, theirs)
    leaves = (x, depthwise, pointwise, factors)
    grads = [torch.autograd.grad((total**3).sum(), leaves) for total in (ours, theirs)]
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


@pytest.mark.parametrize("way", ["direct", "operator"])
def test_frozen_weights_leave_the_same_gradients_of_the_maps(way: str) -> None:
    x = [nhwc(2, 4, 5, 6) for _ in range(3)]
    mean, rstd = drawn(3, 4, grad=False), drawn(3, 4, grad=False).exp()
    weights = [drawn(12, 1, 3, 3), drawn(18, 4, 1, 1)]
    direct = way == "direct"
    call: Callable[..., Any] = operators.separable if direct else torch.ops.gnas.separable

    def gradients(inputs: list[Tensor]) -> tuple[Tensor, ...]:
        *z, _, _ = call(x, *weights, mean, rstd, 1, 1)
        return torch.autograd.grad(sum((one**3).sum() for one in z), inputs)

    whole = gradients([*x, *weights])
    for one in weights:
        one.requires_grad_(False)
    for frozen, expected in zip(gradients(x), whole[:3], strict=True):
        assert torch.equal(frozen, expected)


def test_a_second_derivative_is_refused() -> None:
    x = nhwc(2, 4, 5, 6)
    highest, *_ = torch.ops.gnas.pools(x, 1)
    (grad,) = torch.autograd.grad((highest**2).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        torch.autograd.backward(grad.sum())


def changed(name: str, place: int, value: Any) -> tuple[str, tuple[Any, ...]]:
    operator, make = CASES[name]
    arguments = [*_no_grad(make())]
    arguments[place] = value(arguments[place]) if callable(value) else value
    return operator, tuple(arguments)


BAD: list[tuple[str, int, Any, str]] = [
    ("one input", 0, lambda x: [x[0][0]], r"must be maps \[B, C, H, W\]"),
    ("one input", 0, lambda x: [x[0][:0]], "must not be empty"),
    ("one input", 0, lambda x: x * 2, "the inputs must be 1 or 3, but got 2"),
    ("one input", 0, [], "the inputs must be at least one, but got 0"),
    ("one input", 1, lambda w: w.float(), "depthwise weights must be torch.float64"),
    ("one input", 1, lambda w: w[:, :, :2, :2], "of odd k"),
    ("one input", 1, lambda w: w[:-1], r"depthwise weights must be .* \[edges \* 4, 1, k, k\]"),
    ("one input", 2, lambda w: w[:, :3], r"pointwise weights must be .* \[3 \* C, 4, 1, 1\]"),
    ("one input", 5, 0, "stride and dilation must be at least 1"),
    ("one input", 6, 0, "stride and dilation must be at least 1"),
    ("three inputs", 3, None, "mean and rstd must both be given"),
    ("three inputs", 3, lambda m: m[:, :3], r"mean and rstd must be torch.float64 \[3, 4\]"),
    ("separable backward", 0, lambda g: [g[0][:, :, 1:]] * 3, "the gradients must be maps"),
    ("separable backward", 0, lambda g: g[:2], "the gradients must be 3, but got 2"),
    ("pools", 1, 0, "stride must be at least 1"),
    ("pools backward", 2, lambda c: c[1:], r"choice must be uint8 \[72\]"),
    ("pools backward", 3, 9, "the gradients must be maps"),
    ("sum", 0, lambda z: [z[0], z[1].float()], "the terms must be maps"),
    ("sum", 1, lambda w: w[:1], r"weights and normalised must be \[2\]"),
    ("sum", 2, lambda m: m.float(), "mean and rstd must be torch.float64"),
    ("sum", 4, [True], r"weights and normalised must be \[2\]"),
    ("sum backward", 0, lambda g: g[:, :3], "the gradient must be maps"),
    ("moments", 0, lambda z: [z[0], z[1][:, :, :3]], "the maps must be maps"),
]


@pytest.mark.parametrize(("name", "place", "value", "message"), BAD)
def test_shapes_are_checked_before_a_pointer_is_taken(
    name: str, place: int, value: Any, message: str
) -> None:
    operator, arguments = changed(name, place, value)
    with pytest.raises(GraphError, match=message):
        getattr(torch.ops.gnas, operator)(*arguments)


@pytest.mark.filterwarnings("ignore")  # of PyTorch's own compiler
def test_a_compiled_program_has_the_operators_and_the_same_bits() -> None:
    x, depthwise, pointwise = nhwc(2, 4, 5, 6), drawn(8, 1, 3, 3), drawn(8, 4, 1, 1)
    factors = drawn(5)

    def cell(x: Tensor) -> Tensor:
        edges = native.separable(x, [Block(depthwise, pointwise)])
        terms = [*edges, *native.pools(x, 1), *native.normalised([x])]
        return native.weighted_sum(factors, terms)

    compiled = torch.compile(cell, backend="aot_eager", fullgraph=True)
    leaves = (x, depthwise, pointwise, factors)
    found, expected = compiled(x), cell(x)
    assert torch.equal(found, expected)
    grads = [torch.autograd.grad((total**3).sum(), leaves) for total in (found, expected)]
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))
