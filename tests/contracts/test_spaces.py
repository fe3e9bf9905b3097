"""What every space must hold; a new entry of SPACES is tested by being there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gnas.errors import GraphError, UnsupportedError
from gnas.graphs import DenseBatch, graph_hash, graph_keys, to_adjacency, validate_batch
from gnas.spaces import SPACES, Space


@pytest.fixture(params=sorted(SPACES))
def space(request: pytest.FixtureRequest) -> Space:
    return SPACES[request.param]()


def test_facts(space: Space) -> None:
    assert SPACES[space.name] is type(space)
    assert len(space.ops) == len(set(space.ops)) > 0
    assert space.__doc__ and "Source" in space.__doc__


def test_samples_are_valid(space: Space, rng: np.random.Generator) -> None:
    batch = space.sample_batch(40, rng)
    validate_batch(batch)
    assert len(batch) == 40 and batch.max_nodes <= space.max_nodes
    for graph in batch:
        space.validate(graph)
    space.validate(space.sample(rng))


def test_same_seed_same_stream(space: Space) -> None:
    first, second = (space.sample_batch(20, np.random.default_rng(5)) for _ in range(2))
    other = space.sample_batch(20, np.random.default_rng(6))
    assert torch.equal(first.adjacency, second.adjacency) and torch.equal(first.ops, second.ops)
    assert not torch.equal(first.adjacency, other.adjacency)


def test_text_round_trip(space: Space, rng: np.random.Generator) -> None:
    for graph in space.sample_batch(40, rng):
        text = space.to_str(graph)
        back = space.from_str(text)
        assert "\n" not in text
        assert all(
            torch.equal(a, b) for a, b in zip(to_adjacency(graph), to_adjacency(back), strict=True)
        )
        assert space.to_str(back) == text


@pytest.mark.parametrize("text", ["", "|", "input", "x|0", "|||", "input,output|zz", "🙂|1"])
def test_malformed_text_is_refused(space: Space, text: str) -> None:
    with pytest.raises(GraphError, match=r"must|unknown operation"):
        space.from_str(text)


def test_mutation_changes_the_graph_and_stays_inside(
    space: Space, rng: np.random.Generator
) -> None:
    for graph in space.sample_batch(15, rng):
        before = [tensor.clone() for tensor in to_adjacency(graph)]
        mutated = space.mutate(graph, rng)
        space.validate(mutated)
        assert space.to_str(mutated) != space.to_str(graph)
        assert all(torch.equal(a, b) for a, b in zip(before, to_adjacency(graph), strict=True)), (
            "the caller's graph was changed"
        )


def test_neighbours_are_different_architectures_of_the_space(
    space: Space, rng: np.random.Generator
) -> None:
    for graph in space.sample_batch(2, rng):
        neighbours = space.neighbours(graph)
        for neighbour in neighbours[:: max(len(neighbours) // 20, 1)]:
            space.validate(neighbour)
        own = graph_keys(space.prune(DenseBatch.from_data([graph])))
        keys = graph_keys(space.prune(neighbours)).tolist()
        assert len({*keys, *own.tolist()}) == len(keys) + 1 > 10
        mutants = DenseBatch.from_data([space.mutate(graph, rng) for _ in range(40)])
        reached = np.isin(graph_keys(space.prune(mutants)), [*keys, *own])
        assert reached.mean() > 0.3  # all of them, where the space lists its neighbours
        assert torch.equal(space.neighbours(graph).adjacency, neighbours.adjacency)


def test_enumeration_has_every_architecture_once(space: Space, rng: np.random.Generator) -> None:
    if space.size is None:
        with pytest.raises(UnsupportedError, match="too large to enumerate"):
            space.enumerate()
        return
    everything = space.enumerate()
    assert len(everything) == space.size
    rows = torch.cat([everything.adjacency.flatten(1), everything.ops], dim=1)
    assert len(torch.unique(rows, dim=0)) == space.size
    sampled = set(graph_keys(space.sample_batch(200, rng)).tolist())
    assert sampled <= set(graph_keys(everything).tolist())


def test_architectures_of_other_spaces_are_refused(space: Space, rng: np.random.Generator) -> None:
    for name, other in SPACES.items():
        if name != space.name:
            graph = other().sample(rng)
            with pytest.raises(GraphError, match=r"must"):
                space.validate(graph)


def test_live_part_is_stable(space: Space, rng: np.random.Generator) -> None:
    batch = space.prune(space.sample_batch(30, rng))
    validate_batch(batch)
    again = space.prune(batch)
    assert [graph_hash(g) for g in batch] == [graph_hash(g) for g in again]


def test_representatives_compute_the_same(space: Space, rng: np.random.Generator) -> None:
    batch = space.sample_batch(20, rng)
    chosen = space.representative(batch)
    keys = [graph_keys(space.functional_form(cells)).tolist() for cells in (batch, chosen)]
    assert keys[0] == keys[1]
    again = space.representative(chosen)
    assert [graph_hash(g) for g in chosen] == [graph_hash(g) for g in again]
    assert chosen.num_ops == len(space.ops) and chosen.has_edge_ops == bool(space.edge_ops)
