"""A table of architectures and their measured values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from gnas.data.columns import NOT_NEGATIVE, Column, Provenance
from gnas.errors import ConfigError, DataError, GraphError, MissingDataError
from gnas.geometric import Data
from gnas.graphs import DenseBatch, graph_hash
from gnas.graphs.architecture import check_single, to_adjacency
from gnas.metrics import as_scores

Floats = NDArray[np.float64]
ColumnReader = Callable[[str], NDArray[Any]]
"""Returns the raw values of the column of this name, [N]."""


class BenchmarkTable:
    """N architectures with columns of one clear meaning each.

    Columns are read when first asked for and kept. Accuracies are fractions.

    Args:
        graphs: The architectures.
        columns: Metadata of each column.
        provenance: Provenance of the table.
        values: The values of every column by name [N], or a function that reads one column.
        digests: `graph_hash` of every architecture as 16 bytes, uint8 [N, 16]; None computes
            them when first needed.

    Raises:
        DataError: two columns share a name, or one has no values or another number than N.
        ConfigError: values are no numbers.

    Examples:
        >>> from gnas.data import load_table
        >>> table = load_table("nasbench101-mini")
        >>> table.val_acc().shape
        (2000,)
        >>> sorted({column.quantity for column in table.columns})[:2]
        ['macs', 'num_params']
    """

    def __init__(
        self,
        graphs: DenseBatch,
        columns: Sequence[Column],
        provenance: Provenance,
        values: Mapping[str, ArrayLike] | ColumnReader,
        *,
        digests: NDArray[np.uint8] | None = None,
    ) -> None:
        self.graphs = graphs
        self.columns = tuple(columns)
        self.provenance = replace(provenance, rows=len(graphs))
        self._by_name = {column.name: column for column in self.columns}
        if len(self._by_name) != len(self.columns):
            names = [column.name for column in self.columns]
            raise DataError(f"every column must have its own name, but got {sorted(names)}")
        self._cache: dict[str, Floats] = {}
        self._digests = digests
        if callable(values):
            self._read = values
        else:
            arrays = {}
            for name in self._by_name:
                if name not in values:
                    raise DataError(f"every column must have values, but '{name}' has none")
                arrays[name] = as_scores(values[name], f"the values of column '{name}'")
                self._check_length(name, arrays[name])
            self._read = arrays.__getitem__

    def __len__(self) -> int:
        return len(self.graphs)

    def __getitem__(self, i: int) -> Data:
        """Architecture ``i``."""
        if not -len(self) <= i < len(self):
            raise IndexError(f"row must be in [0, {len(self)}), but got {i}")
        return self.graphs.data(i % len(self))

    def __repr__(self) -> str:
        facts = self.provenance
        return f"BenchmarkTable({facts.name!r}, {facts.kind}, {len(self)} x {len(self.columns)})"

    @property
    def digests(self) -> NDArray[np.uint8]:
        """`graph_hash` of every architecture as 16 bytes: uint8 [N, 16]."""
        if self._digests is None:
            self._digests = digests_of(self.graphs)
        return self._digests

    @cached_property
    def hashes(self) -> list[str]:
        """`graph_hash` of every architecture."""
        text = self.digests.tobytes().hex()
        return [text[k : k + 32] for k in range(0, len(text), 32)]

    def values(self, name: str) -> Floats:
        """The values of a column, float64 [N], NaN where one is missing.

        Raises:
            ConfigError: the table has no such column.
            DataError: a value is infinite, or an accuracy is not a fraction.
        """
        if name not in self._cache:
            values: Floats = np.array(self.raw(name), dtype=np.float64)
            values.flags.writeable = False
            self._cache[name] = values
        return self._cache[name]

    def raw(self, name: str) -> NDArray[Any]:
        """`values` as they are stored, not kept in memory: for writers of whole tables."""
        if name not in self._by_name:
            raise ConfigError(f"unknown column '{name}'; choose from {sorted(self._by_name)}")
        raw = np.asarray(self._read(name))
        self._check_length(name, raw)
        try:
            check_values(self._by_name[name], raw)
        except DataError as error:
            raise DataError(f"{self.provenance.path or self.provenance.name}: {error}") from None
        return raw

    def select(
        self, quantity: str, *, dataset: str | None = None, epochs: int | None = None
    ) -> list[Column]:
        """The columns of one quantity under one protocol: its runs, or their mean.

        Args:
            quantity: See `Column.quantity`.
            dataset: Needed where the table has several; empty for columns that name none.
            epochs: The longest training by default.

        Raises:
            ConfigError: nothing fits, or several datasets do; lists the choices.
            DataError: two columns have one meaning.
        """
        found = [column for column in self.columns if column.quantity == quantity]
        if not found:
            choices = sorted({column.quantity for column in self.columns})
            raise ConfigError(f"the table has no '{quantity}'; choose from {choices}")
        datasets = sorted({column.dataset or "" for column in found})
        if dataset is None and len(datasets) > 1:
            raise ConfigError(f"dataset must be chosen for '{quantity}': one of {datasets}")
        if dataset is not None:
            found = [column for column in found if (column.dataset or "") == dataset]
            if not found and datasets == [""]:
                raise ConfigError(
                    f"columns of '{quantity}' name no images to choose from, but got dataset "
                    f"'{dataset}'; leave it out"
                )
            if not found:
                raise ConfigError(f"no '{quantity}' on '{dataset}'; choose from {datasets}")
        budgets = sorted({column.epochs or 0 for column in found})
        chosen = budgets[-1] if epochs is None else epochs
        if chosen not in budgets:
            raise ConfigError(f"no '{quantity}' at {epochs=}; choose from {budgets}")
        by_run: dict[int | None, Column] = {}
        for column in found:
            if (column.epochs or 0) == chosen and column != by_run.setdefault(column.run, column):
                raise DataError(
                    f"columns '{by_run[column.run].name}' and '{column.name}' must differ in "
                    "quantity, dataset, epochs or run, but do not: leave one of them out"
                )
        return [*by_run.values()]

    def runs(
        self, quantity: str, *, dataset: str | None = None, epochs: int | None = None
    ) -> Floats:
        """Every run of a quantity, float64 [N, R], NaN where an architecture has fewer runs.

        Args:
            quantity: Quantity of the columns, for example "val_acc".
            dataset: Images of the columns; None if the table has one data set.
            epochs: Epochs of the trainings; None takes the longest.

        Raises:
            ConfigError: as for `select`, or there is only a mean over runs.
        """
        chosen = self.select(quantity, dataset=dataset, epochs=epochs)
        single = sorted((c for c in chosen if c.run is not None), key=lambda c: c.run or 0)
        if not single:
            raise ConfigError(f"'{quantity}' must have single runs, but {chosen[0]} is a mean")
        return np.stack([self.values(column.name) for column in single], axis=1)

    def metric(
        self,
        quantity: str,
        run: int | Literal["mean"] = "mean",
        *,
        dataset: str | None = None,
        epochs: int | None = None,
    ) -> Floats:
        """One value per architecture, float64 [N].

        Args:
            quantity: See `Column.quantity`.
            run: "mean" over the runs that there are (the stored mean, if the table has one),
                or one run, NaN where an architecture lacks it.
            dataset: See `select`.
            epochs: See `select`.

        Raises:
            ConfigError: the choice does not exist or is ambiguous.
            DataError: an architecture has no value at all.
        """
        chosen = self.select(quantity, dataset=dataset, epochs=epochs)
        by_run = {column.run: column for column in chosen}
        if run != "mean":
            if run not in by_run:
                choices = sorted(number for number in by_run if number is not None)
                raise ConfigError(f"no run {run} of '{quantity}'; choose from {choices} or 'mean'")
            return self.values(by_run[run].name)
        if None in by_run:
            values = self.values(by_run[None].name)
        else:
            values = _mean_over_runs(self.runs(quantity, dataset=dataset, epochs=epochs))
        if np.isnan(values).any():
            row = int(np.isnan(values).argmax())
            raise DataError(
                f"every architecture must have a '{quantity}', but {int(np.isnan(values).sum())} "
                f"of {len(self)} in {self.provenance.path or self.provenance.name} have none "
                f"(first row {row})"
            )
        return values

    def val_acc(
        self,
        run: int | Literal["mean"] = "mean",
        *,
        dataset: str | None = None,
        epochs: int | None = None,
    ) -> Floats:
        """Validation accuracy of every architecture, fraction [N]; see `metric`.

        Args:
            run: Number of the run, or "mean" over the runs.
            dataset: Images of the accuracies; None if the table has one data set.
            epochs: Epochs of the trainings; None takes the longest.
        """
        return self.metric("val_acc", run, dataset=dataset, epochs=epochs)

    def test_acc(
        self,
        run: int | Literal["mean"] = "mean",
        *,
        dataset: str | None = None,
        epochs: int | None = None,
    ) -> Floats:
        """Test accuracy of every architecture, fraction [N]; see `metric`.

        Args:
            run: Number of the run, or "mean" over the runs.
            dataset: Images of the accuracies; None if the table has one data set.
            epochs: Epochs of the trainings; None takes the longest.
        """
        return self.metric("test_acc", run, dataset=dataset, epochs=epochs)

    def index_of(self, architecture: Data | str) -> int:
        """The row of an architecture, or of its hash.

        Of several isomorphic rows (NAS-Bench-201 has them) it is the one whose matrix is the
        same, else the first.

        Raises:
            GraphError: not an architecture, or not a hash of 32 hex digits.
            MissingDataError: the table does not hold it.
        """
        if not isinstance(architecture, str):
            check_single(architecture)
        text = architecture if isinstance(architecture, str) else graph_hash(architecture)
        try:
            digest = np.frombuffer(bytes.fromhex(text), dtype=np.uint8)
        except ValueError:
            digest = np.empty(0, dtype=np.uint8)
        if digest.size != 16:
            raise GraphError(f"a hash must be 32 hexadecimal digits, but got {text!r}")
        order, keys = self._sorted
        key = digest.view("S16")[0]
        low, high = (int(np.searchsorted(keys, key, side)) for side in ("left", "right"))
        if low == high:
            raise MissingDataError(
                f"table '{self.provenance.name}' ({self.provenance.kind}, {len(self)} rows) must "
                f"hold the architecture, but has none with hash {text}"
            )
        rows = sorted(order[low:high].tolist())
        if not isinstance(architecture, str):
            for row in rows:
                if _same_matrix(self[row], architecture):
                    return int(row)
        return int(rows[0])

    def subset(self, rows: Sequence[int] | NDArray[Any] | torch.Tensor) -> BenchmarkTable:
        """The table of the chosen rows (indices or a mask), in the order given."""
        index = np.arange(len(self))[np.asarray(rows)]
        digests = None if self._digests is None else self._digests[index]
        return BenchmarkTable(
            self.graphs[torch.from_numpy(index)],
            self.columns,
            self.provenance,
            partial(_values_of, self, index),
            digests=digests,
        )

    @cached_property
    def _sorted(self) -> tuple[NDArray[np.int64], NDArray[np.bytes_]]:
        keys = np.ascontiguousarray(self.digests).view("S16")[:, 0]
        order = np.argsort(keys, kind="stable")
        return order, keys[order]

    def _check_length(self, name: str, values: NDArray[Any]) -> None:
        if values.shape != (len(self),):
            raise DataError(
                f"column '{name}' must have shape ({len(self)},), but got {values.shape}"
            )


def digests_of(graphs: DenseBatch) -> NDArray[np.uint8]:
    """`graph_hash` of every architecture as bytes, uint8 [N, 16]; about 0.2 ms for each."""
    digests = bytes.fromhex("".join(graph_hash(graphs)))
    return np.frombuffer(digests, dtype=np.uint8).reshape(-1, 16)


def check_values(column: Column, values: NDArray[Any]) -> None:
    """Check the values of one column; NaN (a missing run) is allowed.

    Args:
        column: Metadata of the column.
        values: Its values [N].

    Raises:
        DataError: a value is infinite, a size or time negative, or an accuracy not a fraction.
    """
    if np.isinf(values).any():
        row = int(np.isinf(values).argmax())
        raise DataError(f"column '{column.name}' must be finite, but row {row} is {values[row]}")
    if column.quantity in NOT_NEGATIVE and (values < 0).any():
        row = int((values < 0).argmax())
        raise DataError(
            f"column '{column.name}' must not be negative, but row {row} is {values[row]:.6g}; "
            "leave out what is missing (null or NaN)"
        )
    if not column.is_accuracy or values.size == 0:
        return
    outside = (values < 0) | (values > 1)
    if outside.any():
        row = int(outside.argmax())
        hint = "; they look like percent: divide by 100" if np.nanmax(values) > 1.5 else ""
        raise DataError(
            f"accuracies must be fractions in [0, 1], but '{column.name}' has "
            f"{values[row]:.6g} in row {row}{hint}"
        )


def _values_of(table: BenchmarkTable, rows: NDArray[np.int64], name: str) -> Floats:
    """Values of some rows; no function of `BenchmarkTable.subset`, which could not be pickled."""
    return table.values(name)[rows]


def _mean_over_runs(runs: Floats) -> Floats:
    """Mean of the runs that there are; NaN where there is none."""
    count = (~np.isnan(runs)).sum(1)
    total = np.nansum(runs, axis=1)
    mean: Floats = np.full(len(runs), np.nan)
    np.divide(total, count, out=mean, where=count > 0)
    return mean


def _same_matrix(left: Data, right: Data) -> bool:
    pairs = zip(to_adjacency(left), to_adjacency(right), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)
