"""Edge-op architectures as node-op architectures and back, so that one encoder serves all."""

from __future__ import annotations

import torch
from torch import Tensor

from gnas.errors import GraphError
from gnas.geometric import BaseTransform, Data
from gnas.graph_limits import MAX_EDGE_OP, MAX_OPS
from gnas.graphs.architecture import architecture, op_indices, to_adjacency
from gnas.graphs.dense import DenseBatch, Graphs, as_batch, single


def edge_ops_to_node_ops(batch: Graphs, num_edge_ops: int) -> DenseBatch:
    """Every edge's operation becomes a node between the feature maps that the edge joined.

    An edge i -> j with operation o becomes i -> v -> j, where node v has operation
    ``num_roles + o``; the nodes of the edge-op graph stay, with their roles. Each new node
    stands directly before its target, in the order of the sources, so that the nodes are in
    topological order again and `NodeOpsToEdgeOps` restores the original exactly.

    Args:
        batch: N edge-op architectures over R roles.
        num_edge_ops: Size of the edge-op vocabulary.

    Shapes:
        n nodes and e edges -> n + e nodes and 2e edges, ``num_ops`` R + num_edge_ops.

    Raises:
        GraphError: the batch has no edge ops, or one is out of range.

    Examples:
        >>> from gnas.spaces import NASBench201
        >>> cells = NASBench201().enumerate()[[-1]]
        >>> edge_ops_to_node_ops(cells, num_edge_ops=4).num_nodes  # 4 nodes and 6 edges
        tensor([10])
    """
    batch = as_batch(batch)
    _check_size(num_edge_ops)
    if not batch.has_edge_ops:
        raise GraphError("the graphs must carry edge_op, but they have none")
    graph, source, target = batch.adjacency.nonzero().unbind(1)
    edge_op = batch.adjacency[graph, source, target].long() - 1
    if edge_op.numel() and int(edge_op.max()) >= num_edge_ops:
        raise GraphError(f"edge_op must be in [0, {num_edge_ops}), but got {int(edge_op.max())}")
    if edge_op.numel() and batch.num_ops + int(edge_op.max()) > MAX_OPS:
        raise GraphError(
            f"nodes and edges must have at most {MAX_OPS + 1} operations together, but there are "
            f"{batch.num_ops} of nodes and edge_op {int(edge_op.max())}"
        )
    size, n = batch.ops.shape
    in_degree = batch.adjacency.bool().sum(1)  # [N, n]
    position = torch.arange(n) + in_degree.cumsum(1)  # new index of every old node
    # Rank of an edge among those of the same target: how many lower sources join it too.
    rank = (batch.adjacency.bool().long().cumsum(1) - 1)[graph, source, target]
    op_position = position[graph, target] - in_degree[graph, target] + rank
    num_nodes = batch.num_nodes + in_degree.sum(1)
    width = int(num_nodes.max()) if size else n
    ops = batch.ops.new_full((size, width), -1)
    row, node = (batch.ops >= 0).nonzero().unbind(1)
    ops[row, position[row, node]] = batch.ops[row, node]
    ops[graph, op_position] = (batch.num_ops + edge_op).to(torch.int8)
    adjacency = batch.adjacency.new_zeros(size, width, width)
    adjacency[graph, position[graph, source], op_position] = 1
    adjacency[graph, op_position, position[graph, target]] = 1
    return DenseBatch(adjacency, ops, num_nodes, batch.num_ops + num_edge_ops)


def _check_size(num_edge_ops: object) -> None:
    """Raise GraphError unless a size of an edge-op vocabulary is possible."""
    if type(num_edge_ops) is not int or not 0 <= num_edge_ops <= MAX_EDGE_OP + 1:
        raise GraphError(
            f"num_edge_ops must be a whole number in [0, {MAX_EDGE_OP + 1}], but got "
            f"{num_edge_ops!r:.80}"
        )


class EdgeOpsToNodeOps(BaseTransform):  # type: ignore[misc]
    """`edge_ops_to_node_ops` as a PyG transform of one ``Data``.

    Args:
        num_edge_ops: Size of the edge-op vocabulary.

    Examples:
        >>> from gnas.spaces import NASBench201
        >>> space = NASBench201()
        >>> text = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_1x1~2|"
        >>> EdgeOpsToNodeOps(len(space.edge_ops))(space.from_str(text)).num_nodes
        7
    """

    def __init__(self, num_edge_ops: int) -> None:
        self.num_edge_ops = num_edge_ops

    def forward(self, data: Data) -> Data:
        """The node-op architecture."""
        return edge_ops_to_node_ops(single(data), self.num_edge_ops).data(0)


class NodeOpsToEdgeOps(BaseTransform):  # type: ignore[misc]
    """Inverse of `EdgeOpsToNodeOps`: the last ``num_edge_ops`` node operations become edges.

    Args:
        num_edge_ops: Size of the edge-op vocabulary.

    Examples:
        >>> from gnas.spaces import NASBench201
        >>> space = NASBench201()
        >>> cell = space.enumerate().data(7)
        >>> there = EdgeOpsToNodeOps(4)(cell)
        >>> space.to_str(NodeOpsToEdgeOps(4)(there)) == space.to_str(cell)
        True
    """

    def __init__(self, num_edge_ops: int) -> None:
        self.num_edge_ops = num_edge_ops

    def forward(self, data: Data) -> Data:
        """The edge-op architecture.

        Raises:
            GraphError: an operation node does not have exactly one input and one output.
        """
        _check_size(self.num_edge_ops)
        adjacency, ops = to_adjacency(data)
        if "edge_op" in data:
            raise GraphError("operations must be on nodes, but the graph has edge_op")
        num_roles = int(data.x.size(1)) - self.num_edge_ops
        if num_roles < 1:
            raise GraphError(
                f"num_edge_ops must be below the {data.x.size(1)} columns of x, but is "
                f"{self.num_edge_ops}"
            )
        is_op = ops >= num_roles  # [n]
        matrix: Tensor = adjacency.long()  # [n, n]
        if not bool(((matrix.sum(0) == 1) & (matrix.sum(1) == 1))[is_op].all()):
            raise GraphError("every operation node must have exactly one input and one output")
        if bool(matrix[~is_op][:, ~is_op].any()) or bool(matrix[is_op][:, is_op].any()):
            raise GraphError("edges must join a feature map and an operation")
        maps = (~is_op).nonzero().flatten()  # [m]
        position = torch.zeros(len(ops), dtype=torch.int64)
        position[maps] = torch.arange(len(maps))
        edges = torch.zeros(len(maps), len(maps), dtype=torch.int64)  # [m, m]
        for v in is_op.nonzero().flatten().tolist():
            source, target = int(matrix[:, v].argmax()), int(matrix[v].argmax())
            edges[position[source], position[target]] = int(ops[v]) - num_roles + 1
        return architecture(edges, op_indices(data)[maps], num_roles, edge_ops=True)
