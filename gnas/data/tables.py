"""Benchmark tables: find one, open it, save one."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from gnas.data.benchmark_table import BenchmarkTable
from gnas.data.columns import QUANTITIES, Column, Kind, Provenance
from gnas.data.foreign import read_foreign
from gnas.data.parquet import is_own_format, read_parquet, read_schema, verify_table, write_parquet
from gnas.errors import MissingDataError

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

SHIPPED = Path(__file__).parent / "shipped"
"""Tables that come with the package."""
STAND_INS = {"nasbench101": "nasbench101-mini"}
"""The shipped table that serves, with a warning, where the full one is not found."""

_LOG = logging.getLogger(__name__)


def data_folder(data_dir: str | Path | None = None) -> Path:
    """Where tables are kept: ``data_dir``, else ``$GNAS_DATA``, else ``~/.cache/gnas``."""
    return Path(data_dir or os.environ.get("GNAS_DATA") or Path.home() / ".cache" / "gnas")


def find_table(path_or_name: str | Path, *, data_dir: str | Path | None = None) -> Path:
    """The file of a table.

    Args:
        path_or_name: A file (a path, or a text with a separator or a suffix), or a name:
            ``NAME.parquet`` is looked for in ``data_dir``, then in ``$GNAS_DATA``, else
            ``~/.cache/gnas``, then among the shipped tables.
        data_dir: Folder to look in first.

    Raises:
        MissingDataError: there is no such file; says where it was looked for.
    """
    name = str(path_or_name)
    if isinstance(path_or_name, Path) or os.sep in name or Path(name).suffix or name == ".":
        path = Path(path_or_name).expanduser()
        if not path.is_file():
            found = "is a folder" if path.is_dir() else "is no file"
            raise MissingDataError(f"table not found: {path} must be a Parquet file, but {found}")
        return path
    folders = [*([Path(data_dir)] if data_dir else []), data_folder()]
    places = ", ".join(str(folder) for folder in folders)
    for folder in (*folders, SHIPPED):
        if (path := folder / f"{name}.parquet").is_file():
            return path
    if name in STAND_INS and (path := SHIPPED / f"{STAND_INS[name]}.parquet").is_file():
        _LOG.warning(
            "table '%s' not found in %s; using the self-made '%s' that ships with the package",
            name,
            places,
            STAND_INS[name],
        )
        return path
    shipped = sorted(file.stem for file in SHIPPED.glob("*.parquet"))
    raise MissingDataError(
        f"table '{name}' not found in {places} nor among the shipped {shipped}; give a file, or "
        f"run `gnas data list` to see what can be fetched"
    )


def load_table(path_or_name: str | Path, *, data_dir: str | Path | None = None) -> BenchmarkTable:
    """Opens a benchmark table: the package's own format or a known foreign Parquet table.

    Args:
        path_or_name: See `find_table`.
        data_dir: See `find_table`.

    Raises:
        MissingDataError: there is no such file.
        DataError: the file is damaged, or not a table.
    """
    path = find_table(path_or_name, data_dir=data_dir)
    schema = read_schema(path)
    return read_parquet(path) if is_own_format(schema) else read_foreign(path, schema)


def save_table(table: BenchmarkTable, path: str | Path) -> None:
    """Writes a table as one Parquet file, whole or not at all.

    Build the table in memory first:
    ``BenchmarkTable(graphs, columns, Provenance(...), {column.name: values, ...})``.

    Raises:
        DataError: the table breaks a rule (see `verify_table`), or cannot be written.
    """
    write_parquet(table, Path(path))
