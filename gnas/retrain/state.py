"""A training under way: the step, and everything it would need to go on from where it is."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from gnas.data.batches import Batch
from gnas.errors import ConfigError, DataError, GnasError
from gnas.retrain.config import RetrainConfig
from gnas.retrain.measuring import autocast
from gnas.spaces.toponas.network import DartsNetwork
from gnas.training.distributed import SINGLE_PROCESS, DistributedContext


class Training:
    """A network, its optimiser, counters and what was measured.

    Neither the order of the data nor a random generator is part of it: both are functions of
    the step's number.

    Args:
        network: On ``device``, with its first weights.
        config: How to train.
        device: Where.
        context: This process among all that train together.
    """

    def __init__(
        self,
        network: nn.Module,
        config: RetrainConfig,
        device: str,
        context: DistributedContext = SINGLE_PROCESS,
    ) -> None:
        if config.channels_last:
            network = network.to(memory_format=torch.channels_last)
        self.network, self.config, self.device, self.context = network, config, device, context
        self.parameters = [p for p in network.parameters() if p.dim() > 0]  # no place-holders
        self.optimizer = torch.optim.SGD(
            self.parameters,
            lr=config.lr,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            fused=True,
        )
        self.scaler = torch.amp.GradScaler(
            device.split(":")[0], enabled=config.precision == "float16"
        )
        if config.compile:
            network.compile()
        self.wrapped: nn.Module = network
        if context.size > 1:
            ids = [torch.device(device)] if device.startswith("cuda") else None
            self.wrapped = DistributedDataParallel(network, device_ids=ids)
        self.step = 0
        """Steps done in all."""
        self.sums = torch.zeros(2, dtype=torch.float64, device=device)
        """Of the epoch that runs, of this process: losses and shares of images classified well."""
        self.epochs: list[dict[str, Any]] = []
        """Metrics of every epoch that ended."""
        self.raised_after: list[int] = []
        """Epochs that were asked for before they were raised."""
        self.best: dict[str, Tensor] = {}
        """State of the network after the best epoch, if there are images to choose it by."""
        self._before, self._start = 0.0, time.monotonic()

    @property
    def processes(self) -> int:
        """Processes that train together."""
        return self.context.size

    @property
    def seconds(self) -> float:
        """Time spent so far, without what a killed process did in vain."""
        return self._before + time.monotonic() - self._start

    def learn(self, batch: Batch, epoch: int) -> None:
        """One step on this process's share of a batch.

        Raises:
            ConfigError: the share is no multiple of ``accumulate``.
        """
        config = self.config
        if len(batch[1]) % config.accumulate:
            raise ConfigError(
                f"each process's share of a batch must be a multiple of accumulate, but got "
                f"{len(batch[1])} images and accumulate={config.accumulate}"
            )
        self.optimizer.param_groups[0]["lr"] = config.lr_at(epoch)
        self.network.train()
        if isinstance(self.network, DartsNetwork):
            self.network.drop_path_prob = config.drop_path_at(epoch)
        torch.manual_seed(_seed(config.seed, self.step, self.context.rank))
        size = len(batch[1]) // config.accumulate
        pieces = list(zip(*(torch.split(part, size) for part in batch), strict=True))
        for k, (x, y) in enumerate(pieces, start=1):
            last = k == len(pieces)
            ddp = self.wrapped if isinstance(self.wrapped, DistributedDataParallel) else None
            with nullcontext() if ddp is None or last else ddp.no_sync():
                loss, acc = self._loss(x, y)
                self.scaler.scale(loss / len(pieces)).backward()  # type: ignore[no-untyped-call]
            self.sums += torch.stack([loss.detach().double(), acc]) / len(pieces)
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.parameters, config.gradient_clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1

    def _loss(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """What is descended on, and the accuracy, both scalars."""
        smoothing = self.config.label_smoothing
        if self.config.channels_last:
            x = x.to(memory_format=torch.channels_last)
        with autocast(self.device, self.config.precision):
            out = self.wrapped(x)
            logits, second = out if isinstance(out, tuple) else (out, None)
            loss = nn.functional.cross_entropy(logits, y, label_smoothing=smoothing)
            if second is not None:
                more = nn.functional.cross_entropy(second, y, label_smoothing=smoothing)
                loss = loss + self.config.auxiliary_weight * more
        return loss, (logits.detach().argmax(1) == y).double().mean()

    def check_finite(self) -> None:
        """Checks the losses since the epoch began; on a GPU this waits for it.

        Raises:
            GnasError: one was not finite.
        """
        if not bool(self.sums.isfinite().all()):
            raise GnasError(
                f"losses must be finite, but up to step {self.step} one is not; lower lr "
                f"({self.config.lr}), or train in float32 ({self.config.precision} now)"
            )

    def take_means(self, steps: int) -> dict[str, float]:
        """Means over the epoch that ended and all processes; the next one starts from 0."""
        (mean,) = self.context.average([self.sums])
        loss, acc = (mean / steps).tolist()
        self.sums = torch.zeros_like(self.sums)
        return {"train_loss": loss, "train_acc": acc}

    def keep_best(self) -> None:
        """Remembers the weights of this moment."""
        self.best = {k: v.detach().cpu().clone() for k, v in self.network.state_dict().items()}

    def tensors(self) -> dict[str, Tensor]:
        """Weights now and at their best, momenta, sums."""
        found = {f"w.{k}": v for k, v in self.network.state_dict().items()}
        found |= {f"best.{k}": v for k, v in self.best.items()}
        for k, parameter in enumerate(self.parameters):
            momentum = self.optimizer.state[parameter].get("momentum_buffer")
            if momentum is not None:
                found[f"sgd.{k}"] = momentum
        return {name: tensor.clone() for name, tensor in found.items()} | {"sums": self.sums}

    def record(self) -> dict[str, Any]:
        """The rest, as JSON has it."""
        return {
            "epochs": self.epochs,
            "raised_after": self.raised_after,
            "seconds": self.seconds,
            "scaler": self.scaler.state_dict(),
            "processes": self.processes,
        }

    def load(self, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
        """Takes everything from a checkpoint.

        Raises:
            DataError: the checkpoint is of another network.
        """
        try:
            self.network.load_state_dict(_part(tensors, "w."))
            for k, parameter in enumerate(self.parameters):
                if f"sgd.{k}" in tensors:
                    momentum = torch.empty_like(parameter).copy_(tensors[f"sgd.{k}"])
                    self.optimizer.state[parameter] = {"momentum_buffer": momentum}
            self.sums.copy_(tensors["sums"])
            self.step, self.epochs = record["step"], list(record["epochs"])
            self.scaler.load_state_dict(record["scaler"])
            self.raised_after = list(record.get("raised_after", []))
            before = record["facts"]["config"]["epochs"]
            if before < self.config.epochs:
                self.raised_after.append(before)
            self._before, self._start = record["seconds"], time.monotonic()
        except (KeyError, RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise DataError(f"a checkpoint must fit the network, but: {reason}") from error
        self.best = _part(tensors, "best.")


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _seed(seed: int, step: int, rank: int) -> int:
    """Of what is random within a step: the paths that are dropped."""
    mixed = np.random.SeedSequence([seed, step, rank])
    return int(mixed.generate_state(1, np.uint64)[0] >> 1)
