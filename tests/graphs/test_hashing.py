from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import networkx as nx
import numpy as np
import pyarrow.parquet as pq
import pytest
from nasbench_pytorch.model import ModelSpec
from torch_geometric.data import Data

from gnas.graphs import (
    DenseBatch,
    architecture,
    distinct,
    from_networkx,
    graph_hash,
    graph_keys,
    to_networkx,
)
from gnas.spaces import NASGEM, NASBench101, NASBench201
from gnas.spaces.nasbench101 import OPS


def shuffled(data: Data, rng: np.random.Generator) -> Data:
    """The same architecture with its nodes in another topological order."""
    graph = to_networkx(data)
    order: list[int] = []
    while len(order) < len(graph):
        ready = [
            v for v in graph if v not in order and all(u in order for u in graph.predecessors(v))
        ]
        order.append(int(rng.choice(ready)))
    other = nx.DiGraph()
    for node in order:
        other.add_node(node, **graph.nodes[node])
    other.add_edges_from(graph.edges(data=True))
    return from_networkx(other, int(data.x.size(1)), edge_ops="edge_op" in data)


def test_official_hashes_of_real_cells(shared_data: Callable[[str], Path]) -> None:
    table = pq.read_table(shared_data("nasbench101/nasbench101_partial.parquet"))
    rows = table.slice(0, 400).to_pylist()
    for row in rows:
        n = row["num_vertices"]
        adjacency = np.array([int(bit) for bit in row["adjacency"]]).reshape(n, n)
        ops = [OPS.index(op) for op in row["ops"].split(",")]
        assert graph_hash(architecture(adjacency, ops, len(OPS))) == row["hash"]


def test_hash_is_that_of_the_official_code(rng: np.random.Generator) -> None:
    """Against nasbench-pytorch, which carries the benchmark's own hashing code."""
    for cell in NASBench101().sample_batch(50, rng):
        graph = to_networkx(cell)
        matrix = nx.to_numpy_array(graph, dtype=int)
        spec = ModelSpec(matrix, [OPS[graph.nodes[v]["op"]] for v in graph])
        spec.matrix = spec.matrix.numpy()
        assert spec.hash_spec(list(OPS[1:-1])) == graph_hash(cell)


@pytest.mark.parametrize("space", [NASBench101(), NASBench201(), NASGEM(12)], ids=lambda s: s.name)
def test_hash_and_key_ignore_node_order(
    space: NASBench101 | NASBench201 | NASGEM, rng: np.random.Generator
) -> None:
    graphs = list(space.sample_batch(40, rng))
    others = [shuffled(graph, rng) for graph in graphs]
    assert [graph_hash(g) for g in graphs] == [graph_hash(g) for g in others]
    keys = graph_keys(DenseBatch.from_data(graphs))
    assert np.array_equal(keys, graph_keys(DenseBatch.from_data(others)))


def test_hash_equality_is_isomorphism_on_small_random_graphs(rng: np.random.Generator) -> None:
    graphs = list(NASGEM(4, densities=(0.3, 0.7)).sample_batch(60, rng))
    keys = graph_keys(DenseBatch.from_data(graphs))
    hashes = [graph_hash(graph) for graph in graphs]
    as_networkx = [to_networkx(graph) for graph in graphs]
    pairs = list(combinations(range(len(graphs)), 2))
    isomorphic = [
        nx.is_isomorphic(
            as_networkx[i], as_networkx[j], node_match=lambda a, b: a["op"] == b["op"]
        )
        for i, j in pairs
    ]
    assert any(isomorphic) and not all(isomorphic)
    assert isomorphic == [hashes[i] == hashes[j] for i, j in pairs]
    assert isomorphic == [bool(keys[i] == keys[j]) for i, j in pairs]


def test_edge_operations_count() -> None:
    cells = [
        architecture([[0, op, 0], [0, 0, 1], [0, 0, 0]], [0, 1, 2], 3, edge_ops=True)
        for op in (1, 2)
    ]
    assert graph_hash(cells[0]) != graph_hash(cells[1])
    first, second = graph_keys(DenseBatch.from_data(cells))
    assert first != second


def test_keys_ignore_padding(rng: np.random.Generator) -> None:
    batch = NASBench101().sample_batch(20, rng)
    assert np.array_equal(graph_keys(batch), graph_keys(batch.pad_to(11)))


def test_distinct_keeps_first_occurrences() -> None:
    cells = NASBench101().enumerate()[:90]  # 2 to 4 vertices: all different
    assert distinct(DenseBatch.concat([cells, cells])).tolist() == list(range(90))
