from __future__ import annotations

from collections.abc import Sequence

import networkx as nx
import numpy as np
import pytest
import torch

from gnas.errors import GraphError
from gnas.graphs import DenseBatch, architecture, edge_ops_to_node_ops, to_networkx
from gnas.predictors import Embedding, Joined, OneHot, OneHotOps, PathStatistics
from gnas.predictors import features as module
from gnas.spaces import NASGEM, NASBench101, NASBench201, TopoNAS


def permuted(batch: DenseBatch, rng: np.random.Generator) -> DenseBatch:
    """Every graph with its nodes in another topological order; first and last stay."""
    graphs = []
    for graph in batch:
        n = graph.num_nodes
        edges = graph.edge_index.t().tolist()
        order = [0]
        while len(order) < n:
            ready = [
                v for v in range(n)
                if v not in order and all(u in order for u, w in edges if w == v)
                and (v != n - 1 or len(order) == n - 1)
            ]  # fmt: skip
            order.append(int(rng.choice(ready)))
        adjacency = torch.zeros(n, n, dtype=torch.int64)
        for u, v in edges:
            adjacency[order.index(u), order.index(v)] = 1
        graphs.append(architecture(adjacency, graph.x.argmax(1)[order], graph.x.size(1)))
    return DenseBatch.from_data(graphs)


def test_one_hot_by_hand() -> None:
    graph = architecture([[0, 1, 1], [0, 0, 1], [0, 0, 0]], [0, 2, 4], 5)
    batch = DenseBatch.from_data([graph])
    rows = OneHot(4, 5)(batch)
    ops = [1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]
    assert rows.tolist() == [[1, 1, 0, 1, 0, 0, *ops]]
    assert OneHotOps(4, 5)(batch).tolist() == [ops]
    assert OneHot(4, 5, with_counts=True)(batch)[0, -5:].tolist() == [1, 0, 1, 0, 1]
    joined = Joined((OneHotOps(4, 5), OneHot(4, 5)))
    assert joined(batch).tolist() == [[*ops, 1, 1, 0, 1, 0, 0, *ops]]
    assert joined.name == "ops + adjacency + ops"


def test_one_hot_of_edge_ops(rng: np.random.Generator) -> None:
    space = NASBench201()
    cells = space.sample_batch(50, rng)
    rows = OneHot(4, 3, num_edge_ops=4)(cells)
    assert rows.shape == (50, 6 * 4 + 4 * 3)
    upper = cells.adjacency[:, *torch.triu_indices(4, 4, 1)].numpy()
    weights = np.arange(1, 5)
    assert (rows[:, :24].reshape(50, 6, 4) @ weights == upper).all()


def naive_statistics(
    graph: nx.DiGraph, num_ops: int, max_nodes: int, inputs: Sequence[int] = ()
) -> list[float]:
    """`PathStatistics` of one graph, by listing all of its paths."""
    op = [graph.nodes[v]["op"] for v in sorted(graph)]
    n = len(op)
    ends = [v for v in graph if graph.out_degree(v) == 0]
    depth = {v: 0 for v in graph}
    for v in nx.topological_sort(graph):
        depth[v] = max((depth[u] + 1 for u in graph.predecessors(v)), default=0)
    starts = [v for v in graph if v == 0 or op[v] in inputs]
    paths = [[v] for v in starts if v in ends]
    paths += [p for a in starts for b in ends if a != b for p in nx.all_simple_paths(graph, a, b)]
    row = [n, graph.number_of_edges(), graph.out_degree(0)]
    row += [sum(graph.in_degree(v) for v in ends), sum(graph.has_edge(0, v) for v in ends)]
    row += [op.count(o) for o in range(num_ops)]
    pairs = [(a, b) for a in range(num_ops) for b in range(num_ops)]
    closed = nx.transitive_closure_dag(graph)
    for links in (graph, closed):
        row += [sum((op[u], op[v]) == pair for u, v in links.edges) for pair in pairs]
    for o in range(num_ops):
        nodes = [v for v in graph if op[v] == o]
        row += [sum(graph.in_degree(v) for v in nodes), sum(graph.out_degree(v) for v in nodes)]
        row += [sum(depth[v] for v in nodes)]
    weights = [[len(p) for p in paths]]
    weights += [[sum(op[v] == o for v in p) for p in paths] for o in range(num_ops)]
    for w in weights:
        row += [float(np.log1p(w.count(k))) for k in range(max_nodes + 1)]
    for w in weights:
        row += [min(w), max(w), float(np.mean(w))] if w else [0, 0, 0]
    return [float(value) for value in row]


def test_path_statistics_match_a_listing_of_all_paths(rng: np.random.Generator) -> None:
    cells = NASBench101().sample_batch(40, rng)
    rows = PathStatistics(7, 5)(cells)
    for graph, row in zip(cells, rows, strict=True):
        np.testing.assert_allclose(row, naive_statistics(to_networkx(graph), 5, 7), atol=1e-12)


def test_path_statistics_of_cells_with_many_leaves(rng: np.random.Generator) -> None:
    space = NASGEM(num_nodes=9)
    cells = space.sample_batch(30, rng)
    features = PathStatistics(9, 2, live=space.live)
    rows = features(cells)
    for graph, row in zip(space.live(cells), rows, strict=True):
        np.testing.assert_allclose(row, naive_statistics(to_networkx(graph), 2, 9), atol=1e-12)
    assert np.isfinite(PathStatistics(30, 2)(NASGEM(30).sample_batch(200, rng))).all()


def test_path_statistics_of_two_cells_in_one_graph(rng: np.random.Generator) -> None:
    space = TopoNAS(5)
    cells = space.sample_batch(15, rng)
    features = PathStatistics(
        10, 8, num_edge_ops=8, max_edges=14, inputs=space.inputs, outputs=space.outputs
    )
    rows = features(cells)
    for graph, row in zip(edge_ops_to_node_ops(cells, 8), rows, strict=True):
        naive = naive_statistics(to_networkx(graph), 16, 24, space.inputs)
        np.testing.assert_allclose(row, naive, atol=1e-12)


def test_path_statistics_ignore_node_order(rng: np.random.Generator) -> None:
    cells = NASBench101().sample_batch(60, rng).pad_to(7)
    other = permuted(cells, rng).pad_to(7)
    assert (cells.adjacency != other.adjacency).any()
    features = PathStatistics(7, 5)
    np.testing.assert_allclose(features(cells), features(other), atol=1e-12)
    assert (OneHot(7, 5)(cells) != OneHot(7, 5)(other)).any()


def test_path_statistics_of_edge_ops_ignore_dead_branches() -> None:
    space = NASBench201()
    features = PathStatistics(4, 3, num_edge_ops=4)
    live = "|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|"
    dead = "|nor_conv_1x1~0|+|none~0|skip_connect~1|+|nor_conv_3x3~0|none~1|none~2|"
    other = "|none~0|+|none~0|none~1|+|nor_conv_1x1~0|none~1|none~2|"
    rows = features(DenseBatch.from_data([space.from_str(s) for s in (live, dead, other)]))
    assert (rows[0] == rows[1]).all()
    assert (rows[0] != rows[2]).any()


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    cells = NASBench101().sample_batch(50, rng)
    whole = PathStatistics(7, 5)(cells)
    monkeypatch.setattr(module, "CHUNK", 7)
    assert (PathStatistics(7, 5)(cells) == whole).all()


def test_embedding_is_what_the_encoder_says(rng: np.random.Generator) -> None:
    class Degrees:
        name = "degrees"

        def encode(self, graphs: DenseBatch) -> torch.Tensor:
            return graphs.adjacency.sum(1).float()

    cells = NASBench101().sample_batch(5, rng)
    features = Embedding(Degrees())
    assert features.name == "degrees"
    assert (features(cells) == cells.adjacency.sum(1).numpy()).all()


@pytest.mark.parametrize("features", [OneHot(7, 5), OneHotOps(7, 5), PathStatistics(7, 5)])
def test_foreign_graphs_are_refused(features: OneHot, rng: np.random.Generator) -> None:
    with pytest.raises(GraphError, match="must have 5 node ops and no edge ops"):
        features(NASBench201().sample_batch(3, rng))
    with pytest.raises(GraphError, match="must have 5 node ops"):
        features(NASGEM(5).sample_batch(3, rng))
    big = architecture(np.triu(np.ones((8, 8), dtype=int), 1), [0, 1, 1, 1, 1, 1, 1, 4], 5)
    with pytest.raises(GraphError, match="at most 7 nodes"):
        features(DenseBatch.from_data([big]))
    with pytest.raises(GraphError, match=r"edge_op must be in \[0, 2\)"):
        OneHot(4, 3, num_edge_ops=2)(NASBench201().enumerate())
