"""Predictor experiment on any table: fit on samples, rank the rest, pick one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from gnas.bench.config import MIN_CANDIDATES
from gnas.bench.result import BEST_SAMPLE, RANDOM_PICK, Row
from gnas.bench.setups import PredictorSetup
from gnas.config import check_seed
from gnas.errors import ConfigError, DataError, GnasError
from gnas.graphs import DenseBatch
from gnas.metrics import (
    Interval,
    best,
    global_bias,
    kendall_tau,
    mean_interval,
    n_at_k,
    precision_at_top,
    quantiles,
    spearman,
)
from gnas.predictors.features import FeatureMatrix, Features, feature_rows
from gnas.processes import ProgressCallback, run_parallel
from gnas.search.nasgem.surface import local_r2
from gnas.training.devices import one_thread
from gnas.user_code import described

Values = NDArray[np.float64]
Indices = NDArray[np.int64]
FitMetrics = dict[str, float]
"""Metrics of one fit, by name."""


@dataclass(frozen=True)
class RankingTask:
    """Labelled architectures and the candidates to rank.

    Raises:
        ConfigError: too few candidates.
    """

    graphs: DenseBatch
    visible_graphs: DenseBatch
    """Graphs passed to predictors: ``graphs``, or the same with operations hidden."""
    train_scores: Values
    """Training scores [N]."""
    true_scores: Values
    """Reference scores [N] of rankings and choices."""
    candidates: Indices
    """Rows to rank and pick from, ascending."""
    functions: NDArray[np.uint64] | None = None
    """Keys of the functions computed by the cells [N]; None if all cells differ."""
    smaller_is_better: bool = False
    """Whether the best reference score, and the best training score, is the smallest."""
    smoothness: bool = False
    """Whether to measure how well samples are predicted from their nearest neighbours."""

    def __post_init__(self) -> None:
        if len(self.candidates) < MIN_CANDIDATES:
            raise ConfigError(
                f"at least {MIN_CANDIDATES} cells must be candidates, got {len(self.candidates)}"
            )

    def merit(self, scores: Values) -> Values:
        """Scores, or predictions of them, with the sign with which larger is better."""
        return -scores if self.smaller_is_better else scores

    def draw(self, seed: int, repetition: int) -> Indices:
        """Random order of all rows in one repetition; the first n are the n samples.

        Args:
            seed: Seed of the experiment.
            repetition: Index of the repetition.
        """
        check_seed(seed)
        return np.random.default_rng([seed, 1, repetition]).permutation(len(self.graphs))


def draw_rows(count: int, pool: int, seed: int) -> Indices:
    """Draw ``pool`` of ``count`` rows, ascending; all of them if there are no more.

    Args:
        count: Number of rows.
        pool: Number of rows to draw.
        seed: Seed of the draw.
    """
    if count <= pool:
        return np.arange(count)
    check_seed(seed)
    return np.sort(np.random.default_rng([seed, 0]).choice(count, pool, replace=False))


def run(
    task: RankingTask,
    setups: Sequence[PredictorSetup],
    *,
    samples: Sequence[int],
    seeds: int,
    seed: int,
    progress: ProgressCallback | None = None,
    workers: int = 1,
) -> tuple[Row, ...]:
    """Run all fits: a row per number of samples and predictor, then choices without one.

    Args:
        task: The cells.
        setups: The first is the reference of ``kendall_tau_gain``.
        samples: Numbers of samples.
        seeds: Repetitions.
        seed: Seed of all draws and predictors.
        progress: Called with (fits done, fits in all).
        workers: Number of processes, one thread each; results do not depend on it.

    Raises:
        ConfigError: ``samples`` leave fewer than `MIN_CANDIDATES` candidates, or there are no
            workers.
        ProcessError: a process was killed.
    """
    if workers < 1:
        raise ConfigError(f"workers must be at least 1, but got {workers}")
    draws = [task.draw(seed, repetition) for repetition in range(seeds)]
    _check_samples(task, draws, max(samples))
    used = np.unique(np.concatenate([task.candidates, *(draw[: max(samples)] for draw in draws)]))
    fits = [(n, c, r) for n in samples for c in range(len(setups)) for r in range(seeds)]
    results: dict[tuple[int, int, int], FitMetrics] = {}
    fit = _Fit(task, setups, seed, used)
    for place, scores in run_parallel(fit, fits, workers, __name__):
        results[fits[place]] = scores
        if progress is not None:
            progress(len(results), len(fits))
    rows: list[Row] = []
    for n in samples:
        reference: list[FitMetrics] | None = None
        for c, setup in enumerate(setups):
            found = [results[n, c, repetition] for repetition in range(seeds)]
            reference = reference or found
            row = _row(setup.name, setup.encoder, n, found, reference)
            if task.functions is None:
                row = replace(row, kendall_tau_no_twins=None)
            if task.smoothness:
                smooth = mean_interval([score["neighbours_r2"] for score in found])
                row = replace(row, neighbours_r2=smooth)
            rows.append(row)
        rows += [
            _row("none", BEST_SAMPLE, n, [_best_sample(task, d[:n]) for d in draws]),
            _row("none", RANDOM_PICK, n, [_random_pick(task, d, n) for d in draws]),
        ]
    return tuple(rows)


def run_fits(
    task: RankingTask, setup: PredictorSetup, *, samples: Sequence[int], seeds: int, seed: int
) -> dict[int, list[FitMetrics]]:
    """Metrics of one predictor on every draw, with the draws of `run`.

    Args:
        task: The cells.
        setup: The predictor.
        samples: Numbers of samples.
        seeds: Repetitions.
        seed: Seed of draws and predictors.

    Returns:
        Lists of metrics by number of samples, one entry per repetition.
    """
    draws = [task.draw(seed, repetition) for repetition in range(seeds)]
    _check_samples(task, draws, max(samples))
    fit = _Fit(task, [setup], seed, np.arange(len(task.graphs)))
    with one_thread():
        return {n: [fit(n, 0, repetition) for repetition in range(seeds)] for n in samples}


class _Fit:
    """Fit of one predictor on one draw, and its metrics.

    Args:
        task: The cells.
        setups: Predictors to fit.
        seed: Seed of draws and predictors.
        used: Rows that need features, ascending.
    """

    def __init__(
        self, task: RankingTask, setups: Sequence[PredictorSetup], seed: int, used: Indices
    ) -> None:
        self._task, self._setups, self._seed = task, setups, seed
        self._views = _FeatureCache(task, used)

    def __call__(self, samples: int, setup: int, repetition: int) -> FitMetrics:
        """The metrics of ``setups[setup]`` on the first ``samples`` of a repetition."""
        one = self._setups[setup]
        try:
            return _one_fit(
                self._task,
                self._views,
                one,
                self._task.draw(self._seed, repetition)[:samples],
                [self._seed, repetition],
            )
        except GnasError:
            raise
        except Exception as error:
            if one.source is None:
                raise
            raise DataError(f"predictor {one.source}: {described(error)}") from error


class _FeatureCache:
    """Cache of feature matrices, computed once per kind of features."""

    def __init__(self, task: RankingTask, used: Indices) -> None:
        self._task = task
        self._used = torch.from_numpy(used)
        self._place = np.full(len(task.graphs), -1)
        self._place[used] = np.arange(len(used))
        self._cache: dict[Features, FeatureMatrix] = {}

    def __call__(self, setup: PredictorSetup, rows: Indices) -> FeatureMatrix:
        features = setup.predictor.features
        if features not in self._cache:
            graphs = self._task.graphs if setup.uses_ops else self._task.visible_graphs
            self._cache[features] = feature_rows(features, graphs[self._used])
        found: FeatureMatrix = self._cache[features][self._place[rows]]
        return found


def _check_samples(task: RankingTask, draws: Sequence[Indices], most: int) -> None:
    """Raise if the samples leave too few candidates in any repetition."""
    places = [np.flatnonzero(np.isin(draw, task.candidates)) for draw in draws]
    largest = min(int(place[-MIN_CANDIDATES]) for place in places)
    if most > largest:
        raise ConfigError(
            f"samples must be at most {largest}, which leaves {MIN_CANDIDATES} of the "
            f"{len(task.graphs)} usable cells to rank, but got {most}"
        )


def _one_fit(
    task: RankingTask,
    views: _FeatureCache,
    setup: PredictorSetup,
    samples: Indices,
    seed: list[int],
) -> FitMetrics:
    """Metrics of one predictor fitted on one draw."""
    number = int(np.random.SeedSequence(seed).generate_state(1)[0]) % 2**31
    predictor = setup.predictor.reseeded(number)
    own = views(setup, samples)
    predictor.fit_features(own, task.train_scores[samples])
    rest = np.setdiff1d(task.candidates, samples)
    predicted = predictor.predict_features(views(setup, rest))
    true = task.true_scores[rest]
    hoped, worth = task.merit(predicted), task.merit(true)
    new = np.ones(len(rest), dtype=np.bool_)
    if task.functions is not None:
        new = ~np.isin(task.functions[rest], task.functions[samples])
    smooth = (
        {"neighbours_r2": local_r2(own, task.train_scores[samples])} if task.smoothness else {}
    )
    return {
        **smooth,
        "kendall_tau": kendall_tau(predicted, true),
        "kendall_tau_no_twins": kendall_tau(predicted[new], true[new]),
        "spearman": spearman(predicted, true),
        "precision_at_1_percent": precision_at_top(hoped, worth, 0.01),
        "n_at_10": float(n_at_k(hoped, worth, 10)),
        **_choice(task, int(rest[best(hoped, 1)[0]])),
    }


def _choice(task: RankingTask, row: int) -> FitMetrics:
    worth = task.merit(task.true_scores)
    bias = global_bias(float(worth[row]), float(worth.max()))
    return {"picked_score": float(task.true_scores[row]), "global_bias": bias}


def _best_sample(task: RankingTask, samples: Indices) -> FitMetrics:
    """Baseline without a predictor: the best sample."""
    return _choice(task, int(samples[best(task.merit(task.train_scores[samples]), 1)[0]]))


def _random_pick(task: RankingTask, draw: Indices, n: int) -> FitMetrics:
    """Baseline without a predictor: the first candidate after the samples."""
    rest = draw[n:]
    return _choice(task, int(rest[np.isin(rest, task.candidates)][0]))


def _row(
    name: str,
    encoder: str,
    n: int,
    scores: Sequence[FitMetrics],
    reference: Sequence[FitMetrics] | None = None,
) -> Row:
    def over_seeds(metric: str) -> Interval:
        return mean_interval([score[metric] for score in scores])

    gain = None
    if reference is not None and reference is not scores:
        pairs = zip(scores, reference, strict=True)
        gain = mean_interval([own["kendall_tau"] - other["kendall_tau"] for own, other in pairs])
    ranked = reference is not None
    return Row(
        predictor=name,
        encoder=encoder,
        samples=n,
        seeds=len(scores),
        kendall_tau=over_seeds("kendall_tau") if ranked else None,
        spearman=over_seeds("spearman") if ranked else None,
        precision_at_1_percent=over_seeds("precision_at_1_percent") if ranked else None,
        n_at_10=over_seeds("n_at_10") if ranked else None,
        picked_score=over_seeds("picked_score"),
        global_bias=over_seeds("global_bias"),
        kendall_tau_gain=gain,
        kendall_tau_no_twins=over_seeds("kendall_tau_no_twins") if ranked else None,
        global_bias_spread=quantiles([score["global_bias"] for score in scores]),
    )
