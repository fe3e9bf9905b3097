"""Uncertainty that is as large as the errors, on made-up and on published accuracies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gnas.data import load_table
from gnas.errors import ConfigError, UnsupportedError
from gnas.graphs import DenseBatch
from gnas.metrics import spearman
from gnas.predictors import (
    MLP,
    ARDGaussianProcess,
    Average,
    Calibrated,
    Forest,
    OneHot,
    PathStatistics,
)
from gnas.predictors.base import Predictor
from gnas.predictors.features import FeatureMatrix
from gnas.predictors.targets import NormalScores, Scores
from gnas.spaces import NASBench101, NASBench201

RAW = OneHot(7, 5)


class TooSure(Predictor):
    """Predicts 0 with a constant deviation: a hundredth of what it should be."""

    name, has_std = "too sure", True

    def _fit(self, rows: FeatureMatrix, targets: Scores) -> None:
        pass

    def _predict(self, rows: FeatureMatrix) -> Scores:
        return np.zeros(len(rows))

    def _predict_std(self, rows: FeatureMatrix) -> tuple[Scores, Scores]:
        return np.zeros(len(rows)), np.full(len(rows), 0.01)


def cells(count: int) -> DenseBatch:
    return NASBench101().sample_batch(count, np.random.default_rng(0))


def test_the_factor_is_the_error_that_68_percent_stay_below() -> None:
    predictor = Calibrated(TooSure(RAW)).fit(cells(2_000), np.arange(2_000.0))
    assert predictor.factor == pytest.approx(100, rel=0.01)  # targets are standard normal
    mean, deviation = predictor.predict(cells(3), return_std=True)
    scale = NormalScores.fit(np.arange(2_000.0))[0].scale
    np.testing.assert_allclose(deviation, scale, rtol=0.01)
    assert (mean == mean[0]).all()


def test_few_samples_leave_the_deviations_as_they_are() -> None:
    assert Calibrated(TooSure(RAW)).fit(cells(9), np.arange(9.0)).factor == 1


def test_predictions_stay_those_of_the_predictor() -> None:
    graphs = cells(60)
    scores = graphs.adjacency.sum((1, 2)).numpy() + np.arange(60) / 100
    plain = ARDGaussianProcess(RAW, random_state=3).fit(graphs[:40], scores[:40])
    ours = Calibrated(ARDGaussianProcess(RAW), random_state=3).fit(graphs[:40], scores[:40])
    mean, deviation = ours.predict(graphs, return_std=True)
    expected, raw = plain.predict(graphs, return_std=True)
    np.testing.assert_array_equal(mean, expected)
    np.testing.assert_allclose(deviation, ours.factor * raw)
    assert ours.factor != 1


def test_what_cannot_be_calibrated_is_named() -> None:
    with pytest.raises(UnsupportedError, match="but 'random forest' does not; take"):
        Calibrated(Forest(RAW))
    with pytest.raises(ConfigError, match="folds must be at least 2, but got 1"):
        Calibrated(ARDGaussianProcess(RAW), folds=1)


@pytest.mark.parametrize(
    ("make", "raw_is_too_sure"),
    [
        (lambda features: MLP(features, members=5), True),
        (lambda features: Average([MLP(features, epochs=40)] * 3), True),
        (lambda features: ARDGaussianProcess(features), False),
    ],
    ids=["MLP", "Average", "ARD GP"],
)
def test_deviations_and_errors_agree_on_published_accuracies(
    shared_data: Callable[[str], Path],
    make: Callable[[PathStatistics], Predictor],
    raw_is_too_sure: bool,
) -> None:
    table = load_table(shared_data("nasbench201/nasbench201_cifar.parquet"))
    acc = table.values("cifar100_val_acc_200")
    order = np.random.default_rng(0).permutation(len(table))[:1_156]
    train, test = order[:156], order[156:]
    features = PathStatistics(NASBench201())
    rows = features(table.graphs[order.tolist()])
    predictor = Calibrated(make(features)).fit_features(rows[:156], acc[train])
    mean, deviation = predictor.predict_features_std(rows[156:])
    # Errors on the scale of the targets: there, accuracies spread as a normal distribution does.
    scale, targets = NormalScores.fit(acc[train])
    true = np.interp(acc[test], np.sort(acc[train]), np.sort(targets))
    error = np.abs(true - (mean - scale.median) / scale.scale)
    deviation = deviation / scale.scale
    assert 0.5 < (error < deviation).mean() < 0.85
    assert spearman(deviation, error) > 0.15
    assert ((error < deviation / predictor.factor).mean() < 0.3) == raw_is_too_sure
