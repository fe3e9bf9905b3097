"""One experiment for any table: fit predictors on samples, rank the rest, pick one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from gnas.bench.config import LEAST_CANDIDATES
from gnas.bench.contenders import Contender
from gnas.bench.result import BEST_SAMPLE, RANDOM_PICK, Row
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
from gnas.predictors.features import Features, Rows
from gnas.processes import spread
from gnas.search.nasgem.surface import local_r2
from gnas.user_code import described

Values = NDArray[np.float64]
Indices = NDArray[np.int64]
Progress = Callable[[int, int | None], None]
Scores = dict[str, float]
"""Metric by name, of one fit."""


@dataclass(frozen=True)
class Task:
    """Labelled architectures, of which some may be picked.

    Raises:
        ConfigError: too few candidates.
    """

    graphs: DenseBatch
    seen: DenseBatch
    """What predictors see: ``graphs``, or the same with operations hidden."""
    train_scores: Values
    """Scores [N] that predictors learn from."""
    true_scores: Values
    """Scores [N] that rankings and choices are compared with."""
    candidates: Indices
    """Rows that may be ranked and picked, ascending."""
    functions: NDArray[np.uint64] | None = None
    """A key of what each network computes; None where no two cells are alike."""
    smoothness: bool = False
    """Whether to measure how well the samples' scores follow from their neighbours'."""

    def __post_init__(self) -> None:
        if len(self.candidates) < LEAST_CANDIDATES:
            raise ConfigError(
                f"at least {LEAST_CANDIDATES} cells must be candidates, got {len(self.candidates)}"
            )

    def draw(self, seed: int, repetition: int) -> Indices:
        """All rows in the random order of one repetition; its first n are the n samples."""
        check_seed(seed)
        return np.random.default_rng([seed, 1, repetition]).permutation(len(self.graphs))


def draw_candidates(count: int, pool: int, seed: int) -> Indices:
    """``pool`` of the ``count`` rows, drawn once and ascending; all, if there are no more."""
    if count <= pool:
        return np.arange(count)
    check_seed(seed)
    return np.sort(np.random.default_rng([seed, 0]).choice(count, pool, replace=False))


def run(
    task: Task,
    contenders: Sequence[Contender],
    *,
    samples: Sequence[int],
    seeds: int,
    seed: int,
    progress: Progress | None = None,
    workers: int = 1,
) -> tuple[Row, ...]:
    """A row per number of samples and contender, then the choices without a predictor.

    Args:
        task: The cells.
        contenders: The first is the reference of ``kendall_tau_gain``.
        samples: Numbers of samples.
        seeds: Repetitions.
        seed: Fixes all draws and predictors.
        progress: Called with (fits done, fits in all).
        workers: Processes that fit, each with one thread; the rows are the same for any number.

    Raises:
        ConfigError: ``samples`` leave fewer than `LEAST_CANDIDATES` candidates, or there are no
            workers.
        ProcessError: a process was killed.
    """
    if workers < 1:
        raise ConfigError(f"workers must be at least 1, but got {workers}")
    draws = [task.draw(seed, repetition) for repetition in range(seeds)]
    _check_samples(task, draws, max(samples))
    used = np.unique(np.concatenate([task.candidates, *(draw[: max(samples)] for draw in draws)]))
    fits = [(n, c, r) for n in samples for c in range(len(contenders)) for r in range(seeds)]
    results: dict[tuple[int, int, int], Scores] = {}
    fit = _Fit(task, contenders, seed, used)
    for place, scores in spread(fit, fits, workers, __name__):
        results[fits[place]] = scores
        if progress is not None:
            progress(len(results), len(fits))
    rows: list[Row] = []
    for n in samples:
        reference: list[Scores] | None = None
        for c, contender in enumerate(contenders):
            found = [results[n, c, repetition] for repetition in range(seeds)]
            reference = reference or found
            row = _row(contender.name, contender.encoder, n, found, reference)
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
    task: Task, contender: Contender, *, samples: Sequence[int], seeds: int, seed: int
) -> dict[int, list[Scores]]:
    """Every metric of one contender on every draw, on the draws of `run`.

    Args:
        task: The cells.
        contender: The predictor.
        samples: Numbers of samples.
        seeds: Repetitions.
        seed: Fixes draws and predictors.

    Returns:
        By number of samples, one dictionary of metrics a repetition.
    """
    draws = [task.draw(seed, repetition) for repetition in range(seeds)]
    _check_samples(task, draws, max(samples))
    fit = _Fit(task, [contender], seed, np.arange(len(task.graphs)))
    with threadpool_limits(1):
        return {n: [fit(n, 0, repetition) for repetition in range(seeds)] for n in samples}


class _Fit:
    """The metrics of one contender fitted on one draw.

    Args:
        task: The cells.
        contenders: The predictors.
        seed: Fixes draws and predictors.
        used: The rows whose features are ever needed, ascending.
    """

    def __init__(
        self, task: Task, contenders: Sequence[Contender], seed: int, used: Indices
    ) -> None:
        self._task, self._contenders, self._seed = task, contenders, seed
        self._views = _Views(task, used)

    def __call__(self, samples: int, contender: int, repetition: int) -> Scores:
        """The metrics of ``contenders[contender]`` on the first ``samples`` of a repetition."""
        one = self._contenders[contender]
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


class _Views:
    """Features of the rows in use, computed once per kind of features."""

    def __init__(self, task: Task, used: Indices) -> None:
        self._task = task
        self._used = torch.from_numpy(used)
        self._place = np.full(len(task.graphs), -1)
        self._place[used] = np.arange(len(used))
        self._cache: dict[Features, Rows] = {}

    def __call__(self, contender: Contender, rows: Indices) -> Rows:
        features = contender.predictor.features
        if features not in self._cache:
            graphs = self._task.graphs if contender.true_ops else self._task.seen
            self._cache[features] = features(graphs[self._used])
        found: Rows = self._cache[features][self._place[rows]]
        return found


def _check_samples(task: Task, draws: Sequence[Indices], most: int) -> None:
    """Refuses samples that leave too few candidates in any repetition."""
    places = [np.flatnonzero(np.isin(draw, task.candidates)) for draw in draws]
    largest = min(int(place[-LEAST_CANDIDATES]) for place in places)
    if most > largest:
        raise ConfigError(
            f"samples must be at most {largest}, which leaves {LEAST_CANDIDATES} of the "
            f"{len(task.graphs)} usable cells to rank, but got {most}"
        )


def _one_fit(
    task: Task, views: _Views, contender: Contender, samples: Indices, seed: list[int]
) -> Scores:
    """Every metric of one predictor fitted on one draw."""
    number = int(np.random.SeedSequence(seed).generate_state(1)[0]) % 2**31
    predictor = contender.predictor.reseeded(number)
    own = views(contender, samples)
    predictor.fit_rows(own, task.train_scores[samples])
    rest = np.setdiff1d(task.candidates, samples)
    predicted = predictor.predict_rows(views(contender, rest))
    true = task.true_scores[rest]
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
        "precision_at_1_percent": precision_at_top(predicted, true, 0.01),
        "n_at_10": float(n_at_k(predicted, true, 10)),
        **_choice(task, int(rest[best(predicted, 1)[0]])),
    }


def _choice(task: Task, row: int) -> Scores:
    picked = float(task.true_scores[row])
    bias = global_bias(picked, float(task.true_scores.max()))
    return {"picked_score": picked, "global_bias": bias}


def _best_sample(task: Task, samples: Indices) -> Scores:
    """No predictor: the sample of the highest score."""
    return _choice(task, int(samples[best(task.train_scores[samples], 1)[0]]))


def _random_pick(task: Task, draw: Indices, n: int) -> Scores:
    """No predictor: the first candidate of the repetition's order after its samples."""
    rest = draw[n:]
    return _choice(task, int(rest[np.isin(rest, task.candidates)][0]))


def _row(
    name: str,
    encoder: str,
    n: int,
    scores: Sequence[Scores],
    reference: Sequence[Scores] | None = None,
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
