"""One architecture as a PyG ``Data``: build, take apart, validate."""

from __future__ import annotations

from collections.abc import Sequence

import networkx as nx
import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from gnas.errors import GraphError


def architecture(
    adjacency: Tensor | np.ndarray | Sequence[Sequence[int]],
    ops: Sequence[int] | Tensor | np.ndarray,
    num_ops: int,
    *,
    edge_ops: bool = False,
) -> Data:
    """A validated architecture from an adjacency matrix and the operation of every node.

    Args:
        adjacency: Upper-triangular matrix [n, n]; entry (i, j) is 1 for an edge i -> j, or
            1 + the edge's operation if ``edge_ops``.
        ops: Operation (or role) index of every node, each in [0, num_ops).
        num_ops: Size of the operation vocabulary, the width of ``x``.
        edge_ops: Whether the entries of ``adjacency`` carry operations.

    Shapes:
        adjacency [n, n], ops [n] -> x [n, num_ops], edge_index [2, e].

    Raises:
        GraphError: wrong shapes, an unknown operation, or an edge to a lower node.
    """
    matrix = torch.as_tensor(np.asarray(adjacency)).long()
    op_list = torch.as_tensor(np.asarray(ops)).long()
    n = op_list.numel()
    if op_list.dim() != 1 or matrix.shape != (n, n):
        raise GraphError(
            f"adjacency must be [n, n] for n = {n} ops, but got shape {tuple(matrix.shape)}"
        )
    if n == 0 or int(op_list.min()) < 0 or int(op_list.max()) >= num_ops:
        raise GraphError(f"ops must be in [0, {num_ops}), but got {op_list.tolist()}")
    if int(matrix.min()) < 0 or (not edge_ops and int(matrix.max()) > 1):
        raise GraphError(
            f"adjacency must hold 0 and 1, but got {sorted(set(matrix.flatten().tolist()))}"
        )
    if bool(torch.tril(matrix).any()):
        raise GraphError(
            "adjacency must be upper triangular (nodes in topological order, no cycle), "
            f"but got {matrix.tolist()}"
        )
    edge_index = matrix.nonzero().t().contiguous()
    data = Data(x=torch.nn.functional.one_hot(op_list, num_ops).float(), edge_index=edge_index)
    if edge_ops:
        data.edge_op = matrix[edge_index[0], edge_index[1]] - 1
    return data


def op_indices(data: Data) -> Tensor:
    """The operation (or role) index of every node: the hot column of ``x``, int64 [n].

    Raises:
        GraphError: ``x`` is missing or not one-hot.
    """
    x: Tensor | None = data.x
    if x is None or x.dim() != 2 or x.numel() == 0:
        shape = None if x is None else tuple(x.shape)
        raise GraphError(f"x must be one-hot of shape [n, num_ops], but got shape {shape}")
    if not bool(((x == 0) | (x == 1)).all() & (x.sum(1) == 1).all()):
        raise GraphError("every row of x must be one-hot, but one is not")
    return x.argmax(1)


def to_adjacency(data: Data) -> tuple[Tensor, Tensor]:
    """The adjacency matrix uint8 [n, n] (1 + edge op where there are any) and ops int64 [n]."""
    ops = op_indices(data)
    adjacency = torch.zeros(len(ops), len(ops), dtype=torch.uint8)
    code = data.edge_op + 1 if "edge_op" in data else torch.ones(data.edge_index.size(1))
    adjacency[data.edge_index[0], data.edge_index[1]] = code.to(torch.uint8)
    return adjacency, ops


def validate(data: Data, *, num_ops: int | None = None) -> None:
    """Checks the conventions of `gnas.graphs` on one architecture.

    Args:
        data: The architecture.
        num_ops: The vocabulary size that ``x`` must have; None accepts any.

    Raises:
        GraphError: says which rule is broken and what was found.
    """
    n = len(op_indices(data))
    if num_ops is not None and data.x.size(1) != num_ops:
        raise GraphError(f"x must have {num_ops} columns, but got {data.x.size(1)}")
    edge_index = data.edge_index
    if (
        edge_index is None
        or edge_index.dim() != 2
        or edge_index.size(0) != 2
        or edge_index.dtype != torch.int64
    ):
        found = None if edge_index is None else (tuple(edge_index.shape), edge_index.dtype)
        raise GraphError(f"edge_index must be int64 of shape [2, e], but got {found}")
    if edge_index.numel() and (int(edge_index.min()) < 0 or int(edge_index.max()) >= n):
        raise GraphError(f"edges must join nodes in [0, {n}), but got {edge_index.t().tolist()}")
    backward = edge_index[:, edge_index[0] >= edge_index[1]]
    if backward.numel():
        raise GraphError(
            "every edge must go from a lower to a higher node (topological order, no cycle), "
            f"but got {tuple(backward[:, 0].tolist())}; `from_networkx` sorts the nodes"
        )
    if (edge_index[0] * n + edge_index[1]).unique().numel() != edge_index.size(1):
        raise GraphError(f"no edge may occur twice, but got {edge_index.t().tolist()}")
    if "edge_op" in data:
        edge_op = data.edge_op
        if edge_op.shape != (edge_index.size(1),) or edge_op.dtype != torch.int64:
            raise GraphError(
                f"edge_op must be int64 of shape [{edge_index.size(1)}], "
                f"but got {tuple(edge_op.shape)} {edge_op.dtype}"
            )
        if edge_op.numel() and (int(edge_op.min()) < 0 or int(edge_op.max()) > 254):
            raise GraphError(f"edge_op must be in [0, 254], but got {edge_op.tolist()}")


def to_networkx(data: Data) -> nx.DiGraph:
    """The architecture as a networkx graph with node attribute ``op`` and edge ``op``."""
    graph = nx.DiGraph()
    for node, op in enumerate(op_indices(data).tolist()):
        graph.add_node(node, op=op)
    edge_ops = data.edge_op.tolist() if "edge_op" in data else [0] * data.edge_index.size(1)
    for (source, target), op in zip(data.edge_index.t().tolist(), edge_ops, strict=True):
        graph.add_edge(source, target, op=op)
    return graph


def from_networkx(graph: nx.DiGraph, num_ops: int, *, edge_ops: bool = False) -> Data:
    """An architecture from a networkx graph with node attribute ``op`` (and edge ``op``).

    Nodes are put in the lexicographically first topological order of their insertion order.

    Raises:
        GraphError: the graph has a cycle or an ``op`` is missing or out of range.
    """
    rank = {node: i for i, node in enumerate(graph.nodes)}
    try:
        order = list(nx.lexicographical_topological_sort(graph, key=rank.__getitem__))
    except nx.NetworkXUnfeasible as error:
        raise GraphError("an architecture must be acyclic, but the graph has a cycle") from error
    position = {node: i for i, node in enumerate(order)}
    adjacency = np.zeros((len(order), len(order)), dtype=np.int64)
    try:
        ops = [int(graph.nodes[node]["op"]) for node in order]
        for source, target, attributes in graph.edges(data=True):
            code = 1 + int(attributes["op"]) if edge_ops else 1
            adjacency[position[source], position[target]] = code
    except KeyError as error:
        raise GraphError("every node (and edge, with edge_ops) needs an attribute 'op'") from error
    return architecture(adjacency, ops, num_ops, edge_ops=edge_ops)
