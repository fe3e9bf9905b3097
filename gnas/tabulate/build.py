"""Train the cells of a plan with several processes and write the table."""

from __future__ import annotations

import logging
import multiprocessing as mp
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from numpy.typing import NDArray
from optuna.trial import TrialState

import gnas
from gnas.data import BenchmarkTable, Column, Provenance, save_table
from gnas.data.images import ImageSplits
from gnas.errors import ConfigError, DataError, GnasError
from gnas.graphs import DenseBatch
from gnas.models import NASBench101NetworkConfig, nasbench101_network, num_macs, num_params
from gnas.spaces import NASBench101
from gnas.tabulate.config import TabulateConfig
from gnas.tabulate.study import (
    Progress,
    claimed,
    latest_trials,
    load_study,
    open_study,
    progress,
)
from gnas.train import fresh_network, train_proxy

logger = logging.getLogger(__name__)

POLL_S = 1.0
"""Seconds between two looks of the main process at its workers."""
QUIET = "ignore:`torch.jit:FutureWarning"
"""The one warning that workers do not print."""
PER_RUN = ("val_acc", "test_acc", "val_loss", "train_time_s")
PER_CELL = ("num_params", "macs")


def tabulate(
    config: TabulateConfig,
    out: Path,
    *,
    workers: int = 1,
    report: Callable[[Progress], None] = lambda progress: None,
) -> Path:
    """Trains what is missing and writes the table.

    Args:
        config: What to train.
        out: The table, a Parquet file; the study is kept beside it as ``<out>.journal``.
        workers: Processes that train on this machine, one core each. The same command may be
            running elsewhere on the same files and shares the work.
        report: Called about once a second.

    Returns:
        ``out``.

    Raises:
        ConfigError: an impossible setting, or the journal belongs to another config.
        DataError: every training failed, or a file cannot be written.
    """
    if workers < 1:
        raise ConfigError(f"workers must be at least 1, but got {workers}")
    if out.suffix != ".parquet":
        raise ConfigError(f"the table's file must end in .parquet, but got {out}")
    images = config.images()
    journal = out.with_name(out.name + ".journal")
    try:
        study = open_study(config, journal, images.sha256)
        report(progress(study))
        if progress(study).done + progress(study).failed < progress(study).total:
            _run_workers(config, journal, workers, lambda: report(progress(study)))
            report(progress(study))
    except OSError as error:
        if isinstance(error, DataError):
            raise
        reason = error.strerror or str(error)
        raise DataError(f"{journal} must be writable, but got: {reason}") from error
    write_table(study, config, images, out)
    return out


def work(config: TabulateConfig, journal: Path) -> None:
    """Trains waiting trials of the study on one core until none is left."""
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    images = config.images()
    study = load_study(journal)
    for trial in claimed(study):
        cell, seed = trial.user_attrs["cell"], trial.user_attrs["seed"]
        try:
            result = _train(config, images, cell, seed)
        except (RuntimeError, MemoryError) as error:  # e.g. out of memory
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            logger.warning("training run %d of %s failed: %s", seed, cell, reason)
            trial.set_user_attr("error", reason)
            study.tell(trial, state=TrialState.FAIL)
            continue
        trial.set_user_attr("result", result)
        study.tell(trial, result["val_acc"])


def _train(config: TabulateConfig, images: ImageSplits, cell: str, seed: int) -> dict[str, Any]:
    graph = NASBench101().from_str(cell)

    size = NASBench101NetworkConfig(
        in_channels=images.in_channels,
        num_classes=images.num_classes,
        stem_channels=config.stem_channels,
        num_stacks=config.num_stacks,
        cells_per_stack=config.cells_per_stack,
    )
    network = fresh_network(partial(nasbench101_network, graph, size), seed)
    result = asdict(train_proxy(network, images, config.recipe, seed=seed))
    shape = (images.in_channels, images.image_size, images.image_size)
    return {**result, "num_params": num_params(network), "macs": num_macs(network, shape)}


def _run_workers(
    config: TabulateConfig, journal: Path, workers: int, report: Callable[[], None]
) -> None:
    """Runs ``workers`` processes to the end of the queue; none of them outlives this one."""
    context = mp.get_context("spawn")
    processes = [
        context.Process(target=_worker_main, args=(config, journal), daemon=True)
        for _ in range(workers)
    ]
    with _quiet_imports():
        for process in processes:
            process.start()
    try:
        while any(process.is_alive() for process in processes):
            time.sleep(POLL_S)
            report()
    finally:
        for process in processes:
            process.terminate()
            process.join()
    codes = [process.exitcode for process in processes]
    if any(codes):
        raise DataError(
            f"every worker must end well, but exit codes were {codes}; "
            "start the command again to go on"
        )


@contextmanager
def _quiet_imports() -> Iterator[None]:
    """Keeps processes started inside from repeating that torch-geometric uses `torch.jit`.

    They import it before any line of theirs could ask for silence.
    """
    before = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = ",".join([*([before] if before else []), QUIET])
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONWARNINGS"]
        else:
            os.environ["PYTHONWARNINGS"] = before


def _worker_main(config: TabulateConfig, journal: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process stops its workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        work(config, journal)
    except (GnasError, OSError) as error:  # e.g. a full disk
        logger.error("a worker stopped: %s", error)
        raise SystemExit(1) from None


def _end_with_parent() -> None:
    """Ends this process as soon as the one that started it is gone, killed for example."""
    parent = mp.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def write_table(
    study: optuna.Study, config: TabulateConfig, images: ImageSplits, out: Path
) -> None:
    """Writes the cells of which every run is finished as a Parquet table.

    Raises:
        DataError: no cell is finished, or the file cannot be written.
    """
    finished = {
        key: trial.user_attrs["result"]
        for key, trial in latest_trials(study).items()
        if trial.state == TrialState.COMPLETE
    }
    runs = range(1, config.seeds + 1)
    cells = [cell for cell in config.plan() if all((cell, run) in finished for run in runs)]
    if not cells:
        raise DataError(f"a table needs at least one finished cell, but {out}.journal has none")
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
            "torch": torch.__version__,
        },
    )
