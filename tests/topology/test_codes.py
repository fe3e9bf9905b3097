from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from gnas.errors import ConfigError, GraphError
from gnas.topology import Mode, TopologyCodes, candidate_edges, codes, enumerate_joint, is_valid

SPACES: list[dict[str, Any]] = [
    {"space": space, "k": k, "mode": mode, "num_nodes": n}
    for n in (5, 6, 7)
    for mode in ("output", "input")
    for space, k in (("fixed", 1), ("fixed", 2), ("fixed", 3), ("arbitrary", 2))
]


def test_order_of_edges() -> None:
    edges = candidate_edges(7)
    assert len(edges) == 14
    assert edges[:5] == ((0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
    assert [len(candidate_edges(n)) for n in (4, 8, 9, 11)] == [2, 20, 27, 44]


def test_hand_written_codes() -> None:
    assert codes(2, "arbitrary", 1).int().tolist() == [[1, 0], [0, 1], [1, 1]]
    assert codes(3, "fixed", 2).int().tolist() == [[1, 1, 0], [1, 0, 1], [0, 1, 1]]


@pytest.mark.parametrize(
    ("options", "sizes", "joint"),
    [
        ({"space": "fixed", "k": 2}, (6, 6, 3, 2, 1), 216),
        ({"space": "fixed", "k": 1}, (4, 4, 3, 2, 1), 96),
        ({"space": "fixed", "k": 3}, (4, 4, 3, 2, 1), 96),
        ({"space": "arbitrary"}, (15, 15, 7, 3, 1), 4725),
        ({"space": "fixed", "k": 2, "mode": "input"}, (1, 3, 6, 10), 180),
        ({"space": "arbitrary", "mode": "input"}, (3, 7, 15, 31), 9765),
    ],
)
def test_published_sizes(options: dict[str, Any], sizes: tuple[int, ...], joint: int) -> None:
    found = TopologyCodes(**options)
    assert (found.sizes, found.num_joint) == (sizes, joint)


@pytest.mark.parametrize(
    ("k", "mode", "edges"),
    [(1, "output", 5), (2, "output", 8), (3, "output", 10), (2, "input", 8)],
)
def test_edges_of_fixed_topologies(k: int, mode: Mode, edges: int) -> None:
    # k = 2: 2 + 2 + 2 + 1 + 1, the paper's 8 edges
    masks = torch.cat(list(enumerate_joint(TopologyCodes(space="fixed", k=k, mode=mode))))
    assert (masks.sum(1) == edges).all()


@pytest.mark.parametrize("options", SPACES, ids=str)
def test_enumeration_equals_the_product_of_codes(options: dict[str, Any]) -> None:
    found = TopologyCodes(**options)
    masks = torch.cat(list(enumerate_joint(found, chunk=100)))
    assert len(masks) == found.num_joint == len(torch.unique(masks, dim=0))
    expected = []
    for chosen in product(*(rows.tolist() for rows in found.codes)):
        kept = {
            found.edges[edge]
            for ids, code in zip(found.edge_ids, chosen, strict=True)
            for edge, bit in zip(ids.tolist(), code, strict=True)
            if bit
        }
        expected.append([edge in kept for edge in found.edges])
    assert masks.tolist() == expected
    targets = range(2, found.num_nodes - 1)
    valid = [
        all(any(bit and j == target for bit, (_, j) in zip(mask, found.edges, strict=True))
            for target in targets) for mask in expected
    ]  # fmt: skip
    assert is_valid(masks, found.num_nodes).tolist() == valid
    assert found.num_valid == sum(valid)
    assert sum(map(len, enumerate_joint(found, valid_only=True, chunk=7))) == sum(valid)
    assert [found.choice(mask).tolist() for mask in masks[:50]] == [
        list(index) for index, _ in zip(product(*map(range, found.sizes)), range(50), strict=False)
    ]


def test_every_topology_of_input_mode_is_valid() -> None:
    found = TopologyCodes(mode="input")
    assert found.num_valid == found.num_joint


@pytest.mark.parametrize("options", [{"space": "fixed", "k": 2}, {"num_nodes": 6}], ids=str)
def test_samples_are_uniform_over_valid_topologies(
    options: dict[str, Any], rng: np.random.Generator
) -> None:
    found = TopologyCodes(**options)
    draws = found.sample(200 * found.num_valid, rng)
    assert is_valid(draws, found.num_nodes).all()
    seen, counts = torch.unique(draws, dim=0, return_counts=True)
    assert len(seen) == found.num_valid
    chi2 = float(((counts - 200) ** 2 / 200).sum())
    degrees = found.num_valid - 1
    assert abs(chi2 - degrees) < 5 * (2 * degrees) ** 0.5


def test_choices_that_are_no_code_are_found() -> None:
    found = TopologyCodes(space="fixed", k=2)
    assert found.choice(torch.ones(14, dtype=torch.bool)).tolist() == [-1, -1, -1, -1, 0]
    assert found.sample(0, np.random.default_rng(0)).shape == (0, 14)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_nodes": 3}, "num_nodes must be at least 4, but got 3"),
        ({"num_nodes": 15}, "num_nodes must be at most 14"),
        ({"k": 0}, "k must be at least 1"),
        ({"space": "free"}, "space must be one of fixed, arbitrary, but got 'free'"),
        ({"mode": "both"}, "mode must be one of"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TopologyCodes(**options)


def test_masks_of_another_size_are_refused() -> None:
    with pytest.raises(GraphError, match="must be a mask of 14 edges"):
        is_valid(torch.ones(13, dtype=torch.bool), 7)
