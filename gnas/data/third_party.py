"""Parquet tables that others made, read as they are; which is which shows in their columns.

A built-in space whose tables have a layout of their own describes it as ``LAYOUT`` in the module
``tables`` of its folder.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gnas.data.agreement import function_agreement
from gnas.data.benchmark_table import BenchmarkTable, check_values
from gnas.data.columns import COUNTED, Column, Kind, Provenance
from gnas.data.parquet import (
    ColumnReader,
    check_graphs,
    check_size,
    is_text,
    read_lists,
    read_texts,
)
from gnas.errors import ConfigError, DataError, GraphError
from gnas.geometric import Data
from gnas.graphs import DenseBatch
from gnas.printable import amount
from gnas.spaces.base import Space
from gnas.spaces.names import space_modules
from gnas.spaces.registry import SPACES, notations

_LOG = logging.getLogger(__name__)

MAX_CELLS = max(kind.size or 0 for kind in SPACES.values())
"""Rows of the largest foreign table: every cell occurs once."""
ARCHITECTURES = "arch"
"""The column of architectures in a foreign notation."""


@dataclass(frozen=True)
class TableLayout:
    """A foreign layout of tables: how it is known, and how it is read."""

    title: str
    """Name in messages."""
    columns: tuple[str, ...]
    """Columns that a table of this layout has, and none of another layout."""
    read: Callable[[Path, pa.Schema], BenchmarkTable]
    """Reads a table; raises DataError where its content breaks a rule."""
    complete: Collection[str] = ()
    """Columns in which a gap means damage."""
    scores: Callable[[pa.Schema], Mapping[str, Column]] = lambda schema: {}
    """Columns by name that also tables in a foreign notation may have; accuracies in percent."""


def layouts() -> list[TableLayout]:
    """The layouts of the built-in spaces' tables."""
    return [module.LAYOUT for module in space_modules("tables")]


def read_third_party(
    path: Path, schema: pa.Schema, *, notation: str | None = None
) -> BenchmarkTable:
    """Open a table in a known foreign layout.

    Warns where cells that compute the same function differ so much that the encoding may be
    another one than was read: see `gnas.data.agreement`.

    Args:
        path: The file.
        schema: Its schema.
        notation: The notation of its architectures, if not the layout's own: a key of
            `gnas.spaces.notations`. They are in the column `ARCHITECTURES`, or in the only
            column of texts or lists.

    Raises:
        ConfigError: unknown notation.
        DataError: the layout is unknown, or the content breaks a rule.
    """
    table = _read(path, schema, notation)
    agreement = function_agreement(table)
    if agreement is not None and agreement.is_suspicious:
        _LOG.warning("%s: %s", path, agreement)
    return table


def _read(path: Path, schema: pa.Schema, notation: str | None) -> BenchmarkTable:
    check_size(path, schema.names, most_rows=MAX_CELLS)
    if notation is not None:
        return _read_notation(path, schema, notation)
    for layout in layouts():
        if {*layout.columns} <= {*schema.names}:
            return layout.read(path, schema)
    known = [f"{_listed(layout.columns, 'and')} ({layout.title})" for layout in layouts()]
    raise DataError(
        f"{path} must be a table of gnas, or have the columns {_listed(known, 'or')}, but has "
        f"{schema.names[:8]}; if its architectures have another notation, take "
        "`gnas data convert NAME FILE --notation NOTATION`"
    )


def _listed(words: Sequence[str], last: str) -> str:
    *most, end = words
    return f"{', '.join(most)} {last} {end}" if most else end


def _read_notation(path: Path, schema: pa.Schema, name: str) -> BenchmarkTable:
    """A table whose architectures are in a foreign notation.

    Its columns are the `TableLayout.scores` of all layouts.
    """
    known = notations()
    if name not in known:
        raise ConfigError(f"unknown notation '{name}'; choose from {sorted(known)}")
    space, notation = known[name]
    column = _architectures(path, schema)
    is_list = _is_list(schema.field(column).type)
    cells = read_lists(path, column) if is_list else read_texts(path, column)
    batch = read_cells(path, column, cells, notation.read).pad_to(space().max_nodes)
    scores = {name: c for layout in layouts() for name, c in layout.scores(schema).items()}
    columns = [scores[name] for name in schema.names if name in scores]
    if not columns:
        raise DataError(f"{path} must have a column of numbers, but has {schema.names[:8]}")
    check_numbers(path, schema, columns)
    percent = {c.name: 0.01 for c in columns if c.is_accuracy and c.epochs is not None}
    complete = {name for layout in layouts() for name in layout.complete}
    return third_party_table(
        path,
        space(),
        batch,
        read_values(path, columns, percent, complete),
        columns,
        source=f"a Parquet table of others, architectures in the notation {name}",
        note=f"{amount(len(batch), 'architecture')}; values as they stood in the file",
    )


def third_party_table(
    path: Path,
    space: Space,
    graphs: DenseBatch,
    values: Mapping[str, NDArray[np.float64]],
    columns: Sequence[Column],
    *,
    digests: NDArray[np.uint8] | None = None,
    official: bool = False,
    **facts: str,
) -> BenchmarkTable:
    """The table of a foreign file, its architectures checked.

    Args:
        path: The file.
        space: Space of the architectures.
        graphs: N architectures.
        values: Values of every column by name, [N].
        columns: Their meanings.
        digests: Hashes of the architectures as the file has them, uint8 [N, 16].
        official: Whether it is everything that was published.
        facts: ``source``, ``note`` and ``licence``, see `Provenance`.

    Raises:
        DataError: an architecture is not of the space or occurs twice, or a hash is another one's.
    """
    check_graphs(graphs, space, digests, str(path))
    kind: Kind = "official" if official else "partial"
    provenance = Provenance.of(space, path.stem, kind=kind, path=str(path), **facts)
    return BenchmarkTable(graphs, columns, provenance, values, digests=digests)


def read_cells(
    path: Path, column: str, texts: Sequence[str], read: Callable[[str], Data]
) -> DenseBatch:
    """The architectures of a column of texts, read one by one.

    Args:
        path: The file, for messages.
        column: The column, for messages.
        texts: N texts.
        read: Makes the architecture of a text; raises GraphError where it is malformed.

    Raises:
        DataError: a text is malformed, or there is none.
    """
    graphs = []
    for row, text in enumerate(texts):
        try:
            graphs.append(read(text))
        except GraphError as error:
            raise DataError(f"{path}: row {row} of column '{column}': {error}") from None
    if not graphs:
        raise DataError(f"{path} must have at least one row, but is empty")
    return DenseBatch.from_data(graphs)


def _architectures(path: Path, schema: pa.Schema) -> str:
    """The column of architectures."""
    if ARCHITECTURES in schema.names:
        return ARCHITECTURES
    found = [field.name for field in schema if is_text(field.type) or _is_list(field.type)]
    if len(found) != 1:
        raise DataError(
            f"{path} must have its architectures in a column '{ARCHITECTURES}', or in its only "
            f"column of texts or lists, but such columns are {found[:8]}"
        )
    return str(found[0])


def _is_list(kind: pa.DataType) -> bool:
    """Whether a column has lists: pandas, Polars and NumPy each write another type of these."""
    kinds = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(is_kind(kind) for is_kind in kinds)


def present_columns(path: Path, schema: pa.Schema, known: Mapping[str, Column]) -> list[Column]:
    """Those known columns that a file has, in the order in which they are known.

    Args:
        path: The file, for messages.
        schema: Its schema.
        known: The columns of its layout by name.

    Raises:
        DataError: there is none, validation or test accuracies are missing beside the other, or
            one does not hold numbers.
    """
    present = [column for name, column in known.items() if name in schema.names]
    missing = {"val_acc", "test_acc"} - {column.quantity for column in present}
    if len(missing) == 1 or not present:  # a table of other measures may have no accuracy
        wanted = [name for name, column in known.items() if column.quantity in missing]
        raise DataError(f"{path} must have at least one of the columns {wanted}, but has none")
    check_numbers(path, schema, present)
    return present


def numeric_columns(schema: pa.Schema) -> list[str]:
    """Names of the columns of numbers, without the index that pandas writes beside a frame."""
    kinds = (pa.types.is_floating, pa.types.is_integer)
    numbers = [field.name for field in schema if any(is_kind(field.type) for is_kind in kinds)]
    return [name for name in numbers if not name.startswith("__index_level_")]


def check_numbers(path: Path, schema: pa.Schema, columns: Sequence[Column]) -> None:
    """Check that columns of a file hold numbers.

    Raises:
        DataError: one does not.
    """
    numbers = numeric_columns(schema)
    for column in columns:
        if column.name not in numbers:
            kind = schema.field(column.name).type
            raise DataError(f"column '{column.name}' of {path} must be numbers, but is {kind}")


def read_values(
    path: Path,
    columns: Sequence[Column],
    scales: Mapping[str, float],
    complete: Collection[str] = (),
) -> dict[str, NDArray[np.float64]]:
    """The values of columns in the units of `gnas.data.columns.QUANTITIES`.

    Args:
        path: The file.
        columns: Columns to read.
        scales: Factors by name; an accuracy with a factor is percent in the file.
        complete: Names of columns in which a gap means damage.

    Returns:
        Values [N] by name.

    Raises:
        DataError: the file is damaged, or a column has a gap or is in another unit.
    """
    read = ColumnReader(path)
    values: dict[str, NDArray[np.float64]] = {}
    for column in columns:
        raw: NDArray[Any] = read(column.name).astype(np.float64)
        if column.name in complete and np.isnan(raw).any():
            row = int(np.isnan(raw).argmax())
            raise DataError(
                f"{path}: column '{column.name}' must be complete, but row {row} is NaN"
            )
        if column.is_accuracy and column.name in scales and np.nanmax(raw, initial=0) <= 1:
            raise DataError(f"{path}: column '{column.name}' must be percent, but is all below 1")
        values[column.name] = raw * scales.get(column.name, 1.0)
        if column.quantity in COUNTED and column.name in scales:  # such as millions
            values[column.name] = np.rint(values[column.name])
        try:
            check_values(column, values[column.name])
        except DataError as error:
            raise DataError(f"{path}: {error}") from None
    return values
