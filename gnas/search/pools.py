"""Bootstrap optimisation: let a predictor score a large pool and keep the highest scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from gnas.config import check_count, checked
from gnas.errors import ConfigError
from gnas.graphs import DenseBatch, Graphs, as_batch, distinct, graph_keys
from gnas.metrics import best
from gnas.predictors import Predictor
from gnas.predictors.features import FeatureMatrix
from gnas.search.settings import NASGEM_POOL
from gnas.spaces.base import Space, draw_batch


@dataclass(frozen=True)
class Best:
    """The best predicted architectures of a pool, best first.

    Examples:
        >>> from gnas.predictors import Forest, OneHot
        >>> from gnas.spaces import NASBench201
        >>> cells = NASBench201().enumerate()[:200]
        >>> model = Forest(OneHot(4, 3, 4)).fit(cells, cells.adjacency.sum((1, 2)).numpy())
        >>> found = bootstrap(model, cells, top=3)
        >>> found.rows.shape, bool((found.scores[:-1] >= found.scores[1:]).all())
        ((3,), True)
    """

    graphs: DenseBatch
    rows: NDArray[np.int64]
    """Index of each in the pool, int64 [top]."""
    scores: NDArray[np.float64]
    """Predicted scores, float64 [top]."""


@checked
def sample_pool(space: Space, rng: np.random.Generator, count: int = NASGEM_POOL) -> DenseBatch:
    """At most ``count`` different live architectures: that many draws without the repeats.

    Args:
        space: Space to draw from.
        rng: Source of randomness.
        count: Draws.

    Raises:
        ConfigError: ``count`` is less than 1.

    Examples:
        >>> from gnas.spaces import NASBench201
        >>> len(sample_pool(NASBench201(), np.random.default_rng(0), 500))
        488
    """
    if count < 1:
        raise ConfigError(f"a pool must have at least 1 architecture, but got {count}")
    pool = space.prune(draw_batch(space, count, rng))
    return pool[torch.from_numpy(distinct(pool))]


def bootstrap(
    predictor: Predictor,
    pool: Graphs,
    *,
    top: int = 1,
    rows: FeatureMatrix | None = None,
    space: Space | None = None,
) -> Best:
    """The ``top`` best predicted of the pool's different architectures.

    Args:
        predictor: A fitted predictor; a higher score is better.
        pool: Candidates; of isomorphic ones only the best predicted counts.
        top: Number of architectures to return; fewer if the pool has fewer.
        rows: Features of the pool (``predictor.features``), if already computed.
        space: Space of the pool. With it, of architectures that are the same network (see
            `Space.keys`) only the best predicted counts too.

    Raises:
        ConfigError: the pool is empty, ``top`` is less than 1, or the predictor is not fitted.
        GraphError: the predictor cannot read the pool's graphs.

    Source: Cheng et al., NASGEM, AAAI 2021, section 3.3, eq. 7 (there with a pool of 50,000).

    Examples:
        >>> from gnas.predictors import MLP, OneHot
        >>> from gnas.spaces import NASBench101
        >>> space, rng = NASBench101(), np.random.default_rng(0)
        >>> cells = space.sample_batch(50, rng)
        >>> model = MLP(OneHot(7, 5)).fit(cells, cells.adjacency.sum((1, 2)).numpy())
        >>> len(bootstrap(model, sample_pool(space, rng, 500), top=3).graphs)
        3
    """
    pool = as_batch(pool)
    check_count(top, "top")
    if len(pool) == 0:
        raise ConfigError("the pool must hold at least one architecture, but has none")
    scores = predictor.predict(pool) if rows is None else predictor.predict_features(rows)
    chosen = first_different(pool, best(scores, len(pool)), top, space)
    return Best(pool[torch.from_numpy(chosen)], chosen, scores[chosen])


def first_different(
    pool: DenseBatch, order: NDArray[np.int64], count: int, space: Space | None = None
) -> NDArray[np.int64]:
    """The first ``count`` rows of an order that hold different architectures.

    Args:
        pool: Architectures.
        order: Rows of the pool.
        count: Number of rows to return; fewer if there are fewer.
        space: See `bootstrap`.
    """
    keys = graph_keys if space is None else space.keys
    looked = count
    while True:  # a few of the first are compared, more only if many are alike
        _, first = np.unique(keys(pool[torch.from_numpy(order[:looked])]), return_index=True)
        if len(first) >= count or looked >= len(order):
            return order[np.sort(first)[:count]]
        looked *= 2
