"""Cells that a search trains, and cells that it scores: both follow from the seed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from gnas.errors import ConfigError
from gnas.graphs import DenseBatch, distinct
from gnas.spaces.base import Space, draw_batch

MAX_TRIES = 200
"""Maximum number of draws for one new cell; then the space counts as exhausted."""
MAX_ROUNDS = 20
"""Maximum number of draws for a pool; then the space counts as exhausted."""
CHUNK_SIZE = 5_000
"""Number of drawn cells processed at a time."""
CELLS, POOL_DRAW = range(2)
"""Streams of the seed."""


def draw_candidates(space: Space, count: int, *, seed: int, min_nodes: int = 1) -> DenseBatch:
    """The cells that are trained to fit the predictor: live, no network twice, in order.

    The first n are the same for every ``count`` from n on.

    Args:
        space: Space to draw from.
        count: Number of cells.
        seed: Seed of the draw.
        min_nodes: Fewest live nodes.

    Raises:
        ConfigError: the space has too few different cells of enough live nodes.
    """
    seen, found = set[int](), []
    for start in range(0, count, CHUNK_SIZE):
        numbers = range(start, min(start + CHUNK_SIZE, count))
        rngs = [np.random.default_rng((seed, CELLS, k)) for k in numbers]
        # nearly all first draws are taken, and together they need a fraction of the time
        first = space.prune(DenseBatch.concat([draw_batch(space, 1, rng) for rng in rngs]))
        keys = space.keys(first).tolist()
        for row, (k, rng) in enumerate(zip(numbers, rngs, strict=True)):
            cell, key = first[row : row + 1], keys[row]
            for attempt in range(MAX_TRIES):
                if attempt > 0:
                    cell = space.prune(draw_batch(space, 1, rng))
                    key = int(space.keys(cell)[0])
                if int(cell.num_nodes[0]) >= min_nodes and key not in seen:
                    break
            else:
                raise ConfigError(
                    f"{count} different cells of {min_nodes} or more live nodes must be drawn "
                    f"from {space!r}, but {MAX_TRIES} draws after the first {k} gave no further "
                    "one; take fewer cells, or a larger space"
                )
            seen.add(key)
            found.append(cell)
    return DenseBatch.concat(found)


def draw_pool(space: Space, count: int, *, seed: int, min_nodes: int = 1) -> DenseBatch:
    """The cells that bootstrap optimisation scores: live and pairwise different.

    Args:
        space: Space to draw from.
        count: Most cells; fewer where the space runs out of different ones.
        seed: Seed of the draw.
        min_nodes: Fewest live nodes.

    Raises:
        ConfigError: the space has no cell of enough live nodes.
    """
    parts: list[DenseBatch] = []
    for part in _live_draws(space, count, seed, min_nodes):
        parts.append(part)
        if sum(map(len, parts)) >= count:
            pool = DenseBatch.concat(parts)
            pool = pool[torch.from_numpy(distinct(pool)[:count])]
            parts = [pool]
            if len(pool) == count:
                return pool
    pool = DenseBatch.concat(parts)
    if len(pool) == 0:
        raise ConfigError(
            f"the pool must have a cell with {min_nodes} or more live nodes, but {space!r} drew "
            "none; lower min_nodes"
        )
    return pool[torch.from_numpy(distinct(pool))]


def _live_draws(space: Space, count: int, seed: int, min_nodes: int) -> Iterator[DenseBatch]:
    """At most `MAX_ROUNDS` times ``count`` cells of enough live nodes, repeats among them."""
    rng = np.random.default_rng((seed, POOL_DRAW))
    for _ in range(1 if space.size is not None and space.size <= count else MAX_ROUNDS):
        drawn = space.enumerate() if space.size is not None and space.size <= count else (
            draw_batch(space, count, rng)
        )  # fmt: skip
        for start in range(0, len(drawn), CHUNK_SIZE):
            cells = space.prune(drawn[start : start + CHUNK_SIZE])
            yield cells[cells.num_nodes >= min_nodes]
