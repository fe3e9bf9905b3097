"""Many searches on one table, by any number of processes, kept as they end."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from threadpoolctl import threadpool_limits

from gnas.bench.shop import Shop
from gnas.config import differences
from gnas.errors import ConfigError, DataError
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
    """The finished searches of an experiment, a line of JSON each, written as they end.

    Args:
        folder: Where the file lies; None keeps nothing.
        facts: What every search depends on beside its searcher and its seed.

    Raises:
        ConfigError: the folder has searches that depend on something else.
        DataError: its file is damaged; a last line that was cut off is no damage.
    """

    def __init__(self, folder: Path | None, facts: Mapping[str, Any]) -> None:
        self.found: dict[tuple[str, int], Search] = {}
        """By searcher and seed."""
        self._path = None if folder is None else folder / FILE
        if folder is None or self._path is None:
            return
        check_folder(folder)
        head = json.dumps(facts) + "\n"
        lines = self._lines(self._path)
        if len(lines) < 2 and head.encode().startswith(b"".join(lines)):  # new, or killed at once
            lines = [head.encode()]
            self._write(self._path, head, "w")
        whole = [line for line in lines if line.endswith(b"\n")]
        before, searches = self._parsed(whole)
        changed = differences(before, dict(facts))
        if changed:
            name, (was, now) = next(iter(changed.items()))
            raise ConfigError(
                f"searches can only be added to those of the same experiment, but in {folder} "
                f"{name} was {was} and is now {now}; choose another folder"
            )
        self.found = {(search.searcher, search.seed): search for search in searches}
        if len(whole) < len(lines):  # a killed process was writing
            os.truncate(self._path, sum(map(len, whole)))

    def add(self, search: Search) -> None:
        """Keeps a search.

        Raises:
            DataError: the file cannot be written.
        """
        if self._path is not None:
            self._write(self._path, json.dumps(asdict(search)) + "\n", "a")

    @staticmethod
    def _lines(path: Path) -> list[bytes]:
        try:
            return path.read_bytes().splitlines(keepends=True) if path.exists() else []
        except OSError as error:
            raise DataError(f"{path} must be a file to read, but: {error.strerror}") from error

    @staticmethod
    def _write(path: Path, text: str, mode: Literal["a", "w"]) -> None:
        try:
            with path.open(mode, encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise DataError(f"{path} must be a file to write to, but: {error.strerror}") from error

    def _parsed(self, lines: Sequence[bytes]) -> tuple[dict[str, Any], list[Search]]:
        try:
            facts, *searches = [json.loads(line) for line in lines]
            found = [Search(**{**s, "bought": tuple(s["bought"])}) for s in searches]
            return dict(facts), found
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"{self._path} must hold searches, but is damaged: {error}") from error


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
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context) as pool:
        ends = [pool.submit(_search_there, make_shop, name, seed, budget) for name, seed in wanted]
        try:
            for end in as_completed(ends):
                yield end.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _search(shop: Shop, name: str, seed: int, budget: int) -> Search:
    start = time.process_time()
    bought = shop.purchases(SEARCHERS[name](shop.space, seed=seed), budget)
    return Search(name, seed, tuple(bought.tolist()), time.process_time() - start)


def _search_there(make_shop: Callable[[], Shop], name: str, seed: int, budget: int) -> Search:
    with threadpool_limits(1):
        return _search(make_shop(), name, seed, budget)
