from __future__ import annotations

import numpy as np
import pytest

from gnas.errors import ConfigError
from gnas.evaluate import efficiency_score
from gnas.graphs import DenseBatch
from gnas.metrics import kendall_tau
from gnas.models import NasgemNetworkConfig, nasgem_macs
from gnas.predictors import Embedding, GaussianProcess, OneHot, RandomWalkStatistics
from gnas.search.nasgem.accuracy import ByAccuracy, MacsPenalty
from gnas.search.nasgem.learning import new_predictor, random_walk_predictor
from gnas.spaces import NASGEM
from tests.search.nasgem.conftest import tiny

SPACE = NASGEM(12)
NETWORK = NasgemNetworkConfig(in_channels=1, channels=4, num_stages=2)
PENALTY = MacsPenalty(lambda cells: nasgem_macs(cells, NETWORK, 8).astype(float), 0.1)
PROCESS = GaussianProcess(RandomWalkStatistics(2), kernel="matern")


def scored(accuracies: np.ndarray, cells: DenseBatch) -> np.ndarray:
    macs = nasgem_macs(cells, NETWORK, 8).tolist()
    return np.array([efficiency_score(a, m) for a, m in zip(accuracies, macs, strict=True)])


def true_accuracies(cells: DenseBatch, rng: np.random.Generator, noise: float) -> np.ndarray:
    """Falls with the mean length of walks; steps as of 360 validation images."""
    length = RandomWalkStatistics(2)(cells)[:, 11]
    assert np.ptp(length) > 1
    return np.round(360 * (0.95 - 0.05 * length + rng.normal(0, noise, len(cells)))) / 360


def test_what_it_learns_is_the_accuracy(rng: np.random.Generator) -> None:
    cells, new = SPACE.sample_batch(80, rng), SPACE.sample_batch(400, rng)
    accuracies = true_accuracies(cells, rng, 0.005)
    predictor = ByAccuracy(PROCESS, PENALTY).fit(cells, scored(accuracies, cells))
    own = PROCESS.reseeded(0).fit(cells, accuracies).predict(new)
    found = predictor.predict(new) + PENALTY(new)[:, 0]
    line = np.polyfit(own, found, 1)  # ties of the accuracies survive the way through scores
    assert np.allclose(np.polyval(line, own), found, atol=1e-9)
    assert line[0] == pytest.approx(predictor.slope)


def test_predicted_accuracies_are_calibrated(rng: np.random.Generator) -> None:
    """A line through (predicted, true) of unseen cells has a slope near 1."""
    slopes, taus = [], []
    for _ in range(6):
        cells, new = SPACE.sample_batch(80, rng), SPACE.sample_batch(400, rng)
        scores = scored(true_accuracies(cells, rng, 0.02), cells)
        predictor = ByAccuracy(PROCESS, PENALTY).fit(cells, scores)
        found, true = predictor.predict(new), true_accuracies(new, rng, 0.02)
        slopes.append(np.polyfit(found + PENALTY(new)[:, 0], true, 1)[0])
        taus.append(kendall_tau(found, scored(true, new)))
    assert 0.7 < np.median(slopes) < 1.4
    assert np.mean(taus) > 0.5


def test_without_any_knowledge_macs_decide(rng: np.random.Generator) -> None:
    cells, new = SPACE.sample_batch(60, rng), SPACE.sample_batch(200, rng)
    macs = -PENALTY(new)[:, 0]
    flat = ByAccuracy(PROCESS, PENALTY).fit(cells, scored(np.full(60, 0.9), cells))
    assert np.allclose(flat.predict(new), 0.9 + macs)
    few = ByAccuracy(PROCESS, PENALTY).fit(cells[:9], scored(rng.uniform(0.8, 1, 9), cells[:9]))
    assert few.slope == 0 and kendall_tau(few.predict(new), macs) == pytest.approx(1)
    noise = [
        ByAccuracy(PROCESS, PENALTY, random_state=k).fit(
            cells, scored(rng.normal(0.9, 0.03, 60), cells)
        )
        for k in range(5)
    ]
    assert np.median([one.slope for one in noise]) < 0.5
    assert all(one.slope >= 0 for one in noise)


def test_one_cell_that_differs(rng: np.random.Generator) -> None:
    """Folds whose other cells are all alike."""
    cells = SPACE.sample_batch(12, rng)
    accuracies = np.full(12, 0.9)
    accuracies[3] = 0.1
    found = (
        ByAccuracy(random_walk_predictor(2), PENALTY)
        .fit(cells, scored(accuracies, cells))
        .predict(cells)
    )
    assert np.isfinite(found).all()


def test_clones_and_bad_scores(rng: np.random.Generator) -> None:
    cells = SPACE.sample_batch(30, rng)
    scores = scored(true_accuracies(cells, rng, 0.01), cells)
    first = ByAccuracy(random_walk_predictor(2), PENALTY).fit(cells, scores)
    before = first.predict(cells)
    other = first.reseeded(1).fit(cells[:20], scores[:20])
    assert np.array_equal(first.predict(cells), before)
    assert not np.array_equal(other.predict(cells), before)
    again = ByAccuracy(random_walk_predictor(2), PENALTY).fit(cells, scores)
    assert np.array_equal(again.predict(cells), before)
    with pytest.raises(ConfigError, match="must be fitted first"):
        first.reseeded(0).predict(cells)
    with pytest.raises(ConfigError, match="scores must be finite"):
        ByAccuracy(random_walk_predictor(2), PENALTY).fit(cells, np.full(30, np.nan))


def test_the_embedding_is_the_default() -> None:
    seen = new_predictor(tiny().config, SPACE).features
    assert isinstance(seen, Embedding) and seen.encoder.name == "nasgem-30"
    assert new_predictor(tiny(encoder="none").config, SPACE).features == OneHot(12, 2)
    assert new_predictor(tiny(predictor="walks").config, SPACE).features == RandomWalkStatistics(2)
    assert tiny(encoder="none", predictor="default").config.predictor == "default"
