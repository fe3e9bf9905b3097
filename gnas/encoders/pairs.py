"""Pairs of graphs to train and to judge an encoder on."""

from __future__ import annotations

import numpy as np
import torch

from gnas.encoders.config import EncoderConfig
from gnas.errors import ConfigError
from gnas.graphs import DenseBatch
from gnas.spaces import SPACES
from gnas.spaces.base import Space, draw_batch


def space_of(config: EncoderConfig, space: Space | None = None) -> Space:
    """The space that an encoder's training pairs are drawn from.

    Args:
        config: The encoder's recipe.
        space: The space, where it is one of the user's own.

    Raises:
        ConfigError: it is not given but is none of gnas, or is not the recipe's.
    """
    vocabulary = config.reading
    found = SPACES[config.space]() if space is None and config.space in SPACES else space
    if found is None:
        raise ConfigError(
            f"pairs are drawn from '{config.space}', which is no space of gnas: pass it as `space`"
        )
    if found.vocabulary != vocabulary:
        raise ConfigError(
            f"the space must be the recipe's, '{config.space}', but {found!r} has another "
            "vocabulary"
        )
    return found


def independent_pairs(
    space: Space, count: int, rng: np.random.Generator
) -> tuple[DenseBatch, DenseBatch]:
    """``count`` pairs of independent draws (each of its own density, if the space has any).

    Args:
        space: Space of the graphs.
        count: Number of pairs.
        rng: Source of randomness.
    """
    return draw_batch(space, count, rng), draw_batch(space, count, rng)


def near_pairs(
    space: Space, config: EncoderConfig, count: int, rng: np.random.Generator
) -> tuple[DenseBatch, DenseBatch]:
    """``count`` pairs of a draw and the same graph after 1 to ``config.max_edits`` edits.

    Args:
        space: Space of the graphs.
        config: Encoder configuration: the kind and number of edits.
        count: Number of pairs.
        rng: Source of randomness.
    """
    first = draw_batch(space, count, rng)
    edits = rng.integers(1, config.max_edits + 1, size=count)
    if config.near == "flips":
        return first, space.repair(flip_edges(first, edits, rng), rng)
    second = first
    for k in range(config.max_edits):
        moved = space.mutate_batch(second, rng)
        keep = torch.from_numpy(edits > k)
        second = _choose(keep, moved, second)
    return first, second


def flip_edges(batch: DenseBatch, flips: np.ndarray, rng: np.random.Generator) -> DenseBatch:
    """Every graph with ``flips`` different pairs of its nodes joined or parted.

    No rule of a space is kept but the order of the nodes.

    Args:
        batch: N node-op architectures.
        flips: Number of flips of each; a graph has all its pairs flipped if it has no more.
        rng: Source of randomness.

    Shapes:
        N architectures, flips [N] -> N architectures.
    """
    n = batch.max_nodes
    rows, columns = np.triu_indices(n, 1)
    keys = rng.random((len(batch), len(rows)), dtype=np.float32)  # [N, pairs]
    real = columns < batch.num_nodes.numpy()[:, None]  # [N, pairs]
    rank = np.where(real, keys, 2).argsort(1).argsort(1)  # [N, pairs]
    adjacency = batch.adjacency.numpy().copy()
    adjacency[:, rows, columns] ^= (rank < flips[:, None]) & real
    return DenseBatch(torch.from_numpy(adjacency), batch.ops, batch.num_nodes, batch.num_ops)


def permuted(batch: DenseBatch, rng: np.random.Generator) -> DenseBatch:
    """Isomorphic copies: every graph's nodes in another, random topological order.

    Kahn's algorithm with a random choice among the ready nodes. Node 0, where data enters, stays
    first; the last node of a graph with operations on edges, where it leaves, stays last, as does
    padding.

    Args:
        batch: N graphs.
        rng: Source of randomness.

    Shapes:
        N architectures -> N architectures.
    """
    size, n = batch.ops.shape
    edges = batch.adjacency.numpy() > 0  # [N, n, n]
    waiting = edges.sum(1).astype(np.int64)  # [N, n], unplaced sources of every node
    waiting[batch.ops.numpy() < 0] = 0
    padding = batch.ops.numpy() < 0
    priority = rng.random((size, n)) + 2 * padding  # [N, n]
    priority[:, 0] -= 1
    if batch.has_edge_ops:
        priority[np.arange(size), batch.num_nodes.numpy() - 1] += 1
    order = np.empty((size, n), dtype=np.int64)
    everyone = np.arange(size)
    for position in range(n):
        chosen = np.where(waiting == 0, priority, np.inf).argmin(1)  # [N]
        order[:, position] = chosen
        waiting[everyone, chosen] = -1  # placed; no edge leads back to it
        waiting -= edges[everyone, chosen]
    return batch.reordered(torch.from_numpy(order))


def _choose(keep: torch.Tensor, yes: DenseBatch, no: DenseBatch) -> DenseBatch:
    """Row by row ``yes`` where ``keep``, else ``no``."""
    return DenseBatch(
        torch.where(keep[:, None, None], yes.adjacency, no.adjacency),
        torch.where(keep[:, None], yes.ops, no.ops),
        torch.where(keep, yes.num_nodes, no.num_nodes),
        yes.num_ops,
        yes.has_edge_ops,
    )
