"""The paper's protocol: several searches, the best by validation retrained, and random cells."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import ttest_ind

from gnas.data.files import as_data_error, read_json
from gnas.errors import ConfigError, MissingDataError
from gnas.loggers import RunLogger
from gnas.metrics import mean_interval
from gnas.retrain.plan import RetrainPlan, plan_retrain
from gnas.retrain.plan import planned as planned_retrain
from gnas.retrain.run import run_retrain
from gnas.retrain.source import DATASETS
from gnas.runs import run_folder_lock, write_config, write_result
from gnas.search.toponas.plan import (
    SELECT_COMMAND,
    Selection,
    ToponasPlan,
    check_recipe,
    images_to_train,
)
from gnas.search.toponas.run import network_size, run_search
from gnas.search.toponas.where import search_space
from gnas.spaces import space_record
from gnas.training.checkpoints import Checkpoints

VAL_SHARE = 0.1
"""Choice: share of the training images that cells are chosen by."""


@dataclass(frozen=True)
class Accuracies:
    """Test accuracies of several trainings, fractions."""

    mean: float
    low: float
    high: float
    """The 95% interval of the mean."""
    std: float | None
    """Deviation of one training; None of a single one."""
    values: tuple[float, ...]

    @staticmethod
    def of(values: Sequence[float]) -> Accuracies:
        """The mean and the spread of ``values``."""
        interval = mean_interval(values)
        std = float(np.std(values, ddof=1)) if len(values) > 1 else None
        return Accuracies(interval.mean, interval.low, interval.high, std, tuple(values))


@dataclass(frozen=True)
class Validated:
    """The cell of one search, trained once."""

    seed: int
    architecture: str
    val_acc: float
    """On the images held out."""
    params: int


@dataclass(frozen=True)
class RandomCells:
    """Cells drawn from the space, each trained once."""

    architectures: tuple[str, ...]
    test_acc: Accuracies


@dataclass(frozen=True, kw_only=True)
class SelectionResult:
    """Everything that came out; field by field the content of ``result.json``."""

    command: str
    config: Mapping[str, Any]
    space: Mapping[str, Any]
    """Name of the space, and the digest of its file if it has one."""
    architecture: str
    """The chosen cell."""
    searches: tuple[Validated, ...]
    chosen_seed: int
    test_acc: Accuracies
    """Test accuracies of the trainings of the chosen cell."""
    random: RandomCells | None
    p_random: float | None
    """Welch's t-test between the two; None without two trainings of each."""
    params: int
    macs: int


def select(
    plan: ToponasPlan,
    selection: Selection,
    *,
    out: str | Path,
    device: str = "cpu",
    resume: bool = False,
    report: Callable[[str], None] = lambda text: None,
    loggers: Sequence[RunLogger] = (),
) -> SelectionResult:
    """Search several times, keep the cell that validates best, and train it anew.

    Every search and training has a folder of its own in ``out`` and is resumable; so is the whole.

    Args:
        plan: How the first seed searches.
        selection: How many searches and trainings, and their recipe.
        out: The run's folder.
        device: Torch device.
        resume: Go on with what ``out`` has, by the plan of `resumed_selection`.
        report: Called with a line for everything that ends.
        loggers: Trackers that show every search and training, see `gnas.loggers`.

    Raises:
        ConfigError: impossible values, or ``out`` has a run of its own and ``resume`` is False.
        GnasError: see `gnas.search.toponas.run.run_search` and `gnas.retrain.run.run_retrain`.

    Source: Huang et al., Explicitly Learning Topology for Differentiable NAS, 2020, section 4.1:
    four searches with different seeds, the best retrained ten times. Difference: the choice is by
    images held out of the training set, not by the test images.
    """
    out = Path(out)
    check_recipe(plan, selection)
    with run_folder_lock(out):
        return _select(plan, selection, out, device, resume, report, loggers)


def _select(
    plan: ToponasPlan,
    selection: Selection,
    out: Path,
    device: str,
    resume: bool,
    report: Callable[[str], None],
    loggers: Sequence[RunLogger],
) -> SelectionResult:
    space = search_space(plan.config)
    dataset = DATASETS.get(plan.images.dataset, plan.images.dataset)
    size = network_size(plan.config, plan.images.dataset)
    recipe = {**size, **images_to_train(plan), **selection.recipe}
    asked = {
        "command": SELECT_COMMAND,
        "search": plan.config,
        "images": plan.images,
        "selection": selection,
        "image_size": recipe["image_size"],
        "network": {"num_cells": recipe.get("layers"), "channels": recipe.get("channels")},
    }
    if not resume and (out / "config.json").exists():
        raise ConfigError(
            f"a new run needs a folder of its own, but {out} has one; go on with --resume {out}, "
            "or choose another"
        )
    if not resume:
        write_config(out, asked, device=device)

    def trained(text: str, name: str, **changes: Any) -> dict[str, Any]:
        wanted = plan_retrain(space, text, dataset, **{**recipe, **changes})  # type: ignore[arg-type]
        return _trained(wanted, out / name, device, loggers)

    rows = []
    for seed in range(plan.config.seed, plan.config.seed + selection.seeds):
        own = ToponasPlan(dataclasses.replace(plan.config, seed=seed), plan.images, plan.follows)
        cell = _searched(own, out / f"search-{seed}", device, loggers)
        validated = trained(cell, f"validate-{seed}", val_share=VAL_SHARE, seed=seed)
        rows.append(Validated(seed, cell, validated["metrics"]["val_acc"], validated["params"]))
        report(f"search {seed}: validation accuracy {rows[-1].val_acc:.2%}")
    best = max(rows, key=lambda row: row.val_acc)
    final = trained(best.architecture, "final", repeats=selection.repeats, seed=0)
    chosen = Accuracies.of(_values(final))
    report(f"search {best.seed} chosen: test accuracy {chosen.mean:.2%}")
    cells, values = [], []
    for k in range(selection.random):
        graph = space.sample(np.random.default_rng([plan.config.seed, k]))
        cells.append(space.to_str(graph))
        values += _values(trained(cells[-1], f"random-{k}", seed=k))
        report(f"random cell {k}: test accuracy {values[-1]:.2%}")
    result = SelectionResult(
        command=SELECT_COMMAND,
        config=asked,
        space=space_record(space),
        architecture=best.architecture,
        searches=tuple(rows),
        chosen_seed=best.seed,
        test_acc=chosen,
        random=RandomCells(tuple(cells), Accuracies.of(values)) if values else None,
        p_random=_welch(chosen.values, values),
        params=final["params"],
        macs=final["macs"],
    )
    write_result(out, result)
    return result


def chosen_search(folder: Path) -> Path:
    """The folder of the search whose cell was chosen, in that of a finished run.

    Raises:
        MissingDataError: the run has not ended.
        DataError: its ``result.json`` is damaged.
    """
    path, what = folder / "result.json", "the result of several searches"
    if not path.exists():
        raise MissingDataError(
            f"a run must have ended to be shown, but {folder} has no result.json; go on with "
            f"gnas {SELECT_COMMAND} --resume {folder}"
        )
    with as_data_error(path, what):
        return folder / f"search-{int(read_json(path, what)['chosen_seed'])}"


def final_training(folder: Path) -> Path:
    """The folder of the first training of the chosen cell, which has the weights."""
    first = folder / "final" / "seed-0"
    return first if first.is_dir() else first.parent


def _searched(plan: ToponasPlan, folder: Path, device: str, loggers: Sequence[RunLogger]) -> str:
    """The cell that a search found: an earlier one, one that goes on, or a new one."""
    path = folder / "result.json"
    if not path.exists():
        resume = bool(Checkpoints(folder / "checkpoint").steps())
        found = run_search(plan, device=device, out=folder, resume=resume, loggers=loggers)
        return found.architecture
    with as_data_error(path, "the result of a search"):
        return str(read_json(path, "the result of a search")["architecture"])


def _trained(
    plan: RetrainPlan, folder: Path, device: str, loggers: Sequence[RunLogger]
) -> dict[str, Any]:
    """The result of a training, likewise."""
    begun = (folder / "config.json").exists()
    return run_retrain(
        planned_retrain(folder) if begun else plan,
        device=device,
        out=folder,
        resume=begun,
        loggers=loggers,
    )


def _values(result: Mapping[str, Any]) -> list[float]:
    return [float(value) for value in result["rows"][0]["test_acc"]["values"]]


def _welch(left: Sequence[float], right: Sequence[float]) -> float | None:
    """Two-sided p-value of Welch's t-test; None without two of each."""
    if min(len(left), len(right)) < 2 or np.ptp(left) + np.ptp(right) == 0:
        return None
    return float(ttest_ind(left, right, equal_var=False).pvalue)
