"""Studies in a PostgreSQL database, for the workers of many machines."""

from __future__ import annotations

import logging
import random
import re
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage, get_storage
from optuna.trial import FrozenTrial, TrialState

from gnas.errors import ConfigError, DataError, UnsupportedError
from gnas.studies.storage import DEATHS, OWNER, Storage

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

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
"""What is asked of a connection unless the URL says otherwise: to notice a machine that is gone."""
PAUSES_S = (0.5, 15.0)
"""Shortest and longest time between two attempts to reach a database that was lost."""
AT_ONCE = 8
"""Waiting trials that a worker tries to take before it looks for others."""
LOCKS = 0x676E6173
"""The first of the two numbers of our locks in a database: gnas in ASCII."""
LOST = re.compile("08|57P0|53300")
"""States (SQLSTATE) that pass: no connection, the server stops or starts, too many clients."""

# Optuna's own ways to these answers read every unfinished or every finished trial.
WAITING = """
SELECT trial_id FROM trials WHERE study_id = :study AND state = 'WAITING'
ORDER BY trial_id LIMIT :limit"""
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
        address = _address(url)
        self.shown = place_of(address)
        self._secrets = _secrets(address)
        for name in ("sqlalchemy.pool", "psycopg"):  # what they would say, we say in one line
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._rdb = self._open(address.render_as_string(hide_password=False), create)
        self.optuna = get_storage(self._rdb)
