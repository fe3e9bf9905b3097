"""Studies in a PostgreSQL database, for the workers of many machines."""

from __future__ import annotations

import json
import logging
import random
import re
import time
import weakref
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage, get_storage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import URL, Connection, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, SQLAlchemyError

from gnas.errors import ConfigError, DataError, MissingDataError, UnsupportedError
from gnas.studies.storage import CANDIDATE, DEATHS, OWNER, Claim, Storage

logger = logging.getLogger(__name__)
T = TypeVar("T")

DRIVER = "postgresql+psycopg"
FORM = f"{DRIVER}://user:password@host:port/database"
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
AT_ONCE = 8
"""Waiting trials that a worker tries to take before it looks for others."""
LOCKS = 0x676E6173
"""The first of the two numbers of our locks in a database: gnas in ASCII."""
LOST = re.compile("08|57P0|53300")
"""States (SQLSTATE) that pass: no connection, the server stops or starts, too many clients."""

TABLES = """
SELECT to_regclass('studies') IS NOT NULL, to_regclass('version_info') IS NOT NULL"""
LOCK = "SELECT pg_advisory_xact_lock(:space, :name)"
# Optuna's own ways to the following read all unfinished trials, or write value by value.
WAITING = """
SELECT trial_id, number, value_json FROM trials JOIN trial_system_attributes USING (trial_id)
WHERE study_id = :study AND state = 'WAITING' AND key = :key
ORDER BY trial_id LIMIT :limit"""
ALONE = "SELECT study_id FROM studies WHERE study_id = :study FOR UPDATE"
COUNT = "SELECT count(*) FROM trials WHERE study_id = :study"
CREATE = """
INSERT INTO trials (study_id, number, state, datetime_complete)
VALUES (:study, :number, CAST(:state AS trialstate), :complete)"""
CREATED = (
    "SELECT trial_id FROM trials WHERE study_id = :study AND number >= :first ORDER BY number"
)
VALUE = """
INSERT INTO trial_values (trial_id, objective, value, value_type)
VALUES (:trial, 0, :value, 'FINITE')"""
STATE = "SELECT CAST(state AS text) FROM trials WHERE trial_id = :trial FOR UPDATE"
WRITE = """
INSERT INTO trial_{table}_attributes (trial_id, key, value_json) VALUES (:trial, :key, :value)
ON CONFLICT (trial_id, key) DO UPDATE SET value_json = excluded.value_json"""
COUNTS = "SELECT CAST(state AS text), count(*) FROM trials WHERE study_id = :study GROUP BY state"
SUCCESSORS = """
SELECT count(*) FROM trials JOIN trial_system_attributes USING (trial_id)
WHERE study_id = :study AND key = :key"""
SILENT = """
SELECT trial_id FROM trials JOIN trial_heartbeats USING (trial_id)
WHERE study_id = :study AND state = 'RUNNING'
  AND extract(epoch FROM CAST(now() AS timestamp) - heartbeat) > :seconds
  AND extract(epoch FROM now() - pg_postmaster_start_time()) > :seconds"""
"""By the database's clock alone; after its own restart workers have time to be heard again."""


class Database(Storage):
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
        self._reader = self._rdb.engine.execution_options(isolation_level="AUTOCOMMIT")
        self.optuna = get_storage(self._rdb)
        weakref.finalize(self, self._rdb.engine.dispose)

    def _open(self, create: bool) -> RDBStorage:
        address = self._address.render_as_string(hide_password=False)
        engine = create_engine(address)
        try:
            with engine.begin() as connection:  # two processes cannot make the tables together
                connection.execute(text(LOCK), {"space": LOCKS, "name": 0})
                studies, version_info = tuple(connection.execute(text(TABLES)).one())
                self._check_tables(create, studies, version_info)
                rdb = RDBStorage(
                    address,
                    engine_kwargs={"pool_pre_ping": True},
                    skip_compatibility_check=True,
                    skip_table_creation=not create,
                )
        finally:
            engine.dispose()
        if rdb.get_current_version() != rdb.get_head_version():
            rdb.engine.dispose()
            raise DataError(
                f"the database {self.shown} must have the tables of Optuna "
                f"{optuna.__version__}, but has those of another version; use that version, "
                "or `optuna storage upgrade`"
            )
        return rdb

    def _check_tables(self, create: bool, studies: bool, version_info: bool) -> None:
        if not studies and not create:
            raise MissingDataError(f"the study must exist, but {self.shown} has none")
        if studies and not version_info:
            raise DataError(
                f"the database {self.shown} must have Optuna's tables or none, "
                "but has a table 'studies' of something else; use a database of its own"
            )

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

    def claim(self, study_id: int, owner: dict[str, Any]) -> Claim | None:
        """See `Storage.claim`."""
        while waiting := self._ask(WAITING, study=study_id, limit=AT_ONCE, key=CANDIDATE):
            for trial_id, number, candidate in waiting:
                # Before the claim: a trial that runs without any heartbeat would run forever.
                self._rdb.record_heartbeat(trial_id)
                with suppress(UpdateFinishedTrialError):  # another worker was faster
                    if self.optuna.set_trial_state_values(trial_id, TrialState.RUNNING):
                        self.write(trial_id, {"host": owner["host"]}, {OWNER: owner})
                        return Claim(trial_id, number, json.loads(candidate))
        return None

    def create(self, study_id: int, trials: Sequence[FrozenTrial]) -> None:
        """See `Storage.create`; one transaction."""
        if not trials:
            return
        with self._rdb.engine.begin() as connection:
            connection.execute(text(ALONE), {"study": study_id})  # as Optuna does
            first = connection.scalar(text(COUNT), {"study": study_id}) or 0
            rows = [
                {"study": study_id, "number": first + k, "state": t.state.name}
                | {"complete": t.datetime_complete}
                for k, t in enumerate(trials)
            ]
            connection.execute(text(CREATE), rows)
            found = connection.execute(text(CREATED), {"study": study_id, "first": first})
            created = list(zip(found.scalars(), trials, strict=True))
            values = [
                {"trial": trial_id, "value": trial.value}
                for trial_id, trial in created
                if trial.value is not None
            ]
            if values:
                connection.execute(text(VALUE), values)
            _write(connection, "user", [(i, trial.user_attrs) for i, trial in created])
            _write(connection, "system", [(i, trial.system_attrs) for i, trial in created])

    def write(
        self, trial_id: int, columns: Mapping[str, Any], system: Mapping[str, Any] | None = None
    ) -> None:
        """See `Storage.write`; one transaction."""
        with self._rdb.engine.begin() as connection:
            state = connection.scalar(text(STATE), {"trial": trial_id})
            if TrialState[str(state)].is_finished():
                raise UpdateFinishedTrialError(f"trial {trial_id} has ended")
            _write(connection, "user", [(trial_id, columns)])
            _write(connection, "system", [(trial_id, system or {})])

    def counts(self, study_id: int) -> dict[TrialState, int]:
        """See `Storage.counts`."""
        counts = dict.fromkeys(TrialState, 0)
        for row in self._ask(COUNTS, study=study_id):
            counts[TrialState[row[0]]] = row[1]
        return counts

    def successors(self, study_id: int) -> int:
        """See `Storage.successors`."""
        return int(self._ask(SUCCESSORS, study=study_id, key=DEATHS)[0][0])

    def running(self, study_id: int) -> list[FrozenTrial]:
        """See `Storage.running`."""
        states = (TrialState.RUNNING,)
        return self._rdb.get_all_trials(study_id, deepcopy=False, states=states)

    def beat(self, trial_id: int) -> None:
        """See `Storage.beat`; one that is not possible is left out."""
        with suppress(StorageInternalError, SQLAlchemyError):
            self._rdb.record_heartbeat(trial_id)

    def silent(self, study_id: int, seconds: float) -> set[int]:
        """See `Storage.silent`."""
        return {int(row[0]) for row in self._ask(SILENT, study=study_id, seconds=seconds)}

    def _ask(self, query: str, **values: Any) -> list[Any]:
        with self._reader.connect() as connection:
            return list(connection.execute(text(query), values))

    def _unusable(self, error: Exception, passed: float = 0.0) -> DataError:
        after = f" for {passed / 60:.0f} minutes" if passed >= 60 else ""
        return DataError(
            f"the database {self.shown} must be reachable and usable{after}, but: "
            f"{self._reason(error)}"
        )

    def _reason(self, error: Exception) -> str:
        """The driver's or the server's own words, without the query and what the URL keeps."""
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, DBAPIError):
            cause = cause.__cause__
        original = cause.orig if cause is not None and cause.orig is not None else error
        message = getattr(getattr(original, "diag", None), "message_primary", None)
        line = (message or str(original) or type(original).__name__).splitlines()[0]
        line = re.sub(r"^.*failed: ", "", line)
        line = re.sub(r"(for user|role|user) \"[^\"]*\"", r"\1", line).replace("FATAL:  ", "")
        password = self._address.password
        return line.replace(str(password), "...") if password else line


def _write(
    connection: Connection, table: str, attributes: Iterable[tuple[int, Mapping[str, Any]]]
) -> None:
    rows = [
        {"trial": trial_id, "key": key, "value": json.dumps(value)}
        for trial_id, values in attributes
        for key, value in values.items()
    ]
    if rows:
        connection.execute(text(WRITE.format(table=table)), rows)


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
        raise ConfigError(
            f"a study's storage must be a journal file or {FORM}, but got a {kind} URL"
        )
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
    while cause is not None and not isinstance(cause, DBAPIError):
        cause = cause.__cause__
    if cause is None:
        return False
    state = getattr(cause.orig, "sqlstate", None)
    if state is not None:
        return LOST.match(state) is not None
    return cause.connection_invalidated or isinstance(cause, OperationalError)
