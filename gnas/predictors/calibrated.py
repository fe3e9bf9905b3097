"""Uncertainty that is as large as the errors are."""

from __future__ import annotations

from typing import Self

import numpy as np

from gnas.config import SEEDS, check_count, check_seed
from gnas.errors import ConfigError, UnsupportedError
from gnas.predictors.base import Predictor
from gnas.predictors.features import FeatureMatrix
from gnas.predictors.targets import Scores

ONE_DEVIATION = 0.6827
"""Share of a normal distribution within one standard deviation."""
MIN_ROWS = 10
"""Choice: fewer samples are not held out, and uncertainty stays as it is."""


class Calibrated(Predictor):
    """A predictor whose standard deviations are scaled to the errors it makes on held-out samples.

    Members of a deep ensemble that saw the same few samples agree far better than they are
    right. One factor, found by cross-validation, brings 68% of the held-out errors within one
    standard deviation. Predictions stay exactly those of the predictor, and so does the order of
    the deviations.

    Args:
        predictor: Knows its uncertainty (`Predictor.has_std`).
        folds: Parts that are held out in turn; fitting takes about ``folds`` times as long. Each
            fold's fit sees the other samples alone, so members of an `Average` that wait for more
            samples may be missing there.
        random_state: Seed of the predictor and of the folds.

    Raises:
        ConfigError: fewer than two folds.
        UnsupportedError: the predictor knows no uncertainty.

    Source: the idea of Levi et al., Evaluating and Calibrating Uncertainty Prediction in
    Regression Tasks, 2019 (one factor, there by likelihood; here by coverage, which outliers do
    not move).

    Examples:
        >>> import numpy as np
        >>> from gnas.spaces import NASBench101
        >>> cells = NASBench101().sample_batch(40, np.random.default_rng(0))
        >>> edges = cells.adjacency.sum((1, 2)).double().numpy()
        >>> from gnas.predictors import MLP, OneHot
        >>> sure = Calibrated(MLP(OneHot(7, 5), members=3)).fit(cells, edges)
        >>> sure.factor > 1
        True
    """

    has_std = True

    def __init__(self, predictor: Predictor, *, folds: int = 5, random_state: int = 0) -> None:
        check_count(folds, "folds", 2)
        if not isinstance(predictor, Predictor):
            raise ConfigError(f"this must be a predictor, but is {predictor!r:.80}")
        predictor._check_made()
        if not predictor.has_std:
            raise UnsupportedError(
                f"a predictor must know its uncertainty to be calibrated, but '{predictor.name}' "
                "does not; take `ARDGaussianProcess` or an `Average` of several predictors"
            )
        super().__init__(predictor.features, random_state=random_state)
        self.name = f"calibrated {predictor.name}"
        self.predictor = predictor.reseeded(check_seed(random_state, "random_state"))
        self.folds = folds
        self.factor = 1.0
        """Factor of the predictor's standard deviations."""

    def reseeded(self, random_state: int) -> Self:
        """See `Predictor.reseeded`."""
        return type(self)(self.predictor, folds=self.folds, random_state=random_state)

    def _fit(self, rows: FeatureMatrix, targets: Scores) -> None:
        self.predictor._fit(rows, targets)
        ratios = self._held_out(rows, targets) if len(rows) >= MIN_ROWS else np.ones(1)
        self.factor = float(np.quantile(ratios, ONE_DEVIATION))

    def _held_out(self, rows: FeatureMatrix, targets: Scores) -> Scores:
        """Errors in standard deviations of predictors that have not seen the sample: [N]."""
        ratios = np.ones(len(rows))
        order = np.random.default_rng(self.random_state).permutation(len(rows))
        for fold, held in enumerate(np.array_split(order, min(self.folds, len(rows)))):
            rest = np.setdiff1d(order, held)
            member = self.predictor.reseeded((self.random_state + 1 + fold) % SEEDS)
            member._fit(rows[rest], targets[rest])
            mean, deviation = member._checked_predict_std(rows[held])
            ratios[held] = np.abs(targets[held] - mean) / np.maximum(deviation, 1e-12)
        return ratios

    def _predict(self, rows: FeatureMatrix) -> Scores:
        return self.predictor._predict(rows)

    def _predict_std(self, rows: FeatureMatrix) -> tuple[Scores, Scores]:
        mean, deviation = self.predictor._checked_predict_std(rows)
        return mean, self.factor * deviation
