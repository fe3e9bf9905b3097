from __future__ import annotations

import math

import networkx as nx
import numpy as np
import pytest
import torch

from gnas.errors import ConfigError
from gnas.graphs import validate_batch
from gnas.spaces import NASGEM, RandomWiring, nasgem_space
from gnas.spaces.nasgem.config import SPREAD, Generator

GENERATORS: tuple[Generator, ...] = ("erdos-renyi", "barabasi-albert", "watts-strogatz")
COUNT = 400


@pytest.mark.parametrize("spread", [False, True])
@pytest.mark.parametrize("generator", GENERATORS)
def test_draws_are_cells_without_dead_nodes(
    generator: Generator, spread: bool, rng: np.random.Generator
) -> None:
    space = RandomWiring(30, generator, spread=spread)
    batch = space.sample_batch(COUNT, rng)
    validate_batch(batch)
    assert not torch.tril(batch.adjacency).any()
    assert bool((space.prune(batch).num_nodes == 30).all())
    assert abs(batch.ops.float().mean() - 0.5) < 0.02
    graph = batch.data(0)
    assert int(batch.adjacency.sum(1).max()) <= 6
    space.validate(graph)
    assert NASGEM(30).to_str(graph) == space.to_str(space.from_str(space.to_str(graph)))


def test_edges_are_as_many_as_the_graphs_have(rng: np.random.Generator) -> None:
    def count(generator: Generator) -> torch.Tensor:
        batch = RandomWiring(30, generator, max_inputs=29).sample_batch(COUNT, rng)
        edges: torch.Tensor = batch.adjacency[:, 1:].sum((1, 2)).double()  # beside the input's
        return edges

    # Erdos-Renyi: every pair of nodes 1..29 with probability .2, independently
    pairs = 29 * 28 / 2
    found = count("erdos-renyi")
    assert abs(float(found.mean()) - 0.2 * pairs) < 4 * math.sqrt(pairs * 0.16 / COUNT)
    assert abs(float(found.var()) / (pairs * 0.16) - 1) < 0.3
    # Barabasi-Albert: a star of 6 nodes around node 0, then 5 edges for each of 24 nodes
    whole = RandomWiring(30, "barabasi-albert").sample_batch(COUNT, rng).adjacency
    assert bool((whole.sum((1, 2)) == 5 + 24 * 5).all())
    assert bool((whole[:, :, 6:].sum(1) == 5).all())
    assert bool((whole[:, 0, 1:6] == 1).all())
    # Watts-Strogatz: rewiring keeps the number of edges, 30 * 4 / 2
    batch = RandomWiring(30, "watts-strogatz").sample_batch(COUNT, rng)
    added = batch.adjacency.sum((1, 2)).double() - 60
    assert float(added.min()) >= 0 and float(added.mean()) < 8


@pytest.mark.parametrize("generator", GENERATORS)
def test_degrees_follow_networkx(generator: Generator, rng: np.random.Generator) -> None:
    """Undirected again, and without what joins nodes to the input, the draws are networkx'."""
    space = RandomWiring(30, generator, max_inputs=29)
    own = space.sample_batch(COUNT, rng).adjacency[:, 1:, 1:].numpy()
    own_degrees = np.sort(own.sum(1) + own.sum(2), axis=1).mean(0)
    theirs = []
    for seed in range(COUNT):
        if generator == "erdos-renyi":
            graph = nx.erdos_renyi_graph(30, 0.2, seed=seed)
        elif generator == "barabasi-albert":
            graph = nx.barabasi_albert_graph(30, 5, seed=seed)
        else:
            graph = nx.watts_strogatz_graph(30, 4, 0.75, seed=seed)
        degrees = nx.to_numpy_array(graph, nodelist=range(30))[1:, 1:].sum(1)
        theirs.append(np.sort(degrees))
    assert np.abs(own_degrees - np.mean(theirs, axis=0)).max() < 0.5


def test_the_cap_keeps_any_inputs_of_a_node() -> None:
    """The same draws with and without it: subsets of the inputs, every one of them somewhere."""
    free, capped = (
        RandomWiring(30, "erdos-renyi", max_inputs=cap)
        .sample_batch(COUNT, np.random.default_rng(8))
        .adjacency.int()
        for cap in (29, 3)
    )
    assert bool((capped <= free).all())
    assert bool((capped.sum(1) == free.sum(1).clamp(max=3)).all())
    last = (free[:, :, 29] > 0) & (free[:, :, 29].sum(1, keepdim=True) > 3)
    share = ((capped[:, :, 29] * last).sum(0) / last.sum(0))[:29]  # of each source's edges
    assert float(share.min()) > 0.25 and float(share.max()) < 0.75


def test_nodes_without_input_are_joined_to_node_0() -> None:
    batch = RandomWiring(30, "erdos-renyi").sample_batch(50, np.random.default_rng(1))
    assert bool((batch.adjacency.sum(1)[:, 1:] > 0).all())
    assert bool((batch.adjacency.sum(1)[:, 0] == 0).all())


def test_the_seed_fixes_the_draws() -> None:
    first, again = (
        RandomWiring(12).sample_batch(5, np.random.default_rng(3)).adjacency for _ in range(2)
    )
    assert torch.equal(first, again)
    other = RandomWiring(12).sample_batch(5, np.random.default_rng(4)).adjacency
    assert not torch.equal(first, other)


def test_spread_takes_every_possible_value(rng: np.random.Generator) -> None:
    space = RandomWiring(6, "barabasi-albert", spread=True)
    assert space.values == {"m": (1, 2, 3, 5)} and SPREAD["barabasi-albert"]["m"][-1] == 7
    edges = space.sample_batch(200, rng).adjacency.sum((1, 2)).tolist()
    assert set(edges) == {m * (6 - m) for m in (1, 2, 3, 5)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prior": "complete"}, "unknown prior 'complete'; choose from"),
        ({"prior": "barabasi-albert", "num_nodes": 5}, "num_nodes must be at least 6"),
        ({"prior": "watts-strogatz", "num_nodes": 4}, "num_nodes must be at least 5"),
        ({"prior": "density", "num_nodes": 0}, "num_nodes must be at least 1, but got 0"),
    ],
)
def test_impossible_priors(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        nasgem_space(**arguments)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="unknown generator"):
        RandomWiring(30, "density")  # type: ignore[arg-type]
