"""The one driver of all searches that ask and tell: any searcher, any evaluator, any workers."""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gnas.config import check_count, check_seed, dict_diff, split_settings
from gnas.data.files import as_data_error, atomic_write, check_regular, check_utf8
from gnas.errors import ConfigError, DataError, GnasError, MissingMeasureError
from gnas.evaluate import EvaluationJob, Evaluator, FunctionEvaluator
from gnas.geometric import Data
from gnas.loggers import RunLog, RunLogger, logging_run
from gnas.processes import check_can_send
from gnas.runs import (
    NOTICE,
    SavableFigure,
    open_run_config,
    run_folder_lock,
    to_jsonable,
    write_config,
    write_result,
)
from gnas.search.objectives import Bound, Goal, Objective
from gnas.search.pareto import non_dominated
from gnas.search.result import Evaluation, SearchResult
from gnas.search.samplers import SEARCHERS, Searcher
from gnas.search.samplers.base import SpaceExhausted
from gnas.search.settings import SETTINGS
from gnas.spaces import Space, space_record, space_text
from gnas.spaces.base import check_is_space
from gnas.spaces.registry import is_recorded_as
from gnas.studies import CandidateStudy, candidate_key, local_workers
from gnas.studies.job import FAILURES, Evaluate, reason
from gnas.studies.places import shown
from gnas.studies.workers import Wait
from gnas.training.recording import METRICS, EventFile

logger = logging.getLogger(__name__)

PARALLEL = 8
"""Choice: architectures that may be evaluated at once, unless evaluations take no time."""
EVENTS = "events.out.tfevents.*"
STUDY = "study.db"
"""The study of a search that was given no storage, in the run's folder."""
MAX_FAILURES = 10
"""A search ends in an error if the first so many architectures all fail: its evaluator is broken,
not its architectures."""


@dataclass(frozen=True)
class SearchProgress:
    """Progress of a search."""

    done: int
    """Architectures that are evaluated or have failed, and were told to the searcher."""
    failed: int
    """Those of them that have failed."""
    total: int
    """The budget."""
    best: Evaluation | None
    """The best one so far."""
    is_better: bool
    """Whether the last one is the best so far."""
    notes: tuple[str, ...] = ()
    """Messages of the searcher since the last report."""
    last: Evaluation | None = None
    """The last one, which may have failed."""


Report = Callable[[SearchProgress], None]
Found = tuple[dict[str, float] | None, str | None]
"""Measures of an architecture; or None, and why it could not be evaluated."""
Draw = Callable[[SearchResult], Mapping[str, SavableFigure]]
Tell = Callable[[SearchResult], SearchResult]


def run_search(
    space: Space,
    searcher: str | Searcher,
    evaluator: Evaluator | Callable[..., Any],
    *,
    budget: int,
    objectives: Sequence[str | Objective] | None = None,
    constraints: Sequence[str | Bound] = (),
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    repeats: int = 1,
    parallel: int | None = None,
    workers: int | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    storage: str | None = None,
    study: str | None = None,
    plan: Mapping[str, Any] | None = None,
    until: Callable[[Evaluation], bool] | None = None,
    report: Report = lambda progress: None,
    tell: Tell = lambda result: result,
    figures: Draw | None = None,
    loggers: Sequence[RunLogger] = (),
) -> SearchResult:
    """Let a searcher choose architectures of a space and an evaluator measure them.

    The searcher is asked for architecture k when as many results are known as it needs
    (`Searcher.needs`): k - ``parallel`` + 1, and its whole random start before the first that it
    chooses; always in the order of asking. So neither the number of workers nor the order in which
    they end nor an interruption at any moment changes the result.

    Args:
        space: The architectures; the evaluator may reach a part of it only.
        searcher: A key of `gnas.search.SEARCHERS`, made with ``seed``; or a searcher that has not
            been asked yet, over ``evaluator.reachable(space)``.
        evaluator: Measures an architecture; a plain function becomes a `FunctionEvaluator`.
        budget: Architectures that are evaluated.
        objectives: Names of measures, see `Objective.parse`; None takes ``val_acc`` where the
            evaluator has it, else ``score``.
        constraints: Bounds such as ``macs=50e6``, see `Bound.parse`.
        settings: Settings of the searcher, if it is created here.
        seed: Seed of the searcher, if it is created here, and of every evaluation.
        repeats: Evaluations of each architecture, with seeds ``seed``, ``seed`` + 1, ...; its
            measures are the means over them.
        parallel: Architectures that may be evaluated at once; workers beyond that have nothing to
            do. The result depends on it. None takes 1 for evaluations that take no time, else
            `PARALLEL`.
        workers: Processes that evaluate; 0 leaves all of it to ``gnas worker`` elsewhere. None
            evaluates in this process, and so is everything that takes no time.
        out: The run's folder; None keeps nothing.
        resume: Go on with the run in ``out``; its budget may be larger than it was.
        storage: Storage of the candidates: a file, or the URL of a database; None for a
            file in ``out``. Searches that measure alike may share a study: what one of them had
            evaluated, the others find there.
        study: The study's name there; None for the name of ``out``.
        plan: Kept in ``config.json``, to make searcher and evaluator again from.
        until: Ends the search early, when it is true of an evaluation; asked in the order of
            their numbers.
        report: Called after every evaluation.
        tell: Says more of the result, in a subclass of it, before it is written and drawn.
        figures: Draws the result.
        loggers: Trackers that show the run in ``out`` while it goes on, see `gnas.loggers`.

    Returns:
        What was found.

    Raises:
        ConfigError: impossible settings; ``out`` has a run that is not to be resumed, or another
            one; the searcher cannot pursue these objectives.
        DataError: every architecture failed, the first evaluation returns other measures, or a
            file cannot be read or written.

    Examples:
        >>> from gnas.spaces import NASBench201
        >>> def worth(graph, *, seed):
        ...     return float((graph.edge_op > 1).sum())  # 3x3 convolutions and poolings
        >>> found = run_search(NASBench201(), "evolution", worth, budget=50)
        >>> len(found.evaluations), found.metrics["score"] >= 5
        (50, True)
    """
    out = _folder(out)
    start = time.monotonic()
    _check(budget, repeats, parallel, workers, out, resume, storage)
    seed = check_seed(seed)
    _check_objects(space, searcher, settings)
    _check_functions(report=report, tell=tell, until=until, figures=figures)
    evaluator = evaluator if isinstance(evaluator, Evaluator) else FunctionEvaluator(evaluator)
    aims = default_objectives(evaluator) if objectives is None else objectives
    goal = Goal.of(aims, constraints)
    _check_measures(goal, evaluator)
    if workers is not None and not evaluator.instant:
        _check_workers(space, evaluator, workers, storage or out or "")
    evaluator.open(space)
    if isinstance(searcher, str):
        if searcher not in SEARCHERS:
            raise ConfigError(f"unknown searcher '{searcher}'; choose from {sorted(SEARCHERS)}")
        make, reachable = SEARCHERS[searcher], evaluator.reachable(space)
        _check_settings(searcher, settings or {})
        name, searcher = searcher, make(reachable, seed=seed, **(settings or {}))
    else:
        name = searcher.name or type(searcher).__name__
    if searcher.asked or searcher.told:
        raise ConfigError("a search needs a searcher of its own, but this one was asked before")
    searcher.aim(goal, evaluator.count, evaluator.counted)
    if parallel is None:
        parallel = 1 if evaluator.instant else PARALLEL
    about = space_record(space)
    facts = to_jsonable(
        {
            "seed": seed,
            "objectives": [*map(str, goal.objectives)],
            "bounds": [*map(str, goal.bounds)],
            "parallel": parallel,
            **({"repeats": repeats} if repeats > 1 else {}),
            "searcher": {"name": name, **searcher.metadata()},
            "space": {k: v for k, v in about.items() if k != "file"},
            "evaluator": evaluator.metadata(),
        }
    )
    study = study or (Path(os.path.realpath(out)).name if out is not None else None)
    config = {
        "command": f"search {name}",
        "budget": budget,
        **facts,
        "storage": None if storage is None else shown(storage),
        "study": study,
        "plan": plan,
    }
    job = EvaluationJob(space, evaluator, goal.names)
    where = _where(evaluator, workers, storage, out)
    kept = None if where is None or where != storage else f"its study '{study}' in {shown(where)}"
    with run_folder_lock(out), _emptied_if_in_vain(out, kept), logging_run(out, loggers) as log:
        if out is not None:
            _check_folder(out, facts, budget, resume)
        data = evaluator.data_facts()
        if (line := job.read()) is not None:
            logger.log(NOTICE, "%s", line)
        lines = None if out is None else _Lines(out / METRICS, log, start, data is not None)
        name = study or str(config["command"])
        place = _here(job) if where is None else _elsewhere(job, where, name, workers or 0)
        with place as queue, closing(lines) if lines is not None else nullcontext():
            if out is not None:  # when the study is known to be this search's
                write_config(out, config, data=data)
            known = [] if lines is None else lines.begin(evaluator.stages, resume=resume)
            search = _Search(
                searcher, queue, evaluator.stages, budget, parallel,
                range(seed, seed + repeats), report, until, known, lines,
            )  # fmt: skip
            search.run()
            start = start if lines is None else lines.start
            result = _result(search, goal, config, about, data, time.monotonic() - start)
            result = tell(result)
        if out is not None:
            write_result(out, result, figures(result) if figures is not None else None)
    return result


def default_objectives(evaluator: Evaluator) -> tuple[str, ...]:
    """``val_acc`` where the evaluator has it, else ``score``."""
    return ("val_acc",) if "val_acc" in evaluator.measures else ("score",)


def _check(
    budget: int,
    repeats: int,
    parallel: int | None,
    workers: int | None,
    out: Path | None,
    resume: bool,
    storage: str | None,
) -> None:
    for name, value, least in (
        ("budget", budget, 1), ("repeats", repeats, 1), ("parallel", parallel, 1),
        ("workers", workers, 0),
    ):  # fmt: skip
        if value is not None or name in ("budget", "repeats"):
            check_count(value, name, least)
    if out is None and (resume or (workers is not None and storage is None)):
        raise ConfigError("workers, and a search that goes on, need a folder; give `out`")


def _folder(out: object) -> Path | None:
    if out is None:
        return None
    if not isinstance(out, str | Path) or "\0" in str(out):
        raise ConfigError(f"out must be the name of a folder, but is {out!r:.80}")
    return Path(out).absolute()  # an evaluation may go to another folder


def _check_objects(space: Space, searcher: object, settings: object) -> None:
    check_is_space(space)
    if not isinstance(searcher, str | Searcher):
        raise ConfigError(
            f"the searcher must be one of {sorted(SEARCHERS)} or a Searcher, but got "
            f"{searcher!r:.80}"
        )
    if isinstance(searcher, Searcher):
        _check_searcher(searcher, space)
    if settings is not None and not isinstance(settings, Mapping):
        raise ConfigError(f"settings must be values by name, but got {settings!r:.80}")


def _check_functions(**functions: object) -> None:
    for name, function in functions.items():
        if not callable(function) and (function, name) not in ((None, "until"), (None, "figures")):
            raise ConfigError(f"{name} must be a function, but is {function!r:.80}")


def _check_searcher(searcher: Searcher, space: Space) -> None:
    if not hasattr(searcher, "told"):
        raise ConfigError(
            f"`__init__` of {type(searcher).__name__} must call that of Searcher, but does not; "
            "add `super().__init__(space, seed=seed)`"
        )
    wanted, own = space_record(space), space_record(searcher.space)
    if not is_recorded_as(searcher.space, wanted):
        raise ConfigError(
            f"the searcher must be one of this search's space {space_text(wanted)}, but is one of "
            f"{space_text(own)}"
        )


def _check_settings(searcher: str, settings: Mapping[str, Any]) -> None:
    """Check settings against the searcher's declaration; a predictor is an object, not one."""
    own = SETTINGS[searcher]
    plain_ones = {k: v for k, v in settings.items() if (searcher, k) != ("predictor", "predictor")}
    own(**split_settings(plain_ones, own)[0])


def _check_measures(goal: Goal, evaluator: Evaluator) -> None:
    missing = [name for name in goal.names if name not in evaluator.measures]
    if evaluator.measures and missing:
        raise ConfigError(
            f"unknown measure '{missing[0]}'; this evaluation gives "
            f"{', '.join(evaluator.measures)}"
        )
    if any(name.startswith("test_") for name in goal.names):
        raise ConfigError(
            f"a search must not see test images, but was given {[*goal.names]}; take val_acc"
        )


def _check_workers(space: Space, evaluator: Evaluator, workers: int, study: str | Path) -> None:
    """Check what workers need before anything is written; ConfigError says what is amiss."""
    check_utf8(study, "the file or folder of a study")
    if workers:
        check_can_send((space, evaluator), "the evaluation and its space")


def _check_folder(out: Path, facts: Mapping[str, Any], budget: int, resume: bool) -> None:
    """Check that the run in ``out``, if there is one, is this one."""
    if not resume:
        if (out / "config.json").exists():
            raise ConfigError(
                f"a new run needs a folder of its own, but {out} has one; "
                f"go on with --resume {out}, or choose another"
            )
        return
    with open_run_config(out) as record:
        changed = dict_diff({name: record.get(name) for name in facts}, facts)
        before = int(record["budget"])
    if changed:
        name, (was, now) = next(iter(changed.items()))
        raise ConfigError(
            f"a resumed search must be the one that {out} holds, but its {name} was {was} and "
            f"is now {now}"
        )
    if budget < before:
        raise ConfigError(
            f"the budget of a resumed search must be at least the {before} of before, "
            f"but got {budget}"
        )


class _InVainError(DataError):
    """Nothing could be measured, so there is nothing to go on with."""


def _where(
    evaluator: Evaluator, workers: int | None, storage: str | None, out: Path | None
) -> str | None:
    """Storage of the study by which workers evaluate; None if this process does."""
    if workers is None or evaluator.instant:
        return None
    return storage or str((out or Path()) / STUDY)


@contextmanager
def _emptied_if_in_vain(out: Path | None, kept: str | None) -> Iterator[None]:
    """Remove what a search wrote that measured nothing, so that its folder is free for another.

    Args:
        out: Folder of the run.
        kept: What is not removed, for the message: a study elsewhere, which others may use.
    """
    try:
        yield
    except _InVainError as error:
        if out is None:
            raise
        for path in (
            *out.glob(f"{STUDY}*"),
            *out.glob(EVENTS),
            out / METRICS,
            out / "config.json",
        ):
            path.unlink(missing_ok=True)
        raise DataError(
            f"{error}; nothing is kept in {out}, so that a search that is mended can begin there"
            + ("" if kept is None else f"; {kept} stays: give the mended one another (--study)")
        ) from None


def _result(
    search: _Search,
    goal: Goal,
    config: Mapping[str, Any],
    about: Mapping[str, Any],
    data: Mapping[str, Any] | None,
    seconds: float,
) -> SearchResult:
    ended = tuple(search.ended)
    best = search.best
    if best is None or best.measures is None:
        raise search.in_vain()
    good = [one for one in ended if one.measures is not None]
    last = [one for one in good if one.stage == best.stage]
    rows = non_dominated(
        np.array([goal.values(one.measures or {}) for one in last]),
        np.array([goal.violation(one.measures or {}) for one in last]),
    )
    return SearchResult(
        command=str(config["command"]),
        config=config,
        space=about,
        data=data,
        objectives=tuple(map(str, goal.objectives)),
        bounds=tuple(map(str, goal.bounds)),
        architecture=best.architecture,
        metrics=best.measures,
        params=best.measures.get("num_params"),
        macs=best.measures.get("macs"),
        best=best.number,
        feasible=goal.violation(best.measures) == 0,
        front=tuple(last[row].number for row in rows),
        evaluations=ended,
        evaluated=len(good),
        failed=len(ended) - len(good),
        stopped=search.stopped,
        seconds=seconds,
    )


class _Queue(Protocol):
    """Executor of evaluations, in the order of their numbers or otherwise."""

    def put(self, candidates: Sequence[Mapping[str, Any]]) -> None:
        """Have architectures evaluated, sooner or later."""
        ...

    def get(self, candidate: Mapping[str, Any]) -> Found:
        """Wait for one evaluation to finish or fail; return its measures or its error."""
        ...


class _Search:
    """The loop of a search."""

    def __init__(
        self,
        searcher: Searcher,
        queue: _Queue,
        stages: Sequence[str],
        budget: int,
        parallel: int,
        seeds: range,
        report: Report,
        until: Callable[[Evaluation], bool] | None,
        known: Sequence[Evaluation],
        lines: _Lines | None,
    ) -> None:
        self.searcher, self.queue, self.seeds, self.report = searcher, queue, seeds, report
        self.budget, self.parallel, self.until = budget, parallel, until
        self.stages, self.known, self.lines = ("", *stages), known, lines
        self.ended: list[Evaluation] = []
        self.stopped: str | None = None
        self._asked: list[tuple[Data, list[dict[str, Any]], bool]] = []
        self._best: tuple[tuple[float, ...], int] | None = None
        self._notes = 0

    def run(self) -> None:
        """Ask and tell until the budget is spent or the space is exhausted."""
        while len(self.ended) < self.budget:
            if self._ask():
                self.searcher.prepare()
            if len(self.ended) == len(self._asked):
                return
            found = self._evaluated(len(self.ended))
            self._tell(found)
            if self.until is not None and self.until(found):
                self.stopped = "what it was searched for is found"
                return

    def _may_ask(self) -> bool:
        count = len(self._asked)
        needed = self.searcher.needs(count, self.parallel)
        return self.stopped is None and count < self.budget and needed <= len(self.ended)

    def _ask(self) -> bool:
        """Ask for all permitted architectures; return whether any needs an evaluation."""
        new = []
        while self._may_ask():
            number = len(self._asked)
            if number < len(self.known):
                graph = self.searcher.space.from_str(self.known[number].architecture)
                self.searcher.recall(graph)
            else:
                try:
                    graph = self.searcher.ask()
                except SpaceExhausted as error:
                    self.stopped = str(error)
                    break
            text, stage = self.searcher.space.to_str(graph), self.searcher.stage(number)
            candidates = [
                {"architecture": text, "seed": seed}
                | ({"stage": stage} if stage in self.stages[1:] else {})
                for seed in self.seeds
            ]
            self._asked.append((graph, candidates, self.searcher.is_random))
            if number >= len(self.known):
                new += candidates
        if new:
            self.queue.put(new)
        return bool(new)

    def _evaluated(self, number: int) -> Evaluation:
        """The evaluation of this number, when it has ended."""
        if number < len(self.known):
            return self.known[number]
        graph, candidates, is_random = self._asked[number]
        runs = [self.queue.get(candidate) for candidate in candidates]
        measured = [measures for measures, _ in runs if measures is not None]
        whole = len(measured) == len(runs)
        found = Evaluation(
            number=number,
            architecture=candidates[0]["architecture"],
            measures=_mean(measured) if whole else None,
            error=next((error for _, error in runs if error is not None), None),
            stage=candidates[0].get("stage", ""),
            expected=self.searcher.expected(graph),
            is_random=is_random,
            runs=tuple(measured) if whole and len(runs) > 1 else (),
        )
        if self.lines is not None:
            self.lines.add(found)
        return found

    def _tell(self, found: Evaluation) -> None:
        graph = self._asked[found.number][0]
        self.ended.append(found)
        is_better = False
        if found.measures is None:
            self.searcher.drop(graph, found.error or "")
        else:
            self.searcher.tell(graph, found.measures)
            goal = self.searcher.goal
            rank = (
                self.stages.index(found.stage),
                -goal.violation(found.measures),
                *goal.values(found.measures),
            )
            is_better = self._best is None or rank > self._best[0]
            if is_better:
                self._best = rank, found.number
        failed = sum(one.error is not None for one in self.ended)
        error, lacks = found.error or "", f"{MissingMeasureError.__name__}: "
        if failed == len(self.ended) and error.startswith(lacks):  # not the architecture's fault
            raise _InVainError(_with_option(error.removeprefix(lacks), self.searcher.goal))
        if failed == len(self.ended) >= min(MAX_FAILURES, self.budget):
            raise self.in_vain()
        notes = tuple(self.searcher.notes[self._notes :])
        self._notes += len(notes)
        self.report(
            SearchProgress(
                len(self.ended), failed, self.budget, self.best, is_better, notes, self.ended[-1]
            )
        )

    def in_vain(self) -> _InVainError:
        """The error of a search of which nothing was measured."""
        count = len(self.ended)
        why = f"none was: {self.stopped}"
        if count:
            reason, alike = Counter(one.error for one in self.ended).most_common(1)[0]
            why = f"the first {count} all failed, {alike} of them so: {reason}"
        if count == 1:
            why = f"the first one failed: {reason}"
        return _InVainError(f"some architecture must be evaluated, but {why}")

    @property
    def best(self) -> Evaluation | None:
        """The best by the first objective of those that break the bounds least."""
        return None if self._best is None else self.ended[self._best[1]]


def _with_option(error: str, goal: Goal) -> str:
    """The message of a missing measure, and which option to change."""
    aims = {one.name for one in goal.objectives}
    for bound in goal.bounds:
        if bound.name not in aims and f" the measure '{bound.name}'," in error:
            return (
                f"{error}; bound one of them in place of `--at-most {bound}` "
                f'(in Python `constraints=["{bound}"]`)'
            )
    return f'{error}; choose one of them: `--objective NAME` (in Python `objectives=["NAME"]`)'


def _mean(runs: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
    """The means of the measures that all runs have; those of one run as they are."""
    if len(runs) == 1:
        return runs[0]
    names = [name for name in runs[0] if all(name in run for run in runs)]
    return {name: float(np.mean([run[name] for run in runs])) for name in names}


class _Lines:
    """The evaluations of a run: a line each in ``metrics.jsonl``, and TensorBoard's events."""

    def __init__(self, path: Path, log: RunLog, start: float, events: bool) -> None:
        self.path, self._log, self._events = path, log, events
        self.start = start
        """When the search began, by the clock of this process: earlier by what it took before."""
        self._writer: EventFile | None = None

    def begin(self, stages: Collection[str], *, resume: bool) -> list[Evaluation]:
        """Start, or resume after a killed process; return its evaluations.

        A last line that it left half written is cut off.
        """
        found: list[Evaluation] = []
        check_regular(self.path, "the evaluations of a search")
        try:
            content = self.path.read_bytes() if resume and self.path.exists() else b""
            whole = content[: content.rfind(b"\n") + 1]
            with as_data_error(self.path, "the evaluations of a search"):
                records = [json.loads(line) for line in whole.splitlines()]
                found = Evaluation.from_records(records)
                self.start -= _seconds(records[-1]) if records else 0.0
                if not {one.stage for one in found} <= {"", *stages}:
                    raise ValueError("it has stages that the evaluator has not")
        except OSError as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{self.path} must be readable, but: {error.strerror}") from error
        with atomic_write(self.path) as temporary:
            temporary.write_bytes(whole)
        if self._events:
            for path in self.path.parent.glob(EVENTS):  # written again
                path.unlink(missing_ok=True)
            self._writer = EventFile(self.path.parent)
            for one in found:
                self._write_events(one)
        self._log.update()
        return found

    def add(self, found: Evaluation) -> None:
        """Add a line."""
        try:
            with self.path.open("a", encoding="utf-8") as file:
                line = {**to_jsonable(found), "seconds": time.monotonic() - self.start}
                file.write(json.dumps(line) + "\n")
            self._write_events(found)
        except OSError as error:
            raise DataError(f"{self.path} must be writable, but: {error.strerror}") from error
        self._log.update()

    def close(self) -> None:
        """End the file of events."""
        if self._writer is not None:
            self._writer.close()

    def _write_events(self, found: Evaluation) -> None:
        if self._writer is not None:
            for name, value in {**(found.measures or {}), "expected": found.expected}.items():
                if value is not None:
                    self._writer.add_scalar(
                        f"{found.stage or 'search'}/{name}", value, found.number
                    )


def _seconds(record: Mapping[str, Any]) -> float:
    """Seconds that a search had taken when it wrote a line."""
    seconds = float(record["seconds"])
    if not 0 <= seconds < math.inf:
        raise ValueError(f"seconds must be a time, but are {seconds}")
    return seconds


class _Here:
    """Evaluation in this process."""

    def __init__(self, evaluate: Evaluate) -> None:
        self._evaluate = evaluate

    def put(self, candidates: Sequence[Mapping[str, Any]]) -> None:
        """See `_Queue`; each is evaluated when it is waited for."""

    def get(self, candidate: Mapping[str, Any]) -> Found:
        """See `_Queue`."""
        try:
            return self._evaluate(dict(candidate))["measures"], None
        except FAILURES as error:
            logger.warning("an architecture failed: %s", reason(error))
            return None, reason(error)


@contextmanager
def _here(job: EvaluationJob) -> Iterator[_Here]:
    yield _Here(job.evaluation())


class _Elsewhere:
    """Evaluation by workers, through a study."""

    def __init__(self, study: CandidateStudy, wait: Wait) -> None:
        self._study, self._wait = study, wait
        self._ended: dict[str, Found] = {}
        self._count = -1

    def put(self, candidates: Sequence[Mapping[str, Any]]) -> None:
        """See `_Queue`."""
        self._study.plan(candidates)

    def get(self, candidate: Mapping[str, Any]) -> Found:
        """See `_Queue`."""
        key = candidate_key(to_jsonable(candidate))
        if key not in self._ended:
            self._wait(
                lambda progress: self._watch(progress.done + progress.failed),
                lambda: key in self._ended,
            )
        if key not in self._ended:
            self._look()
        return self._ended[key]

    def _watch(self, count: int) -> None:
        if count != self._count:  # reading all results is worth it only then
            self._look()
            self._count = count

    def _look(self) -> None:
        for key, one in self._study.ended(self._ended).items():
            self._ended[key] = None if one.result is None else one.result["measures"], one.error


@contextmanager
def _elsewhere(
    job: EvaluationJob, storage: str, study_name: str, workers: int
) -> Iterator[_Elsewhere]:
    study = CandidateStudy.open(job, name=study_name, storage=storage)
    try:
        with local_workers(study, job, workers) as wait:
            yield _Elsewhere(study, wait)
    except GnasError:
        with suppress(GnasError):
            study.finish()  # nobody needs to wait for more
        raise
    study.finish()
