"""Progress of trainings as recorded in a run's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gnas.data.files import as_data_error, read_json_lines
from gnas.errors import MissingDataError
from gnas.retrain.plan import RetrainPlan, planned
from gnas.training.recording import METRICS


def read_trainings(folder: str | Path) -> tuple[RetrainPlan, dict[str, list[dict[str, Any]]]]:
    """The plan of the run in ``folder``, and the metrics of every epoch of each training so far.

    Returns:
        The plan; metrics by the training's name, without those that have finished no epoch.

    Raises:
        MissingDataError: there is no run, or no training has finished an epoch.
        DataError: a file is damaged or of something else.
    """
    folder = Path(folder)
    plan = planned(folder)
    found = {}
    for name in plan.trainings():
        path = folder / name / METRICS
        if not path.exists():
            continue
        what = "the metrics of a training"
        lines = read_json_lines(path, what)
        with as_data_error(path, what):
            epochs = [_numbers(line) for line in lines]
        if epochs:
            found[name] = epochs
    if not found:
        raise MissingDataError(
            f"a training must have finished an epoch to be shown, but {folder} has none"
        )
    return plan, found


def _numbers(metrics: dict[str, Any]) -> dict[str, Any]:
    """The metrics of an epoch, with the numbers that every epoch has."""
    for name in ("epoch", "train_loss", "train_acc", "lr"):
        metrics[name] = float(metrics[name])
    return {name: value for name, value in metrics.items() if isinstance(value, int | float)}
