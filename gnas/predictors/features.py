"""What predictors see of an architecture: fixed-length rows of numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gnas.errors import GraphError
from gnas.graphs import DenseBatch, edge_ops_to_node_ops, input_nodes, prune_batch

Rows = NDArray[np.float64]

CHUNK = 20_000
"""Graphs of up to 30 nodes whose paths are counted at a time: bounds memory."""


class Features(Protocol):
    """A fixed map from architectures to rows of numbers; two equal objects give equal rows."""

    @property
    def name(self) -> str:
        """What the result tables print."""
        ...

    def __call__(self, batch: DenseBatch) -> Rows:
        """One row per architecture: [N] -> float64 [N, F]."""
        ...


@dataclass(frozen=True)
class OneHot:
    """The adjacency matrix, entry by entry, and the one-hot operation of every node.

    ``with_counts`` adds how many nodes have each operation (a forest cannot sum columns). Where
    operations sit on edges, each entry is one-hot over ``num_edge_ops`` operations. The rows
    depend on the order of the nodes, as those of the papers' "raw adjacency" do.

    Raises:
        GraphError: when called with a graph of more than ``max_nodes`` nodes, or whose
            vocabulary is not the one given here.
    """

    max_nodes: int
    num_ops: int
    num_edge_ops: int = 0
    """Size of the edge-op vocabulary; 0 where operations sit on nodes."""
    with_counts: bool = False

    @property
    def name(self) -> str:
        """What the result tables print."""
        return "adjacency + ops" + (" + op counts" if self.with_counts else "")

    def __call__(self, batch: DenseBatch) -> Rows:
        """Rows float64 [N, n(n-1)/2 * max(num_edge_ops, 1) + n * num_ops (+ num_ops)]."""
        check_vocabulary(batch, self.num_ops, self.num_edge_ops)
        batch = batch.pad_to(self.max_nodes)
        upper = tuple(torch.triu_indices(self.max_nodes, self.max_nodes, 1))
        codes = batch.adjacency[:, upper[0], upper[1]]
        values = torch.arange(1, max(self.num_edge_ops, 1) + 1)
        kinds = batch.ops[:, :, None] == torch.arange(self.num_ops)  # [N, n, o]
        parts = [(codes[:, :, None] == values).flatten(1), kinds.flatten(1)]
        if self.with_counts:
            parts.append(kinds.sum(1))
        rows: Rows = torch.cat([part.double() for part in parts], 1).numpy()
        return rows


@dataclass(frozen=True)
class OneHotOps:
    """The one-hot operation of every node: what `OneHot` has beside the adjacency matrix."""

    max_nodes: int
    num_ops: int
    name: str = field(default="ops", init=False)

    def __call__(self, batch: DenseBatch) -> Rows:
        """Rows float64 [N, n * num_ops]."""
        check_vocabulary(batch, self.num_ops, 0)
        kinds = batch.pad_to(self.max_nodes).ops[:, :, None] == torch.arange(self.num_ops)
        rows: Rows = kinds.flatten(1).double().numpy()
        return rows


@dataclass(frozen=True)
class PathStatistics:
    """Isomorphism-invariant counts over a cell: operations, neighbours, degrees and paths.

    Per operation: how many nodes, summed in- and out-degree, summed longest distance from the
    input; per ordered pair of operations: edges, and pairs joined by any path; over all paths
    from an input to a leaf: how many by length and by number of each operation, and shortest,
    longest and mean length and number of each operation. Counts of paths are log(1 + count).

    Where operations sit on edges, each first becomes a node (`edge_ops_to_node_ops`), and what is
    not on a path to an output is cut.

    Raises:
        GraphError: when called with a graph of more than ``max_nodes`` nodes or of another
            vocabulary.
    """

    max_nodes: int
    num_ops: int
    num_edge_ops: int = 0
    """Size of the edge-op vocabulary; 0 where operations sit on nodes."""
    live: Callable[[DenseBatch], DenseBatch] | None = None
    """`gnas.spaces.base.Space.live`: cuts dead nodes, which would be counted; None leaves all."""
    max_edges: int | None = None
    """Most edges of a graph whose operations sit on edges; None for every pair of nodes."""
    inputs: tuple[int, ...] = ()
    """Operations (or roles) of further inputs beside node 0."""
    outputs: tuple[int, ...] = ()
    """Operations (or roles) of further outputs beside the last node."""
    name: str = field(default="path statistics", init=False)

    def __call__(self, batch: DenseBatch) -> Rows:
        """Rows float64 [N, F], F independent of the batch."""
        check_vocabulary(batch, self.num_ops, self.num_edge_ops)
        batch = batch.pad_to(self.max_nodes) if self.live is None else self.live(batch)
        max_nodes, num_ops = self.max_nodes, self.num_ops + self.num_edge_ops
        if self.num_edge_ops:
            batch = edge_ops_to_node_ops(batch, self.num_edge_ops)
            batch = prune_batch(batch, inputs=self.inputs, outputs=self.outputs)
            every = max_nodes * (max_nodes - 1) // 2
            max_nodes += every if self.max_edges is None else self.max_edges
        chunk = max(1, min(CHUNK, CHUNK * 31**2 // max_nodes**2))
        parts = [
            _path_statistics(batch[start : start + chunk].pad_to(max_nodes), num_ops, self.inputs)
            for start in range(0, max(len(batch), 1), chunk)
        ]
        rows: Rows = torch.cat(parts).numpy()
        return rows


def _path_statistics(batch: DenseBatch, num_ops: int, inputs: tuple[int, ...]) -> Tensor:
    """See `PathStatistics`: float64 [N, F]."""
    edges = batch.adjacency.double()
    kinds = (batch.ops[:, :, None] == torch.arange(num_ops)).double()  # [N, n, o]
    reach = _reachability(edges)
    pairs = kinds.transpose(1, 2) @ edges @ kinds
    joined = kinds.transpose(1, 2) @ reach @ kinds
    degrees = torch.stack([edges.sum(1), edges.sum(2), _longest(edges, batch)], 2)
    by_kind = kinds.transpose(1, 2) @ degrees  # [N, o, 3]
    ends = (edges.sum(2) == 0) & (batch.ops >= 0)  # leaves: the output, where there is one
    real = (batch.ops >= 0).double()
    starts = input_nodes(batch, inputs)
    paths = [_path_counts(edges, real, starts, ends)]
    paths += [_path_counts(edges, kinds[:, :, o], starts, ends) for o in range(num_ops)]
    parts = [
        batch.num_nodes[:, None].double(),
        edges.sum((1, 2))[:, None],
        edges[:, 0].sum(1, keepdim=True),
        (edges.sum(1) * ends).sum(1, keepdim=True),
        (edges[:, 0] * ends).sum(1, keepdim=True),
        kinds.sum(1),
        pairs.flatten(1),
        joined.flatten(1),
        by_kind.flatten(1),
    ]
    parts += [torch.log1p(count) for count in paths] + [_spread(count) for count in paths]
    return torch.cat(parts, 1)


def check_vocabulary(batch: DenseBatch, num_ops: int, num_edge_ops: int) -> None:
    """Raises GraphError if a batch has another vocabulary."""
    if batch.num_ops != num_ops or batch.has_edge_ops != bool(num_edge_ops):
        raise GraphError(
            f"graphs must have {num_ops} node ops and {'some' if num_edge_ops else 'no'} edge "
            f"ops, but got {batch.num_ops} and has_edge_ops={batch.has_edge_ops}"
        )
    if num_edge_ops and len(batch) and int(batch.adjacency.max()) > num_edge_ops:
        raise GraphError(
            f"edge_op must be in [0, {num_edge_ops}), but got {int(batch.adjacency.max()) - 1}"
        )


def _reachability(edges: Tensor) -> Tensor:
    """1 where a path leads from i to j, else 0: float64 [N, n, n]."""
    reach = edges.clone()
    for j in range(edges.size(1)):  # columns in topological order
        through = edges[:, :, j].clone()
        through += (reach[:, :, :j] * edges[:, None, :j, j]).sum(2)
        reach[:, :, j] = (through > 0).double()
    return reach


def _longest(edges: Tensor, batch: DenseBatch) -> Tensor:
    """Edges on the longest path from any source to every node: float64 [N, n]."""
    depth = edges.new_zeros(len(batch), batch.max_nodes)
    for j in range(1, batch.max_nodes):
        depth[:, j] = ((depth[:, :j] + 1) * edges[:, :j, j]).amax(1)
    return depth


def _path_counts(edges: Tensor, weight: Tensor, starts: Tensor, ends: Tensor) -> Tensor:
    """How many paths from an input to a leaf carry weight 0, 1, ..., n: float64 [N, n + 1].

    Args:
        edges: [N, n, n].
        weight: 0 or 1 per node [N, n]; a path's weight is the sum over its nodes.
        starts: bool [N, n], where a path begins.
        ends: bool [N, n], where a path may end.
    """
    size, n = weight.shape
    counts = edges.new_zeros(size, n, n + 1)
    counts[:, :, 0] = starts.double()
    for j in range(n):
        if j:
            counts[:, j] += (edges[:, :j, j, None] * counts[:, :j]).sum(1)
        shifted = torch.nn.functional.pad(counts[:, j, :-1], (1, 0))
        counts[:, j] = torch.where(weight[:, j, None] > 0, shifted, counts[:, j])
    return (counts * ends[:, :, None]).sum(1)


def _spread(counts: Tensor) -> Tensor:
    """Smallest, largest and mean weight over all paths counted: [N, W] -> [N, 3]."""
    weights = torch.arange(counts.size(1), dtype=counts.dtype)
    present = counts > 0
    smallest = torch.where(present, weights, torch.inf).amin(1)
    largest = torch.where(present, weights, -torch.inf).amax(1)
    mean = (counts * weights).sum(1) / counts.sum(1)
    return torch.stack([smallest, largest, mean], 1).nan_to_num(0.0, posinf=0.0, neginf=0.0)
