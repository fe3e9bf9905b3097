from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from gnas.errors import GraphError
from gnas.graphs import as_batch, graph_keys, to_adjacency
from gnas.spaces import NASBench201, Space
from gnas.spaces.nasbench201 import simplified


def test_published_number_of_isomorphism_classes() -> None:
    # Dong and Yang, ICLR 2020: 15,625 cells, 6,466 of them different up to isomorphism.
    cells = NASBench201().enumerate()
    assert len(cells) == 15_625
    assert len({simplified(cell) for cell in cells}) == 6_466


def test_strings_of_the_real_table(shared_data: Callable[[str], Path]) -> None:
    path = shared_data("nasbench201/nasbench201_cifar.parquet")
    strings = pq.read_table(path, columns=["arch_str"])["arch_str"].to_pylist()
    space = NASBench201()
    assert [space.to_str(space.from_str(text)) for text in strings[:500]] == strings[:500]
    assert {space.to_str(cell) for cell in space.enumerate()} == set(strings)


def test_hand_read_string() -> None:
    text = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"
    cell = NASBench201().from_str(text)
    assert cell.edge_index.t().tolist() == [[0, 1], [0, 3], [1, 2], [2, 3]]
    assert [NASBench201().vocabulary.edge_ops[op] for op in cell.edge_op.tolist()] == [
        "nor_conv_3x3",
        "avg_pool_3x3",
        "skip_connect",
        "nor_conv_1x1",
    ]


def test_mutation_changes_one_edge(rng: np.random.Generator) -> None:
    space = NASBench201()
    for cell in space.sample_batch(50, rng):
        before, after = (space.to_str(graph) for graph in (cell, space.mutate(cell, rng)))
        pairs = zip(before.split("|"), after.split("|"), strict=True)
        assert sum(a != b for a, b in pairs) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("|none~0|+|none~0|none~1|", "must be written"),
        ("|none~0|+|none~0|none~1|+|none~0|none~1|none~3|", "followed by '~2'"),
        ("|conv~0|+|none~0|none~1|+|none~0|none~1|none~2|", "'conv~0'"),
        ("none~0+none~0|none~1+none~0|none~1|none~2", "must be written"),
    ],
)
def test_malformed_strings_are_refused(text: str, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        NASBench201().from_str(text)


def test_neighbours_are_all_single_edits(rng: np.random.Generator) -> None:
    space = NASBench201()
    for graph in space.sample_batch(5, rng):
        neighbours = space.neighbours(graph)
        mutants = as_batch([space.mutate(graph, rng) for _ in range(300)])
        assert set(graph_keys(neighbours).tolist()) == set(graph_keys(mutants).tolist())
        before, _ = to_adjacency(graph)
        assert all(
            int((before != to_adjacency(neighbour)[0]).sum()) == 1 for neighbour in neighbours
        )
        drawn = Space.neighbours(space, graph)  # as in a space that cannot list them
        assert set(graph_keys(drawn).tolist()) == set(graph_keys(neighbours).tolist())
        assert torch.equal(drawn.adjacency, Space.neighbours(space, graph).adjacency)
