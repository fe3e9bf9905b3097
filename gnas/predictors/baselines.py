"""Predictors from scikit-learn, and the number of parameters: what an encoder has to beat."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from sklearn import config_context
from sklearn.base import BaseEstimator, clone, is_regressor
from sklearn.utils import check_array

from gnas.config import check_choice, check_count, check_number, seed_32
from gnas.errors import ConfigError
from gnas.predictors.base import ColumnScale, Predictor
from gnas.predictors.features import FeatureMatrix, Features
from gnas.predictors.targets import Scores
from gnas.training.devices import own_settings

MAX_TREES = 100_000
"""Most trees of a forest, so that a typing error cannot request all time."""


class Regressor(Predictor):
    """Any regressor of scikit-learn, on features of architectures.

    Args:
        features: Features of an architecture.
        estimator: A regressor, or a pipeline that ends in one; a copy is fitted, to ranks as all
            predictors are (`Predictor`), with ``random_state`` where it takes one.
        random_state: See `Predictor`.

    Raises:
        ConfigError: ``estimator`` is no regressor of scikit-learn's convention.

    Examples:
        >>> from sklearn.linear_model import Ridge
        >>> from gnas.encoders import load_encoder
        >>> from gnas.predictors import Embedding
        >>> Regressor(Embedding(load_encoder("nasgem-nasbench101")), Ridge()).name
        'Ridge'
    """

    def __init__(self, features: Features, estimator: Any, *, random_state: int = 0) -> None:
        super().__init__(features, random_state=random_state)
        if not isinstance(estimator, BaseEstimator) or not is_regressor(estimator):
            raise ConfigError(
                f"estimator must be a regressor of scikit-learn, but got {estimator!r:.80}"
            )
        self.name = type(estimator).__name__
        self.estimator = estimator
        self._model: Any = None

    def _fit(self, rows: FeatureMatrix, targets: Scores) -> None:
        model = clone(self.estimator)
        states = [
            name
            for name in model.get_params()
            if name == "random_state" or name.endswith("__random_state")
        ]
        model.set_params(**dict.fromkeys(states, seed_32(self.random_state)))
        self._model = model.fit(rows, targets)

    def _predict(self, rows: FeatureMatrix) -> Scores:
        return np.asarray(self._model.predict(rows), dtype=np.float64)


class Forest(Predictor):
    """A forest of regression trees.

    Args:
        features: Features of an architecture.
        kind: "random" (bootstrap samples, best splits) or "extra" (all samples, random splits).
        num_trees: Trees; predictions are their mean.
        max_features: Fraction of the columns that each split may use.
        random_state: See `Predictor`.

    Source: Breiman, Random Forests, 2001; Geurts et al., Extremely Randomized Trees, 2006.

    Examples:
        >>> import numpy as np
        >>> from gnas.spaces import NASBench101
        >>> cells = NASBench101().sample_batch(40, np.random.default_rng(0))
        >>> edges = cells.adjacency.sum((1, 2)).double().numpy()
        >>> from gnas.predictors import OneHot
        >>> forest = Forest(OneHot(7, 5), kind="extra").fit(cells[:30], edges[:30])
        >>> forest.score(cells[30:], edges[30:]) > 0.3
        True
    """

    def __init__(
        self,
        features: Features,
        *,
        kind: Literal["random", "extra"] = "random",
        num_trees: int = 100,
        max_features: float = 1 / 3,
        random_state: int = 0,
    ) -> None:
        check_choice(kind, "kind", ["random", "extra"])
        check_count(num_trees, "num_trees", 1, MAX_TREES)
        check_number(max_features, "max_features", most=1)
        super().__init__(features, random_state=random_state)
        self.name = "random forest" if kind == "random" else "extra trees"
        self.kind = kind
        self.num_trees = num_trees
        self.max_features = max_features
        self._trees: list[Any] = []

    def _fit(self, rows: FeatureMatrix, targets: Scores) -> None:
        """Fit the trees of scikit-learn's forest, without what that does around each of them."""
        from sklearn.tree import DecisionTreeRegressor, ExtraTreeRegressor

        is_random, n = self.kind == "random", len(rows)
        columns, values = check_array(rows, dtype=np.float32), targets.reshape(-1, 1)
        seeds = np.random.RandomState(seed_32(self.random_state))
        state, counts, trees = np.random.RandomState(0), None, []
        with config_context(skip_parameter_validation=True, assume_finite=True):
            for _ in range(self.num_trees):
                seed = seeds.randint(np.iinfo(np.int32).max)
                if is_random:
                    state.seed(seed)
                    counts = np.bincount(state.randint(0, n, n), minlength=n)
                state.seed(seed)
                kind = DecisionTreeRegressor if is_random else ExtraTreeRegressor
                tree = kind(max_features=self.max_features, random_state=state)
                trees.append(tree.fit(columns, values, sample_weight=counts, check_input=False))
        self._trees = trees

    def _predict(self, rows: FeatureMatrix) -> Scores:
        columns, total = check_array(rows, dtype=np.float32), np.zeros(len(rows))
        for tree in self._trees:
            total += tree.predict(columns, check_input=False)
        return total / len(self._trees)


class BoostedTrees(Predictor):
    """Gradient-boosted regression trees (histograms, squared error).

    Args:
        features: Features of an architecture.
        num_trees: Trees, one after the other.
        learning_rate: Share of each tree that is added.
        max_leaves: Leaves of a tree.
        random_state: See `Predictor`.

    Source: Friedman, Greedy Function Approximation, 2001; scikit-learn's histogram version.

    Examples:
        >>> import numpy as np
        >>> from gnas.spaces import NASBench101
        >>> cells = NASBench101().sample_batch(40, np.random.default_rng(0))
        >>> edges = cells.adjacency.sum((1, 2)).double().numpy()
        >>> from gnas.predictors import OneHot
        >>> BoostedTrees(OneHot(7, 5), num_trees=20).fit(cells, edges).predict(cells).shape
        (40,)
    """

    def __init__(
        self,
        features: Features,
        *,
        num_trees: int = 150,
        learning_rate: float = 0.06,
        max_leaves: int = 8,
        random_state: int = 0,
    ) -> None:
        check_count(num_trees, "num_trees", 1, MAX_TREES)
        check_number(learning_rate, "learning_rate")
        check_count(max_leaves, "max_leaves", 2)
        super().__init__(features, random_state=random_state)
        self.name = "boosted trees"
        self.num_trees = num_trees
        self.learning_rate = learning_rate
        self.max_leaves = max_leaves
        self._model: Any = None

    def _fit(self, rows: FeatureMatrix, targets: Scores) -> None:
        from sklearn.ensemble import HistGradientBoostingRegressor

        model = HistGradientBoostingRegressor(
            max_iter=self.num_trees,
            learning_rate=self.learning_rate,
            max_leaf_nodes=self.max_leaves,
            min_samples_leaf=max(2, len(rows) // 50),
            early_stopping=False,
            random_state=seed_32(self.random_state),
        )
        self._model = model.fit(rows, targets)

    def _predict(self, rows: FeatureMatrix) -> Scores:
        return np.asarray(self._model.predict(rows))


class GaussianProcess(Predictor):
    """A Gaussian process with one length scale, fitted by maximum marginal likelihood.

    Args:
        features: Columns are standardised by the training rows, then weigh alike.
        kernel: "rbf" or "matern" (smoothness 5/2).
        hyper_rows: The length scale, amplitude and noise are fitted on at most this many of the
            training rows (a seeded draw; the fit is cubic in it); predictions use all rows.
        random_state: See `Predictor`.

    Source: Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, chapters 2, 5.

    Examples:
        >>> import numpy as np
        >>> from gnas.spaces import NASBench101
        >>> cells = NASBench101().sample_batch(40, np.random.default_rng(0))
        >>> edges = cells.adjacency.sum((1, 2)).double().numpy()
        >>> from gnas.predictors import OneHot
        >>> GaussianProcess(OneHot(7, 5)).fit(cells, edges).predict(cells).shape
        (40,)
    """

    def __init__(
        self,
        features: Features,
        *,
        kernel: Literal["rbf", "matern"] = "rbf",
        hyper_rows: int = 250,
        random_state: int = 0,
    ) -> None:
        check_choice(kernel, "kernel", ["rbf", "matern"])
        check_count(hyper_rows, "hyper_rows")
        super().__init__(features, random_state=random_state)
        self.name = "GP" if kernel == "rbf" else "Matern GP"
        self.kernel = kernel
        self.hyper_rows = hyper_rows
        self._columns: ColumnScale | None = None
        self._model: Any = None

    @own_settings()
    def _fit(self, rows: FeatureMatrix, targets: Scores) -> None:
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern, WhiteKernel

        self._columns = ColumnScale(rows)
        inputs = self._inputs(rows)
        shape = RBF(1.0) if self.kernel == "rbf" else Matern(1.0, nu=2.5)
        prior = ConstantKernel(1.0, (1e-2, 1e3)) * shape + WhiteKernel(0.1, (1e-4, 10.0))
        rng = np.random.default_rng(self.random_state)
        part = rng.permutation(len(rows))[: self.hyper_rows]
        with _quiet():
            model = GaussianProcessRegressor(prior).fit(inputs[part], targets[part])
            if len(part) < len(rows):
                model = GaussianProcessRegressor(model.kernel_, optimizer=None)
                model.fit(inputs, targets)
        self._model = model

    @own_settings()
    def _predict(self, rows: FeatureMatrix) -> Scores:
        inputs = self._inputs(rows)
        parts = [inputs[start : start + 10_000] for start in range(0, len(inputs), 10_000)]
        return np.concatenate([self._model.predict(part) for part in parts])

    def _inputs(self, rows: FeatureMatrix) -> FeatureMatrix:
        assert self._columns is not None
        scaled = self._columns(rows)
        inputs: FeatureMatrix = scaled / np.sqrt(scaled.shape[1])
        return inputs


class IdentityPredictor(Predictor):
    """The one column of its features, as it is: no learning.

    Args:
        features: A single column, for example the number of parameters.
        random_state: Without effect.

    Examples:
        >>> import numpy as np
        >>> from gnas.spaces import NASBench101
        >>> cells = NASBench101().sample_batch(40, np.random.default_rng(0))
        >>> edges = cells.adjacency.sum((1, 2)).double().numpy()
        >>> from gnas.models import nasbench101_num_params
        >>> from gnas.predictors import NumParams
        >>> smallest = IdentityPredictor(NumParams(nasbench101_num_params)).fit(cells, edges)
        >>> int(smallest.predict(cells).argmax()) == int(nasbench101_num_params(cells).argmax())
        True
    """

    name = "none"

    def __init__(self, features: Features, *, random_state: int = 0) -> None:
        super().__init__(features, random_state=random_state)
        self._columns: ColumnScale | None = None

    def _fit(self, rows: FeatureMatrix, targets: Scores) -> None:
        if rows.shape[1] != 1:
            raise ConfigError(f"features must have one column, but got {rows.shape[1]}")
        self._columns = ColumnScale(rows)

    def _predict(self, rows: FeatureMatrix) -> Scores:
        assert self._columns is not None
        return self._columns(rows)[:, 0]


def _quiet() -> Any:
    """Ignore scikit-learn's remarks that a fitted length scale sits on its bound."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    return warnings.catch_warnings(action="ignore", category=ConvergenceWarning)
