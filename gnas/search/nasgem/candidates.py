"""Which cells a search trains, and which it scores: both follow from the seed alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from gnas.errors import ConfigError
from gnas.graphs import DenseBatch, distinct
from gnas.graphs.hashing import graph_keys
from gnas.search.nasgem.config import NasgemConfig

TRIES = 200
"""Draws for one cell before the prior is taken to have no further one."""
ROUNDS = 20
"""Draws of a whole pool, together, before the prior is taken to have no more cells."""
PART = 5_000
"""Cells of a drawn pool that are looked at together."""
CELLS, POOL_DRAW, PREDICTOR = range(3)
"""Streams of the config's seed."""


def draw_candidates(config: NasgemConfig) -> DenseBatch:
    """The ``iterations`` cells that are trained, live and pairwise different, in order.

    The first n are the same for every number of iterations from n on.

    Raises:
        ConfigError: the prior has too few different cells of enough live nodes.
    """
    space, seen, found = config.space(), set[int](), []
    for k in range(config.iterations):
        rng = np.random.default_rng((config.seed, CELLS, k))
        for _ in range(TRIES):
            cell = space.live(space.sample_batch(1, rng))
            key = int(graph_keys(cell)[0])
            if int(cell.num_nodes[0]) >= config.floor and key not in seen:
                break
        else:
            raise ConfigError(
                f"iterations must be at most the number of different cells, but "
                f"{config.prior} cells of {config.num_nodes} nodes with {config.floor} or more "
                f"of them live gave {k} in {TRIES} draws each; raise num_nodes or lower "
                f"min_nodes or iterations (now {config.iterations})"
            )
        seen.add(key)
        found.append(cell)
    return DenseBatch.concat(found)


def draw_pool(config: NasgemConfig) -> DenseBatch:
    """The cells that bootstrap optimisation scores, live and pairwise different.

    At most ``config.pool``; fewer where the prior runs out of different cells.

    Raises:
        ConfigError: the prior has no cell of enough live nodes.
    """
    parts: list[DenseBatch] = []
    for part in _live_draws(config):
        parts.append(part)
        if sum(map(len, parts)) >= config.pool:
            pool = DenseBatch.concat(parts)
            pool = pool[torch.from_numpy(distinct(pool)[: config.pool])]
            parts = [pool]
            if len(pool) == config.pool:
                return pool
    pool = DenseBatch.concat(parts)
    if len(pool) == 0:
        raise ConfigError(
            f"the pool must have a cell with {config.floor} or more live nodes, but "
            f"{config.prior} drew none; lower min_nodes"
        )
    return pool[torch.from_numpy(distinct(pool))]


def _live_draws(config: NasgemConfig) -> Iterator[DenseBatch]:
    """At most `ROUNDS` times ``config.pool`` cells of enough live nodes, repeats among them."""
    space, rng = config.space(), np.random.default_rng((config.seed, POOL_DRAW))
    for _ in range(ROUNDS):
        drawn = space.sample_batch(config.pool, rng)
        for start in range(0, config.pool, PART):
            cells = space.live(drawn[start : start + PART])
            yield cells[cells.num_nodes >= config.floor]
