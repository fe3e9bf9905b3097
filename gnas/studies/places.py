"""Locations of studies, as shown in messages and records."""

from __future__ import annotations

import re
from pathlib import Path

from gnas.errors import ConfigError, MissingDataError

DRIVER = "postgresql+psycopg"
FORM = f"{DRIVER}://user:password@host:port/database"
_ALMOST_URL = re.compile(r"(sqlite|postgres\w*|mysql|mariadb)(\+\w*)?:")
LONGEST_NAME = 512
"""Characters of a study's name in Optuna's tables."""


def shown(where: str | Path) -> str:
    """``where`` without user, password and options, for messages and records.

    Args:
        where: A file, or the URL of a database.

    Examples:
        >>> shown("runs/study.db")
        'runs/study.db'
    """
    if "://" not in str(where):
        return str(where)
    from gnas.studies.postgresql import parsed, place

    return place(parsed(str(where)))


def check_study_name(name: str | None) -> None:
    """Check the name of a study; None always passes.

    Raises:
        ConfigError: it is empty, or longer than databases keep.
    """
    if name is not None and not 0 < len(name) <= LONGEST_NAME:
        raise ConfigError(
            f"a study's name must have 1 to {LONGEST_NAME} characters, but has {len(name)}"
        )


def check_place(where: str | Path) -> None:
    """Check that a place is a file, and none that was meant as a URL.

    Args:
        where: A file or a URL.

    Raises:
        ConfigError: it is a folder, or begins as the URL of a database, without ``://``.
    """
    if "://" in str(where):
        return
    if Path(where).is_dir():  # "" too
        raise ConfigError(f"a study's storage must be a file, but {str(where)!r} is a folder")
    if found := _ALMOST_URL.match(str(where)):
        raise ConfigError(
            f"a study's storage must be a file or {FORM}, but begins with {found[0]!r}; write "
            f"./{found[0]}... for a file of such a name"
        )


def check_storage(where: str | Path) -> None:
    """Check that the file of a study exists; databases are checked on opening.

    Args:
        where: A file or a URL.

    Raises:
        MissingDataError: there is no such file.
    """
    check_place(where)
    if "://" not in str(where) and not Path(where).exists():
        raise MissingDataError(
            f"a study's file must exist, but {where} does not; "
            "give the file that the first command wrote, or the URL of the database"
        )


def resumed_storage(folder: Path, was: str | None, storage: str | None) -> str | None:
    """Storage of a resumed search.

    Args:
        folder: Folder of the run.
        was: Storage shown in its record.
        storage: URL of the storage, required for databases, since runs store no passwords.

    Raises:
        ConfigError: it is another one, or a database's URL is not given again.
    """
    if storage is not None and shown(storage) != was:
        raise ConfigError(
            f"a resumed search goes on in its own storage, which is "
            f"{was or 'a file in its folder'}, but got {shown(storage)}"
        )
    if storage is None and "://" in (was or ""):
        raise ConfigError(
            f"the candidates of {folder} are in {was}; runs keep no passwords, so give the whole "
            "URL again with --storage"
        )
    return storage or was
