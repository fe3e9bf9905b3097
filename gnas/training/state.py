"""Everything that a training needs to go on from where it is."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from gnas.errors import DataError, GnasError
from gnas.training.distributed import SINGLE_PROCESS, DistributedContext
from gnas.training.step import parameters_of


class TrainState:
    """Weights, optimisers, counters and metrics of a training that can be resumed.

    The order of the data is no part of it: that is a function of the step's number. Subclasses
    add what else they need to `tensors`, `record` and `_load`.

    Args:
        modules: Networks by the name that their tensors have in a checkpoint.
        optimizers: Optimisers by name.
        scaler: Scaler of the loss.
        device: Torch device of the sums.
        context: This process among all that train together.
    """

    MEANS: ClassVar[tuple[str, ...]] = ("train_loss", "train_acc")
    """Metrics that are means over the steps of an epoch."""

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        optimizers: Mapping[str, Optimizer],
        scaler: GradScaler,
        device: str,
        context: DistributedContext = SINGLE_PROCESS,
    ) -> None:
        self._modules, self._optimizers = modules, optimizers
        self.scaler, self.device, self.context = scaler, device, context
        self.step = 0
        """Steps done in all; with the steps of an epoch it gives epoch and position in it."""
        self.sums = torch.zeros(len(self.MEANS), dtype=torch.float64, device=device)
        """Sums of `MEANS` over the steps of the current epoch."""
        self.epochs: list[dict[str, Any]] = []
        """Metrics of every epoch that ended."""
        self.remedy = "lower the learning rate"
        """Advice for a loss that is not finite."""
        self.stopped: str | None = None
        """Reason for which the training ended before its last epoch."""
        self._before, self._start = 0.0, time.monotonic()

    @property
    def processes(self) -> int:
        """Number of processes that train together."""
        return self.context.size

    @property
    def seconds(self) -> float:
        """Training time in seconds, without work that was lost to crashes."""
        return self._before + time.monotonic() - self._start

    def check_finite(self) -> None:
        """Check the losses since the epoch began; on a GPU this waits for it.

        Raises:
            GnasError: one was not finite.
        """
        if not bool(self.sums.isfinite().all()):
            raise GnasError(
                f"losses must be finite, but up to step {self.step} one is not; {self.remedy}"
            )

    def take_means(self, steps: int) -> dict[str, float]:
        """Means over the ``steps`` steps of an epoch and all processes; starts the next epoch."""
        (sums,) = self.context.average([self.sums])
        self.sums = torch.zeros_like(self.sums)
        return dict(zip(self.MEANS, (sums / steps).tolist(), strict=True))

    def tensors(self) -> dict[str, Tensor]:
        """Weights, states of the optimisers, and sums: copies by name."""
        found = {"sums": self.sums}
        for name, module in self._modules.items():
            found |= {f"{name}.{key}": value for key, value in module.state_dict().items()}
        for name, optimizer in self._optimizers.items():
            for k, parameter in enumerate(parameters_of(optimizer)):
                for key, value in optimizer.state[parameter].items():
                    if isinstance(value, Tensor):
                        found[f"{name}.{k}.{key}"] = value
        return {name: tensor.clone() for name, tensor in found.items()}

    def record(self) -> dict[str, Any]:
        """Counters and metrics, as JSON has them."""
        return {
            "epochs": self.epochs,
            "stopped": self.stopped,
            "seconds": self.seconds,
            "scaler": self.scaler.state_dict(),
            "processes": self.processes,
        }

    def load(self, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
        """Take everything from a checkpoint.

        Raises:
            DataError: the checkpoint is of another network.
        """
        try:
            self._load(tensors, record)
        except (KeyError, RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise DataError(f"a checkpoint must fit the network, but: {reason}") from error

    def _load(self, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
        for name, module in self._modules.items():
            module.load_state_dict(with_prefix(tensors, f"{name}."))
        for name, optimizer in self._optimizers.items():
            for k, parameter in enumerate(parameters_of(optimizer)):
                optimizer.state[parameter] = {
                    # in the memory format of the parameter, but for Adam's counter
                    key: value if key == "step" else torch.empty_like(parameter).copy_(value)
                    for key, value in with_prefix(tensors, f"{name}.{k}.").items()
                }
        self.sums.copy_(tensors["sums"])
        self.step, self.epochs = record["step"], list(record["epochs"])
        self.stopped = record["stopped"]
        self.scaler.load_state_dict(record["scaler"])
        self._before, self._start = record["seconds"], time.monotonic()


def with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Tensors whose names begin with ``prefix``, by the rest of the name."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
