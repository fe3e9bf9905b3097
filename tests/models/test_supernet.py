"""The fast supernet computes the same function as the plain edge-by-edge one."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gnas.errors import ConfigError, UnsupportedError
from gnas.fused import native, plain
from gnas.models import num_params
from gnas.spaces.supernets import MixedWeights, SupernetConfig
from gnas.spaces.toponas.supercell import EdgeSource, SuperCell
from gnas.spaces.toponas.supernet import Supernet, supernet_macs
from gnas.topology import candidate_edges
from tests.models.plain_supernet import PlainCell, PlainSupernet
from tests.models.test_fused import needs_compiler

FORMS: list[dict[str, Any]] = [
    {"channels": 4},
    {"channels": 4, "num_nodes": 8, "in_channels": 1, "num_classes": 3},
    {"channels": 8, "stem": "imagenet"},
    {"channels": 8, "partial": 4},
    {"channels": 4, "num_cells": 1, "num_nodes": 5},
]


def mixed_weights(config: SupernetConfig, dtype: torch.dtype) -> tuple[MixedWeights, MixedWeights]:
    count = len(candidate_edges(config.num_nodes))
    normal, reduce = (
        MixedWeights(
            torch.randn(count, 7, dtype=dtype).softmax(1).requires_grad_(),
            (0.5 + torch.rand(count, dtype=dtype)).requires_grad_(),
        )
        for _ in range(2)
    )
    return normal, reduce


def pairs(slow: nn.Module, fast: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """Every parameter of the plain network or cell, and its place in the fast one."""
    if isinstance(slow, PlainSupernet):
        assert isinstance(fast, Supernet)
        stems = [slow.stem] if slow.config.stem == "cifar" else [slow.stem0, slow.stem1]
        found = [pair for a, b in zip(stems, fast.stem, strict=True) for pair in pairs(a, b)]
        for a, b in zip(slow.cells, fast.cells, strict=True):
            found += pairs(a, b)
        return found + pairs(slow.classifier, fast.classifier)
    if not isinstance(slow, PlainCell):
        return list(zip(slow.parameters(), fast.parameters(), strict=True))
    assert isinstance(fast, SuperCell)
    found = pairs(slow.preprocess0, fast.preprocess0) + pairs(slow.preprocess1, fast.preprocess1)
    place = [0] * slow.num_nodes
    for edge, (i, _) in zip(slow.edges, candidate_edges(slow.num_nodes), strict=True):
        source, place[i] = fast.sources[i], place[i] + 1
        assert isinstance(source, EdgeSource) and isinstance(edge, nn.ModuleDict)
        for name, blocks in source.convolutions.items():
            for plain_weight, stacked in zip(
                edge[name].parameters(), blocks.parameters(), strict=True
            ):
                found.append((plain_weight, stacked.chunk(source.num_edges)[place[i] - 1]))
        if len(source.skip):
            found += pairs(edge["skip_connect"], source.skip[place[i] - 1])
    return found


def copy_weights(slow: nn.Module, fast: nn.Module) -> None:
    with torch.no_grad():
        for value, target in pairs(slow, fast):
            target.copy_(value)


def gradient_pairs(slow: nn.Module, fast: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """As `pairs`, of the gradients (a part of a stacked weight has none of its own)."""
    values = [(p, p.detach().clone()) for p in (*slow.parameters(), *fast.parameters())]
    with torch.no_grad():
        for parameter, _ in values:
            assert parameter.grad is not None
            parameter.copy_(parameter.grad)
        found = [(a.clone(), b.clone()) for a, b in pairs(slow, fast)]
        for parameter, value in values:
            parameter.copy_(value)
    return found


def relative(found: Tensor, expected: Tensor) -> float:
    difference = found.detach().double() - expected.detach().double()
    return float(difference.norm() / expected.detach().double().norm())


def outcome(network: nn.Module, config: SupernetConfig) -> list[Tensor]:
    """Logits on fixed images and slopes of fixed weights of the operations; leaves gradients."""
    torch.manual_seed(1)
    size = (33, 34) if config.stem == "imagenet" else (9, 8)
    images = torch.randn(4, config.in_channels, *size, dtype=torch.float64)
    weights = mixed_weights(config, torch.float64)
    logits = network(images, *weights)
    labels = torch.arange(4) % config.num_classes
    torch.autograd.backward(nn.functional.cross_entropy(logits, labels))
    slopes = [leaf.grad for pair in weights for leaf in pair if leaf.grad is not None]
    return [logits.detach(), *slopes]


@cache
def plain_outcome(form: int) -> tuple[PlainSupernet, list[Tensor]]:
    """Of the plain network, once for all that must equal it."""
    torch.manual_seed(0)
    config = SupernetConfig(**{"num_cells": 3, **FORMS[form]})
    network = PlainSupernet(config).double()
    return network, outcome(network, config)


@pytest.mark.parametrize("form", range(len(FORMS)), ids=[str(form) for form in FORMS])
@pytest.mark.parametrize("kernels", [pytest.param("native", marks=needs_compiler), "torch"])
@pytest.mark.parametrize("recompute", [False, True])
def test_whole_network_equals_the_plain_one(form: int, kernels: Any, recompute: bool) -> None:
    slow, expected = plain_outcome(form)
    assert isinstance(slow.config, SupernetConfig)
    config = replace(slow.config, kernels=kernels, recompute=recompute)
    fast = Supernet(config).double()
    copy_weights(slow, fast)
    found = outcome(fast, config)
    assert len(found) == (5 if config.num_cells > 1 else 3)
    for theirs, ours in [*zip(expected, found, strict=True), *gradient_pairs(slow, fast)]:
        if float(theirs.norm()) > 1e-12:  # weights that a batch norm makes ineffective
            assert relative(ours, theirs) < 1e-9


@pytest.mark.parametrize("reduction", [False, True])
@pytest.mark.parametrize("partial", [1, 4])
@pytest.mark.parametrize(
    "kernels",
    [pytest.param(native, marks=needs_compiler, id="native"), pytest.param(plain, id="torch")],
)
def test_every_cell_in_single_precision(reduction: bool, partial: int, kernels: Any) -> None:
    torch.manual_seed(0)
    config = SupernetConfig(partial=partial)
    slow = PlainCell(config, 24, 32, 16, reduction, False).double()
    fast = SuperCell(24, 32, 16, partial=partial, reduction=reduction)
    copy_weights(slow, fast)
    with torch.no_grad():  # both compute with the rounded weights
        for a, b in pairs(slow, fast):
            a.copy_(b)
    weights = mixed_weights(config, torch.float64)[0]
    inputs = [torch.randn(8, 24, 16, 16), torch.randn(8, 32, 16, 16)]
    exact = [tensor.double().requires_grad_() for tensor in inputs]
    single = [tensor.clone().requires_grad_() for tensor in inputs]
    rounded = MixedWeights(*(w.detach().float().requires_grad_() for w in weights))
    widened = MixedWeights(*(w.detach().double().requires_grad_() for w in rounded))
    expected, found = slow(*exact, widened), fast(*single, rounded, kernels)
    direction = torch.randn_like(found)
    (expected * direction).sum().backward()
    (found * direction).sum().backward()
    assert relative(found, expected) < 1e-5
    for a, b in zip([*exact, *widened], [*single, *rounded], strict=True):
        assert a.grad is not None and b.grad is not None
        assert relative(b.grad, a.grad) < 1e-5
    for a, b in gradient_pairs(slow, fast):
        if float(a.norm()) > 1e-6:
            assert relative(b, a) < 1e-5


def test_mixed_precision_uses_plain_kernels() -> None:
    torch.manual_seed(0)
    network = Supernet(SupernetConfig(channels=4, num_cells=2))
    weights = mixed_weights(network.config, torch.float32)
    images = torch.randn(4, 3, 8, 8)
    exact = network(images, *weights)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = network(images, *weights)
    assert mixed.dtype == torch.bfloat16
    assert relative(mixed, exact) < 0.1
    mixed.float().square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_one_graph_for_the_compiler() -> None:
    network = Supernet(SupernetConfig(channels=4, num_cells=1, num_nodes=4, kernels="torch"))
    weights = mixed_weights(network.config, torch.float32)
    images = torch.randn(4, 3, 8, 8)
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(images, *weights), network(images, *weights))


def test_evaluation_does_not_change_the_function() -> None:
    network = Supernet(SupernetConfig(channels=4, num_cells=1))
    weights = mixed_weights(network.config, torch.float32)
    images = torch.randn(4, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(network(images, *weights), network.eval()(images, *weights))


def test_native_kernels_say_where_they_cannot_run() -> None:
    network = Supernet(SupernetConfig(channels=4, num_cells=1, kernels="native"))
    weights = mixed_weights(network.config, torch.float32)
    with (
        torch.autocast("cpu", dtype=torch.bfloat16),
        pytest.raises(UnsupportedError, match="no mixed precision"),
    ):
        network(torch.randn(4, 3, 8, 8), *weights)


def test_sizes() -> None:
    config = SupernetConfig()
    with torch.device("meta"):
        slow, network = PlainSupernet(config), Supernet(config)
    assert num_params(network) == sum(p.numel() for p in slow.parameters())
    small = SupernetConfig(channels=4, num_cells=3)
    macs = supernet_macs(small, 16)
    assert macs == plain_macs(PlainSupernet(small), small)
    assert macs == supernet_macs(SupernetConfig(channels=4, num_cells=3, kernels="native"), 16)


def plain_macs(network: PlainSupernet, config: SupernetConfig) -> int:
    """Multiply-accumulates of every convolution and the classifier, by their output sizes."""
    total = 0

    def count(module: nn.Module, _: object, out: Tensor) -> None:
        nonlocal total
        weight = module.weight
        assert isinstance(weight, Tensor)
        total += weight[0].numel() * out[0].numel()

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    network(torch.zeros(2, 3, 16, 16), *mixed_weights(config, torch.float32))
    return total


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": 0}, "channels must be at least 1, but got 0"),
        ({"channels": 15}, "channels must be even, but got 15"),
        ({"num_nodes": 3}, "num_nodes must be at least 4, but got 3"),
        ({"partial": 3}, "partial must divide the 16 channels, but got 3"),
        ({"stem": "mnist"}, r"stem must be one of .*, but got 'mnist'"),
        ({"kernels": "fast"}, r"kernels must be one of .*, but got 'fast'"),
    ],
)
def test_impossible_forms(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SupernetConfig(**change)
