"""Implementation of ``gnas data``: list, fetch, convert and verify benchmark files.

What can be checked of names and paths is checked before the readers are imported.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pooch
import requests

from gnas.data.files import check_regular, check_utf8
from gnas.data.places import SHIPPED, check_table, data_folder, find_table, recorded_facts
from gnas.data.sources import TableSource
from gnas.errors import ConfigError, DataError, MissingDataError
from gnas.printable import amount
from gnas.spaces.names import check_notation, space_modules

if TYPE_CHECKING:
    from gnas.data.benchmark_table import BenchmarkTable
    from gnas.processes import ProgressCallback
    from gnas.spaces.base import Space

SOURCES: Mapping[str, TableSource] = {
    source.name: source for module in space_modules("published") for source in module.SOURCES
}
"""Published files by name: ``SOURCES`` of the modules ``published`` of the spaces' folders."""
SIZE_TOLERANCE = 0.08
"""Relative tolerance of a file's size: published sizes are rounded, and their megabytes may have
10^6 or 2^20 bytes."""
TIMEOUT_S = 30
"""Longest silence of a server."""


@dataclass(frozen=True)
class Listing:
    """One line of `gnas data list`."""

    name: str
    content: str
    state: str
    """"table", "fetched" (not converted yet), "ships with gnas" or "absent"."""
    path: str
    licence: str


def list_tables(data_dir: str | Path | None = None) -> list[Listing]:
    """Every known source and shipped table, and which of them are here."""
    folder = data_folder(data_dir)
    listings = []
    for source in SOURCES.values():
        table, file = folder / f"{source.table}.parquet", folder / source.file
        state, path = ("table", table) if table.is_file() else ("fetched", file)
        if not path.exists():
            state = "absent"
        listings.append(
            Listing(
                source.name,
                source.content,
                state,
                source.page if state == "absent" else str(path),
                source.licence,
            )
        )
    for path in sorted(SHIPPED.glob("*.parquet")):
        rows, facts = recorded_facts(path)
        content = f"{amount(rows, 'cell')}, {facts['kind']}"
        listings.append(
            Listing(path.stem, content, "ships with gnas", str(path), str(facts["licence"]))
        )
    return listings


def fetch(name: str, *, data_dir: str | Path | None = None, progress_bar: bool = False) -> Path:
    """Download a published file, unless it is there, and return its path.

    The file appears under its name only when it is complete and checked; a download that was
    cut off starts anew.

    Args:
        name: A key of `SOURCES`.
        data_dir: See `data_folder`.
        progress_bar: Show one on stderr.

    Raises:
        ConfigError: unknown name.
        MissingDataError: no network, or the file takes a browser: says what to download, from
            where, and where to put it.
        DataError: what arrived, or is there, is not the published file, or it cannot be written.
    """
    source = _source(name)
    target = data_folder(data_dir) / source.file
    if target.exists():
        if not source.is_folder:
            check_regular(target, "the published file")
        if target.is_file():
            _check_size(source, target)
        return target
    if source.url is None:
        raise MissingDataError(
            f"{source.file} has no direct address: download it (about {source.megabytes} MB, "
            f"unpacked) from {source.page}, put it at {target}, then run "
            f"`gnas data convert {name}`"
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _download(source, target, progress_bar)
    except requests.RequestException as error:
        raise MissingDataError(
            f"cannot download now ({_reason(error)}): get {source.url} ({source.megabytes} MB), "
            f"put it at {target}, then run `gnas data convert {name}`"
        ) from error
    except ValueError as error:
        raise DataError(
            f"{source.url} must arrive with the checksum that its server states, but did not; "
            "nothing was kept, fetch it again"
        ) from error
    except OSError as error:
        raise DataError(f"{target} must be writable, but got: {error.strerror}") from error
    return target


def convert(
    name: str,
    source_path: str | Path | None = None,
    *,
    out: str | Path | None = None,
    data_dir: str | Path | None = None,
    notation: str | None = None,
    progress: ProgressCallback | None = None,
) -> tuple[Path, BenchmarkTable]:
    """Write the table of a published file in the package's own format.

    Args:
        name: A key of `SOURCES`.
        source_path: A file or folder like the published one, or a foreign Parquet table; the
            fetched one by default.
        out: The table to write; by default where `load_table` finds it by name.
        data_dir: See `data_folder`.
        notation: Notation of the architectures in a foreign Parquet table, if not the benchmark's:
            see `gnas.data.third_party.read_third_party`.
        progress: Told how far reading has come.

    Returns:
        The file that was written, and the table in memory.

    Raises:
        ConfigError: unknown name.
        MissingDataError: nothing to convert.
        DataError: the source is damaged or of another space, or the table cannot be written.
    """
    source = _source(name)
    if notation is not None:
        check_notation(notation)
    folder = data_folder(data_dir)
    path = folder / source.file if source_path is None else Path(source_path)
    if not path.exists():
        raise MissingDataError(f"{path} not found; run `gnas data fetch {name}` or give a file")
    target = folder / f"{source.table}.parquet" if out is None else Path(out)
    check_utf8(target, "a table")
    if path.resolve() == target.resolve():
        raise ConfigError(f"the output must be another file than the input {path}")
    is_table = notation is not None or path.suffix == ".parquet"
    _check_head(path, None if is_table else source)
    from gnas.data.tables import save_table

    table = _read(path, source, notation, progress)
    facts = table.provenance
    if facts.space != source.space:
        raise DataError(f"{path} must be of the space '{source.space}', but is of '{facts.space}'")
    table.provenance = replace(facts, name=target.stem, path="")
    save_table(table, target)
    table.provenance = replace(table.provenance, path=str(target))
    return target, table


def verify(
    path_or_name: str | Path,
    *,
    data_dir: str | Path | None = None,
    space: Space | None = None,
    progress: ProgressCallback | None = None,
) -> BenchmarkTable:
    """Check a table, or a source file before conversion, completely.

    Args:
        path_or_name: See `find_table`; also a file or folder like one of `SOURCES`.
        data_dir: See `data_folder`.
        space: See `gnas.data.verify_table`.
        progress: Told how far checking has come.

    Raises:
        MissingDataError: there is no such file.
        DataError: says what is wrong, and where.
        ConfigError: the table is not of ``space``.
    """
    path = Path(path_or_name)
    source = next((source for source in SOURCES.values() if source.is_kind_of(path)), None)
    if source is None:
        path = find_table(path_or_name, data_dir=data_dir)
    elif not path.exists():
        raise MissingDataError(f"a file to verify must exist, but there is no {path}")
    _check_head(path, source)
    from gnas.data.tables import load_table, verify_table

    table = load_table(path) if source is None else source.read(path, progress)
    verify_table(table, space=space, progress=progress)
    return table


def _read(
    path: Path, source: TableSource, notation: str | None, progress: ProgressCallback | None
) -> BenchmarkTable:
    from gnas.data.parquet import read_schema
    from gnas.data.tables import load_table
    from gnas.data.third_party import read_third_party

    if notation is not None:
        return read_third_party(path, read_schema(path), notation=notation)
    if path.suffix == ".parquet":
        return load_table(path)
    return source.read(path, progress)


def _check_head(path: Path, source: TableSource | None) -> None:
    """Check by the head of a file that it can be what it is read as, before heavy imports.

    Args:
        path: The file or folder.
        source: What it is like; None for a Parquet table.

    Raises:
        DataError: it cannot.
        MissingDataError: there is no such file.
    """
    if source is None:
        check_table(path)
    else:
        source.check(path)


def _source(name: str) -> TableSource:
    if name not in SOURCES:
        raise ConfigError(f"unknown source '{name}'; choose from {sorted(SOURCES)}")
    return SOURCES[name]


def _download(source: TableSource, target: Path, progress_bar: bool) -> None:
    """Raise ValueError on a wrong checksum, OSError (requests' too) on anything else."""
    assert source.url is not None
    known = f"sha256:{source.sha256}" if source.sha256 else _stated_md5(source.url)
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        pooch.retrieve(
            source.url,
            known_hash=known,
            fname=target.name,
            path=target.parent,
            downloader=pooch.HTTPDownloader(progressbar=progress_bar, timeout=TIMEOUT_S),
        )
    finally:
        logger.setLevel(level)
    try:
        _check_size(source, target)
    except DataError:
        target.unlink()
        raise


def _stated_md5(url: str) -> str | None:
    """The md5 that Google's storage states in its ``x-goog-hash`` header, as pooch wants it."""
    response = requests.head(url, timeout=TIMEOUT_S, allow_redirects=True)
    response.raise_for_status()
    for part in response.headers.get("x-goog-hash", "").split(","):
        kind, _, value = part.strip().partition("=")
        if kind == "md5":
            return f"md5:{base64.b64decode(value).hex()}"
    return None


def _check_size(source: TableSource, path: Path) -> None:
    megabytes = path.stat().st_size / 1e6
    if abs(megabytes - source.megabytes) > SIZE_TOLERANCE * source.megabytes:
        raise DataError(
            f"{path} must have about {source.megabytes} MB, but has {megabytes:.1f}; delete it "
            f"and run `gnas data fetch {source.name}` again"
        )


def _reason(error: requests.RequestException) -> str:
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"HTTP {error.response.status_code}"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    return "no connection"
