"""What every predictor can do."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch_geometric.data import Data

from gnas.errors import ConfigError, GraphError
from gnas.graphs import DenseBatch, as_batch
from gnas.predictors.features import Features, Rows
from gnas.predictors.targets import NormalScores, Scores


class Predictor(ABC):
    """Learns from scored architectures to order others; a higher score is better.

    Users call `fit` and `predict`. Experiments that fit often on parts of one table call
    ``features`` once and then `fit_rows` and `predict_rows`. Every predictor learns the scores'
    ranks (`gnas.predictors.targets.NormalScores`), so its predictions are meant for ordering.

    Args:
        features: What the predictor sees of an architecture.
        seed: Fixes every random choice: same seed and data, same predictions.
    """

    name: str
    """What result tables print."""

    def __init__(self, features: Features, *, seed: int = 0) -> None:
        self.features = features
        self.seed = seed
        self._scale: NormalScores | None = None
        self._width = 0

    def fit(self, graphs: Data | Sequence[Data] | DenseBatch, scores: ArrayLike | Tensor) -> Self:
        """Learns from N scored architectures, forgetting what it learnt before.

        Args:
            graphs: N architectures.
            scores: Their scores [N], for example validation accuracies as fractions.

        Raises:
            ConfigError: the number of scores is not N, N < 2, a score is NaN or infinite, or all
                are equal.
            GraphError: the graphs are not of the vocabulary or size that ``features`` takes.
        """
        return self.fit_rows(self.features(as_batch(graphs)), scores)

    def predict(self, graphs: Data | Sequence[Data] | DenseBatch) -> Scores:
        """Predicted scores float64 [N]: exact in order only.

        Raises:
            ConfigError: `fit` was not called.
            GraphError: as for `fit`.
        """
        return self.predict_rows(self.features(as_batch(graphs)))

    def fit_rows(self, rows: Rows, scores: ArrayLike | Tensor) -> Self:
        """As `fit`, on the rows [N, F] that ``features`` gave."""
        _check_rows(rows)
        values = np.asarray(torch.as_tensor(scores).cpu() if torch.is_tensor(scores) else scores)
        if values.shape != (len(rows),):
            raise ConfigError(
                f"there must be one score per graph, but got {len(rows)} graphs and scores of "
                f"shape {values.shape}"
            )
        self._scale = None
        scale, targets = self._targets(values.astype(np.float64))
        self._fit(rows, targets)
        self._width, self._scale = rows.shape[1], scale
        return self

    def predict_rows(self, rows: Rows) -> Scores:
        """As `predict`, on the rows [N, F] that ``features`` gave."""
        if self._scale is None:
            raise ConfigError(f"predictor '{self.name}' must be fitted first; call `fit`")
        _check_rows(rows)
        if rows.shape[1] != self._width:
            raise GraphError(f"rows must have {self._width} columns, but got {rows.shape[1]}")
        if len(rows) == 0:
            return np.zeros(0)
        return self._scale.to_scores(self._predict(rows))

    def clone(self, seed: int) -> Self:
        """An unfitted copy with another seed."""
        other = copy.copy(self)
        other.seed = seed
        other._scale = None
        return other

    def _targets(self, scores: Scores) -> tuple[NormalScores, Scores]:
        """What `_fit` gets of the scores [N], and the way back."""
        return NormalScores.fit(scores)

    @abstractmethod
    def _fit(self, rows: Rows, targets: Scores) -> None:
        """Learns targets [N], of mean 0 and variance about 1, from rows [N, F].

        Replaces the fitted state and never changes it in place: clones share it.
        """

    @abstractmethod
    def _predict(self, rows: Rows) -> Scores:
        """Targets [N] of rows [N, F]."""


class ColumnScale:
    """Standardises columns by the mean and deviation of the rows it was made from.

    Columns that never change there are left out.
    """

    def __init__(self, rows: Rows) -> None:
        self._mean = rows.mean(0)
        deviation = rows.std(0)
        self._kept = deviation > 1e-9 * np.maximum(np.abs(self._mean), 1)
        self._deviation = deviation[self._kept]

    def __call__(self, rows: Rows) -> Rows:
        """Standardised rows [N, F'] with F' >= 1 (one column of zeros if nothing changes)."""
        scaled: Rows = (rows - self._mean)[:, self._kept] / self._deviation
        return scaled if scaled.shape[1] else np.zeros((len(rows), 1))


def _check_rows(rows: Rows) -> None:
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise GraphError(
            f"features must be a finite matrix [N, F], but got shape {rows.shape} "
            f"with {int((~np.isfinite(rows)).sum())} values that are not finite"
        )
