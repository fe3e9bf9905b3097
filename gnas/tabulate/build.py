"""Train the cells of a plan with any number of workers and write the table."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import gnas
from gnas.config import dict_diff
from gnas.data import BenchmarkTable, Column, Provenance, save_table
from gnas.data.files import check_utf8
from gnas.data.images.parts import ImageParts
from gnas.data.places import check_table, recorded_facts
from gnas.errors import ConfigError, DataError
from gnas.evaluate import TrainingEvaluator
from gnas.graphs import DenseBatch
from gnas.runs import file_lock, to_jsonable
from gnas.search.result import Evaluation
from gnas.search.run import run_search
from gnas.search.samplers.listed import ListedSearch
from gnas.spaces import space_record, space_text
from gnas.tabulate.config import TabulateConfig

logger = logging.getLogger(__name__)

OWN_STUDY = "table"
"""Name of the study in a file beside its table."""
REPLACEABLE = ("cells", "cells_from", "draw_seed", "seeds", "images_read", "torch")
"""Facts in which a table may differ from the one that it replaces: trainings are the same."""
PER_RUN = ("val_acc", "test_acc", "val_loss", "train_time_s")
PER_CELL = ("num_params", "macs")


def tabulate(
    config: TabulateConfig,
    out: str | Path,
    *,
    workers: int | None = 1,
    storage: str | Path | None = None,
    study: str | None = None,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Train what is missing and write the table.

    It is `gnas.search.run_search` with a searcher that goes through the cells, so that everything
    said there of workers and interruptions holds: what a study has of an earlier command, or of
    another one with the same images, recipe and networks, is not trained again.

    Args:
        config: Trainings to run.
        out: The table, a Parquet file.
        workers: Processes that train on this machine, one core each. The same command, or
            `gnas worker`, may be running elsewhere on the same storage, with an ``out`` of its
            own, and shares the work. 0 leaves all of it to others, for which ``storage`` must be
            given. None trains in this process, without a study: what is interrupted is lost.
        storage: Storage of the study: a file, or the URL of a database. None takes
            ``<out>.study.db``.
        study: The study's name; None takes the table's.
        report: Called with the trainings that have ended and those in all.

    Returns:
        ``out``.

    Raises:
        ConfigError: an impossible setting, the study was begun with another config, or ``out`` is
            a table of other trainings.
        DataError: every training failed, the storage cannot be used, or a file cannot be written.

    Examples:
        >>> import tempfile
        >>> from gnas.data import load_table
        >>> config = TabulateConfig(
        ...     cells=1, seeds=1, num_train=20, num_val=10, num_test=10,
        ...     network={"stem_channels": 2, "num_stacks": 1, "cells_per_stack": 1},
        ... ).with_settings({"epochs": 1})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = tabulate(config, Path(folder) / "mine.parquet", workers=None)
        ...     load_table(path).val_acc().shape
        (1,)
    """
    out = Path(out)
    check_utf8(out, "a table")
    if workers is None and storage is not None:
        raise ConfigError("a storage is for workers, but workers is None")
    if workers is not None and workers < (1 if storage is None else 0):
        without = " without a storage for workers elsewhere" if workers == 0 else ""
        raise ConfigError(f"workers must be at least 1{without}, but got {workers}")
    if out.suffix != ".parquet":
        raise ConfigError(f"the table's file must end in .parquet, but got {out}")
    with file_lock(out):
        space, cells = config.opened_space(), config.graphs()
        images = config.images()
        file = out.with_name(out.name + ".study.db")
        if not file.exists():  # else the study is looked at
            _check_replaceable(out, _recipe(config, images))
        report(0, config.cells * config.seeds)
        found = run_search(
            space,
            ListedSearch(space, cells),
            evaluator_of(config, images),
            budget=config.cells,
            repeats=config.seeds,
            seed=1,
            workers=workers,
            storage=None if workers is None else str(storage or file),
            study=study or (OWN_STUDY if storage is None else out.stem),
            report=lambda p: report(p.done * config.seeds, p.total * config.seeds),
        )
        write_table(found.evaluations, config, images, out)
    return out


def evaluator_of(config: TabulateConfig, images: ImageParts | None = None) -> TrainingEvaluator:
    """The evaluator that trains the cells of a table.

    Args:
        config: Says on what and how.
        images: The same, opened, where they are.
    """
    return TrainingEvaluator(
        config.images_config(), config.recipe, network=config.network, splits=images
    )


def write_table(
    evaluations: Sequence[Evaluation], config: TabulateConfig, images: ImageParts, out: Path
) -> None:
    """Write the cells of which every run is finished as a Parquet table.

    Args:
        evaluations: All cells, in the order of the table.
        config: How they were drawn and trained.
        images: The images they were trained on, for the provenance.
        out: The table's file.

    Raises:
        DataError: no cell is finished, or the file cannot be written.
    """
    finished = [one for one in evaluations if one.measures is not None]
    if not finished:
        reasons = Counter(one.error for one in evaluations).most_common(1)
        why = f"{len(evaluations)} failed, most so: {reasons[0][0]}" if reasons else "none ended"
        raise DataError(f"a table needs at least one finished cell, but {why}")
    if len(finished) < config.cells:
        logger.warning("%d of %d cells are finished", len(finished), config.cells)
    epochs, values = config.recipe.epochs, dict[Column, NDArray[Any]]()
    runs = [one.runs or (one.measures or {},) for one in finished]
    for quantity in PER_RUN:
        for run in range(config.seeds):
            column = Column.of(quantity, epochs=epochs, run=run + 1)
            values[column] = np.array([own[run][quantity] for own in runs])
    for quantity in PER_CELL:
        counts = np.array([own[0][quantity] for own in runs])
        values[Column.of(quantity)] = counts.astype(np.int64)
    space = config.opened_space()
    table = BenchmarkTable(
        DenseBatch.from_data([space.from_str(one.architecture) for one in finished]),
        list(values),
        _provenance(config, images, out),
        {column.name: array for column, array in values.items()},
    )
    save_table(table, out)


def _check_replaceable(out: Path, recipe: Mapping[str, Any]) -> None:
    """Check that a table that lies at ``out`` is an earlier one of the same trainings."""
    if not out.exists():
        return
    check_table(out)
    there = recorded_facts(out)[1].get("recipe")
    if not isinstance(there, dict):
        raise ConfigError(f"{out} must be a new file, but is a table of others; choose another")
    before, now = (
        {name: value for name, value in facts.items() if name not in REPLACEABLE}
        for facts in (there, to_jsonable(recipe))
    )
    if changed := dict_diff(before, now):
        name, (was, new) = next(iter(changed.items()))
        raise ConfigError(
            f"{out} must be a new file, but is a table of other trainings: {name} was "
            f"{was!r:.200} and is now {new!r:.200}; choose another"
        )


def _recipe(config: TabulateConfig, images: ImageParts) -> dict[str, Any]:
    return {
        **asdict(config),
        "space": space_text(space_record(config.opened_space())),
        "dataset": images.source.name,
        "images_sha256": images.sha256,
        "images_read": images.line(),
        "torch": torch.__version__,
    }


def _provenance(config: TabulateConfig, images: ImageParts, out: Path) -> Provenance:
    space = config.opened_space()
    text = space_text(space_record(space))
    parts = "/".join(str(len(rows)) for rows in images.rows.values())
    return Provenance.of(
        space,
        out.stem,
        source=f"gnas {gnas.__version__} tabulate {text}",
        kind="self-made",
        note=(
            f"short trainings of small networks on {parts} training/validation/test images of "
            f"{images.source.name} at {images.image_size}x{images.image_size}; not published "
            "accuracies"
        ),
        recipe=_recipe(config, images),
    )
