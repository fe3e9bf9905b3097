"""A study of candidates: what is planned, who evaluates what, and what came out."""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import DuplicatedStudyError, UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from gnas.config import differences
from gnas.errors import ConfigError, DataError, MissingDataError
from gnas.owners import is_dead, owner
from gnas.runs import plain
from gnas.studies.job import Job
from gnas.studies.storage import Storage, open_storage

logger = logging.getLogger(__name__)

MAX_DEATHS = 3
"""A candidate whose workers were killed so often has failed: it may need too much memory."""
HEARTBEAT_S = 10.0
"""Seconds between heartbeats in a study that says nothing else."""
MAX_WAITING = 100
"""Trials that wait in the storage at a time, as Optuna reads all of them at every look."""
CANDIDATE, DEATHS = "candidate", "deaths"
"""System attributes of a trial: what is to be evaluated; how many of its workers have died."""
OWNER, RESULT, ERROR = "owner", "result", "error"
"""User attributes of a trial: the process that has it (see `owners.owner`), and what came out."""
DIED = f"its worker was killed {MAX_DEATHS} times before there was a result"
FINISHED = "finished"
"""The attribute of a study that no more candidates will be added to; idle workers then exit."""


@dataclass(frozen=True, eq=False)
class Claim:
    """A candidate that this process is to evaluate."""

    trial: optuna.Trial
    candidate: dict[str, Any]

    @property
    def number(self) -> int:
        """Number of the trial."""
        return self.trial.number


@dataclass(frozen=True)
class Progress:
    """How far a study is, in candidates."""

    done: int
    failed: int
    total: int

    @property
    def is_over(self) -> bool:
        """Whether nothing waits or is being evaluated."""
        return self.done + self.failed >= self.total


@dataclass(frozen=True)
class Evaluated:
    """Where a candidate is: evaluated, failed, or neither yet."""

    candidate: dict[str, Any]
    result: dict[str, Any] | None
    error: str | None
    """Why it failed; None if it did not."""
    number: int | None
    """Number of the trial; None if it is not in the storage yet."""


class CandidateStudy:
    """Candidates in a storage, evaluated by any number of workers; see `open` and `join`."""

    def __init__(self, storage: Storage, name: str, where: str | Path) -> None:
        self.name, self.where = name, where
        self._storage = storage
        self._study = storage.call(
            lambda: optuna.load_study(
                study_name=name, storage=storage.backend, sampler=optuna.samplers.RandomSampler()
            )
        )
        attributes = storage.call(lambda: self._study.user_attrs)
        self.kind: str | None = attributes.get("kind")
        self.facts: dict[str, Any] = attributes.get("facts", {})
        self.heartbeat_s: float = attributes.get("heartbeat_s", HEARTBEAT_S)
        if not isinstance(self.facts, dict) or type(self.heartbeat_s) not in (int, float):
            raise DataError(
                f"study {name!r} must hold the facts of a job and the seconds between "
                f"heartbeats, but holds {self.facts!r:.80} and {self.heartbeat_s!r:.80}"
            )
        self._keys: list[str | None] = []  # of all trials seen so far, by their numbers
        self._backlog: dict[str, dict[str, Any]] = {}  # planned, but not in the storage yet

    @classmethod
    def open(
        cls, job: Job, *, name: str, storage: str | Path, heartbeat_s: float = HEARTBEAT_S
    ) -> CandidateStudy:
        """The study of this name, created, or continued if it was begun by an equal job.

        Args:
            job: What its workers do.
            name: One storage may have many studies.
            storage: A file (SQLite), or ``postgresql+psycopg://user:password@host/database``.
            heartbeat_s: Seconds between the heartbeats of a new study's workers, where the
                storage is a database.

        Raises:
            ConfigError: it was begun by a job of another kind or with other facts.
            DataError: the storage cannot be used; see `open_storage`.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        place, facts = open_storage(storage, create=True), plain(job.facts())
        with place.exclusive(name):
            place.call(lambda: _create(place, name))
            found = cls(place, name, storage)
            if found.kind is None:
                found._begin(job, facts, heartbeat_s)
            found._check_same(job.kind, facts)
            if found.finished:
                found._set(FINISHED, False)
        found.take_back()
        found.repair()
        return found

    @classmethod
    def join(cls, name: str, storage: str | Path) -> CandidateStudy:
        """The study of this name, which must exist.

        Raises:
            MissingDataError: it does not; names those that do.
            DataError: the storage cannot be used, or the study is none of candidates.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        place = open_storage(storage, create=False)
        names = place.call(lambda: optuna.get_all_study_names(place.backend))
        if name not in names:
            known = f"has {', '.join(map(repr, names))}" if names else "has none"
            raise MissingDataError(
                f"the study must exist, but {place.shown} {known}, not {name!r}"
            )
        study = cls(place, name, storage)
        if study.kind is None:
            with place.exclusive(name):  # it may just be being made
                study = cls(place, name, storage)
        if study.kind is None:
            raise DataError(f"the study must be one of gnas, but {name!r} was made by others")
        return study

    @property
    def needs_heartbeats(self) -> bool:
        """Whether workers must say that they are alive while they evaluate."""
        return not self._storage.one_machine

    def hurry(self) -> None:
        """From now on a lost connection is given up at once, for a process that ends."""
        self._storage.patience_s = 0.0

    @property
    def finished(self) -> bool:
        """Whether no more candidates will be added, so that idle workers exit."""
        return bool(self._storage.call(lambda: self._study.user_attrs).get(FINISHED))

    def plan(self, candidates: Sequence[Mapping[str, Any]]) -> None:
        """Adds the candidates that are not in the study yet, in their order.

        A candidate's identity is its JSON. `MAX_WAITING` of them wait in the storage at a time;
        this object adds the others as workers take those.
        """
        for candidate in map(plain, candidates):
            self._backlog.setdefault(candidate_key(candidate), candidate)
        with self._storage.exclusive(self.name):
            self._storage.call(self._top_up)
        if self.finished:
            self._set(FINISHED, False)

    def top_up(self) -> None:
        """Adds planned candidates that were held back, if few wait."""
        if self._backlog:
            with self._storage.exclusive(self.name):
                self._storage.call(self._top_up)

    def _top_up(self) -> None:
        known = self._latest()
        waiting = sum(trial.state == TrialState.WAITING for trial in known.values())
        for key in [key for key in self._backlog if key in known]:
            del self._backlog[key]
        if self._backlog and waiting > MAX_WAITING // 2:
            return
        for key in list(self._backlog)[: MAX_WAITING - waiting]:
            self._study.add_trial(_trial(self._backlog[key]))
            del self._backlog[key]

    def results(self) -> list[Evaluated]:
        """Every candidate with what its newest trial has come to, in the order of planning."""
        held_back = [Evaluated(c, None, None, None) for c in self._backlog.values()]
        found = self._storage.call(lambda: [_evaluated(t) for t in self._latest().values()])
        return found + held_back

    def ended(self, known: Container[str]) -> dict[str, Evaluated]:
        """The candidates that are evaluated or have failed, by their keys.

        Args:
            known: Keys (`candidate_key`) of those that are left out.
        """
        return {
            key: _evaluated(trial)
            for key, trial in self._storage.call(self._latest).items()
            if key not in known and trial.state.is_finished() and not _is_lost(trial)
        }

    def progress(self) -> Progress:
        """Counts of candidates."""
        latest = self._storage.call(self._latest)
        states = Counter(t.state for t in latest.values() if not _is_lost(t))
        waiting = len(self._backlog.keys() - latest.keys())
        done, failed = states[TrialState.COMPLETE], states[TrialState.FAIL]
        return Progress(done, failed, len(latest) + waiting)

    def finish(self) -> None:
        """Lets the workers exit that wait for more candidates."""
        self._set(FINISHED, True)

    def claim(self) -> Claim | None:
        """The next candidate that waits, from now on this process' own; None if none waits."""
        with self._storage.exclusive(self.name):
            return self._storage.call(self._claim)

    def _claim(self) -> Claim | None:
        if self._backlog:
            self._top_up()
        while waiting := self._trials(TrialState.WAITING):
            # Before the trial runs: without any heartbeat it would never be found stale.
            self._storage.beat(self.name, waiting[0].number)
            trial = self._study.ask()
            found = next((t for t in waiting if t.number == trial.number), None)
            if found is not None and CANDIDATE in found.system_attrs:
                trial.set_user_attr(OWNER, owner())
                return Claim(trial, found.system_attrs[CANDIDATE])
            # One that others enqueued, or that was asked for when another process took the last.
            self._study.tell(trial, state=TrialState.FAIL)
        return None

    def beat(self, claim: Claim) -> None:
        """Records that this process still works on the candidate."""
        self._storage.beat(self.name, claim.number)

    def succeed(self, claim: Claim, result: Mapping[str, Any]) -> None:
        """Records a result, or a failure if its score is not finite."""
        score = result.get("score")
        if not isinstance(score, int | float) or not math.isfinite(score):
            self.fail(claim, f"the score must be a finite number, but got {score}")
            return
        record = plain(result)
        columns = {k: v for k, v in _flat(record).items() if k not in claim.candidate}
        with self._unless_given_away(claim):
            self._write(claim, {**columns, RESULT: record})
            self._end(claim.number, TrialState.COMPLETE, float(score))

    def fail(self, claim: Claim, reason: str) -> None:
        """Records that the candidate cannot be evaluated."""
        logger.warning("candidate %d failed: %s", claim.number, reason)
        with self._unless_given_away(claim):
            self._write(claim, {ERROR: reason})
            self._end(claim.number, TrialState.FAIL)

    def give_back(self, claim: Claim) -> None:
        """Puts the candidate back into the queue, for no fault of its own."""
        with self._storage.exclusive(self.name):
            for trial in self._storage.call(lambda: self._trials(TrialState.RUNNING)):
                if trial.number == claim.number:
                    self._requeue(trial, blame=0)

    def take_back(self, *, forgiven: Sequence[int] = ()) -> bool:
        """Puts what dead workers were evaluating back into the queue; whether there was any.

        Args:
            forgiven: Processes of this machine whose end was not their candidates' fault.
        """
        if not self._storage.call(lambda: self._trials(TrialState.RUNNING)):
            return False
        requeued: list[bool] = []

        def on_stale(study: optuna.Study, trial: FrozenTrial) -> None:
            requeued.append(self._replace(trial, blame=1))

        def requeue_dead() -> None:
            for trial in self._trials(TrialState.RUNNING):
                own = trial.user_attrs.get(OWNER)
                # Claims are made under this lock: without an owner, the process died in one.
                if own is None or is_dead(own, one_machine=self._storage.one_machine):
                    innocent = own is None or own.get("pid") in forgiven
                    requeued.append(self._requeue(trial, blame=0 if innocent else 1))
            self._storage.fail_stale(self._study, self.heartbeat_s, on_stale)

        with self._storage.exclusive(self.name):
            self._storage.call(requeue_dead)
        return any(requeued)

    def repair(self) -> bool:
        """Queues again what was being put back by a worker that was killed there; any such?"""
        if not any(map(_is_lost, self._storage.call(self._latest).values())):
            return False
        with self._storage.exclusive(self.name):
            lost = [t for t in self._storage.call(self._latest).values() if _is_lost(t)]
            return any([self._replace(trial, blame=1) for trial in lost])

    def _requeue(self, trial: FrozenTrial, *, blame: int) -> bool:
        """Fails a running trial and queues its candidate again, or not; see `_replace`."""
        try:
            self._end(trial.number, TrialState.FAIL)
        except UpdateFinishedTrialError:
            return False
        return self._replace(trial, blame=blame)

    def _replace(self, trial: FrozenTrial, *, blame: int) -> bool:
        """Queues the candidate of a failed trial again; it has failed after `MAX_DEATHS`."""
        deaths = trial.system_attrs.get(DEATHS, 0) + blame
        candidate = trial.system_attrs.get(CANDIDATE)
        if candidate is not None:
            self._storage.call(lambda: self._study.add_trial(_trial(candidate, deaths=deaths)))
        return candidate is not None and deaths < MAX_DEATHS

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=states or None)

    def _latest(self) -> dict[str, FrozenTrial]:
        """The newest trial of every candidate, in the order of planning."""
        trials = self._trials()
        for trial in trials[len(self._keys) :]:
            candidate = trial.system_attrs.get(CANDIDATE)
            self._keys.append(None if candidate is None else candidate_key(candidate))
        pairs = zip(self._keys, trials, strict=True)
        return {key: trial for key, trial in pairs if key is not None}

    def _write(self, claim: Claim, attributes: dict[str, Any]) -> None:
        for name, value in attributes.items():
            self._storage.call(partial(claim.trial.set_user_attr, name, value))

    def _end(self, number: int, state: TrialState, value: float | None = None) -> None:
        """Ends a running trial.

        Raises:
            UpdateFinishedTrialError: another process has ended it, in another way.
        """
        told = self._storage.call(
            lambda: self._study.tell(number, value, state, skip_if_finished=True)
        )
        if told.state != state:
            raise UpdateFinishedTrialError(f"trial {number} has ended")

    def _set(self, name: str, value: Any) -> None:
        self._storage.call(lambda: self._study.set_user_attr(name, value))

    def _begin(self, job: Job, facts: dict[str, Any], heartbeat_s: float) -> None:
        """Writes what the study is about; the kind last, since it says that the rest is there."""
        if self._storage.call(self._trials):
            raise ConfigError(
                f"a new study needs a name of its own, but {self._storage.shown} has a study "
                f"{self.name!r} that was made by others"
            )
        self.kind, self.facts, self.heartbeat_s = job.kind, facts, heartbeat_s
        for name in ("facts", "heartbeat_s", "kind"):
            self._set(name, getattr(self, name))

    def _check_same(self, kind: str, facts: dict[str, Any]) -> None:
        place = f"the study {self.name!r} in {self._storage.shown}"
        if self.kind != kind:
            raise ConfigError(
                f"{place} is of kind {self.kind}, not {kind}; use another name or storage"
            )
        changed = differences(_by_path(self.facts), _by_path(facts))
        if changed:
            name, (was, now) = next(iter(changed.items()))
            raise ConfigError(
                f"{place} was begun with {name}={was!r}, but now {name} is {now!r}; "
                "use the same settings, or another name or storage"
            )

    @contextmanager
    def _unless_given_away(self, claim: Claim) -> Iterator[None]:
        """Ends the block where the trial turns out to have ended: another process was faster."""
        try:
            yield
        except UpdateFinishedTrialError:
            logger.warning(
                "candidate %d was given to another worker while this one was not heard of; "
                "what came out here is discarded",
                claim.number,
            )


def _trial(candidate: dict[str, Any], *, deaths: int = 0) -> FrozenTrial:
    """A trial that waits, or that has failed because too many of its workers died."""
    over = deaths >= MAX_DEATHS
    return optuna.trial.create_trial(
        state=TrialState.FAIL if over else TrialState.WAITING,
        user_attrs=_flat(candidate) | ({ERROR: DIED} if over else {}),
        system_attrs={CANDIDATE: candidate, DEATHS: deaths},
    )


def _evaluated(trial: FrozenTrial) -> Evaluated:
    done, failed = trial.state == TrialState.COMPLETE, trial.state == TrialState.FAIL
    return Evaluated(
        trial.system_attrs[CANDIDATE],
        trial.user_attrs[RESULT] if done else None,
        trial.user_attrs.get(ERROR) if failed else None,
        trial.number,
    )


def _is_lost(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.FAIL and ERROR not in trial.user_attrs


def candidate_key(candidate: Mapping[str, Any]) -> str:
    """A candidate's identity: the same text for two that are equal."""
    return json.dumps(candidate, sort_keys=True)


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """The entries that can be a column."""
    return {k: v for k, v in record.items() if isinstance(v, str | int | float)}


def _by_path(facts: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Facts within facts by their names, joined by dots."""
    found: dict[str, Any] = {}
    for name, value in facts.items():
        inner = isinstance(value, Mapping) and value
        found |= _by_path(value, f"{above}{name}.") if inner else {f"{above}{name}": value}
    return found


def _create(place: Storage, name: str) -> None:
    with suppress(DuplicatedStudyError):
        optuna.create_study(storage=place.backend, study_name=name, direction="maximize")
