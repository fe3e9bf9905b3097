"""The one driver of all searches that ask and tell: any searcher, any evaluator, any workers."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast, get_type_hints

import numpy as np
from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError
from torch_geometric.data import Data

from gnas.config import check_seed, differences
from gnas.data.files import replacing
from gnas.errors import ConfigError, DataError, GnasError
from gnas.evaluate import EvaluationJob, Evaluator, FunctionEvaluator
from gnas.records import METRICS
from gnas.runs import (
    Figure,
    plain,
    reading_config,
    working_in,
    write_config,
    write_result,
)
from gnas.search.objectives import Bound, Goal, Objective
from gnas.search.pareto import non_dominated
from gnas.search.result import Evaluation, SearchResult
from gnas.search.samplers import SEARCHERS, Searcher
from gnas.search.samplers.base import SpaceExhausted
from gnas.spaces import Space, space_record
from gnas.studies import CandidateStudy, local_workers, shown
from gnas.studies.job import Evaluate
from gnas.studies.workers import Wait
from gnas.user_code import Source

logger = logging.getLogger(__name__)

PARALLEL = 8
"""Choice: architectures that may be evaluated at once, unless evaluations take no time."""
FIXED = {"space", "seed", "return"}
"""Parts of a searcher's signature that are no settings."""
STUDY = "study.db"
"""The study of a search that was given no storage, in the run's folder."""
MAX_FAILURES = 10
"""A search ends in an error if the first so many architectures all fail: its evaluator is broken,
not its architectures."""


@dataclass(frozen=True)
class Progress:
    """How far a search is."""

    done: int
    """Architectures that are evaluated or have failed, and were told to the searcher."""
    failed: int
    """Those of them that have failed."""
    total: int
    """The budget."""
    best: Evaluation | None
    """The best one so far."""
    is_better: bool
    """Whether the last one is that."""


Report = Callable[[Progress], None]
Draw = Callable[[SearchResult], Mapping[str, Figure]]


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
    parallel: int | None = None,
    workers: int | None = None,
    out: Path | None = None,
    resume: bool = False,
    storage: str | None = None,
    study: str | None = None,
    source: Source | None = None,
    plan: Mapping[str, Any] | None = None,
    until: Callable[[Evaluation], bool] | None = None,
    report: Report = lambda progress: None,
    figures: Draw | None = None,
) -> SearchResult:
    """Lets a searcher choose architectures of a space and an evaluator measure them.

    The searcher is asked for architecture k when k - ``parallel`` + 1 results are known, always
    in the order of asking. So neither the number of workers nor the order in which they end nor
    an interruption at any moment changes the result.

    Args:
        space: The architectures; the evaluator may reach a part of it only.
        searcher: A key of `gnas.search.SEARCHERS`, made with ``seed``; or a searcher that has not
            been asked yet, over ``evaluator.reachable(space)``.
        evaluator: Measures an architecture; a plain function becomes a `FunctionEvaluator`.
        budget: Architectures that are evaluated.
        objectives: Names of measures, see `Objective.parse`; None takes ``val_acc`` where the
            evaluator has it, else ``score``.
        constraints: Bounds such as ``macs=50e6``, see `Bound.parse`.
        settings: Of the searcher, if it is made here.
        seed: Of the searcher, if it is made here, and of every evaluation.
        parallel: Architectures that may be evaluated at once; workers beyond that have nothing to
            do. The result depends on it. None takes 1 for evaluations that take no time, else
            `PARALLEL`.
        workers: Processes that evaluate; 0 leaves all of it to ``gnas worker`` elsewhere. None
            evaluates in this process, and so is everything that takes no time.
        out: The run's folder; None keeps nothing.
        resume: Go on with the run in ``out``; its budget may be larger than it was.
        storage: Where workers find the candidates: a file, or the URL of a database; None for a
            file in ``out``.
        study: The study's name there; None for the name of ``out``.
        source: The file that ``space`` comes from, which other processes load again.
        plan: Kept in ``config.json``, for whoever makes searcher and evaluator anew.
        until: Ends the search early, when it is true of an evaluation; asked in the order of
            their numbers.
        report: Called after every evaluation.
        figures: Draws the result.

    Returns:
        What was found.

    Raises:
        ConfigError: impossible settings; ``out`` has a run that is not to be resumed, or another
            one; the searcher cannot pursue these objectives.
        DataError: every architecture failed, or a file cannot be read or written.

    Example:
        >>> from gnas.spaces import NASBench201
        >>> def worth(graph, *, seed):
        ...     return float((graph.edge_op > 1).sum())  # convolutions and a pooling
        >>> found = run_search(NASBench201(), "evolution", worth, budget=50)
        >>> len(found.evaluations), found.metrics["score"] >= 5
        (50, True)
    """
    start = time.monotonic()
    _check(budget, parallel, workers, out, resume)
    seed = check_seed(seed)
    evaluator = evaluator if isinstance(evaluator, Evaluator) else FunctionEvaluator(evaluator)
    goal = Goal.of(objectives or default_objectives(evaluator), constraints)
    _check_measures(goal, evaluator)
    evaluator.open(space)
    if isinstance(searcher, str):
        if searcher not in SEARCHERS:
            raise ConfigError(f"unknown searcher '{searcher}'; choose from {sorted(SEARCHERS)}")
        make, reachable = SEARCHERS[searcher], evaluator.reachable(space)
        _check_settings(make, settings or {})
        name, searcher = searcher, make(reachable, seed=seed, **(settings or {}))
    else:
        name = type(searcher).__name__
    if searcher.asked or searcher.told:
        raise ConfigError("a search needs a searcher of its own, but this one was asked before")
    searcher.aim(goal, evaluator.count, evaluator.counted)
    if parallel is None:
        parallel = 1 if evaluator.instant else PARALLEL
    about = space_record(space)
    facts = plain(
        {
            "seed": seed,
            "objectives": [*map(str, goal.objectives)],
            "bounds": [*map(str, goal.bounds)],
            "parallel": parallel,
            "searcher": {"name": name, **searcher.facts()},
            "space": {k: v for k, v in about.items() if k != "file"},
            "evaluator": evaluator.facts(),
        }
    )
    study = study or (out.resolve().name if out is not None else None)
    config = {
        "command": f"search {name}",
        "budget": budget,
        **facts,
        "storage": None if storage is None else shown(storage),
        "study": study,
        "plan": plan,
    }
    job = EvaluationJob(source or space, facts["space"], evaluator, goal.names, facts)
    with working_in(out):
        if out is not None:
            _check_folder(out, facts, budget, resume)
        place: AbstractContextManager[_Queue]
        if workers is None or evaluator.instant:
            place = _here(job, space, out, resume)
        else:
            assert out is not None and study is not None
            place = _elsewhere(job, storage or str(out / STUDY), study, workers, out)
        with place as queue:
            if out is not None:
                write_config(out, config)  # when the study is known to be this search's
            search = _Search(searcher, queue, budget, parallel, seed, report, until)
            search.run()
        result = _result(search, goal, config, about, time.monotonic() - start)
        if out is not None:
            write_result(out, result, figures(result) if figures is not None else None)
    return result


def default_objectives(evaluator: Evaluator) -> tuple[str, ...]:
    """``val_acc`` where the evaluator has it, else ``score``."""
    return ("val_acc",) if "val_acc" in evaluator.measures else ("score",)


def _check(
    budget: int, parallel: int | None, workers: int | None, out: Path | None, resume: bool
) -> None:
    for name, value, least in (
        ("budget", budget, 1), ("parallel", parallel, 1), ("workers", workers, 0)
    ):  # fmt: skip
        if value is not None and value < least:
            raise ConfigError(f"{name} must be at least {least}, but got {value}")
    if out is None and (workers is not None or resume):
        raise ConfigError("workers, and a search that goes on, need a folder; give `out`")


def _check_settings(make: Callable[..., Searcher], settings: Mapping[str, Any]) -> None:
    """Checks settings against the types that a searcher's signature names."""
    hints = get_type_hints(cast(Any, make).__init__ if isinstance(make, type) else make)
    for name, value in settings.items():
        if name not in hints or name in ("space", "seed"):
            raise ConfigError(f"unknown setting '{name}'; choose from {sorted({*hints} - FIXED)}")
        try:
            TypeAdapter(hints[name]).validate_python(value, strict=True)
        except ValidationError as error:
            raise ConfigError(
                f"{name} is no setting of this kind: {error.errors()[0]['msg']}, got {value!r:.60}"
            ) from None
        except PydanticSchemaGenerationError:
            continue  # a predictor, for example


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


def _check_folder(out: Path, facts: Mapping[str, Any], budget: int, resume: bool) -> None:
    """Checks that the run in ``out``, if there is one, is this one."""
    if not resume:
        if (out / "config.json").exists():
            raise ConfigError(
                f"a new run needs a folder of its own, but {out} has one; "
                f"go on with --resume {out}, or choose another"
            )
        return
    with reading_config(out) as record:
        changed = differences({name: record.get(name) for name in facts}, facts)
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


def _result(
    search: _Search,
    goal: Goal,
    config: Mapping[str, Any],
    about: Mapping[str, Any],
    seconds: float,
) -> SearchResult:
    ended = tuple(search.ended)
    good = [one for one in ended if one.measures is not None]
    best = search.best
    if best is None or best.measures is None:
        raise DataError("some architecture must be evaluated, but all failed")
    numbers = [one.number for one in good]
    rows = non_dominated(
        np.array([goal.values(one.measures or {}) for one in good]),
        np.array([goal.violation(one.measures or {}) for one in good]),
    )
    return SearchResult(
        command=str(config["command"]),
        config=config,
        space=about,
        objectives=tuple(map(str, goal.objectives)),
        bounds=tuple(map(str, goal.bounds)),
        architecture=best.architecture,
        metrics=best.measures,
        params=best.measures.get("num_params"),
        macs=best.measures.get("macs"),
        best=best.number,
        feasible=goal.violation(best.measures) == 0,
        front=tuple(numbers[row] for row in rows),
        evaluations=ended,
        evaluated=len(good),
        failed=len(ended) - len(good),
        stopped=search.stopped,
        seconds=seconds,
    )


class _Queue(Protocol):
    """Where architectures are evaluated, in the order of their numbers or otherwise."""

    def known(self, number: int) -> str | None:
        """The architecture that was given this number before a stop; None if none was."""
        ...

    def put(self, candidate: Mapping[str, Any]) -> None:
        """Has an architecture evaluated, sooner or later."""
        ...

    def get(self, number: int) -> Evaluation:
        """Waits until the architecture of this number is evaluated or has failed."""
        ...


class _Search:
    """The loop of a search."""

    def __init__(
        self,
        searcher: Searcher,
        queue: _Queue,
        budget: int,
        parallel: int,
        seed: int,
        report: Report,
        until: Callable[[Evaluation], bool] | None,
    ) -> None:
        self.searcher, self.queue, self.seed, self.report = searcher, queue, seed, report
        self.budget, self.parallel, self.until = budget, parallel, until
        self.ended: list[Evaluation] = []
        self.stopped: str | None = None
        self._asked: list[Data] = []
        self._best: tuple[tuple[float, ...], int] | None = None

    def run(self) -> None:
        """Asks and tells until the budget is spent or the space is exhausted."""
        while len(self.ended) < self.budget:
            while self._may_ask():
                self._ask()
            if len(self.ended) == len(self._asked):
                return
            found = self.queue.get(len(self.ended))
            self._tell(found)
            if self.until is not None and self.until(found):
                self.stopped = "what it was searched for is found"
                return

    def _may_ask(self) -> bool:
        count = len(self._asked)
        pending = count - len(self.ended)
        return self.stopped is None and count < self.budget and pending < self.parallel

    def _ask(self) -> None:
        number = len(self._asked)
        known = self.queue.known(number)
        if known is not None:
            graph = self.searcher.space.from_str(known)
            self.searcher.recall(graph)
        else:
            try:
                graph = self.searcher.ask()
            except SpaceExhausted as error:
                self.stopped = str(error)
                return
            text = self.searcher.space.to_str(graph)
            self.queue.put({"number": number, "architecture": text, "seed": self.seed})
        self._asked.append(graph)

    def _tell(self, found: Evaluation) -> None:
        graph = self._asked[found.number]
        self.ended.append(found)
        is_better = False
        if found.measures is None:
            self.searcher.drop(graph)
        else:
            self.searcher.tell(graph, found.measures)
            goal = self.searcher.goal
            rank = (-goal.violation(found.measures), *goal.values(found.measures))
            is_better = self._best is None or rank > self._best[0]
            if is_better:
                self._best = rank, found.number
        failed = sum(one.error is not None for one in self.ended)
        if failed == len(self.ended) >= min(MAX_FAILURES, self.budget):
            reason, count = Counter(one.error for one in self.ended).most_common(1)[0]
            raise DataError(
                f"some architecture must be evaluated, but the first {failed} all failed, "
                f"{count} of them so: {reason}"
            )
        self.report(Progress(len(self.ended), failed, self.budget, self.best, is_better))

    @property
    def best(self) -> Evaluation | None:
        """The best by the first objective of those that break the bounds least."""
        return None if self._best is None else self.ended[self._best[1]]


class _Lines:
    """The evaluations of a run in ``metrics.jsonl``, one line each."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Evaluation]:
        """What a killed process left; a last line that it left half written is cut off."""
        if not self.path.exists():
            return []
        try:
            content = self.path.read_bytes()
            whole = content[: content.rfind(b"\n") + 1]
            found = [Evaluation(**json.loads(line)) for line in whole.splitlines()]
            if [one.number for one in found] != list(range(len(found))):
                raise ValueError("its lines are not in order")
        except (OSError, ValueError, TypeError) as error:
            raise DataError(f"{self.path} must hold evaluations, but: {error}") from error
        if len(whole) < len(content):
            with replacing(self.path) as temporary:
                temporary.write_bytes(whole)
        return found

    def start(self) -> None:
        """Begins anew."""
        with replacing(self.path) as temporary:
            temporary.write_text("", encoding="utf-8")

    def add(self, found: Evaluation) -> None:
        """Adds a line."""
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(plain(found)) + "\n")
        except OSError as error:
            raise DataError(f"{self.path} must be writable, but: {error.strerror}") from error


class _Here:
    """Evaluates in this process."""

    def __init__(self, evaluate: Evaluate, lines: _Lines | None, found: list[Evaluation]) -> None:
        self._evaluate = evaluate
        self._lines, self._found = lines, found
        self._waiting: dict[int, Mapping[str, Any]] = {}

    def known(self, number: int) -> str | None:
        """See `_Queue`."""
        return self._found[number].architecture if number < len(self._found) else None

    def put(self, candidate: Mapping[str, Any]) -> None:
        """See `_Queue`."""
        self._waiting[candidate["number"]] = candidate

    def get(self, number: int) -> Evaluation:
        """See `_Queue`."""
        if number < len(self._found):
            return self._found[number]
        candidate = self._waiting.pop(number)
        measures, reason = None, None
        try:
            measures = self._evaluate(dict(candidate))["measures"]
        except (RuntimeError, MemoryError, ArithmeticError, GnasError) as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0].rstrip(": ")
            logger.warning("architecture %d failed: %s", number, reason)
        found = Evaluation(number, candidate["architecture"], measures, reason)
        self._found.append(found)
        if self._lines is not None:
            self._lines.add(found)
        return found


@contextmanager
def _here(job: EvaluationJob, space: Space, out: Path | None, resume: bool) -> Iterator[_Here]:
    lines = None if out is None else _Lines(out / METRICS)
    found: list[Evaluation] = []
    if lines is not None:
        found = lines.read() if resume else []
        if not found:
            lines.start()
    yield _Here(job.evaluation(space), lines, found)


class _Elsewhere:
    """Has workers evaluate, by a study."""

    def __init__(self, study: CandidateStudy, wait: Wait, lines: _Lines) -> None:
        self._study, self._wait, self._lines = study, wait, lines
        self._ended: dict[int, Evaluation] = {}
        self._known: dict[int, str] = {}
        self._count = -1
        self._look()

    def known(self, number: int) -> str | None:
        """See `_Queue`."""
        return self._known.get(number)

    def put(self, candidate: Mapping[str, Any]) -> None:
        """See `_Queue`."""
        self._study.plan([candidate])

    def get(self, number: int) -> Evaluation:
        """See `_Queue`."""
        if number not in self._ended:
            self._wait(
                lambda progress: self._watch(progress.done + progress.failed),
                lambda: number in self._ended,
            )
        if number not in self._ended:
            self._look()
        found = self._ended[number]
        self._lines.add(found)
        return found

    def _watch(self, count: int) -> None:
        if count != self._count:  # reading all results is worth it only then
            self._look()
            self._count = count

    def _look(self) -> None:
        for one in self._study.results():
            number = one.candidate["number"]
            self._known[number] = one.candidate["architecture"]
            if one.result is not None or one.error is not None:
                measures = None if one.result is None else one.result["measures"]
                self._ended.setdefault(
                    number, Evaluation(number, self._known[number], measures, one.error)
                )


@contextmanager
def _elsewhere(
    job: EvaluationJob, storage: str, study_name: str, workers: int, out: Path
) -> Iterator[_Elsewhere]:
    study = CandidateStudy.open(job, name=study_name, storage=storage)
    lines = _Lines(out / METRICS)
    lines.start()  # all lines follow from the study
    try:
        with local_workers(study, job, workers) as wait:
            yield _Elsewhere(study, wait, lines)
    except GnasError:
        with suppress(GnasError):
            study.finish()  # nobody needs to wait for more
        raise
    study.finish()
