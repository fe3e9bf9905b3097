"""The dense batch form: hundreds of thousands of architectures in three tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias, overload

import torch
from torch import Tensor

from gnas.errors import GraphError
from gnas.geometric import Batch, Data, InMemoryDataset
from gnas.graph_limits import MAX_EDGE_OP, MAX_OPS
from gnas.graphs.architecture import check_single, is_readable, tensor_form

_CHUNK_SIZE = 1024  # graphs that an iteration takes apart at a time


@dataclass(frozen=True)
class DenseBatch:
    """N architectures padded to n nodes.

    Converts to and from ``list[Data]`` without loss: `from_data`, `to_data_list`, `data`.

    Shapes:
        adjacency: uint8 [N, n, n]; 0 = no edge, else 1 (node-op spaces) or 1 + ``edge_op``.
        ops: int8 [N, n]; the column that is hot in ``x``, -1 on padding.
        num_nodes: int64 [N]; nodes 0..num_nodes-1 are real, the rest is padding.

    Raises:
        GraphError: a tensor has another type or shape; `as_batch` looks at what they hold.

    Examples:
        >>> from gnas.spaces import NASBench201
        >>> batch = NASBench201().enumerate()
        >>> len(batch), batch.max_nodes
        (15625, 4)
        >>> batch[:2].adjacency.shape
        torch.Size([2, 4, 4])
        >>> batch.data(0).num_edges
        0
    """

    adjacency: Tensor
    ops: Tensor
    num_nodes: Tensor
    num_ops: int
    """Width of the one-hot ``x``."""
    has_edge_ops: bool = False
    """Whether the architectures carry ``edge_op``."""
    _is_sound = False  # set by `sound`: `as_batch` looks once at what a batch holds

    def __post_init__(self) -> None:
        kinds = {
            "adjacency": (self.adjacency, 3, torch.uint8),
            "ops": (self.ops, 2, torch.int8),
            "num_nodes": (self.num_nodes, 1, torch.int64),
        }
        for name, (tensor, dim, dtype) in kinds.items():
            if not is_readable(tensor) or (tensor.dim(), tensor.dtype) != (dim, dtype):
                raise GraphError(
                    f"{name} must be {str(dtype).removeprefix('torch.')} "
                    f"{('[N]', '[N, n]', '[N, n, n]')[dim - 1]}, but got {tensor_form(tensor)}"
                )
        count, n = self.ops.shape
        if self.adjacency.shape != (count, n, n) or len(self.num_nodes) != count:
            raise GraphError(
                "adjacency, ops and num_nodes must be [N, n, n], [N, n] and [N], but got "
                f"{tensor_form(self.adjacency)}, {tensor_form(self.ops)} and "
                f"{tensor_form(self.num_nodes)}"
            )

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({len(self)} graphs, max_nodes={self.max_nodes}, "
            f"num_ops={self.num_ops}, has_edge_ops={self.has_edge_ops})"
        )

    def __len__(self) -> int:
        return int(self.num_nodes.numel())

    @overload
    def __getitem__(self, index: int) -> Data: ...

    @overload
    def __getitem__(self, index: slice | Sequence[int] | Tensor) -> DenseBatch: ...

    def __getitem__(self, index: int | slice | Sequence[int] | Tensor) -> Data | DenseBatch:
        """One architecture, or a batch of rows (a slice is a view, a list or mask a copy)."""
        if not isinstance(index, slice):
            try:
                index = torch.as_tensor(index)
            except (TypeError, RuntimeError, ValueError) as error:
                raise IndexError(f"rows must be whole numbers, but got {index!r:.80}") from error
            if not index.dim():
                return self.data(int(index))
            index = index if index.numel() else index.long()
        return DenseBatch(
            self.adjacency[index],
            self.ops[index],
            self.num_nodes[index],
            self.num_ops,
            self.has_edge_ops,
        )

    @property
    def max_nodes(self) -> int:
        """The padded number of nodes n."""
        return int(self.ops.size(1))

    def data(self, i: int) -> Data:
        """Architecture ``i`` as a PyG ``Data`` that shares no memory with the batch."""
        n = int(self.num_nodes[i])
        adjacency = self.adjacency[i, :n, :n]
        edge_index = adjacency.nonzero().t().contiguous()
        x = torch.nn.functional.one_hot(self.ops[i, :n].long(), self.num_ops).float()
        if not self.has_edge_ops:
            return Data(x=x, edge_index=edge_index)
        edge_op = adjacency[edge_index[0], edge_index[1]].long() - 1  # [E]
        return Data(x=x, edge_index=edge_index, edge_op=edge_op)

    def to_data_list(self) -> list[Data]:
        """Every architecture as a PyG ``Data``, none of which shares memory with another.

        Much faster than `data` of every row: the batch is taken apart by one pass.
        """
        graph, source, target = self.adjacency.nonzero().unbind(1)  # [E], ordered by graph
        edges = torch.bincount(graph, minlength=len(self)).tolist()  # edges of every graph
        kinds = self.ops[self.ops >= 0].long()  # [M]
        x = torch.nn.functional.one_hot(kinds, self.num_ops).float()  # [M, num_ops]
        parts = {
            "x": torch.split(x, self.num_nodes.tolist()),
            "edge_index": torch.split(torch.stack([source, target]), edges, dim=1),
        }
        if self.has_edge_ops:
            codes = self.adjacency[graph, source, target].long() - 1  # [E]
            parts["edge_op"] = torch.split(codes, edges)
        own = torch.contiguous_format  # a copy: slices would keep the whole batch alive
        columns = [[part.clone(memory_format=own) for part in parts[key]] for key in parts]
        return [Data(**dict(zip(parts, row, strict=True))) for row in zip(*columns, strict=True)]

    def __iter__(self) -> Iterator[Data]:
        for start in range(0, len(self), _CHUNK_SIZE):
            yield from self[start : start + _CHUNK_SIZE].to_data_list()

    def clone(self) -> DenseBatch:
        """A copy that shares no memory with the batch."""
        return DenseBatch(
            self.adjacency.clone(),
            self.ops.clone(),
            self.num_nodes.clone(),
            self.num_ops,
            self.has_edge_ops,
        )

    def row_bytes(self) -> list[bytes]:
        """Every architecture as drawn, in bytes: equal where graph and padding are."""
        parts = [self.adjacency.flatten(1), self.ops.view(torch.uint8)]
        return [row.tobytes() for row in torch.cat(parts, 1).numpy()]

    def pad_to(self, n: int) -> DenseBatch:
        """The same architectures padded to ``n`` nodes.

        Raises:
            GraphError: a graph has more than ``n`` nodes.
        """
        largest = int(self.num_nodes.max()) if len(self) else 0
        if largest > n:
            raise GraphError(f"graphs must have at most {n} nodes, but one has {largest}")
        if n == self.max_nodes:
            return self
        adjacency = self.adjacency.new_zeros(len(self), n, n)
        ops = self.ops.new_full((len(self), n), -1)  # [N, n]
        keep = min(n, self.max_nodes)
        adjacency[:, :keep, :keep] = self.adjacency[:, :keep, :keep]
        ops[:, :keep] = self.ops[:, :keep]
        return DenseBatch(adjacency, ops, self.num_nodes, self.num_ops, self.has_edge_ops)

    def reordered(self, order: Tensor) -> DenseBatch:
        """The same architectures with node ``order[i, k]`` of architecture i as its node k.

        Args:
            order: A permutation of each architecture's n nodes, padding last; a topological
                order, if the result is to keep the conventions.

        Shapes:
            order int64 [N, n].
        """
        n = self.max_nodes
        rows = self.adjacency.gather(1, order[:, :, None].expand(-1, -1, n))
        adjacency = rows.gather(2, order[:, None, :].expand(-1, n, -1))  # [N, n, n]
        ops = self.ops.gather(1, order)
        return DenseBatch(adjacency, ops, self.num_nodes, self.num_ops, self.has_edge_ops)

    @staticmethod
    def from_data(graphs: Sequence[Data] | Data) -> DenseBatch:
        """The dense form of ``graphs``, padded to the largest of them.

        Args:
            graphs: N architectures in a list (in which a PyG ``Batch`` stands for its graphs), a
                PyG data set, a PyG ``Batch``, or one ``Data``.

        Raises:
            GraphError: there is no graph at all, the graphs differ in ``num_ops`` or in having
                ``edge_op``, or one of them breaks a convention of `gnas.graphs`. The message names
                its position and what was found.
        """
        return _dense(_collated(graphs))

    @staticmethod
    def concat(batches: Sequence[DenseBatch]) -> DenseBatch:
        """All rows of ``batches``, padded to the widest of them.

        Raises:
            GraphError: no batch, or the batches differ in ``num_ops`` or in having edge ops.
        """
        if not all(isinstance(batch, DenseBatch) for batch in batches):
            raise GraphError(f"batches must be dense batches, but got {batches!r:.80}")
        kinds = {(batch.num_ops, batch.has_edge_ops) for batch in batches}
        if len(kinds) != 1:
            raise GraphError(
                "batches must agree in (num_ops, has_edge_ops) and be at least one, "
                f"but found {sorted(kinds)}"
            )
        n = max(batch.max_nodes for batch in batches)
        padded = [batch.pad_to(n) for batch in batches]
        num_ops, has_edge_ops = kinds.pop()
        return DenseBatch(
            torch.cat([batch.adjacency for batch in padded]),
            torch.cat([batch.ops for batch in padded]),
            torch.cat([batch.num_nodes for batch in padded]),
            num_ops,
            has_edge_ops,
        )


Graphs: TypeAlias = Data | Sequence[Data] | DenseBatch
"""Argument type of functions of many architectures: one ``Data``, a PyG ``Batch`` of them, a list
or PyG data set of ``Data``, or a `DenseBatch`."""


def as_batch(graphs: Graphs) -> DenseBatch:
    """The dense form of any `Graphs`; a dense batch is checked, once, and returned as it is.

    Args:
        graphs: One `Data`, a list or data set of them, a PyG ``Batch``, or a dense batch.

    Raises:
        GraphError: see `DenseBatch.from_data` and `validate_batch`.

    Examples:
        >>> from gnas.spaces import NASBench201
        >>> cells = NASBench201().enumerate()[:3].to_data_list()
        >>> as_batch(cells).ops.shape
        torch.Size([3, 4])
    """
    if not isinstance(graphs, DenseBatch):
        return DenseBatch.from_data(graphs)
    if not graphs._is_sound:
        validate_batch(graphs)
    return sound(graphs)


def sound(batch: DenseBatch) -> DenseBatch:
    """The batch, marked as one that keeps the conventions, so that `as_batch` looks no more.

    Args:
        batch: One that was validated, or made of such a one.
    """
    object.__setattr__(batch, "_is_sound", True)
    return batch


def copied(batch: DenseBatch) -> DenseBatch:
    """A copy for a function of the user's own, which may change what it is given.

    Args:
        batch: One that is needed afterwards.
    """
    copy = batch.clone()
    return sound(copy) if batch._is_sound else copy


def single(graph: Data) -> DenseBatch:
    """The dense form of one architecture.

    Raises:
        GraphError: ``graph`` is a PyG ``Batch``, or breaks a convention of `gnas.graphs`.
    """
    check_single(graph)
    return DenseBatch.from_data(graph)


@dataclass(frozen=True)
class _Collated:
    """N graphs end to end, as PyG batches them, before anything is checked.

    Shapes:
        x [M, num_ops], nodes int64 [N] (number of nodes of each), edge_index [2, E] with nodes
        numbered within their graph, edges int64 [N], edge_op [E] or None.
    """

    x: Tensor
    nodes: Tensor
    edge_index: Tensor
    edges: Tensor
    edge_op: Tensor | None


def _collated(graphs: Sequence[Data] | Data) -> _Collated:
    """Any collection of graphs end to end.

    Raises:
        GraphError: a tensor is missing or of another shape or type.
    """
    if isinstance(graphs, Batch):
        return _of_pyg_batch(graphs)
    if isinstance(graphs, Data):
        return _of_list([graphs])
    if isinstance(graphs, InMemoryDataset) and graphs.transform is None and len(graphs):
        return _of_dataset(graphs)
    try:
        listed = list(graphs)
    except (TypeError, NotImplementedError) as error:  # the second of PyG's HeteroData
        raise GraphError(
            "architectures must be a Data, a Batch, a list of Data or a DenseBatch, but got "
            f"{type(graphs).__name__}"
        ) from error
    if any(isinstance(graph, Batch) for graph in listed):
        flat: list[Data] = []
        for graph in listed:
            flat.extend(graph.to_data_list() if isinstance(graph, Batch) else [graph])
        listed = flat
    return _of_list(listed)


def _of_list(graphs: Sequence[Data]) -> _Collated:
    """One ``torch.cat`` per attribute; what it needs is looked at graph by graph, but cheaply."""
    count = len(graphs)
    if not count:
        raise GraphError("a batch must hold at least one graph, but got none")
    xs, indices, codes = [], [], []
    for i, graph in enumerate(graphs):
        if not isinstance(graph, Data):
            raise GraphError(f"{_at(i, count)} must be a PyG Data, but got {type(graph).__name__}")
        attribute = graph.stores[0].get  # a third of the time of `graph.x` and `graph.get`
        xs.append(attribute("x"))
        indices.append(attribute("edge_index"))
        code = attribute("edge_op")
        if code is not None:
            codes.append(code)
    try:
        x, edge_index = torch.cat(xs), torch.cat(indices, dim=1)
        nodes, edges = [x.size(0) for x in xs], [index.size(1) for index in indices]
        types = {(x.dtype, index.dtype) for x, index in zip(xs, indices, strict=True)}
        sound = _sound_x(x) and _is_edge_index(edge_index) and len(types) == 1 and 0 not in nodes
    except (TypeError, RuntimeError, IndexError):
        sound = False
    if not sound:
        _refuse_x(xs)
        _refuse_edge_index(indices)
        raise GraphError("x and edge_index of all graphs must be on one device")
    if len(codes) not in (0, count):
        odd = next(i for i in range(count) if ("edge_op" in graphs[i]) != ("edge_op" in graphs[0]))
        raise GraphError(
            "graphs of one batch must agree in having edge_op, but graph 0 has "
            f"{'one' if 'edge_op' in graphs[0] else 'none'} and {_at(odd, count)} differs"
        )
    for i, (code, size) in enumerate(zip(codes, edges if codes else [], strict=True)):
        _check_edge_op(code, size, i, count)
    return _Collated(
        x,
        torch.tensor(nodes),
        edge_index,
        torch.tensor(edges),
        torch.cat(codes) if codes else None,
    )


def _of_pyg_batch(batch: Batch) -> _Collated:
    """The graphs of a PyG ``Batch``, whose nodes are numbered through."""
    if batch.batch is None:
        raise GraphError(
            "a Batch must say in `batch` to which graph each of its nodes belongs, and this one "
            "does not; build it by `Batch.from_data_list`"
        )
    count = int(batch.num_graphs)
    x, index = batch.x, batch.edge_index
    if not _sound_x(x):
        _refuse_x([x])
    if not _is_edge_index(index):
        _refuse_edge_index([index])
    of_node = batch.batch  # [M], the graph of every node
    if not is_readable(of_node) or len(of_node) != len(x) or bool((of_node.diff() < 0).any()):
        raise GraphError(
            "a Batch must say in `batch` to which graph each of its nodes belongs, graph by "
            "graph; build it by `Batch.from_data_list`"
        )
    nodes = torch.bincount(of_node, minlength=count)  # [N]
    first = nodes.cumsum(0) - nodes  # [N], number of every graph's first node
    if index.numel() and (int(index.min()) < 0 or int(index.max()) >= len(x)):
        raise GraphError(f"edges of the Batch must join nodes in [0, {len(x)})")
    of_edge = of_node[index[0]]  # [E]
    order = torch.argsort(of_edge, stable=True)
    local = index[:, order] - first[of_edge[order]]  # [2, E], nodes numbered within their graph
    edge_op = batch.edge_op if "edge_op" in batch else None
    if edge_op is not None:
        _check_edge_op(edge_op, index.size(1), 0, 1)
        edge_op = edge_op[order]
    return _Collated(x, nodes, local, torch.bincount(of_edge, minlength=count), edge_op)


def _of_dataset(dataset: InMemoryDataset) -> _Collated:
    """The graphs of a PyG data set as they are stored: end to end already, or a part of that."""
    stored, slices = dataset._data, dataset.slices
    if slices is None or "edge_index" not in slices or "x" not in slices:
        return _of_list(list(dataset))
    chosen = [int(i) for i in dataset.indices()]
    rows = {key: slices[key].diff().tolist() for key in ("x", "edge_index")}
    xs, indices = stored.x.split(rows["x"]), stored.edge_index.split(rows["edge_index"], dim=1)
    if not _sound_x(stored.x) or not _is_edge_index(stored.edge_index):
        return _of_list(list(dataset))  # for its messages
    edge_op = None
    if "edge_op" in stored:
        codes = stored.edge_op.split(rows["edge_index"])
        edge_op = torch.cat([codes[i] for i in chosen])
        _check_edge_op(edge_op, sum(rows["edge_index"][i] for i in chosen), 0, 1)
    return _Collated(
        torch.cat([xs[i] for i in chosen]),
        torch.tensor([rows["x"][i] for i in chosen]),
        torch.cat([indices[i] for i in chosen], dim=1),
        torch.tensor([rows["edge_index"][i] for i in chosen]),
        edge_op,
    )


def _dense(graphs: _Collated) -> DenseBatch:
    """The dense batch of collated graphs, all checks vectorised.

    Raises:
        GraphError: names the first graph that breaks a convention, and how.
    """
    nodes, edges = graphs.nodes.cpu(), graphs.edges.cpu()
    count, n, num_ops = len(nodes), int(nodes.max()), graphs.x.size(1)
    everyone = torch.arange(count)
    if num_ops > MAX_OPS:
        raise GraphError(f"x must have at most {MAX_OPS} columns, but has {num_ops}")
    if int(nodes.min()) < 1:
        i = int(nodes.argmin())
        raise GraphError(f"{_at(i, count)} must have at least one node, but x has shape [0, ...]")
    # x: [M, num_ops]. A row is one-hot when its values are 0 and 1 and sum to 1.
    x = graphs.x.detach().cpu()
    top = x.max(1)
    of_node = everyone.repeat_interleave(nodes)  # [M]
    one_hot = (top.values == 1) & ((x != 0).sum(1) == 1)  # [M]
    if not bool(one_hot.all()):
        node = int((~one_hot).nonzero()[0])
        i = int(of_node[node])
        raise GraphError(
            f"every row of x must be one-hot, but {_at(i, count)} has x of shape "
            f"[{int(nodes[i])}, {num_ops}] with a row {x[node].tolist()}"
        )
    column = torch.arange(len(of_node)) - (nodes.cumsum(0) - nodes)[of_node]  # [M]
    ops = torch.full((count, n), -1, dtype=torch.int8)  # [N, n]
    ops.view(-1)[of_node * n + column] = top.indices.to(torch.int8)
    of_edge = everyone.repeat_interleave(edges)  # [E]
    source, target = graphs.edge_index.cpu()
    _check_edges(source, target, of_edge, nodes)
    adjacency = torch.zeros(count, n, n, dtype=torch.uint8)  # [N, n, n]
    place = (of_edge * n + source) * n + target  # [E], into [N n n]
    flat = adjacency.view(-1)
    if graphs.edge_op is None:
        flat[place] = 1
    else:
        codes = graphs.edge_op.cpu()
        wrong = (codes < 0) | (codes > MAX_EDGE_OP)
        if bool(wrong.any()):
            e = int(wrong.nonzero()[0])
            raise GraphError(
                f"edge_op must be in [0, {MAX_EDGE_OP}], but {_at(int(of_edge[e]), count)} has "
                f"{int(codes[e])}"
            )
        flat[place] = (codes + 1).to(torch.uint8)
    if int(torch.count_nonzero(adjacency)) != len(place):
        _, inverse, times = place.unique(return_inverse=True, return_counts=True)
        e = int((times[inverse] > 1).nonzero()[0])
        raise GraphError(
            f"no edge may occur twice, but {_at(int(of_edge[e]), count)} has "
            f"({int(source[e])}, {int(target[e])}) more than once"
        )
    return sound(DenseBatch(adjacency, ops, nodes, num_ops, graphs.edge_op is not None))


def _check_edges(source: Tensor, target: Tensor, of_edge: Tensor, nodes: Tensor) -> None:
    """Raise GraphError at the first edge [E] that is not from a lower to a higher node."""
    wrong = (source >= target) | (source < 0) | (target >= nodes[of_edge])
    if not bool(wrong.any()):
        return
    e = int(wrong.nonzero()[0])
    i = int(of_edge[e])
    edge, n, where = (int(source[e]), int(target[e])), int(nodes[i]), _at(i, len(nodes))
    if min(edge) < 0 or max(edge) >= n:
        raise GraphError(f"edges must join nodes in [0, {n}), but {where} has {edge}")
    raise GraphError(
        "every edge must go from a lower to a higher node (topological order, no cycle), but "
        f"{where} has {edge}; `from_networkx(to_networkx(graph), num_ops)` sorts the nodes"
    )


def _at(i: int, count: int) -> str:
    """Name of a graph in messages."""
    return f"graph {i} of {count}" if count > 1 else "the graph"


def _kind(value: object, dim: int) -> tuple[object, ...]:
    """Number of dimensions, size of one of them, and type of a tensor; what else it is if none."""
    if not isinstance(value, Tensor):
        return (type(value),)
    return value.dim(), value.size(dim) if value.dim() > dim else None, value.dtype


def _sound_x(x: object) -> bool:
    return is_readable(x) and x.dim() == 2 and x.numel() > 0


def _is_edge_index(index: object) -> bool:
    return is_readable(index) and _kind(index, 0) == (2, 2, torch.int64)


def _refuse_x(xs: Sequence[object]) -> None:
    """Raise GraphError at the first ``x`` that is not [n, num_ops] or unlike the others."""
    for i, x in enumerate(xs):
        if not _sound_x(x):
            raise GraphError(
                "x must be the one-hot operations of the nodes, of shape [n, num_ops] and a "
                f"common type such as float32, but {_at(i, len(xs))} has {tensor_form(x)}"
            )
        if _kind(x, 1) != _kind(xs[0], 1):
            raise GraphError(
                "graphs of one batch must agree in num_ops, the width of x, and in its type, but "
                f"graph 0 has x {tensor_form(xs[0])} and {_at(i, len(xs))} has {tensor_form(x)}"
            )


def _refuse_edge_index(indices: Sequence[object]) -> None:
    """Raise GraphError at the first ``edge_index`` that is not int64 [2, e]."""
    for i, index in enumerate(indices):
        if _is_edge_index(index):
            continue
        hint = ""
        if isinstance(index, Tensor) and index.dim() == 2 and index.size(0) == 2:
            hint = "; convert it: `edge_index.long()`"
        elif isinstance(index, Tensor) and index.dim() == 2 and index.size(1) == 2:
            hint = "; transpose it: `edge_index.t().contiguous()`"
        elif index is None or (isinstance(index, Tensor) and not index.numel()):
            hint = "; a graph without edges has `torch.empty(2, 0, dtype=torch.int64)`"
        raise GraphError(
            f"edge_index must be int64 of shape [2, e], but {_at(i, len(indices))} has "
            f"{tensor_form(index)}{hint}"
        )


def _check_edge_op(code: object, size: int, i: int, count: int) -> None:
    """Raise GraphError unless ``edge_op`` is int64 [e] for the graph's e edges."""
    if not is_readable(code) or _kind(code, 0) != (1, size, torch.int64):
        raise GraphError(
            f"edge_op must be int64 of shape [{size}], but {_at(i, count)} has {tensor_form(code)}"
        )


def validate_batch(batch: DenseBatch) -> None:
    """Check the conventions of a whole dense batch at once, a microsecond a graph.

    Args:
        batch: N architectures.

    Raises:
        GraphError: names the first row that breaks them, and how.

    Examples:
        >>> adjacency = torch.tensor([[[0, 1], [0, 0]]] * 2, dtype=torch.uint8)
        >>> ops = torch.tensor([[0, 2], [0, 7]], dtype=torch.int8)
        >>> try:
        ...     validate_batch(DenseBatch(adjacency, ops, torch.tensor([2, 2]), num_ops=3))
        ... except GraphError as error:
        ...     print(error)
        ops must be in [0, 3), but graph 1 of 2 has num_nodes=2, ops=[0, 7]
    """
    if not isinstance(batch, DenseBatch):
        raise GraphError(f"this takes a DenseBatch, but got {batch!r:.80}; `as_batch` makes one")
    if not len(batch):
        return
    n = batch.max_nodes
    if not 1 <= batch.num_ops <= MAX_OPS + 1 or n < 1:
        raise GraphError(
            f"num_ops must be in [1, {MAX_OPS + 1}] and n at least 1, but got {batch.num_ops} "
            f"and {n}"
        )
    nodes = torch.arange(n)
    real = nodes < batch.num_nodes[:, None]  # [N, n]
    in_range = (batch.ops >= 0) & (batch.ops < batch.num_ops)
    # Unlike this, torch.tril starts threads for the smallest matrix, and waits for them.
    lower = (nodes[:, None] >= nodes).to(torch.uint8) * 255  # [n, n]
    most = MAX_EDGE_OP + 1 if batch.has_edge_ops else 1
    checks = {
        "num_nodes must be in [1, n]": (batch.num_nodes >= 1) & (batch.num_nodes <= n),
        f"ops must be in [0, {batch.num_ops})": (in_range | ~real).all(1),
        "padding must have op -1": ((batch.ops == -1) | real).all(1),
        "edges must go from a lower to a higher node": _holds(batch.adjacency & lower, 0),
        "padding must have no edges": _holds(batch.adjacency * ~real[:, None, :], 0),
        "adjacency must hold 0 and 1 only": _holds(batch.adjacency, most),
    }
    for rule, holds in checks.items():
        if not bool(holds.all()):
            row = int((~holds).nonzero()[0])
            raise GraphError(
                f"{rule}, but graph {row} of {len(batch)} has "
                f"num_nodes={int(batch.num_nodes[row])}, ops={batch.ops[row].tolist()}"
            )


def _holds(values: Tensor, most: int) -> Tensor:
    """Whether nothing in a row is above ``most``, for one row where that is so of all.

    Shapes:
        uint8 [N, n, n] -> bool [N] or [1].
    """
    largest = values.max()
    return (largest if int(largest) <= most else values.flatten(1).amax(1)).reshape(-1) <= most
