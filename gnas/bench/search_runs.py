"""Parallel execution and logging of searches on one table."""

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

from gnas.errors import ConfigError, DataError, GnasError
from gnas.evaluate import TableEvaluator
from gnas.jsonl import JsonlLog
from gnas.processes import run_parallel
from gnas.search.result import Evaluation
from gnas.search.run import run_search
from gnas.search.samplers import make_searcher
from gnas.user_code import Source, described, is_own

FILE = "searches.jsonl"
_ROUNDING = 1e-12  # means of the same runs in another order differ by less


@dataclass(frozen=True)
class SearchTrajectory:
    """Queries of one finished search."""

    searcher: str
    """Name of the searcher; see `gnas.search.samplers.make_searcher`."""
    seed: int
    queried: tuple[int, ...]
    """Indices of the evaluator's networks, in the order of the queries."""
    seconds: float
    """CPU time of the searcher."""
    sha256: str | None = None
    """Digest of the searcher's own file, if it has one."""


class SearchLog:
    """Log of the finished searches of an experiment (`gnas.jsonl.JsonlLog`).

    Args:
        folder: Existing folder of the log file; None keeps nothing.
        facts: Settings that every search depends on, apart from its searcher and seed.

    Raises:
        ConfigError: the folder has searches that depend on something else.
        DataError: its file is damaged or cannot be written; a last line that was cut off is no
            damage.
    """

    def __init__(self, folder: Path | None, facts: Mapping[str, Any]) -> None:
        self.found: dict[tuple[str, int], SearchTrajectory] = {}
        """Finished searches by searcher and seed."""
        self._log: JsonlLog[SearchTrajectory] | None = None
        if folder is not None:
            self._log = JsonlLog(folder / FILE, facts, what="searches", read=_search_of)
            self.found = {(search.searcher, search.seed): search for search in self._log.records}

    def check(self, budget: int, networks: int, searchers: Sequence[str]) -> None:
        """Check that every search made ``budget`` queries with valid indices.

        Args:
            budget: Number of queries per search.
            networks: Number of the evaluator's networks.
            searchers: Names of the searchers to be run.

        Raises:
            ConfigError: one of the searchers' files has changed.
            DataError: a search has other queries.
        """
        digests = {name: _digest(name) for name in searchers}
        for search in self.found.values():
            within = all(0 <= number < networks for number in search.queried)
            if len(search.queried) != budget or not within:
                raise DataError(
                    f"{FILE} must hold searches, but is damaged: each has {budget} numbers below "
                    f"{networks}, but {search.searcher} with seed {search.seed} has others"
                )
            if search.sha256 != digests.get(search.searcher, search.sha256):
                raise ConfigError(
                    f"{search.searcher} must be the file that the searches in {FILE} were made "
                    "with, but it changed; choose another place"
                )

    def sort(self, order: Sequence[tuple[str, int]]) -> None:
        """Rewrite the log with these searches first, in this order.

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

    def add(self, search: SearchTrajectory) -> None:
        """Append a search; raises DataError if the file cannot be written."""
        self.found[search.searcher, search.seed] = search
        if self._log is not None:
            self._log.add(asdict(search))


_SEARCH = pydantic.TypeAdapter(SearchTrajectory)


def _search_of(record: Any) -> SearchTrajectory:
    return _SEARCH.validate_python(record)


def run_searches(
    wanted: Sequence[tuple[str, int]], evaluator: TableEvaluator, budget: int, workers: int
) -> Iterator[SearchTrajectory]:
    """Run searches, one thread each, and yield them as they finish.

    Args:
        wanted: Pairs of searcher and seed.
        evaluator: The evaluator to query.
        budget: Number of queries per search.
        workers: Number of processes; 1 runs in this process.

    Raises:
        ProcessError: a process was killed.
    """
    for _, search in run_parallel(partial(_search, evaluator, budget), wanted, workers, __name__):
        yield search


def queries(
    evaluator: TableEvaluator, searcher: str, budget: int, *, seed: int = 0
) -> NDArray[np.int64]:
    """Indices of the networks queried by a search, in order: int64 [budget].

    A search ends when it has queried an optimum (`optima`), as nothing could change its choice
    any more; the rest of its row repeats that.

    Args:
        evaluator: The evaluator whose ``val_acc`` is maximised.
        searcher: Name of the searcher; see `gnas.search.samplers.make_searcher`.
        budget: Number of queries.
        seed: Seed of the searcher.

    Raises:
        ConfigError: a searcher of a user's file fails.
    """
    numbers: list[int] = []
    best = optima(evaluator)

    def found(one: Evaluation) -> bool:
        numbers.append(evaluator.number(evaluator.space.from_str(one.architecture)))
        return bool(best[numbers[-1]])

    chosen = make_searcher(searcher, evaluator.space, seed=seed)
    try:
        run_search(evaluator.space, chosen, evaluator, budget=budget, seed=seed, until=found)
    except GnasError:
        raise
    except Exception as error:
        if not is_own(searcher):
            raise
        raise ConfigError(
            f"{searcher} must return architectures when asked, but: {described(error)}"
        ) from error
    return np.array(numbers + numbers[-1:] * (budget - len(numbers)))


def optima(evaluator: TableEvaluator) -> NDArray[np.bool_]:
    """Which networks have the best validation accuracy, ties up to rounding included: bool [M]."""
    val_acc = evaluator.values["val_acc"]
    return np.asarray(val_acc >= val_acc.max() - _ROUNDING, dtype=bool)


def _search(evaluator: TableEvaluator, budget: int, name: str, seed: int) -> SearchTrajectory:
    start = time.process_time()
    found = queries(evaluator, name, budget, seed=seed)
    seconds = time.process_time() - start
    return SearchTrajectory(name, seed, tuple(found.tolist()), seconds, _digest(name))


def _digest(name: str) -> str | None:
    return Source.parse(name).sha256 if is_own(name) else None
