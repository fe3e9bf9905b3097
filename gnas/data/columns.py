"""Meaning of the columns of a benchmark table, and provenance of the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from gnas.data.files import sha256_of
from gnas.errors import ConfigError
from gnas.spaces.base import Space
from gnas.spaces.names import is_own_space
from gnas.spaces.registry import (
    READY_MADE,
    SPACES,
    is_recorded_as,
    space_of_record,
    space_record,
    space_text,
)

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

COUNTED = ("macs", "num_params")
"""Quantities that are whole numbers, and counted on a network without a training."""

NOT_NEGATIVE = (*COUNTED, "train_time_s", "halfway_train_time_s", "latency_s")
"""Sizes and times: -1, as others write for a missing one, would be the best of all."""

Kind = Literal["official", "partial", "self-made"]


@dataclass(frozen=True)
class Column:
    """One number per architecture, and exactly which.

    Columns that differ only in ``run`` are repeated trainings of the same architecture.

    Examples:
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
    """Provenance of a benchmark table.

    Examples:
        >>> from gnas.data import load_table
        >>> facts = load_table("nasbench101-mini").provenance
        >>> facts.space, facts.kind, facts.rows
        ('nasbench101', 'self-made', 2000)
    """

    name: str
    """Short name of the table, e.g. "nasbench101-mini"."""
    space: str
    """Key of `gnas.spaces.SPACES` or `gnas.spaces.READY_MADE`, or ``FILE.py:NAME`` of a space of a
    user's own."""
    source: str
    """Source of the values: a paper, a repository or a command."""
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
    """Recipe of self-measured values (JSON values only)."""
    space_args: Mapping[str, Any] | None = field(default=None, hash=False)
    """The arguments of the space (JSON values only), see `gnas.spaces.space_record`; None where
    nobody wrote them down."""

    @classmethod
    def of(cls, space: Space, name: str, **facts: Any) -> Provenance:
        """The provenance of a table of ``space``, whose name and arguments it records.

        Args:
            space: Space of the architectures.
            name: Name of the table.
            facts: The other fields.

        Examples:
            >>> from gnas.spaces import NASGEM
            >>> facts = Provenance.of(NASGEM(8), "mine", source="a draw", kind="self-made")
            >>> facts.known_space().max_nodes
            8
        """
        record = space_record(space)
        return cls(name, record["name"], space_args=record["args"], **facts)

    def known_space(self) -> Space | None:
        """The space of the architectures; None where it is in a file, which is not run.

        Without recorded arguments it has its defaults, and is None where it has none. It is made
        without a function that builds networks: a table has architectures and values only.

        Raises:
            GnasError: there is no such space, or it cannot have these arguments.
        """
        if self.space in READY_MADE and self.space_args is None:
            return None
        if self.space in SPACES or self.space in READY_MADE:
            args = dict(self.space_args or {})
            if isinstance(args.get("build"), str):
                del args["build"]
            return space_of_record({"name": self.space, "args": args})
        if is_own_space(self.space) or "." in self.space:
            return None
        raise ConfigError(
            f"unknown space {self.space!r:.60}; known are {sorted(SPACES)}, and FILE.py:NAME"
        )

    def opened_space(self, given: Space | None = None) -> Space:
        """The space of the architectures, where one is needed.

        Args:
            given: Expected space of the reader; the table's own name and arguments, as far as it
                has them, must be the same.

        Raises:
            ConfigError: it is another space, or one that gnas cannot make and that was not given.
        """
        own = {"name": self.space, "args": self.space_args or {}}
        if given is None:
            if (found := self.known_space()) is not None:
                return found
            raise ConfigError(
                f"table '{self.name}' holds architectures of {space_text(own)}: name that space "
                "with --space (in Python: `space=`); FILE.py:NAME runs the file"
            )
        record = space_record(given)
        if self.space_args is None and record["name"] == self.space:
            return given
        if not is_recorded_as(given, own):
            raise ConfigError(
                f"table '{self.name}' must hold architectures of {space_text(record)}, but holds "
                f"those of {space_text(own)}"
            )
        return given

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
