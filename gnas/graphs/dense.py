"""The dense batch form: hundreds of thousands of architectures in three tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch_geometric.data import Data

from gnas.errors import GraphError
from gnas.graphs.architecture import op_indices


@dataclass(frozen=True)
class DenseBatch:
    """N architectures padded to n nodes.

    Converts to and from ``list[Data]`` without loss: `from_data`, `data(i)`.

    Shapes:
        adjacency: uint8 [N, n, n]; 0 = no edge, else 1 (node-op spaces) or 1 + ``edge_op``.
        ops: int8 [N, n]; the column that is hot in ``x``, -1 on padding.
        num_nodes: int64 [N]; nodes 0..num_nodes-1 are real, the rest is padding.
    """

    adjacency: Tensor
    ops: Tensor
    num_nodes: Tensor
    num_ops: int
    """Width of the one-hot ``x``."""
    has_edge_ops: bool = False
    """Whether the architectures carry ``edge_op``."""

    def __len__(self) -> int:
        return int(self.num_nodes.numel())

    def __getitem__(self, index: slice | Sequence[int] | Tensor) -> DenseBatch:
        """A batch of the chosen rows (a slice is a view, an index list or mask a copy)."""
        if not isinstance(index, slice):
            index = torch.as_tensor(index)
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
        edge_op = adjacency[edge_index[0], edge_index[1]].long() - 1
        return Data(x=x, edge_index=edge_index, edge_op=edge_op)

    def __iter__(self) -> Iterator[Data]:
        return (self.data(i) for i in range(len(self)))

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
        ops = self.ops.new_full((len(self), n), -1)
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
        adjacency = rows.gather(2, order[:, None, :].expand(-1, n, -1))
        ops = self.ops.gather(1, order)
        return DenseBatch(adjacency, ops, self.num_nodes, self.num_ops, self.has_edge_ops)

    @staticmethod
    def from_data(graphs: Sequence[Data]) -> DenseBatch:
        """The dense form of ``graphs``, padded to the largest of them.

        Raises:
            GraphError: no graph at all, the graphs differ in ``num_ops`` or in having edge ops, or
                an edge goes to a lower node or to none.
        """
        if len(graphs) == 0:
            raise GraphError("a batch must hold at least one graph, but got none")
        op_lists = [op_indices(graph) for graph in graphs]
        kinds = {(int(graph.x.size(-1)), "edge_op" in graph) for graph in graphs}
        if len(kinds) > 1:
            raise GraphError(
                "graphs of one batch must agree in (num_ops, has edge_op), "
                f"but found {sorted(kinds)}"
            )
        num_ops, has_edge_ops = kinds.pop()
        num_nodes = torch.tensor([len(ops) for ops in op_lists], dtype=torch.int64)
        n = int(num_nodes.max())
        ops = torch.full((len(graphs), n), -1, dtype=torch.int8)
        adjacency = torch.zeros(len(graphs), n, n, dtype=torch.uint8)
        for i, (graph, op_list) in enumerate(zip(graphs, op_lists, strict=True)):
            ops[i, : len(op_list)] = op_list
            code = graph.edge_op.to(torch.uint8) + 1 if has_edge_ops else 1
            source, target = graph.edge_index
            if bool(
                (source >= target).any() | (source < 0).any() | (target >= len(op_list)).any()
            ):
                raise GraphError(
                    "every edge must go from a lower to a higher node (topological order, no "
                    f"cycle), but graph {i} of {len(graphs)} has {graph.edge_index.t().tolist()}; "
                    "`from_networkx(to_networkx(graph), num_ops)` sorts the nodes"
                )
            adjacency[i, source, target] = torch.as_tensor(code, dtype=torch.uint8)
        return DenseBatch(adjacency, ops, num_nodes, num_ops, has_edge_ops)

    @staticmethod
    def concat(batches: Sequence[DenseBatch]) -> DenseBatch:
        """All rows of ``batches``, padded to the widest of them.

        Raises:
            GraphError: no batch, or the batches differ in ``num_ops`` or in having edge ops.
        """
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


def as_batch(graphs: Data | Sequence[Data] | DenseBatch) -> DenseBatch:
    """The dense form of one architecture, a list of them, or a dense batch (returned as it is).

    Raises:
        GraphError: see `DenseBatch.from_data`.
    """
    if isinstance(graphs, DenseBatch):
        return graphs
    if isinstance(graphs, Data):
        return DenseBatch.from_data([graphs])
    return DenseBatch.from_data(list(graphs))


def validate_batch(batch: DenseBatch) -> None:
    """Checks the conventions of a whole dense batch at once.

    Raises:
        GraphError: names the first row that breaks them, and how.
    """
    n = batch.max_nodes
    shapes = (tuple(batch.adjacency.shape), tuple(batch.ops.shape))
    if shapes != ((len(batch), n, n), (len(batch), n)):
        raise GraphError(
            f"adjacency and ops must have shapes [N, n, n] and [N, n] for N = {len(batch)} "
            f"graphs, but got {shapes}"
        )
    position = torch.arange(n)
    real = position < batch.num_nodes[:, None]  # [N, n]
    in_range = (batch.ops >= 0) & (batch.ops < batch.num_ops)
    checks = {
        "num_nodes must be in [1, n]": (batch.num_nodes >= 1) & (batch.num_nodes <= n),
        f"ops must be in [0, {batch.num_ops})": (in_range | ~real).all(1),
        "padding must have op -1": ((batch.ops == -1) | real).all(1),
        "edges must go from a lower to a higher node": ~torch.tril(batch.adjacency.bool()).any(
            (1, 2)
        ),
        "padding must have no edges": ~(batch.adjacency.bool() & ~real[:, None, :]).any((1, 2)),
    }
    if not batch.has_edge_ops:
        checks["adjacency must hold 0 and 1 only"] = (batch.adjacency <= 1).all(2).all(1)
    for rule, holds in checks.items():
        if not bool(holds.all()):
            row = int((~holds).nonzero()[0])
            raise GraphError(
                f"{rule}, but graph {row} of {len(batch)} has "
                f"num_nodes={int(batch.num_nodes[row])}, ops={batch.ops[row].tolist()}"
            )
