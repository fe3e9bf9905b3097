"""Locations of the files of benchmark tables."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gnas.data.files import FORMAT_ERRORS, check_regular, check_utf8
from gnas.errors import ConfigError, DataError, MissingDataError

SHIPPED = Path(__file__).parent / "shipped"
"""Tables that come with the package."""
STAND_IN = "{}-mini"
"""Name of the shipped table that serves, with a warning, where the full one is not found."""

_LOG = logging.getLogger(__name__)


def data_folder(data_dir: str | Path | None = None) -> Path:
    """Folder of tables: ``data_dir``, else ``$GNAS_DATA``, else ``~/.cache/gnas``.

    Args:
        data_dir: A folder, which need not exist; None asks the environment.

    Examples:
        >>> str(data_folder("tables"))
        'tables'
    """
    return Path(data_dir or os.environ.get("GNAS_DATA") or Path.home() / ".cache" / "gnas")


def table_path(path_or_name: str | Path, *, data_dir: str | Path | None = None) -> Path:
    """The file of a table; see `find_table`, which says when it is a stand-in.

    Args:
        path_or_name: A file, or the name of a table.
        data_dir: Folder of tables to look in first.

    Raises:
        ConfigError: the name is not UTF-8.
        MissingDataError: there is no such file.
    """
    name = str(path_or_name)
    check_utf8(name, "a table")
    if isinstance(path_or_name, Path) or os.sep in name or Path(name).suffix or name == ".":
        path = Path(path_or_name).expanduser()
        if not path.is_file():
            found = "is a folder" if path.is_dir() else "is no file"
            raise MissingDataError(f"table not found: {path} must be a Parquet file, but {found}")
        return path
    folders = _folders(data_dir)
    for folder in (*folders, SHIPPED):
        if (path := folder / f"{name}.parquet").is_file():
            return path
    if (path := _stand_in(name)).is_file():
        return path
    shipped = sorted(file.stem for file in SHIPPED.glob("*.parquet"))
    raise MissingDataError(
        f"table '{name}' not found in {', '.join(map(str, folders))} nor among the shipped "
        f"{shipped}; give a file, or run `gnas data list` to see what can be fetched"
    )


def find_table(path_or_name: str | Path, *, data_dir: str | Path | None = None) -> Path:
    """The file of a table.

    Args:
        path_or_name: A file (a path, or a text with a separator or a suffix), or a name:
            ``NAME.parquet`` is looked for in ``data_dir``, then in ``$GNAS_DATA``, else
            ``~/.cache/gnas``, then among the shipped tables.
        data_dir: Folder to look in first.

    Raises:
        ConfigError: the name is not UTF-8.
        MissingDataError: there is no such file; says where it was looked for.

    Examples:
        >>> find_table("nasbench101-mini").name
        'nasbench101-mini.parquet'
    """
    path = table_path(path_or_name, data_dir=data_dir)
    name = str(path_or_name)
    if path == _stand_in(name):
        _LOG.warning(
            "table '%s' not found in %s; using the self-made '%s' that ships with the package",
            name,
            ", ".join(map(str, _folders(data_dir))),
            path.stem,
        )
    return path


def check_table(path: Path, *, columns: Iterable[str] = (), space: str | None = None) -> None:
    """Check by the head of a Parquet file what would otherwise be found after heavy imports.

    Args:
        path: The file.
        columns: Columns of numbers that it must have.
        space: Name of the space of its architectures, as far as the file records it; with
            arguments, or as ``FILE.py:NAME``, of which nothing is checked.

    Raises:
        ConfigError: a column is missing, the table is of another space, or its path not UTF-8.
        DataError: it is no Parquet file.

    Examples:
        >>> check_table(table_path("nasbench101-mini"), space="nasbench101")
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    check_utf8(path, "a table")
    check_regular(path, "an intact Parquet file")
    try:
        schema = pq.read_schema(path)
    except (OSError, pa.ArrowException, *FORMAT_ERRORS) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{path} must be an intact Parquet file, but reading it failed: {reason[:200]}"
        ) from error
    are_numbers = (pa.types.is_floating, pa.types.is_integer)
    found = sorted(field.name for field in schema if any(are(field.type) for are in are_numbers))
    for name in columns:
        if name not in found:
            raise ConfigError(f"unknown column '{name}'; choose from {found}")
    facts = _recorded_facts(schema.metadata)
    if space is None or ".py:" in space or not isinstance(facts.get("space"), str):
        return
    wanted = space.partition("(")[0]
    if facts["space"] != wanted:
        raise ConfigError(
            f"table {facts.get('name')!r:.80} must hold architectures of {wanted}, but holds "
            f"those of {facts['space']:.80}"
        )


def recorded_facts(path: Path) -> tuple[int, dict[str, Any]]:
    """Number of rows of a table, and the facts in its head, of a file that is known to be sound.

    Args:
        path: The file.

    Examples:
        >>> rows, facts = recorded_facts(table_path("nasbench101-mini"))
        >>> rows, facts["kind"]
        (2000, 'self-made')
    """
    import pyarrow.parquet as pq

    head = pq.read_metadata(path)
    return head.num_rows, _recorded_facts(head.metadata)


def _recorded_facts(metadata: dict[bytes, bytes] | None) -> dict[str, Any]:
    """Facts that a file of gnas has of its table; empty for others, and for damaged ones."""
    try:
        facts = json.loads((metadata or {})[b"gnas"])
    except (KeyError, ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _stand_in(name: str) -> Path:
    return SHIPPED / f"{STAND_IN.format(name)}.parquet"


def _folders(data_dir: str | Path | None) -> list[Path]:
    return [*([Path(data_dir)] if data_dir else []), data_folder()]
