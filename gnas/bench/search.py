"""How fast searchers find the best architecture of a benchmark table."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch_geometric.data import Data

from gnas.bench.tables import IMAGES, open_table
from gnas.data.tables import BenchmarkTable
from gnas.errors import ConfigError, GraphError
from gnas.graphs import DenseBatch, as_batch, graph_keys
from gnas.metrics import Interval, mean_interval
from gnas.search.samplers import SEARCHERS, Searcher
from gnas.spaces import SPACES
from gnas.spaces.base import Space

Values = NDArray[np.float64]
Indices = NDArray[np.int64]
Progress = Callable[[int, int | None], None]

MUTATIONS = 50
"""Choice: edits tried to stay in a table of part of a space."""
PROTOCOL = {
    "score": "mean validation accuracy over the runs; cells that are the same network, drawn "
    "differently, are one architecture with the mean of their accuracies, bought once",
    "choose": "the best validation accuracy among what was bought",
    "report": "mean test accuracy over the runs of what was chosen; regret is the best one's "
    "minus that",
    "optimum": "the architecture with the best validation accuracy of the table",
    "intervals": "mean and 95% Student t interval over seeds",
}


@dataclass(frozen=True, kw_only=True)
class SearchBench:
    """The experiment.

    Raises:
        ConfigError: a field is outside its range.
    """

    space: str
    """"nasbench101" or "nasbench201"."""
    searchers: tuple[str, ...] = tuple(SEARCHERS)
    """Keys of `gnas.search.samplers.SEARCHERS`."""
    budget: int = 150
    """Architectures that a search may buy."""
    seeds: int = 100
    """Searches by each searcher."""
    dataset: str = "cifar10"
    """Images that the architectures are for: a key of `IMAGES`; NAS-Bench-101 has CIFAR-10."""
    epochs: int | None = None
    """Length of the trainings; None takes the longest."""
    table: str | None = None
    """A file, or a name for `gnas.data.load_table`; None takes the space's."""
    data_dir: str | None = None
    """Folder of tables to look in first."""
    seed: int = 0
    """The first search's seed; the others have the following ones."""

    def __post_init__(self) -> None:
        if self.space not in ("nasbench101", "nasbench201"):
            raise ConfigError(f"space must be nasbench101 or nasbench201, but got '{self.space}'")
        choices = list(IMAGES) if self.space == "nasbench201" else ["cifar10"]
        if self.dataset not in choices:
            raise ConfigError(
                f"dataset of {self.space} must be one of {choices}, but got '{self.dataset}'"
            )
        unknown = [name for name in self.searchers if name not in SEARCHERS]
        if unknown or not self.searchers or len(set(self.searchers)) < len(self.searchers):
            raise ConfigError(
                f"searchers must be different ones of {sorted(SEARCHERS)}, "
                f"but got {[*self.searchers]}"
            )
        for name, least in (("budget", 1), ("seeds", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ConfigError(
                    f"{name} must be at least {least}, but got {getattr(self, name)}"
                )


@dataclass(frozen=True)
class SearcherRow:
    """What one searcher reached; accuracies and regrets are fractions."""

    searcher: str
    seeds: int
    test_acc: Interval
    """Of what was chosen when the budget was spent."""
    test_regret: tuple[Interval, ...]
    """After 1, 2, ... purchases."""
    val_regret: tuple[Interval, ...]
    found_optimum: float
    """Share of the searches that bought the optimum."""
    median_queries: float | None
    """Purchases until then, the median over all searches; None if fewer than half found it."""
    queries: tuple[int | None, ...]
    """Of each search; None where it did not."""
    seconds: float
    """Mean time of one search until the optimum or the end: choosing, not training."""


@dataclass(frozen=True)
class SearchBenchResult:
    """The whole experiment; field by field the JSON object that ``--json`` writes."""

    command: str
    config: SearchBench
    table: Mapping[str, Any]
    """Name, path, sha256, rows and provenance; how many different architectures."""
    protocol: Mapping[str, str]
    rows: tuple[SearcherRow, ...]
    best_val_acc: float
    """Of the optimum."""
    best_test_acc: float
    """The best mean test accuracy: regret 0."""
    seconds: float


def bench_search(config: SearchBench, *, progress: Progress | None = None) -> SearchBenchResult:
    """Runs every searcher with every seed on a table.

    Args:
        config: What to run.
        progress: Called with (searches done, searches in all).

    Raises:
        ConfigError: the table is of another space, has no such column, or fewer architectures
            than the budget.
        MissingDataError: there is no such table.
        DataError: the table is damaged.
    """
    start = time.monotonic()
    table = open_table(config.space, config.table or config.space, config.data_dir)
    shop = Shop.of(table, config)
    if config.budget > len(shop.val_acc):
        raise ConfigError(
            f"budget must be at most the {len(shop.val_acc)} different architectures of the "
            f"table, but got {config.budget}"
        )
    total, rows = len(config.searchers) * config.seeds, []
    with threadpool_limits(1):
        for k, name in enumerate(config.searchers):
            bought, begun = [], time.monotonic()
            for repetition in range(config.seeds):
                searcher = SEARCHERS[name](shop.space, seed=config.seed + repetition)
                bought.append(shop.purchases(searcher, config.budget))
                if progress is not None:
                    progress(k * config.seeds + repetition + 1, total)
            rows.append(_row(name, shop, bought, (time.monotonic() - begun) / config.seeds))
    return SearchBenchResult(
        command=f"bench search {config.space}",
        config=config,
        table={**table.provenance.summary(), "architectures": len(shop.val_acc)},
        protocol=PROTOCOL,
        rows=tuple(rows),
        best_val_acc=float(shop.val_acc.max()),
        best_test_acc=float(shop.test_acc.max()),
        seconds=time.monotonic() - start,
    )


class Shop:
    """A table in which every different network can be bought once.

    Args:
        space: The architectures of the table.
        val_acc: Validation accuracy of each different network [M].
        test_acc: Test accuracy of each [M].
        number: From a graph's key to its network.
    """

    def __init__(
        self, space: TableSpace, val_acc: Values, test_acc: Values, number: Mapping[int, int]
    ) -> None:
        self.space = space
        self.val_acc = val_acc
        self.test_acc = test_acc
        self._number = number

    @staticmethod
    def of(table: BenchmarkTable, config: SearchBench) -> Shop:
        """The shop of a table's columns.

        Raises:
            ConfigError: there are no such columns.
        """
        space = TableSpace(SPACES[config.space](), table.graphs)
        val_images, test_images = (
            (None, None) if config.space == "nasbench101" else IMAGES[config.dataset]
        )
        val = table.val_acc(dataset=val_images, epochs=config.epochs)
        test = table.test_acc(dataset=test_images, epochs=config.epochs)
        keys, group = np.unique(space.keys(table.graphs), return_inverse=True)
        group = group.reshape(-1)
        sizes = np.bincount(group)
        return Shop(
            space,
            np.bincount(group, val) / sizes,
            np.bincount(group, test) / sizes,
            {int(key): k for k, key in enumerate(keys)},
        )

    def purchases(self, searcher: Searcher, budget: int) -> Indices:
        """The networks that a searcher buys, in order: int64 [budget].

        A search ends when it has bought the optimum, as nothing could change its choice any more;
        the rest of its row repeats the optimum.
        """
        bought = np.full(budget, self.val_acc.argmax())
        for k in range(budget):
            graph = searcher.ask()
            number = self._number[searcher.key(graph)]
            if number == bought[-1]:
                break
            bought[k] = number
            searcher.tell(graph, float(self.val_acc[number]))
        return bought


class TableSpace(Space):
    """The architectures of a space that a table has: all else is out of reach.

    Draws are uniform over the rows; neighbours and mutations are those of the space that the table
    has. Where `MUTATIONS` edits all lead out of the table, a random row takes their place.

    Args:
        space: The whole space.
        graphs: The table's architectures.
    """

    def __init__(self, space: Space, graphs: DenseBatch) -> None:
        for fact in Space.__annotations__:
            setattr(self, fact, getattr(space, fact))
        self.size = len(graphs)
        self._whole = space
        self._graphs = graphs
        self._known = set(self.keys(graphs).tolist())
        self._complete = space.size == len(graphs)

    def keys(self, graphs: DenseBatch) -> NDArray[np.uint64]:
        """Equal for the same network, however it is drawn: uint64 [N]."""
        return graph_keys(self._whole.functional(graphs))

    def sample_batch(self, count: int, rng: np.random.Generator) -> DenseBatch:
        """``count`` rows, with replacement."""
        return self._graphs[torch.from_numpy(rng.integers(len(self._graphs), size=count))]

    def enumerate(self) -> DenseBatch:
        """Every row."""
        return self._graphs

    def mutate(self, graph: Data, rng: np.random.Generator) -> Data:
        """One edit of the space that stays in the table."""
        if self._complete:
            return self._whole.mutate(graph, rng)
        same = torch.zeros(MUTATIONS, dtype=torch.int64)
        near = self._whole.mutate_batch(as_batch(graph)[same], rng)
        there = self._inside(near)
        return near.data(there[0]) if there else self.sample(rng)

    def neighbours(self, graph: Data) -> DenseBatch:
        """Those of the space that the table has."""
        near = self._whole.neighbours(graph)
        if self._complete:
            return near
        return near[torch.tensor(self._inside(near), dtype=torch.int64)]

    def _inside(self, graphs: DenseBatch) -> list[int]:
        return [row for row, key in enumerate(self.keys(graphs).tolist()) if key in self._known]

    def live(self, batch: DenseBatch) -> DenseBatch:
        """As the space's."""
        return self._whole.live(batch)

    def functional(self, batch: DenseBatch) -> DenseBatch:
        """As the space's."""
        return self._whole.functional(batch)

    def check(self, graph: Data) -> None:
        """See `Space.check`; the table must have it."""
        self._whole.check(graph)
        if int(self.keys(as_batch(graph))[0]) not in self._known:
            raise GraphError("an architecture must be one of the table's, but is not")

    def to_str(self, graph: Data) -> str:
        """As the space's."""
        return self._whole.to_str(graph)

    def from_str(self, text: str) -> Data:
        """As the space's."""
        return self._whole.from_str(text)


def _row(name: str, shop: Shop, bought: Sequence[Indices], seconds: float) -> SearcherRow:
    """Regret curves and purchases until the optimum of one searcher's searches."""
    purchases = np.stack(bought)  # [seeds, budget]
    val = shop.val_acc[purchases]
    best = np.maximum.accumulate(val, axis=1)
    budget = purchases.shape[1]
    better = np.diff(best, axis=1, prepend=-np.inf) > 0
    first = np.where(better, np.arange(budget), 0)  # where the best so far was bought
    chosen = np.take_along_axis(purchases, np.maximum.accumulate(first, axis=1), axis=1)
    test_regret = shop.test_acc.max() - shop.test_acc[chosen]
    val_regret = shop.val_acc.max() - best
    hits = purchases == shop.val_acc.argmax()
    queries = [int(hit.argmax()) + 1 if hit.any() else None for hit in hits]
    sorted_queries = sorted(np.inf if q is None else q for q in queries)
    median = float(np.median(sorted_queries)) if np.isfinite(sorted_queries).any() else np.inf
    return SearcherRow(
        searcher=name,
        seeds=len(bought),
        test_acc=mean_interval(shop.test_acc[chosen[:, -1]]),
        test_regret=tuple(mean_interval(column) for column in test_regret.T),
        val_regret=tuple(mean_interval(column) for column in val_regret.T),
        found_optimum=float(hits.any(1).mean()),
        median_queries=median if np.isfinite(median) else None,
        queries=tuple(queries),
        seconds=seconds,
    )
