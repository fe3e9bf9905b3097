"""The NAS-Bench-201 supernet against a plain one, operation by operation and edge by edge."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gnas.errors import ConfigError
from gnas.fused import plain
from gnas.spaces import NASBench201
from gnas.spaces.nasbench201 import EDGES
from gnas.spaces.nasbench201.supernet import (
    OPS,
    MixedCell,
    NASBench201Supernet,
    average_pool,
)
from gnas.spaces.supernets import MixedWeights, SupernetConfig
from tests.models.test_fused import needs_compiler

KERNELS = [pytest.param("native", marks=needs_compiler), "torch"]


def small(**changes: Any) -> NASBench201Supernet:
    torch.manual_seed(0)
    options: dict[str, Any] = {"num_nodes": 4, "channels": 4, "num_cells": 1, "num_classes": 3}
    return NASBench201Supernet(SupernetConfig(**{**options, **changes})).double()


def some_weights() -> MixedWeights:
    ops = torch.randn(6, 4, dtype=torch.float64).softmax(1).requires_grad_()
    return MixedWeights(ops, (0.5 + torch.rand(6, dtype=torch.float64)).requires_grad_())


def plain_cell(cell: MixedCell, x: Tensor, weights: MixedWeights) -> Tensor:
    """x_j as eq. 6 writes it, by PyTorch's own layers; PC-DARTS' figure 1 for partial channels."""
    nodes, active = [x], cell.active
    for j in range(1, 4):
        total = torch.zeros_like(x[:, :active])
        rest = torch.zeros_like(x[:, active:])
        for e, (i, target) in enumerate(EDGES):
            if target != j:
                continue
            seen = nodes[i][:, :active]
            made = {
                "skip_connect": seen,
                "avg_pool_3x3": F.avg_pool2d(seen, 3, 1, 1, count_include_pad=False),
            }
            for name in ("nor_conv_1x1", "nor_conv_3x3"):
                conv = cell.get_submodule(f"{name}.{e}")
                made[name] = F.batch_norm(conv(F.relu(seen)), None, None, training=True)
            for o, name in enumerate(OPS):
                total = total + weights.edges[e] * weights.ops[e, o] * made[name]
            rest = rest + weights.edges[e] * nodes[i][:, active:]
        joined = torch.cat([total, rest], 1)
        nodes.append(F.channel_shuffle(joined, cell.partial) if cell.partial > 1 else joined)
    return nodes[3]


def plain_logits(network: NASBench201Supernet, images: Tensor, weights: MixedWeights) -> Tensor:
    x = network.stem(images)
    for layer in network.layers:
        x = plain_cell(layer, x, weights) if isinstance(layer, MixedCell) else layer(x)
    logits: Tensor = network.classifier(network.last(x).mean((2, 3)))
    return logits


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize(
    "form",
    [{}, {"channels": 16, "num_cells": 2}, {"channels": 8, "partial": 4}, {"recompute": True}],
    ids=str,
)
def test_equals_the_plain_one(form: dict[str, Any], kernels: Any) -> None:
    network = small(kernels=kernels, **form)
    weights = some_weights()
    images = torch.randn(3, 3, 8, 10, dtype=torch.float64)
    inputs = [*network.parameters(), *weights]
    found, expected = network(images, weights), plain_logits(network, images, weights)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    direction = torch.randn_like(found)
    ours = torch.autograd.grad((found * direction).sum(), inputs)
    theirs = torch.autograd.grad((expected * direction).sum(), inputs)
    for mine, truth in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, truth, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("kernels", KERNELS)
def test_what_weighs_nothing_is_not_computed_and_changes_nothing(kernels: Any) -> None:
    network = small(kernels=kernels)
    ops = F.one_hot(torch.tensor([2, 0, 3, 1, 2, 2]), 4).double()
    ops[3] = 0  # no edge
    sparse = MixedWeights(ops, torch.ones(6, dtype=torch.float64))
    images = torch.randn(3, 3, 8, 8, dtype=torch.float64)
    calls: list[str] = []
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d) and "nor_conv" in name:
            layer.register_forward_hook(lambda *_, name=name: calls.append(name))
    found = network(images, sparse)
    assert len(calls) == 3 * 3  # three 3x3 convolutions in each of three cells
    expected = plain_logits(network, images, sparse)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    calls.clear()
    wanted = MixedWeights(ops.requires_grad_(), sparse.edges)
    (slope,) = torch.autograd.grad(network(images, wanted).square().sum(), ops)
    assert len(calls) == 3 * 12  # alpha's gradient needs them all
    (truth,) = torch.autograd.grad(plain_logits(network, images, wanted).square().sum(), ops)
    torch.testing.assert_close(slope, truth, rtol=1e-7, atol=1e-9)


def test_no_edge_at_all_is_a_cell_of_zeros() -> None:
    network = small()
    with torch.no_grad():
        weights = MixedWeights(
            torch.zeros(6, 4, dtype=torch.float64), torch.ones(6, dtype=torch.float64)
        )
        out = network(torch.randn(2, 3, 8, 8, dtype=torch.float64), weights)
    assert torch.equal(out[0], out[1]) and bool(out.isfinite().all())


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (2, 2), (5, 7)])
def test_average_pool(size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    found, expected = average_pool(x), F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    torch.testing.assert_close(found, expected)
    direction = torch.randn_like(found)
    ours, theirs = (
        torch.autograd.grad((out * direction).sum(), x)[0] for out in (found, expected)
    )
    torch.testing.assert_close(ours, theirs)
    assert torch.autograd.gradgradcheck(lambda v: average_pool(v).pow(3), x)


@pytest.mark.parametrize("channels", [3, 4, 8, 16, 20])
@pytest.mark.parametrize("fold", [False, True])
@needs_compiler
def test_folded_sums_equal_the_plain_ones(channels: int, fold: bool) -> None:
    from gnas.fused import native

    maps = [torch.randn(3, channels, 4, 6, dtype=torch.float64) for _ in range(4)]
    maps = [m.contiguous(memory_format=torch.channels_last).requires_grad_() for m in maps]
    weights = torch.randn(4, dtype=torch.float64, requires_grad=True)
    found = native.weighted_sum(weights, native.normalised(maps), fold=fold)
    expected = plain.weighted_sum(weights, plain.normalised(maps))
    torch.testing.assert_close(found, expected)
    direction = torch.randn_like(found)
    ours = torch.autograd.grad((found * direction).sum(), [weights, *maps])
    theirs = torch.autograd.grad((expected * direction).sum(), [weights, *maps])
    for mine, truth in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, truth)


def test_codes_and_cells() -> None:
    space = NASBench201()
    form = space.supernets
    rng = torch.Generator().manual_seed(0)
    for _ in range(20):
        codes = torch.randint(0, 5, (1, 6), generator=rng)
        graph = form.graph(codes)
        space.validate(graph)
        assert list(space.codes(graph)) == codes[0].tolist()
    text = "|nor_conv_3x3~0|+|skip_connect~0|none~1|+|none~0|avg_pool_3x3~1|nor_conv_1x1~2|"
    assert space.codes(space.from_str(text)) == (3, 1, 0, 0, 4, 2)


def test_impossible_forms() -> None:
    with pytest.raises(ConfigError, match=r"must have num_nodes=4 and the cifar stem, .*7"):
        NASBench201Supernet(SupernetConfig(channels=4))
