from __future__ import annotations

import numpy as np
import pytest
import torch

from gnas.encoders.config import PRESETS
from gnas.encoders.pairs import flip_edges, independent_pairs, near_pairs, permuted
from gnas.graphs import graph_hash, validate_batch
from gnas.spaces import (
    NASGEM,
    SPACES,
    EdgeOpSpace,
    NASBench101,
    NASBench201,
    Space,
    TopoNAS,
)


def test_flips_change_exactly_so_many_pairs_of_nodes(rng: np.random.Generator) -> None:
    batch = NASGEM(12).sample_batch(50, rng)
    flips = rng.integers(1, 41, size=50)
    flipped = flip_edges(batch, flips, rng)
    validate_batch(flipped)
    changed = (flipped.adjacency != batch.adjacency).sum((1, 2))
    most = batch.num_nodes.numpy() * (batch.num_nodes.numpy() - 1) // 2
    assert changed.tolist() == np.minimum(flips, most).tolist()
    assert torch.equal(flipped.ops, batch.ops)


def test_near_pairs_cover_all_edit_distances(rng: np.random.Generator) -> None:
    first, second = near_pairs(NASGEM(), PRESETS["nasgem-30-paper"](), 4000, rng)
    for cell in second[:100]:
        NASGEM().validate(cell)
    same = (first.num_nodes == second.num_nodes).numpy()  # else nodes have other numbers
    distance = (first.adjacency != second.adjacency).sum((1, 2)).numpy()[same]
    counts = np.bincount(distance, minlength=60)
    assert same.mean() > 0.5 and counts[0] < 100
    assert counts[1:30].min() > 10  # where a cap binds, a flip may change two edges or none


def test_near_cells_of_nasbench101_are_cells_few_edits_away(rng: np.random.Generator) -> None:
    space = NASBench101()
    config = PRESETS["nasgem-nasbench101"]()
    first, second = near_pairs(space, config, 60, rng)
    hashes = []
    for a, b in zip(first, second, strict=True):
        space.validate(a)
        space.validate(b)
        hashes.append(graph_hash(a) != graph_hash(b))
    assert np.mean(hashes) > 0.8  # a second edit may undo the first


def test_batch_mutation_of_nasbench101_is_one_edit(rng: np.random.Generator) -> None:
    space = NASBench101()
    batch = space.sample_batch(8, rng)
    mutated = space.mutate_batch(batch, rng)
    for before, after in zip(batch, mutated, strict=True):
        neighbours = {graph_hash(cell) for cell in space.neighbours(before)}
        assert graph_hash(after) in neighbours | {graph_hash(before)}


OWN = EdgeOpSpace(num_nodes=3, edge_ops=[f"op{k}" for k in range(100)])
"""Without absent edges, and with as many operations as would overflow a byte when shifted."""


@pytest.mark.parametrize("space", [NASBench201(), OWN], ids=lambda space: space.name)
def test_batch_mutation_of_edge_operations_is_that_of_single_cells(space: EdgeOpSpace) -> None:
    batch = space.sample_batch(200, np.random.default_rng(0))
    one, other = np.random.default_rng(1), np.random.default_rng(1)
    mutated, single = space.mutate_batch(batch, one), Space.mutate_batch(space, batch, other)
    assert ((batch.adjacency != mutated.adjacency).sum((1, 2)) == 1).all()
    assert (mutated.adjacency == single.adjacency).all() and (mutated.ops == single.ops).all()
    assert mutated.adjacency.dtype == single.adjacency.dtype
    assert one.random() == other.random()
    assert len(space.mutate_batch(batch[:0], one)) == 0


@pytest.mark.parametrize(
    "space",
    [
        TopoNAS(),
        TopoNAS(5, topology="fixed", mode="input", concat="some"),
        TopoNAS(4, mode="input"),
    ],
    ids=repr,
)
def test_batch_mutation_of_toponas_is_that_of_single_pairs(space: TopoNAS) -> None:
    batch = space.sample_batch(60, np.random.default_rng(0))
    if space.concat == "some":
        batch.adjacency[::2, 2, space.num_nodes - 1] = 0  # not joined by the normal cell
    one, other = np.random.default_rng(1), np.random.default_rng(1)
    mutated, single = space.mutate_batch(batch, one), Space.mutate_batch(space, batch, other)
    assert (mutated.adjacency == single.adjacency).all() and (mutated.ops == single.ops).all()
    assert mutated.adjacency.dtype == single.adjacency.dtype
    assert one.random() == other.random()
    assert len(space.mutate_batch(batch[:0], one)) == 0


@pytest.mark.parametrize("space", sorted(SPACES))
def test_permuted_copies_are_isomorphic(space: str, rng: np.random.Generator) -> None:
    own = SPACES[space]()
    batch = own.sample_batch(20, rng)
    copies = permuted(batch, rng)
    assert np.array_equal(own.keys(copies), own.keys(batch))  # the same networks
    validate_batch(copies)
    for before, after in zip(batch, copies, strict=True):
        assert graph_hash(before) == graph_hash(after)


def test_same_seed_same_pairs() -> None:
    draws = [independent_pairs(NASGEM(), 5, np.random.default_rng(3)) for _ in range(2)]
    assert torch.equal(draws[0][1].adjacency, draws[1][1].adjacency)
    assert not torch.equal(draws[0][0].adjacency, draws[0][1].adjacency)
