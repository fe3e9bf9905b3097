"""PostgreSQL databases of studies, for the workers of many machines."""

from __future__ import annotations

import logging
import math
import random
import re
import time
import warnings
import weakref
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage, fail_stale_trials, get_storage
from sqlalchemy import URL, Connection, create_engine, make_url, text
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    OperationalError,
    PendingRollbackError,
    SQLAlchemyError,
)

from gnas.errors import ConfigError, DataError, UnsupportedError
from gnas.printable import amount
from gnas.studies.places import DRIVER, FORM
from gnas.studies.storage import OnStale, Storage, driver_error, opened

logger = logging.getLogger(__name__)
T = TypeVar("T")

OPTIONS = {
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",  # ms
}
"""Asked of connections unless the URL says otherwise, to notice a machine that is gone."""
PAUSES_S = (0.5, 15.0)
"""Shortest and longest time between two attempts to reach a database that was lost."""
LOCKS = 0x676E6173
"""The first of the two numbers of our locks in a database: gnas in ASCII."""
LOST = re.compile("08|57P0|53300")
"""States (SQLSTATE) that pass: no connection, the server stops or starts, too many clients."""

LOCK = "SELECT pg_advisory_xact_lock(:space, :name)"
UPTIME_S = "SELECT extract(epoch FROM now() - pg_postmaster_start_time())"
MISSED_HEARTBEATS = 6.0
"""Heartbeats without which a worker is taken for dead."""


class PostgreSQL(Storage):
    """A PostgreSQL database with Optuna's tables.

    Args:
        url: Its address, see `FORM`.
        create: Make the tables if there are none.

    Raises:
        ConfigError: an URL of another kind.
        DataError: the database cannot be reached, or has other tables.
        UnsupportedError: its driver is not installed.
    """

    one_machine = False
    patience_s = 300.0

    def __init__(self, url: str, *, create: bool) -> None:
        try:
            import psycopg  # noqa: F401  SQLAlchemy's driver for these URLs
        except ImportError as error:
            raise UnsupportedError(
                "a study in PostgreSQL needs psycopg; install it: pip install 'gnas[postgresql]'"
            ) from error
        self._address = parsed(url)
        self.shown = place(self._address)
        for name in ("sqlalchemy.pool", "psycopg"):  # what they would say, we say in one line
            logging.getLogger(name).setLevel(logging.CRITICAL)
        try:
            self._rdb = self._open(create)
        except (StorageInternalError, SQLAlchemyError) as error:
            raise self._unusable(error) from None
        self.backend = get_storage(self._rdb)
        weakref.finalize(self, self._rdb.engine.dispose)

    def _open(self, create: bool) -> RDBStorage:
        engine = create_engine(self._address)
        try:
            with engine.begin() as connection:
                connection.execute(text(LOCK), {"space": LOCKS, "name": 0})
                return opened(self._address, self.shown, create=create, pool_pre_ping=True)
        finally:
            engine.dispose()

    def call(self, action: Callable[[], T]) -> T:
        """See `Storage.call`."""
        start, pause, told = time.monotonic(), PAUSES_S[0], False
        while True:
            try:
                return action()
            except (StorageInternalError, SQLAlchemyError) as error:
                passed = time.monotonic() - start
                if not _is_lost(error) or passed >= self.patience_s:
                    raise self._unusable(error, passed) from None
            if not told:
                logger.warning(
                    "%s cannot be reached; trying for %.0f minutes",
                    self.shown,
                    self.patience_s / 60,
                )
            told = True
            time.sleep(pause * (0.5 + random.random()))  # not all workers at once
            pause = min(2 * pause, PAUSES_S[1])

    @contextmanager
    def exclusive(self, study_name: str) -> Iterator[None]:
        """See `Storage.exclusive`."""

        def locked() -> Connection:
            connection = self._rdb.engine.connect()
            try:
                connection.execute(text("SET LOCAL lock_timeout = '5min'"))
                values = {"space": LOCKS, "name": zlib.crc32(study_name.encode()) - 2**31}
                connection.execute(text(LOCK), values)
            except BaseException:
                connection.close()
                raise
            return connection

        connection = self.call(locked)
        try:
            yield
        finally:
            with suppress(SQLAlchemyError):
                connection.close()

    def heartbeat(self, study_name: str, number: int) -> None:
        """See `Storage.heartbeat`; one that is not possible is left out."""
        with suppress(StorageInternalError, SQLAlchemyError):
            study_id = self.backend.get_study_id_from_name(study_name)
            trial_id = self.backend.get_trial_id_from_study_id_trial_number(study_id, number)
            self._rdb.record_heartbeat(trial_id)

    def fail_stale(self, study: optuna.Study, heartbeat_s: float, on_stale: OnStale) -> None:
        """See `Storage.fail_stale`.

        By the database's clock alone; after its own restart workers have time for a heartbeat.
        """
        with self._rdb.engine.connect() as connection:
            uptime_s = float(connection.scalar(text(UPTIME_S)) or 0.0)
        if uptime_s <= MISSED_HEARTBEATS * heartbeat_s:
            return
        self._rdb.heartbeat_interval = math.ceil(heartbeat_s)
        self._rdb.grace_period = max(1, round(MISSED_HEARTBEATS * heartbeat_s))
        self._rdb.heartbeat_stale_trial_callback = on_stale
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                fail_stale_trials(study)
        finally:  # with an interval, `Study.ask` warns that its caller must send the heartbeats
            self._rdb.heartbeat_interval = None

    def _unusable(self, error: Exception, passed: float = 0.0) -> DataError:
        after = f" for {amount(round(passed / 60), 'minute')}" if passed >= 60 else ""
        return DataError(
            f"the database {self.shown} must be reachable and usable{after}, but: "
            f"{self._reason(error)}"
        )

    def _reason(self, error: Exception) -> str:
        """The driver's or the server's own words, without the query and what the URL keeps."""
        original = driver_error(error)
        message = getattr(getattr(original, "diag", None), "message_primary", None)
        line = (message or str(original) or type(original).__name__).splitlines()[0]
        line = re.sub(r"^.*failed: ", "", line)
        line = re.sub(r"(for user|role|user) \"[^\"]*\"", r"\1", line).replace("FATAL:  ", "")
        password = self._address.password
        return line.replace(str(password), "...") if password else line


def parsed(url: str) -> URL:
    """The URL with our defaults for what it leaves open.

    Raises:
        ConfigError: it is not one of PostgreSQL; does not say what it is, for a password's sake.
    """
    kind = url.partition("://")[0]
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        kind, address = "broken", None
    if address is None or address.drivername != DRIVER:
        raise ConfigError(f"a study's storage must be a file or {FORM}, but got a {kind} URL")
    # Optuna compares times with and without zone
    options = f"{_text(address.query.get('options', ''))} -c timezone=UTC".strip()
    return address.set(query={**OPTIONS, **address.query, "options": options})


def place(address: URL) -> str:
    """Driver, host and database of an address; nothing that could be a secret."""
    parts = [str(part or "").rpartition("@")[2] for part in (address.host, address.database)]
    port = f":{address.port}" if address.port else ""
    return f"{DRIVER}://{parts[0]}{port}/{parts[1]}"


def _text(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else " ".join(value)


def _is_lost(error: Exception) -> bool:
    """Whether an error says that the connection is gone, and not that a query is wrong."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, PendingRollbackError):
            return True  # Optuna tries a read again inside a transaction that was lost
        if isinstance(cause, DBAPIError):
            state = getattr(cause.orig, "sqlstate", None)
            if state is not None:
                return LOST.match(state) is not None
            return cause.connection_invalidated or isinstance(cause, OperationalError)
        cause = cause.__cause__ or cause.__context__
    return False
