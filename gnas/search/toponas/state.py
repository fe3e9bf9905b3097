"""Everything that a search would need to go on from where it is."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gnas.errors import DataError
from gnas.search.toponas.updates import StepResult, Updater

_SUMS = ("train_loss", "train_acc", "val_loss", "val_acc")


class SearchState:
    """Counters, what was measured, and by way of the updater all weights and momenta.

    The order of the data is no part of it: that is a function of the step's number.
    """

    def __init__(self, updater: Updater) -> None:
        self.updater = updater
        self.step = 0
        """Steps done in all; with the steps of an epoch it gives epoch and position in it."""
        self.sums = dict.fromkeys(_SUMS, 0.0)
        """Of the epoch that runs."""
        self.epochs: list[dict[str, Any]] = []
        """Metrics of every epoch that ended."""
        self.snapshots = [updater.arch.snapshot()]
        """alpha, beta and s before the search and after every epoch."""
        self.stopped: str | None = None
        """Why the search ended before its last epoch."""
        self.chosen: int | None = None
        """The epoch, from 1, that is derived where it is not the last one."""
        self._before, self._start = 0.0, time.monotonic()

    @property
    def processes(self) -> int:
        """Processes that search together."""
        return self.updater.context.size

    @property
    def seconds(self) -> float:
        """Time spent on the steps so far, without what a killed process did in vain."""
        return self._before + time.monotonic() - self._start

    def add(self, result: StepResult) -> None:
        """Counts one step."""
        shown = (result.train.loss, result.train.acc, result.val.loss, result.val.acc)
        for name, value in zip(_SUMS, shown, strict=True):
            self.sums[name] += value
        self.step += 1

    def take_means(self, steps: int) -> dict[str, float]:
        """Means over the epoch that ended, of ``steps`` steps; the next one starts from 0."""
        means = {name: total / steps for name, total in self.sums.items()}
        self.sums = dict.fromkeys(_SUMS, 0.0)
        return means

    def history(self) -> dict[str, Tensor]:
        """The snapshots by name, stacked: [epochs + 1, ...]."""
        names = self.snapshots[0]
        return {name: torch.stack([s[name] for s in self.snapshots]) for name in names}

    def tensors(self) -> dict[str, Tensor]:
        """Weights, architecture variables, optimiser and generator states, and the history."""
        found = {f"w.{k}": v for k, v in self.updater.supernet.state_dict().items()}
        found |= {f"arch.{k}": v for k, v in self.updater.arch.state_dict().items()}
        for name, optimizer in self._optimizers().items():
            for k, parameter in enumerate(optimizer.param_groups[0]["params"]):
                for key, value in optimizer.state[parameter].items():
                    if isinstance(value, Tensor):
                        found[f"{name}.{k}.{key}"] = value
        found["rng.cpu"] = torch.get_rng_state()
        if (device := self._device()).type == "cuda":
            found["rng.cuda"] = torch.cuda.get_rng_state(device)
        return found | {f"history.{name}": value for name, value in self.history().items()}

    def record(self) -> dict[str, Any]:
        """The rest, as JSON has it."""
        return {
            "sums": self.sums,
            "epochs": self.epochs,
            "stopped": self.stopped,
            "chosen": self.chosen,
            "seconds": self.seconds,
            "loss_scale": self.updater.loss_scale,
            "good_steps": self.updater.good_steps,
            "processes": self.processes,
        }

    def load(self, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
        """Takes everything from a checkpoint.

        Raises:
            DataError: the checkpoint is of another network.
        """
        try:
            self._load(tensors, record)
        except (KeyError, RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise DataError(
                f"a checkpoint must fit the search's network, but: {reason}"
            ) from error

    def _load(self, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
        self.updater.supernet.load_state_dict(_part(tensors, "w."))
        self.updater.arch.load_state_dict(_part(tensors, "arch."))
        for name, optimizer in self._optimizers().items():
            for k, parameter in enumerate(optimizer.param_groups[0]["params"]):
                found = _part(tensors, f"{name}.{k}.")
                optimizer.state[parameter] = {
                    key: value if key == "step" else torch.empty_like(parameter).copy_(value)
                    for key, value in found.items()
                }
        torch.set_rng_state(tensors["rng.cpu"])
        if (device := self._device()).type == "cuda" and "rng.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["rng.cuda"], device)
        history = _part(tensors, "history.")
        count = len(next(iter(history.values())))
        self.snapshots = [{k: v[row] for k, v in history.items()} for row in range(count)]
        self.step, self.sums = record["step"], dict(record["sums"])
        self.epochs, self.stopped = list(record["epochs"]), record["stopped"]
        self.chosen = record["chosen"]
        self.updater.loss_scale = record["loss_scale"]
        self.updater.good_steps = record["good_steps"]
        self._before, self._start = record["seconds"], time.monotonic()

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"sgd": self.updater.w_optimizer} | {
            f"adam.{name}": optimizer for name, optimizer in self.updater.arch_optimizers.items()
        }

    def _device(self) -> torch.device:
        return self.updater.w[0].device


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
