from __future__ import annotations

from itertools import product

import networkx as nx
import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from gnas.errors import GraphError
from gnas.graphs import (
    architecture,
    from_networkx,
    graph_hash,
    graph_keys,
    prune,
    to_networkx,
)
from gnas.spaces import NASBench101
from gnas.spaces.nasbench101 import OPS


def test_published_number_of_cells() -> None:
    # Ying et al., ICML 2019: 423,624 unique cells; by number of vertices from the same code.
    cells = NASBench101().enumerate()
    counts = torch.bincount(cells.num_nodes).cumsum(0)[2:].tolist()
    assert counts == [1, 7, 91, 2_532, 64_542, 423_624]
    assert len(np.unique(graph_keys(cells))) == 423_624


def test_small_cells_match_brute_force() -> None:
    """All matrices of up to 4 vertices, pruned and deduplicated by networkx isomorphism."""
    found: dict[str, nx.DiGraph] = {}
    for n in (2, 3, 4):
        rows, columns = np.triu_indices(n, 1)
        for bits in product((0, 1), repeat=len(rows)):
            adjacency = np.zeros((n, n), dtype=int)
            adjacency[rows, columns] = bits
            for inner in product((1, 2, 3), repeat=n - 2):
                cell = prune(architecture(adjacency, [0, *inner, 4], len(OPS)))
                if cell.edge_index.numel():
                    found.setdefault(graph_hash(cell), to_networkx(cell))
    graphs = list(found.values())
    for i, graph in enumerate(graphs):
        assert not any(
            nx.is_isomorphic(graph, other, node_match=lambda a, b: a["op"] == b["op"])
            for other in graphs[:i]
        )
    cells = NASBench101().enumerate()
    small = {graph_hash(cells.data(i)) for i in range(91)}
    assert small == set(found)


def test_sampling_is_uniform_over_cells() -> None:
    """Cells are hit as often as a uniform draw would: chi-square over 50 blocks of the space."""
    space = NASBench101()
    draws = graph_keys(space.sample_batch(50_000, np.random.default_rng(1)))
    everything = graph_keys(space.enumerate())
    order = np.argsort(everything)
    position = order[np.searchsorted(everything, draws, sorter=order)]
    counts = np.bincount(position * 50 // 423_624, minlength=50)
    chi_square = float(((counts - 1000) ** 2 / 1000).sum())
    assert chi_square < 94.6  # 99.99th percentile at 49 degrees of freedom


def test_neighbours_are_all_cells_at_one_edit(rng: np.random.Generator) -> None:
    """Against a naive reference: every single change of the zero-padded matrix, and back."""
    space = NASBench101()
    for cell in space.sample_batch(6, rng):
        neighbours = {graph_hash(graph) for graph in space.neighbours(cell)}
        assert graph_hash(cell) not in neighbours
        assert len(neighbours) == len(space.neighbours(cell))
        for graph in space.neighbours(cell):
            space.validate(graph)
        assert naive_same_size_neighbours(cell) <= neighbours


def naive_same_size_neighbours(cell: Data) -> set[str]:
    graph = to_networkx(cell)
    n, found = len(graph), set()
    candidates = []
    for v in range(1, n - 1):
        for op in (1, 2, 3):
            edited = graph.copy()
            edited.nodes[v]["op"] = op
            candidates.append(edited)
    for u, v in product(range(n), repeat=2):
        edited = graph.copy()
        if edited.has_edge(u, v):
            edited.remove_edge(u, v)
        elif u != v and u != n - 1 and v != 0:
            edited.add_edge(u, v, op=0)
        candidates.append(edited)
    for edited in candidates:
        if not nx.is_directed_acyclic_graph(edited) or not nx.has_path(edited, 0, n - 1):
            continue
        live = {0, *nx.descendants(edited, 0)} & {n - 1, *nx.ancestors(edited, n - 1)}
        pruned = edited.subgraph(live)
        if pruned.number_of_edges() <= 9:
            order = sorted(pruned, key=lambda v: (v == n - 1, v))
            ordered = nx.DiGraph()
            ordered.add_nodes_from((v, pruned.nodes[v]) for v in order)
            ordered.add_edges_from(pruned.edges)
            found.add(graph_hash(from_networkx(ordered, len(OPS))))
    return found - {graph_hash(from_networkx(graph, len(OPS)))}


def test_the_smallest_cell_can_grow() -> None:
    space = NASBench101()
    smallest = architecture([[0, 1], [0, 0]], [0, 4], len(OPS))
    assert len(space.neighbours(smallest)) == 3  # one more vertex, three operations


@pytest.mark.parametrize(
    ("adjacency", "ops", "message"),
    [
        ([[0, 0, 1], [0, 0, 1], [0, 0, 0]], [0, 1, 4], "on a path from input to output"),
        ([[0, 1, 1], [0, 0, 0], [0, 0, 0]], [0, 1, 4], "on a path from input to output"),
        ([[0, 1, 0], [0, 0, 1], [0, 0, 0]], [0, 4, 1], "end with output"),
        ([[0, 1, 0], [0, 0, 1], [0, 0, 0]], [1, 1, 4], "start with input"),
        ([[0, 1, 0], [0, 0, 1], [0, 0, 0]], [0, 0, 4], "operations between"),
        (np.eye(8, k=1, dtype=int), [0, 1, 1, 1, 1, 1, 1, 4], "2 to 7 nodes"),
        (np.triu(np.ones((5, 5), dtype=int), 1), [0, 1, 1, 1, 4], "at most 9 edges"),
    ],
)
def test_other_graphs_are_refused(
    adjacency: list[list[int]], ops: list[int], message: str
) -> None:
    with pytest.raises(GraphError, match=message):
        NASBench101().validate(architecture(adjacency, ops, len(OPS)))
