"""Predictors as scikit-learn estimators of architectures."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone, is_regressor
from sklearn.ensemble import BaggingRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR
from sklearn.utils.estimator_checks import (
    check_estimator_repr,
    check_get_params_invariance,
    check_set_params,
)

from gnas.errors import ConfigError
from gnas.metrics import kendall_tau
from gnas.predictors import (
    MLP,
    ARDGaussianProcess,
    Calibrated,
    Forest,
    GraphNetwork,
    OnPackedGraphs,
    Predictor,
    Regressor,
    default_predictor,
)
from gnas.search.nasgem.accuracy import ByAccuracy, MacsPenalty
from gnas.spaces import NASBench101, NASBench201
from tests.predictors.test_predictors import IDS, PATHS, PREDICTORS, RAW, task

MORE: list[Predictor] = [
    Regressor(RAW, make_pipeline(StandardScaler(), SVR())),
    OnPackedGraphs(ARDGaussianProcess(PATHS)),
    GraphNetwork(NASBench101(), epochs=1),
    ByAccuracy(MLP(RAW, epochs=2), MacsPenalty(lambda graphs: np.ones(len(graphs)), 0.1)),
    default_predictor(NASBench201(), networks=False),
]
ALL = [*PREDICTORS, *MORE]


@pytest.mark.parametrize("predictor", ALL, ids=[*IDS, *(one.name for one in MORE)])
def test_parameters_are_those_of_the_constructor(predictor: Predictor) -> None:
    assert is_regressor(predictor)
    check_get_params_invariance(predictor.name, predictor)
    check_estimator_repr(predictor.name, predictor)
    params = predictor.get_params(deep=False)
    again = type(predictor)(**params)
    assert again.name == predictor.name and again.features == predictor.features
    assert again.get_params(deep=False).keys() == params.keys()
    copy = clone(predictor).set_params(random_state=7)
    assert copy.random_state == 7 and predictor.random_state == 0


@pytest.mark.filterwarnings("ignore:.*delay parameter validation until fit")
@pytest.mark.parametrize("predictor", [MLP(RAW), Forest(RAW), ARDGaussianProcess(RAW)])
def test_set_parameters_is_as_scikit_learn_has_it(predictor: Predictor) -> None:
    check_set_params(predictor.name, predictor)


def test_cross_validation_and_the_score() -> None:
    cells, scores = task()
    graphs = list(cells)
    taus = cross_val_score(Forest(RAW, num_trees=20), graphs, scores, cv=4)
    assert taus.shape == (4,) and taus.min() > 0.4
    fitted = Forest(RAW, num_trees=20).fit(graphs[:100], scores[:100])
    expected = kendall_tau(fitted.predict(graphs[100:]), scores[100:])
    assert fitted.score(graphs[100:], scores[100:]) == expected
    assert fitted.score(cells[100:], scores[100:]) == expected


def test_searching_parameters() -> None:
    cells, scores = task()
    search = GridSearchCV(MLP(RAW), {"epochs": [1, 60]}, cv=3).fit(list(cells), scores)
    assert search.best_params_ == {"epochs": 60}
    nested = Calibrated(MLP(RAW, members=2))
    changed = clone(nested).set_params(predictor__epochs=3, folds=2)
    assert (changed.predictor.epochs, changed.folds) == (3, 2)
    assert (nested.predictor.epochs, nested.folds) == (100, 5)
    for name in ("nonsense", "folds__x", "predictor__nonsense"):
        with pytest.raises(ConfigError, match="unknown parameter"):
            clone(nested).set_params(**{name: 1})
    with pytest.raises(ConfigError, match="folds must be at least 2"):
        clone(nested).set_params(folds=1)
    with pytest.raises(ConfigError, match="must be fitted first"):
        MLP(RAW, epochs=1).fit(cells, scores).set_params(epochs=2).predict(cells)


def test_any_regressor_of_scikit_learn() -> None:
    cells, scores = task()
    ridge = Regressor(RAW, Ridge()).fit(cells[:100], scores[:100])
    assert ridge.name == "Ridge" and ridge.score(cells[100:], scores[100:]) > 0.5
    bag = BaggingRegressor(make_pipeline(StandardScaler(), Ridge()), n_estimators=4)
    rows = [
        Regressor(RAW, bag, random_state=k).fit(cells, scores).predict(cells) for k in (1, 1, 2)
    ]
    assert np.array_equal(rows[0], rows[1]) and not np.array_equal(rows[0], rows[2])
    assert not hasattr(bag, "estimators_")  # a copy was fitted
    for estimator in (Ridge, StandardScaler(), None):
        with pytest.raises(ConfigError, match="must be a regressor of scikit-learn, but got"):
            Regressor(RAW, estimator)
