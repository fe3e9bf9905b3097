from __future__ import annotations

from collections import Counter
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
import torch

from gnas.errors import GraphError
from gnas.graphs import (
    DenseBatch,
    FunctionalForm,
    architecture,
    functional_form,
    graph_keys,
    to_adjacency,
    to_networkx,
    validate,
    validate_batch,
)
from gnas.models import nasbench201_network
from gnas.spaces import NASGEM, SPACES, NASBench101, NASBench201, TopoNAS
from gnas.spaces.nasbench201 import CANDIDATES, EDGES, simplified
from gnas.spaces.toponas import EDGE_OPS, ROLES

Terms = Counter[int]
TWINS = [
    # A dead convolution; a skip into a chain; two ways around a convolution.
    ("|none~0|+|nor_conv_1x1~0|none~1|+|nor_conv_3x3~0|none~1|none~2|",
     "|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|"),
    ("|skip_connect~0|+|none~0|nor_conv_3x3~1|+|none~0|none~1|avg_pool_3x3~2|",
     "|none~0|+|nor_conv_3x3~0|none~1|+|none~0|none~1|avg_pool_3x3~2|"),
    ("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|skip_connect~0|none~1|skip_connect~2|",
     "|none~0|+|skip_connect~0|none~1|+|nor_conv_3x3~0|none~1|skip_connect~2|"),
    ("|skip_connect~0|+|skip_connect~0|nor_conv_3x3~1|+|none~0|none~1|nor_conv_1x1~2|",
     "|nor_conv_3x3~0|+|skip_connect~0|skip_connect~1|+|none~0|none~1|nor_conv_1x1~2|"),
]  # fmt: skip


def cell_terms(choice: dict[tuple[int, int], str]) -> tuple[dict[int, tuple[str, Terms]], Terms]:
    """The convolutions and poolings of a NAS-Bench-201 cell, each with the sum that enters it.

    A plain walk over the definition: map j is the sum, with multiplicity, of operations (numbers
    of edges) and of the cell's input (-1). Returns the operations that are computed from
    something, and the terms of the output.
    """
    maps: list[Terms] = [Counter({-1: 1})]
    operations: dict[int, tuple[str, Terms]] = {}
    for j in range(1, 4):
        total: Terms = Counter()
        for i in range(j):
            op = choice[i, j]
            if op == "skip_connect":
                total.update(maps[i])
            elif op != "none" and maps[i]:
                number = EDGES.index((i, j))
                operations[number] = (op, maps[i])
                total[number] += 1
        maps.append(total)
    return operations, maps[3]


def by_definition(choice: dict[tuple[int, int], str]) -> nx.DiGraph:
    """The functional form of a NAS-Bench-201 cell by `cell_terms`; operations by name."""
    operations, output = cell_terms(choice)
    graph = nx.DiGraph()
    graph.add_node(-1, op="input")
    graph.add_node("output", op="output")
    needed: list[tuple[int | str, Terms]] = [("output", output)]
    while needed:
        target, terms = needed.pop()
        for source, count in terms.items():
            if source != -1 and source not in graph:
                graph.add_node(source, op=operations[source][0])
                needed.append((source, operations[source][1]))
            graph.add_edge(source, target, count=count)
    return graph


ADJACENCY = NASBench201().enumerate().adjacency.tolist()


def choices(row: int) -> dict[tuple[int, int], str]:
    adjacency = ADJACENCY[row]
    return {(i, j): CANDIDATES[adjacency[i][j]] for i, j in EDGES}


def named(graph: nx.DiGraph) -> nx.DiGraph:
    """A functional form with names of operations and counts of edges, like `by_definition`."""
    names = ("input", "sum", "output", *CANDIDATES[1:])
    result = nx.DiGraph()
    for node, op in graph.nodes(data="op"):
        result.add_node(node, op=names[op])
    for source, target, op in graph.edges(data="op"):
        result.add_edge(source, target, count=op + 1)
    return result


def isomorphic(left: nx.DiGraph, right: nx.DiGraph) -> bool:
    match = nx.algorithms.isomorphism
    return bool(
        nx.is_isomorphic(
            left,
            right,
            node_match=match.categorical_node_match("op", None),
            edge_match=match.categorical_edge_match("count", None),
        )
    )


def test_functional_form_is_that_of_the_definition(rng: np.random.Generator) -> None:
    forms = NASBench201().functional_form(NASBench201().enumerate())
    validate_batch(forms)
    for row in rng.integers(15_625, size=300).tolist():
        assert isomorphic(named(to_networkx(forms.data(row))), by_definition(choices(row)))


def test_functional_classes_of_nasbench201() -> None:
    """Counted by networkx on graphs that a walk over the definition made."""
    cells = NASBench201().enumerate()
    forms = NASBench201().functional_form(cells)
    keys = graph_keys(forms)
    buckets: dict[str, list[nx.DiGraph]] = {}
    seen: set[tuple[object, ...]] = set()
    for row in range(len(cells)):
        operations, output = cell_terms(choices(row))
        written = (str(sorted(operations.items())), str(sorted(output.items())))
        if written in seen:
            continue
        seen.add(written)
        graph = by_definition(choices(row))
        label = str(
            sorted(
                (
                    op,
                    sorted(
                        (graph.nodes[u]["op"], count) for u, _, count in graph.in_edges(v, "count")
                    ),
                )
                for v, op in graph.nodes(data="op")
            )
        )
        found = buckets.setdefault(label, [])
        if not any(isomorphic(graph, other) for other in found):
            found.append(graph)
    count = sum(len(found) for found in buckets.values())
    assert len(np.unique(keys)) == count == 5_425
    # Equal keys are equal matrices: nodes that tie can be exchanged.
    matrices = np.concatenate([forms.adjacency.flatten(1).numpy(), forms.ops.numpy()], axis=1)
    assert len(np.unique(matrices, axis=0)) == count


def test_functional_twins_are_coarser_than_the_benchmarks_isomorphism() -> None:
    cells = NASBench201().enumerate()
    keys = graph_keys(NASBench201().functional_form(cells))
    of_class: dict[str, set[int]] = {}
    for row in range(0, len(cells), 7):
        of_class.setdefault(simplified(cells.data(row)), set()).add(int(keys[row]))
    several = [found for found in of_class.values() if len(found) > 1]
    # The benchmark writes expressions, in which two convolutions of one input are one.
    assert len(several) / len(of_class) < 0.05


@pytest.mark.parametrize(("left", "right"), TWINS)
def test_networks_of_twins_give_equal_outputs(left: str, right: str) -> None:
    space = NASBench201()
    cells = [space.from_str(text) for text in (left, right)]
    forms = space.functional_form(DenseBatch.from_data(cells))
    assert torch.equal(forms.adjacency[0], forms.adjacency[1])
    assert torch.equal(forms.ops[0], forms.ops[1])
    networks = [nasbench201_network(cell).eval() for cell in cells]
    common = {k: v for k, v in networks[0].state_dict().items() if ".ops." not in k}
    networks[1].load_state_dict(common, strict=False)
    with torch.no_grad():
        for network in networks:
            for cell in network.modules():
                for op in getattr(cell, "ops", ()):  # one weight for each kind of operation
                    generator = torch.Generator().manual_seed(0)
                    for weight in op.parameters():
                        if weight.dim() > 1:
                            fan = weight[0].numel()
                            weight.copy_(torch.randn(weight.shape, generator=generator) / fan**0.5)
        images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
        first, second = (network(images) for network in networks)
    assert first.std() > 0
    torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)


def test_other_cells_differ() -> None:
    """One skip more doubles a term: not the same function."""
    space = NASBench201()
    once = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|skip_connect~2|"
    twice = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|skip_connect~1|skip_connect~2|"
    forms = space.functional_form(DenseBatch.from_data([space.from_str(s) for s in (once, twice)]))
    assert forms.adjacency[0].max() == 1
    assert forms.adjacency[1].max() == 2


def test_one_architecture_by_the_pyg_transform(rng: np.random.Generator) -> None:
    space = NASBench201()
    transform = FunctionalForm(4, skips=space.vocabulary.skip_ops, sums=space.vocabulary.sum_roles)
    cells = space.sample_batch(20, rng)
    forms = space.functional_form(cells)
    for graph, form in zip(cells, forms, strict=True):
        before = graph.clone()
        single = transform(graph)
        validate(single, num_ops=7)
        for name in ("x", "edge_index", "edge_op"):
            assert torch.equal(single[name], form[name])
            assert torch.equal(graph[name], before[name])


def test_functional_forms_of_node_op_cells_are_their_live_parts(rng: np.random.Generator) -> None:
    dead = architecture([[0, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0], [0] * 4], [0, 1, 2, 4], 5)
    form = NASBench101().functional_form(DenseBatch.from_data([dead])).data(0)
    assert form.x.argmax(1).tolist() == [0, 1, 4]
    cells = NASGEM(12).sample_batch(50, rng)
    forms = NASGEM(12).functional_form(cells)
    assert (forms.num_nodes == NASGEM(12).prune(cells).num_nodes).all()
    assert (graph_keys(forms) == graph_keys(NASGEM(12).prune(cells))).all()


def test_a_skip_that_halves_the_maps_stays(rng: np.random.Generator) -> None:
    space = TopoNAS()
    cells = space.sample_batch(200, rng)
    forms = space.functional_form(cells)
    skip = len(ROLES) + EDGE_OPS.index("skip_connect")
    kept = 0
    for cell, form in zip(cells, forms, strict=True):
        ops = form.x.argmax(1)
        sources = form.edge_index[0][ops[form.edge_index[1]] == skip]
        assert set(ops[sources].tolist()) <= set(space.vocabulary.strided_roles)
        kept += int((ops == skip).sum())
        adjacency, roles = to_adjacency(cell)
        halved = torch.isin(roles, torch.tensor(space.vocabulary.strided_roles))
        assert (ops == skip).sum() == (
            adjacency[halved] == 1 + EDGE_OPS.index("skip_connect")
        ).sum()
    assert kept > 100


@pytest.mark.parametrize("name", sorted(SPACES))
def test_every_space_has_functional_forms(name: str, rng: np.random.Generator) -> None:
    space = SPACES[name]()
    cells = space.sample_batch(40, rng)
    before = cells.adjacency.clone()
    forms = space.functional_form(cells)
    validate_batch(forms)
    assert torch.equal(cells.adjacency, before)
    assert len(space.functional_form(cells[:0])) == 0
    assert (space.keys(cells) == graph_keys(forms)).all()
    assert len(space.keys(cells[:0])) == 0


def test_a_space_says_what_is_the_same_network(rng: np.random.Generator) -> None:
    class Short(NASBench101):
        def functional_form(self, batch: DenseBatch) -> DenseBatch:
            return super().functional_form(batch[:1])

    assert len(Short().keys(Short().sample_batch(3, rng))) == 1


def test_multiplicities_stop_at_255() -> None:
    """A chain of doublings: 9 pairs of skips multiply one edge by 512."""
    n = 20
    matrix = np.zeros((n, n), dtype=int)
    for i, j in pairwise(range(n)):
        matrix[i, j] = 1
        if j + 1 < n:
            matrix[i, j + 1] = 1
    chain = architecture(matrix, [0, *[1] * (n - 2), 2], 3, edge_ops=True)
    form = functional_form(DenseBatch.from_data([chain]), 1, skips=(0,), sums=(1,))
    assert form.adjacency.tolist() == [[[0, 255], [0, 0]]]


def test_the_vocabulary_must_fit(rng: np.random.Generator) -> None:
    with pytest.raises(GraphError, match="num_edge_ops must be 0 exactly where"):
        functional_form(NASBench201().sample_batch(2, rng))
    with pytest.raises(GraphError, match="but got 4 and has_edge_ops=False"):
        functional_form(NASBench101().sample_batch(2, rng), 4)
