"""The paper's protocol: searches, a choice by validation, trainings, random cells."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.stats import ttest_ind
from typer.testing import CliRunner

from gnas.cli import app
from gnas.errors import ConfigError
from gnas.retrain.run import run_retrain
from gnas.retrain.source import run_source
from gnas.search.toponas import selection
from gnas.search.toponas.plan import (
    Selection,
    check_recipe,
    images_to_train,
    plan_search,
    resumed_selection,
)
from gnas.search.toponas.selection import select
from gnas.spaces import NASBench201

FAST: dict[str, Any] = {
    "batch_size": 400, "image_size": 8, "epochs": 1, "channels": 4, "num_cells": 1,
}  # fmt: skip
RECIPE: dict[str, Any] = {"epochs": 1, "batch_size": 400, "channels": 4, "layers": 1}


def test_the_best_by_validation_is_trained_anew_beside_random_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_search("digits", space="nasbench201", seed=3, **FAST)
    wanted = Selection(seeds=2, repeats=2, random=2, recipe=RECIPE)
    inner, calls = run_retrain, []

    def interrupted(*args: Any, **options: Any) -> Any:
        calls.append(options["out"].name)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return inner(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(selection, "run_retrain", interrupted)
        with pytest.raises(KeyboardInterrupt):
            select(plan, wanted, out=tmp_path)
    assert calls == ["validate-3", "validate-4", "final", "random-0"]
    shutil.rmtree(tmp_path / "search-4")  # killed before its first checkpoint was whole
    (tmp_path / "search-4" / "checkpoint").mkdir(parents=True)
    (tmp_path / "search-4" / "checkpoint" / "step-0.safetensors").write_bytes(b"half")
    with pytest.raises(ConfigError, match="a new run needs a folder of its own"):
        select(plan, wanted, out=tmp_path)
    with pytest.raises(ConfigError, match="seeds is 2, not 3"):
        resumed_selection(tmp_path, {}, {"seeds": 3})
    with pytest.raises(ConfigError, match="epochs is 1, not 9"):
        resumed_selection(tmp_path, {"epochs": 9}, {})
    assert resumed_selection(tmp_path, {"epochs": 1}, {"seeds": 2}) == (plan, wanted)
    result = select(*resumed_selection(tmp_path, {}, {}), out=tmp_path, resume=True)
    source = run_source(tmp_path)
    assert source is not None and source.dataset == "digits"
    assert source.settings() == {
        "data_dir": None, "image_size": 8, "layers": (1,), "channels": 4
    }  # fmt: skip
    rows = result.searches
    assert [row.seed for row in rows] == [3, 4]
    best = max(rows, key=lambda row: row.val_acc)
    assert (result.chosen_seed, result.architecture) == (best.seed, best.architecture)
    final = json.loads((tmp_path / "final" / "result.json").read_text())
    assert final["architecture"] == best.architecture
    assert list(result.test_acc.values) == final["rows"][0]["test_acc"]["values"]
    assert len(result.test_acc.values) == 2
    val = json.loads((tmp_path / "validate-3" / "result.json").read_text())
    assert val["metrics"]["val_acc"] == rows[0].val_acc
    assert val["config"]["images"]["val_share"] == selection.VAL_SHARE
    assert final["config"]["images"]["val_share"] == 0
    assert result.random is not None
    others = result.random.test_acc.values
    assert len(set(result.random.architectures)) == 2
    NASBench201().from_str(result.random.architectures[0])
    if np.ptp(others) or np.ptp(result.test_acc.values):
        expected = ttest_ind(result.test_acc.values, others, equal_var=False).pvalue
        assert result.p_random == pytest.approx(expected)


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Figure, "savefig", lambda self, file, **options: None)  # takes longer
    sizes = [w for name, value in FAST.items() for w in ("--set", f"{name}={value}")]
    recipe = [w for name, value in RECIPE.items() for w in ("--retrain", f"{name}={value}")]
    words = ["search", "toponas", "--space", "nasbench201", *sizes, *recipe, "--select"]
    counts = ["--seeds", "1", "--repeats", "2"]
    done = CliRunner().invoke(app, [*words, *counts, "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    assert "chosen by validation: search 0; test accuracy" in done.output
    [following] = re.findall(r"gnas (evaluate .*/final\S*)", done.stdout)
    evaluated = CliRunner().invoke(app, shlex.split(following))
    assert evaluated.exit_code == 0, evaluated.output
    again = ["search", "toponas", "--resume", str(tmp_path / "run")]
    resumed = CliRunner().invoke(app, [*again, "--select"])
    assert resumed.exit_code == 0 and resumed.stdout == done.stdout, resumed.output
    other = CliRunner().invoke(app, again)
    assert other.exit_code == 1 and "is one of gnas search toponas --select" in other.output
    training = ["retrain", str(tmp_path / "run"), "--epochs", "1", "--out", str(tmp_path / "own")]
    trained = CliRunner().invoke(app, training)
    assert trained.exit_code == 0 and "8x8 pixels" in trained.output, trained.output
    shown = CliRunner().invoke(app, ["show", str(tmp_path / "run")])
    assert shown.exit_code == 0 and json.loads((tmp_path / "run" / "result.json").read_text())[
        "architecture"
    ] in shown.output.replace("\n", ""), shown.output
    alone = CliRunner().invoke(app, ["search", "toponas", "--seeds", "2"])
    assert alone.exit_code == 2 and "--seeds needs --select" in alone.output


OWN = """
from gnas.spaces import NASBench201


class Own(NASBench201):
    name = "own"


space = Own
"""


def test_a_space_of_ones_own_and_its_report(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    space, run = f"{tmp_path / 'own.py'}:space", tmp_path / "run"
    plan = plan_search(space=space, **FAST)
    select(plan, Selection(seeds=1, repeats=1, recipe=RECIPE), out=run)
    done = CliRunner().invoke(app, ["report", str(run), "--out", str(tmp_path / "page.html")])
    assert done.exit_code == 0, done.output
    assert "the cell that validates best" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("dataset", ["folder", "cifar10", "imagenet-3pct"])
def test_trainings_read_the_folder_of_the_search(dataset: Any, tmp_path: Path) -> None:
    plan = plan_search(dataset, data_dir=str(tmp_path))
    check_recipe(plan, Selection())
    assert images_to_train(plan)["data_dir"] == str(tmp_path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seeds": 0}, "seeds must be at least 1"),
        ({"random": -1}, "random must be at least 0"),
        ({"recipe": {"val_share": 0.2}}, "val_share follows from the protocol"),
    ],
)
def test_impossible_protocols(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Selection(**values)
