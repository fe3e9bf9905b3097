"""The paper's protocol: several searches, the best by validation retrained, and random cells."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import ttest_ind

from gnas.checkpoints import Checkpoints
from gnas.data.files import decoding, read_json
from gnas.errors import ConfigError, MissingDataError
from gnas.metrics import mean_interval
from gnas.retrain.plan import RetrainPlan, plan_retrain
from gnas.retrain.plan import planned as planned_retrain
from gnas.retrain.run import run_retrain
from gnas.retrain.source import DATASETS
from gnas.runs import working_in, write_config, write_result
from gnas.search.toponas.plan import SELECT_COMMAND, SearchPlan, Selection
from gnas.search.toponas.run import network_size, run_search
from gnas.search.toponas.where import search_space
from gnas.spaces import space_record

VAL_SHARE = 0.1
"""Choice: share of the training images that cells are chosen by."""


def select(
    plan: SearchPlan,
    selection: Selection,
    *,
    out: Path,
    device: str = "cpu",
    resume: bool = False,
    report: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Searches several times, keeps the cell that validates best, and trains it anew.

    Every search and training has a folder of its own in ``out`` and is resumable; so is the whole.

    Args:
        plan: How the first seed searches.
        selection: How many searches and trainings, and their recipe.
        out: The run's folder.
        device: Where.
        resume: Go on with what ``out`` has, by the plan of `resumed_selection`.
        report: Called with a line for everything that ends.

    Returns:
        The content of ``result.json``: the architecture, the row of every search with its
        validation accuracy, mean, deviation and values of the chosen one's and of the random
        cells' test accuracies, and the p-value of Welch's t-test between the two.

    Raises:
        ConfigError: impossible values, or ``out`` has a run of its own and ``resume`` is False.
        GnasError: see `gnas.search.toponas.run.run_search` and `gnas.retrain.run.run_retrain`.

    Source: Huang et al., Explicitly Learning Topology for Differentiable NAS, 2020, section 4.1:
    four searches with different seeds, the best retrained ten times. Difference: the choice is by
    images held out of the training set, not by the test images.
    """
    with working_in(out):
        return _select(plan, selection, out, device, resume, report)


def _select(
    plan: SearchPlan,
    selection: Selection,
    out: Path,
    device: str,
    resume: bool,
    report: Callable[[str], None],
) -> dict[str, Any]:
    space = search_space(plan.config)
    dataset = DATASETS.get(plan.images.dataset, plan.images.dataset)
    size = network_size(plan.config, plan.images.dataset)
    recipe = {**size, **_images_of(plan), **selection.recipe}
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
        return _trained(wanted, out / name, device)

    rows = []
    for seed in range(plan.config.seed, plan.config.seed + selection.seeds):
        own = SearchPlan(dataclasses.replace(plan.config, seed=seed), plan.images, plan.follows)
        found = _searched(own, out / f"search-{seed}", device)
        validated = trained(
            found["architecture"], f"validate-{seed}", val_share=VAL_SHARE, seed=seed
        )
        rows.append(
            {
                "seed": seed,
                "architecture": found["architecture"],
                "val_acc": validated["metrics"]["val_acc"],
                "params": validated["params"],
            }
        )
        report(f"search {seed}: validation accuracy {rows[-1]['val_acc']:.2%}")
    best = max(rows, key=lambda row: row["val_acc"])
    final = trained(best["architecture"], "final", repeats=selection.repeats, seed=0)
    chosen = _values(final)
    report(f"search {best['seed']} chosen: test accuracy {np.mean(chosen):.2%}")
    drawn: list[dict[str, Any]] = []
    for k in range(selection.random):
        graph = space.sample(np.random.default_rng([plan.config.seed, k]))
        one = trained(space.to_str(graph), f"random-{k}", seed=k)
        drawn.append({"architecture": space.to_str(graph), "test_acc": _values(one)[0]})
        report(f"random cell {k}: test accuracy {drawn[-1]['test_acc']:.2%}")
    others = [row["test_acc"] for row in drawn]
    result = {
        "command": SELECT_COMMAND,
        "config": asked,
        "space": space_record(space),
        "architecture": best["architecture"],
        "searches": rows,
        "chosen_seed": best["seed"],
        "test_acc": _facts(chosen),
        "random": {"cells": drawn, "test_acc": _facts(others)} if others else None,
        "p_random": _welch(chosen, others),
        "params": final["params"],
        "macs": final["macs"],
    }
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
    with decoding(path, what):
        return folder / f"search-{int(read_json(path, what)['chosen_seed'])}"


def _images_of(plan: SearchPlan) -> dict[str, Any]:
    """The images of a search as settings of a training."""
    found: dict[str, Any] = {"image_size": plan.images.size}
    if plan.images.data_dir is not None:
        found["data_dir"] = plan.images.data_dir
    return found


def _searched(plan: SearchPlan, folder: Path, device: str) -> dict[str, Any]:
    """The result of a search: an earlier one, one that goes on, or a new one."""
    path = folder / "result.json"
    if not path.exists():
        resume = bool(Checkpoints(folder / "checkpoint").steps())
        run_search(plan, device=device, out=folder, resume=resume)
    with decoding(path, "the result of a search"):
        return dict(read_json(path, "the result of a search"))


def _trained(plan: RetrainPlan, folder: Path, device: str) -> dict[str, Any]:
    """The result of a training, likewise."""
    begun = (folder / "config.json").exists()
    return run_retrain(
        planned_retrain(folder) if begun else plan, device=device, out=folder, resume=begun
    )


def _values(result: Mapping[str, Any]) -> list[float]:
    return [float(value) for value in result["rows"][0]["test_acc"]["values"]]


def _facts(values: list[float]) -> dict[str, Any]:
    interval = mean_interval(values)
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": interval.mean, "low": interval.low, "high": interval.high, "std": spread,
            "values": values}  # fmt: skip


def _welch(left: list[float], right: list[float]) -> float | None:
    """Two-sided p-value of Welch's t-test; None without two of each."""
    if min(len(left), len(right)) < 2 or np.ptp(left) + np.ptp(right) == 0:
        return None
    return float(ttest_ind(left, right, equal_var=False).pvalue)
