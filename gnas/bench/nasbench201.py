"""Predictors on NAS-Bench-201: every cell is a candidate, scores are one column of the table."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from gnas.bench.config import NASBench201Bench
from gnas.bench.experiment import RankingTask, Values
from gnas.bench.ranking import oracle_ceiling, rank_table
from gnas.bench.result import BenchResult
from gnas.bench.setups import predictor_setups
from gnas.bench.tables import (
    chosen_scores,
    open_table,
    smaller_is_better,
    table_images,
    with_protocol,
)
from gnas.data.tables import BenchmarkTable
from gnas.graphs import DenseBatch, live_nodes
from gnas.metrics import agreement_between_runs
from gnas.models import nasbench201_num_params
from gnas.predictors import NumParams
from gnas.spaces import NASBench201

PROTOCOL = {
    "train": "the train column of the sampled cells, by rank",
    "rank": "all candidates that are not samples, against the test column",
    "no twins": "the same without the candidates that compute the same function as a sample",
    "pick": "the best predicted of these candidates",
    "bias": "best value of the test column among the cells used, minus that of the pick",
}


def bench_nasbench201(
    config: NASBench201Bench,
    *,
    progress: Callable[[int, int | None], None] | None = None,
    workers: int = 1,
) -> BenchResult:
    """Run the experiment: draw samples, fit every predictor, rank the rest, pick one.

    Args:
        config: The experiment.
        progress: Called with (fits done, fits in all).
        workers: Processes that fit; the numbers are the same for any number.

    Raises:
        ConfigError: the table has too few cells for ``config.samples``, lacks a column, is of
            another space, or a column has gaps or one value only.
        MissingDataError: there is no such table.
        DataError: the table is damaged.
        ProcessError: a process was killed.
    """
    began = time.monotonic()
    space = NASBench201()
    table = open_table(space, config.table, config.data_dir)
    rows = np.arange(len(table))
    if config.cells == "clean":
        rows = np.flatnonzero(~has_dead_part(table.graphs))
    train_name, _, _ = scores(table, config.dataset, config.train_column)
    test_name, quantity, _ = scores(table, config.dataset, config.test_column)
    task = make_task(table, rows, config)
    return rank_table(
        "bench nasbench201",
        config,
        table,
        task,
        predictor_setups(
            space,
            config.encoders,
            wiring_only=False,
            params=NumParams(nasbench201_num_params),
            networks=config.networks,
            predictors=config.predictors,
        ),
        columns=(train_name, test_name),
        ceiling=oracle_ceiling(task, train_name, test_name),
        agreement=_agreement(table, rows, config.dataset),
        protocol=PROTOCOL,
        began=began,
        quantity=quantity,
        progress=progress,
        workers=workers,
    )


def make_task(
    table: BenchmarkTable, rows: NDArray[np.int64], config: NASBench201Bench
) -> RankingTask:
    """The cells ``rows`` of a table, all of them candidates."""
    graphs = table.graphs[torch.from_numpy(rows)]
    _, learned, train = scores(table, config.dataset, config.train_column)
    _, quantity, true = scores(table, config.dataset, config.test_column)
    return RankingTask(
        graphs=graphs,
        visible_graphs=graphs,
        train_scores=train[rows],
        true_scores=true[rows],
        candidates=np.arange(len(rows)),
        functions=NASBench201().keys(graphs),
        smaller_is_better=smaller_is_better(learned, quantity),
    )


def has_dead_part(graphs: DenseBatch) -> NDArray[np.bool_]:
    """Whether some edge carries nothing from input to output: bool [N]; 6,180 of all cells."""
    live = live_nodes(graphs)
    between = live[:, :, None] & live[:, None, :]
    dead: NDArray[np.bool_] = (graphs.adjacency.bool() & ~between).any(2).any(1).numpy()
    return dead


def scores(table: BenchmarkTable, dataset: str, column: str | None) -> tuple[str, str, Values]:
    """Name, quantity and values [N] of the column that was asked for, or of the dataset's own.

    Raises:
        ConfigError: there is no such column, or it has gaps or a single value.
    """
    images = table_images(NASBench201, table, dataset)[0] if column is None else None
    return chosen_scores(table, column, ("val_acc",), images)


def _agreement(
    table: BenchmarkTable, rows: NDArray[np.int64], dataset: str
) -> tuple[float | None, str]:
    """Mean Kendall tau between two runs' test accuracies, and of which; None without several."""
    found = [c for c in table.columns if c.quantity == "test_acc" and c.run is not None]
    for images in table_images(NASBench201, table, dataset):
        budgets = {c.epochs or 0 for c in found if c.dataset == images}
        runs = [c for c in found if c.dataset == images and (c.epochs or 0) == max(budgets)]
        if len(runs) > 1:
            values = np.stack([table.values(c.name)[rows] for c in runs], axis=1)
            return agreement_between_runs(values), with_protocol(runs[0], "test_acc")
    return None, ""
