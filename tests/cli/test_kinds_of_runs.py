"""Folders of another command than the one that is asked to read them: each is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gnas.cli import app

CONFIGS = {
    "supernet": {"config": {"command": "search toponas"}},
    "selection": {"config": {"command": "search toponas --select"}},
    "nasgem": {"config": {"command": "search nasgem", "plan": {"search": {}}}},
    "random": {"config": {"command": "search random", "searcher": "random"}},
    "trainings": {"config": {"command": "retrain"}},
    "bench": {"config": {"table": "nasbench101-mini"}},
    "weights": {"format": "gnas-network"},
}
RESULTS = {"supernet": "search toponas", "bench": "bench search"}
MESSAGES = {
    "search toponas --resume bench": "must be a run of gnas search toponas, but is one of an exp",
    "search toponas --resume random": "toponas, but is one of gnas search random",
    "search toponas --resume weights": "weights must be a run's folder, but has the weights of a",
    "search toponas --select --resume supernet": "--select, but is one of gnas search toponas",
    "search nasgem --resume bench": "must be a run of gnas search nasgem, but is one of an exper",
    "search nasgem --resume trainings": "gnas search nasgem, but is one of gnas retrain",
    "search random --resume nasgem": "of gnas search random, but is one of gnas search nasgem",
    "search random --resume supernet": "gnas search random, but is one of gnas search toponas",
    "search bayes --resume trainings": "but is one of gnas retrain",
    "search bayes --resume bench": "but is one of an experiment (gnas bench)",
    "retrain --resume bench": "must be a run of gnas retrain, but is one of an experiment",
    "retrain --resume selection": "gnas retrain, but is one of gnas search toponas --select",
    "show bench": "bench is of an experiment, whose pictures are in bench/figures; `gnas report`",
    "show bench/result.json": "must hold an architecture, but is a result of gnas bench search",
    "show weights": "weights must be a run's folder, but has the weights of a network",
    "report weights": "weights must be a run's folder, but has the weights of a network",
    "retrain bench": "bench/result.json must hold an architecture, but is a result of gnas bench",
    "export bench --to python --out x.py": "must hold an architecture, but is a result of gnas be",
    "export trainings --to python --out x.py": "no trainings/model.safetensors; its trainings ha"
    "ve their own (trainings/layers-1/seed-0, trainings/layers-1/seed-1, ...)",
    "evaluate trainings": "its trainings have their own (trainings/layers-1/seed-0, trainings/lay",
    "evaluate selection": "selection/model.safetensors; its trainings have their own (selection/",
    "evaluate supernet": "a search's result is trained by gnas retrain supernet",
    "evaluate bench/result.json": "weights must be a folder or a .safetensors file, but got bench",
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kinds")
    for name, config in CONFIGS.items():
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(json.dumps(config))
    for name, command in RESULTS.items():
        (folder / name / "result.json").write_text(json.dumps({"command": command}))
    for name in (
        *(f"trainings/layers-{k}/seed-{seed}" for k in (1, 2) for seed in (0, 1)),
        "selection/final",
    ):
        (folder / name / "weights").mkdir(parents=True)
        (folder / name / "weights" / "model.safetensors").touch()
    return folder


@pytest.mark.parametrize("command", MESSAGES)
def test_the_kind_of_a_run_is_named(
    command: str, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(runs)
    done = CliRunner().invoke(app, command.split())
    assert done.exit_code == 1 and done.stderr.count("\n") == 1, done.stderr
    assert MESSAGES[command] in done.stderr


def test_an_experiment_without_advice_to_train_it(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(runs)
    done = CliRunner().invoke(app, ["evaluate", "bench"])
    assert done.exit_code == 1 and done.stderr.endswith("no bench/model.safetensors\n")
