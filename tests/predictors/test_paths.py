from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
import torch

from gnas.encoders import paths
from gnas.graphs import DenseBatch, architecture, to_networkx
from gnas.predictors import PathStatistics
from gnas.spaces import NASGEM, SPACES, NASBench101, NASBench201, TopoNAS
from gnas.spaces.base import Space

Walk = tuple[list[int], float]
Weight = Callable[[int], float]


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


def walks(graph: nx.DiGraph, starts: list[int], ends: list[int]) -> Iterator[Walk]:
    """Every path from a start to an end, and how often it occurs."""
    for a in starts:
        for b in ends:
            simple = [[a]] if a == b else nx.all_simple_paths(graph, a, b)
            for path in simple:
                pairs = pairwise(path)
                yield path, float(np.prod([graph.edges[pair]["op"] + 1 for pair in pairs]))


def weighted(found: list[Walk], share: Callable[[int, int], float], weight: Weight) -> list[float]:
    """Mean and deviation of a weight over paths that are taken with products of shares."""
    chance = [float(np.prod([share(u, v) for u, v in pairwise(p)]))
              for p, _ in found]  # fmt: skip
    values = np.array([sum(weight(v) for v in path) for path, _ in found])
    total = np.array(chance)
    if not found:
        return [0.0, 0.0]
    mean = float((total * values).sum() / total.sum())
    return [mean, float(np.sqrt((total * (values - mean) ** 2).sum() / total.sum()))]


def of_kind(
    ops: list[int], kind: int, yes: float, no: float, fixed: Collection[int] = ()
) -> Weight:
    """``yes`` for nodes of a kind and ``no`` for others; 1 for fixed ones."""
    return lambda v: 1.0 if v in fixed else yes if ops[v] == kind else no


def naive(graph: nx.DiGraph, space: Space) -> dict[str, list[float]]:
    """`PathStatistics` of one functional form, by listing all of its paths."""
    names = [*space.ops, *space.edge_ops]
    kinds, width = range(len(names)), space.max_nodes + 1 + bool(space.edge_ops)
    nodes = sorted(graph)
    op = [graph.nodes[v]["op"] for v in nodes]
    if not space.edge_ops:
        nx.set_edge_attributes(graph, 0, "op")
    times = {(u, v): graph.edges[u, v]["op"] + 1 for u, v in graph.edges}
    into = {v: sum(times[u, v] for u in graph.predecessors(v)) for v in nodes}
    out = {v: sum(times[v, w] for w in graph.successors(v)) for v in nodes}
    starts = [v for v in nodes if v == 0 or op[v] in space.vocabulary.inputs]
    ends = [v for v in nodes if v == nodes[-1] or op[v] in space.vocabulary.outputs]
    if not space.vocabulary.to_output:
        ends = [v for v in nodes if graph.out_degree(v) == 0]
    fixed = {*starts, *ends} if space.vocabulary.to_output else set()
    depth = {v: 0 for v in nodes}
    for v in nx.topological_sort(graph):
        depth[v] = max((depth[u] + 1 for u in graph.predecessors(v)), default=0)
    found = list(walks(graph, starts, ends))
    weights: list[Weight] = [lambda v: 1.0]
    weights += [of_kind(op, o, 1.0, 0.0) for o in kinds]
    weights += [lambda v: float(names[op[v]] in space.vocabulary.learned)]

    def histogram(weight: Weight) -> tuple[list[float], list[float]]:
        sums = [(sum(weight(v) for v in path), count) for path, count in found]
        logs = [float(np.log1p(sum(c for s, c in sums if s == k))) for k in range(width)]
        total = sum(c for _, c in sums)
        if not sums:
            return logs, [0.0, 0.0, 0.0]
        mean = sum(s * c for s, c in sums) / total
        return logs, [min(s for s, _ in sums), max(s for s, _ in sums), mean]

    def flow(passes: Weight, averaged: bool) -> float:
        arrived = 0.0
        for path, count in found:
            part = count * float(np.prod([passes(v) for v in path]))
            for v in path[1:] if averaged else ():
                part /= into[v]
            arrived += part
        return arrived

    histograms = [histogram(weight) for weight in weights]
    closed = nx.transitive_closure_dag(graph)
    backward = [weighted(found, lambda u, v: times[u, v] / into[v], w) for w in weights[1:]]
    forward = [weighted(found, lambda u, v: times[u, v] / out[u], w) for w in weights[1:]]
    damped = [of_kind(op, o, 0.2, 1.0, fixed) for o in kinds]
    damped += [of_kind(op, o, 1.0, 0.2, fixed) for o in kinds]
    damped += [lambda v: 1.0 if v in fixed else 0.2]
    pairs = [(a, b) for a in kinds for b in kinds]
    return {
        "size": [len(nodes), graph.number_of_edges(), sum(times.values()),
                 sum(out[v] for v in starts), sum(into[v] for v in ends),
                 sum(times.get((u, v), 0) for u in starts for v in ends)],
        "ops": [op.count(o) for o in kinds],
        "degrees": [sum(d[v] for v in nodes if op[v] == o) for o in kinds for d in (into, out)],
        "depth": [sum(depth[v] for v in nodes if op[v] == o) for o in kinds],
        "pairs": [sum(c for (u, v), c in times.items() if (op[u], op[v]) == p) for p in pairs],
        "joined": [sum((op[u], op[v]) == p for u, v in closed.edges) for p in pairs],
        "length": histograms[0][0],
        "length spread": histograms[0][1],
        "counts": [value for logs, _ in histograms[1:-1] for value in logs],
        "spreads": [value for _, spread in histograms[1:-1] for value in spread],
        "learned": histograms[-1][0],
        "learned spread": histograms[-1][1],
        "only": [float(np.log1p(flow(of_kind(op, o, 1.0, 0.0, fixed), False)))
                 for o in kinds],
        "walk": [pair[k] for walk in (backward, forward) for k in (0, 1) for pair in walk],
        "flow": [float(np.log(flow(passes, averaged) + 1e-4))
                 for averaged in (False, True) for passes in damped],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("space", "count"),
    [(NASBench101(), 40), (NASBench201(), 60), (NASGEM(9), 30), (TopoNAS(5), 12)],
    ids=lambda value: getattr(value, "name", None),
)
def test_statistics_match_a_listing_of_all_paths(
    space: Space, count: int, rng: np.random.Generator
) -> None:
    cells = space.sample_batch(count, rng)
    features = PathStatistics(space)
    rows = features(cells)
    assert rows.shape == (count, sum(features.widths.values()))
    for form, row in zip(space.functional_form(cells), rows, strict=True):
        expected = naive(to_networkx(form), space)
        assert list(expected) == list(features.widths)
        for name, values in expected.items():
            found = row[list(features.columns(name))]
            np.testing.assert_allclose(found, values, atol=1e-7, err_msg=name)


@pytest.mark.parametrize("name", sorted(SPACES))
def test_rows_of_every_space_are_finite(name: str, rng: np.random.Generator) -> None:
    space = SPACES[name]()
    features = PathStatistics(space)
    assert np.isfinite(features(space.sample_batch(50, rng))).all()
    assert features(space.sample_batch(50, rng)[:0]).shape == (0, sum(features.widths.values()))


def test_columns_of_groups() -> None:
    features = PathStatistics(NASBench201())
    assert features.columns("size") == (0, 1, 2, 3, 4, 5)
    assert features.columns("ops", "size") == tuple(range(13))
    everything = features.columns(*features.widths)
    assert everything == tuple(range(sum(features.widths.values())))


def test_rows_ignore_node_order(rng: np.random.Generator) -> None:
    cells = NASBench101().sample_batch(60, rng).pad_to(7)
    other = permuted(cells, rng).pad_to(7)
    assert (cells.adjacency != other.adjacency).any()
    features = PathStatistics(NASBench101())
    np.testing.assert_allclose(features(cells), features(other), atol=1e-12)


def test_cells_of_one_function_have_one_row() -> None:
    space = NASBench201()
    texts = (
        "|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|",
        "|nor_conv_1x1~0|+|none~0|skip_connect~1|+|nor_conv_3x3~0|none~1|none~2|",
        "|skip_connect~0|+|none~0|none~1|+|none~0|nor_conv_3x3~1|none~2|",
        "|none~0|+|none~0|none~1|+|nor_conv_1x1~0|none~1|none~2|",
    )
    rows = PathStatistics(space)(DenseBatch.from_data([space.from_str(text) for text in texts]))
    assert (rows[0] == rows[1]).all()
    assert (rows[0] == rows[2]).all()
    assert (rows[0] != rows[3]).any()


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    cells = NASBench101().sample_batch(50, rng)
    features = PathStatistics(NASBench101())
    whole = features(cells)
    monkeypatch.setattr(paths, "CHUNK_SIZE", 1)
    np.testing.assert_allclose(features(cells), whole, rtol=1e-12, atol=1e-12)
