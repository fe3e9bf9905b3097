"""Gaussian processes against plain formulas; uncertainty; predictors on disk."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
import torch
from scipy import optimize, stats
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern

from gnas.errors import ConfigError, UnsupportedError
from gnas.graphs import DenseBatch, to_networkx
from gnas.kernel_options import Direction
from gnas.predictors import (
    MLP,
    ARDGaussianProcess,
    Average,
    BoostedTrees,
    Calibrated,
    Forest,
    PathStatistics,
    Predictor,
    WLGaussianProcess,
    WLLabels,
    default_predictor,
)
from gnas.predictors.gaussian_process import MaternKernel, _most_probable, _negative_log_posterior
from gnas.predictors.targets import NormalScores
from gnas.predictors.wl import exponentiated_wl, label_counts
from gnas.spaces import SPACES, NASBench101, NASBench201

SPACE = NASBench201()
PATHS = PathStatistics(SPACE)


def task(count: int = 90) -> tuple[DenseBatch, np.ndarray]:
    """Cells whose score grows with their convolutions."""
    rng = np.random.default_rng(3)
    cells = SPACE.sample_batch(count, rng)
    rows = PATHS(cells)
    scores = rows[:, list(PATHS.columns("learned spread"))].sum(1) + rng.normal(0, 0.1, count)
    return cells, scores


@pytest.mark.parametrize(("kernel", "nu"), [("matern32", 1.5), ("matern52", 2.5)])
def test_posterior_is_that_of_scikit_learn(kernel: MaternKernel, nu: float) -> None:
    cells, scores = task()
    rows = PATHS(cells)
    ours = ARDGaussianProcess(PATHS, kernel=kernel).fit_features(rows[:60], scores[:60])
    scale, targets = NormalScores.fit(scores[:60])
    part = ours._scaled(rows).numpy()
    hyper = _most_probable(
        torch.from_numpy(part[np.random.default_rng(0).permutation(60)]),
        torch.from_numpy(targets[np.random.default_rng(0).permutation(60)]),
        kernel,
        ours._prior_lengths(rows, part.shape[1]),
        1.0,
    )
    matern = ConstantKernel(hyper.signal) * Matern(hyper.lengths.numpy(), nu=nu)
    noise = hyper.noise + 1e-6 * hyper.signal
    theirs = GaussianProcessRegressor(matern, alpha=noise, optimizer=None)
    theirs.fit(part[:60], targets - hyper.mean)
    mean, deviation = theirs.predict(part[60:], return_std=True)
    found, std = ours.predict(cells[60:], return_std=True)
    np.testing.assert_allclose(found, scale.to_scores(mean + hyper.mean), rtol=1e-6)
    np.testing.assert_allclose(std, scale.scale * deviation, rtol=1e-5)


@pytest.mark.parametrize(("kernel", "nu"), [("matern32", 1.5), ("matern52", 2.5)])
def test_posterior_of_hyperparameters_and_its_gradient(
    kernel: MaternKernel, nu: float, rng: np.random.Generator
) -> None:
    """The value against scipy's normal densities, the gradient against differences of values."""
    inputs, targets = rng.normal(size=(30, 4)), rng.normal(size=30)
    medians = rng.uniform(1, 4, 4)

    def plain(point: np.ndarray) -> float:
        shift, (signal, noise, mean) = point[:4], point[4:]
        matern = np.exp(signal) * Matern(medians * np.exp(shift), nu=nu)(inputs)
        covariance = matern + (np.exp(noise) + 1e-6 * np.exp(signal)) * np.eye(30)
        density = stats.multivariate_normal(np.full(30, mean), covariance).logpdf(targets)
        prior = stats.norm(0, 0.6).logpdf(shift).sum()
        prior += stats.norm(0, 1.5).logpdf(signal) + stats.norm(-3, 1.5).logpdf(noise)
        return -float(density + prior)

    def ours(point: np.ndarray) -> tuple[float, np.ndarray]:
        args = (torch.from_numpy(inputs), torch.from_numpy(targets), kernel)
        return _negative_log_posterior(*args, torch.from_numpy(medians), 0.6, point)

    first, second = rng.normal(0, 0.7, (2, 7))
    assert ours(first)[0] - ours(second)[0] == pytest.approx(plain(first) - plain(second))
    differences = optimize.approx_fprime(first, plain, 1e-6)
    np.testing.assert_allclose(ours(first)[1], differences, rtol=1e-4, atol=1e-4)


def test_length_scales_find_the_column_that_matters(rng: np.random.Generator) -> None:
    inputs = rng.normal(size=(80, 6))
    targets = np.sin(2 * inputs[:, 2])
    hyper = _most_probable(
        torch.from_numpy(inputs), torch.from_numpy(targets), "matern52", torch.full((6,), 5.0), 1.0
    )
    assert int(hyper.lengths.argmin()) == 2
    assert hyper.lengths[2] < hyper.lengths.sort()[0][1] / 2
    assert hyper.noise < 0.05


def test_relevance_moves_the_prior_length_scales() -> None:
    cells, scores = task(40)
    rows = PATHS(cells)
    with pytest.raises(ConfigError, match=r"one value for each of the 282 columns, but got 3"):
        ARDGaussianProcess(PATHS, relevance=(1, 1, 1)).fit(cells, scores)
    relevance = np.ones(rows.shape[1])
    relevance[list(PATHS.columns("flow"))] = 4.0
    plain = ARDGaussianProcess(PATHS).fit(cells, scores)
    moved = ARDGaussianProcess(PATHS, relevance=relevance.tolist()).fit(cells, scores)
    width = moved._inputs.size(1)
    ratio = plain._prior_lengths(rows, width) / moved._prior_lengths(rows, width)
    assert sorted(set(ratio.tolist())) == [1.0, 4.0]
    assert (plain.predict(cells) != moved.predict(cells)).any()
    groups = PATHS.per_column({name: float(i) for i, name in enumerate(PATHS.widths)})
    assert [groups[PATHS.columns(name)[0]] for name in PATHS.widths] == list(range(15))


def test_what_a_fit_learned_of_columns_can_be_where_another_begins() -> None:
    cells, scores = task(60)
    rows = PATHS(cells)
    with_all = ARDGaussianProcess(PATHS).fit_features(rows, scores)
    learned = with_all.learned_relevance()
    still = rows.std(0) == 0
    assert (learned[still] == 1).all() and (learned[~still] != 1).any()
    again = ARDGaussianProcess(PATHS, relevance=learned.tolist(), length_std=1e-3).fit_features(
        rows, scores
    )
    np.testing.assert_allclose(again._lengths, with_all._lengths, rtol=0.01)
    np.testing.assert_allclose(again.predict(cells), with_all.predict(cells), rtol=0.05)
    flows = ARDGaussianProcess(PATHS, columns=PATHS.columns("flow")).fit_features(rows, scores)
    used = np.flatnonzero(flows.learned_relevance() != 1)
    assert set(used) <= set(PATHS.columns("flow")) and len(used)
    same = ARDGaussianProcess(PATHS).fit_features(rows[[0, 0]], scores[:2])
    assert (same.learned_relevance() == 1).all()
    with pytest.raises(ConfigError, match="must be fitted first"):
        ARDGaussianProcess(PATHS).learned_relevance()


def test_tails_lead_from_uniform_to_normal_targets() -> None:
    cells, scores = task(60)
    _, normal = NormalScores.fit(scores)
    ranks = scores.argsort().argsort()
    uniform = NormalScores.mix_with_uniform(normal, 0.0)
    np.testing.assert_allclose(uniform, np.sqrt(12) * ((ranks + 0.5) / 60 - 0.5), atol=1e-12)
    assert 0.95 < uniform.std() < 1.05
    assert (NormalScores.mix_with_uniform(normal, 1.0) == normal).all()
    half = NormalScores.mix_with_uniform(normal, 0.5)
    np.testing.assert_allclose(half, (uniform + normal) / 2)
    flat, tailed = (
        ARDGaussianProcess(PATHS, tail_weight=t).fit(cells, scores).predict(cells) for t in (0, 1)
    )
    assert np.ptp(flat) < np.ptp(tailed)
    assert np.corrcoef(flat, scores)[0, 1] > 0.9


@pytest.mark.parametrize("direction", get_args(Direction))
def test_wl_labels_are_those_of_a_plain_relabelling(
    direction: Direction, rng: np.random.Generator
) -> None:
    """The same pairs of nodes share a label as with nested tuples in place of hashes."""
    cells = SPACE.sample_batch(40, rng)
    rows = WLLabels(SPACE, 3, direction)(cells)
    if direction == "both":
        assert same_partition(rows, SPACE, cells)
        return
    width = rows.shape[1] // 4

    def chosen(fed: list[object], feeds: list[object]) -> list[list[object]]:
        """The multisets of neighbours that relabel a node."""
        return {
            "in": [fed],
            "out": [feeds],
            "joint": [fed, feeds],
            "undirected": [fed + feeds],
        }[direction]

    plain: list[list[object]] = [[] for _ in range(4)]
    ours: list[list[float]] = [[] for _ in range(4)]
    for form, row in zip(SPACE.functional_form(cells), rows, strict=True):
        graph = to_networkx(form)
        labels: dict[int, object] = dict(graph.nodes(data="op"))
        for k in range(4):
            plain[k] += [labels[v] for v in sorted(graph)]
            ours[k] += row[k * width : k * width + len(graph)].tolist()
            labels = {
                v: (
                    labels[v],
                    *(
                        tuple(sorted(Counter(near).items(), key=str))
                        for near in chosen(
                            [
                                labels[u]
                                for u, _, m in graph.in_edges(v, "op")
                                for _ in range(m + 1)
                            ],
                            [
                                labels[w]
                                for _, w, m in graph.out_edges(v, "op")
                                for _ in range(m + 1)
                            ],
                        )
                    ),
                )
                for v in graph
            }
    for theirs, found in zip(plain, ours, strict=True):
        assert len(set(theirs)) == len(set(found)) == len(set(zip(theirs, found, strict=True)))
    assert len(set(plain[3])) > len(set(plain[1])) > len(set(plain[0]))


def same_partition(rows: np.ndarray, space: NASBench201, cells: DenseBatch) -> bool:
    """Whether rows of "both" hold the labels of "out" and of "in", and none of one is of both."""
    width = rows.shape[1] // 8
    parts = [rows[:, k * width : (k + 1) * width] for k in range(8)]
    for k, direction in enumerate(("out", "in")):
        alone = WLLabels(space, 3, direction)(cells)  # type: ignore[arg-type]
        for round_ in range(4):
            ours, theirs = parts[2 * round_ + k], alone[:, round_ * width : (round_ + 1) * width]
            real = theirs >= 0
            pairs = set(zip(ours[real].tolist(), theirs[real].tolist(), strict=True))
            if len(pairs) != len(set(ours[real])) or len(pairs) != len(set(theirs[real])):
                return False
    outs, ins = (np.concatenate(parts[k::2]) for k in (0, 1))
    return not set(outs[outs >= 0]) & set(ins[ins >= 0])


def test_wl_labels_of_unknown_direction() -> None:
    with pytest.raises(ConfigError, match="direction must be one of"):
        WLLabels(SPACE, 3, "up")  # type: ignore[arg-type]


def test_wl_kernel_by_hand() -> None:
    counts = label_counts(np.array([[1.0, 1.0, 2.0, -1.0], [1.0, 3.0, -1.0, -1.0]]))
    cosine = 2 / np.sqrt(5 * 2)
    np.testing.assert_allclose((counts @ counts.T).toarray(), [[1, cosine], [cosine, 1]])
    kernel = exponentiated_wl(counts, counts, 3.0)
    np.testing.assert_allclose(kernel, np.exp([[0, 3 * (cosine - 1)], [3 * (cosine - 1), 0]]))


MAKERS: list[Callable[[], Predictor]] = [
    lambda: ARDGaussianProcess(PATHS),
    lambda: WLGaussianProcess(WLLabels(SPACE)),
    lambda: default_predictor(SPACE),
    lambda: Average([Forest(PATHS), BoostedTrees(PATHS)]),
    lambda: MLP(PATHS, members=5),
    lambda: Calibrated(MLP(PATHS, members=3, loss="listwise")),
]


@pytest.mark.parametrize("make", MAKERS)
def test_uncertainty_grows_away_from_the_samples(make: Callable[[], Predictor]) -> None:
    cells, scores = task()
    predictor = make().fit(cells[:45], scores[:45])
    assert predictor.has_std
    mean, std = predictor.predict(cells, return_std=True)
    assert (mean == predictor.predict(cells)).all()
    assert std.shape == mean.shape
    assert (std >= 0).all()
    assert std[45:].mean() > 1.1 * std[:45].mean()
    none = predictor.predict(cells[:0], return_std=True)
    assert none[0].shape == none[1].shape == (0,)


def test_predictors_without_uncertainty_say_so() -> None:
    cells, scores = task(30)
    for predictor in (Forest(PATHS), Average([BoostedTrees(PATHS)]), MLP(PATHS)):
        with pytest.raises(UnsupportedError, match="return_std needs a predictor that knows"):
            predictor.fit(cells, scores).predict(cells, return_std=True)


def test_duplicates_with_different_scores_are_averaged() -> None:
    cells, scores = task(40)
    twice = DenseBatch.concat([cells, cells])
    both = np.concatenate([scores, scores + 0.01])
    for predictor in (
        ARDGaussianProcess(PATHS),
        WLGaussianProcess(WLLabels(SPACE)),
        default_predictor(SPACE),
    ):
        assert np.isfinite(predictor.fit(twice, both).predict(cells)).all()


@pytest.mark.parametrize("name", sorted(SPACES))
def test_the_wl_process_works_in_every_space(name: str, rng: np.random.Generator) -> None:
    space = SPACES[name]()
    cells = space.sample_batch(30, rng)
    scores = cells.adjacency.bool().sum((1, 2)).double() + torch.arange(30) / 100
    predictor = WLGaussianProcess(WLLabels(space)).fit(cells, scores)
    assert np.corrcoef(predictor.predict(cells), scores)[0, 1] > 0.5


def test_processes_leave_the_global_generators_alone() -> None:
    cells, scores = task(30)
    before = torch.get_rng_state(), random.getstate()
    default_predictor(SPACE).fit(cells, scores).predict(cells)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]


def test_other_spaces_still_work_after_one_fit() -> None:
    """The processes keep no state between objects."""
    cells, scores = task(40)
    first = ARDGaussianProcess(PATHS).fit(cells, scores)
    before = first.predict(cells)
    other = PathStatistics(NASBench101())
    few = NASBench101().sample_batch(20, np.random.default_rng(1))
    ARDGaussianProcess(other).fit(few, np.arange(20.0))
    assert (first.predict(cells) == before).all()
