"""Predicting the score by what training alone can tell: the accuracy. MACs are counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gnas.graphs import DenseBatch
from gnas.predictors import FeatureUnion, Predictor
from gnas.predictors.features import FeatureMatrix
from gnas.predictors.targets import NormalScores, Scores

NUM_FOLDS = 5
MIN_CALIBRATED = 10
"""Cells from which on predicted accuracies are calibrated; of fewer, all are the mean."""
DIGITS = 12
"""Decimals of an accuracy that is taken back from a score: equal ones stay equal."""


@dataclass(frozen=True)
class MacsPenalty:
    """One column: lambda ln(MACs / 10^6) of every cell's network, exact."""

    count: Callable[[DenseBatch], NDArray[np.float64]]
    """MACs of N cells' networks for one image, [N]."""
    lambda_: float
    name: str = field(default="MACs", init=False)

    def __call__(self, batch: DenseBatch) -> FeatureMatrix:
        """Rows float64 [N, 1]."""
        macs = self.count(batch)
        penalty: FeatureMatrix = self.lambda_ * np.log(macs / 1e6)[:, None]
        return penalty


class ByAccuracy(Predictor):
    """The predicted accuracy less the exact penalty, S = ACC - lambda ln(MACs / 10^6).

    Fitted on scores, of which it learns the accuracies. Predictors are exact in order only, but
    here accuracy is weighed against MACs: predicted accuracies are therefore calibrated by a
    line, fitted on predictions of cells that the predictor had not seen (cross-validation). The
    less it knows of accuracy, the flatter the line: at worst, MACs alone decide.

    Args:
        accuracy: Learns accuracies.
        penalty: Penalty of every cell.
        random_state: See `Predictor`.
    """

    def __init__(
        self, accuracy: Predictor, penalty: MacsPenalty, *, random_state: int = 0
    ) -> None:
        super().__init__(FeatureUnion((accuracy.features, penalty)), random_state=random_state)
        self.name = f"accuracy by {accuracy.name}"
        self.accuracy, self.penalty = accuracy, penalty
        self._accuracy: Predictor | None = None
        self.slope, self._level = 0.0, 0.0

    def _targets(self, scores: Scores) -> tuple[NormalScores, Scores]:
        NormalScores.fit(scores)  # for its checks
        return NormalScores(median=0.0, scale=1.0), scores

    def _fit(self, rows: FeatureMatrix, targets: Scores) -> None:
        features, accuracies = rows[:, :-1], np.round(targets + rows[:, -1], DIGITS)
        self._accuracy, self.slope, self._level = None, 0.0, float(accuracies.mean())
        if len(accuracies) < MIN_CALIBRATED or np.ptp(accuracies) == 0:
            return
        unseen = self._out_of_fold(features, accuracies)
        if np.ptp(unseen) > 0:
            slope = np.cov(unseen, accuracies)[0, 1] / unseen.var(ddof=1)
            self.slope = max(0.0, float(slope))
        self._level -= self.slope * float(unseen.mean())
        self._accuracy = self._new().fit_features(features, accuracies)

    def _predict(self, rows: FeatureMatrix) -> Scores:
        accuracies = np.full(len(rows), self._level)
        if self._accuracy is not None:
            accuracies += self.slope * self._accuracy.predict_features(rows[:, :-1])
        scores: Scores = accuracies - rows[:, -1]
        return scores

    def _out_of_fold(self, features: FeatureMatrix, accuracies: Scores) -> Scores:
        """Cross-validated prediction for every cell, float64 [N]."""
        fold = np.random.default_rng(self.random_state).permutation(len(accuracies)) % NUM_FOLDS
        found = np.empty(len(accuracies))
        for k in range(NUM_FOLDS):
            others = accuracies[fold != k]
            found[fold == k] = (
                self._new()
                .fit_features(features[fold != k], others)
                .predict_features(features[fold == k])
                if np.ptp(others) > 0
                else others.mean()
            )
        return found

    def _new(self) -> Predictor:
        return self.accuracy.reseeded(self.random_state)
