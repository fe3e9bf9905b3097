"""A study of candidates: what is planned, who evaluates what, and what came out."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from gnas.config import differences
from gnas.errors import ConfigError, DataError, MissingDataError
from gnas.owners import is_dead, owner
from gnas.runs import plain
from gnas.studies.job import Job
from gnas.studies.storage import CANDIDATE, DEATHS, OWNER, Claim, Storage, open_storage

logger = logging.getLogger(__name__)

MAX_DEATHS = 3
"""A candidate whose workers were killed so often has failed: it may need too much memory."""
SILENCE = 6.0
"""Heartbeats without which a worker is taken for dead."""
HEARTBEAT_S = 10.0
"""Seconds between heartbeats in a study that says nothing else."""
RESULT, ERROR = "result", "error"
"""Names of attributes of a trial."""
DIED = f"its worker was killed {MAX_DEATHS} times before there was a result"
FINISHED = "finished"
"""The attribute of a study that sends workers home."""


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
    number: int
    """Of the trial."""


class CandidateStudy:
    """Candidates in a storage, evaluated by any number of workers; see `open` and `join`."""

    def __init__(self, storage: Storage, name: str, where: str | Path) -> None:
        self.name, self.where = name, where
        self._storage, self._optuna = storage, storage.optuna
        self._id = storage.call(lambda: self._optuna.get_study_id_from_name(name))
        attributes = storage.call(lambda: self._optuna.get_study_user_attrs(self._id))
        self.kind: str | None = attributes.get("kind")
        self.facts: dict[str, Any] = attributes.get("facts", {})
        self.heartbeat_s: float = attributes.get("heartbeat_s", HEARTBEAT_S)
        self._keys: list[str] = []  # of all trials seen so far, by their numbers

    @classmethod
    def open(
        cls, job: Job, *, name: str, storage: str | Path, heartbeat_s: float = HEARTBEAT_S
    ) -> CandidateStudy:
        """The study of this name, created, or continued if it was begun by an equal job.

        Args:
            job: What its workers do.
            name: One storage may have many studies.
            storage: A journal file, or ``postgresql+psycopg://user:password@host/database``.
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
            study = cls(place, name, storage)
            if study.kind is None:
                study._begin(job, facts, heartbeat_s)
            study._check_same(job.kind, facts)
            if study.finished:
                study._set(FINISHED, False)
        study.take_back()
        study.repair()
        return study

    @classmethod
    def join(cls, name: str, storage: str | Path) -> CandidateStudy:
        """The study of this name, which must exist.

        Raises:
            MissingDataError: it does not; names those that do.
            DataError: the storage cannot be used, or the study is none of candidates.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        place = open_storage(storage, create=False)
        names = place.call(lambda: [s.study_name for s in place.optuna.get_all_studies()])
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
        """Whether workers that wait for more may go home."""
        attributes = self._storage.call(lambda: self._optuna.get_study_user_attrs(self._id))
        return bool(attributes.get(FINISHED))

    def plan(self, candidates: Sequence[Mapping[str, Any]]) -> None:
        """Adds the candidates that are not in the study yet, in their order.

        A candidate's identity is its JSON.
        """
        with self._storage.exclusive(self.name):
            self._storage.call(lambda: self._plan(candidates))

    def _plan(self, candidates: Sequence[Mapping[str, Any]]) -> None:
        known, new = set(self._latest()), list[FrozenTrial]()
        for candidate in map(plain, candidates):
            if _key(candidate) not in known:
                known.add(_key(candidate))
                new.append(_trial(candidate))
        self._storage.create(self._id, new)
        if self.finished:
            self._set(FINISHED, False)

    def add(self, evaluated: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> None:
        """Adds candidates that were evaluated elsewhere, each with its result, if they are new."""
        with self._storage.exclusive(self.name):
            known, new = set(self._latest()), list[FrozenTrial]()
            for candidate, result in evaluated:
                if _key(plain(candidate)) not in known:
                    known.add(_key(plain(candidate)))
                    new.append(_trial(plain(candidate), plain(result)))
            self._storage.call(lambda: self._storage.create(self._id, new))

    def results(self) -> list[Evaluated]:
        """Every candidate with what its newest trial has come to, in the order of planning."""
        return [_evaluated(trial) for trial in self._latest().values()]

    def progress(self) -> Progress:
        """Counts of candidates."""
        counts = self._storage.call(lambda: self._storage.counts(self._id))
        replaced = self._storage.call(lambda: self._storage.successors(self._id))
        failed = counts[TrialState.FAIL] - replaced
        return Progress(counts[TrialState.COMPLETE], failed, sum(counts.values()) - replaced)

    def finish(self) -> None:
        """Sends home the workers that wait for more."""
        self._set(FINISHED, True)

    def claim(self) -> Claim | None:
        """The next candidate that waits, from now on this process' own; None if none waits."""
        own = owner()
        return self._storage.call(lambda: self._storage.claim(self._id, own))

    def beat(self, claim: Claim) -> None:
        """Says that this process still works on the candidate."""
        self._storage.beat(claim.trial_id)

    def succeed(self, claim: Claim, result: Mapping[str, Any]) -> None:
        """Records a result, or a failure if its score is not finite."""
        score = result.get("score")
        if not isinstance(score, int | float) or not math.isfinite(score):
            self.fail(claim, f"the score must be a finite number, but got {score}")
            return
        record = plain(result)
        with self._unless_given_away(claim):
            columns = {k: v for k, v in _flat(record).items() if k not in claim.candidate}
            self._write(claim.trial_id, columns, {RESULT: record})
            self._end(claim.trial_id, TrialState.COMPLETE, float(score))

    def fail(self, claim: Claim, reason: str) -> None:
        """Records that the candidate cannot be evaluated."""
        logger.warning("candidate %d failed: %s", claim.number, reason)
        with self._unless_given_away(claim):
            self._write(claim.trial_id, {ERROR: reason})
            self._end(claim.trial_id, TrialState.FAIL)

    def give_back(self, claim: Claim) -> None:
        """Puts the candidate back into the queue, for no fault of its own."""
        with self._unless_given_away(None), self._storage.exclusive(self.name):
            trial = self._storage.call(lambda: self._optuna.get_trial(claim.trial_id))
            self._end(claim.trial_id, TrialState.FAIL)
            self._replace(trial, trial.system_attrs.get(DEATHS, 0))

    def take_back(self, *, forgiven: Sequence[int] = ()) -> bool:
        """Puts what dead workers were evaluating back into the queue; whether there was any.

        Args:
            forgiven: Processes of this machine whose end was not their candidates' fault.
        """
        any_waits = False
        for trial in self._storage.call(self._dead):
            owner_pid = trial.system_attrs.get(OWNER, {}).get("pid")
            blame = 0 if owner_pid in forgiven else 1
            deaths = trial.system_attrs.get(DEATHS, 0) + blame
            with self._unless_given_away(None), self._storage.exclusive(self.name):
                if deaths >= MAX_DEATHS:
                    self._write(trial._trial_id, {ERROR: DIED})
                self._end(trial._trial_id, TrialState.FAIL)
                if deaths < MAX_DEATHS:
                    self._replace(trial, deaths)
                    any_waits = True
        return any_waits

    def repair(self) -> bool:
        """Queues again what was being put back by a worker that was killed there; any such?"""
        with self._storage.exclusive(self.name):
            lost = [t for t in self._latest().values() if _is_lost(t)]
            for trial in lost:
                self._replace(trial, trial.system_attrs.get(DEATHS, 0) + 1)
        return bool(lost)

    def _dead(self) -> list[FrozenTrial]:
        silent = self._storage.silent(self._id, SILENCE * self.heartbeat_s)
        return [
            trial
            for trial in self._storage.running(self._id)
            if trial._trial_id in silent
            or is_dead(trial.system_attrs.get(OWNER, {}), one_machine=self._storage.one_machine)
        ]

    def _latest(self) -> dict[str, FrozenTrial]:
        trials = self._storage.call(lambda: self._optuna.get_all_trials(self._id, deepcopy=False))
        for trial in trials[len(self._keys) :]:
            self._keys.append(_key(trial.system_attrs.get(CANDIDATE, {})))
        return dict(zip(self._keys, trials, strict=True))

    def _replace(self, trial: FrozenTrial, deaths: int) -> None:
        candidate = trial.system_attrs[CANDIDATE]
        self._storage.call(
            lambda: self._storage.create(self._id, [_trial(candidate, deaths=deaths)])
        )

    def _write(
        self, trial_id: int, columns: dict[str, Any], system: dict[str, Any] | None = None
    ) -> None:
        self._storage.call(lambda: self._storage.write(trial_id, columns, system))

    def _end(self, trial_id: int, state: TrialState, value: float | None = None) -> None:
        values = None if value is None else [value]
        self._storage.call(lambda: self._optuna.set_trial_state_values(trial_id, state, values))

    def _set(self, name: str, value: Any) -> None:
        self._storage.call(lambda: self._optuna.set_study_user_attr(self._id, name, value))

    def _begin(self, job: Job, facts: dict[str, Any], heartbeat_s: float) -> None:
        """Writes what the study is about; the kind last, since it says that the rest is there."""
        if self._storage.call(lambda: any(self._storage.counts(self._id).values())):
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
        changed = differences(self.facts, facts)
        if changed:
            name, (was, now) = next(iter(changed.items()))
            raise ConfigError(
                f"{place} was begun with {name}={was!r}, but now {name} is {now!r}; "
                "use the same settings, or another name or storage"
            )

    @contextmanager
    def _unless_given_away(self, claim: Claim | None) -> Iterator[None]:
        """Ends the block where the trial turns out to have ended: somebody else was faster."""
        try:
            yield
        except UpdateFinishedTrialError:
            if claim is not None:
                logger.warning(
                    "candidate %d was given to another worker while this one was not heard of; "
                    "what came out here is discarded",
                    claim.number,
                )


def _trial(
    candidate: dict[str, Any], result: dict[str, Any] | None = None, deaths: int | None = None
) -> FrozenTrial:
    """A trial that waits, or that is complete."""
    system = {CANDIDATE: candidate, RESULT: result, DEATHS: deaths}
    return optuna.trial.create_trial(
        state=TrialState.WAITING if result is None else TrialState.COMPLETE,
        value=None if result is None else float(result["score"]),
        user_attrs={**_flat(result or {}), **_flat(candidate)},
        system_attrs={name: value for name, value in system.items() if value is not None},
    )


def _evaluated(trial: FrozenTrial) -> Evaluated:
    done, failed = trial.state == TrialState.COMPLETE, trial.state == TrialState.FAIL
    return Evaluated(
        trial.system_attrs[CANDIDATE],
        trial.system_attrs[RESULT] if done else None,
        trial.user_attrs.get(ERROR) if failed else None,
        trial.number,
    )


def _is_lost(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.FAIL and ERROR not in trial.user_attrs


def _key(candidate: Mapping[str, Any]) -> str:
    return json.dumps(candidate, sort_keys=True)


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """The entries that can be a column."""
    return {k: v for k, v in record.items() if isinstance(v, str | int | float)}


def _create(place: Storage, name: str) -> None:
    sampler = optuna.samplers.RandomSampler()
    optuna.create_study(
        storage=place.optuna,
        study_name=name,
        sampler=sampler,
        direction="maximize",
        load_if_exists=True,
    )
