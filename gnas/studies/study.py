"""Studies: queues of candidates with their claims and results, shared by workers."""

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
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from gnas.config import by_path, dict_diff
from gnas.errors import ConfigError, DataError, MissingDataError
from gnas.process_ids import current_process, has_ended
from gnas.runs import to_jsonable
from gnas.studies.job import Job
from gnas.studies.places import check_study_name
from gnas.studies.storage import Storage, open_storage

logger = logging.getLogger(__name__)

MAX_DEATHS = 3
"""Number of killed workers after which a candidate has failed, perhaps for lack of memory."""
HEARTBEAT_S = 10.0
"""Default number of seconds between heartbeats."""
WAITING, WAITING_PER_WORKER = 20, 2
"""Waiting trials in the storage: so many, and as many for each running one. Optuna writes each by
itself and reads all of them at every claim, so that few cost less."""
CANDIDATE, DEATHS = "candidate", "deaths"
"""System attributes of a trial: its candidate, and the number of its workers that died."""
WORKER, RESULT, ERROR = "owner", "result", "error"
"""User attributes of a trial: its worker (`gnas.process_ids`), its result or its error."""
KILLED_MESSAGE = f"its worker was killed {MAX_DEATHS} times before there was a result"
FINISHED = "finished"
"""Study attribute set when no more candidates will be added; idle workers then exit."""


@dataclass(frozen=True, eq=False)
class Claim:
    """A candidate claimed by this process."""

    trial: optuna.Trial
    candidate: dict[str, Any]

    @property
    def number(self) -> int:
        """Number of the trial."""
        return self.trial.number


@dataclass(frozen=True)
class StudyProgress:
    """Progress of a study in candidates.

    Examples:
        >>> progress = StudyProgress(done=2, failed=1, total=4)
        >>> progress.is_over, progress.total - progress.done - progress.failed
        (False, 1)
    """

    done: int
    failed: int
    total: int

    @property
    def is_over(self) -> bool:
        """Whether nothing waits or is being evaluated."""
        return self.done + self.failed >= self.total


@dataclass(frozen=True)
class CandidateRecord:
    """State of a candidate: evaluated, failed or pending.

    Examples:
        >>> import tempfile
        >>> from gnas.evaluate import EvaluationJob, FunctionEvaluator
        >>> from gnas.spaces import NASBench201
        >>> evaluator = FunctionEvaluator(lambda graph, *, seed: graph.num_edges)
        >>> job = EvaluationJob(NASBench201(), evaluator, ("score",))
        >>> cell = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_1x1~2|"
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     study = CandidateStudy.open(job, name="edges", storage=f"{folder}/study.db")
        ...     study.plan([{"architecture": cell, "seed": 0}])
        ...     [record] = study.results()
        >>> record.result is None, record.error is None  # nobody has evaluated it yet
        (True, True)
    """

    candidate: dict[str, Any]
    result: dict[str, Any] | None
    error: str | None
    """Reason of the failure, if any."""
    number: int | None
    """Number of the trial; None if it is not in the storage yet."""


class CandidateStudy:
    """Candidates in a storage, evaluated by any number of workers; see `open` and `join`.

    Args:
        storage: Storage that is open.
        name: Name of the study, which is there.
        where: File or URL of the storage, for messages and for workers.

    Examples:
        >>> import tempfile
        >>> from gnas.evaluate import EvaluationJob, FunctionEvaluator
        >>> from gnas.spaces import NASBench201
        >>> from gnas.studies import work
        >>> evaluator = FunctionEvaluator(lambda graph, *, seed: graph.num_edges)
        >>> job = EvaluationJob(NASBench201(), evaluator, ("score",))
        >>> cell = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_1x1~2|"
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     study = CandidateStudy.open(job, name="edges", storage=f"{folder}/study.db")
        ...     study.plan([{"architecture": cell, "seed": 0}])
        ...     _ = work(study, job, wait=False)
        ...     study.progress(), study.results()[0].result["score"]
        (StudyProgress(done=1, failed=0, total=1), 3.0)
    """

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

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    @classmethod
    def open(
        cls, job: Job, *, name: str, storage: str | Path, heartbeat_s: float = HEARTBEAT_S
    ) -> CandidateStudy:
        """Create the study of this name, or continue it if it has an equal job.

        Args:
            job: Evaluation of its candidates.
            name: Name of the study; a storage may hold several.
            storage: A file (SQLite), or ``postgresql+psycopg://user:password@host/database``.
            heartbeat_s: Seconds between heartbeats of workers, for a new study in a database.

        Raises:
            ConfigError: it was begun by a job of another kind, with other facts or by others; or
                the name is none.
            DataError: the storage cannot be used; see `open_storage`.
        """
        check_study_name(name)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        place, facts = open_storage(storage, create=True), to_jsonable(job.metadata())
        with place.exclusive(name):
            place.call(lambda: _create(place, name))
            found = cls(place, name, storage)
            if found.kind is None:
                found._begin(job, facts, heartbeat_s)
            found._check_same(job.kind, facts)
            found.reopen()
        found.requeue_stale()
        found.requeue_orphans()
        return found

    @classmethod
    def join(cls, name: str, storage: str | Path) -> CandidateStudy:
        """Open an existing study.

        Args:
            name: Name of the study.
            storage: A file (SQLite), or ``postgresql+psycopg://user:password@host/database``.

        Raises:
            MissingDataError: there is no such study.
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
        """Whether workers must send heartbeats during evaluations."""
        return not self._storage.one_machine

    def disable_retries(self) -> None:
        """Disable connection retries, for shutdown."""
        self._storage.patience_s = 0.0

    @property
    def finished(self) -> bool:
        """Whether no more candidates will be added, so that idle workers exit."""
        return bool(self._storage.call(lambda: self._study.user_attrs).get(FINISHED))

    def plan(self, candidates: Sequence[Mapping[str, Any]]) -> None:
        """Add new candidates to the study, in this order.

        Candidates are identified by their JSON. A few more than the workers claim soon wait in
        the storage; this object adds the others as those are claimed.
        """
        for candidate in map(to_jsonable, candidates):
            self._backlog.setdefault(candidate_key(candidate), candidate)
        with self._storage.exclusive(self.name):
            self._storage.call(self._top_up)
        self.reopen()

    def top_up(self) -> None:
        """Add planned candidates that were held back, if few are waiting."""
        if self._backlog:
            with self._storage.exclusive(self.name):
                self._storage.call(self._top_up)

    def _top_up(self) -> None:
        known = self._latest()
        states = Counter(trial.state for trial in known.values())
        waiting = states[TrialState.WAITING]
        wanted = WAITING + WAITING_PER_WORKER * states[TrialState.RUNNING]
        for key in [key for key in self._backlog if key in known]:
            del self._backlog[key]
        if self._backlog and waiting > wanted // 2:
            return
        for key in list(self._backlog)[: wanted - waiting]:
            self._study.add_trial(_trial(self._backlog[key]))
            del self._backlog[key]

    def results(self) -> list[CandidateRecord]:
        """State of every candidate by its newest trial, in the order of planning."""
        held_back = [CandidateRecord(c, None, None, None) for c in self._backlog.values()]
        found = self._storage.call(lambda: [_evaluated(t) for t in self._latest().values()])
        return found + held_back

    def ended(self, known: Container[str]) -> dict[str, CandidateRecord]:
        """Evaluated and failed candidates by key.

        Args:
            known: Keys (`candidate_key`) of candidates to omit.
        """
        return {
            key: _evaluated(trial)
            for key, trial in self._storage.call(self._latest).items()
            if key not in known and trial.state.is_finished() and not _is_lost(trial)
        }

    def progress(self) -> StudyProgress:
        """Counts of candidates."""
        latest = self._storage.call(self._latest)
        states = Counter(t.state for t in latest.values() if not _is_lost(t))
        waiting = len(self._backlog.keys() - latest.keys())
        done, failed = states[TrialState.COMPLETE], states[TrialState.FAIL]
        return StudyProgress(done, failed, len(latest) + waiting)

    def finish(self) -> None:
        """Mark the study as finished, so that idle workers exit."""
        self._set(FINISHED, True)

    def reopen(self) -> bool:
        """Mark a finished study as one that goes on; return whether it was finished."""
        was_finished = self.finished
        if was_finished:
            self._set(FINISHED, False)
        return was_finished

    def claim(self) -> Claim | None:
        """Claim the next waiting candidate; None if none waits."""
        with self._storage.exclusive(self.name):
            return self._storage.call(self._claim)

    def _claim(self) -> Claim | None:
        if self._backlog:
            self._top_up()
        while waiting := self._trials(TrialState.WAITING):
            # Before the trial runs: without any heartbeat it would never be found stale.
            self._storage.heartbeat(self.name, waiting[0].number)
            trial = self._study.ask()
            found = next((t for t in waiting if t.number == trial.number), None)
            if found is not None and CANDIDATE in found.system_attrs:
                trial.set_user_attr(WORKER, current_process())
                return Claim(trial, found.system_attrs[CANDIDATE])
            # One that others enqueued, or that was asked for when another process took the last.
            self._study.tell(trial, state=TrialState.FAIL)
        return None

    def heartbeat(self, claim: Claim) -> None:
        """Record a heartbeat of this process for the candidate."""
        self._storage.heartbeat(self.name, claim.number)

    def succeed(self, claim: Claim, result: Mapping[str, Any]) -> None:
        """Record a result, or a failure if its score is not finite.

        Args:
            claim: The claimed candidate.
            result: Result with a finite number as ``score``.
        """
        score = result.get("score")
        if not isinstance(score, int | float) or not math.isfinite(score):
            self.fail(claim, f"the score must be a finite number, but got {score}")
            return
        record = to_jsonable(result)
        columns = {k: v for k, v in _flat(record).items() if k not in claim.candidate}
        with self._unless_given_away(claim):
            self._write(claim, {**columns, RESULT: record})
            self._end(claim.number, TrialState.COMPLETE, float(score))

    def fail(self, claim: Claim, reason: str) -> None:
        """Record a failure of the candidate.

        Args:
            claim: The claimed candidate.
            reason: Reason of the failure, in one line.
        """
        logger.warning("candidate %d failed: %s", claim.number, reason)
        with self._unless_given_away(claim):
            self._write(claim, {ERROR: reason})
            self._end(claim.number, TrialState.FAIL)

    def release(self, claim: Claim) -> None:
        """Return the candidate to the queue without counting a failure."""
        with self._storage.exclusive(self.name):
            for trial in self._storage.call(lambda: self._trials(TrialState.RUNNING)):
                if trial.number == claim.number:
                    self._requeue(trial, blame=0)

    def requeue_stale(self, *, exempt_pids: Sequence[int] = ()) -> bool:
        """Requeue candidates of dead workers; return whether there were any.

        Args:
            exempt_pids: Processes on this machine whose end does not count as a failure.
        """
        if not self._storage.call(lambda: self._trials(TrialState.RUNNING)):
            return False
        requeued: list[bool] = []

        def on_stale(study: optuna.Study, trial: FrozenTrial) -> None:
            requeued.append(self._replace(trial, blame=1))

        def requeue_dead() -> None:
            for trial in self._trials(TrialState.RUNNING):
                own = trial.user_attrs.get(WORKER)
                # Claims are made under this lock: without an owner, the process died in one.
                if own is None or has_ended(own, one_machine=self._storage.one_machine):
                    innocent = own is None or own.get("pid") in exempt_pids
                    requeued.append(self._requeue(trial, blame=0 if innocent else 1))
            self._storage.fail_stale(self._study, self.heartbeat_s, on_stale)

        with self._storage.exclusive(self.name):
            self._storage.call(requeue_dead)
        return any(requeued)

    def requeue_orphans(self) -> bool:
        """Requeue candidates lost while being requeued; return whether there were any."""
        if not any(map(_is_lost, self._storage.call(self._latest).values())):
            return False
        with self._storage.exclusive(self.name):
            lost = [t for t in self._storage.call(self._latest).values() if _is_lost(t)]
            return any([self._replace(trial, blame=1) for trial in lost])

    def _requeue(self, trial: FrozenTrial, *, blame: int) -> bool:
        """Fail a running trial and requeue its candidate; see `_replace`."""
        try:
            self._end(trial.number, TrialState.FAIL)
        except UpdateFinishedTrialError:
            return False
        return self._replace(trial, blame=blame)

    def _replace(self, trial: FrozenTrial, *, blame: int) -> bool:
        """Requeue the candidate of a failed trial, up to `MAX_DEATHS` times."""
        deaths = trial.system_attrs.get(DEATHS, 0) + blame
        candidate = trial.system_attrs.get(CANDIDATE)
        if candidate is not None:
            self._storage.call(lambda: self._study.add_trial(_trial(candidate, deaths=deaths)))
        return candidate is not None and deaths < MAX_DEATHS

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=states or None)

    def _latest(self) -> dict[str, FrozenTrial]:
        """Newest trial of every candidate, in the order of planning."""
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
        """Finish a running trial.

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
        """Write the study's settings; the kind comes last and marks them as complete."""
        is_foreign = (
            self._storage.call(lambda: self._study.directions) != [StudyDirection.MAXIMIZE]
            or self._storage.call(lambda: self._study.user_attrs.keys()) - {"facts", "heartbeat_s"}
            or self._storage.call(self._trials)
        )
        if is_foreign:
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
        changed = dict_diff(by_path(self.facts), by_path(facts))
        if changed:
            name, (was, now) = next(iter(changed.items()))
            raise ConfigError(
                f"{place} was begun with {name}={was!r}, but now {name} is {now!r}; "
                "use the same settings, or another name or storage"
            )

    @contextmanager
    def _unless_given_away(self, claim: Claim) -> Iterator[None]:
        """Ignore that another process has already finished the trial."""
        try:
            yield
        except UpdateFinishedTrialError:
            logger.warning(
                "candidate %d was given to another worker while this one sent no heartbeats; "
                "what came out here is discarded",
                claim.number,
            )


def _trial(candidate: dict[str, Any], *, deaths: int = 0) -> FrozenTrial:
    """A waiting trial, or a failed one if too many of its workers died."""
    over = deaths >= MAX_DEATHS
    return optuna.trial.create_trial(
        state=TrialState.FAIL if over else TrialState.WAITING,
        user_attrs=_flat(candidate) | ({ERROR: KILLED_MESSAGE} if over else {}),
        system_attrs={CANDIDATE: candidate, DEATHS: deaths},
    )


def _evaluated(trial: FrozenTrial) -> CandidateRecord:
    done, failed = trial.state == TrialState.COMPLETE, trial.state == TrialState.FAIL
    return CandidateRecord(
        trial.system_attrs[CANDIDATE],
        trial.user_attrs[RESULT] if done else None,
        trial.user_attrs.get(ERROR) if failed else None,
        trial.number,
    )


def _is_lost(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.FAIL and ERROR not in trial.user_attrs


def candidate_key(candidate: Mapping[str, Any]) -> str:
    """Key of a candidate; equal candidates have equal keys.

    Args:
        candidate: What JSON can express.

    Examples:
        >>> candidate_key({"seed": 1, "architecture": "a"})
        '{"architecture": "a", "seed": 1}'
    """
    return json.dumps(candidate, sort_keys=True)


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """Scalar entries of a record."""
    return {k: v for k, v in record.items() if isinstance(v, str | int | float)}


def _create(place: Storage, name: str) -> None:
    with suppress(DuplicatedStudyError):
        optuna.create_study(storage=place.backend, study_name=name, direction="maximize")
