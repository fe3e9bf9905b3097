"""The tables of experiments: opened, and which of their columns are meant."""

from __future__ import annotations

from collections.abc import Sequence

from gnas.data.tables import BenchmarkTable, Column, load_table
from gnas.errors import ConfigError
from gnas.evaluate.table import IMAGES

__all__ = ["IMAGES", "name_of", "open_table"]


def open_table(space: str, table: str, data_dir: str | None) -> BenchmarkTable:
    """The table that an experiment on a space was given.

    Args:
        space: Key in `gnas.spaces.SPACES`.
        table: A file, or a name for `gnas.data.load_table`.
        data_dir: Folder of tables to look in first.

    Raises:
        ConfigError: it holds architectures of another space.
        MissingDataError: there is no such table.
        DataError: it is damaged.
    """
    found = load_table(table, data_dir=data_dir)
    if found.provenance.space != space:
        raise ConfigError(
            f"the table must hold '{space}' cells, but {found.provenance.name} holds "
            f"'{found.provenance.space}'"
        )
    return found


def name_of(columns: Sequence[Column]) -> str:
    """The name of the scores that `BenchmarkTable.metric` makes of columns.

    Args:
        columns: The columns of one quantity under one protocol, as `BenchmarkTable.select`
            returns them: the stored mean, or the single runs.
    """
    stored = next((column for column in columns if column.run is None), None)
    if stored is None and len(columns) == 1:
        stored = columns[0]
    if stored is not None:
        return stored.name
    first = columns[0]
    epochs = None if first.epochs is None else f"{first.epochs} epoch{'s' * (first.epochs != 1)}"
    protocol = ", ".join(part for part in (first.dataset, epochs) if part)
    name = f"mean {first.quantity} of {len(columns)} runs"
    return f"{name} ({protocol})" if protocol else name
