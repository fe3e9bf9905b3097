"""Everything that a search needs to go on from where it is, and the files that show it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from safetensors.torch import save
from torch import Tensor

from gnas.data.files import atomic_write
from gnas.search.toponas.bilevel import BilevelOptimizer, StepMetrics
from gnas.training.recording import RunRecord
from gnas.training.state import TrainState, with_prefix

HISTORY = "history.safetensors"


class SearchState(TrainState):
    """Weights and momenta of a search, its generators, counters and history.

    Args:
        bilevel: Supernet, alpha, beta, and their optimisers.
    """

    MEANS: ClassVar[tuple[str, ...]] = ("train_loss", "train_acc", "val_loss", "val_acc")

    def __init__(self, bilevel: BilevelOptimizer) -> None:
        optimizers = {f"adam.{name}": one for name, one in bilevel.arch_optimizers.items()}
        super().__init__(
            {"w": bilevel.supernet, "arch": bilevel.arch},
            {"sgd": bilevel.w_optimizer, **optimizers},
            bilevel.scaler,
            str(bilevel.w[0].device),
            bilevel.context,
        )
        self.bilevel = bilevel
        config = bilevel.config
        self.remedy = (
            f"lower lr ({config.lr}) or arch_lr ({config.arch_lr}), or search in float32 "
            f"({config.precision} now)"
        )
        self.snapshots = [bilevel.arch.snapshot()]
        """alpha, beta and s before the search and after every epoch."""
        self.chosen: int | None = None
        """The epoch, from 1, that is derived where it is not the last one."""

    def add(self, metrics: StepMetrics) -> None:
        """Count one step."""
        train, val = metrics.train, metrics.val
        self.sums += self.sums.new_tensor([train.loss, train.acc, val.loss, val.acc])
        self.step += 1

    def history(self) -> dict[str, Tensor]:
        """The snapshots by name, stacked: [epochs + 1, ...]."""
        names = self.snapshots[0]
        return {name: torch.stack([s[name] for s in self.snapshots]) for name in names}

    def tensors(self) -> dict[str, Tensor]:
        """As `TrainState.tensors`, with states of the generators, and the history."""
        found = super().tensors() | {"rng.cpu": torch.get_rng_state()}
        if self.device.startswith("cuda"):
            found["rng.cuda"] = torch.cuda.get_rng_state(self.device)
        return found | {f"history.{name}": value for name, value in self.history().items()}

    def record(self) -> dict[str, Any]:
        """As `TrainState.record`, with the epoch that is derived."""
        return super().record() | {"chosen": self.chosen}

    def _load(self, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
        super()._load(tensors, record)
        torch.set_rng_state(tensors["rng.cpu"])
        if self.device.startswith("cuda") and "rng.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["rng.cuda"], self.device)
        history = with_prefix(tensors, "history.")
        count = len(next(iter(history.values())))
        self.snapshots = [{k: v[row] for k, v in history.items()} for row in range(count)]
        self.chosen = record["chosen"]


class SearchRecord(RunRecord[SearchState]):
    """As any run's, and ``history.safetensors``.

    That file has alpha, beta and s before the first and after every epoch.

    Examples:
        >>> import pathlib, tempfile
        >>> from gnas.search.toponas import ToponasConfig
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     facts = {"config": ToponasConfig(epochs=2)}
        ...     record = SearchRecord(pathlib.Path(folder) / "run", facts)
        >>> record.resume, record.facts["config"]["epochs"]
        (False, 2)
    """

    def epoch(self, state: SearchState) -> None:
        """Add the epoch that just ended."""
        super().epoch(state)
        with atomic_write(self.folder / HISTORY) as temporary:
            temporary.write_bytes(save(state.history()))
