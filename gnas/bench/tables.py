"""Open the table of an experiment and name its score columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gnas.bench.config import DEFAULT_IMAGES
from gnas.data.tables import BenchmarkTable, Column, load_table
from gnas.errors import ConfigError
from gnas.search.objectives import known_direction
from gnas.spaces.base import Space


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


def table_images(
    space: Space | type[Space], table: BenchmarkTable, dataset: str | None
) -> tuple[str | None, str | None]:
    """The table's names of the images of its validation and test accuracies.

    Args:
        space: The table's space.
        table: The table; columns of one made by `gnas tabulate` name no images, since all are of
            one data set.
        dataset: A key of `Space.table_images`, or as the table calls them; None takes the first
            key that the table has.

    Raises:
        ConfigError: ``dataset`` is not the default, but columns name no images.
    """
    names = {column.dataset for column in table.columns if column.dataset}
    if not names and dataset not in (None, DEFAULT_IMAGES):
        raise ConfigError(
            f"columns of table '{table.provenance.name}' name no images to choose from, but got "
            f"dataset '{dataset}'; leave it out"
        )
    if not names:
        return None, None
    if dataset is None:
        found = (images for images in space.table_images.values() if names & {*images})
        return next(found, (None, None))
    return space.table_images.get(dataset, (dataset, dataset))


def chosen_scores(
    table: BenchmarkTable, column: str | None, quantities: Sequence[str], dataset: str | None
) -> tuple[str, str, NDArray[np.float64]]:
    """Name, quantity and values [N] of a column, or of the first quantity that a table has.

    Args:
        table: The table.
        column: Name of a column.
        quantities: Quantities to choose from where no column is named.
        dataset: Images of these columns, where the table has several.

    Raises:
        ConfigError: there is no such column, or it has gaps or a single value.
    """
    if column is not None:
        name, values = column, table.values(column)
        quantity = next(c.quantity for c in table.columns if c.name == column)
    else:
        known = {one.quantity for one in table.columns}
        found = [one for one in quantities if one in known]
        if not found:
            raise ConfigError(
                f"table '{table.provenance.name}' must have a {' or a '.join(quantities)}, but "
                f"has {sorted(known)}; name columns (train_column, test_column)"
            )
        quantity = found[0]
        name = scores_name(table.select(quantity, dataset=dataset))
        values = table.metric(quantity, dataset=dataset)
    gaps = int(np.isnan(values).sum())
    if gaps or values.min() == values.max():
        what = f"{gaps} of {len(values)} lack one" if gaps else f"all are {values[0]:.6g}"
        raise ConfigError(
            f"column '{name}' must have a score for every cell, not all alike, but {what}"
        )
    return name, quantity, values


def smaller_is_better(train: str, test: str) -> bool:
    """Whether the best score is the smallest.

    Of a quantity to judge by whose name does not say, the largest is the best, as of a score; one
    to learn is then better in the same way.

    Args:
        train: Quantity that predictors learn.
        test: Quantity that they are judged by.

    Raises:
        ConfigError: the smallest is the best of one of them, the largest of the other.

    Examples:
        >>> smaller_is_better("val_acc", "test_acc"), smaller_is_better("mse", "test_error")
        (False, True)
    """
    judged = known_direction(test) or "max"
    learned = known_direction(train) or judged
    if learned != judged:
        best = {"min": "smallest", "max": "largest"}
        raise ConfigError(
            f"train_column and test_column must agree on what is better, but the {best[learned]} "
            f"{train} and the {best[judged]} {test} is the best"
        )
    return judged == "min"


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
    return f"mean {with_protocol(first, f'{first.quantity} of {len(columns)} runs')}"


def with_protocol(column: Column, name: str) -> str:
    """``name``, then images and epochs of a column as far as the table states them."""
    epochs = None
    if column.epochs is not None:
        epochs = f"{column.epochs} epoch{'s' * (column.epochs != 1)}"
    protocol = ", ".join(part for part in (column.dataset, epochs) if part)
    return f"{name} ({protocol})" if protocol else name
