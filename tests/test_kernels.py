from __future__ import annotations

import random
from collections import Counter
from typing import Any, Literal, get_args

import networkx as nx
import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from gnas.errors import ConfigError, GraphError
from gnas.graphs import (
    DenseBatch,
    EdgeOpsToNodeOps,
    architecture,
    from_networkx,
    to_adjacency,
    to_networkx,
)
from gnas.kernel_options import Direction, Labels
from gnas.kernels import (
    GRAKEL_KERNELS,
    degrees,
    grakel_inputs,
    wl_features,
    wl_kernel,
    wl_labels,
    wl_pairs,
)
from gnas.spaces import NASGEM, SPACES, NASBench101, NASBench201

LABELS: tuple[Labels, ...] = get_args(Labels)
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
MODES = [(labels, direction) for labels in LABELS for direction in DIRECTIONS]
GRAKEL_MODES = [mode for mode in MODES if mode[1] not in ("both", "joint")]


def naive_kernel(graphs: list[Data], n_iter: int, labels: str, direction: str) -> np.ndarray:
    """The definition: a dictionary renames labels, counters are the histograms."""
    if direction == "both":
        out, into = (naive_kernel(graphs, n_iter, labels, way) for way in ("out", "in"))
        both: np.ndarray = out + into
        return both
    names: dict[object, int] = {}

    def histogram(data: Data) -> Counter[tuple[int, int]]:
        adjacency, ops = to_adjacency(data)
        edges = (adjacency > 0).numpy()
        degree = edges.sum(0) + edges.sum(1)
        first = {"degree": degree, "op": ops.numpy(), "op+degree": 1000 * ops.numpy() + degree}
        current = [int(label) for label in first[labels]]
        counts = Counter((0, label) for label in current)
        multisets = {
            "out": [edges],
            "in": [edges.T],
            "joint": [edges, edges.T],
            "undirected": [edges | edges.T],
        }[direction]
        for k in range(1, n_iter + 1):
            around = [
                tuple(
                    tuple(sorted(current[u] for u in np.flatnonzero(neighbours[v])))
                    for neighbours in multisets
                )
                for v in range(len(current))
            ]
            keys = [(k, own, others) for own, others in zip(current, around, strict=True)]
            current = [names.setdefault(key, len(names)) for key in keys]
            counts.update((k, label) for label in current)
        return counts

    found = [histogram(data) for data in graphs]
    return np.array(
        [[sum(n * right[label] for label, n in left.items()) for right in found] for left in found]
    )


@pytest.mark.parametrize(("labels", "direction"), MODES)
@pytest.mark.parametrize("space", ["nasbench101", "nasgem"])
def test_kernel_equals_the_naive_definition(
    space: str, labels: Labels, direction: Direction, rng: np.random.Generator
) -> None:
    graphs = list(SPACES[space]().sample_batch(8, rng))
    for n_iter in range(4):
        values = wl_kernel(graphs, n_iter, labels=labels, direction=direction, normalize=False)
        assert values.tolist() == naive_kernel(graphs, n_iter, labels, direction).tolist()


@pytest.mark.parametrize(("labels", "direction"), GRAKEL_MODES)
@pytest.mark.parametrize("space", sorted(SPACES))
def test_kernel_equals_grakel(
    space: str, labels: Labels, direction: Direction, rng: np.random.Generator
) -> None:
    for n_iter in (0, 1, 2, 5):
        batch = SPACES[space]().sample_batch(12, rng)
        other = SPACES[space]().sample_batch(5, rng)
        for second in (None, other):
            for normalize in (True, False):
                fast, slow = (
                    wl_kernel(
                        batch,
                        n_iter,
                        labels=labels,
                        direction=direction,
                        normalize=normalize,
                        backend=backend,
                        other=second,
                    )
                    for backend in ("fast", "grakel")
                )
                assert fast.shape == slow.shape
                assert float((fast - slow).abs().max()) <= 1e-12


@pytest.mark.parametrize("labels", LABELS)
def test_in_is_out_of_the_reversed_graph(labels: Labels, rng: np.random.Generator) -> None:
    batch = NASBench101().sample_batch(30, rng)
    reverse = [
        from_networkx(to_networkx(graph).reverse(copy=True), batch.num_ops) for graph in batch
    ]
    for n_iter in range(4):
        inward = wl_kernel(batch, n_iter, labels=labels, direction="in")
        torch.testing.assert_close(
            inward, wl_kernel(reverse, n_iter, labels=labels, direction="out")
        )
        for direction in ("both", "joint"):
            values = wl_kernel(batch, n_iter, labels=labels, direction=direction)
            torch.testing.assert_close(
                values, wl_kernel(reverse, n_iter, labels=labels, direction=direction)
            )


def test_both_is_the_sum_of_grakels_kernels_of_a_graph_and_its_reverse(
    rng: np.random.Generator,
) -> None:
    batch = NASBench101().sample_batch(20, rng)
    out, inward = (
        wl_kernel(batch, 2, labels="op", direction=direction, normalize=False, backend="grakel")
        for direction in get_args(Literal["out", "in"])
    )
    both = wl_kernel(batch, 2, labels="op", direction="both", normalize=False)
    assert torch.equal(both, out + inward)
    pairs = np.array([[0, 1], [5, 17]])
    values = wl_pairs(batch, pairs, 2, labels="op", direction="both", normalize=False)
    assert values.tolist() == [both[0, 1], both[5, 17]]
    labels, _ = wl_labels(batch, 2, labels="op", direction="both")
    assert (labels[:3] == wl_labels(batch, 2, labels="op", direction="out")[0]).all()
    assert (labels[3:] == wl_labels(batch, 2, labels="op", direction="in")[0]).all()


def test_the_two_neighbourhoods_are_kept_apart() -> None:
    # The middle nodes of a -> b -> c and a <- b -> c have the same neighbours in all.
    path = architecture([[0, 1, 0], [0, 0, 1], [0, 0, 0]], [0, 1, 0], 2)
    fork = architecture([[0, 1, 1], [0, 0, 0], [0, 0, 0]], [1, 0, 0], 2)
    pair = [path, fork]
    assert wl_kernel(pair, 1, labels="op", direction="undirected")[0, 1] == 1
    # Round 0: 2 x 2 + 1 in common; round 1: the node that only is fed by b, 1 x 2.
    joint = wl_kernel(pair, 1, labels="op", direction="joint", normalize=False)
    assert joint.tolist() == [[5.0 + 3.0, 5.0 + 2.0], [5.0 + 2.0, 5.0 + 5.0]]
    # Out: a -> b, b -> a, a against b -> aa, a, a. In: a, b <- a, a <- b against b, a <- b twice.
    # So 1 x 2 in common in either direction.
    both = wl_kernel(pair, 1, labels="op", direction="both", normalize=False)
    assert both.tolist() == [[10.0 + 6.0, 10.0 + 4.0], [10.0 + 4.0, 10.0 + 10.0]]


def test_large_counts_are_exact_beyond_float32() -> None:
    """Products above 2^24 are whole numbers still."""
    chains = [np.zeros((n, n), dtype=int) for n in (4501, 4500)]
    graphs = [architecture(chain, [0] * len(chain), 1) for chain in chains]
    values = wl_kernel(graphs, 0, normalize=False)
    assert values.tolist() == [[4501.0**2, 4501.0 * 4500], [4501.0 * 4500, 4500.0**2]]


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_many_blocks_of_rows(direction: Direction, rng: np.random.Generator) -> None:
    batch = NASBench101().sample_batch(700, rng)
    features = wl_features(batch, 2, labels="op", direction=direction).toarray()
    options: dict[str, Any] = {"labels": "op", "direction": direction, "normalize": False}
    assert (wl_kernel(batch, 2, **options).numpy() == features @ features.T).all()
    cross = wl_kernel(batch[:300], 2, other=batch[300:], **options).numpy()
    assert (cross == features[:300] @ features[300:].T).all()


def test_features_count_the_labels_of_a_graph(rng: np.random.Generator) -> None:
    batch = NASGEM(30).sample_batch(100, rng)
    rounds, real = wl_labels(batch, 2, direction="in")  # [3, N, n], [N, n]
    features = wl_features(batch, 2, direction="in").toarray()
    counts = [((one == label) & real).sum(1) for one in rounds for label in np.unique(one[real])]
    assert (features == np.array(counts).T).all()  # columns in the order of their labels


def test_hand_computed_values() -> None:
    path = architecture([[0, 1, 0], [0, 0, 1], [0, 0, 0]], [0, 0, 0], 1)
    fork = architecture([[0, 1, 1], [0, 0, 0], [0, 0, 0]], [0, 0, 0], 1)
    # Degrees 1, 2, 1 in both. Round 1, undirected: {1: [2]} twice and {2: [1, 1]} in both.
    undirected = wl_kernel([path, fork], 1, normalize=False)
    assert undirected.tolist() == [[10.0, 10.0], [10.0, 10.0]]
    # Out-neighbours: path 1->[2], 2->[1], 1->[]; fork 2->[1, 1], 1->[] twice.
    directed = wl_kernel([path, fork], 1, direction="out", normalize=False)
    assert directed.tolist() == [[5.0 + 3.0, 5.0 + 2.0], [5.0 + 2.0, 5.0 + 5.0]]
    assert wl_kernel([path, fork], 1, direction="out")[0, 1] == pytest.approx(7 / 80**0.5)


def test_normalised_kernel_is_a_cosine_of_features(rng: np.random.Generator) -> None:
    batch = NASBench101().sample_batch(200, rng)
    features = wl_features(batch, 3, labels="op+degree").toarray()
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    kernel = wl_kernel(batch, 3, labels="op+degree").numpy()
    np.testing.assert_allclose(kernel, unit @ unit.T, atol=1e-12)
    assert (np.diag(kernel) == 1).all()
    assert float(np.linalg.eigvalsh(kernel).min()) > -1e-9


@pytest.mark.parametrize("normalize", [True, False])
def test_pairs_are_entries_of_the_matrix(normalize: bool, rng: np.random.Generator) -> None:
    batch = SPACES["nasgem"]().sample_batch(40, rng)
    pairs = rng.integers(40, size=(5000, 2))  # more than one chunk
    matrix = wl_kernel(batch, direction="out", normalize=normalize).numpy()
    values = wl_pairs(batch, pairs, direction="out", normalize=normalize).numpy()
    np.testing.assert_allclose(values, matrix[pairs[:, 0], pairs[:, 1]], atol=1e-12)


def test_padding_and_container_do_not_matter(rng: np.random.Generator) -> None:
    batch = NASBench101().sample_batch(50, rng)
    expected = wl_kernel(batch)
    assert torch.equal(wl_kernel(list(batch)), expected)
    assert torch.equal(wl_kernel(batch.pad_to(20)), expected)


def test_labels_do_not_depend_on_the_batch(rng: np.random.Generator) -> None:
    batch = SPACES["nasgem"]().sample_batch(20, rng)
    together, _ = wl_labels(batch, 3)
    alone, real = wl_labels(batch[[7]], 3)
    assert (together[:, 7:8] == alone).all()
    assert together.shape == (4, 20, 30)
    assert real.all()


def test_degrees_above_255() -> None:
    """Degrees are counted in bytes where they fit."""
    for n in (3, 256, 300):
        complete = np.triu(np.ones((1, n, n), dtype=np.uint8), 1)
        out_degree, in_degree = degrees(complete)
        assert in_degree[0].tolist() == list(range(n)) == out_degree[0, ::-1].tolist()
        star = np.zeros((n, n), dtype=np.int64)
        star[:-1, -1] = 1
        graph = architecture(star, [0] * n, 1)
        value = wl_kernel(graph, 1, normalize=False)
        # n - 1 leaves alike and one centre, in either round
        assert value.item() == 2 * ((n - 1) ** 2 + 1)


def test_isomorphic_graphs_have_kernel_one(rng: np.random.Generator) -> None:
    adjacency = np.triu(rng.random((12, 12)) < 0.3, 1)
    graph = nx.from_numpy_array(adjacency, create_using=nx.DiGraph)
    order = rng.permutation(12)
    renamed = nx.relabel_nodes(graph, dict(enumerate(order.tolist())))
    rows = list(nx.lexicographical_topological_sort(renamed))
    copy = nx.to_numpy_array(renamed, nodelist=rows)
    pair = [architecture(matrix.astype(int), [0] * 12, 1) for matrix in (adjacency, copy)]
    for direction in DIRECTIONS:
        assert wl_kernel(pair, 5, direction=direction)[0, 1] == 1


@pytest.mark.parametrize("labels", ["op", "op+degree"])
def test_edge_operations_become_nodes(labels: Labels, rng: np.random.Generator) -> None:
    space = NASBench201()
    graphs = list(space.sample_batch(30, rng))
    converted = [EdgeOpsToNodeOps(len(space.edge_ops))(graph) for graph in graphs]
    expected = wl_kernel(converted, 2, labels=labels)
    assert torch.equal(wl_kernel(graphs, 2, labels=labels), expected)


def test_degree_labels_of_edge_op_graphs_see_the_wiring_alone() -> None:
    space = NASBench201()
    cells = [
        space.from_str("|{}~0|+|{}~0|none~1|+|none~0|none~1|{}~2|".format(*ops))
        for ops in (["nor_conv_3x3"] * 3, ["skip_connect", "avg_pool_3x3", "nor_conv_1x1"])
    ]
    assert wl_kernel(cells)[0, 1] == 1
    assert wl_kernel(cells, labels="op")[0, 1] < 1


def test_single_nodes_and_graphs_without_edges() -> None:
    graphs = [architecture(np.zeros((n, n), dtype=int), [0] * n, 2) for n in (1, 2)]
    for backend in ("fast", "grakel"):
        values = wl_kernel(graphs, 2, normalize=False, backend=backend)
        assert values.tolist() == [[3.0, 6.0], [6.0, 12.0]]


@pytest.mark.parametrize("kernel", sorted(set(GRAKEL_KERNELS) - {"wl"}))
def test_other_kernels_of_grakel(kernel: str, rng: np.random.Generator) -> None:
    batch = NASBench101().sample_batch(6, rng)
    values = wl_kernel(batch, 2, labels="op", backend="grakel", kernel=kernel)
    assert values.dtype == torch.float64
    torch.testing.assert_close(values.diagonal(), torch.ones(6, dtype=torch.float64))
    assert torch.allclose(values, values.T)
    assert float(values.min()) < 0.999
    with pytest.raises(ConfigError, match="has no fast backend"):
        wl_kernel(batch, kernel=kernel)


def test_optimal_assignment_by_hand() -> None:
    a = architecture([[0, 1], [0, 0]], [0, 1], 2)
    b = architecture([[0, 1, 0], [0, 0, 1], [0, 0, 0]], [0, 1, 1], 2)
    values = wl_kernel(
        [a, b], 1, labels="op", normalize=False, backend="grakel", kernel="wl_optimal_assignment"
    )
    # Histogram intersection: round 0 {0, 1} in common, round 1 (undirected) 0:[1] alone.
    assert values[0, 1] == 3


def test_bad_options(rng: np.random.Generator) -> None:
    batch = NASBench101().sample_batch(3, rng)
    with pytest.raises(ConfigError, match="n_iter must be at least 0, but got -1"):
        wl_kernel(batch, -1)
    with pytest.raises(ConfigError, match="labels must be one of"):
        wl_features(batch, labels="colour")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="direction must be one of"):
        wl_labels(batch, direction="up")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="direction must be 'out', 'in' or 'undirected'"):
        wl_kernel(batch, direction="both", backend="grakel")
    with pytest.raises(ConfigError, match="but got 'joint'"):
        grakel_inputs(batch, direction="joint")
    with pytest.raises(ConfigError, match="backend must be"):
        wl_kernel(batch, backend="gpu")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="unknown kernel 'wlx'; choose from"):
        wl_kernel(batch, kernel="wlx")
    with pytest.raises(ConfigError, match="n_iter must be at least 1"):
        wl_kernel(batch, 0, backend="grakel", kernel="wl_optimal_assignment")
    with pytest.raises(GraphError, match=r"pairs must have shape \[P, 2\]"):
        wl_pairs(batch, np.arange(3))
    with pytest.raises(GraphError, match=r"rows in \[0, 3\)"):
        wl_pairs(batch, np.array([[0, 3]]))
    with pytest.raises(GraphError, match="batches must agree"):
        wl_kernel(batch, other=NASBench201().sample_batch(3, rng))
    with pytest.raises(GraphError, match="at least one graph"):
        wl_kernel([])


def test_many_pairs_of_no_graphs() -> None:
    one = DenseBatch.from_data([architecture([[0]], [0], 1)])
    assert wl_pairs(one, np.zeros((0, 2), dtype=np.int64)).shape == (0,)


def test_grakel_leaves_the_generator_of_python_as_it_is() -> None:
    cells = NASBench101().sample_batch(3, np.random.default_rng(0))
    random.seed(5)
    before = random.getstate()
    wl_kernel(cells, backend="grakel")
    assert random.getstate() == before


def test_tensors_of_pairs_and_no_graphs() -> None:
    cells = NASBench101().sample_batch(3, np.random.default_rng(0))
    pairs = torch.tensor([[0, 1], [2, 2]])
    assert wl_pairs(cells, pairs)[1] == 1
    with pytest.raises(GraphError, match="pairs must be row numbers"):
        wl_pairs(cells, pairs.float().requires_grad_())
    assert wl_kernel(cells[:0]).shape == (0, 0)
