"""Train the cells of a plan with any number of workers and write the table."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import gnas
from gnas.data import BenchmarkTable, Column, Provenance, save_table
from gnas.data.images import ImageSplits
from gnas.errors import ConfigError, DataError
from gnas.graphs import DenseBatch
from gnas.runs import NOTICE, working_on
from gnas.spaces import NASBench101
from gnas.studies import CandidateStudy, Evaluated, Progress, local_workers
from gnas.tabulate.config import TabulateConfig
from gnas.tabulate.job import TabulateJob

logger = logging.getLogger(__name__)

OWN_STUDY = "table"
"""Name of the study in a file beside its table."""
PER_RUN = ("val_acc", "test_acc", "val_loss", "train_time_s")
PER_CELL = ("num_params", "macs")


def tabulate(
    config: TabulateConfig,
    out: Path,
    *,
    workers: int = 1,
    storage: str | Path | None = None,
    study: str | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
) -> Path:
    """Trains what is missing and writes the table.

    Args:
        config: What to train.
        out: The table, a Parquet file.
        workers: Processes that train on this machine, one core each. The same command, or
            `gnas worker`, may be running elsewhere on the same storage, with an ``out`` of its
            own, and shares the work. 0
            leaves all of it to others, for which ``storage`` must be given.
        storage: Where the study is kept: a file, or the URL of a database. None takes
            ``<out>.study.db``.
        study: The study's name; None takes the table's.
        report: Called now and then.

    Returns:
        ``out``.

    Raises:
        ConfigError: an impossible setting, or the study was begun with another config.
        DataError: every training failed, the storage cannot be used, or a file cannot be written.
    """
    if workers < (1 if storage is None else 0):
        raise ConfigError(f"workers must be at least 1, but got {workers}")
    if out.suffix != ".parquet":
        raise ConfigError(f"the table's file must end in .parquet, but got {out}")
    with working_on(out):
        return _tabulate(config, out, workers, storage, study, report)


def _tabulate(
    config: TabulateConfig,
    out: Path,
    workers: int,
    storage: str | Path | None,
    study: str | None,
    report: Callable[[Progress], None],
) -> Path:
    images, candidates = config.images(), planned(config)
    logger.log(NOTICE, "%s", images.line)
    job = TabulateJob(config, images.sha256)
    file = out.with_name(out.name + ".study.db")
    name = study or (OWN_STUDY if storage is None else out.stem)
    candidate_study = CandidateStudy.open(job, name=name, storage=storage or file)
    candidate_study.plan(candidates)
    progress = candidate_study.progress()
    report(progress)
    if not progress.is_over:
        with local_workers(candidate_study, job, workers) as wait:
            wait(report)
    candidate_study.finish()
    write_table(candidate_study.results(), config, images, out)
    return out


def planned(config: TabulateConfig) -> list[dict[str, Any]]:
    """Every cell with every seed, as candidates of a study.

    Raises:
        ConfigError: fewer cells exist than are asked for.
    """
    seeds = range(1, config.seeds + 1)
    return [{"architecture": cell, "seed": seed} for cell in config.plan() for seed in seeds]


def write_table(
    results: Sequence[Evaluated], config: TabulateConfig, images: ImageSplits, out: Path
) -> None:
    """Writes the cells of which every run is finished as a Parquet table.

    Raises:
        DataError: no cell is finished, or the file cannot be written.
    """
    finished = {
        (found.candidate["architecture"], found.candidate["seed"]): found.result
        for found in results
        if found.result is not None
    }
    runs = range(1, config.seeds + 1)
    cells = [cell for cell in config.plan() if all((cell, run) in finished for run in runs)]
    if not cells:
        raise DataError(f"a table needs at least one finished cell, but {_reasons(results)}")
    if len(cells) < config.cells:
        logger.warning("%d of %d cells are finished", len(cells), config.cells)
    epochs, values = config.recipe.epochs, dict[Column, NDArray[Any]]()
    for quantity in PER_RUN:
        for run in runs:
            column = Column.of(quantity, epochs=epochs, run=run)
            values[column] = np.array([finished[cell, run][quantity] for cell in cells])
    for quantity in PER_CELL:
        column = Column.of(quantity)
        values[column] = np.array([finished[cell, 1][quantity] for cell in cells])
    space = NASBench101()
    table = BenchmarkTable(
        DenseBatch.from_data([space.from_str(cell) for cell in cells]),
        list(values),
        _provenance(config, images, out),
        {column.name: array for column, array in values.items()},
    )
    save_table(table, out)


def _reasons(results: Sequence[Evaluated]) -> str:
    errors = [found.error for found in results if found.error is not None]
    return f"{len(errors)} trainings failed, the last: {errors[-1]}" if errors else "none ended"


def _provenance(config: TabulateConfig, images: ImageSplits, out: Path) -> Provenance:
    parts = f"{len(images.y_train)}/{len(images.y_val)}/{len(images.y_test)}"
    return Provenance(
        name=out.stem,
        space=NASBench101.name,
        source=f"gnas {gnas.__version__} tabulate nasbench101",
        kind="self-made",
        note=(
            f"short trainings of small networks on {parts} training/validation/test images of "
            f"{images.source} at {images.image_size}x{images.image_size}; not the published "
            "NAS-Bench-101 accuracies"
        ),
        recipe={
            **asdict(config),
            "dataset": images.source,
            "images_sha256": images.sha256,
            "images_read": images.line,
            "torch": torch.__version__,
        },
    )
