"""Meaning of the columns of a benchmark table, and provenance of the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from gnas.data.files import sha256_of

QUANTITIES: Mapping[str, str] = {
    "val_acc": "validation accuracy, fraction",
    "test_acc": "test accuracy, fraction",
    "train_acc": "training accuracy, fraction",
    "halfway_val_acc": "validation accuracy after half of the epochs, fraction",
    "halfway_test_acc": "test accuracy after half of the epochs, fraction",
    "halfway_train_acc": "training accuracy after half of the epochs, fraction",
    "val_loss": "validation cross-entropy, nats",
    "test_loss": "test cross-entropy, nats",
    "train_time_s": "training time, seconds",
    "halfway_train_time_s": "training time of half of the epochs, seconds",
    "num_params": "trainable parameters",
    "macs": "multiply-accumulate operations of one image",
    "latency_s": "time of one forward pass, seconds",
}
"""The quantities that readers of this package produce; a table may hold others."""

Kind = Literal["official", "partial", "self-made"]


@dataclass(frozen=True)
class Column:
    """One number per architecture, and exactly which.

    Columns that differ only in ``run`` are repeated trainings of the same architecture.

    Example:
        >>> Column.of("val_acc", dataset="cifar10", epochs=108, run=1).name
        'val_acc_cifar10_108_run1'
    """

    name: str
    """Unique in its table; `Column.of` derives it from the other fields."""
    quantity: str
    """A key of `QUANTITIES`, unit included."""
    dataset: str | None = None
    """The images; "cifar10-valid" is half of CIFAR-10's training set, "cifar10" all of it."""
    epochs: int | None = None
    """Length of the whole training, None where it does not matter."""
    run: int | None = None
    """Number of the repeated training (from 1, or its seed); None for a mean over runs, or for
    what does not depend on a run."""

    @classmethod
    def of(
        cls,
        quantity: str,
        *,
        dataset: str | None = None,
        epochs: int | None = None,
        run: int | None = None,
    ) -> Column:
        """A column named after its meaning, e.g. ``val_acc_cifar10_108_run1``."""
        parts = [quantity, dataset, epochs, None if run is None else f"run{run}"]
        name = "_".join(str(part) for part in parts if part is not None)
        return cls(name, quantity, dataset, epochs, run)

    @property
    def is_accuracy(self) -> bool:
        """Whether the values are accuracies, fractions in [0, 1]."""
        return self.quantity.endswith("_acc")


@dataclass(frozen=True)
class Provenance:
    """Where a table comes from, and what it is not."""

    name: str
    """Short name of the table, e.g. "nasbench101-mini"."""
    space: str
    """Key in `gnas.spaces.SPACES`, or ``FILE.py:NAME`` of a space of a user's own."""
    source: str
    """Who measured the values: a paper, a repository, a command."""
    kind: Kind
    """"official": all published values; "partial": some of them; "self-made": other trainings."""
    note: str = ""
    """Limits that every reader of a result should know: what the table is not."""
    licence: str = ""
    rows: int = 0
    """Number of architectures in the table at hand."""
    path: str = ""
    """The file that the table was read from; empty for a table made in memory."""
    recipe: Mapping[str, Any] | None = field(default=None, hash=False)
    """How self-made values were measured (JSON values only)."""

    @cached_property
    def sha256(self) -> str:
        """Hex sha256 of the file, computed when first asked for; empty without a file.

        Raises:
            DataError: the file has become unreadable.
        """
        return sha256_of(Path(self.path)) if self.path else ""

    def summary(self) -> dict[str, Any]:
        """The facts that every result record states about its table."""
        return {
            "name": self.name,
            "path": self.path,
            "sha256": self.sha256,
            "rows": self.rows,
            "provenance": self.kind,
            "source": self.source,
            "note": self.note,
        }
