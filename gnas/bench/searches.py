"""Many searches on one table, by any number of processes, kept as they end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
from numpy.typing import NDArray

from gnas.errors import DataError
from gnas.evaluate import TableEvaluator
from gnas.processes import spread
from gnas.records import LineLog
from gnas.search.result import Evaluation
from gnas.search.run import run_search

FILE = "searches.jsonl"


@dataclass(frozen=True)
class Search:
    """What one search queried."""

    searcher: str
    """Key of `gnas.search.samplers.SEARCHERS`."""
    seed: int
    queried: tuple[int, ...]
    """Numbers of the evaluator's networks, in order."""
    seconds: float
    """Processor time of choosing."""


class SearchLog:
    """The finished searches of an experiment, kept as they end (`gnas.records.LineLog`).

    Args:
        folder: Where the file lies, which must be there; None keeps nothing.
        facts: What every search depends on beside its searcher and its seed.

    Raises:
        ConfigError: the folder has searches that depend on something else.
        DataError: its file is damaged or cannot be written; a last line that was cut off is no
            damage.
    """

    def __init__(self, folder: Path | None, facts: Mapping[str, Any]) -> None:
        self.found: dict[tuple[str, int], Search] = {}
        """By searcher and seed."""
        self._log: LineLog[Search] | None = None
        if folder is not None:
            self._log = LineLog(folder / FILE, facts, what="searches", read=_search_of)
            self.found = {(search.searcher, search.seed): search for search in self._log.records}

    def check(self, budget: int, networks: int) -> None:
        """Checks that every search has queried ``budget`` of so many networks.

        Raises:
            DataError: one has not.
        """
        for search in self.found.values():
            within = all(0 <= number < networks for number in search.queried)
            if len(search.queried) != budget or not within:
                raise DataError(
                    f"{FILE} must hold searches, but is damaged: each has {budget} numbers below "
                    f"{networks}, but {search.searcher} with seed {search.seed} has others"
                )

    def sort(self, order: Sequence[tuple[str, int]]) -> None:
        """Puts these searches first, in this order, whichever ended first.

        Raises:
            DataError: the file cannot be written.
        """
        if self._log is None:
            return
        rank = {key: k for k, key in enumerate(order)}
        whole = sorted(
            self.found.values(), key=lambda s: rank.get((s.searcher, s.seed), len(rank))
        )
        self._log.rewrite([asdict(search) for search in whole])

    def add(self, search: Search) -> None:
        """Keeps a search; DataError if its file cannot be written."""
        self.found[search.searcher, search.seed] = search
        if self._log is not None:
            self._log.add(asdict(search))


_SEARCH = pydantic.TypeAdapter(Search)


def _search_of(record: Any) -> Search:
    return _SEARCH.validate_python(record)


def run_searches(
    wanted: Sequence[tuple[str, int]], evaluator: TableEvaluator, budget: int, workers: int
) -> Iterator[Search]:
    """Runs searches, one thread each, and yields them as they end.

    Args:
        wanted: Searchers and seeds.
        evaluator: What they query.
        budget: Queries of one search.
        workers: Processes; 1 is this one.

    Raises:
        ProcessError: a process was killed.
    """
    for _, search in spread(partial(_search, evaluator, budget), wanted, workers, __name__):
        yield search


def queries(
    evaluator: TableEvaluator, searcher: str, budget: int, *, seed: int = 0
) -> NDArray[np.int64]:
    """The networks that a search queries, in order: int64 [budget].

    A search ends when it has queried the optimum, as nothing could change its choice any more;
    the rest of its row repeats the optimum.

    Args:
        evaluator: Its ``val_acc`` is maximised.
        searcher: Key of `gnas.search.samplers.SEARCHERS`.
        budget: Queries.
        seed: Of the searcher.
    """
    numbers: list[int] = []
    optimum = int(evaluator.values["val_acc"].argmax())

    def found(one: Evaluation) -> bool:
        numbers.append(evaluator.number(evaluator.space.from_str(one.architecture)))
        return numbers[-1] == optimum

    run_search(evaluator.space, searcher, evaluator, budget=budget, seed=seed, until=found)
    return np.array(numbers + [optimum] * (budget - len(numbers)))


def _search(evaluator: TableEvaluator, budget: int, name: str, seed: int) -> Search:
    start = time.process_time()
    found = queries(evaluator, name, budget, seed=seed)
    return Search(name, seed, tuple(found.tolist()), time.process_time() - start)
