from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from tests.models.plain_supernet import PlainSupernet, candidate_edges

DARTS = {
    "in_channels": 3,
    "num_classes": 10,
    "channels": 16,
    "num_cells": 8,
    "num_nodes": 7,
    "stem": "cifar",
    "stem_multiplier": 3,
    "partial": 1,
}


def test_it_is_as_large_as_the_published_supernet() -> None:
    """DARTS' search log begins with "param size = 1.930618MB" (millions of parameters)."""
    network = PlainSupernet(SimpleNamespace(**DARTS))
    assert sum(p.numel() for p in network.parameters()) == 1_930_618


@pytest.mark.parametrize(
    ("changed", "size"),
    [
        ({}, 8),
        ({}, 7),  # odd sizes round up
        ({"num_nodes": 8, "in_channels": 1}, 8),
        ({"stem": "imagenet"}, 32),
        ({"partial": 2}, 7),
    ],
)
def test_every_weight_takes_part(changed: dict[str, object], size: int) -> None:
    config = SimpleNamespace(**{**DARTS, "channels": 4, "num_cells": 3, **changed})
    network = PlainSupernet(config)
    edges = len(candidate_edges(config.num_nodes))
    weights = SimpleNamespace(ops=torch.full((edges, 7), 1 / 7), edges=torch.ones(edges))
    logits = network(torch.randn(4, config.in_channels, size, size), weights, weights)
    assert logits.shape == (4, 10)
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
