from __future__ import annotations

import itertools
import math
from collections import Counter

import networkx as nx
import numpy as np
import pytest
import torch
from scipy.stats import binom
from torch_geometric.data import Data

from gnas.errors import ConfigError, GraphError
from gnas.graphs import architecture, as_batch, graph_keys, prune, to_networkx, validate_batch
from gnas.spaces import NASGEM, space_of_text
from gnas.spaces.nasgem import OPS


def test_densities_are_spread(rng: np.random.Generator) -> None:
    space = NASGEM(30)
    batch = space.sample_batch(4000, rng)
    validate_batch(batch)
    share = batch.adjacency.sum((1, 2)).double().numpy() / (15 + 24 * 6)  # of the most edges
    assert 0.5 < share.mean() < 0.6 and share.std() > 0.25
    assert np.quantile(share, 0.05) < 0.1 and np.quantile(share, 0.95) > 0.9
    assert int(batch.num_nodes.median()) >= 28
    ops = batch.ops[batch.ops >= 0].double()
    assert abs(float(ops.mean()) - 0.5) < 0.01
    full = NASGEM(30, densities=(1, 1)).sample_batch(5, rng)
    assert (full.adjacency.sum(1) == torch.arange(30).clamp(max=6)).all()


@pytest.mark.parametrize(("num_nodes", "density", "cap"), [(4, 0.5, 9), (4, 0.4, 2), (5, 0.3, 1)])
def test_draws_follow_the_documented_distribution(
    num_nodes: int, density: float, cap: int, rng: np.random.Generator
) -> None:
    """All wirings of a few nodes, their probabilities multiplied out, nodes dropped by hand."""
    expected: Counter[str] = Counter()
    choices = [
        [
            (set(chosen), binom.pmf(size, min(j, cap), density) / math.comb(j, size))
            for size in range(min(j, cap) + 1)
            for chosen in itertools.combinations(range(j), size)
        ]
        for j in range(num_nodes)
    ]
    for wiring in itertools.product(*choices):
        reached = [0]
        for j in range(1, num_nodes):
            if wiring[j][0] & set(reached):
                reached.append(j)
        place = {node: k for k, node in enumerate(reached)}
        kept = [sorted(place[i] for i in wiring[j][0] if i in place) for j in reached]
        expected[str(kept)] += math.prod(probability for _, probability in wiring)
    count = 10_000
    batch = NASGEM(num_nodes, (density, density), max_inputs=cap).sample_batch(count, rng)
    drawn: Counter[str] = Counter()
    for matrix, size in zip(batch.adjacency.numpy(), batch.num_nodes.tolist(), strict=True):
        drawn[str([matrix[:, j].nonzero()[0].tolist() for j in range(size)])] += 1
    assert math.isclose(sum(expected.values()), 1) and set(drawn) <= set(expected)
    for text, p in expected.items():
        assert abs(drawn[text] / count - p) < 5 * math.sqrt(p * (1 - p) / count) + 1e-4, text


@pytest.mark.parametrize("num_nodes", [1, 2, 30, 64, 127])
def test_any_number_of_nodes(num_nodes: int, rng: np.random.Generator) -> None:
    space = NASGEM(num_nodes)
    for graph in space.sample_batch(3, rng):
        space.validate(graph)
        assert 1 <= graph.num_nodes <= num_nodes
        again = space.from_str(space.to_str(graph))
        assert torch.equal(again.x, graph.x)
        assert torch.equal(again.edge_index, graph.edge_index)


def test_the_cap_and_unreached_nodes_are_rules() -> None:
    n = 9
    full = architecture(np.triu(np.ones((n, n), dtype=int), 1), [0] * n, len(OPS))
    with pytest.raises(GraphError, match="must have at most 6 inputs, but node 7 has 7; leave"):
        NASGEM(n).validate(full)
    NASGEM(n, max_inputs=8).validate(full)
    text = NASGEM(n, max_inputs=8).to_str(full)
    for read in (NASGEM(n).from_str, lambda text: space_of_text(text).from_str(text)):
        with pytest.raises(GraphError, match="must have at most 6 inputs, but node 7 has 7"):
            read(text)
    # 0 -> 2, 1 -> 3, 2 -> 4: node 1 has no input, so it and 3, which hangs on it, must go.
    adjacency = np.zeros((5, 5), dtype=int)
    adjacency[[0, 1, 2], [2, 3, 4]] = 1
    cell = architecture(adjacency, [0, 1, 1, 0, 1], len(OPS))
    with pytest.raises(GraphError, match=r"reached from node 0.*but node 1 has no input"):
        NASGEM(5).validate(cell)
    pruned = prune(cell, to_output=False)
    NASGEM(5).validate(pruned)
    assert pruned.edge_index.tolist() == [[0, 1], [1, 2]]
    with pytest.raises(GraphError, match="must have at most 4 nodes, but got 5"):
        NASGEM(4).validate(cell)


def test_an_empty_batch_stays_empty(rng: np.random.Generator) -> None:
    space = NASGEM(5)
    assert len(space.prune(space.sample_batch(1, rng)[:0])) == 0


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"num_nodes": 0}, "num_nodes must be at least 1, but got 0"),
        ({"densities": (0.5, 0.1)}, "densities"),
        ({"densities": (0.1, 1.5)}, "densities"),
        ({"max_inputs": 0}, "max_inputs must be at least 1, but got 0"),
    ],
)
def test_impossible_spaces_are_refused(kwargs: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        NASGEM(**kwargs)  # type: ignore[arg-type]


def single_edits(graph: Data, space: NASGEM) -> list[Data]:
    """Every edit that the space allows, made by hand on networkx graphs."""
    whole = to_networkx(graph)
    nodes = list(whole)
    found = []
    for j, i in itertools.product(nodes, nodes):
        edited = whole.copy()
        if whole.has_edge(i, j):
            edited.remove_edge(i, j)
        elif i < j and whole.in_degree(j) < space.max_inputs:
            edited.add_edge(i, j)
        else:
            continue
        reached = {0} | nx.descendants(edited, 0)
        found.append(edited.subgraph(sorted(reached)))
    for node in nodes:
        edited = whole.copy()
        edited.nodes[node]["op"] = 1 - edited.nodes[node]["op"]
        found.append(edited)
    if len(nodes) < space.max_nodes:
        for source, op in itertools.product(nodes, range(2)):
            edited = whole.copy()
            edited.add_node(len(nodes), op=op)
            edited.add_edge(source, len(nodes))
            found.append(edited)
    return [
        architecture(
            nx.to_numpy_array(edited, nodelist=sorted(edited), weight=None).astype(int),
            [edited.nodes[node]["op"] for node in sorted(edited)],
            len(OPS),
        )
        for edited in found
    ]


@pytest.mark.parametrize(("num_nodes", "cap"), [(5, 2), (7, 6), (2, 1), (1, 1)])
def test_neighbours_and_mutants_are_all_single_edits(
    num_nodes: int, cap: int, rng: np.random.Generator
) -> None:
    space = NASGEM(num_nodes, max_inputs=cap)
    for graph in space.sample_batch(2, rng):
        text = space.to_str(graph)
        own = set(graph_keys(as_batch(graph)).tolist())
        expected = set(graph_keys(as_batch(single_edits(graph, space))).tolist()) - own
        neighbours = space.neighbours(graph)
        assert len(neighbours) == len(expected)
        assert set(graph_keys(neighbours).tolist()) == expected
        mutants = [space.mutate(graph, rng) for _ in range(400)]
        for found in (*neighbours, *mutants):
            space.validate(found)
        assert set(graph_keys(as_batch(mutants)).tolist()) == expected
        assert space.to_str(graph) == text


def test_an_added_node_takes_any_place(rng: np.random.Generator) -> None:
    space = NASGEM(3)
    chain = space.from_str("conv_1x1,conv_1x1|1")
    grown = {space.to_str(g) for g in (space.mutate(chain, rng) for _ in range(300))}
    #  0 -> 1 and 0 -> 2 with the new node, of the other operation, in either place; 1 -> 2
    assert {
        "conv_1x1,dw_sep_conv_3x3,conv_1x1|6",
        "conv_1x1,conv_1x1,dw_sep_conv_3x3|6",
        "conv_1x1,conv_1x1,dw_sep_conv_3x3|5",
    } <= grown
