"""Searchers on a benchmark table: regret, and queries until its best architecture."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gnas import __version__
from gnas.bench.config import SearchBench
from gnas.bench.search_runs import (
    SearchLog,
    SearchTrajectory,
    optima,
    run_searches,
)
from gnas.bench.tables import open_table, scores_name, table_images
from gnas.data.tables import BenchmarkTable
from gnas.errors import ConfigError
from gnas.evaluate import TableEvaluator
from gnas.metrics import Interval, Quantiles, mean_interval, quantiles
from gnas.processes import ProgressCallback
from gnas.runs import environment, run_folder_lock
from gnas.search.samplers import make_searcher
from gnas.search.settings import EVERY, START
from gnas.spaces import Space, load_space, space_record

PROTOCOL = {
    "score": "mean validation accuracy over the runs; cells that are the same network, drawn "
    "differently, are one architecture with the mean of their accuracies, queried once",
    "choose": "the best validation accuracy among what was queried",
    "report": "mean test accuracy over the runs of what was chosen; regret is the best one's "
    "minus that",
    "refits": f"searchers with a predictor query {START} at random, then fit it anew after every "
    f"{EVERY} queries",
    "optimum": "the best validation accuracy of the table, whichever architecture has it",
    "intervals": "mean and 95% Student t interval over seeds",
}


@dataclass(frozen=True)
class SearcherRow:
    """Results of one searcher; accuracies and regrets are fractions."""

    searcher: str
    seeds: int
    test_acc: Interval
    """Test accuracy of the final choice."""
    test_regret: tuple[Interval, ...]
    """Test regret after 1, 2, ... queries."""
    val_regret: tuple[Interval, ...]
    found_optimum: float
    """Fraction of searches that found the optimum."""
    median_queries: float | None
    """Median number of queries to the optimum; None if at most half found it."""
    queries: tuple[int | None, ...]
    """Queries of each search to the optimum; None where it was not found."""
    seconds: float
    """Mean CPU time of one search up to the optimum or the end, in seconds, without training."""
    test_regret_spread: tuple[Quantiles | None, ...] = ()
    """Between which regrets most searches lie, after 1, 2, ... queries; None of fewer than five
    searches."""


@dataclass(frozen=True)
class SearchBenchResult:
    """Complete result; its fields are those of the JSON object written by ``--json``."""

    command: str
    config: SearchBench
    table: Mapping[str, Any]
    """Name, path, sha256, rows and provenance; how many different architectures;
    the names of the scores that searches query (``val_column``) and are judged by
    (``test_column``)."""
    protocol: Mapping[str, str]
    rows: tuple[SearcherRow, ...]
    best_val_acc: float
    """Validation accuracy of the optimum."""
    best_test_acc: float
    """Best mean test accuracy, which has regret 0."""
    seconds: float


def bench_search(
    config: SearchBench,
    *,
    folder: str | Path | None = None,
    workers: int = 1,
    progress: ProgressCallback | None = None,
) -> SearchBenchResult:
    """Run every searcher with every seed on a table.

    Args:
        config: The experiment.
        folder: Folder of finished searches (`SearchLog`): those that it has are not run
            again. So a stopped experiment goes on, and more seeds or searchers may join it.
        workers: Number of processes; the result does not depend on it.
        progress: Called with (searches done, searches in all).

    Raises:
        ConfigError: the table is of another space, has no such column, or fewer architectures
            than the budget; ``folder`` has searches of another experiment; a file of one's own
            makes no searcher; ``workers`` < 1.
        MissingDataError: there is no such table.
        DataError: the table is damaged, or ``folder`` cannot be written.
    """
    folder = None if folder is None else Path(folder)
    if workers < 1:
        raise ConfigError(f"workers must be at least 1, but got {workers}")
    with run_folder_lock(folder):
        return _run(config, folder, workers, progress)


def _run(
    config: SearchBench, folder: Path | None, workers: int, progress: ProgressCallback | None
) -> SearchBenchResult:
    start = time.monotonic()
    table, evaluator, columns = _open(config)
    for name in config.searchers:  # what one's own file lacks is told before any search
        make_searcher(name, evaluator.space, seed=config.seed)
    log = SearchLog(folder, _facts(config, evaluator.space, table))
    log.check(config.budget, len(evaluator), config.searchers)
    seeds = range(config.seed, config.seed + config.seeds)
    wanted = [(name, seed) for name in config.searchers for seed in seeds]
    done = {key: log.found[key] for key in wanted if key in log.found}
    missing = [key for key in wanted if key not in done]
    for search in run_searches(missing, evaluator, config.budget, workers):
        log.add(search)
        done[search.searcher, search.seed] = search
        if progress is not None:
            progress(len(done), len(wanted))
    log.sort(wanted)
    rows = [
        _row(name, evaluator, [done[name, seed] for seed in seeds]) for name in config.searchers
    ]
    return SearchBenchResult(
        command="bench search",
        config=config,
        table={**table.provenance.summary(), "architectures": len(evaluator), **columns},
        protocol=PROTOCOL,
        rows=tuple(rows),
        best_val_acc=float(evaluator.values["val_acc"].max()),
        best_test_acc=float(evaluator.values["test_acc"].max()),
        seconds=time.monotonic() - start,
    )


def _open(config: SearchBench) -> tuple[BenchmarkTable, TableEvaluator, dict[str, str]]:
    """Open the table; return it, the evaluator of its columns, and their names."""
    space = load_space(config.space)
    table = open_table(space, config.table or config.space, config.data_dir)
    has = {column.quantity for column in table.columns}
    names = ("val_acc", "test_acc")
    images = dict(zip(names, table_images(space, table, config.dataset), strict=True))
    scores, columns = {}, {}
    for name, other in zip(names, reversed(names), strict=True):
        quantity = name if name in has else other
        protocol: dict[str, Any] = {"dataset": images[quantity], "epochs": config.epochs}
        scores[name] = table.metric(quantity, **protocol)
        columns[name.replace("acc", "column")] = scores_name(table.select(quantity, **protocol))
    evaluator = TableEvaluator(space, table.graphs, scores)
    if config.budget > len(evaluator):
        raise ConfigError(
            f"budget must be at most the {len(evaluator)} different architectures of the "
            f"table, but got {config.budget}"
        )
    return table, evaluator, columns


def _facts(config: SearchBench, space: Space, table: BenchmarkTable) -> dict[str, Any]:
    """Settings that every search depends on, apart from its searcher and seed."""
    facts = {name: getattr(config, name) for name in ("dataset", "epochs", "budget")}
    facts["space"] = {name: v for name, v in space_record(space).items() if name != "file"}
    facts["table"] = table.provenance.summary()["sha256"]
    return {**facts, "gnas": __version__, "git_commit": environment()["git_commit"]}


def _row(
    name: str, evaluator: TableEvaluator, searches: Sequence[SearchTrajectory]
) -> SearcherRow:
    """Regret curves and queries to the optimum of one searcher."""
    val_acc, test_acc = evaluator.values["val_acc"], evaluator.values["test_acc"]
    queried = np.array([search.queried for search in searches])  # [seeds, budget]
    val = val_acc[queried]
    best = np.maximum.accumulate(val, axis=1)
    budget = queried.shape[1]
    better = np.diff(best, axis=1, prepend=-np.inf) > 0
    first = np.where(better, np.arange(budget), 0)  # where the best so far was queried
    chosen = np.take_along_axis(queried, np.maximum.accumulate(first, axis=1), axis=1)
    test_regret = test_acc.max() - test_acc[chosen]
    val_regret = val_acc.max() - best
    hits = optima(evaluator)[queried]
    queries = [int(hit.argmax()) + 1 if hit.any() else None for hit in hits]
    sorted_queries = sorted(np.inf if q is None else q for q in queries)
    median = float(np.median(sorted_queries)) if np.isfinite(sorted_queries).any() else np.inf
    return SearcherRow(
        searcher=name,
        seeds=len(searches),
        test_acc=mean_interval(test_acc[chosen[:, -1]]),
        test_regret=tuple(mean_interval(column) for column in test_regret.T),
        val_regret=tuple(mean_interval(column) for column in val_regret.T),
        found_optimum=float(hits.any(1).mean()),
        median_queries=median if np.isfinite(median) else None,
        queries=tuple(queries),
        seconds=float(np.mean([search.seconds for search in searches])),
        test_regret_spread=tuple(quantiles(column) for column in test_regret.T),
    )
