"""Base class of predictors."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal, Self, overload

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.base import clone as sklearn_clone
from torch import Tensor

from gnas.config import check_seed
from gnas.errors import ConfigError, GraphError, UnsupportedError
from gnas.graphs import Graphs, as_batch
from gnas.metrics import as_scores, kendall_tau
from gnas.predictors.features import FeatureMatrix, Features, check_features, feature_rows
from gnas.predictors.targets import NormalScores, Scores
from gnas.printable import amount
from gnas.spaces.base import Space
from gnas.training.devices import one_thread

SMALL_FIT = 2000
"""Up to so many samples a fit has one thread; see `gnas.training.devices.one_thread`."""


class Predictor(RegressorMixin, BaseEstimator, ABC):  # type: ignore[misc]  # untyped
    """Base class of predictors, which learn from scored architectures to order others.

    A higher score is better. Users call `fit` and `predict`. Experiments that fit often on parts
    of one table call ``features`` once and then `fit_features` and `predict_features`. Every
    predictor learns the scores' ranks (`gnas.predictors.targets.NormalScores`), so its predictions
    are meant for ordering.

    Predictors are scikit-learn estimators of architectures: `sklearn.base.clone`,
    `sklearn.model_selection.cross_val_score` and grid searches work on a list of graphs.

    Args:
        features: Features of an architecture.
        random_state: Seed of every random choice: same seed and data, same predictions.

    Examples:
        >>> from sklearn.model_selection import cross_val_score
        >>> from gnas.predictors import Forest, OneHot
        >>> from gnas.spaces import NASBench101
        >>> cells = list(NASBench101().sample_batch(60, np.random.default_rng(0)))
        >>> edges = [cell.num_edges for cell in cells]
        >>> taus = cross_val_score(Forest(OneHot(7, 5)), cells, edges, cv=3)
        >>> taus.shape, bool(taus.mean() > 0.2)
        ((3,), True)
    """

    name: str
    """Label in result tables."""
    has_std: bool = False
    """Whether ``predict(..., return_std=True)`` works."""

    def __init__(self, features: Features, *, random_state: int = 0) -> None:
        check_features(features)
        self.features = features
        self.random_state = check_seed(random_state, "random_state")
        self._scale: NormalScores | None = None
        self._width = 0
        self._train: tuple[FeatureMatrix, Scores] | None = None

    def fit(self, graphs: Graphs, scores: ArrayLike | Tensor) -> Self:
        """Learn from N scored architectures, forgetting what it learnt before.

        Args:
            graphs: N architectures.
            scores: Their scores [N], for example validation accuracies as fractions.

        Raises:
            ConfigError: the number of scores is not N, N < 2, a score is NaN or infinite, or all
                are equal.
            GraphError: the graphs are not of the vocabulary or size that ``features`` takes.
        """
        self._check_made()
        return self.fit_features(feature_rows(self.features, as_batch(graphs)), scores)

    @overload
    def predict(self, graphs: Graphs, return_std: Literal[False] = False) -> Scores: ...

    @overload
    def predict(self, graphs: Graphs, return_std: Literal[True]) -> tuple[Scores, Scores]: ...

    def predict(self, graphs: Graphs, return_std: bool = False) -> Scores | tuple[Scores, Scores]:
        """Predicted scores float64 [N]: exact in order only.

        Args:
            graphs: N architectures.
            return_std: Also return how unsure each prediction is, a standard deviation on the
                same scale, float64 [N].

        Raises:
            ConfigError: `fit` was not called.
            GraphError: as for `fit`.
            UnsupportedError: ``return_std`` of a predictor that knows none, see `has_std`.
        """
        self._check_made()
        rows = feature_rows(self.features, as_batch(graphs))
        return self.predict_features_std(rows) if return_std else self.predict_features(rows)

    def score(self, graphs: Graphs, scores: ArrayLike | Tensor) -> float:
        """Kendall's tau between predictions and true scores.

        Args:
            graphs: N architectures.
            scores: Their scores [N].

        Returns:
            In [-1, 1]; scikit-learn's regressors return R2 here, which ranks do not aim at.

        Raises:
            ConfigError: `fit` was not called.
            GraphError: as for `fit`.
        """
        return kendall_tau(self.predict(graphs), scores)

    def set_params(self, **params: Any) -> Self:
        """Change parameters, and forget what was learnt.

        Args:
            params: Arguments of the constructor; ``part__name`` is the argument ``name`` of the
                predictor or estimator that is the argument ``part``.

        Raises:
            ConfigError: there is no such parameter, or a value is impossible.
        """
        known = self.get_params(deep=False)
        nested: dict[str, dict[str, Any]] = {}
        for name, value in params.items():
            part, under, rest = name.partition("__")
            if part not in known or (under and not hasattr(known[part], "set_params")):
                raise ConfigError(
                    f"unknown parameter '{name}' of '{self.name}'; choose from {sorted(known)}"
                )
            if under:
                nested.setdefault(part, {})[rest] = value
            else:
                known[name] = value
        for part, changes in nested.items():
            known[part] = sklearn_clone(known[part]).set_params(**changes)
        self.__dict__ = type(self)(**known).__dict__
        return self

    def fit_features(self, rows: FeatureMatrix, scores: ArrayLike | Tensor) -> Self:
        """As `fit`, on the rows [N, F] that ``features`` gave.

        Args:
            rows: Feature matrix [N, F].
            scores: Scores [N].
        """
        _check_rows(rows)
        values = as_scores(scores)
        if values.shape != (len(rows),):
            raise ConfigError(
                f"there must be one score per graph, but got {amount(len(rows), 'graph')} and "
                f"scores of shape {values.shape}"
            )
        self._scale = self._train = None
        scale, targets = self._targets(values)
        train = rows.copy(), values  # before a subclass can scale them in place
        with one_thread() if len(rows) <= SMALL_FIT else nullcontext():
            self._fit(rows, targets)
        self._width, self._scale, self._train = rows.shape[1], scale, train
        return self

    def predict_features(self, rows: FeatureMatrix) -> Scores:
        """As `predict`, on the rows [N, F] that ``features`` gave."""
        scale = self._checked(rows)
        if not len(rows):
            return np.zeros(0)
        return scale.to_scores(self._checked_predict(rows))

    def predict_features_std(self, rows: FeatureMatrix) -> tuple[Scores, Scores]:
        """As `predict` with ``return_std``, on the rows [N, F] that ``features`` gave."""
        scale = self._checked(rows)
        if not len(rows):
            return np.zeros(0), np.zeros(0)
        mean, deviation = self._checked_predict_std(rows)
        return scale.to_scores(mean), scale.scale * deviation

    def reseeded(self, random_state: int) -> Self:
        """An unfitted copy with another seed; features are shared, not copied."""
        self._check_made()
        other = copy.copy(self)
        other.random_state = check_seed(random_state, "random_state")
        other._scale = other._train = None
        return other

    def __sklearn_clone__(self) -> Self:
        return self.reseeded(self.random_state)

    def training_data(self) -> tuple[FeatureMatrix, Scores]:
        """The rows and the scores that the predictor was fitted on.

        Returns:
            Rows float64 [N, F] and scores float64 [N].

        Raises:
            ConfigError: `fit` was not called.
        """
        self._check_made()
        if self._train is None:
            raise ConfigError(f"predictor '{self.name}' must be fitted first; call `fit`")
        return self._train

    def save(self, path: str | Path) -> None:
        """Write the fitted predictor to one file of safetensors and JSON; no pickle.

        The file holds what the predictor was made with, the weights of its encoders, and the rows
        and scores that it was fitted on. Forests have no state in tensors and every fit is
        deterministic, so `load` fits again: in no time for most predictors, as long as the first
        time for graph networks.

        Args:
            path: The file; its name ends in ``.safetensors``.

        Raises:
            ConfigError: `fit` was not called, or ``path`` ends otherwise.
            UnsupportedError: the predictor was made with a function or a class that is neither
                gnas' nor scikit-learn's.
            DataError: the file cannot be written.
        """
        from gnas.predictors.storage import save_predictor

        save_predictor(self, _as_path(path))

    @classmethod
    def load(cls, path: str | Path, *, space: Space | None = None) -> Self:
        """Read a predictor that `save` wrote, and fit it on the same samples.

        Reading runs no code of the file. ``Predictor.load`` reads every predictor of gnas; a
        class of your own reads its files by its own ``load``.

        Args:
            path: A file of `save`.
            space: The space of the architectures, where that is one of your own.

        Raises:
            ConfigError: ``path`` does not end in ``.safetensors``.
            MissingDataError: there is no such file.
            DataError: the file is damaged, or holds a predictor of another class.

        Examples:
            >>> import tempfile
            >>> from pathlib import Path
            >>> from gnas.predictors import Forest, OneHot
            >>> from gnas.spaces import NASBench101
            >>> cells = NASBench101().sample_batch(20, np.random.default_rng(0))
            >>> forest = Forest(OneHot(7, 5)).fit(cells, np.arange(20.0))
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     forest.save(Path(folder) / "forest.safetensors")
            ...     same = Predictor.load(Path(folder) / "forest.safetensors")
            >>> bool((same.predict(cells) == forest.predict(cells)).all())
            True
        """
        from gnas.predictors.storage import load_predictor

        found = load_predictor(_as_path(path), cls, space=space)
        assert isinstance(found, cls)
        return found

    def _check_made(self) -> None:
        """Raise ConfigError if a class of the user's own lacks a name or the base's arguments."""
        kind = type(self).__name__
        if "_scale" not in vars(self):
            raise ConfigError(
                f"`__init__` of {kind} must call that of Predictor, but does not; add "
                "`super().__init__(features, random_state=random_state)`"
            )
        if not isinstance(name := getattr(self, "name", None), str):
            raise ConfigError(
                f"{kind} must have a `name`, a text for results, but its name is {name!r:.80}"
            )

    def _checked(self, rows: FeatureMatrix) -> NormalScores:
        """The scale of the scores, if the predictor is fitted and can take these rows."""
        if self._scale is None:
            raise ConfigError(f"predictor '{self.name}' must be fitted first; call `fit`")
        _check_rows(rows)
        if rows.shape[1] != self._width:
            raise GraphError(f"rows must have {self._width} columns, but got {rows.shape[1]}")
        return self._scale

    def _checked_predict(self, rows: FeatureMatrix) -> Scores:
        """What `_predict` returns, if it is a finite number for every row."""
        return self._numbers(self._predict(rows), len(rows))

    def _checked_predict_std(self, rows: FeatureMatrix) -> tuple[Scores, Scores]:
        """What `_predict_std` returns, if it is two finite numbers for every row, none below 0."""
        found = self._predict_std(rows)
        if not isinstance(found, tuple | list) or len(found) != 2:
            raise ConfigError(
                f"`_predict_std` of '{self.name}' must return targets and their standard "
                f"deviations, but returned {' '.join(repr(found).split()):.80}"
            )
        mean, deviation = (self._numbers(one, len(rows)) for one in found)
        if deviation.min() < 0:
            raise ConfigError(
                f"standard deviations of '{self.name}' must be at least 0, but "
                f"{int((deviation < 0).sum())} of {len(rows)} are below, down to "
                f"{deviation.min():.4g}"
            )
        return mean, deviation

    def _numbers(self, found: object, count: int) -> Scores:
        """What a subclass predicted, if it is ``count`` finite numbers."""
        values = as_scores(found, f"predictions of '{self.name}'")
        if values.shape != (count,) or not np.isfinite(values).all():
            raise ConfigError(
                f"predictor '{self.name}' must predict {count} finite numbers for {count} graphs, "
                f"but its shape is {values.shape} and "
                f"{int((~np.isfinite(values)).sum())} are not finite"
            )
        return values

    def _targets(self, scores: Scores) -> tuple[NormalScores, Scores]:
        """Training targets of `_fit` for the scores [N], and their transform."""
        return NormalScores.fit(scores)

    @abstractmethod
    def _fit(self, rows: FeatureMatrix, targets: Scores) -> None:
        """Learn targets [N], of mean 0 and variance about 1, from rows [N, F].

        Replaces the fitted state and never changes it in place: copies share it.
        """

    @abstractmethod
    def _predict(self, rows: FeatureMatrix) -> Scores:
        """Targets [N] of rows [N, F]."""

    def _predict_std(self, rows: FeatureMatrix) -> tuple[Scores, Scores]:
        """Targets [N] of rows [N, F], and their standard deviations [N]."""
        raise UnsupportedError(
            f"return_std needs a predictor that knows its uncertainty, but '{self.name}' does "
            "not; take `ARDGaussianProcess`, or an `Average` or an ensemble of several predictors"
        )


class ColumnScale:
    """Standardisation of columns by the mean and deviation of the rows it was made from.

    Columns that never change there are left out.
    """

    def __init__(self, rows: FeatureMatrix) -> None:
        self._mean = rows.mean(0)
        deviation = rows.std(0)
        self._kept = deviation > 1e-9 * np.maximum(np.abs(self._mean), 1)
        self._deviation = deviation[self._kept]
        self.some = bool(self._kept.any())
        """Whether any column varies."""

    def __call__(self, rows: FeatureMatrix) -> FeatureMatrix:
        """Standardised rows [N, F'] with F' >= 1 (one column of zeros if nothing changes)."""
        scaled: FeatureMatrix = (rows - self._mean)[:, self._kept] / self._deviation
        return scaled if scaled.shape[1] else np.zeros((len(rows), 1))

    def of_columns(self, values: FeatureMatrix) -> FeatureMatrix:
        """The columns that are not left out, as they are: [N, F] -> [N, F']."""
        kept: FeatureMatrix = values[:, self._kept]
        return kept if kept.shape[1] else np.ones((len(values), 1))


def _as_path(path: object) -> Path:
    if not isinstance(path, str | Path):
        raise ConfigError(f"path must be the name of a file, but is {path!r:.80}")
    return Path(path)


def _check_rows(rows: FeatureMatrix) -> None:
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise GraphError(
            f"features must be a finite matrix [N, F], but got shape {rows.shape} "
            f"with {amount(int((~np.isfinite(rows)).sum()), 'value')} not finite"
        )
