"""NASGEM's ablation on NAS-Bench-101: predictors with and without a graph embedding."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from gnas.bench.config import NASBench101Bench, encoders_of
from gnas.bench.experiment import RankingTask, draw_rows
from gnas.bench.ranking import agreement_of, rank_table
from gnas.bench.result import BenchResult
from gnas.bench.setups import predictor_setups
from gnas.bench.tables import open_table, scores_name
from gnas.data.tables import BenchmarkTable
from gnas.graphs import DenseBatch, distinct, graph_keys
from gnas.metrics import group_means, kendall_tau, noise_ceiling
from gnas.models import nasbench101_num_params
from gnas.predictors import NumParams
from gnas.spaces import NASBench101

ENCODERS = encoders_of("nasbench101")
"""Shipped encoders of this space."""
PROTOCOL = {
    "train": "mean validation accuracy over the runs of the sampled cells, by rank",
    "rank": "all candidates that are not samples, against mean test accuracy over the runs",
    "pick": "the best predicted of these candidates; only labelled cells can be picked",
    "bias": "best mean test accuracy of the usable cells, minus that of the pick",
}
_HIDDEN_OP = 1

_LOG = logging.getLogger(__name__)


def bench_nasbench101(
    config: NASBench101Bench,
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
        ConfigError: the table has too few cells for ``config.samples``, lacks a column, or is
            of another space.
        MissingDataError: there is no such table.
        DataError: the table is damaged.
        ProcessError: a process was killed.

    Source: Cheng et al., NASGEM, AAAI 2021, section 4.3.
    """
    began = time.monotonic()
    table = open_table(NASBench101, config.table, config.data_dir)
    rows = usable_rows(table.graphs, fixed=config.ops == "fixed")
    task = make_task(table, rows, config)
    names = {split: scores_name(table.select(f"{split}_acc")) for split in ("val", "test")}
    return rank_table(
        "bench nasbench101",
        config,
        table,
        task,
        predictor_setups(
            NASBench101(),
            config.encoders,
            wiring_only=config.ops == "fixed",
            params=NumParams(nasbench101_num_params),
            networks=config.networks,
            predictors=config.predictors,
        ),
        columns=(names["val"], names["test"]),
        ceiling=_ceiling(task, names, fixed=config.ops == "fixed"),
        agreement=(agreement_of(table, rows), "val_acc"),
        protocol=PROTOCOL,
        began=began,
        progress=progress,
        workers=workers,
    )


def make_task(
    table: BenchmarkTable, rows: NDArray[np.int64], config: NASBench101Bench
) -> RankingTask:
    """The labelled cells ``rows`` of a table, with their operations hidden if they are fixed."""
    graphs = table.graphs[torch.from_numpy(rows)]
    return RankingTask(
        graphs=graphs,
        visible_graphs=hide_operations(graphs) if config.ops == "fixed" else graphs,
        train_scores=table.val_acc()[rows],
        true_scores=table.test_acc()[rows],
        candidates=draw_rows(len(rows), config.pool, config.seed),
    )


def usable_rows(graphs: DenseBatch, *, fixed: bool) -> NDArray[np.int64]:
    """Rows of the different cells, or of those with one operation list, ascending."""
    rows = distinct(graphs)
    if len(rows) < len(graphs):
        _LOG.warning("ignoring %d isomorphic repetitions", len(graphs) - len(rows))
    return rows[one_operation_list(graphs[torch.from_numpy(rows)])] if fixed else rows


def one_operation_list(graphs: DenseBatch) -> NDArray[np.int64]:
    """Rows of the cells that consist of the most frequent list of operations.

    The paper samples "within a fixed operation list" and leaves open what that is. Choice: the
    list counts each operation and has no order, because the order of a cell's vertices is
    arbitrary: two isomorphic cells can list them differently. Of lists equally frequent the
    first in sorted order counts. Predictors see the wiring alone (`hide_operations`).
    """
    lists = np.sort(graphs.ops.numpy(), axis=1)
    _, group, count = np.unique(lists, axis=0, return_inverse=True, return_counts=True)
    return np.flatnonzero(group.reshape(-1) == count.argmax())


def hide_operations(graphs: DenseBatch) -> DenseBatch:
    """The same wirings with one operation in place of all but input and output."""
    inner = (graphs.ops > 0) & (graphs.ops < graphs.num_ops - 1)
    return replace(graphs, ops=graphs.ops.masked_fill(inner, _HIDDEN_OP))


def _ceiling(task: RankingTask, names: Mapping[str, str], *, fixed: bool) -> tuple[float, str]:
    """Upper bound of Kendall tau, and its description.

    With fixed operations cells of one wiring look alike, so the noise of accuracies is no bound
    that anyone could come near: the bound is an oracle that knows the mean of every wiring.
    """
    noise = noise_ceiling(task.train_scores, task.true_scores)
    if not fixed:
        return noise, f"{names['val']} itself"
    wirings = graph_keys(task.visible_graphs)
    return (
        kendall_tau(group_means(wirings, task.true_scores), task.true_scores),
        f"an oracle that knows the {names['test']} of each of the {len(np.unique(wirings))} "
        f"wirings of these {len(wirings)} cells; {names['val']} itself, {noise:.3f}, is out of "
        "reach for whatever sees the wiring alone",
    )
