"""What every predictor says to samples and graphs that cannot be right, or teach it nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gnas.encoders import load_encoder
from gnas.errors import ConfigError, GraphError
from gnas.graphs import DenseBatch
from gnas.models import nasbench101_num_params, nasbench201_num_params
from gnas.predictors import (
    LOSSES,
    MLP,
    ARDGaussianProcess,
    Average,
    BoostedTrees,
    Calibrated,
    Embedding,
    Features,
    FeatureUnion,
    Forest,
    GaussianProcess,
    IdentityPredictor,
    NumParams,
    OneHot,
    OneHotOps,
    PathStatistics,
    Predictor,
    RandomWalkStatistics,
    WLGaussianProcess,
    WLLabels,
    ZeroCost,
    default_predictor,
    make_predictor,
)
from gnas.proxies import ProxyConfig
from gnas.spaces import SPACES, NASBench101, NASBench201
from gnas.spaces.base import Space

SPACE = NASBench201()
PATHS = PathStatistics(SPACE)
PREDICTORS: list[Predictor] = [
    *[MLP(PATHS, loss=loss, epochs=20) for loss in sorted(LOSSES)],
    MLP(PATHS, members=3, epochs=20),
    Forest(PATHS, num_trees=10),
    Forest(PATHS, kind="extra", num_trees=10),
    BoostedTrees(PATHS, num_trees=10),
    GaussianProcess(PATHS),
    ARDGaussianProcess(PATHS),
    WLGaussianProcess(WLLabels(SPACE)),
    IdentityPredictor(NumParams(nasbench201_num_params)),
    Average([ARDGaussianProcess(PATHS), Forest(PATHS, num_trees=10)]),
    Calibrated(ARDGaussianProcess(PATHS)),
    ARDGaussianProcess(ZeroCost(SPACE, ProxyConfig(proxies=("params",)))),
    default_predictor(SPACE),
]
ALL = pytest.mark.parametrize(
    "predictor", PREDICTORS, ids=[f"{p.name}-{i}" for i, p in enumerate(PREDICTORS)]
)
UNIFORM = np.arange(12.0)


def cells(space: Space = SPACE, count: int = 12) -> DenseBatch:
    return space.sample_batch(count, np.random.default_rng(0))


def changed(row: int, value: float) -> NDArray[np.float64]:
    scores = UNIFORM.copy()
    scores[row] = value
    return scores


@ALL
@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (np.full(12, 0.9), r"scores must differ, but all 12 are 0\.9"),
        (changed(3, math.nan), "scores must be finite, but score 3 is nan"),
        (changed(11, -math.inf), "scores must be finite, but score 11 is -inf"),
        (UNIFORM[:11], r"one score per graph, but got 12 graphs and scores of shape \(11,\)"),
    ],
)
def test_scores_without_an_order_are_named(
    predictor: Predictor, scores: NDArray[np.float64], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        predictor.reseeded(0).fit(cells(), scores)


@ALL
def test_one_sample_and_none_are_too_few(predictor: Predictor) -> None:
    for count in (0, 1):
        with pytest.raises(ConfigError, match=rf"at least 2 scores, but got shape \({count},\)"):
            predictor.reseeded(0).fit(cells()[:count], UNIFORM[:count])


@ALL
def test_copies_with_different_scores_are_predicted_alike(predictor: Predictor) -> None:
    batch = DenseBatch.concat([cells(), cells()])
    scores = np.concatenate([UNIFORM, UNIFORM[::-1] + 0.5])
    predicted = predictor.reseeded(0).fit(batch, scores).predict(batch)
    assert np.isfinite(predicted).all()
    np.testing.assert_allclose(predicted[:12], predicted[12:], atol=1e-6)


@ALL
def test_samples_that_are_all_one_cell_teach_nothing(predictor: Predictor) -> None:
    same = DenseBatch.concat([cells()[:1]] * 12)
    fitted = predictor.reseeded(0).fit(same, UNIFORM)
    predicted = fitted.predict(DenseBatch.concat([same, cells()]))
    assert np.isfinite(predicted).all()
    np.testing.assert_allclose(predicted[:12], predicted[0], atol=1e-6)


@ALL
@pytest.mark.parametrize("other", sorted(set(SPACES) - {SPACE.name}))
def test_graphs_of_another_space_are_refused(predictor: Predictor, other: str) -> None:
    wrong = cells(SPACES[other]())
    with pytest.raises(GraphError, match=r"(graphs|cells) must have .*, (but )?got"):
        predictor.reseeded(0).fit(wrong, UNIFORM)
    fitted = predictor.reseeded(0).fit(cells(), UNIFORM)
    before = fitted.predict(cells())
    with pytest.raises(GraphError, match=r"(graphs|cells) must have .*, (but )?got"):
        fitted.predict(wrong)
    assert (fitted.predict(cells()) == before).all()


@pytest.mark.parametrize(
    "features",
    [
        Embedding(load_encoder("nasgem-nasbench101")),
        FeatureUnion((OneHotOps(7, 5), Embedding(load_encoder("nasgem-nasbench101")))),
        OneHot(7, 5),
        OneHotOps(7, 5),
        RandomWalkStatistics(5),
        NumParams(nasbench101_num_params),
    ],
    ids=lambda features: type(features).__name__,
)
@pytest.mark.parametrize("other", sorted(set(SPACES) - {"nasbench101"}))
def test_features_refuse_graphs_of_another_space(features: Features, other: str) -> None:
    assert len(features(cells(NASBench101()))) == 12
    with pytest.raises(GraphError, match=r"(must have|takes graphs of) .*\b5\b.* got"):
        features(cells(SPACES[other]()))


def test_a_failed_fit_leaves_nothing_to_predict_with() -> None:
    predictor = ARDGaussianProcess(PATHS).fit(cells(), UNIFORM)
    with pytest.raises(ConfigError, match="scores must differ"):
        predictor.fit(cells(), np.ones(12))
    with pytest.raises(ConfigError, match="must be fitted first"):
        predictor.predict(cells())


CODES = OneHot(7, 5)
MISTAKES: list[tuple[Any, dict[str, Any], str]] = [
    (Forest, {"kind": "radnom"}, "kind must be one of random, extra, but got 'radnom'"),
    (Forest, {"num_trees": 0}, "num_trees must be at least 1"),
    (Forest, {"num_trees": 10**9}, "num_trees must be at most 100000"),
    (Forest, {"max_features": 2}, "max_features must be a number above 0 and at most 1"),
    (BoostedTrees, {"num_trees": "9"}, "num_trees must be a whole number"),
    (BoostedTrees, {"learning_rate": math.nan}, "learning_rate must be a number above 0"),
    (BoostedTrees, {"max_leaves": 1}, "max_leaves must be at least 2"),
    (GaussianProcess, {"kernel": "rfb"}, "kernel must be one of rbf, matern, but got 'rfb'"),
    (GaussianProcess, {"hyper_rows": 0}, "hyper_rows must be at least 1"),
    (ARDGaussianProcess, {"kernel": "rbf"}, "kernel must be one of matern32, matern52"),
    (ARDGaussianProcess, {"columns": 3}, "columns must be a list of numbers"),
    (ARDGaussianProcess, {"relevance": "ab"}, "relevance must be a list of numbers"),
    (ARDGaussianProcess, {"length_scale": 0}, "length_scale must be a number above 0"),
    (ARDGaussianProcess, {"length_std": None}, "length_std must be a number above 0"),
    (ARDGaussianProcess, {"tail_weight": -1}, "tail_weight must be a number at least 0"),
    (MLP, {"epochs": 1.5}, "epochs must be a whole number"),
    (MLP, {"epochs": 10**9}, "epochs must be at most 100000"),
    (MLP, {"members": 10**9}, "members must be at most 1000"),
    (MLP, {"loss": ["bce"]}, "unknown loss"),
    (WLGaussianProcess, {}, "features must be WLLabels"),
    (Calibrated, {}, "this must be a predictor"),
    (Average, {}, "members must be a list of predictors"),
    (Embedding, {}, "encoder must be one such as"),
    (FeatureUnion, {}, "parts must be a tuple of features"),
    (ZeroCost, {}, "a space must be an object"),
]


@pytest.mark.parametrize(("make", "options", "message"), MISTAKES)
def test_arguments_are_checked_when_a_predictor_is_made(
    make: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        make(CODES, **options)


def test_wrong_things_in_the_place_of_a_space_an_encoder_and_a_file() -> None:
    cells = NASBench101().enumerate()[:3]
    wrong: Any
    for wrong in (None, 3, "nasbench101", NASBench101):
        for make in (PathStatistics, WLLabels):
            with pytest.raises(ConfigError, match="must be a space such as"):
                make(wrong)(cells)
        with pytest.raises(ConfigError, match="a space must be an object"):
            make_predictor("forest", wrong)
        with pytest.raises(ConfigError, match="encoder must be one such as"):
            Embedding(wrong)
        with pytest.raises(ConfigError, match="members must be a list"):
            Average(wrong)
    for wrong in (None, 3, ["a"]):
        with pytest.raises(ConfigError, match="name must be a text"):
            make_predictor(wrong, SPACE)
        with pytest.raises(ConfigError, match="path must be the name of a file"):
            Predictor.load(wrong)
        with pytest.raises(ConfigError, match="count must be a function"):
            NumParams(wrong)
        with pytest.raises(ConfigError, match="max_nodes must be a whole number"):
            OneHot(str(wrong), 5)  # type: ignore[arg-type]


class Stated(Predictor):
    """A stranger's predictor: scales its rows in place, and predicts what it is told."""

    name = "stated"

    def __init__(self, features: Features, *, stated: Any, random_state: int = 0) -> None:
        super().__init__(features, random_state=random_state)
        self.stated = stated

    def _fit(self, rows: NDArray[np.float64], targets: NDArray[np.float64]) -> None:
        rows -= rows.mean(0)

    def _predict(self, rows: NDArray[np.float64]) -> Any:
        return self.stated

    def _predict_std(self, rows: NDArray[np.float64]) -> Any:
        return np.zeros(len(rows)), self.stated


@pytest.mark.parametrize(
    "stated",
    [np.full(12, np.nan), np.zeros(3), np.zeros((12, 1)), 0.0],
    ids=["nan", "short", "column", "number"],
)
def test_predictions_must_be_a_finite_number_for_every_graph(stated: Any) -> None:
    model = Stated(PathStatistics(SPACE), stated=stated).fit(cells(), UNIFORM)
    for return_std in (False, True):
        with pytest.raises(ConfigError, match="'stated' must predict 12 finite numbers"):
            model.predict(cells(), return_std=return_std)


@pytest.mark.parametrize("wrap", [lambda one: one, lambda one: Average([one, one]), Calibrated])
@pytest.mark.parametrize(
    ("stated", "message"),
    [
        (
            lambda n: (np.zeros(n), np.full(n, -0.5)),
            "be at least 0, but .* are below, down to -0.5",
        ),
        (np.zeros, "return targets and their standard deviations, but returned array"),
        (lambda n: (np.zeros(n),) * 3, "return targets and their standard deviations"),
        (lambda n: (np.zeros(n), np.zeros(1)), r"predict \d+ finite numbers .* is \(1,\)"),
        (lambda n: (np.zeros(n), np.full(n, np.inf)), "predict .* are not finite"),
    ],
    ids=["negative", "mean alone", "three", "short", "infinite"],
)
def test_deviations_must_be_a_number_for_every_graph(
    wrap: Callable[[Predictor], Predictor], stated: Callable[[int], Any], message: str
) -> None:
    class Deviating(Stated):
        name, has_std = "deviating", True

        def _predict_std(self, rows: NDArray[np.float64]) -> Any:
            return self.stated(len(rows))

    stranger = Deviating(PathStatistics(SPACE), stated=stated)
    with pytest.raises(ConfigError, match=f"'deviating' must {message}"):
        wrap(stranger).fit(cells(), UNIFORM).predict(cells(), return_std=True)


def test_rows_that_a_fit_changes_are_kept_as_they_were() -> None:
    model = Stated(PathStatistics(SPACE), stated=[0.0] * 12).fit(cells(), UNIFORM)
    assert (model.training_data()[0] == model.features(cells())).all()
    assert len(model.predict(cells())) == 12


class Unmade(Stated):
    """A stranger's predictor whose `__init__` does not call that of `Predictor`."""

    def __init__(self, space: Space) -> None:
        self.space = space


class Nameless(Stated):
    """A stranger's predictor without a name."""

    name = None  # type: ignore[assignment]


def test_predictors_call_the_init_of_their_base_and_have_a_name() -> None:
    nameless = Nameless(PathStatistics(SPACE), stated=[0.0] * 12)
    for wrong, message in (
        (Unmade(SPACE), "`__init__` of Unmade must call"),
        (nameless, "`name`"),
    ):
        with pytest.raises(ConfigError, match=message):
            wrong.fit(cells(), UNIFORM)
        with pytest.raises(ConfigError, match=message):
            wrong.predict(cells())
        with pytest.raises(ConfigError, match=message):
            wrong.reseeded(1)  # what every search and benchmark begins with
        with pytest.raises(ConfigError, match=message):
            wrong.training_data()
        for wrap in (Calibrated, lambda one: Average([one, one])):
            with pytest.raises(ConfigError, match=message):
                wrap(wrong)
