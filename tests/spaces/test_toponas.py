from __future__ import annotations

from itertools import combinations, permutations
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
from torch_geometric.data import Batch, Data

from gnas.errors import GraphError
from gnas.graphs import (
    DenseBatch,
    EdgeOpsToNodeOps,
    NodeOpsToEdgeOps,
    from_networkx,
    graph_hash,
    graph_keys,
    live_nodes,
    to_networkx,
    validate_batch,
)
from gnas.kernels import wl_kernel
from gnas.spaces import Genotype, TopoNAS
from gnas.spaces.toponas import CELL_TYPES, PRIMITIVES, candidate_edges
from gnas.spaces.toponas.cells import cells_graph, edge_codes, with_cell
from gnas.topology import is_valid

VARIANTS: list[dict[str, Any]] = [
    {},
    {"topology": "fixed", "k": 1},
    {"topology": "fixed", "k": 2},
    {"topology": "fixed", "k": 3},
    {"mode": "input"},
    {"topology": "fixed", "k": 2, "mode": "input"},
    {"num_nodes": 11},
]


@pytest.fixture(params=VARIANTS, ids=str)
def space(request: pytest.FixtureRequest) -> TopoNAS:
    return TopoNAS(**request.param)


def test_names_that_other_modules_use() -> None:
    assert len(PRIMITIVES) == 7 and "none" not in PRIMITIVES and CELL_TYPES == ("normal", "reduce")
    assert len(candidate_edges(7)) == 14


def test_samples_and_mutations_stay_inside(space: TopoNAS, rng: np.random.Generator) -> None:
    graph = space.sample(rng)
    for _ in range(60):
        before = edge_codes(graph)
        graph = space.mutate(graph, rng)
        space.validate(graph)
        after = edge_codes(graph)
        cells, edges = (before != after).nonzero().unbind(1)
        assert len(cells) and (cells == cells[0]).all()
        if not torch.equal(before > 0, after > 0):  # one node's code
            side = 0 if space.codes.mode == "output" else 1
            assert len({space.codes.edges[edge][side] for edge in edges.tolist()}) == 1
            kept = (before > 0) & (after > 0)
            assert torch.equal(before[kept], after[kept])
        else:
            assert len(edges) == 1


def test_both_kinds_of_mutation_occur(rng: np.random.Generator) -> None:
    space = TopoNAS()
    graph = space.sample(rng)
    rewired = [
        not torch.equal(edge_codes(space.mutate(graph, rng)) > 0, edge_codes(graph) > 0)
        for _ in range(200)
    ]
    assert 70 < sum(rewired) < 130


def test_where_no_wiring_can_change_operations_do(rng: np.random.Generator) -> None:
    space = TopoNAS(4)  # one intermediate node, which reads both inputs
    graph = space.sample(rng)
    changed = [space.mutate(graph, rng) for _ in range(20)]
    assert all((edge_codes(other) > 0).all() for other in changed)
    assert all(graph_hash(other) != graph_hash(graph) for other in changed)


def test_sampled_operations_are_uniform(rng: np.random.Generator) -> None:
    codes = torch.stack([edge_codes(graph) for graph in TopoNAS().sample_batch(2000, rng)])
    counts = torch.bincount(codes[codes > 0] - 1).double()
    expected = counts.sum() / 7
    assert float(((counts - expected) ** 2 / expected).sum()) < 30  # 6 degrees of freedom


def test_sampled_wiring_is_valid_and_covers_the_space(rng: np.random.Generator) -> None:
    space = TopoNAS(topology="fixed", k=2)
    masks = torch.stack([edge_codes(g) > 0 for g in space.sample_batch(1500, rng)])
    assert is_valid(masks, 7).all() and (masks.sum(2) == 8).all()
    for cell in range(2):
        assert len(torch.unique(masks[:, cell], dim=0)) == space.num_topologies == 138


@pytest.mark.parametrize(
    ("options", "valid", "joint"),
    [({}, 3224, 4725), ({"topology": "fixed"}, 138, 216), ({"mode": "input"}, 9765, 9765)],
)
def test_topologies_are_enumerated_as_graphs(
    options: dict[str, Any], valid: int, joint: int
) -> None:
    space = TopoNAS(**options)
    batches = list(space.topologies(chunk=1000))
    assert len(batches) == -(-joint // 1000)
    batch = DenseBatch.concat(batches)
    validate_batch(batch)
    assert len(batch) == space.num_topologies == valid
    assert sum(map(len, space.topologies(valid_only=False))) == joint
    assert (batch.adjacency[:, :, 2:-1].any(1)).all()  # every intermediate node has an input


def test_enumeration_is_lazy() -> None:
    first = next(iter(TopoNAS(11).topologies(chunk=100)))  # of 3e12 topologies
    assert 0 < len(first) <= 100 and first.max_nodes == 11


def permuted_forms(adjacency: np.ndarray) -> bytes:
    """The smallest matrix among all numberings of the intermediate nodes: an exact class."""
    n = len(adjacency)
    orders = np.array([[0, 1, *order, n - 1] for order in permutations(range(2, n - 1))])
    matrices = adjacency[orders[:, :, None], orders[:, None, :]]  # [orders, n, n]
    forms: list[bytes] = [m.tobytes() for m in matrices[~np.tril(matrices).any((1, 2))]]
    return min(forms)


@pytest.mark.parametrize("options", VARIANTS[:6], ids=str)
def test_isomorphism_classes_equal_all_renumberings(options: dict[str, Any]) -> None:
    space = TopoNAS(**options)
    classes = {permuted_forms(a) for batch in space.topologies() for a in batch.adjacency.numpy()}
    assert space.count_isomorphism_classes() == len(classes)


@pytest.mark.parametrize("options", [{"topology": "fixed"}, {"num_nodes": 6}], ids=str)
def test_isomorphism_classes_equal_networkx(options: dict[str, Any]) -> None:
    space = TopoNAS(**options)
    graphs = [graph for batch in space.topologies() for graph in batch]
    keys = graph_keys(DenseBatch.from_data(graphs))
    as_networkx = [to_networkx(graph) for graph in graphs]
    for (i, first), (j, second) in combinations(enumerate(as_networkx), 2):
        same = nx.is_isomorphic(first, second, node_match=lambda a, b: a == b)
        assert same == (keys[i] == keys[j])
    assert len(set(keys.tolist())) == space.count_isomorphism_classes()


def renumbered(graph: Data, rng: np.random.Generator) -> Data:
    shuffled = nx.DiGraph()
    source = to_networkx(graph)
    order = rng.permutation(len(graph.x)).tolist()
    shuffled.add_nodes_from((v, source.nodes[v]) for v in order)
    shuffled.add_edges_from(source.edges(data=True))
    return from_networkx(shuffled, graph.x.size(1), edge_ops=True)


def test_hash_ignores_numbering_and_tells_cells_apart(rng: np.random.Generator) -> None:
    for graph in TopoNAS().sample_batch(20, rng):
        other = renumbered(graph, rng)
        assert graph_hash(other) == graph_hash(graph)
        keys = graph_keys(DenseBatch.from_data([other, graph]))
        assert keys[0] == keys[1]
        swapped = cells_graph(edge_codes(graph).flip(0))
        assert graph_hash(swapped) != graph_hash(graph)


def test_hash_tells_inputs_apart() -> None:
    text = "Genotype(normal=[[('skip_connect', {})]], normal_concat=[2], "
    text += "reduce=[[('skip_connect', 0)]], reduce_concat=[2])"
    hashes = {graph_hash(Genotype.parse(text.format(i)).to_graph()) for i in (0, 1)}
    assert len(hashes) == 2


def test_operations_become_nodes_and_back(space: TopoNAS, rng: np.random.Generator) -> None:
    there = EdgeOpsToNodeOps(len(space.edge_ops))
    back = NodeOpsToEdgeOps(len(space.edge_ops))
    for graph in space.sample_batch(5, rng):
        nodes = there(graph)
        assert len(nodes.x) == len(graph.x) + graph.edge_index.size(1)
        again = back(nodes)
        assert torch.equal(again.edge_index, graph.edge_index)
        assert torch.equal(again.edge_op, graph.edge_op) and torch.equal(again.x, graph.x)
        space.validate(again)
        assert graph_hash(there(renumbered(graph, rng))) == graph_hash(nodes)


def test_cell_survives_pyg_batches_and_kernels(rng: np.random.Generator) -> None:
    space = TopoNAS()
    graphs = [space.sample(rng) for _ in range(4)]
    assert all(graph.cell.tolist() == [0] * 7 + [1] * 7 for graph in graphs)
    assert Batch.from_data_list(graphs).cell.shape == (56,)
    assert torch.equal(Batch.from_data_list(graphs)[2].edge_op, graphs[2].edge_op)
    row = DenseBatch.from_data(graphs).data(1)
    assert "cell" not in row and torch.equal(with_cell(row).cell, graphs[1].cell)
    nodes = [EdgeOpsToNodeOps(len(space.edge_ops))(graph) for graph in graphs]
    kernel = wl_kernel(nodes, labels="op")
    assert kernel.shape == (4, 4) and float(kernel.min()) < 1


def test_all_nodes_are_live_between_inputs_and_outputs(rng: np.random.Generator) -> None:
    space = TopoNAS()
    batch = space.sample_batch(20, rng)
    assert live_nodes(
        batch, inputs=space.vocabulary.inputs, outputs=space.vocabulary.outputs
    ).all()
    assert [space.ops[role] for role in space.vocabulary.outputs] == [
        "normal_output",
        "reduce_output",
    ]
    assert len(space.vocabulary.inputs) == 4
    assert not live_nodes(batch)[:, 7:].any()  # the reduction cell, seen from the first node
    assert space.vocabulary.max_edges == 36 >= int(batch.adjacency.bool().sum((1, 2)).max())


def broken(**changes: Any) -> Data:
    graph = Genotype.parse(
        "Genotype(normal=[('skip_connect', 0), ('max_pool_3x3', 1), ('skip_connect', 1), "
        "('skip_connect', 2)], normal_concat=[2, 3], reduce=[('skip_connect', 0), "
        "('max_pool_3x3', 1), ('skip_connect', 1), ('skip_connect', 2)], reduce_concat=[2, 3])"
    ).to_graph()
    for name, value in changes.items():
        setattr(graph, name, value(getattr(graph, name)))
    return graph


def without(graph: Data, source: int, target: int) -> Data:
    keep = ~((graph.edge_index[0] == source) & (graph.edge_index[1] == target))
    graph.edge_index, graph.edge_op = graph.edge_index[:, keep], graph.edge_op[keep]
    return graph


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (broken(cell=lambda c: 1 - c), "cell must be 0 on the normal nodes, else 1"),
        (broken(x=lambda x: x[:, torch.arange(8).roll(4)]), "nodes must be a normal cell"),
        (broken(edge_op=lambda op: op.clamp(max=6)), "'concat' must be on the edges into an outp"),
        (broken(edge_op=lambda op: torch.full_like(op, 7)), "'concat' must be on the edges into"),
        (broken(edge_op=lambda op: op + 8), r"edge_op must be in \[0, 8\), got 15"),
        (without(without(broken(), 1, 3), 2, 3), "intermediate node must have an input, but in"),
        (without(without(broken(), 6, 8), 7, 8), "an input, but in the reduce cell"),
        (without(without(broken(), 2, 4), 3, 4), "the normal cell must join at least one node"),
        (without(broken(), 2, 4), r"must join nodes \(2, 3\), but joins \(3,\)"),
        (without(broken(), 2, 3), "output edges of node 2 must be one of its 1 codes"),
        (without(broken(), 7, 8), "but the reduce cell has"),
    ],
)
def test_graphs_that_break_a_rule_are_refused(graph: Data, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        TopoNAS(5).validate(graph)


def test_edges_between_cells_are_refused() -> None:
    graph = broken()
    index = (graph.edge_index == torch.tensor([[7], [9]])).all(0).nonzero()[0, 0]
    graph.edge_index[0, index] = 2
    with pytest.raises(GraphError, match="later intermediate one or to the output of its own"):
        TopoNAS(5).validate(graph)


def test_other_sizes_and_wirings_are_refused(rng: np.random.Generator) -> None:
    graph = TopoNAS(8).sample(rng)
    with pytest.raises(GraphError, match="must have 7 nodes, but got 8"):
        TopoNAS().validate(graph)
    three = TopoNAS(topology="fixed", k=3).sample(rng)
    with pytest.raises(GraphError, match="must be one of its 6 codes in 'fixed' topologies"):
        TopoNAS(topology="fixed").validate(three)
    TopoNAS().validate(three)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (torch.zeros(14), r"must have shape \[2, E\]"),
        (torch.zeros(2, 13), "must be one per candidate edge"),
        (torch.full((2, 14), 8), r"must be in \[0, 7\]"),
        (torch.zeros(2, 14), "every intermediate node must have an input"),
    ],
)
def test_edge_codes_that_are_no_cell_are_refused(codes: torch.Tensor, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        cells_graph(codes)
