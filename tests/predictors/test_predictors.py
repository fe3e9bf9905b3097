from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor

from gnas.errors import ConfigError, GraphError
from gnas.graphs import DenseBatch
from gnas.metrics import kendall_tau
from gnas.models import nasbench101_num_params
from gnas.predictors import (
    LOSSES,
    MLP,
    ARDGaussianProcess,
    Average,
    BoostedTrees,
    Calibrated,
    Forest,
    GaussianProcess,
    IdentityPredictor,
    NumParams,
    OneHot,
    PathStatistics,
    Predictor,
    WLGaussianProcess,
    WLLabels,
    default_predictor,
    mlp,
)
from gnas.predictors.targets import NormalScores
from gnas.search.samplers import PredictorSearch
from gnas.spaces import NASGEM, SPACES, NASBench101, NASBench201

RAW = OneHot(7, 5)
PATHS = PathStatistics(NASBench101())
PREDICTORS: list[Predictor] = [
    MLP(RAW),
    MLP(RAW, members=3),
    MLP(RAW, loss="bce"),
    MLP(RAW, members=2, loss="hinge"),
    MLP(RAW, loss="listwise"),
    Forest(RAW, num_trees=20),
    Forest(RAW, kind="extra", num_trees=20),
    GaussianProcess(RAW),
    GaussianProcess(RAW, kernel="matern", hyper_rows=50),
    Average([Forest(RAW, num_trees=20), GaussianProcess(RAW)]),
    IdentityPredictor(NumParams(nasbench101_num_params)),
    BoostedTrees(RAW, num_trees=40),
    Calibrated(MLP(RAW, members=3), folds=3),
    ARDGaussianProcess(RAW),
    ARDGaussianProcess(PATHS, columns=PATHS.columns("size", "degrees", "walk"), hyper_rows=50),
    WLGaussianProcess(WLLabels(NASBench101(), 2)),
]
IDS = [f"{predictor.name}-{i}" for i, predictor in enumerate(PREDICTORS)]


def task(count: int = 160) -> tuple[DenseBatch, np.ndarray]:
    """Cells whose score grows with their convolutions, with one diverged run."""
    cells = NASBench101().sample_batch(count, np.random.default_rng(5))
    ops = cells.ops.numpy()
    scores = 0.9 + 0.01 * (2 * (ops == 1).sum(1) + (ops == 2).sum(1))
    scores = scores + 1e-4 * np.random.default_rng(6).normal(size=count)
    scores[3] = 0.1
    return cells, scores


@pytest.mark.parametrize("predictor", PREDICTORS, ids=IDS)
def test_predictors_learn_and_repeat(predictor: Predictor) -> None:
    cells, scores = task()
    predicted = predictor.reseeded(1).fit(cells[:100], scores[:100]).predict(cells[100:])
    assert predicted.shape == (60,)
    assert predicted.dtype == np.float64
    least = 0.2 if isinstance(predictor, IdentityPredictor) else 0.55
    assert kendall_tau(predicted, scores[100:]) > least
    again = predictor.reseeded(1).fit(cells[:100], scores[:100])
    assert (again.predict(cells[100:]) == predicted).all()
    as_list = predictor.reseeded(1).fit(list(cells[:100]), torch.from_numpy(scores[:100]))
    np.testing.assert_allclose(as_list.predict(list(cells[100:])), predicted, atol=1e-6)
    assert as_list.predict(cells.data(100)).shape == (1,)


@pytest.mark.parametrize("predictor", PREDICTORS, ids=IDS)
def test_a_clone_is_independent_of_its_origin(predictor: Predictor) -> None:
    cells, scores = task()
    first = predictor.reseeded(1).fit(cells[:60], scores[:60])
    before = first.predict(cells)
    second = first.reseeded(2)
    with pytest.raises(ConfigError, match="must be fitted first"):
        second.predict(cells)
    second.fit(cells[60:], -scores[60:])
    assert (first.predict(cells) == before).all()
    if not isinstance(predictor, IdentityPredictor):
        assert kendall_tau(second.predict(cells), scores) < 0


def test_the_seed_matters_only_where_chance_does() -> None:
    cells, scores = task()
    for predictor in (MLP(RAW), Forest(RAW, num_trees=5)):
        rows = [predictor.reseeded(seed).fit(cells, scores).predict(cells) for seed in (1, 2)]
        assert (rows[0] != rows[1]).any()


@pytest.mark.parametrize("kind", ["random", "extra"])
def test_forests_are_those_of_scikit_learn(kind: Literal["random", "extra"]) -> None:
    rng = np.random.default_rng(0)
    rows, values = rng.normal(size=(60, 9)).round(1), rng.normal(size=60)
    forest = Forest(RAW, kind=kind, num_trees=8, random_state=7)
    forest._fit(rows[:40], values[:40])
    theirs = RandomForestRegressor if kind == "random" else ExtraTreesRegressor
    expected = theirs(8, max_features=1 / 3, random_state=7).fit(rows[:40], values[:40])
    assert (forest._predict(rows) == expected.predict(rows)).all()


@pytest.mark.parametrize("num_steps", [1, 4, 25])
def test_perceptrons_are_trained_by_torchs_optimiser(num_steps: int) -> None:
    torch.manual_seed(0)
    ours, theirs = torch.randn(2, 40)[:1].repeat(2, 1)
    theirs.grad = torch.empty_like(theirs)
    rate = mlp.LEARNING_RATE
    optimizer = torch.optim.AdamW([theirs], rate, weight_decay=mlp.WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, num_steps)
    moments = torch.zeros(2, 40).unbind()
    for step in range(num_steps):
        theirs.grad.normal_()
        mlp._update(ours, theirs.grad, moments, step, num_steps)  # type: ignore[arg-type]
        optimizer.step()
        schedule.step()
        assert torch.equal(ours, theirs)


BAD_SCORES = [
    ([0.1, 0.2], "one score per graph, but got 4 graphs"),
    ([[0.1], [0.2], [0.3], [0.4]], "one score per graph"),
    ([0.1, math.nan, 0.3, 0.4], "finite, but score 1 is nan"),
    ([0.1, 0.2, math.inf, 0.4], "finite, but score 2 is inf"),
    ([0.5, 0.5, 0.5, 0.5], "scores must differ, but all 4 are 0.5"),
]


@pytest.mark.parametrize("predictor", PREDICTORS, ids=IDS)
@pytest.mark.parametrize(("scores", "message"), BAD_SCORES)
def test_bad_scores_are_named(predictor: Predictor, scores: list[float], message: str) -> None:
    cells, _ = task(4)
    with pytest.raises(ConfigError, match=message):
        predictor.reseeded(0).fit(cells, scores)


@pytest.mark.parametrize("predictor", PREDICTORS, ids=IDS)
def test_two_samples_do_and_one_does_not(predictor: Predictor) -> None:
    cells, scores = task()
    assert np.isfinite(predictor.reseeded(0).fit(cells[:2], scores[:2]).predict(cells)).all()
    with pytest.raises(ConfigError, match="at least 2 scores"):
        predictor.reseeded(0).fit(cells[:1], scores[:1])


def test_bad_graphs_and_rows_are_named() -> None:
    cells, scores = task()
    predictor = MLP(RAW).fit(cells, scores)
    with pytest.raises(GraphError, match="5 node ops"):
        predictor.predict(NASGEM(5).sample_batch(2, np.random.default_rng(0)))
    rows = RAW(cells)
    rows[2, 3] = np.nan
    with pytest.raises(GraphError, match="finite matrix"):
        predictor.predict_features(rows)
    with pytest.raises(GraphError, match="must have 56 columns, but got 7"):
        predictor.predict_features(np.zeros((3, 7)))
    assert predictor.predict_features(np.zeros((0, 56))).shape == (0,)
    with pytest.raises(ConfigError, match="share features"):
        Average([MLP(RAW), MLP(PathStatistics(NASBench101()))])
    with pytest.raises(ConfigError, match="at least one"):
        Average([])
    with pytest.raises(ConfigError, match="must have one column, but got 56"):
        IdentityPredictor(RAW).fit(cells, scores)


def test_targets_are_normal_quantiles_of_ranks() -> None:
    scores = np.array([0.9, 0.1, 0.95, 0.9])
    scale, targets = NormalScores.fit(scores)
    expected = norm.ppf(np.array([2.5, 1, 4, 2.5]) / 4 - 0.125)
    np.testing.assert_allclose(targets, expected)
    back = scale.to_scores(targets)
    assert back[1] < back[0] == back[3] < back[2]


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_scores_of_every_loss_are_on_the_scale_of_the_targets(loss: str) -> None:
    cells, scores = task()
    one, several = MLP(RAW, loss=loss), MLP(RAW, members=4, loss=loss)
    predicted = one.fit(cells, scores).predict(cells)
    assert np.abs(predicted - scores).mean() < 0.02
    mean, deviation = several.fit(cells, scores).predict(cells, return_std=True)
    assert np.abs(mean - scores).mean() < 0.02
    assert 0 < deviation.mean() < scores[scores > 0.5].std()


def test_members_of_a_deep_ensemble_differ_and_are_averaged() -> None:
    cells, scores = task()
    predictor = Average([MLP(RAW)] * 3, random_state=4).fit(cells, scores)
    members = [MLP(RAW, random_state=4 + i).fit(cells, scores).predict(cells) for i in range(3)]
    mean, deviation = predictor.predict(cells, return_std=True)
    np.testing.assert_allclose(mean, np.mean(members, axis=0))
    np.testing.assert_allclose(deviation, np.std(members, axis=0), atol=1e-12)


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_written_out_gradients_are_those_of_automatic_differentiation(
    loss: str, members: int, rng: np.random.Generator
) -> None:
    x = torch.from_numpy(rng.normal(size=(37, 6))).float()
    y = torch.from_numpy(rng.integers(0, 9, 37) / 9).float()
    flat = mlp._start(members, 6, torch.Generator().manual_seed(0))
    gradients = torch.empty_like(flat)
    mlp._set_gradients(
        mlp._parts(flat, members, 6), mlp._parts(gradients, members, 6), x, y, LOSSES[loss]
    )
    flat.requires_grad_()
    LOSSES[loss](mlp._forward(mlp._parts(flat, members, 6), x), y).sum().backward()  # type: ignore[no-untyped-call]
    assert flat.grad is not None and flat.grad.abs().max() > 0.01
    torch.testing.assert_close(gradients, flat.grad)


def test_bad_options_of_the_perceptron_are_named() -> None:
    with pytest.raises(ConfigError, match=r"unknown loss 'mse'; choose from \['bce', 'hinge'"):
        MLP(RAW, loss="mse")
    with pytest.raises(ConfigError, match="members must be at least 1, but got 0"):
        MLP(RAW, members=0)


def test_predictions_are_near_the_scores() -> None:
    cells, scores = task()  # of 50 samples on graph networks take part
    predicted = default_predictor(NASBench101()).fit(cells[:60], scores[:60]).predict(cells[60:])
    assert np.abs(predicted - scores[60:]).mean() < 0.02


@pytest.mark.parametrize("name", sorted(SPACES))
def test_the_default_works_in_every_space(name: str, rng: np.random.Generator) -> None:
    space = SPACES[name]()
    cells = space.sample_batch(60, rng)
    scores = cells.adjacency.bool().sum((1, 2)).double() + torch.arange(60) / 1000
    predictor = default_predictor(space, random_state=1).fit(cells[:40], scores[:40])
    assert kendall_tau(predictor.predict(cells[40:]), scores[40:]) > 0.4


def test_what_was_fitted_to_a_benchmark_is_off() -> None:
    space, features = NASBench201(), PathStatistics(NASBench201())
    cells = space.sample_batch(80, np.random.default_rng(0))
    scores = cells.adjacency.bool().sum((1, 2)).double() + torch.arange(80) / 1000
    plain = [
        ARDGaussianProcess(features, tail_weight=0.5),
        ARDGaussianProcess(features, tail_weight=0.5, kernel="matern52"),
        ARDGaussianProcess(
            features, tail_weight=0.5, columns=features.columns("size", "ops", "walk", "flow")
        ),
        Forest(features, kind="extra", num_trees=150, max_features=0.4),
    ]
    found = [
        predictor.fit(cells[:40], scores[:40]).predict(cells[40:])
        for predictor in (
            default_predictor(space, networks=False),
            Average(plain),
            default_predictor(space, prior="cifar100", networks=False),
        )
    ]
    assert np.array_equal(found[0], found[1]) and not np.array_equal(found[0], found[2])
    with pytest.raises(ConfigError, match=r"prior must be None, or one of \['cifar100'\] in"):
        default_predictor(NASBench101(), prior="cifar100")
    with pytest.raises(ConfigError, match="but got 'cifar10' for 'nasbench201'"):
        default_predictor(space, prior="cifar10")  # type: ignore[arg-type]
    with pytest.raises(
        ConfigError, match="prior must go with the default predictor, not 'ARD GP'"
    ):
        PredictorSearch(space, plain[0], prior="cifar100")
