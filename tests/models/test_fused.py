"""The supernet's kernels against PyTorch's own operations and finite differences."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from gnas.fused import Block, FeatureMap, Kernels, library, native, plain

IMPLEMENTATIONS = {"native": native, "torch": plain}
needs_compiler = pytest.mark.skipif(
    library.unavailable(torch.float32) is not None, reason="needs a C compiler"
)


@pytest.fixture(params=[pytest.param("native", marks=needs_compiler), "torch"])
def kernels(request: pytest.FixtureRequest) -> Kernels:
    implementation: Kernels = IMPLEMENTATIONS[request.param]
    return implementation


def weights(*shape: int) -> Tensor:
    return (0.5 * torch.randn(*shape, dtype=torch.float64)).requires_grad_()


def blocks_of(
    channels: int, out: int, edges: int, kernel: int, stride: int, dilation: int, count: int
) -> list[Block]:
    return [
        Block(
            weights(edges * (channels if k == 0 else out), 1, kernel, kernel),
            weights(edges * out, channels if k == 0 else out, 1, 1),
            stride if k == 0 else 1,
            dilation,
        )
        for k in range(count)
    ]


def by_edges(x: Tensor, blocks: Sequence[Block]) -> list[Tensor]:
    """One edge after another by torch.nn's layers: what `separable` stands for."""
    edges = blocks[0].depthwise.size(0) // x.size(1)
    found = []
    for edge in range(edges):
        h = x
        for block in blocks:
            depthwise = block.depthwise.chunk(edges)[edge]
            padding = block.dilation * (depthwise.size(-1) // 2)
            h = F.conv2d(
                F.relu(h), depthwise, None, block.stride, padding, block.dilation, h.size(1)
            )
            h = F.conv2d(h, block.pointwise.chunk(edges)[edge])
            h = F.batch_norm(h, None, None, training=True)
        found.append(h)
    return found


def normalised(term: FeatureMap) -> Tensor:
    if term.mean is None or term.rstd is None:
        return term.value
    return (term.value - term.mean[:, None, None]) * term.rstd[:, None, None]


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize(
    ("channels", "out", "edges", "stride", "count", "size"),
    [
        (16, 16, 3, 1, 2, (9, 8)),
        (4, 6, 2, 2, 2, (7, 8)),
        (20, 20, 1, 2, 1, (8, 5)),
        (32, 40, 2, 1, 1, (4, 13)),
        (1, 1, 4, 1, 1, (1, 2)),
    ],
)
def test_separable_and_sum_equal_torch_layers(
    kernels: Kernels,
    kernel: int,
    dilation: int,
    channels: int,
    out: int,
    edges: int,
    stride: int,
    count: int,
    size: tuple[int, int],
) -> None:
    torch.manual_seed(0)
    x = weights(3, channels, *size)
    blocks = blocks_of(channels, out, edges, kernel, stride, dilation, count)
    factors = weights(edges)
    leaves = [x, factors, *(tensor for block in blocks for tensor in block[:2])]
    terms = kernels.separable(x, blocks)
    expected_terms = by_edges(x, blocks)
    for term, expected in zip(terms, expected_terms, strict=True):
        torch.testing.assert_close(normalised(term), expected, rtol=1e-9, atol=1e-9)
    total = kernels.weighted_sum(factors, terms)
    expected_total = sum(w * t for w, t in zip(factors, expected_terms, strict=True))
    direction = torch.linspace(-1, 1, total.numel(), dtype=torch.float64).view_as(total).cos()
    ours = torch.autograd.grad((total * direction).sum(), leaves)
    theirs = torch.autograd.grad((torch.as_tensor(expected_total) * direction).sum(), leaves)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-9)


def test_gradients_by_finite_differences(kernels: Kernels) -> None:
    torch.manual_seed(0)
    x, factors = weights(2, 3, 5, 4), weights(6)
    blocks = blocks_of(3, 3, 2, 3, 1, 2, 2)

    def compute(*leaves: Tensor) -> Tensor:
        x, factors, *rest = leaves
        used = [Block(rest[2 * k], rest[2 * k + 1], 1, 2) for k in range(2)]
        terms = [*kernels.separable(x, used), *kernels.pools(x, 1), FeatureMap(x)]
        return kernels.weighted_sum(factors, [*terms, terms[2]])

    leaves = (x, factors, *(tensor for block in blocks for tensor in block[:2]))
    assert torch.autograd.gradcheck(compute, leaves)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(5, 7, 6, 3), (2, 20, 5, 9), (3, 1, 1, 1)])
def test_pools_equal_torch(kernels: Kernels, stride: int, size: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x = weights(*size)
    expected = (
        F.max_pool2d(x, 3, stride, 1),
        F.avg_pool2d(x, 3, stride, 1, count_include_pad=False),
    )
    for found, pooled in zip(kernels.pools(x, stride), expected, strict=True):
        torch.testing.assert_close(found.value, pooled)
        normed = F.batch_norm(pooled, None, None, training=True)
        torch.testing.assert_close(normalised(found), normed, rtol=1e-9, atol=1e-9)
        direction = torch.randn_like(pooled)
        (ours,) = torch.autograd.grad((found.value * direction).sum(), x, retain_graph=True)
        (theirs,) = torch.autograd.grad((pooled * direction).sum(), x, retain_graph=True)
        torch.testing.assert_close(ours, theirs)


def test_moments_of_values_far_from_zero(kernels: Kernels) -> None:
    x = 100 + torch.randn(5, 7, 6, 3)
    term = kernels.pools(x, 1)[1]
    assert term.mean is not None and term.rstd is not None
    wide = F.avg_pool2d(x.double(), 3, 1, 1, count_include_pad=False)
    torch.testing.assert_close(term.mean.double(), wide.mean((0, 2, 3)), rtol=1e-6, atol=0)
    expected = (wide.var((0, 2, 3), correction=0) + 1e-5).rsqrt()
    torch.testing.assert_close(term.rstd.double(), expected, rtol=1e-4, atol=0)


def test_not_a_number_stays_visible(kernels: Kernels) -> None:
    x = torch.randn(2, 4, 4, 4)
    x[0, 0, 0, 0] = torch.nan
    blocks = [Block(torch.randn(4, 1, 3, 3), torch.randn(4, 4, 1, 1))]
    assert kernels.weighted_sum(torch.ones(1), kernels.separable(x, blocks)).isnan().any()


@needs_compiler
def test_more_threads_change_only_the_rounding() -> None:
    torch.manual_seed(0)
    x = weights(5, 16, 6, 6)
    blocks = blocks_of(16, 16, 2, 3, 1, 1, 2)
    leaves = [x, *(tensor for block in blocks for tensor in block[:2])]

    def gradients(threads: int) -> list[Tensor]:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            total = native.weighted_sum(torch.ones(2), native.separable(x, blocks))
            return list(torch.autograd.grad((total**3).sum(), leaves))
        finally:
            torch.set_num_threads(before)

    one, two, again = gradients(1), gradients(2), gradients(2)
    for a, b, c in zip(one, two, again, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
        assert torch.equal(b, c)


def test_what_native_kernels_refuse() -> None:
    half = native.native_problem(torch.zeros(1, dtype=torch.bfloat16))
    elsewhere = native.native_problem(torch.zeros(1, device="meta"))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = native.native_problem(torch.zeros(1))
    assert half and "float32 or float64, but got torch.bfloat16" in half
    assert elsewhere and "run on the CPU" in elsewhere
    assert mixed and "autocast is on" in mixed
