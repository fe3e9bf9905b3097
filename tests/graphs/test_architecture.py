from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from gnas.errors import GraphError
from gnas.graphs import (
    DenseBatch,
    EdgeOpsToNodeOps,
    architecture,
    as_batch,
    distinct,
    edge_ops_to_node_ops,
    from_networkx,
    functional_form,
    graph_hash,
    graph_keys,
    input_nodes,
    live_nodes,
    op_indices,
    prune,
    prune_batch,
    to_adjacency,
    to_networkx,
    validate,
    validate_batch,
)
from gnas.kernels import wl_kernel
from gnas.spaces import NASGEM, SPACES, NASBench101


def chain() -> Data:
    """Input -> conv -> output."""
    return architecture([[0, 1, 0], [0, 0, 1], [0, 0, 0]], [0, 1, 4], 5)


def test_architecture_follows_the_conventions() -> None:
    data = architecture([[0, 1, 1], [0, 0, 1], [0, 0, 0]], [0, 3, 4], 5)
    assert data.edge_index.tolist() == [[0, 0, 1], [1, 2, 2]]
    assert data.x.shape == (3, 5) and data.x.dtype == torch.float32
    assert op_indices(data).tolist() == [0, 3, 4]
    validate(data, num_ops=5)


def test_edge_ops_are_read_from_the_matrix() -> None:
    data = architecture([[0, 2, 1], [0, 0, 4], [0, 0, 0]], [0, 1, 2], 3, edge_ops=True)
    assert data.edge_op.tolist() == [1, 0, 3]
    adjacency, ops = to_adjacency(data)
    assert adjacency.tolist() == [[0, 2, 1], [0, 0, 4], [0, 0, 0]]
    assert ops.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("adjacency", "ops", "message"),
    [
        ([[0, 1], [0, 0]], [0, 1, 4], r"must be \[n, n\] for n = 3 ops"),
        ([[0, 1], [0, 0]], [0, 5], r"ops must be in \[0, 5\)"),
        ([[0, 1], [0, 0]], [0, -1], r"ops must be in \[0, 5\)"),
        ([[0, 2], [0, 0]], [0, 4], "adjacency must hold 0 and 1"),
        ([[0, 0], [1, 0]], [0, 4], "upper triangular"),
        ([[1, 1], [0, 0]], [0, 4], "upper triangular"),
        ([], [], "but got"),
    ],
)
def test_architecture_refuses(adjacency: list[list[int]], ops: list[int], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        architecture(adjacency, ops, 5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.ones(3, 5)}, "one-hot"),
        ({"x": torch.full((3, 5), torch.nan)}, "one-hot"),
        ({"x": None}, "one-hot"),
        ({"edge_index": torch.tensor([[0, 1, 2], [1, 2, 0]])}, "topological order, no cycle"),
        ({"edge_index": torch.tensor([[0, 1], [1, 3]])}, r"in \[0, 3\)"),
        ({"edge_index": torch.tensor([[0, 0], [1, 1]])}, "no edge may occur twice"),
        ({"edge_index": torch.zeros(2, 1)}, "int64 of shape"),
        ({"edge_index": None}, "int64 of shape"),
        ({"edge_op": torch.zeros(5, dtype=torch.int64)}, "edge_op must be int64 of shape"),
        ({"edge_op": torch.tensor([0, -1])}, r"edge_op must be in \[0, 254\]"),
    ],
)
def test_validate_names_the_broken_rule(change: dict[str, object], message: str) -> None:
    data = chain()
    for name, value in change.items():
        data[name] = value
    with pytest.raises(GraphError, match=message):
        validate(data)


def test_validate_checks_the_vocabulary() -> None:
    with pytest.raises(GraphError, match="must have 3 columns, but got 5"):
        validate(chain(), num_ops=3)


@pytest.mark.parametrize("name", sorted(SPACES))
def test_dense_batch_round_trip_is_lossless(name: str, rng: np.random.Generator) -> None:
    graphs = list(SPACES[name]().sample_batch(30, rng))
    back = list(DenseBatch.from_data(graphs))
    for before, after in zip(graphs, back, strict=True):
        assert sorted(before.keys()) == sorted(after.keys())
        assert all(torch.equal(before[key], after[key]) for key in before.keys())


def test_networkx_round_trip_sorts_nodes(rng: np.random.Generator) -> None:
    for data in NASBench101().sample_batch(20, rng):
        graph = to_networkx(data)
        assert torch.equal(from_networkx(graph, 5).edge_index, data.edge_index)
        shuffled = nx.DiGraph()
        for node in rng.permutation(len(graph)).tolist():
            shuffled.add_node(node, **graph.nodes[node])
        shuffled.add_edges_from(graph.edges(data=True))
        again = from_networkx(shuffled, 5)
        validate(again)
        assert nx.is_isomorphic(
            to_networkx(again), graph, node_match=lambda a, b: a["op"] == b["op"]
        )


def test_networkx_cycles_and_missing_ops_are_refused() -> None:
    cycle = nx.DiGraph([(0, 1), (1, 0)])
    with pytest.raises(GraphError, match="acyclic"):
        from_networkx(cycle, 3)
    with pytest.raises(GraphError, match="attribute 'op'"):
        from_networkx(nx.DiGraph([(0, 1)]), 3)


def naive_live(data: Data, *, to_output: bool) -> list[int]:
    graph = to_networkx(data)
    live = {0, *nx.descendants(graph, 0)}
    if to_output:
        last = len(graph) - 1
        live = {v for v in live if v == last or last in nx.descendants(graph, v)}
    return sorted(live)


@pytest.mark.parametrize("to_output", [True, False])
def test_prune_keeps_exactly_the_live_nodes(to_output: bool, rng: np.random.Generator) -> None:
    batch = NASGEM(12, densities=(0.05, 0.4)).sample_batch(200, rng)
    pruned = prune_batch(batch, to_output=to_output)
    validate_batch(pruned)
    for before, after in zip(batch, pruned, strict=True):
        live = naive_live(before, to_output=to_output)
        kept = sorted({0, *live, len(before.x) - 1}) if to_output else live
        expected = to_networkx(before).subgraph(live)
        assert len(after.x) == len(kept)
        relabeled = nx.relabel_nodes(expected, {v: i for i, v in enumerate(kept)})
        assert set(relabeled.edges) == {tuple(edge) for edge in after.edge_index.t().tolist()}
        assert [int(op_indices(before)[v]) for v in kept] == op_indices(after).tolist()


def test_prune_leaves_the_callers_graph_alone() -> None:
    data = architecture([[0, 0, 1], [0, 0, 1], [0, 0, 0]], [0, 1, 4], 5)
    pruned = prune(data)
    assert len(pruned.x) == 2 and len(data.x) == 3


def test_batches_that_do_not_fit_together_are_refused() -> None:
    other = architecture([[0, 1], [0, 0]], [0, 1], 2)
    with pytest.raises(GraphError, match="must agree"):
        DenseBatch.from_data([chain(), other])
    with pytest.raises(GraphError, match="at least one"):
        DenseBatch.from_data([])
    order, range_ = "from a lower to a higher node .* but", r"join nodes in \[0, 3\), but"
    for edges, rule in (
        ([[1], [0]], order),
        ([[0], [0]], order),
        ([[1], [3]], range_),
        ([[-1], [0]], range_),
    ):
        wrong = Data(x=chain().x, edge_index=torch.tensor(edges))
        with pytest.raises(GraphError, match=f"{rule} graph 1 of 2"):
            DenseBatch.from_data([chain(), wrong])
    with pytest.raises(GraphError, match="at most 2 nodes, but one has 3"):
        as_batch(chain()).pad_to(2)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("ops", torch.tensor([[0, 9, 4]], dtype=torch.int8), r"ops must be in \[0, 5\)"),
        ("num_nodes", torch.tensor([2]), "padding must have op -1"),
        ("num_nodes", torch.tensor([0]), "num_nodes must be in"),
        ("adjacency", torch.ones(1, 3, 3, dtype=torch.uint8), "lower to a higher node"),
        ("adjacency", torch.full((1, 3, 3), 2, dtype=torch.uint8).triu(1), "0 and 1 only"),
        ("adjacency", torch.zeros(1, 2, 2, dtype=torch.uint8), r"\[1, 2, 2\] uint8, \[1, 3\]"),
        ("adjacency", torch.zeros(1, 3, 3, dtype=torch.int64), "adjacency must be uint8"),
        ("adjacency", torch.zeros(1, 3, 3, dtype=torch.bool), "adjacency must be uint8"),
        ("ops", torch.tensor([[0, 1, 4]]), "ops must be int8"),
        ("num_nodes", 3, r"num_nodes must be int64 \[N\]"),
    ],
)
def test_validate_batch_names_the_row(field: str, value: torch.Tensor, message: str) -> None:
    good = as_batch(chain())
    parts = {"adjacency": good.adjacency, "ops": good.ops, "num_nodes": good.num_nodes}
    parts[field] = value
    validate_batch(good)
    with pytest.raises(GraphError, match=message):
        validate_batch(DenseBatch(parts["adjacency"], parts["ops"], parts["num_nodes"], 5))
    with pytest.raises(GraphError, match=message):  # nor does anything else take it
        graph_hash(DenseBatch(parts["adjacency"], parts["ops"], parts["num_nodes"], 5))


def test_one_row_is_an_architecture(rng: np.random.Generator) -> None:
    batch = NASBench101().sample_batch(4, rng)
    numbers: list[Any] = [2, -2, np.int64(2), torch.tensor(2)]
    for i in numbers:
        assert [graph_hash(batch[i])] == graph_hash(batch)[2:3]
    assert len(batch[[]]) == len(batch[:0]) == 0
    bad: list[Any] = ["a", None, [0.5], [99]]
    for wrong in bad:
        with pytest.raises(IndexError):
            batch[wrong]


BROKEN: dict[str, list[Any]] = {
    "x": [
        None, torch.zeros(3, 5), torch.eye(5)[:3] * 0.999, torch.eye(5)[:3].to_sparse(),
        torch.eye(5)[:3].to(torch.complex64), torch.eye(5)[:3].to(torch.float8_e4m3fn),
        torch.eye(5)[:3].to("meta"),
    ],
    "edge_index": [
        None, torch.tensor([[1], [0]]), torch.tensor([[1], [1]]), torch.tensor([[0], [7]]),
        torch.tensor([[0, 0], [1, 1]]), torch.tensor([[0], [-1]]), torch.tensor([[0], [1]]).int(),
        torch.tensor([[0, 1]]), [[0], [1]], torch.tensor([[0], [1]]).to("meta"),
        torch.tensor([[0], [1]]).to_sparse(),
    ],
    "edge_op": [
        torch.tensor([1]), torch.tensor([0.0, 0.0]), torch.tensor([255, 0]), "ab",
        torch.tensor([0, 0]).to("meta"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "place"), [(n, i) for n in BROKEN for i in range(len(BROKEN[n]))]
)
def test_nothing_is_read_from_a_broken_graph(name: str, place: int) -> None:
    graph = chain()
    graph[name] = BROKEN[name][place]
    space = NASBench101()
    if not (name == "edge_index" and place in (1, 2)):  # which `from_networkx` sorts or refuses
        with pytest.raises(GraphError):
            to_networkx(graph)
    for function in (
        to_adjacency, validate, prune, graph_hash, space.to_str, space.neighbours,
    ):  # fmt: skip
        with pytest.raises(GraphError) as caught:
            function(graph)
        assert "\n" not in str(caught.value)


def test_networkx_sorts_the_nodes_of_a_graph() -> None:
    sound = chain()
    swapped = Data(x=sound.x[[0, 2, 1]], edge_index=torch.tensor([[0, 2], [2, 1]]))
    assert graph_hash(from_networkx(to_networkx(swapped), 5)) == graph_hash(sound)


def test_functions_of_a_batch_take_lists() -> None:
    cells = [chain(), chain()]
    assert distinct(cells).tolist() == [0] and len(graph_keys(cells)) == 2
    functions: list[Any] = [prune_batch, functional_form, NASBench101().functional_form]
    for function in functions:
        found = function(cells)
        assert found.num_nodes.tolist() == [3, 3]
    assert live_nodes(cells).all() and input_nodes(cells)[:, 0].all()
    any_batch: Any = NASBench101().mutate_batch
    mutated = any_batch(cells, np.random.default_rng(0))
    assert len(mutated) == 2


def test_edge_operations_beyond_eight_bits_are_refused() -> None:
    for code in (123, 124, 125, 254):
        graph = architecture([[0, code + 1], [0, 0]], [0, 2], 3, edge_ops=True)
        if code + 3 <= 127:
            assert EdgeOpsToNodeOps(255)(graph).x.argmax(1).tolist() == [0, code + 3, 2]
            continue
        with pytest.raises(GraphError, match="at most 128 operations together"):
            edge_ops_to_node_ops([graph], 255)
        with pytest.raises(GraphError, match="at most 128 operations together"):
            wl_kernel([graph], labels="op")


def test_rows_can_be_chosen_by_slice_list_and_mask(rng: np.random.Generator) -> None:
    batch = NASBench101().sample_batch(10, rng)
    mask = torch.arange(10) % 2 == 0
    for chosen in (batch[0:10:2], batch[[0, 2, 4, 6, 8]], batch[mask]):
        assert torch.equal(chosen.adjacency, batch.adjacency[::2])
        assert len(chosen) == 5


def test_reordered_moves_nodes_with_their_edges() -> None:
    data = architecture([[0, 1, 2], [0, 0, 0], [0, 0, 0]], [0, 1, 2], 3, edge_ops=True)
    batch = as_batch(data).pad_to(4)
    moved = batch.reordered(torch.tensor([[0, 2, 1, 3]]))
    validate_batch(moved)
    assert moved.ops.tolist() == [[0, 2, 1, -1]]
    assert moved.adjacency[0, 0].tolist() == [0, 2, 1, 0]
    back = moved.reordered(torch.tensor([[0, 2, 1, 3]]))
    assert torch.equal(back.adjacency, batch.adjacency) and torch.equal(back.ops, batch.ops)
