"""Features: operations on random walks from a cell's output back to its input."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from gnas.graphs import DenseBatch, Graphs, as_batch, prune_batch
from gnas.predictors.features import FeatureMatrix
from gnas.spaces.vocabulary import check_vocabulary

CHUNK_SIZE = 1_000
"""Cells at a time: they stay in cache."""


@dataclass(frozen=True)
class RandomWalkStatistics:
    """Isomorphism-invariant expectations of a random walk backwards through a cell.

    The walk starts at a leaf, each equally likely, and goes to a random predecessor until it is
    at node 0. `PathStatistics` counts all paths alike, so that the many long ones outweigh the
    few short ones; a walk takes each with the weight that a node which averages its inputs would
    give it. For cells whose operations sit on nodes and whose leaves form the output.

    Columns: nodes, edges, leaves, successors of node 0; the walk's length, its mean, deviation
    and smallest mean over leaves; how concentrated its visits are (the sum over nodes of the
    squared number of expected visits); and per operation: nodes, leaves, whether node 0 has it,
    and visits, their mean and deviation.

    Nodes that no data reaches from node 0 do not count.

    Args:
        num_ops: Width of the one-hot ``x``.

    Examples:
        >>> from gnas.spaces import NASBench101
        >>> RandomWalkStatistics(5)(NASBench101().enumerate()[:3]).shape
        (3, 33)
    """

    num_ops: int
    name: str = field(default="walk statistics", init=False)

    def __call__(self, graphs: Graphs) -> FeatureMatrix:
        """Rows float64 [N, 8 + 5 * num_ops].

        Raises:
            GraphError: the batch has another vocabulary.
        """
        batch = as_batch(graphs)
        check_vocabulary(batch, self.num_ops, 0)
        parts = [
            _walk_statistics(prune_batch(batch[start : start + CHUNK_SIZE], to_output=False))
            for start in range(0, max(len(batch), 1), CHUNK_SIZE)
        ]
        rows: FeatureMatrix = torch.cat(parts).numpy()
        return rows


def _walk_statistics(batch: DenseBatch) -> Tensor:
    """See `RandomWalkStatistics`: float64 [N, F]."""
    edges = batch.adjacency.double()  # [N, n, n]
    real = (batch.ops >= 0).double()  # [N, n]
    kinds = (batch.ops[:, :, None] == torch.arange(batch.num_ops)).double()  # [N, n, o]
    leaves = (edges.sum(2) == 0) * real  # [N, n]
    starts = leaves / leaves.sum(1, keepdim=True)  # [N, n], rows sum to 1
    steps = edges / edges.sum(1, keepdim=True).clamp(min=1)  # [N, n, n]: j goes back to i
    hops = real.clone()  # [N, n]: 1 a node, 0 at node 0
    hops[:, 0] = 0
    weights = torch.cat([hops[:, :, None], kinds], 2)  # what a walk collects at every node
    means, squares = _collected(steps, weights)  # [N, n, 1 + o] each
    mean = (starts[:, :, None] * means).sum(1)  # [N, 1 + o]
    variance = (starts[:, :, None] * squares).sum(1) - mean.square()
    deviation = variance.clamp(min=0).sqrt()
    smallest = torch.where(leaves > 0, means[:, :, 0], torch.inf).amin(1)
    columns = [real.sum(1), edges.sum((1, 2)), leaves.sum(1), edges[:, 0].sum(1), smallest]
    per_op = [kinds.sum(1), (leaves[:, :, None] * kinds).sum(1), kinds[:, 0]]
    visits = _visits(steps, starts).square().sum(1, keepdim=True)
    return torch.cat([torch.stack(columns, 1), *per_op, mean, deviation, visits], 1)


def _collected(steps: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and mean square of what a walk from every node collects, float64 [N, n, w] each.

    Args:
        steps: Probability [N, i, j] that the walk goes from j back to i.
        weights: Amounts collected at each node [N, n, w], 0 or 1.
    """
    means, squares = weights.clone(), weights.clone()
    for j in range(1, weights.size(1)):
        back = steps[:, :j, j, None]  # [N, j, 1]
        mean, square = (back * means[:, :j]).sum(1), (back * squares[:, :j]).sum(1)
        own = weights[:, j]
        means[:, j] = mean + own
        squares[:, j] = square + 2 * own * mean + own
    return means, squares


def _visits(steps: Tensor, starts: Tensor) -> Tensor:
    """Expected visits of every node by a walk from ``starts`` [N, n]: float64 [N, n]."""
    visits = starts.clone()  # [N, n]
    for j in reversed(range(1, starts.size(1))):
        visits[:, :j] += visits[:, j, None] * steps[:, :j, j]
    return visits
