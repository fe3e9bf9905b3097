"""Storages of studies: an SQLite file for the processes of one machine, PostgreSQL for many.

Both are Optuna's `RDBStorage`, used through its public interface. What is added here is what
several processes need around it: one lock a study, patience with a database that restarts, and
errors of one line.
"""

from __future__ import annotations

import fcntl
import sqlite3
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, RDBStorage, get_storage
from optuna.trial import FrozenTrial
from sqlalchemy import URL, create_engine, inspect
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from gnas.data.files import FORMAT_ERRORS, link_target
from gnas.errors import DataError, GnasError, MissingDataError
from gnas.studies.places import check_place, check_storage

T = TypeVar("T")
OnStale = Callable[[optuna.Study, FrozenTrial], None]
"""Called with a trial that was failed because its worker stopped sending heartbeats."""

MIN_SQLITE_BYTES = 512
SQLITE_TIMEOUT_S = 60.0
"""Longest wait for another process' write to the same file."""


class Storage(ABC):
    """An Optuna storage that many processes share."""

    backend: BaseStorage
    """Optuna's own, with its cache of finished trials."""
    shown: str
    """The place without user and password, for messages and records."""
    one_machine: bool
    """Whether all workers run on one machine, so that no heartbeats are needed."""
    patience_s: float = 0.0
    """Seconds for which a lost connection is tried again."""

    @abstractmethod
    def call(self, action: Callable[[], T]) -> T:
        """Return what ``action`` returns.

        ``action`` may be called again after a lost connection, so that it must be safe to repeat.

        Raises:
            DataError: the storage cannot be used.
        """

    @abstractmethod
    def exclusive(self, study_name: str) -> AbstractContextManager[None]:
        """Hold the lock of a study, which one process at a time has and which ends with it."""

    @abstractmethod
    def heartbeat(self, study_name: str, number: int) -> None:
        """Record that the worker of a trial is alive, where that is needed.

        Args:
            study_name: Name of the study.
            number: Number of the trial.
        """

    @abstractmethod
    def fail_stale(self, study: optuna.Study, heartbeat_s: float, on_stale: OnStale) -> None:
        """Fail the running trials whose workers have been silent for long.

        Args:
            study: The study.
            heartbeat_s: Seconds between heartbeats.
            on_stale: Called with every trial that was failed.
        """


class SQLite(Storage):
    """An SQLite file for any number of processes of one machine.

    Commits survive a killed process at once; those of the last moments may be lost when the
    machine itself loses power, but never those before them, nor the file.

    Args:
        path: The file; a lock and SQLite's own write-ahead log lie beside it.
        create: Make it if there is none.

    Raises:
        MissingDataError: there is no file, and none is to be made.
        DataError: it is not a study, or cannot be written.
    """

    one_machine = True

    def __init__(self, path: Path, *, create: bool) -> None:
        self.shown, path = str(path), link_target(path)
        if not create:
            check_storage(path)
        path = path.absolute()  # an evaluation may change the working folder
        self._path = path
        self._threads = threading.Lock()
        self._lock = path.with_name(path.name + ".lock")
        with self._one_line():
            if path.exists():
                self._check_head(create)
            path.parent.mkdir(parents=True, exist_ok=True)
            with self.exclusive():
                url = URL.create("sqlite", database=str(path))
                rdb = opened(url, self.shown, create=create, creator=self._connection)
        self.backend = get_storage(rdb)
        weakref.finalize(self, rdb.engine.dispose)

    def call(self, action: Callable[[], T]) -> T:
        """See `Storage.call`."""
        with self._one_line():
            return action()

    @contextmanager
    def exclusive(self, study_name: str = "") -> Iterator[None]:
        """See `Storage.exclusive`; one lock for all studies of the file.

        Not the study's file itself: closing another handle of that would end SQLite's locks.
        """
        with self._threads, self._lock.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def heartbeat(self, study_name: str, number: int) -> None:
        """See `Storage.heartbeat`; a process of this machine is known to run or not."""

    def fail_stale(self, study: optuna.Study, heartbeat_s: float, on_stale: OnStale) -> None:
        """See `Storage.fail_stale`; none is."""

    def _connection(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=SQLITE_TIMEOUT_S, check_same_thread=False)
        # Readers do not wait for writers, and a commit does not wait for the disk.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    def _check_head(self, create: bool) -> None:
        """Check the file before anything is written beside it."""
        if not self._path.is_file():
            raise self._not_a_study()
        size = self._path.stat().st_size
        if size == 0 and not create and not self._lock.exists():
            raise MissingDataError(f"the study must exist, but {self._path} has none")
        if 0 < size < MIN_SQLITE_BYTES:
            raise self._not_a_study()  # SQLite would take it for an empty file
        # By SQLite: closing a handle of our own would end the locks that this process has on it.
        connection = sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            connection.execute("PRAGMA schema_version")
        finally:
            connection.close()

    def _not_a_study(self) -> DataError:
        return DataError(
            f"{self._path} must be a study that gnas or Optuna made, but is another kind of "
            "file; move it away to start anew"
        )

    @contextmanager
    def _one_line(self) -> Iterator[None]:
        try:
            yield
        except GnasError:
            raise
        except (StorageInternalError, SQLAlchemyError, sqlite3.Error) as error:
            reason = driver_error(error)
            if "not a database" in str(reason):
                raise self._not_a_study() from None
            raise DataError(f"{self._path} must be readable and writable, but: {reason}") from None
        except OSError as error:
            raise DataError(
                f"{self._path} must be writable, but got: {error.strerror or error}"
            ) from None
        except (
            FORMAT_ERRORS
        ) as error:  # what Optuna's and gnas' code raises that reads other content
            raise DataError(
                f"{self._path} must be a study of gnas, but its content is damaged: {error!r:.200}"
            ) from error


def opened(url: str | URL, shown: str, *, create: bool, **engine_kwargs: Any) -> RDBStorage:
    """Optuna's storage at ``url``, whose tables must be those of the installed version.

    Called under a lock, as two processes cannot make the tables together.

    Args:
        url: For SQLAlchemy.
        shown: The same for messages.
        create: Make the tables if there are none.
        **engine_kwargs: More for `sqlalchemy.create_engine`.

    Raises:
        MissingDataError: there are no tables, and none are to be made.
        DataError: the tables are those of something else, or of another version of Optuna.
    """
    engine = create_engine(url, **engine_kwargs)
    try:
        tables = inspect(engine).get_table_names()
        studies = inspect(engine).get_columns("studies") if "studies" in tables else []
    finally:
        engine.dispose()
    # SQLite makes one table after another: a killed process may have left some of them
    if not {"studies", "alembic_version"} <= {*tables} and not create:
        raise MissingDataError(f"the study must exist, but {shown} has none")
    if studies and {column["name"] for column in studies} != {"study_id", "study_name"}:
        raise DataError(
            f"{shown} must have Optuna's tables or none, but has a table 'studies' of something "
            "else; use a place of its own"
        )
    address = url if isinstance(url, str) else url.render_as_string(hide_password=False)
    rdb = RDBStorage(address, engine_kwargs, True, skip_table_creation=not create)
    if rdb.get_current_version() != rdb.get_head_version():
        rdb.engine.dispose()
        raise DataError(
            f"{shown} must have the tables of Optuna {optuna.__version__}, but has those of "
            "another version; use that version, or `optuna storage upgrade`"
        )
    return rdb


def driver_error(error: BaseException) -> BaseException:
    """The database driver's own error inside one of Optuna's or SQLAlchemy's."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, DBAPIError) and cause.orig is not None:
            return cause.orig
        cause = cause.__cause__
    return error


def open_storage(where: str | Path, *, create: bool) -> Storage:
    """The storage at ``where``, which stays open until its process ends.

    Args:
        where: A file, or ``postgresql+psycopg://user:password@host/database``.
        create: Make the file or the tables if there are none.

    Raises:
        ConfigError: an URL of another kind of database.
        MissingDataError: there is no file, and none is to be made.
        DataError: the file is no study; the database cannot be reached or used.
        UnsupportedError: the database's driver is not installed.
    """
    check_place(where)
    if "://" in str(where):
        from gnas.studies.postgresql import PostgreSQL

        return PostgreSQL(str(where), create=create)
    return SQLite(Path(where), create=create)
