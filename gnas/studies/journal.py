"""Studies in one file, for the processes of one machine."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from gnas.errors import DataError, MissingDataError
from gnas.studies.storage import CANDIDATE, DEATHS, OWNER, Claim, Storage

T = TypeVar("T")
LINE_START = b'{"op_code":'
"""How every line of an Optuna journal begins, as Optuna writes it."""


class Journal(Storage):
    """An Optuna journal file.

    Args:
        path: The file.
        create: Make it if there is none.

    Raises:
        MissingDataError: there is no file, and none is to be made.
        DataError: it is not a journal, or cannot be written.
    """

    one_machine = True

    def __init__(self, path: Path, *, create: bool) -> None:
        self.shown, self._path = str(path), path
        if not create and not path.exists():
            raise MissingDataError(
                f"a study's journal must exist, but {path} does not; "
                "give the file that the first command wrote, or the URL of the database"
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and not _is_journal(path):
                raise ValueError("its first line is not one of a journal")
            self._lock = JournalLock(path)
            with self._lock.held():
                self.optuna = JournalStorage(JournalFileBackend(str(path), self._lock))
        except (ValueError, KeyError, TypeError, AssertionError) as error:
            raise DataError(
                f"{path} must be an Optuna journal, but cannot be read: {error}; "
                "move it away to start anew"
            ) from error
        except OSError as error:
            raise _unwritable(path, error) from error

    def call(self, action: Callable[[], T]) -> T:
        """See `Storage.call`."""
        try:
            return action()
        except OSError as error:
            if isinstance(error, DataError):
                raise
            raise _unwritable(self._path, error) from error

    @contextmanager
    def exclusive(self, study_name: str) -> Iterator[None]:
        """See `Storage.exclusive`; the lock is that under which lines are written."""
        self.call(self._lock.acquire)
        try:
            yield
        finally:
            self._lock.release()

    def claim(self, study_id: int, owner: dict[str, Any]) -> Claim | None:
        """See `Storage.claim`."""
        states = (TrialState.WAITING,)
        if not self.optuna.get_all_trials(study_id, deepcopy=False, states=states):
            return None
        with self._lock.held():
            trials = self.optuna.get_all_trials(study_id, deepcopy=False, states=states)
            if not trials:
                return None
            trial_id = trials[0]._trial_id
            self.write(trial_id, {"host": owner["host"]}, {OWNER: owner})
            self.optuna.set_trial_state_values(trial_id, TrialState.RUNNING)
        return Claim(trial_id, trials[0].number, trials[0].system_attrs[CANDIDATE])

    def create(self, study_id: int, trials: Sequence[FrozenTrial]) -> None:
        """See `Storage.create`; one after the other."""
        for trial in trials:
            self.optuna.create_new_trial(study_id, trial)

    def write(
        self, trial_id: int, columns: Mapping[str, Any], system: Mapping[str, Any] | None = None
    ) -> None:
        """See `Storage.write`."""
        with self._lock.held():
            for name, value in columns.items():
                self.optuna.set_trial_user_attr(trial_id, name, value)
            for name, value in (system or {}).items():
                self.optuna.set_trial_system_attr(trial_id, name, value)

    def counts(self, study_id: int) -> dict[TrialState, int]:
        """See `Storage.counts`."""
        states = [t.state for t in self.optuna.get_all_trials(study_id, deepcopy=False)]
        return {state: states.count(state) for state in TrialState}

    def successors(self, study_id: int) -> int:
        """See `Storage.successors`."""
        trials = self.optuna.get_all_trials(study_id, deepcopy=False)
        return sum(DEATHS in trial.system_attrs for trial in trials)

    def running(self, study_id: int) -> list[FrozenTrial]:
        """See `Storage.running`."""
        states = (TrialState.RUNNING,)
        return self.optuna.get_all_trials(study_id, deepcopy=False, states=states)

    def beat(self, trial_id: int) -> None:
        """Nothing: whether a process of this machine runs can be seen."""

    def silent(self, study_id: int, seconds: float) -> set[int]:
        """See `Storage.silent`; none."""
        return set()


class JournalLock(JournalFileOpenLock):
    """The lock under which lines are added; the system releases it when its process ends.

    Optuna's own locks are files beside the journal, which a killed process leaves behind and the
    others wait for. The thread that has this one can take it again.

    What a crash in the middle of a write leaves as an unfinished last line is removed before the
    next line is added.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._threads, self._depth = threading.RLock(), 0
        self._file: BinaryIO | None = None

    def acquire(self) -> bool:
        """Waits for the lock; always true."""
        self._threads.acquire()
        try:
            if self._depth == 0:
                self._file = self._path.open("ab+")
                fcntl.flock(self._file, fcntl.LOCK_EX)
                cut_partial_line(self._file)
        except BaseException:
            if self._file is not None:
                self._file.close()
            self._threads.release()
            raise
        self._depth += 1
        return True

    def release(self) -> None:
        """Gives the lock to whoever waits."""
        assert self._file is not None
        self._depth -= 1
        if self._depth == 0:
            self._file.close()
        self._threads.release()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Has the lock inside."""
        self.acquire()
        try:
            yield
        finally:
            self.release()


def cut_partial_line(file: BinaryIO) -> None:
    """Removes the unfinished last line of a journal."""
    end = file.seek(0, os.SEEK_END)
    if end == 0:
        return
    file.seek(end - 1)
    if file.read(1) == b"\n":
        return
    file.seek(0)
    start = 0
    for line in file:  # the end of the last whole line
        start += len(line) if line.endswith(b"\n") else 0
    os.truncate(file.fileno(), start)


def _is_journal(path: Path) -> bool:
    """Whether a file begins as a journal does; an empty one may become one."""
    with path.open("rb") as file:
        head = file.read(len(LINE_START))
    return head == LINE_START[: len(head)]


def _unwritable(path: Path, error: OSError) -> DataError:
    return DataError(f"{path} must be writable, but got: {error.strerror or error}")
