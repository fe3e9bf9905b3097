"""Hostile run folders and checkpoints: refused by a `GnasError` of one line, or harmless."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from gnas.errors import DataError
from gnas.jsonl import JsonlLog
from gnas.loggers import RunLog
from gnas.models import NetworkMetadata, load_network, save_network
from gnas.retrain.plan import plan_retrain
from gnas.retrain.plan import planned as planned_retrain
from gnas.retrain.run import _asked, _finished
from gnas.runs import to_jsonable, write_config
from gnas.search.evaluation_log import EvaluationLog
from gnas.search.nasgem.plan import planned as planned_nasgem
from gnas.search.nasgem.trace import read_trace as read_nasgem
from gnas.search.toponas.arch import ArchParameters
from gnas.search.toponas.config import ToponasConfig
from gnas.search.toponas.plan import planned as planned_toponas
from gnas.search.toponas.state import HISTORY
from gnas.search.toponas.trace import read_trace as read_toponas
from gnas.spaces import space_of_text
from gnas.training.checkpoints import Checkpoints
from gnas.training.recording import RunRecord
from gnas.training.state import TrainState
from gnas.training.step import loss_scaler, optimizer_step
from tests.hostile.mutations import ROUNDS, VALUES, command, dumped, flipped, mutated, refused
from tests.hostile.test_files import GENOTYPE

SPACE = space_of_text(GENOTYPE)
PLANS = {
    "toponas": (
        {"command": "search toponas", "search": to_jsonable(ToponasConfig(num_nodes=4)),
         "images": {"dataset": "digits"}},
        planned_toponas,
    ),
    "retrain": (to_jsonable(_asked(plan_retrain(SPACE, GENOTYPE, "digits"))), planned_retrain),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANS)
def test_configs_of_runs(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    """As they are read to resume, show or evaluate a run."""
    config, planned = PLANS[name]
    write_config(tmp_path, config)
    assert not refused(lambda: planned(tmp_path))
    count = 0
    for _ in range(120 * ROUNDS):
        changed = dumped(mutated({"config": config}, rng))
        (tmp_path / "config.json").write_text(changed)
        count += refused(lambda: planned(tmp_path))
    assert count > 30 * ROUNDS


def test_configs_of_something_else(tmp_path: Path) -> None:
    for value in VALUES:
        for content in (value, {"config": value}, {"config": {"command": value}}):
            (tmp_path / "config.json").write_text(dumped(content))
            for planned in (planned_toponas, planned_retrain, planned_nasgem):
                assert refused(lambda planned=planned: planned(tmp_path))  # type: ignore[misc]


def test_commands_on_folders_of_something_else(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for k, value in enumerate(VALUES[::11]):
        folder = tmp_path / f"run{k}"
        folder.mkdir()
        for name in ("config.json", "result.json"):
            (folder / name).write_text(dumped({"config": value, "architecture": value}))
        (folder / "metrics.jsonl").write_text(dumped(value) + "\n")
        assert command("show", folder, "--out", out) == 1
        assert command("export", folder, "--to", "python", "--out", tmp_path / "x.py") in (1, 2)
        assert command("evaluate", folder) == 1
        assert command("retrain", "--resume", folder) == 1
        assert command("search", "toponas", "--resume", folder) == 1
    assert not out.exists()


def test_metrics_of_a_search(tmp_path: Path, rng: np.random.Generator) -> None:
    write_config(tmp_path, PLANS["toponas"][0])
    variables = ArchParameters(ToponasConfig(num_nodes=4), torch.Generator()).snapshot()
    history = {name: torch.stack([value, value]) for name, value in variables.items()}
    save_file(history, tmp_path / HISTORY)
    epoch = {"epoch": 1, "genotype": GENOTYPE, "train_loss": 1.5}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(epoch) + "\n")
    assert not refused(lambda: read_toponas(tmp_path))
    for value in VALUES:
        for content in (value, {**epoch, "genotype": value}):
            (tmp_path / "metrics.jsonl").write_text(dumped(content) + "\n")
            assert refused(lambda: read_toponas(tmp_path))
    (tmp_path / "metrics.jsonl").write_text(json.dumps(epoch) + "\n")
    whole = (tmp_path / HISTORY).read_bytes()
    for _ in range(40 * ROUNDS):
        (tmp_path / HISTORY).write_bytes(flipped(whole, rng))
        refused(lambda: read_toponas(tmp_path))


def test_results_of_a_nasgem_search(tmp_path: Path) -> None:
    for value in VALUES:
        (tmp_path / "config.json").write_text(dumped({"config": value}))
        (tmp_path / "result.json").write_text(dumped({"architecture": value, "surface": value}))
        (tmp_path / "metrics.jsonl").write_text(dumped(value))
        assert refused(lambda: read_nasgem(tmp_path))


def test_results_of_trainings(tmp_path: Path, rng: np.random.Generator) -> None:
    plan = plan_retrain(SPACE, GENOTYPE, "digits")
    result = {
        "config": to_jsonable(_asked(plan)), "data": {"dataset": "digits"}, "params": 1, "macs": 2,
        "metrics": {"test_acc": 0.5},
    }  # fmt: skip
    path = tmp_path / "result.json"
    path.write_text(json.dumps(result))
    assert not refused(lambda: _finished(tmp_path, plan, result["data"]))
    for _ in range(60 * ROUNDS):
        path.write_text(dumped(mutated(result, rng)))
        refused(lambda: _finished(tmp_path, plan, result["data"]))


class State(TrainState):
    """A state after three steps."""

    def __init__(self) -> None:
        network = nn.Linear(2, 1)
        optimizer = torch.optim.Adam(network.parameters())
        super().__init__({"w": network}, {"adam": optimizer}, loss_scaler("cpu", "float32"), "cpu")
        for self.step in (1, 2, 3):
            torch.autograd.backward(network(torch.ones(2)).sum())
            optimizer_step(optimizer)
        self.epochs.append({"epoch": 1})


def test_checkpoints(tmp_path: Path, rng: np.random.Generator) -> None:
    facts = {"config": {"lr": 0.1}, "data": None}
    record_of_run: RunRecord[State] = RunRecord(tmp_path, facts)
    record_of_run.save(State())
    (path,) = (tmp_path / "checkpoint").glob("*.json")
    record = json.loads(path.read_text())

    def restored() -> None:
        resumed: RunRecord[State] = RunRecord(tmp_path, facts, resume=True)
        resumed.restore(State())

    assert not refused(restored)
    for key in record:
        path.write_text(json.dumps({k: v for k, v in record.items() if k != key}))
        assert refused(restored), key
        for value in VALUES:
            path.write_text(dumped({**record, key: value}))
            refused(restored)
    count = 0
    for _ in range(60 * ROUNDS):
        path.write_text(dumped(mutated(record, rng)))
        count += refused(restored)
    assert count > 20 * ROUNDS


def test_a_checkpoint_without_processes(tmp_path: Path) -> None:
    run: RunRecord[State] = RunRecord(tmp_path, {})
    run.checkpoints.save(2, {"w": torch.zeros(1)}, {"facts": {}})
    resumed: RunRecord[State] = RunRecord(tmp_path, {}, resume=True)
    with pytest.raises(DataError, match="the record of a checkpoint, but: 'processes' is"):
        resumed.restore(State())


def test_line_logs(tmp_path: Path, rng: np.random.Generator) -> None:
    path, facts = tmp_path / "log.jsonl", {"space": "x", "budget": 3}

    def opened() -> None:
        JsonlLog(path, facts, what="searches", read=lambda record: int(record["seed"]))

    count = 0
    for _ in range(40 * ROUNDS):
        lines = [dumped(mutated(line, rng)) for line in (facts, {"seed": 1}, {"seed": 2})]
        path.write_text("\n".join(lines) + "\n")
        count += refused(opened)
    assert count > 20 * ROUNDS


def test_saved_networks(tmp_path: Path, rng: np.random.Generator) -> None:
    graph = SPACE.from_str(GENOTYPE)
    config = SPACE.network_config(num_cells=2, channels=2)
    facts = NetworkMetadata(space=SPACE, architecture=GENOTYPE, config=config, image_size=8)
    save_network(tmp_path, SPACE.network(graph, config), facts)
    path = tmp_path / "config.json"
    record = json.loads(path.read_text())
    assert not refused(lambda: load_network(tmp_path))
    count = 0
    for _ in range(60 * ROUNDS):
        path.write_text(dumped(mutated(record, rng)))
        count += refused(lambda: load_network(tmp_path))
    assert count > 20 * ROUNDS
    for key in record["network"]:
        for value in VALUES:
            path.write_text(dumped({**record, "network": {**record["network"], key: value}}))
            refused(lambda: load_network(tmp_path))


def test_files_of_others_stay_beside_checkpoints(tmp_path: Path) -> None:
    own = {tmp_path / name for name in ("step-1.txt", "best-step-5.json", "notes")}
    for path in own:
        path.write_text("x")
    (tmp_path / "step-7.json").mkdir()
    checkpoints = Checkpoints(tmp_path)
    for step in range(3):
        checkpoints.save(step, {"w": torch.zeros(1)}, {})
    assert own <= {*tmp_path.iterdir()} and (tmp_path / "step-7.json").is_dir()
    assert len([*tmp_path.glob("step-00*")]) == 4  # two checkpoints of two files


def test_pipes_in_runs_are_refused_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    os.mkfifo(path)
    with pytest.raises(DataError, match="it is a device or a pipe"):
        JsonlLog(path, {}, what="searches", read=int)
    run: RunRecord[State] = RunRecord(tmp_path, {})
    with pytest.raises(DataError, match="must be a file to write, but: it is a pipe"):
        run.start(State())
    assert path.is_fifo() and not (tmp_path / ".lock").exists()
    with pytest.raises(DataError, match="it is a device or a pipe"):
        EvaluationLog(path, RunLog(None, ()), 0.0, events=False).begin((), resume=True)
