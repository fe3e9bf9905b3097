from __future__ import annotations

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from gnas.errors import GraphError
from gnas.graphs import EdgeOpsToNodeOps, NodeOpsToEdgeOps, architecture, validate
from gnas.spaces import NASBench101, NASBench201


def random_edge_op_graph(rng: np.random.Generator) -> Data:
    n = int(rng.integers(2, 9))
    adjacency = np.triu(rng.integers(0, 5, size=(n, n)), 1)
    return architecture(adjacency, rng.integers(0, 3, size=n), 3, edge_ops=True)


def test_hand_computed_example() -> None:
    cell = architecture([[0, 2, 1], [0, 0, 3], [0, 0, 0]], [0, 1, 2], 3, edge_ops=True)
    # input, op1 (0 -> 1), sum, op0 (0 -> 2), op2 (1 -> 2), output
    nodes = EdgeOpsToNodeOps(4)(cell)
    assert nodes.x.argmax(1).tolist() == [0, 4, 1, 3, 5, 2]
    assert nodes.edge_index.t().tolist() == [[0, 1], [0, 3], [1, 2], [2, 4], [3, 5], [4, 5]]


def test_round_trip_is_exact(rng: np.random.Generator) -> None:
    cells = [random_edge_op_graph(rng) for _ in range(100)]
    cells += list(NASBench201().sample_batch(100, rng))
    for cell in cells:
        nodes = EdgeOpsToNodeOps(4)(cell)
        validate(nodes, num_ops=7)
        assert len(nodes.x) == len(cell.x) + cell.edge_index.size(1)
        back = NodeOpsToEdgeOps(4)(nodes)
        assert torch.equal(back.x, cell.x)
        assert torch.equal(back.edge_index, cell.edge_index)
        assert torch.equal(back.edge_op, cell.edge_op)


def test_graphs_of_the_wrong_kind_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(GraphError, match="must carry edge_op"):
        EdgeOpsToNodeOps(4)(NASBench101().sample(rng))
    cell = architecture([[0, 5], [0, 0]], [0, 2], 3, edge_ops=True)
    with pytest.raises(GraphError, match=r"edge_op must be in \[0, 4\), but got 4"):
        EdgeOpsToNodeOps(4)(cell)
    dangling = architecture([[0, 1, 0], [0, 0, 0], [0, 0, 0]], [0, 3, 2], 7)
    with pytest.raises(GraphError, match="exactly one input and one output"):
        NodeOpsToEdgeOps(4)(dangling)
    direct = architecture([[0, 1], [0, 0]], [0, 2], 7)
    with pytest.raises(GraphError, match="join a feature map and an operation"):
        NodeOpsToEdgeOps(4)(direct)
