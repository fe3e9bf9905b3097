"""The experiment on any table: draw samples, fit every predictor, rank the rest, report."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from gnas.bench.config import RankingBench
from gnas.bench.experiment import RankingTask, run
from gnas.bench.result import BenchResult
from gnas.bench.setups import EXACT, PredictorSetup, own_files
from gnas.data.tables import BenchmarkTable
from gnas.metrics import agreement_between_runs, best, group_means, kendall_tau
from gnas.processes import ProgressCallback

PROTOCOL = {
    "intervals": "mean and 95% Student t interval over seeds; all rows share the samples",
    "exact kernel": EXACT,
}
"""Protocol that all experiments share."""


def rank_table(
    command: str,
    config: RankingBench,
    table: BenchmarkTable,
    task: RankingTask,
    setups: Sequence[PredictorSetup],
    *,
    columns: tuple[str, str],
    ceiling: tuple[float, str],
    agreement: tuple[float | None, str],
    protocol: Mapping[str, str],
    began: float,
    quantity: str = "test_acc",
    progress: ProgressCallback | None = None,
    workers: int = 1,
) -> BenchResult:
    """Run the experiment and describe it.

    Args:
        command: Words of the command, for example "bench nasgem".
        config: Samples, seeds and predictors.
        table: The table that the cells are of.
        task: The cells, their scores and the candidates.
        setups: Predictors; the first is the reference of gains.
        columns: Names of the training scores and of the reference scores.
        ceiling: Upper bound of Kendall tau, and its description.
        agreement: Kendall tau between two runs of the table, and the scores that it is of.
        protocol: One sentence each on training, ranking and choice.
        began: Time of the start (`time.monotonic`).
        quantity: Quantity of the reference scores.
        progress: Called with (fits done, fits in all).
        workers: Processes that fit; the numbers are the same for any number.

    Raises:
        ConfigError: the table has too few cells for ``config.samples``.
        ProcessError: a process was killed.
    """
    rows = run(
        task,
        setups,
        samples=config.samples,
        seeds=config.seeds,
        seed=config.seed,
        progress=progress,
        workers=workers,
    )
    described = {"ceiling": ceiling[1], "agreement": agreement[1]}
    if task.smaller_is_better:
        described["bias"] = "value of the pick, minus the smallest, which is the best"
    return BenchResult(
        command=command,
        config=config,
        table={
            **table.provenance.summary(),
            "usable": len(task.graphs),
            "candidates": len(task.candidates),
            "train_column": columns[0],
            "test_column": columns[1],
        },
        quantity=quantity,
        protocol={**protocol, **PROTOCOL, **own_files(config.predictors), **described},
        rows=rows,
        ceiling=ceiling[0],
        agreement_between_runs=agreement[0],
        best_score=float(task.true_scores[best(task.merit(task.true_scores), 1)[0]]),
        seconds=time.monotonic() - began,
    )


def oracle_ceiling(task: RankingTask, train_name: str, test_name: str) -> tuple[float, str]:
    """Upper bound of Kendall tau, and its description.

    It is that of the training scores, where these are others than the reference scores. Else it is
    that of an oracle which tells architectures apart only by their functions.

    Args:
        task: The architectures.
        train_name: Name of the training scores.
        test_name: Name of the reference scores.
    """
    if train_name != test_name:
        return kendall_tau(task.train_scores, task.true_scores), f"{train_name} itself"
    if task.functions is None:
        return 1.0, f"{test_name} itself"
    mean = group_means(task.functions, task.true_scores)
    return kendall_tau(mean, task.true_scores), (
        f"{test_name}, averaged over each function, as by an oracle that knows this very column, "
        "noise included, but takes the cells of a function for one"
    )


def agreement_of(
    table: BenchmarkTable,
    rows: NDArray[np.int64] | None = None,
    *,
    quantity: str = "val_acc",
    dataset: str | None = None,
) -> float | None:
    """Mean Kendall tau between two runs of a quantity; None without several runs.

    Args:
        table: The table.
        rows: The cells that count; None takes all.
        quantity: The quantity.
        dataset: Images of the accuracies; None if the table has one data set.
    """
    columns = table.select(quantity, dataset=dataset)
    if len([column for column in columns if column.run is not None]) < 2:
        return None
    runs = table.runs(quantity, dataset=dataset)
    return agreement_between_runs(runs if rows is None else runs[rows])
