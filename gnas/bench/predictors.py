"""Predictors on a table of any space: one's own, or one that `gnas tabulate` made."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from gnas.bench.config import PredictorsBench
from gnas.bench.experiment import RankingTask
from gnas.bench.ranking import agreement_of, oracle_ceiling, rank_table
from gnas.bench.result import BenchResult
from gnas.bench.setups import KnownValues, NumEdges, PredictorSetup, predictor_setups
from gnas.bench.tables import chosen_scores, open_table, smaller_is_better
from gnas.data.tables import BenchmarkTable
from gnas.predictors import Features, IdentityPredictor
from gnas.spaces import load_space

PROTOCOL = {
    "train": "the train column of the sampled architectures, by rank",
    "rank": "all architectures that are not samples, against the test column",
    "no twins": "the same without those that compute the same function as a sample",
    "pick": "the best predicted of these architectures",
    "bias": "best value of the test column, minus that of the pick",
}
TRAIN, TEST = ("val_acc", "test_acc"), ("test_acc", "val_acc")
"""Quantities to learn and to rank by; the second where a table lacks the first."""


def bench_predictors(
    config: PredictorsBench,
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
        ConfigError: the table has too few architectures for ``config.samples``, lacks a column, is
            of another space, or a column has gaps or one value only.
        MissingDataError: there is no such table.
        DataError: the table is damaged.
        ProcessError: a process was killed.

    Examples:
        >>> from gnas.bench.config import PredictorsBench
        >>> config = PredictorsBench(
        ...     space="nasgem", table="nasgem-mini", seeds=2, predictors=("forest",),
        ... )
        >>> [row.encoder for row in bench_predictors(config).rows if row.predictor == "none"]
        ['number of parameters', 'number of edges', 'best of the samples', 'random pick']
    """
    began = time.monotonic()
    space = load_space(config.space)
    table = open_table(space, config.table, config.data_dir)
    train_name, learned, train = chosen_scores(table, config.train_column, TRAIN, config.dataset)
    test_name, quantity, true = chosen_scores(table, config.test_column, TEST, config.dataset)
    graphs = table.graphs.pad_to(space.max_nodes)
    keys = space.keys(graphs)
    task = RankingTask(
        graphs=graphs,
        visible_graphs=graphs,
        train_scores=train,
        true_scores=true,
        candidates=np.arange(len(table)),
        functions=keys if len(np.unique(keys)) < len(table) else None,
        smaller_is_better=smaller_is_better(learned, quantity),
    )
    edges, params = NumEdges(), _num_params(table)
    setups = predictor_setups(
        space, config.encoders, wiring_only=False, params=params or edges,
        predictors=config.predictors,
    )  # fmt: skip
    if params is not None:
        setups.append(PredictorSetup(IdentityPredictor(edges), "none", edges.name))
    agreement = None
    if config.test_column is None:
        agreement = agreement_of(table, quantity=quantity, dataset=config.dataset)
    return rank_table(
        "bench predictors",
        config,
        table,
        task,
        setups,
        columns=(train_name, test_name),
        ceiling=oracle_ceiling(task, train_name, test_name),
        agreement=(agreement, quantity),
        protocol=PROTOCOL,
        began=began,
        quantity=quantity,
        progress=progress,
        workers=workers,
    )


def _num_params(table: BenchmarkTable) -> Features | None:
    """The number of parameters, if the table has it."""
    if "num_params" not in {column.name for column in table.columns}:
        return None
    return KnownValues(table.graphs, table.values("num_params"), "number of parameters")
