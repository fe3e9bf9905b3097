from __future__ import annotations

import numpy as np
import pytest
import torch

from gnas.errors import GraphError
from gnas.graphs import DenseBatch, architecture
from gnas.graphs.canonical import canonical_order
from gnas.predictors import RandomWalkStatistics
from gnas.spaces import NASGEM, NASBench201

WALKS = RandomWalkStatistics(2)


def walks_from(adjacency: np.ndarray, node: int) -> list[tuple[float, list[int]]]:
    """Every walk from a node back to node 0 and its probability."""
    if node == 0:
        return [(1.0, [0])]
    before = np.flatnonzero(adjacency[:, node]).tolist()
    return [
        (p / len(before), [node, *walk]) for k in before for p, walk in walks_from(adjacency, k)
    ]


def expected(adjacency: np.ndarray, ops: np.ndarray) -> list[float]:
    """The columns by counting all walks of a cell without dead nodes."""
    leaves = np.flatnonzero(adjacency.sum(1) == 0).tolist()
    own = [walks_from(adjacency, leaf) for leaf in leaves]
    every = [(p / len(leaves), walk) for found in own for p, walk in found]
    share = np.array([p for p, _ in every])
    counts = np.array([[len(w) - 1, *(sum(ops[w] == o) for o in (0, 1))] for _, w in every])
    mean = share @ counts
    visits = np.zeros(len(ops))
    for p, walk in every:
        visits[walk] += p
    shortest = min(sum(p * (len(w) - 1) for p, w in found) for found in own)
    return [
        len(ops), adjacency.sum(), len(leaves), adjacency[0].sum(), shortest,
        *((ops == o).sum() for o in (0, 1)), *((ops[leaves] == o).sum() for o in (0, 1)),
        ops[0] == 0, ops[0] == 1, *mean, *np.sqrt(share @ (counts - mean) ** 2),
        (visits**2).sum(),
    ]  # fmt: skip


def test_as_all_walks_are_counted(rng: np.random.Generator) -> None:
    space = NASGEM(8, (0.2, 0.8))
    cells = space.prune(space.sample_batch(40, rng))
    rows = WALKS(cells)
    assert rows.shape == (40, 18)
    for k in range(len(cells)):
        n = int(cells.num_nodes[k])
        adjacency = cells.adjacency[k, :n, :n].numpy().astype(int)
        assert np.allclose(rows[k], expected(adjacency, cells.ops[k, :n].numpy()), atol=1e-7)


def test_a_chain_and_a_single_node() -> None:
    chain = architecture([[0, 1, 0], [0, 0, 1], [0, 0, 0]], [0, 1, 1], 2)
    one = architecture([[0]], [1], 2)
    found = WALKS(DenseBatch.from_data([chain, one]))
    assert found[0].tolist() == [3, 2, 1, 1, 2, 1, 2, 0, 1, 1, 0, 2, 1, 2, 0, 0, 0, 3]
    assert found[1].tolist() == [1, 0, 1, 0, 0, 0, 1, 0, 1, 0, 1, 0, 0, 1, 0, 0, 0, 1]


def test_dead_nodes_and_the_order_of_nodes_do_not_count(rng: np.random.Generator) -> None:
    space = NASGEM(20, (0.05, 0.2))
    cells = space.sample_batch(50, rng)
    live = space.prune(cells)
    assert int(live.num_nodes.min()) < 20
    assert np.array_equal(WALKS(cells), WALKS(live))
    assert np.allclose(WALKS(canonical_order(live)), WALKS(live))


def test_no_cells_and_others(rng: np.random.Generator) -> None:
    none = NASGEM(4).sample_batch(2, rng)[torch.zeros(0, dtype=torch.int64)]
    assert WALKS(none).shape == (0, 18)
    with pytest.raises(GraphError, match="graphs must have 2 node ops"):
        WALKS(NASBench201().sample_batch(2, rng))
