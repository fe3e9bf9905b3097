"""Where studies are kept: a journal file on one machine, or a PostgreSQL database for many."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

T = TypeVar("T")
OWNER = "owner"
"""The attribute of a trial that says whose it is; see `gnas.owners.owner`."""
CANDIDATE = "candidate"
"""The attribute of a trial that is to be evaluated."""
DEATHS = "deaths"
"""The attribute of a trial that took the place of others: how many of their workers died."""


@dataclass(frozen=True)
class Claim:
    """A candidate that this process is to evaluate."""

    trial_id: int
    number: int
    candidate: dict[str, Any]


class Storage(ABC):
    """What a study needs of the place where it is kept, beside what Optuna's storages do.

    Trials and studies are known by Optuna's internal ids.
    """

    optuna: BaseStorage
    """Optuna's own."""
    shown: str
    """The place without user and password, for messages and records."""
    patience_s: float = 300.0
    """Seconds for which a lost connection is waited for."""
    one_machine: bool
    """Whether all workers are on one machine, so that none needs to be heard of."""

    @abstractmethod
    def call(self, action: Callable[[], T]) -> T:
        """What ``action`` returns; a lost connection is waited for, errors become one line.

        Raises:
            DataError: the storage cannot be used, or not for some minutes.
        """

    @abstractmethod
    def exclusive(self, study_name: str) -> AbstractContextManager[None]:
        """One process at a time is inside; the lock ends with its process."""

    @abstractmethod
    def claim(self, study_id: int, owner: dict[str, Any]) -> Claim | None:
        """Takes the first waiting trial for the process that ``owner`` describes, if one waits.

        Whoever finds a running trial later can tell from it, or from the heartbeat, whether its
        worker is alive, even if that was killed in the middle of this.
        """

    @abstractmethod
    def create(self, study_id: int, trials: Sequence[FrozenTrial]) -> None:
        """Adds waiting or complete trials, all or none where that is possible."""

    @abstractmethod
    def write(
        self, trial_id: int, columns: Mapping[str, Any], system: Mapping[str, Any] | None = None
    ) -> None:
        """Writes attributes of a running trial: those that people see, and those that we need.

        Raises:
            UpdateFinishedTrialError: it has ended.
        """

    @abstractmethod
    def counts(self, study_id: int) -> dict[TrialState, int]:
        """Trials by state."""

    @abstractmethod
    def successors(self, study_id: int) -> int:
        """Trials that took the place of one whose worker ended."""

    @abstractmethod
    def running(self, study_id: int) -> list[FrozenTrial]:
        """Trials that some worker took."""

    @abstractmethod
    def beat(self, trial_id: int) -> None:
        """Says that the trial's worker is alive."""

    @abstractmethod
    def silent(self, study_id: int, seconds: float) -> set[int]:
        """Trials whose worker was not heard of for so long."""


def open_storage(where: str | Path, *, create: bool) -> Storage:
    """The storage at ``where``, which stays open until its process ends.

    Args:
        where: A journal file, or ``postgresql+psycopg://user:password@host/database``.
        create: Make the file or the tables if there are none.

    Raises:
        ConfigError: an URL of another kind of database.
        MissingDataError: there is no file, and none is to be made.
        DataError: the file is no journal; the database cannot be reached or used.
        UnsupportedError: the database's driver is not installed.
    """
    if "://" in str(where):
        from gnas.studies.database import Database

        return Database(str(where), create=create)
    from gnas.studies.journal import Journal

    return Journal(Path(where), create=create)


def shown(where: str | Path) -> str:
    """``where`` without user, password and options, fit for messages and records."""
    if "://" not in str(where):
        return str(where)
    from gnas.studies.database import parsed, place

    return place(parsed(str(where)))
