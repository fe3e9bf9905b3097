from __future__ import annotations

import numpy as np
import pytest
import torch

from gnas.errors import ConfigError
from gnas.graphs import architecture, as_batch, graph_keys, to_adjacency
from gnas.spaces import NASGEM
from gnas.spaces.nasgem import OPS


def test_densities_are_spread(rng: np.random.Generator) -> None:
    batch = NASGEM(30).sample_batch(4000, rng)
    density = batch.adjacency.sum((1, 2)).numpy() / (30 * 29 / 2)
    # The share of edges is the drawn probability, uniform in [.05, .6], plus binomial noise.
    assert abs(density.mean() - 0.325) < 0.01
    assert abs(density.std() - np.sqrt(0.55**2 / 12 + 0.00049)) < 0.005
    assert abs(batch.ops.float().mean() - 0.5) < 0.01


@pytest.mark.parametrize("num_nodes", [1, 2, 30, 64, 127])
def test_any_number_of_nodes(num_nodes: int, rng: np.random.Generator) -> None:
    space = NASGEM(num_nodes)
    for graph in space.sample_batch(3, rng):
        space.validate(graph)
        assert graph.num_nodes == num_nodes
        again = space.from_str(space.to_str(graph))
        assert torch.equal(again.x, graph.x)
        assert torch.equal(again.edge_index, graph.edge_index)


def test_nodes_without_input_are_dropped() -> None:
    # 0 -> 2, 1 -> 3, 2 -> 4: node 1 has no input, so it and 3, which hangs on it, go.
    adjacency = np.zeros((5, 5), dtype=int)
    adjacency[[0, 1, 2], [2, 3, 4]] = 1
    space = NASGEM(5)
    cell = architecture(adjacency, [0, 1, 1, 0, 1], len(OPS))
    live = space.live(as_batch(cell))
    assert live.data(0).edge_index.tolist() == [[0, 1], [1, 2]]
    assert live.ops[0, :3].tolist() == [0, 1, 1]


def test_an_empty_batch_stays_empty(rng: np.random.Generator) -> None:
    space = NASGEM(5)
    assert len(space.live(space.sample_batch(1, rng)[:0])) == 0


def test_mutation_changes_one_bit(rng: np.random.Generator) -> None:
    space = NASGEM(10)
    for graph in space.sample_batch(30, rng):
        (a, ops), (b, new_ops) = to_adjacency(graph), to_adjacency(space.mutate(graph, rng))
        assert int((a != b).sum()) + int((ops != new_ops).sum()) == 1


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"num_nodes": 0}, r"num_nodes must be in \[1, 127\]"),
        ({"densities": (0.5, 0.1)}, "densities"),
        ({"densities": (0.1, 1.5)}, "densities"),
    ],
)
def test_impossible_spaces_are_refused(kwargs: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        NASGEM(**kwargs)  # type: ignore[arg-type]


def test_neighbours_are_all_single_edits(rng: np.random.Generator) -> None:
    space = NASGEM(9)
    graph = space.sample(rng)
    neighbours = space.neighbours(graph)
    own = set(graph_keys(space.live(as_batch(graph))).tolist())
    keys = set(graph_keys(space.live(neighbours)).tolist()) | own
    mutants = as_batch([space.mutate(graph, rng) for _ in range(300)])
    assert set(graph_keys(space.live(mutants)).tolist()) | own == keys
    dense, ops = to_adjacency(graph)
    for neighbour in neighbours:
        other, kinds = to_adjacency(neighbour)
        assert int((dense != other).sum()) + int((ops != kinds).sum()) == 1
