"""Many searches on one table, by any number of processes, kept as they end."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from gnas import processes
from gnas.bench.shop import Shop
from gnas.errors import DataError
from gnas.records import LineLog
from gnas.runs import check_folder
from gnas.search.samplers import SEARCHERS

FILE = "searches.jsonl"


@dataclass(frozen=True)
class Search:
    """What one search bought."""

    searcher: str
    """Key of `gnas.search.samplers.SEARCHERS`."""
    seed: int
    bought: tuple[int, ...]
    """Numbers of the shop's networks, in order."""
    seconds: float
    """Processor time of choosing."""


class SearchLog:
    """The finished searches of an experiment, kept as they end (`gnas.records.LineLog`).

    Args:
        folder: Where the file lies; None keeps nothing.
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
            check_folder(folder)
            self._log = LineLog(folder / FILE, facts, what="searches", read=_search_of)
            self.found = {(search.searcher, search.seed): search for search in self._log.records}

    def add(self, search: Search) -> None:
        """Keeps a search; DataError if its file cannot be written."""
        if self._log is not None:
            self._log.add(asdict(search))


def _search_of(record: Any) -> Search:
    return Search(**{**record, "bought": tuple(record["bought"])})


def run_searches(
    wanted: Sequence[tuple[str, int]],
    make_shop: Callable[[], Shop],
    shop: Shop,
    budget: int,
    workers: int,
) -> Iterator[Search]:
    """Runs searches, one thread each, and yields them as they end.

    Args:
        wanted: Searchers and seeds.
        make_shop: Returns the same shop as ``shop`` in another process, for every search there;
            must be picklable.
        shop: Where this process buys.
        budget: Architectures that a search may buy.
        workers: Processes; 1 is this one.
    """
    if workers == 1 or len(wanted) < 2:
        with threadpool_limits(1):
            yield from (_search(shop, name, seed, budget) for name, seed in wanted)
        return
    context = processes.context(__name__)
    with ProcessPoolExecutor(
        workers, context, initializer=processes.adopt, initargs=({**os.environ},)
    ) as pool:
        ends = [pool.submit(_search_there, make_shop, name, seed, budget) for name, seed in wanted]
        try:
            for end in as_completed(ends):
                yield end.result()
        except BrokenProcessPool as error:
            raise DataError(
                "every process that searches must live to the end, but one was killed; is there "
                "too little memory? The same command goes on, with fewer --workers if need be"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _search(shop: Shop, name: str, seed: int, budget: int) -> Search:
    start = time.process_time()
    bought = shop.purchases(SEARCHERS[name](shop.space, seed=seed), budget)
    return Search(name, seed, tuple(bought.tolist()), time.process_time() - start)


def _search_there(make_shop: Callable[[], Shop], name: str, seed: int, budget: int) -> Search:
    with threadpool_limits(1):
        return _search(make_shop(), name, seed, budget)
