"""Open the table of an experiment and name its score columns."""

from __future__ import annotations

from collections.abc import Sequence

from gnas.data.tables import BenchmarkTable, Column, load_table
from gnas.errors import ConfigError
from gnas.spaces import NASBench201
from gnas.spaces.base import Space

IMAGES = NASBench201.table_images
"""NAS-Bench-201's names of the images of the validation and test accuracies."""


def open_table(space: Space | type[Space], table: str, data_dir: str | None) -> BenchmarkTable:
    """Open the table of an experiment and check its space.

    Args:
        space: Space of the architectures; a class accepts any arguments.
        table: A file, or a name for `gnas.data.load_table`.
        data_dir: Folder of tables to look in first.

    Raises:
        ConfigError: it holds architectures of another space.
        MissingDataError: there is no such table.
        DataError: it is damaged.
    """
    found = load_table(table, data_dir=data_dir)
    if isinstance(space, Space):
        found.provenance.opened_space(space)
    elif not isinstance(found.provenance.known_space(), space):
        raise ConfigError(
            f"table '{found.provenance.name}' must hold architectures of {space.name}, but holds "
            f"those of {found.provenance.space}"
        )
    return found


def scores_name(columns: Sequence[Column]) -> str:
    """Name of the scores computed by `BenchmarkTable.metric` from columns.

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
