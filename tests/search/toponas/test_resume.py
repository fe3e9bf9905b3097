from __future__ import annotations

import json
import logging
import random
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gnas.errors import ConfigError, DataError, MissingDataError
from gnas.search.toponas import SearchRecord, ToponasConfig
from gnas.training.checkpoints import Checkpoints
from tests import commands
from tests.conftest import ROOT
from tests.models.plain_supernet import PlainSupernet
from tests.search.toponas.conftest import make_loaders, search, tiny

DATA = {"sha256": "ab", "parts": [1, 2]}


def record(folder: Path, config: ToponasConfig, **options: Any) -> SearchRecord:
    facts = {"config": config, "data": options.pop("data", DATA)}
    return SearchRecord(folder, facts, every_s=0, **options)


def without_time(path: Path) -> list[dict[str, Any]]:
    return [{**json.loads(line), "seconds": 0} for line in path.read_text().splitlines()]


def test_a_killed_search_ends_with_the_bits_of_an_undisturbed_one(tmp_path: Path) -> None:
    """Killed at random and in the worst moments of writing a checkpoint."""
    done = commands.run(
        [sys.executable, "-m", "tests.search.toponas.killed", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    lines = [[int(word) for word in line.split()] for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == [-9] * 6 + [0, 0]
    steps = [line[-1] for line in lines]
    assert steps == sorted(steps) and steps[-3] < 80  # each went on from where the last was
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    tensors, facts = Checkpoints(whole / "checkpoint").load()
    others, _ = Checkpoints(killed / "checkpoint").load()
    assert facts["step"] == 80 and tensors.keys() == others.keys()
    assert {k.split(".")[0] for k in tensors} == {
        "w",
        "arch",
        "sgd",
        "adam",
        "sums",
        "rng",
        "history",
    }
    for name in tensors:
        assert torch.equal(tensors[name], others[name]), name
    assert without_time(whole / "metrics.jsonl") == without_time(killed / "metrics.jsonl")
    history = [folder / "history.safetensors" for folder in (whole, killed)]
    assert history[0].read_bytes() == history[1].read_bytes()
    assert not [path for path in killed.rglob("*") if path.name.endswith(".tmp")]


def test_resuming_in_the_middle_of_an_epoch_in_one_process(tmp_path: Path) -> None:
    config = tiny(epochs=4, batch_size=4)

    class Stop(Exception):
        pass

    def stop(progress: Any) -> None:
        if progress.step == 6:
            raise Stop

    whole = search(config)
    with pytest.raises(Stop):
        search(config, record=record(tmp_path, config), report=stop)
    assert Checkpoints(tmp_path / "checkpoint").load()[1]["step"] == 5  # of 4 an epoch
    result = search(config, record=record(tmp_path, config, resume=True))
    assert all(torch.equal(whole.history[k], result.history[k]) for k in whole.history)
    assert without_time(tmp_path / "metrics.jsonl") == [
        {**epoch, "seconds": 0} for epoch in whole.epochs
    ]
    again = search(config, record=record(tmp_path, config, resume=True))  # nothing left to do
    assert again.genotype == result.genotype and len(again.epochs) == 4


def test_a_resumed_search_draws_from_all_generators_as_an_undisturbed_one(tmp_path: Path) -> None:
    config = tiny(epochs=4, batch_size=4)

    class Drawing(PlainSupernet):
        def forward(self, *inputs: Any) -> Any:
            drawn = torch.rand(()) + random.random() + np.random.rand()  # noqa: NPY002
            return super().forward(*inputs) * drawn

    class Stop(Exception):
        pass

    def stop(progress: Any) -> None:
        if progress.step == 6:
            raise Stop

    whole = search(config, build=Drawing)
    with pytest.raises(Stop):
        search(config, build=Drawing, record=record(tmp_path, config), report=stop)
    result = search(config, build=Drawing, record=record(tmp_path, config, resume=True))
    assert all(torch.equal(whole.history[k], result.history[k]) for k in whole.history)


def test_a_truncated_checkpoint_falls_back_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = tiny(epochs=3)
    whole = search(config, record=record(tmp_path, config))
    folder = tmp_path / "checkpoint"
    steps = Checkpoints(folder).steps()
    assert steps == [5, 6]
    newest = folder / "step-000000006.safetensors"
    newest.write_bytes(newest.read_bytes()[:-100])
    with caplog.at_level(logging.WARNING):
        result = search(config, record=record(tmp_path, config, resume=True))
    assert "step-000000006.safetensors must have its sha256" in caplog.text
    assert "going on from step 5" in caplog.text
    assert all(torch.equal(whole.history[k], result.history[k]) for k in whole.history)

    caplog.clear()
    (folder / "step-000000006.json").write_text('{"step": 6, "sha')
    with caplog.at_level(logging.WARNING):
        assert Checkpoints(folder).load()[1]["step"] == 5
    assert "must be the record of a checkpoint" in caplog.text
    (folder / "step-000000005.safetensors").unlink()
    with pytest.raises(DataError, match=r"must have a whole checkpoint, but: .*6.*; .*5"):
        Checkpoints(folder).load()


def test_only_the_same_search_is_resumed(tmp_path: Path) -> None:
    config = tiny()
    search(config, record=record(tmp_path, config))
    other = replace(config, arch_lr=0.5)
    with pytest.raises(ConfigError, match=r"its config differs: arch_lr was 0.05 and is now 0.5"):
        search(other, record=record(tmp_path, other, resume=True))
    with pytest.raises(ConfigError, match=r"its data differs: sha256 was ab and is now cd"):
        changed = record(tmp_path, config, resume=True, data={**DATA, "sha256": "cd"})
        search(config, record=changed)
    with pytest.raises(ConfigError, match=r"folder of its own, but .* has a checkpoint; go on"):
        record(tmp_path, config)
    with pytest.raises(MissingDataError, match=r"must have a checkpoint, but .*nowhere"):
        search(config, record=record(tmp_path / "nowhere", config, resume=True))


def test_a_checkpoint_of_another_network(tmp_path: Path) -> None:
    config = tiny()
    search(config, record=record(tmp_path, config))
    bigger = tiny(channels=8)
    changed = record(tmp_path, bigger, resume=True)
    changed.facts["config"] = record(tmp_path, config, resume=True).facts["config"]
    with pytest.raises(DataError, match="must fit the network"):
        search(bigger, record=changed)


def test_checkpoints_keep_the_last_two_and_are_not_written_too_often(tmp_path: Path) -> None:
    config = tiny(epochs=5)
    rare = SearchRecord(tmp_path / "rare", {"config": config, "data": DATA}, every_s=3600)
    search(config, record=rare)
    assert Checkpoints(tmp_path / "rare" / "checkpoint").steps() == [0, 10]  # first and last
    checkpoints = Checkpoints(tmp_path / "a")
    for step in range(4):
        facts = {"n": step, "processes": 1, "facts": {}}
        checkpoints.save(step, {"x": torch.full((3,), step)}, facts)
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        f"step-00000000{step}.{kind}" for step in (2, 3) for kind in ("json", "safetensors")
    ]
    tensors, facts = Checkpoints(tmp_path / "a").load()
    assert tensors["x"].tolist() == [3, 3, 3] and facts["n"] == 3


def test_what_can_be_watched(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = tiny(epochs=3)
    result = search(config, record=record(tmp_path, config), loaders=make_loaders(config))
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert {"train_loss", "val_acc", "invalid_mass_normal", "lr"} <= set(events.Tags()["scalars"])
    losses = [event.value for event in events.Scalars("train_loss")]
    assert losses == pytest.approx([epoch["train_loss"] for epoch in result.epochs])
    assert len(without_time(tmp_path / "metrics.jsonl")) == 3
