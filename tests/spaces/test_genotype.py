from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from gnas.errors import GraphError
from gnas.graphs import graph_hash, validate
from gnas.spaces import Genotype, TopoNAS

# As printed in quark0/darts (cnn/genotypes.py) and yuhuixu1993/PC-DARTS (genotypes.py).
DARTS_V1 = (
    "Genotype(normal=[('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 0), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), "
    "('skip_connect', 2)], normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0), "
    "('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 0), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('avg_pool_3x3', 0)], reduce_concat=[2, 3, 4, 5])"
)
DARTS_V2 = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), "
    "('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), "
    "('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0), "
    "('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])"
)
PC_DARTS = (
    "Genotype(normal=[('sep_conv_3x3', 1), ('skip_connect', 0), ('sep_conv_3x3', 0), "
    "('dil_conv_3x3', 1), ('sep_conv_5x5', 0), ('sep_conv_3x3', 1), ('avg_pool_3x3', 0), "
    "('dil_conv_3x3', 1)], normal_concat=range(2, 6), reduce=[('sep_conv_5x5', 1), "
    "('max_pool_3x3', 0), ('sep_conv_5x5', 1), ('sep_conv_5x5', 2), ('sep_conv_3x3', 0), "
    "('sep_conv_3x3', 3), ('sep_conv_3x3', 1), ('sep_conv_3x3', 2)], reduce_concat=range(2, 6))"
)
NESTED = (
    "Genotype(normal=[[('skip_connect', 1)], [('max_pool_3x3', 0), ('sep_conv_5x5', 1), "
    "('dil_conv_5x5', 2)]], normal_concat=[3], reduce=[('avg_pool_3x3', 0), "
    "('avg_pool_3x3', 1), ('skip_connect', 0), ('skip_connect', 2)], reduce_concat=[2, 3])"
)


@pytest.mark.parametrize("text", [DARTS_V1, DARTS_V2, PC_DARTS], ids=["v1", "v2", "pc"])
def test_published_genotypes_round_trip(text: str) -> None:
    genotype = Genotype.parse(text)
    assert str(genotype) == text.replace("range(2, 6)", "[2, 3, 4, 5]")
    assert Genotype.parse(genotype.to_json()) == genotype
    graph = genotype.to_graph()
    assert (len(graph.x), graph.edge_index.size(1)) == (14, 2 * (8 + 4))
    TopoNAS(topology="fixed", k=2, mode="input").validate(graph)
    again = Genotype.from_graph(graph)
    assert graph_hash(again.to_graph()) == graph_hash(graph)
    assert [set(node) for node in again.normal + again.reduce] == [
        set(node) for node in genotype.normal + genotype.reduce
    ]


def test_hand_read_genotype() -> None:
    genotype = Genotype.parse(DARTS_V2)
    assert genotype.normal[2] == (("sep_conv_3x3", 1), ("skip_connect", 0))
    graph = genotype.to_graph()
    edges = graph.edge_index.t().tolist()
    assert [0, 4] in edges and [2, 5] in edges and [7 + 2, 7 + 3] in edges and [5, 6] in edges
    assert graph.cell.tolist() == [0] * 7 + [1] * 7
    ops = [TopoNAS().edge_ops[op] for op in graph.edge_op.tolist()]
    assert ops[edges.index([2, 5])] == "dil_conv_3x3" and ops[edges.index([5, 6])] == "concat"


def test_any_in_degree_and_partial_concat() -> None:
    genotype = Genotype.parse(NESTED)
    assert str(genotype) == NESTED
    assert genotype.normal_concat == (3,)
    graph = genotype.to_graph()
    validate(graph)
    assert Genotype.from_graph(graph) == genotype
    assert Genotype.parse(genotype.to_json()) == genotype
    assert json.loads(genotype.to_json())["normal"][0] == [["skip_connect", 1]]


def test_other_spellings() -> None:
    genotype = Genotype.parse(DARTS_V2)
    assert Genotype.parse(f"  2018-06-01 12:00:00 genotype = {DARTS_V2}\n") == genotype
    assert Genotype.parse(f"DARTS_V2 = {DARTS_V2.replace('(2', '(  2').replace(', ', ',')}")
    entries = [pair for node in genotype.normal for pair in node]
    built = Genotype(entries, range(2, 6), [list(n) for n in genotype.reduce], [2, 3, 4, 5])  # type: ignore[arg-type]
    assert built == genotype and hash(built) == hash(genotype)
    flat_json = json.dumps({"normal": entries, "normal_concat": [2, 3, 4, 5],
                            "reduce": genotype.reduce, "reduce_concat": [2, 3, 4, 5]})  # fmt: skip
    assert Genotype.parse(flat_json) == genotype


def test_samples_round_trip(rng: np.random.Generator) -> None:
    for graph in TopoNAS(9).sample_batch(20, rng):
        genotype = Genotype.from_graph(graph)
        for text in (str(genotype), genotype.to_json()):
            back = Genotype.parse(text).to_graph()
            assert torch.equal(back.edge_index, graph.edge_index)
            assert torch.equal(back.edge_op, graph.edge_op)


def changed(old: str, new: str) -> str:
    assert old in DARTS_V2
    return DARTS_V2.replace(old, new, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be written 'Genotype"),
        ("__import__('os').system('true')", "must be written 'Genotype"),
        ("Genotype(__import__('os').system('true'))", "must be written 'Genotype"),
        (changed("[2, 3, 4, 5]", "__import__('os').system('x')"), "must hold only strings"),
        (changed("[2, 3, 4, 5]", "range(2, __import__('os').getpid())"), "must hold only"),
        (changed("[2, 3, 4, 5]", "range(0, 10**9)"), "must hold only"),
        (changed("[2, 3, 4, 5]", "range(2, 9999999999)"), r"must be different nodes in \[2, 6\)"),
        (changed("[2, 3, 4, 5]", "[True, 3]"), "must hold only"),
        (changed("[2, 3, 4, 5]", "[2, 2]"), "must be different nodes"),
        (changed("[2, 3, 4, 5]", "[]"), r"normal_concat must be different nodes"),
        (changed("[2, 3, 4, 5]", "[i for i in (2, 3)]"), "must hold only"),
        (changed("'sep_conv_3x3', 0", "'sep_conv_7x7', 0"), "unknown operation 'sep_conv_7x7'"),
        (changed("'sep_conv_3x3', 0", "'none', 0"), "unknown operation 'none'"),
        (changed("'sep_conv_3x3', 0", "'sep_conv_3x3', 2"), r"must read nodes in \[0, 2\), but"),
        (changed("'sep_conv_3x3', 0", "'sep_conv_3x3', 1"), "every source at most once"),
        (changed("'sep_conv_3x3', 0", "'sep_conv_3x3',"), "must hold .operation, node. pairs"),
        (changed("('sep_conv_3x3', 0), ", ""), "must have two pairs for every node, but got 7"),
        (changed("normal=[", "normal=[['skip_connect'], "), "two pairs for every node"),
        (changed(", reduce_concat=[2, 3, 4, 5]", ""), "must have exactly"),
        (changed("normal_concat=", "x="), "must have exactly"),
        (changed("normal=", "normal=*"), "must be written 'Genotype"),
        (changed("normal=[", "**{}, normal=["), "must hold only|must have exactly"),
        (DARTS_V2[:-20], "must be written 'Genotype"),
        ("Genotype(" + "[" * 15_000, "must be written 'Genotype"),
        ("Genotype(normal=" + "-" * 15_000 + "1)", "must"),
        ("Genotype(normal=" + "9" * 9_000 + ")", "must"),
        ("Genotype(\0)", "must be written 'Genotype"),
        ("x" * 30_000, "must be written 'Genotype"),
        ("log " * 9_000 + f"Genotype({'x' * 29_990})", "most 20000 characters, but got 30000"),
        ('{"' + "x" * 29_998, "must have at most 20000 characters, but got 30000"),
        ('{"normal": [', "must be valid JSON, but"),
        ("{" + '"a":{' * 3_000, "must be valid JSON, but"),
        ('{"normal": 1, "normal_concat": 1, "reduce": 1, "reduce_concat": 1}', "must be a list"),
        ('{"normal": []}', "must have exactly"),
        (NESTED.replace("[[('skip_connect', 1)], ", "[[], "), "must have at least one input"),
        (NESTED.replace("[('skip_connect', 1)], ", ""), "must read nodes"),
    ],
)  # fmt: skip
def test_hostile_text_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(GraphError, match=message) as caught:
        Genotype.parse(text)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_cells_of_different_size_are_refused() -> None:
    two = "[('skip_connect', 0), ('skip_connect', 1)]"
    text = f"Genotype(normal={two}, normal_concat=[2], reduce=[{two}, {two}], reduce_concat=[2])"
    with pytest.raises(GraphError, match="must have the same number of intermediate nodes"):
        Genotype.parse(text)
    huge = f"Genotype(normal=[{', '.join([two] * 50)}], normal_concat=[2], reduce=[], "
    with pytest.raises(GraphError, match="must have at most 11 nodes, but got 50"):
        Genotype.parse(huge + "reduce_concat=[2])")
