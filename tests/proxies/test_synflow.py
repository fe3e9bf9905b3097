"""Synaptic flow against sums over paths, and what it must not depend on."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gnas.errors import UnsupportedError
from gnas.proxies import small_network, synflow
from gnas.proxies.synflow import linearised
from gnas.spaces import SPACES

WIDTHS = (3, 4, 2, 2)


def perceptron(seed: int = 0) -> nn.Sequential:
    """Linear layers of `WIDTHS` with batch norms, ReLUs and biases between them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers: list[nn.Module] = [nn.Flatten()]
        for i, o in itertools.pairwise(WIDTHS):
            layers += [nn.Linear(i, o), nn.BatchNorm1d(o), nn.ReLU()]
        return nn.Sequential(*layers)


def flow(network: nn.Module, images: Tensor) -> float:
    return math.expm1(synflow(network, images))


def test_is_the_sum_over_paths_once_for_every_weight_on_them() -> None:
    """R sums the products of absolute weights along paths; w dR/dw is the part through w."""
    network = perceptron()
    weights = [part.weight.abs() for part in network if isinstance(part, nn.Linear)]
    total = sum(
        math.prod(
            weights[layer][nodes[layer + 1], nodes[layer]].item() for layer in range(len(weights))
        )
        for nodes in itertools.product(*(range(width) for width in WIDTHS))
    )
    assert flow(network, torch.rand(2, 3, 1, 1)) == pytest.approx(len(weights) * total, rel=1e-6)


def test_is_what_finite_differences_say() -> None:
    network = perceptron()
    linear = linearised(network)
    ones = torch.ones(1, WIDTHS[0], dtype=torch.float64)
    expected, step = 0.0, 1e-6
    for part in linear.children():
        if isinstance(part, nn.Linear):
            for index in np.ndindex(*part.weight.shape):
                old = part.weight[index].item()
                with torch.no_grad():
                    part.weight[index] = old + step
                    more = linear(ones).sum().item()
                    part.weight[index] = old - step
                    less = linear(ones).sum().item()
                    part.weight[index] = old
                expected += old * (more - less) / (2 * step)
    assert flow(network, torch.zeros(1, 3, 1, 1)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", sorted(SPACES))
def test_depends_on_neither_data_nor_batch_norms_nor_signs(
    name: str, rng: np.random.Generator
) -> None:
    space = SPACES[name]()
    graph = space.sample(rng)
    network = space.network(graph, small_network(space))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(4, 3, 8, 8, generator=generator)
    first = synflow(network, images)
    assert 0 < first < 700
    after = network.state_dict()
    assert network.training
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert synflow(network, 100 * images[:1]) == first
    network.train()(images)  # moves the running statistics
    for key, value in network.named_parameters():
        if "weight" in key and value.dim() > 1:
            value.data.mul_(torch.where(torch.rand(value.shape, generator=generator) < 0.5, -1, 1))
    assert synflow(network, images) == first


def test_a_network_that_passes_nothing_scores_zero() -> None:
    network = perceptron()
    last = network[7]
    assert isinstance(last, nn.Linear)
    nn.init.zeros_(last.weight)
    assert synflow(network, torch.ones(1, 3, 1, 1)) == 0


def test_a_sum_that_overflows_is_named() -> None:
    network = perceptron()
    for part in network:
        if isinstance(part, nn.Linear):
            part.double()
            nn.init.constant_(part.weight, 1e120)
    with pytest.raises(UnsupportedError, match="must be finite, but is inf: the network is too"):
        synflow(network, torch.ones(1, 3, 1, 1))
