"""One architecture as a PyG ``Data``: build, take apart, validate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import index
from typing import TypeGuard, cast

import networkx as nx
import numpy as np
import torch
from torch import Tensor

from gnas.errors import GraphError
from gnas.geometric import Batch, Data
from gnas.graph_limits import MAX_EDGE_OP, MAX_OPS


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

    Examples:
        >>> cell = architecture([[0, 1, 1], [0, 0, 1], [0, 0, 0]], ops=[0, 1, 4], num_ops=5)
        >>> cell.edge_index.tolist()
        [[0, 0, 1], [1, 2, 2]]
    """
    num_ops = _count(num_ops)
    matrix, op_list = _whole(adjacency, "adjacency"), _whole(ops, "ops")
    n = op_list.numel()
    if not 1 <= num_ops <= MAX_OPS:
        raise GraphError(f"num_ops must be a whole number in [1, {MAX_OPS}], but got {num_ops!r}")
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
    if int(matrix.max()) > MAX_EDGE_OP + 1:
        raise GraphError(
            f"adjacency must hold 1 + edge_op, at most {MAX_EDGE_OP + 1}, but got "
            f"{int(matrix.max())}"
        )
    if np.tril(matrix).any():
        raise GraphError(
            "adjacency must be upper triangular (nodes in topological order, no cycle), "
            f"but got {matrix.tolist()}"
        )
    edge_index = matrix.nonzero().t().contiguous()
    data = Data(x=torch.nn.functional.one_hot(op_list, num_ops).float(), edge_index=edge_index)
    if edge_ops:
        data.edge_op = matrix[edge_index[0], edge_index[1]] - 1
    return data


def _whole(values: object, name: str) -> Tensor:
    """Whole numbers as int64.

    Raises:
        GraphError: something is no whole number.
    """
    try:
        if isinstance(values, Tensor):
            values = values.detach().cpu().to_dense()
            values = values.double() if values.is_floating_point() else values
        array = np.asarray(values)
    except ValueError as error:  # rows of different lengths
        raise GraphError(
            f"{name} must have rows of one length, but got {values!r:.120}"
        ) from error
    is_whole = array.dtype.kind in "biu" or (
        array.dtype.kind == "f" and bool(((array == np.trunc(array)) & (abs(array) < 2**31)).all())
    )
    if not is_whole and array.size:
        raise GraphError(f"{name} must hold whole numbers, but got {values!r:.120}")
    return torch.from_numpy(array.astype(np.int64))


def check_single(data: Data) -> None:
    """Raise GraphError for a PyG ``Batch``, which is a ``Data`` but not one architecture."""
    if not isinstance(data, Data):
        raise GraphError(f"an architecture must be a PyG Data, but got {data!r:.80}")
    if isinstance(data, Batch):
        raise GraphError(
            f"this takes one architecture, but got a Batch of {data.num_graphs}; call it for "
            "every graph of `batch.to_data_list()`"
        )


_NUMBERS = {
    torch.bool,
    *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.bfloat16, torch.float16, torch.float32, torch.float64),
}
"""Types whose numbers torch compares on every device: not complex, quantised, 8-bit floating or
unsigned ones."""


def is_readable(value: object) -> TypeGuard[Tensor]:
    """Whether this is a dense tensor of a common type, in the memory of a device.

    Args:
        value: Anything; tensors on the ``meta`` device hold no numbers.
    """
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and value.dtype in _NUMBERS
        and not value.is_meta
        and not value.is_nested
    )


def tensor_form(value: object) -> str:
    """Shape and type of a tensor for a message; what else it is if none."""
    if isinstance(value, Tensor) and value.is_nested:
        return "a nested tensor"
    if isinstance(value, Tensor):
        sparse = "" if value.layout == torch.strided else "sparse "
        where = " on the meta device, without values" if value.is_meta else ""
        return f"{list(value.shape)} {sparse}{str(value.dtype).removeprefix('torch.')}{where}"
    return "none" if value is None else type(value).__name__


def op_indices(data: Data) -> Tensor:
    """The operation (or role) index of every node: the hot column of ``x``, int64 [n].

    Args:
        data: One architecture.

    Raises:
        GraphError: ``x`` is missing or not one-hot, or ``data`` is a PyG ``Batch``.

    Examples:
        >>> op_indices(architecture([[0, 1], [0, 0]], ops=[0, 4], num_ops=5)).tolist()
        [0, 4]
    """
    check_single(data)
    x = data.x
    if isinstance(x, Tensor) and x.layout != torch.strided:
        raise GraphError("x must be a dense tensor, but is sparse; take `x.to_dense()`")
    if not is_readable(x) or x.dim() != 2 or not x.numel():
        raise GraphError(
            "x must be one-hot of shape [n, num_ops], in a common type such as float32, but got "
            f"{tensor_form(x)}"
        )
    rows, ops = x.nonzero().unbind(1)
    if rows.tolist() != list(range(len(x))) or not bool((x[rows, ops] == 1).all()):
        raise GraphError("every row of x must be one-hot, but one is not")
    return ops


def to_adjacency(data: Data) -> tuple[Tensor, Tensor]:
    """The adjacency matrix uint8 [n, n] (1 + edge op where there are any) and ops int64 [n].

    Args:
        data: One architecture.

    Raises:
        GraphError: ``data`` breaks the conventions of `gnas.graphs`; see `validate`.

    Examples:
        >>> cell = architecture([[0, 1], [0, 0]], ops=[0, 4], num_ops=5)
        >>> adjacency, ops = to_adjacency(cell)
        >>> adjacency.tolist(), ops.tolist()
        ([[0, 1], [0, 0]], [0, 4])
    """
    ops = _validated(data, None)
    adjacency = torch.zeros(len(ops), len(ops), dtype=torch.uint8)
    code = (data.edge_op + 1).to(torch.uint8) if "edge_op" in data else 1
    adjacency[data.edge_index[0], data.edge_index[1]] = code
    return adjacency, ops


def validate(data: Data, *, num_ops: int | None = None) -> None:
    """Check the conventions of `gnas.graphs` on one architecture.

    Args:
        data: The architecture.
        num_ops: The vocabulary size that ``x`` must have; None accepts any.

    Raises:
        GraphError: says which rule is broken and what was found.

    Examples:
        >>> validate(architecture([[0, 1], [0, 0]], ops=[0, 4], num_ops=5), num_ops=5)
    """
    _validated(data, num_ops)


def _validated(data: Data, num_ops: int | None, *, is_sorted: bool = True) -> Tensor:
    """The operation of every node of a graph that keeps the conventions: int64 [n].

    Args:
        data: One architecture.
        num_ops: Size of the vocabulary, if it is known.
        is_sorted: Whether its nodes must be in topological order.
    """
    ops = op_indices(data)
    n = len(ops)
    if num_ops is not None and data.x.size(1) != num_ops:
        raise GraphError(f"x must have {num_ops} columns, but got {data.x.size(1)}")
    edge_index = data.edge_index
    if (
        not is_readable(edge_index)
        or edge_index.dim() != 2
        or edge_index.size(0) != 2
        or edge_index.dtype != torch.int64
    ):
        raise GraphError(
            f"edge_index must be int64 of shape [2, e], but got {tensor_form(edge_index)}"
        )
    sources, targets = edge_index.tolist()  # few: faster than as tensors
    if sources and (min(sources + targets) < 0 or max(sources + targets) >= n):
        raise GraphError(f"edges must join nodes in [0, {n}), but got {edge_index.t().tolist()}")
    edges = list(zip(sources, targets, strict=True))
    backward = [edge for edge in edges if edge[0] >= edge[1]]
    if is_sorted and backward:
        raise GraphError(
            "every edge must go from a lower to a higher node (topological order, no cycle), "
            f"but got {backward[0]}; `from_networkx` sorts the nodes"
        )
    if len({*edges}) != len(edges):
        raise GraphError(f"no edge may occur twice, but got {edge_index.t().tolist()}")
    if "edge_op" in data:
        edge_op = data.edge_op
        if not is_readable(edge_op) or (
            (edge_op.shape, edge_op.dtype) != (edge_index.shape[1:], torch.int64)
        ):
            raise GraphError(
                f"edge_op must be int64 of shape [{edge_index.size(1)}], but got "
                f"{tensor_form(edge_op)}"
            )
        if edge_op.numel() and (int(edge_op.min()) < 0 or int(edge_op.max()) > MAX_EDGE_OP):
            raise GraphError(f"edge_op must be in [0, {MAX_EDGE_OP}], but got {edge_op.tolist()}")
    return ops


def to_networkx(
    data: Data, ops: Sequence[str] | None = None, *, edge_ops: Sequence[str] | None = None
) -> nx.DiGraph:
    """The architecture as a networkx graph with node attribute ``op`` and edge attribute ``op``.

    Its nodes may be in any order; `from_networkx` sorts them.

    Args:
        data: The architecture.
        ops: Names of the operations, as in ``space.ops``; attributes then are names, not indices.
        edge_ops: Names of the edge operations likewise.

    Raises:
        GraphError: ``data`` breaks the conventions of `gnas.graphs`, or an operation has no name.

    Examples:
        >>> cell = architecture([[0, 1], [0, 0]], ops=[0, 4], num_ops=5)
        >>> sorted(to_networkx(cell).edges)
        [(0, 1)]
    """
    graph = nx.DiGraph()
    kinds = _validated(data, None if ops is None else len(ops), is_sorted=False).tolist()
    for node, op in enumerate(kinds):
        graph.add_node(node, op=op if ops is None else ops[op])
    codes = data.edge_op.tolist() if "edge_op" in data else [0] * data.edge_index.size(1)
    if edge_ops is not None and max(codes, default=0) >= len(edge_ops):
        raise GraphError(f"edge_op must be in [0, {len(edge_ops)}), but got {max(codes)}")
    for (source, target), op in zip(data.edge_index.t().tolist(), codes, strict=True):
        graph.add_edge(source, target, op=op if edge_ops is None else edge_ops[op])
    return graph


def from_networkx(
    graph: nx.DiGraph, num_ops: int | Sequence[str], *, edge_ops: bool | Sequence[str] = False
) -> Data:
    """An architecture from a networkx graph with node attribute ``op`` (and edge ``op``).

    Nodes are put in the lexicographically first topological order of their insertion order.

    Args:
        graph: The graph, acyclic.
        num_ops: Size of the operation vocabulary; or the operations' names, as in ``space.ops``,
            where attributes are names.
        edge_ops: Whether edges carry operations; or the names of the edge operations.

    Raises:
        GraphError: the graph is no directed one or has a cycle, or an ``op`` is missing, unknown
            or out of range.

    Examples:
        >>> import networkx as nx
        >>> cell = nx.DiGraph([("a", "b")])
        >>> nx.set_node_attributes(cell, {"a": "input", "b": "output"}, "op")
        >>> from_networkx(cell, ["input", "conv", "output"]).x.tolist()
        [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    if not isinstance(graph, nx.Graph) or not graph.is_directed() or graph.is_multigraph():
        raise GraphError(f"graph must be a networkx DiGraph, but got {graph!r:.80}")
    if not isinstance(num_ops, Iterable):
        num_ops = _count(num_ops)
    rank = {node: i for i, node in enumerate(graph.nodes)}
    try:
        order = list(nx.lexicographical_topological_sort(graph, key=rank.__getitem__))
    except nx.NetworkXUnfeasible as error:
        raise GraphError("an architecture must be acyclic, but the graph has a cycle") from error
    position = {node: i for i, node in enumerate(order)}
    node_names = None if isinstance(num_ops, int) else list(num_ops)
    edge_names = None if isinstance(edge_ops, bool) else list(edge_ops)
    with_edge_ops = edge_ops is not False
    adjacency = np.zeros((len(order), len(order)), dtype=np.int64)
    ops = [_attribute(graph.nodes[node], node_names, f"node {node!r}") for node in order]
    for source, target, attributes in graph.edges(data=True):
        code = 1
        if with_edge_ops:
            code += _attribute(attributes, edge_names, f"edge ({source!r}, {target!r})")
            if code < 1:
                raise GraphError(
                    f"op must be at least 0, but edge {source, target} has {code - 1}"
                )
        adjacency[position[source], position[target]] = code
    width = num_ops if isinstance(num_ops, int) else len(num_ops)
    return architecture(adjacency, ops, width, edge_ops=with_edge_ops)


def _count(num_ops: object) -> int:
    """A size of a vocabulary, which may be a number of NumPy."""
    try:
        return index(cast(int, num_ops))
    except TypeError:
        raise GraphError(
            f"num_ops must be a whole number or the operations' names, but got {num_ops!r:.80}"
        ) from None


def _attribute(attributes: Mapping[str, object], names: list[str] | None, where: str) -> int:
    """The index that the attribute ``op`` of a node or an edge says.

    Raises:
        GraphError: it is missing, or neither a whole number nor one of ``names``.
    """
    op = attributes.get("op")
    if op is None:
        raise GraphError(
            f"every node (and edge, with edge_ops) needs an attribute 'op', but {where} has none"
        )
    if isinstance(op, str):
        if names is None:
            raise GraphError(
                f"op of {where} is the name {op!r}: pass the names of the operations, for example "
                "from_networkx(graph, space.ops)"
            )
        if op not in names:
            raise GraphError(f"op of {where} must be one of {names}, but is {op!r}")
        return names.index(op)
    if isinstance(op, bool) or not isinstance(op, (int, np.integer)):
        raise GraphError(f"op of {where} must be a whole number or a name, but is {op!r}")
    return int(op)
