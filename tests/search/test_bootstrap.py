from __future__ import annotations

import numpy as np
import pytest
import torch

from gnas.errors import ConfigError
from gnas.geometric import Data
from gnas.graphs import DenseBatch, as_batch, graph_hash
from gnas.predictors import MLP, Forest, OneHot, PathStatistics
from gnas.search import run_search
from gnas.search.nasgem.searcher import NasgemSearch
from gnas.search.pools import bootstrap, sample_pool
from gnas.search.settings import NASGEM_POOL
from gnas.spaces import NASGEM, NASBench101, NASBench201


def test_bootstrap_returns_the_best_predicted_once(rng: np.random.Generator) -> None:
    pool = NASBench101().sample_batch(300, rng)
    pool = DenseBatch.concat([pool, pool[:50]])  # repeats
    scores = (pool.ops == 1).sum(1).double() + 0.01 * torch.arange(350)
    predictor = Forest(PathStatistics(NASBench101()), num_trees=20).fit(pool[:100], scores[:100])
    found = bootstrap(predictor, pool, top=20)
    predicted = predictor.predict(pool)
    hashes = [graph_hash(graph) for graph in pool]
    best: dict[str, float] = {}
    for key, value in zip(hashes, predicted, strict=True):
        best.setdefault(key, value)
    expected = sorted(best.values(), reverse=True)[:20]
    np.testing.assert_allclose(found.scores, expected)
    assert (predicted[found.rows] == found.scores).all()
    chosen = [graph_hash(graph) for graph in found.graphs]
    assert chosen == [hashes[row] for row in found.rows]
    assert len(set(chosen)) == 20


@pytest.mark.parametrize("flat", [False, True], ids=["predicted", "by chance"])
def test_nasgem_evaluates_no_network_twice_among_the_best(flat: bool) -> None:
    """Most of the predictor's favourites are drawings of one network: an output of zeros."""
    space, asked = NASBench201(), []

    def worth(graph: Data, *, seed: int) -> float:
        asked.append(graph)
        return 0.0 if flat else -float((graph.edge_op != 0).sum())

    searcher = NasgemSearch(space, MLP(OneHot(4, 3, 4)), num_initial=10, pool=500, top=50)
    run_search(space, searcher, worth, budget=60)
    forms = [graph_hash(space.functional_form(as_batch(graph)).data(0)) for graph in asked]
    assert len({*forms[:10]}) == 10 and len(forms) == 60
    assert len({*forms[10:]}) == 50


def test_pools_hold_different_live_cells() -> None:
    pool = sample_pool(NASBench101(), np.random.default_rng(0), 500)
    assert len(pool) == len({graph_hash(graph) for graph in pool}) > 480
    space = NASGEM(12, densities=(0.05, 0.2))
    pool = sample_pool(space, np.random.default_rng(0), 500)
    assert torch.equal(space.prune(pool).num_nodes, pool.num_nodes)
    assert int(pool.num_nodes.min()) < 12
    assert NASGEM_POOL == 50_000


def test_bad_pools_are_named(rng: np.random.Generator) -> None:
    pool = NASBench101().sample_batch(30, rng)
    predictor = MLP(OneHot(7, 5), epochs=1)
    with pytest.raises(ConfigError, match="must be fitted first"):
        bootstrap(predictor, pool)
    predictor.fit(pool, np.arange(30))
    with pytest.raises(ConfigError, match="at least one architecture, but has none"):
        bootstrap(predictor, pool[:0])
    with pytest.raises(ConfigError, match="top must be at least 1, but got 0"):
        bootstrap(predictor, pool, top=0)
    with pytest.raises(ConfigError, match="at least 1 architecture, but got 0"):
        sample_pool(NASBench101(), rng, 0)
    assert len(bootstrap(predictor, pool, top=99).rows) == 30
