"""Training of a network from new weights: its step, and everything it needs to be resumed."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from gnas.data.images.loading import Batch
from gnas.retrain.config import RetrainConfig
from gnas.spaces.toponas.network import DartsNetwork
from gnas.training.batching import micro_batches
from gnas.training.devices import gpus_of, seed_generators, step_seed
from gnas.training.distributed import SINGLE_PROCESS, DistributedContext
from gnas.training.state import TrainState, with_prefix
from gnas.training.step import (
    autocast,
    loss_scaler,
    momentum_sgd,
    optimizer_step,
    parameters_of,
)


class RetrainState(TrainState):
    """A network, its optimiser, counters and metrics.

    No random generator is part of it: what is random is a function of the step's number.

    Args:
        network: Network with its first weights, on ``device``.
        config: The configuration.
        device: Torch device.
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
        self.network, self.config = network, config
        self.optimizer = momentum_sgd(
            network,
            lr=config.lr,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
        )
        self.parameters = parameters_of(self.optimizer)
        scaler = loss_scaler(device, config.precision)
        super().__init__({"w": network}, {"sgd": self.optimizer}, scaler, device, context)
        self.remedy = f"lower lr ({config.lr}), or train in float32 ({config.precision} now)"
        if config.compile:
            network.compile()
        self.wrapped: nn.Module = network
        if context.size > 1:
            ids = [torch.device(device)] if device.startswith("cuda") else None
            # operations of a cell may lead nowhere
            self.wrapped = DistributedDataParallel(
                network, device_ids=ids, find_unused_parameters=True
            )
        self.raised_after: list[int] = []
        """Epochs that were asked for before they were raised."""
        self.best: dict[str, Tensor] = {}
        """State of the network after the best epoch, if there are images to choose it by."""

    def learn(self, batch: Batch, epoch: int) -> None:
        """Take one step on this process's share of a batch.

        Args:
            batch: Images [B, C, H, W] and labels [B].
            epoch: Number of the epoch, from 0.

        Raises:
            ConfigError: the share is no multiple of ``accumulate``.
        """
        config = self.config
        pieces = micro_batches(batch, config.accumulate)
        self.optimizer.param_groups[0]["lr"] = config.lr_at(epoch)
        self.network.train()
        if isinstance(self.network, DartsNetwork):
            self.network.drop_path_prob = config.drop_path_at(epoch)
        seed = step_seed(config.seed, self.step, self.context.rank)
        seed_generators(seed, gpus_of(self.device))
        for k, (x, y) in enumerate(pieces, start=1):
            last = k == len(pieces)  # only then gradients are exchanged
            ddp = self.wrapped if isinstance(self.wrapped, DistributedDataParallel) else None
            with nullcontext() if ddp is None or last else ddp.no_sync():
                loss, acc = self._loss(x, y)
                torch.autograd.backward(self.scaler.scale(loss / len(pieces)))
            self.sums += torch.stack([loss.detach().double(), acc]) / len(pieces)
        optimizer_step(self.optimizer, scaler=self.scaler, clip_norm=config.gradient_clip)
        self.step += 1

    def _loss(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Training loss and accuracy, both scalars."""
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

    def keep_best(self) -> None:
        """Remember the current weights."""
        self.best = {k: v.detach().cpu().clone() for k, v in self.network.state_dict().items()}

    def tensors(self) -> dict[str, Tensor]:
        """As `TrainState.tensors`, with the best weights."""
        return super().tensors() | {f"best.{k}": v for k, v in self.best.items()}

    def record(self) -> dict[str, Any]:
        """As `TrainState.record`, with the epochs asked for before."""
        return super().record() | {"raised_after": self.raised_after}

    def _load(self, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
        super()._load(tensors, record)
        self.best = with_prefix(tensors, "best.")
        self.raised_after = list(record["raised_after"])
        before = record["facts"]["config"]["epochs"]
        if before < self.config.epochs:
            self.raised_after.append(before)
