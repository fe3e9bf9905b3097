"""The loop of a search: ask for architectures, wait for their evaluations, tell the searcher."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnas.errors import DataError, MissingMeasureError
from gnas.geometric import Data
from gnas.graphs import DenseBatch
from gnas.search.evaluation_log import EvaluationLog
from gnas.search.objectives import Goal
from gnas.search.queues import EvaluationQueue
from gnas.search.result import Evaluation
from gnas.search.samplers import Searcher
from gnas.search.samplers.base import SpaceExhausted

LAST = 16
"""Choice: of architectures asked for at once, the last so many are evaluated by their cost."""
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


class InVainError(DataError):
    """Nothing could be measured, so there is nothing to go on with."""


class SearchLoop:
    """A search that can be run from where it stopped.

    Args:
        searcher: Chooses the architectures.
        queue: Evaluates them.
        stages: The evaluator's stages beyond the first.
        budget: Architectures to evaluate.
        parallel: Architectures that may be under way at once.
        seeds: Seeds of the evaluations of each architecture.
        report: Called after every evaluation.
        until: Ends the search early, when it is true of an evaluation.
        known: Evaluations from before, in order.
        log: Told of every new evaluation.
        cost: See `Evaluator.cost`; None where evaluations run one after the other.
    """

    def __init__(
        self,
        searcher: Searcher,
        queue: EvaluationQueue,
        stages: Sequence[str],
        budget: int,
        parallel: int,
        seeds: range,
        report: Report,
        until: Callable[[Evaluation], bool] | None,
        known: Sequence[Evaluation],
        log: EvaluationLog,
        cost: Callable[[DenseBatch], NDArray[np.float64] | None] | None = None,
    ) -> None:
        self.searcher, self.queue, self.seeds, self.report = searcher, queue, seeds, report
        self.budget, self.parallel, self.until = budget, parallel, until
        self.stages, self.known, self.log, self.cost = ("", *stages), known, log, cost
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
        new: list[tuple[Data, list[dict[str, Any]]]] = []
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
                new.append((graph, candidates))
        if new:
            planned = [*new[:-LAST], *self._longest_first(new[-LAST:])]
            self.queue.put([one for _, candidates in planned for one in candidates])
        return bool(new)

    def _longest_first(
        self, asked: list[tuple[Data, list[dict[str, Any]]]]
    ) -> list[tuple[Data, list[dict[str, Any]]]]:
        """Architectures by falling cost, so that workers end at about the same time."""
        costs = None
        if self.cost is not None and len(asked) > 1:
            costs = self.cost(DenseBatch.from_data([graph for graph, _ in asked]))
        return asked if costs is None else [asked[k] for k in np.argsort(-costs, kind="stable")]

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
        self.log.add(found)
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
            raise InVainError(_with_option(error.removeprefix(lacks), self.searcher.goal))
        if failed == len(self.ended) >= min(MAX_FAILURES, self.budget):
            raise self.in_vain()
        notes = tuple(self.searcher.notes[self._notes :])
        self._notes += len(notes)
        self.report(
            SearchProgress(
                len(self.ended), failed, self.budget, self.best, is_better, notes, self.ended[-1]
            )
        )

    def in_vain(self) -> InVainError:
        """The error of a search of which nothing was measured."""
        count = len(self.ended)
        why = f"none was: {self.stopped}"
        if count:
            reason, alike = Counter(one.error for one in self.ended).most_common(1)[0]
            why = f"the first {count} all failed, {alike} of them so: {reason}"
        if count == 1:
            why = f"the first one failed: {reason}"
        return InVainError(f"some architecture must be evaluated, but {why}")

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
