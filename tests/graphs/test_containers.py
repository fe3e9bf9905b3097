"""Whatever holds architectures, functions take it for its architectures; bad ones are named."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
from torch_geometric.data import Batch, Data, HeteroData, InMemoryDataset
from torch_geometric.loader import DataLoader

from gnas.encoders import load_encoder
from gnas.errors import GraphError
from gnas.graphs import (
    DenseBatch,
    EdgeOpsToNodeOps,
    FunctionalForm,
    Graphs,
    architecture,
    as_batch,
    from_networkx,
    graph_hash,
    op_indices,
    prune,
    to_networkx,
    validate,
)
from gnas.kernels import wl_features, wl_kernel, wl_labels, wl_pairs
from gnas.predictors import (
    Embedding,
    Features,
    FeatureUnion,
    Forest,
    OneHot,
    OneHotOps,
    PathStatistics,
    RandomWalkStatistics,
    WLLabels,
    ZeroCost,
)
from gnas.proxies import ProxyConfig, compute_proxies
from gnas.spaces import SPACES, NASBench101
from gnas.spaces.base import Space

CELLS = NASBench101()
NO_EDGES = torch.empty(2, 0, dtype=torch.int64)


class InMemory(InMemoryDataset):  # type: ignore[misc]
    """Architectures as a PyG data set of a stranger would hold them."""

    def __init__(self, graphs: Sequence[Data], transform: Callable[[Data], Data] | None = None):
        super().__init__(None, transform)
        self._data, self.slices = self.collate(list(graphs))


def containers(graphs: list[Data]) -> dict[str, Graphs]:
    """The same architectures in everything that holds architectures."""
    half = len(graphs) // 2
    return {
        "list": graphs,
        "tuple": tuple(graphs),
        "Batch": Batch.from_data_list(graphs),
        "list of Batches": [Batch.from_data_list(part) for part in (graphs[:half], graphs[half:])],
        "loader": list(DataLoader(graphs, batch_size=3)),
        "data set": InMemory(graphs),
        "data set with a transform": InMemory(graphs, lambda graph: graph),
        "part of a data set": InMemory([*graphs, *graphs])[len(graphs) :],
        "DenseBatch": DenseBatch.from_data(graphs),
    }


def same(left: DenseBatch, right: DenseBatch) -> bool:
    return (
        torch.equal(left.adjacency, right.adjacency)
        and torch.equal(left.ops, right.ops)
        and torch.equal(left.num_nodes, right.num_nodes)
        and (left.num_ops, left.has_edge_ops) == (right.num_ops, right.has_edge_ops)
    )


@pytest.mark.parametrize("name", sorted(SPACES))
def test_every_container_gives_the_same_dense_batch(name: str, rng: np.random.Generator) -> None:
    space = SPACES[name]()
    drawn = space.sample_batch(11, rng)
    graphs = [drawn.data(i) for i in range(len(drawn))]
    expected = drawn.pad_to(int(drawn.num_nodes.max()))
    for what, container in containers(graphs).items():
        assert same(as_batch(container).pad_to(expected.max_nodes), expected), what


@pytest.mark.parametrize("name", sorted(SPACES))
def test_the_way_back_is_that_of_single_graphs(name: str, rng: np.random.Generator) -> None:
    drawn = SPACES[name]().sample_batch(9, rng)
    listed = drawn.to_data_list()
    assert len(listed) == 9
    for i, (one, iterated) in enumerate(zip(listed, drawn, strict=True)):
        single = drawn.data(i)
        assert sorted(one.keys()) == sorted(single.keys()) == sorted(iterated.keys())
        for key in single.keys():
            assert torch.equal(one[key], single[key]) and torch.equal(iterated[key], single[key])
            assert one[key].dtype == single[key].dtype and one[key].is_contiguous()
            # a slice would keep (and save) the memory of all
            assert one[key].untyped_storage().nbytes() == one[key].nbytes
    assert DenseBatch.from_data(listed[:1]).to_data_list()[0].edge_index.shape[0] == 2
    assert drawn[:0].to_data_list() == []


def test_edges_of_a_batch_may_come_in_any_order(rng: np.random.Generator) -> None:
    graphs = CELLS.sample_batch(6, rng).to_data_list()
    batch = Batch.from_data_list(graphs)
    batch.edge_index = batch.edge_index[:, torch.randperm(batch.edge_index.size(1))]
    assert same(as_batch(batch), as_batch(graphs))


def consumers() -> dict[str, Callable[[Graphs], Any]]:
    """Public functions of many architectures."""
    pairs = np.array([[0, 1], [2, 2]])
    encoders = {name: load_encoder(name) for name in ("nasgem-nasbench101", "dag-nasbench101")}
    features: list[Features] = [
        OneHot(7, 5),
        OneHotOps(7, 5),
        PathStatistics(CELLS),
        RandomWalkStatistics(5),
        WLLabels(CELLS),
        ZeroCost(CELLS, ProxyConfig(proxies=("params",))),
        Embedding(encoders["nasgem-nasbench101"]),
    ]
    features.append(FeatureUnion(tuple(features[:2])))
    fitted = Forest(OneHot(7, 5), num_trees=5).fit(
        CELLS.sample_batch(20, np.random.default_rng(0)), np.arange(20.0)
    )
    found: dict[str, Callable[[Graphs], Any]] = {
        "wl_kernel": wl_kernel,
        "wl_kernel, other": lambda graphs: wl_kernel(CELLS.enumerate()[:3], other=graphs),
        "wl_pairs": lambda graphs: wl_pairs(graphs, pairs),
        "wl_features": lambda graphs: wl_features(graphs).toarray(),
        "wl_labels": lambda graphs: wl_labels(graphs)[0],
        "graph_hash": graph_hash,
        "measure": lambda graphs: compute_proxies(
            CELLS, graphs, ProxyConfig(proxies=("params", "macs"))
        ),
        "predict": fitted.predict,
        "fit": lambda graphs: (
            Forest(OneHot(7, 5), num_trees=5).fit(graphs, np.arange(6.0)).predict(graphs)
        ),
    }
    for name, encoder in encoders.items():
        found[f"encode of {name}"] = encoder.encode
    for feature in features:
        found[f"features {feature.name}"] = feature  # type: ignore[assignment]
    return found


@pytest.mark.parametrize("what", sorted(consumers()))
def test_every_function_takes_every_container(what: str) -> None:
    call = consumers()[what]
    graphs = CELLS.sample_batch(6, np.random.default_rng(1)).to_data_list()
    expected = np.asarray(call(as_batch(graphs)))
    for container, value in containers(graphs).items():
        found = np.asarray(call(value))
        assert found.shape == expected.shape and (found == expected).all(), container


def test_one_graph_has_one_hash_and_several_have_a_list() -> None:
    graphs = CELLS.sample_batch(4, np.random.default_rng(0)).to_data_list()
    each = [graph_hash(graph) for graph in graphs]
    assert all(isinstance(one, str) for one in each)
    assert graph_hash(Batch.from_data_list(graphs)) == graph_hash(graphs) == each
    assert graph_hash(graphs[:1]) == each[:1]


@pytest.mark.parametrize(
    "call",
    [
        op_indices,
        validate,
        prune,
        to_networkx,
        FunctionalForm(),
        EdgeOpsToNodeOps(2),
        CELLS.validate,
        CELLS.to_str,
        lambda batch: CELLS.mutate(batch, np.random.default_rng(0)),
        CELLS.neighbours,
    ],
)
def test_functions_of_one_graph_refuse_a_batch(call: Callable[[Data], object]) -> None:
    batch = Batch.from_data_list(CELLS.sample_batch(3, np.random.default_rng(0)).to_data_list())
    with pytest.raises(GraphError, match="takes one architecture, but got a Batch of 3"):
        call(batch)


def one_hot(n: int = 3) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.arange(n), 5).float()


EDGES = torch.tensor([[0, 1, 0], [1, 2, 2]])
WRONG = {
    "no x": (Data(edge_index=EDGES), "x must be the one-hot .* {where} has none"),
    "x of one dimension": (
        Data(x=torch.ones(3), edge_index=EDGES),
        r"x must be the one-hot .* \[n, num_ops\] .*, but {where} has \[3\] float32",
    ),
    "complex x": (
        Data(x=one_hot().to(torch.complex64), edge_index=EDGES),
        r"a common type such as float32, but {where} has \[3, 5\] complex64",
    ),
    "x without values": (
        Data(x=one_hot().to("meta"), edge_index=EDGES),
        r"{where} has \[3, 5\] float32 on the meta device, without values",
    ),
    "x without rows": (Data(x=torch.zeros(0, 5), edge_index=NO_EDGES), r"has \[0, 5\] float32"),
    "x that is a list": (Data(x=[0, 1, 2], edge_index=EDGES), "{where} has list"),
    "no edge_index": (Data(x=one_hot()), r"int64 of shape \[2, e\], but {where} has none"),
    "empty edge_index": (
        Data(x=one_hot(), edge_index=torch.tensor([])),
        r"{where} has \[0\] float32; a graph without edges has `torch.empty",
    ),
    "edge_index of edges": (
        Data(x=one_hot(), edge_index=EDGES.t()),
        r"{where} has \[3, 2\] int64; transpose it",
    ),
    "edge_index of floats": (
        Data(x=one_hot(), edge_index=EDGES.float()),
        r"{where} has \[2, 3\] float32; convert it",
    ),
    "edge_index of two edges as int32": (
        Data(x=one_hot(), edge_index=EDGES[:, :2].int()),
        r"{where} has \[2, 2\] int32; convert it",
    ),
    "backward edge": (Data(x=one_hot(), edge_index=EDGES.flip(0)), r"{where} has \(1, 0\)"),
    "edge to nowhere": (
        Data(x=one_hot(2), edge_index=EDGES),
        r"join nodes in \[0, 2\), but {where} has \(1, 2\)",
    ),
    "two operations": (
        Data(x=one_hot() + one_hot().flip(0), edge_index=EDGES),
        r"must be one-hot, but {where} has x of shape \[3, 5\]",
    ),
    "no operation": (Data(x=one_hot() * 0, edge_index=EDGES), "must be one-hot, but {where}"),
    "half an operation": (Data(x=one_hot() / 2, edge_index=EDGES), "must be one-hot, but {where}"),
    "NaN": (Data(x=one_hot() * float("nan"), edge_index=EDGES), "must be one-hot, but {where}"),
    "edge twice": (
        Data(x=one_hot(), edge_index=EDGES[:, [0, 1, 0]]),
        r"no edge may occur twice, but {where} has \(0, 1\)",
    ),
}


@pytest.mark.parametrize("what", sorted(WRONG))
def test_bad_graphs_are_named_with_position_and_shape(what: str) -> None:
    wrong, message = WRONG[what]
    good = Data(x=one_hot(), edge_index=EDGES)
    with pytest.raises(GraphError, match=message.format(where="graph 2 of 4")):
        wl_kernel([good, good, wrong, good])
    with pytest.raises(GraphError, match=message.format(where="the graph")):
        graph_hash(wrong)
    with pytest.raises(GraphError):
        validate(wrong)


@pytest.mark.parametrize("what", ["backward edge", "two operations", "edge twice", "NaN"])
def test_bad_graphs_of_a_batch_are_named(what: str) -> None:
    wrong, message = WRONG[what]
    good = Data(x=one_hot(), edge_index=EDGES)
    with pytest.raises(GraphError, match=message.format(where="graph 1 of 3")):
        wl_kernel(Batch.from_data_list([good, wrong, good]))


def test_bad_edge_operations_are_named() -> None:
    good = architecture([[0, 1], [0, 0]], [0, 1], 2, edge_ops=True)
    for code, message in (
        (torch.tensor([255]), r"edge_op must be in \[0, 254\], but graph 1 of 2 has 255"),
        (torch.tensor([-1]), r"but graph 1 of 2 has -1"),
        (torch.tensor([0.0]), r"shape \[1\], but graph 1 of 2 has \[1\] float32"),
        (torch.tensor([0, 1]), r"shape \[1\], but graph 1 of 2 has \[2\] int64"),
    ):
        wrong = Data(x=good.x, edge_index=good.edge_index, edge_op=code)
        with pytest.raises(GraphError, match=message):
            as_batch([good, wrong])
    without = architecture([[0, 1], [0, 0]], [0, 1], 2)
    with pytest.raises(GraphError, match="graph 0 has one and graph 1 of 2 differs"):
        as_batch([good, without])
    with pytest.raises(GraphError, match="graph 0 has none and graph 1 of 2 differs"):
        as_batch([without, good])


@pytest.mark.parametrize("value", [3, None, ["cell"], [None], object(), HeteroData()])
def test_what_holds_no_graphs_is_named(value: object) -> None:
    with pytest.raises(GraphError, match="must be a"):
        as_batch(value)


def test_empty_batches_and_data_sets() -> None:
    empty: list[Graphs] = [[], Batch(), InMemory([Data(x=one_hot(), edge_index=EDGES)])[:0]]
    for graphs in empty:
        with pytest.raises(GraphError):
            as_batch(graphs)


@pytest.mark.parametrize("name", sorted(SPACES))
def test_networkx_graphs_may_name_their_operations(name: str, rng: np.random.Generator) -> None:
    space: Space = SPACES[name]()
    names = space.edge_ops or None
    for graph in space.sample_batch(5, rng):
        named = to_networkx(graph, space.ops, edge_ops=names)
        assert all(isinstance(op, str) for _, op in named.nodes(data="op"))
        again = from_networkx(named, space.ops, edge_ops=space.edge_ops or False)
        assert graph_hash(again) == graph_hash(graph)


def test_operations_of_networkx_graphs_that_do_not_fit() -> None:
    cell = nx.DiGraph([("a", "b")])
    nx.set_node_attributes(cell, {"a": "input", "b": "conv"}, "op")
    with pytest.raises(GraphError, match="op of node 'a' is the name 'input': pass the names"):
        from_networkx(cell, 5)
    with pytest.raises(GraphError, match=re.escape("must be one of ['input'], but is 'conv'")):
        from_networkx(cell, ["input"])
    nx.set_node_attributes(cell, 1.5, "op")
    with pytest.raises(GraphError, match=r"must be a whole number or a name, but is 1\.5"):
        from_networkx(cell, 5)
    nx.set_node_attributes(cell, 0, "op")
    with pytest.raises(GraphError, match="but edge \\('a', 'b'\\) has none"):
        from_networkx(cell, 5, edge_ops=True)
