"""Predictors and zero-cost proxies on measured accuracies of DARTS' cells."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gnas.bench.config import DARTSBench
from gnas.bench.experiment import RankingTask
from gnas.bench.ranking import rank_table
from gnas.bench.result import BenchResult
from gnas.bench.setups import KnownValues, PredictorSetup, predictor_setups
from gnas.bench.tables import open_table, scores_name
from gnas.data.tables import BenchmarkTable
from gnas.predictors import IdentityPredictor
from gnas.proxies import ProxyConfig, compute_proxies
from gnas.spaces import TopoNAS
from gnas.spaces.toponas.cells import EDGE_OPS

PROTOCOL = {
    "train": "test accuracy of the sampled cells, by rank; the table has no validation accuracy",
    "rank": "all cells that are not samples, against their test accuracy",
    "pick": "the best predicted of these cells",
    "bias": "best test accuracy of the table, minus that of the pick",
    "early": "the accuracies of earlier epochs are of the very runs that are ranked",
}


def bench_darts(
    config: DARTSBench,
    *,
    progress: Callable[[int, int | None], None] | None = None,
    workers: int = 1,
) -> BenchResult:
    """Run the experiment: draw samples, fit every predictor, rank the rest, pick one.

    Args:
        config: The experiment.
        progress: Called with (fits done, fits in all).
        workers: Number of processes; results do not depend on it.

    Raises:
        ConfigError: the table has too few cells for ``config.samples``, lacks test accuracies, or
            is of another space.
        MissingDataError: there is no such table.
        DataError: the table is damaged.
        ProcessError: a process was killed.
    """
    began = time.monotonic()
    table = open_table(TopoNAS.darts(), config.table, config.data_dir)
    scores, columns = table.test_acc(), table.select("test_acc")
    task = RankingTask(
        graphs=table.graphs,
        visible_graphs=table.graphs,
        train_scores=scores,
        true_scores=scores,
        candidates=np.arange(len(table)),
    )
    name, points = scores_name(columns), 100 * config.run_deviation
    ceiling = (
        f"what true accuracies would have if one cell's runs deviate by {points:.2f} points, "
        f"beside {100 * scores.std(ddof=1):.2f} between the cells"
    )
    return rank_table(
        "bench darts",
        config,
        table,
        task,
        participants(table, config),
        columns=(name, name),
        ceiling=(attainable_tau(scores, config.run_deviation), ceiling),
        agreement=(None, "one run a cell"),
        protocol=PROTOCOL,
        began=began,
        progress=progress,
        workers=workers,
    )


def participants(table: BenchmarkTable, config: DARTSBench) -> list[PredictorSetup]:
    """Predictors, proxies, early accuracies and the trivial.

    Where predictors are named, no proxies: to measure them builds and runs every network.
    """
    space, graphs = TopoNAS.darts(), table.graphs
    proxies = ProxyConfig() if config.predictors is None else ProxyConfig(proxies=("params",))
    measured = dict(zip(proxies.proxies, compute_proxies(space, graphs, proxies).T, strict=True))
    found = predictor_setups(
        space,
        config.encoders,
        wiring_only=False,
        params=KnownValues(graphs, measured.pop("params"), "number of parameters"),
        predictors=config.predictors,
    )
    last = max(column.epochs or 0 for column in table.columns if column.quantity == "test_acc")
    for column in table.columns:
        if column.quantity == "test_acc" and column.epochs not in (None, last):
            measured[f"its own {column.name}"] = table.values(column.name)
    skips = graphs.adjacency == 1 + EDGE_OPS.index("skip_connect")
    measured["fewest skip connections"] = -skips.sum((1, 2)).numpy()
    trivial = [KnownValues(graphs, values, name) for name, values in measured.items()]
    found += [PredictorSetup(IdentityPredictor(one), "none", one.name) for one in trivial]
    return found


def attainable_tau(scores: NDArray[np.float64], run_deviation: float) -> float:
    """Kendall's tau between true accuracies and measured ones, both normally distributed.

    Args:
        scores: Measured, one run a cell, [N].
        run_deviation: Standard deviation of one cell's runs.

    Returns:
        In [0, 1]; 0 where all scores are the same.

    Examples:
        >>> round(attainable_tau(np.array([0.0, 0.1, 0.2]), 0.0), 3)
        1.0
    """
    spread = float(scores.var(ddof=1))
    noise = min(1.0, run_deviation**2 / spread) if spread > 0 else 1.0
    return 2 / math.pi * math.asin(math.sqrt(1 - noise))
