"""Ready-made spaces against brute force: what is counted, drawn, edited, written and refused."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
from torch import nn
from torch_geometric.data import Data

from gnas.errors import ConfigError, GraphError, UnsupportedError
from gnas.graphs import DenseBatch, architecture, graph_hash, graph_keys, prune, to_networkx
from gnas.spaces import (
    DagSpace,
    EdgeOpSpace,
    NASBench101,
    NASBench201,
    Space,
    load_space,
    space_of_record,
    space_record,
)


def naive_dags(num_ops: int, max_nodes: int, max_edges: int) -> list[nx.DiGraph]:
    """All matrices with all operations, pruned, and told apart by networkx."""
    found: dict[object, list[nx.DiGraph]] = {}
    for n in range(2, max_nodes + 1):
        rows, columns = np.triu_indices(n, 1)
        for bits in product((0, 1), repeat=len(rows)):
            adjacency = np.zeros((n, n), dtype=int)
            adjacency[rows, columns] = bits
            for inner in product(range(1, num_ops + 1), repeat=n - 2):
                cell = prune(architecture(adjacency, [0, *inner, num_ops + 1], num_ops + 2))
                if not 0 < cell.num_edges <= max_edges:
                    continue
                graph = to_networkx(cell)
                degrees = ((graph.in_degree(v), graph.out_degree(v)) for v in graph)
                kinds = zip(nx.get_node_attributes(graph, "op").values(), degrees, strict=True)
                alike = found.setdefault(tuple(sorted(kinds)), [])
                if not any(nx.is_isomorphic(graph, other, node_match=_same) for other in alike):
                    alike.append(graph)
    return [graph for alike in found.values() for graph in alike]


def _same(a: dict[str, int], b: dict[str, int]) -> bool:
    return a["op"] == b["op"]


@pytest.mark.parametrize(
    ("num_ops", "max_nodes", "max_edges"), [(1, 4, 6), (2, 4, 4), (3, 3, 3), (1, 5, 5)]
)
def test_dags_are_counted_as_by_brute_force(num_ops: int, max_nodes: int, max_edges: int) -> None:
    ops = [f"op{k}" for k in range(num_ops)]
    space = DagSpace(ops=ops, max_nodes=max_nodes, max_edges=max_edges)
    everything = space.enumerate()
    assert space.count() == space.size == len(everything)
    assert space.count() == len(naive_dags(num_ops, max_nodes, max_edges))
    assert len(set(graph_hash(everything))) == len(everything)
    for cell in everything:
        space.validate(cell)
        assert graph_hash(space.from_str(space.to_str(cell))) == graph_hash(cell)


def test_dags_by_number_of_nodes_are_those_of_nasbench101() -> None:
    # Ying et al., ICML 2019: cells of three operations with at most 5 vertices and 9 edges
    space = DagSpace(ops=("a", "b", "c"), max_nodes=5, max_edges=9)
    counts = torch.bincount(space.enumerate().num_nodes).cumsum(0)[2:].tolist()
    assert counts == [1, 7, 91, 2_532]


def test_draws_of_a_small_space_are_uniform() -> None:
    for space in (
        DagSpace(ops=("a", "b"), max_nodes=4),
        EdgeOpSpace(num_nodes=3, edge_ops=("none", "skip", "conv"), none="none", skip="skip"),
    ):
        keys = graph_keys(space.enumerate())
        draws = graph_keys(space.sample_batch(200 * len(keys), np.random.default_rng(0)))
        counts = np.array([(draws == key).sum() for key in keys])
        assert counts.sum() == len(draws)
        chi_square = float(((counts - 200) ** 2 / 200).sum())
        assert chi_square < 2 * len(keys)  # degrees of freedom are fewer than len(keys)


def test_draws_of_a_large_dag_space_follow_its_docstring() -> None:
    """Against the definition, cell by cell: the number of nodes and edges agree on average."""
    space = DagSpace(ops=("a", "b", "c"), max_nodes=9, max_edges=14)
    assert space.size is None
    with pytest.raises(UnsupportedError, match="too large to enumerate"):
        space.count()
    batch = space.sample_batch(4000, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    nodes, edges, ops = list[int](), list[int](), list[int]()
    while len(nodes) < 800:
        n, density = int(rng.integers(2, 10)), rng.random()
        matrix = np.triu(rng.random((n, n)) < density, 1).astype(int)
        inner = rng.integers(1, 4, size=n - 2).tolist()
        cell = prune(architecture(matrix, [0, *inner, 4], 5))
        if 0 < cell.num_edges <= 14:
            nodes.append(len(cell.x))
            edges.append(cell.num_edges)
            ops.append(int(cell.x[:, 2].sum()))
    found = batch.num_nodes, batch.adjacency.sum((1, 2)), (batch.ops == 2).sum(1)
    for ours, naive in zip(found, (nodes, edges, ops), strict=True):
        spread = np.std(naive) * (1 / 4000 + 1 / 800) ** 0.5
        assert abs(float(ours.double().mean()) - np.mean(naive)) < 4.5 * spread
    for cell in batch[:200]:
        space.validate(cell)


def test_dag_edits_stay_inside_and_reach_everything(rng: np.random.Generator) -> None:
    space = DagSpace(ops=("a", "b"), max_nodes=4, max_edges=5)
    everything = space.enumerate()
    keys = {int(key) for key in graph_keys(everything)}
    seen, waiting = set(), [everything.data(0)]
    while waiting:  # every architecture is reached from the first one by edits
        graph = waiting.pop()
        key = int(graph_keys(DenseBatch.from_data([graph]))[0])
        if key not in seen:
            seen.add(key)
            waiting += list(space.neighbours(graph))
    assert seen == keys
    large = DagSpace(ops=("a", "b", "c", "d", "e"), max_nodes=20)
    for graph in large.sample_batch(10, rng):
        mutated = large.mutate(graph, rng)
        large.validate(mutated)
        assert graph_hash(mutated) != graph_hash(graph)
    alone = DagSpace(ops=("a",), max_nodes=4, max_edges=3)
    for graph in alone.enumerate():  # where no edit leads to another one, a fresh draw
        alone.validate(alone.mutate(graph, rng))


@pytest.mark.parametrize("none", [None, "cut"])
def test_edge_op_cells_are_all_combinations(none: str | None) -> None:
    ops = ("pass", "conv", "cut", "pool")
    space = EdgeOpSpace(
        num_nodes=3, edge_ops=ops, none=none, skip="pass", learned=("conv",), name="tiny"
    )
    texts = [space.to_str(cell) for cell in space.enumerate()]
    assert {*texts} == {f"|{a}~0|+|{b}~0|{c}~1|" for a, b, c in product(ops, repeat=3)}
    assert len(texts) == space.count() == 64
    for text in texts:
        cell = space.from_str(text)
        space.validate(cell)
        assert space.to_str(cell) == text
        assert cell.num_edges == (3 if none is None else 3 - text.count("cut"))
        near = {space.to_str(other) for other in space.neighbours(cell)}
        names = text.replace("|", " ").replace("+", " ").split()
        assert len(near) == 9
        for other in near:
            changed = zip(names, other.replace("|", " ").replace("+", " ").split(), strict=True)
            assert sum(a != b for a, b in changed) == 1


def test_operations_have_their_names() -> None:
    text = "|b~0|+|a~0|c~1|"
    for none, names in ((None, ["b", "a", "c"]), ("a", ["b", "c"]), ("b", ["a", "c"])):
        space = EdgeOpSpace(num_nodes=3, edge_ops=("a", "b", "c"), none=none)
        graph = space.from_str(text)
        assert space.op_names(graph) == names
        pairs = zip(graph.edge_index.t().tolist(), names, strict=True)
        assert all(f"{name}~{source}" in text for (source, _), name in pairs)
    dag = DagSpace(ops=("a", "b"), max_nodes=5)
    drawn = dag.sample(np.random.default_rng(0))
    assert dag.op_names(drawn) == dag.to_str(drawn).split("|")[0].split(",")
    with pytest.raises(GraphError):
        dag.op_names(graph)


def test_edge_op_functions_against_expressions() -> None:
    """Cells of one function compute the same sums of operations, written out and sorted."""
    space = EdgeOpSpace(
        num_nodes=4, edge_ops=("zero", "id", "conv"), none="zero", skip="id", learned=("conv",)
    )
    everything = space.enumerate()
    expressions = []
    for cell in everything:
        terms: list[list[str]] = [["x"]]
        for j in range(1, 4):
            entering = [
                (int(i), space.edge_ops[int(op)])
                for i, t, op in zip(*cell.edge_index.tolist(), cell.edge_op.tolist(), strict=True)
                if t == j
            ]
            sums: list[str] = []
            for i, op in entering:
                if terms[i]:
                    sums += terms[i] if op == "id" else [f"conv({'+'.join(sorted(terms[i]))})"]
            terms.append(sorted(sums))
        expressions.append("+".join(terms[3]))
    keys = graph_keys(space.functional_form(everything)).tolist()
    # two convolutions of one input are written alike, but have weights of their own
    assert len({*zip(keys, expressions, strict=True)}) == len({*keys}) > len({*expressions})
    chosen = space.representative(everything)
    assert graph_keys(space.functional_form(chosen)).tolist() == keys
    assert len({space.to_str(cell) for cell in chosen}) == len({*keys})


def test_large_edge_op_spaces(rng: np.random.Generator) -> None:
    space = EdgeOpSpace(num_nodes=12, edge_ops=("none", "a", "b"), none="none")
    assert space.size is None and space.count() == 3**66
    batch = space.sample_batch(300, rng)
    codes = batch.adjacency[:, *np.triu_indices(12, 1)]
    shares = torch.bincount(codes.flatten().long(), minlength=3) / codes.numel()
    assert torch.allclose(shares, torch.tensor(1 / 3), atol=0.015)
    graph = batch.data(0)
    assert space.to_str(space.from_str(space.to_str(graph))) == space.to_str(graph)
    assert space.to_str(space.mutate(graph, rng)) != space.to_str(graph)
    with pytest.raises(UnsupportedError, match="too large to enumerate"):
        space.enumerate()


def test_the_last_cell_of_a_log_is_read(caplog: pytest.LogCaptureFixture) -> None:
    space = EdgeOpSpace(num_nodes=3, edge_ops=("none", "conv-3.1"), none="none")
    first, last = "|none~0|+|none~0|none~1|", "| conv-3.1~0 |+|none~0|conv-3.1~1|"
    with caplog.at_level(logging.WARNING):
        cell = space.from_str(f"epoch 1: {first}\nepoch 2: {last} best")
    assert space.to_str(cell) == last.replace(" ", "")
    assert "took the last of 2 cells" in caplog.text


@pytest.mark.parametrize(
    "last",
    [
        "|a~0|+|a~0|a~1|+|a~0|a~1|a~2|",  # a larger cell
        "|a~0|+|a~0|a~1|a~2|",
        "|a~0|a~1|+|a~0|a~1|",
        "|a~0|+|a~0|two words~1|",
        "|a~0|+|a~0|a~",  # cut off
    ],
)
def test_no_part_of_a_cell_and_no_cell_before_it_is_taken(last: str) -> None:
    space = EdgeOpSpace(num_nodes=3, edge_ops=("none", "a"), none="none")
    for text in (last, f"epoch 1: |none~0|+|none~0|a~1|, epoch 2: {last}"):
        with pytest.raises(GraphError, match="must be written"):
            space.from_str(text)


def network(graph: Data, *, in_channels: int = 3, num_classes: int = 10) -> nn.Module:
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(pool, nn.Linear(in_channels, num_classes))


SPACES: list[DagSpace | EdgeOpSpace] = [
    DagSpace(ops=("a", "b"), max_nodes=5, learned=("a",), max_edges=6, name="blocks"),
    EdgeOpSpace(num_nodes=4, edge_ops=["none", "a"], none="none", learned=["a"]),
]


@pytest.mark.parametrize("space", SPACES, ids=repr)
def test_records_hold_all_arguments(space: DagSpace | EdgeOpSpace) -> None:
    record = space_record(space)
    again = space_of_record(record)
    assert again == space and hash(again) == hash(space) and again.name == space.name
    assert again.vocabulary == space.vocabulary and "sha256" not in record
    arguments = {name: value for name, value in space.args.items() if value is not None}
    text = f"{record['name']}({', '.join(f'{k}={v!r}' for k, v in arguments.items())})"
    assert load_space(text) == space


def test_a_builder_as_an_argument(tmp_path: Path) -> None:
    space = DagSpace(ops=("a",), max_nodes=4, build=network)
    assert space.networks is not None and space.networks.defaults["num_classes"] == 10
    images = torch.zeros(2, 3, 8, 8)
    graph = space.enumerate().data(3)
    assert space.build(graph, num_classes=4)(images).shape == (2, 4)
    record = space_record(space)
    assert record["args"]["build"].startswith("test_ready_made.py:network of sha256 ")
    assert space_record(DagSpace(ops=("a",), max_nodes=4, build=network)) == record
    assert space_of_record(record, space) is space
    with pytest.raises(ConfigError, match=r"build must be a function .*--space FILE.py:NAME"):
        space_of_record(record)
    file = tmp_path / "own.py"
    file.write_text(
        "from torch import nn\nfrom gnas.spaces import DagSpace\n\n\n"
        "def make(graph, *, in_channels=3, num_classes=10):\n    return nn.Flatten()\n\n\n"
        "blocks = DagSpace(ops=('a', 'b'), max_nodes=4, build=make)\n"
    )
    loaded = load_space(f"{file}:blocks")
    record = space_record(loaded)
    assert record["name"] == "own.py:blocks" and len(record["sha256"]) == 64
    assert space_of_record(record, run=True) == loaded


class Builder:
    def __init__(self, width: int) -> None:
        self.width, self.cache = width, {object(): width}

    def __call__(self, graph: Data, *, in_channels: int = 3, num_classes: int = 10) -> nn.Module:
        return nn.Linear(in_channels * self.width, num_classes)


def enclosing(width: int) -> Callable[..., nn.Module]:
    def make(graph: Data, *, in_channels: int = 3, num_classes: int = 10) -> nn.Module:
        return nn.Linear(in_channels * width, num_classes)

    return make


@pytest.mark.parametrize(
    "bind",
    [lambda width: partial(network, num_classes=width), enclosing, Builder,
     lambda width: Builder(width).__call__],
)  # fmt: skip
def test_what_a_builder_is_bound_to_is_recorded(bind: Callable[[int], Any]) -> None:
    """Or a run with other networks would go on with it."""
    one, same, other = (
        space_record(DagSpace(ops=("a",), max_nodes=4, build=bind(width))) for width in (8, 8, 16)
    )
    assert one == same != other
    assert one["args"]["build"].startswith("test_ready_made.py:")


@pytest.mark.parametrize(
    ("make", "args", "message"),
    [
        (DagSpace, {"ops": (), "max_nodes": 4}, "operations must be 1 to 125 different names"),
        (DagSpace, {"ops": ("a", "a"), "max_nodes": 4}, "different names"),
        (DagSpace, {"ops": ("a,b",), "max_nodes": 4}, "different names of letters"),
        (DagSpace, {"ops": (3,), "max_nodes": 4}, "different names of letters"),
        (DagSpace, {"ops": "abc", "max_nodes": 4}, "must be a tuple of names"),
        (DagSpace, {"ops": ("input",), "max_nodes": 4}, "'input' and 'output' are nodes"),
        (DagSpace, {"ops": ("a",), "max_nodes": 2}, r"max_nodes must be in \[3, 127\]"),
        (DagSpace, {"ops": ("a",), "max_nodes": 4.0}, r"max_nodes must be in \[3, 127\]"),
        (
            DagSpace,
            {"ops": ("a",), "max_nodes": 4, "max_edges": 2},
            "max_edges must be at least 3",
        ),
        (DagSpace, {"ops": ("a",), "max_nodes": 4, "learned": ("b",)}, "learned must be some of"),
        (DagSpace, {"ops": ("a",), "max_nodes": 4, "name": ""}, "name must be a text"),
        (DagSpace, {"ops": ("a",), "max_nodes": 4, "build": 3}, "build must be a function"),
        (EdgeOpSpace, {"num_nodes": 1, "edge_ops": ("a", "b")}, r"num_nodes must be in \[2, 64\]"),
        (EdgeOpSpace, {"num_nodes": 3, "edge_ops": ("a",)}, "at least two operations"),
        (EdgeOpSpace, {"num_nodes": 3, "edge_ops": ("a", "b"), "none": "c"}, "must be two of"),
        (
            EdgeOpSpace,
            {"num_nodes": 3, "edge_ops": ("a", "b"), "none": "a", "skip": "a"},
            "must be two of",
        ),
        (
            EdgeOpSpace,
            {"num_nodes": 3, "edge_ops": ("a", "b"), "skip": "a", "learned": ("a",)},
            "have no weights, but are among the learned",
        ),
    ],
)
def test_impossible_arguments(make: Any, args: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        make(**args)
    assert "\n" not in str(caught.value)


def test_graphs_that_break_rules() -> None:
    dag = DagSpace(ops=("a", "b"), max_nodes=4)
    with pytest.raises(GraphError, match="on a path from input to output"):
        dag.validate(architecture([[0, 0, 1], [0, 0, 1], [0, 0, 0]], [0, 1, 3], 4))
    with pytest.raises(GraphError, match="start with input, end with output"):
        dag.validate(architecture([[0, 1], [0, 0]], [0, 1], 4))
    full = EdgeOpSpace(num_nodes=3, edge_ops=("a", "b"))
    with pytest.raises(GraphError, match="an operation on each of its 3 edges, but has 2"):
        full.validate(architecture([[0, 1, 0], [0, 0, 1], [0, 0, 0]], [0, 1, 2], 3, edge_ops=True))
    with pytest.raises(GraphError, match=r"must be written '\|op~0\|"):
        full.from_str("|a~0|")
    with pytest.raises(GraphError, match="each entry must be one of"):
        full.from_str("|a~0|+|a~0|c~1|")


@pytest.mark.parametrize("space", [NASBench101(), NASBench201()], ids=lambda space: space.name)
def test_what_is_enumerated_may_be_changed(space: Space) -> None:
    cells = space.enumerate()
    kept = cells[:50].clone()
    before = graph_hash(space.sample_batch(5, np.random.default_rng(0)))
    cells.adjacency.zero_()
    assert torch.equal(space.enumerate()[:50].adjacency, kept.adjacency)
    assert graph_hash(space.sample_batch(5, np.random.default_rng(0))) == before
