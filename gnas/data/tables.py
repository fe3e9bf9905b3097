"""Benchmark tables: find one, open it, save one."""

from __future__ import annotations

from pathlib import Path

from gnas.data.benchmark_table import BenchmarkTable
from gnas.data.columns import QUANTITIES, Column, Kind, Provenance
from gnas.data.parquet import is_own_format, read_parquet, read_schema, verify_table, write_parquet
from gnas.data.places import data_folder, find_table
from gnas.data.third_party import read_third_party
from gnas.errors import ConfigError

__all__ = [
    "QUANTITIES",
    "BenchmarkTable",
    "Column",
    "Kind",
    "Provenance",
    "data_folder",
    "find_table",
    "load_table",
    "save_table",
    "verify_table",
]


def load_table(path_or_name: str | Path, *, data_dir: str | Path | None = None) -> BenchmarkTable:
    """Open a benchmark table: the package's own format or a known foreign Parquet table.

    Args:
        path_or_name: See `find_table`.
        data_dir: See `find_table`.

    Returns:
        The table, whose columns are read when they are first asked for.

    Raises:
        MissingDataError: there is no such file.
        DataError: the file is damaged, or not a table.

    Examples:
        >>> table = load_table("nasbench101-mini")
        >>> len(table), table.provenance.space
        (2000, 'nasbench101')
    """
    path = find_table(path_or_name, data_dir=data_dir)
    schema = read_schema(path)
    return read_parquet(path) if is_own_format(schema) else read_third_party(path, schema)


def save_table(table: BenchmarkTable, path: str | Path) -> None:
    """Write a table as one Parquet file, whole or not at all.

    Build the table in memory first:
    ``BenchmarkTable(graphs, columns, Provenance(...), {column.name: values, ...})``.

    Args:
        table: Table to write.
        path: The file; its name ends in ``.parquet``.

    Raises:
        DataError: the table breaks a rule (see `verify_table`), or cannot be written.

    Examples:
        >>> import tempfile
        >>> table = load_table("nasbench101-mini")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_table(table, Path(folder) / "again.parquet")
        ...     again = load_table(Path(folder) / "again.parquet").val_acc()
        >>> bool((again == table.val_acc()).all())
        True
    """
    if not isinstance(table, BenchmarkTable):
        raise ConfigError(f"what is saved must be a BenchmarkTable, but got {table!r:.80}")
    write_parquet(table, Path(path))
