"""Differentiable searches of one supernet, judged by a table that knows every cell's accuracy."""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import torch
from numpy.typing import NDArray
from scipy.stats import ttest_rel
from torch import Tensor
from torch.nn import functional as F

from gnas import __version__
from gnas.bench.config import DARTS, METHODS, RANDOM, SupernetBench
from gnas.bench.tables import open_table, scores_name, table_images
from gnas.data.images.batch_size import check_batch
from gnas.data.images.parts import ImageParts, open_search_images, search_loaders
from gnas.data.images.splits import split_evenly
from gnas.data.tables import BenchmarkTable
from gnas.errors import ConfigError, DataError
from gnas.geometric import Data
from gnas.graphs import prune
from gnas.jsonl import JsonlLog
from gnas.metrics import Interval, kendall_tau, mean_interval
from gnas.processes import ProgressCallback, run_parallel
from gnas.runs import run_folder_lock, to_jsonable
from gnas.search.toponas import (
    SearchRecord,
    SupernetSearchResult,
    ToponasConfig,
    search_toponas,
)
from gnas.search.toponas.plan import ToponasPlan
from gnas.search.toponas.where import search_space
from gnas.spaces import NASBench201
from gnas.spaces.nasbench201 import EDGES
from gnas.spaces.supernets import MixedWeights
from gnas.training.checkpoints import Checkpoints

Floats = NDArray[np.float64]

LOG = "searches.jsonl"
ONE_SHOT_CELLS, ONE_SHOT_IMAGES, ONE_SHOT_SEED = 200, 512, 201
"""Cells that the trained supernet ranks, and the most validation images that it ranks them by;
both are drawn once for all searches."""
PROTOCOL = {
    "search": "each seed searches once by each method, with the same images, which are split in "
    "three parts (weights, alpha, beta) where a topology is learned and else in two (weights, "
    "alpha), as in the papers; every seed has splits of its own; nothing is chosen by the table",
    "test_acc": "mean test accuracy over the runs of the derived cell in the table",
    "rank": "its place among all cells by that accuracy, from 1; equal ones share the better one",
    "tau": f"Kendall's tau between the accuracy of {ONE_SHOT_CELLS} cells under the weights of a "
    f"trained supernet, on {ONE_SHOT_IMAGES} images at most, and their true accuracy; the images "
    "are the same for all methods, not augmented, and no weights were trained on them",
    "random": "a cell drawn uniformly, one a seed",
    "p": "two-sided paired t-test over seeds",
    "intervals": "mean and 95% Student t interval over seeds",
}


@dataclass(frozen=True)
class SupernetSearch:
    """One finished search, not yet judged by a table."""

    method: str
    seed: int
    architecture: str
    """Derived cell."""
    epochs: tuple[str, ...]
    """Cells derived after each epoch."""
    supernet_acc: float | None
    """Accuracy of the mixed supernet on alpha's images, averaged over the steps of the derived
    epoch."""
    one_shot: tuple[float, ...]
    """Accuracies of `ONE_SHOT_CELLS` cells under the final weights of the supernet."""
    stopped: str | None
    """Reason for an early stop, if any."""
    seconds: float
    """CPU time of the search in seconds, without the ranking of cells."""


@dataclass(frozen=True)
class SupernetRow:
    """Results of one method; accuracies and differences are fractions."""

    method: str
    seeds: tuple[int, ...]
    val_acc: Interval
    test_acc: Interval
    other_acc: Interval | None
    """Test accuracy on the other images of the table, CIFAR-100 beside CIFAR-10 and reversely."""
    worst: float
    """Lowest test accuracy over seeds."""
    rank: float
    """Median over seeds."""
    regret: Interval
    """Best test accuracy of the table minus that of the derived cell."""
    above_mean: Interval
    """Test accuracy minus the mean of all cells: what a random cell has on average."""
    above_median: Interval
    edges: float
    """Mean over seeds."""
    skip_share: float
    joined: float
    """Fraction of the derived cells with a path from input to output."""
    tau: Interval | None
    p_darts: float | None
    """P-value of a paired t test against `DARTS`; None for fewer than two shared seeds."""
    p_random: float | None
    curves: tuple[tuple[float, ...], ...]
    """Test accuracies of the cells of epoch 1, 2, ... of every search."""
    seconds: float

    @property
    def curve(self) -> tuple[float, ...]:
        """Median over the searches of the test accuracy of the cells of epoch 1, 2, ...."""
        epochs = zip_longest(*self.curves)
        return tuple(float(np.median([v for v in epoch if v is not None])) for epoch in epochs)


@dataclass(frozen=True)
class SupernetBenchResult:
    """Complete result; its fields are those of the JSON object written by ``--json``."""

    command: str
    config: SupernetBench
    table: Mapping[str, Any]
    """Name, path, sha256, rows, provenance; the names of the judging scores."""
    protocol: Mapping[str, str]
    data: Mapping[str, Any]
    """Metadata of the images searched on."""
    rows: tuple[SupernetRow, ...]
    """Rows of the methods with a finished search."""
    searches: tuple[SupernetSearch, ...]
    best_test_acc: float
    mean_test_acc: float
    """Mean over all cells of the table."""
    median_test_acc: float
    chosen: str
    """The method with the best mean *validation* accuracy."""
    seconds: float


def bench_supernet(
    config: SupernetBench,
    *,
    folder: str | Path | None = None,
    device: str = "cpu",
    workers: int = 1,
    progress: ProgressCallback | None = None,
) -> SupernetBenchResult:
    """Run every method with every seed and look the derived cells up in a table.

    Searches go seed by seed through the methods, so that an experiment that is stopped is as
    complete as it can be.

    Args:
        config: The experiment.
        folder: Folder of finished searches, one JSON line each, and of one that is under
            way; those that it has are not run again.
        device: Torch device of the searches.
        workers: Number of processes, one thread each; results do not depend on it.
        progress: Called with (searches done, searches in all).

    Raises:
        ConfigError: the table is of another space or lacks a score; ``folder`` has searches of
            another experiment.
        MissingDataError: there is no such table, or no images.
        DataError: the table is damaged or lacks cells, or ``folder`` cannot be written.
        ProcessError: a process was killed.
    """
    folder = None if folder is None else Path(folder)
    with run_folder_lock(folder):
        return _run(config, folder, device, workers, progress)


def _run(
    config: SupernetBench,
    folder: Path | None,
    device: str,
    workers: int,
    progress: ProgressCallback | None,
) -> SupernetBenchResult:
    start = time.monotonic()
    judge = Judge(config)
    plans = {
        (method, seed): config.plan(method, seed)
        for seed in range(config.seed, config.seed + config.seeds)
        for method in config.methods
    }
    images = open_search_images(next(iter(plans.values())).images)
    done = read_searches(folder, facts_of(config, images)) if folder is not None else None
    found = {(s.method, s.seed): s for s in done.records} if done is not None else {}
    missing = [key for key in plans if key not in found]
    if progress is not None:
        progress(len(plans) - len(missing), len(plans))
    searching = _Searches(plans, images, one_shot_cells(NASBench201()), folder, device)
    for place, search in run_parallel(searching, missing, workers, __name__):
        found[missing[place]] = search
        if done is not None:
            done.add(to_jsonable(search))
        if progress is not None:
            progress(len(found.keys() & plans.keys()), len(plans))
    if folder is not None:
        for method, seed in plans:
            shutil.rmtree(_under_way(folder, method, seed), ignore_errors=True)
    searches = [found[key] for key in plans]
    data = {**images.metadata(), "images": len(images.source.train.y)}
    for name in ("parts", "mean", "std"):
        data.pop(name)  # they differ from seed to seed
    return judge.result(searches, data, time.monotonic() - start)


def facts_of(config: SupernetBench, images: ImageParts) -> dict[str, Any]:
    """Settings that all searches of a folder share, apart from method and seed."""
    plan = config.plan(DARTS, 0)
    base = {**to_jsonable(plan.config), "seed": None}
    facts = images.metadata()
    data = {name: facts[name] for name in ("image_size", "train_sha256")}
    return {"search": base, "data": data, "split": "by seed", "gnas": __version__}


def read_searches(folder: Path, facts: Mapping[str, Any]) -> JsonlLog[SupernetSearch]:
    """The searches of a folder.

    Raises:
        ConfigError: they are of another experiment.
        DataError: the file is damaged.
    """
    return JsonlLog(folder / LOG, facts, what="supernet searches", read=_read)


_SEARCH = pydantic.TypeAdapter(SupernetSearch)


def _read(record: Any) -> SupernetSearch:
    return _SEARCH.validate_python(record)


def _under_way(folder: Path, method: str, seed: int) -> Path:
    """Folder of the checkpoints of an unfinished search."""
    return folder / f"{method}-{seed}"


@dataclass(frozen=True)
class _Searches:
    """Searches by method and seed, in any process."""

    plans: Mapping[tuple[str, int], ToponasPlan]
    images: ImageParts
    cells: Sequence[Data]
    """To be ranked by every trained supernet."""
    folder: Path | None
    device: str

    def __call__(self, method: str, seed: int) -> SupernetSearch:
        """Run one search, resuming it if a process was killed."""
        if METHODS[method] is None:
            space = NASBench201()
            text = space.to_str(space.sample(np.random.default_rng(seed)))
            return SupernetSearch(method, seed, text, (), None, (), None, 0.0)
        search = self.plans[method, seed].config
        images = open_search_images(
            self.plans[method, seed].images,
            num_parts=search.num_parts,
            source=self.images.source,
        )
        check_batch(search.batch_size, min(map(len, images.rows.values())))
        record = None
        if self.folder is not None:
            own = _under_way(self.folder, method, seed)
            facts = {"config": search, "data": images.metadata()}
            resume = bool(Checkpoints(own / "checkpoint").steps())
            record = SearchRecord(own, facts, resume=resume)
        return _search(method, images, search, self.cells, self.device, record)


def _search(
    method: str,
    images: ImageParts,
    search: ToponasConfig,
    cells: Sequence[Data],
    device: str,
    record: SearchRecord | None,
) -> SupernetSearch:
    joint = search.update == "joint"
    loaders = search_loaders(
        images, search.batch_size, seed=search.seed, joint=joint, device=device
    )
    before = time.process_time()
    with without_warnings("gnas.search.toponas.search"):  # of collapse, which the rows tell
        result = search_toponas(
            search_space(search), loaders, search, device=device, record=record
        )
    seconds = time.process_time() - before
    return SupernetSearch(
        method,
        search.seed,
        result.text,
        tuple(epoch["genotype"] for epoch in result.epochs),
        result.metrics["val_acc"],
        one_shot_accuracies(result, images, cells),
        result.stopped,
        seconds,
    )


@contextmanager
def without_warnings(logger: str) -> Iterator[None]:
    """Silence a logger below the level of errors inside the block."""
    log = logging.getLogger(logger)
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


def one_shot_cells(space: NASBench201) -> list[Data]:
    """Cells that every trained supernet ranks."""
    return list(space.sample_batch(ONE_SHOT_CELLS, np.random.default_rng(ONE_SHOT_SEED)))


def one_shot_rows(labels: Tensor, seed: int) -> Tensor:
    """Indices of the images used to rank cells: int64, at most `ONE_SHOT_IMAGES`.

    Weights learn from none of them, whether the images are split in two parts or in three.

    Args:
        labels: Of the images, int64 [N].
        seed: Seed of the split.
    """
    two, three = (split_evenly(labels, n, seed) for n in (2, 3))
    rows = two[1][torch.isin(two[1], torch.cat(three[1:]))]
    generator = torch.Generator().manual_seed(ONE_SHOT_SEED)
    return rows[torch.randperm(len(rows), generator=generator)[:ONE_SHOT_IMAGES]]


@torch.no_grad()
def one_shot_accuracies(
    result: SupernetSearchResult, images: ImageParts, cells: Sequence[Data]
) -> tuple[float, ...]:
    """Accuracy of single cells under the weights of a supernet, on `one_shot_rows`.

    An edge of a cell has its one operation with weight 1; with edge normalisation, the edges that
    enter a node share its weight. Batch norms use the batch's statistics, as in training.
    """
    config, form, space = result.config, result.bilevel.arch.form, NASBench201()
    x, y = images.normalised(one_shot_rows(images.source.train.y, config.seed))
    device = result.bilevel.w[0].device
    x, y = x.to(device), y.to(device)
    pieces = math.ceil(len(y) / config.batch_size)
    shown = [*zip(x.tensor_split(pieces), y.tensor_split(pieces), strict=True)]
    targets = torch.tensor([j for _, j in form.edges], device=device)  # [E]
    found = []
    for graph in cells:
        codes = torch.tensor(space.codes(graph), device=device)  # [E]
        present = (codes > 0).float()  # [E]
        weights = MixedWeights(
            F.one_hot((codes - 1).clamp_min(0), len(form.ops)).float() * present[:, None],
            present,
        )
        if config.edge_norm:
            entering = (targets[:, None] == targets).float() @ present  # [E]
            weights = MixedWeights(weights.ops, present / entering.clamp_min(1))
        right = sum(
            int((result.bilevel.supernet(a, weights).argmax(1) == b).sum()) for a, b in shown
        )
        found.append(right / len(y))
    return tuple(found)


class Judge:
    """Judge of searches: looks derived cells up in a table.

    Args:
        config: The experiment: its table and scores.

    Raises:
        ConfigError: the table is of another space or lacks a score.
        MissingDataError: there is no such table.
        DataError: the table is damaged or lacks cells.
    """

    def __init__(self, config: SupernetBench) -> None:
        self.config, self.space = config, NASBench201()
        self.table = open_table(self.space, config.table, config.table_dir)
        source, target = map(list, zip(*EDGES, strict=True))
        codes = self.table.graphs.adjacency[:, source, target].tolist()
        self._rows = {tuple(code): row for row, code in enumerate(codes)}
        if len(self._rows) < (self.space.size or 0):
            raise DataError(
                f"the table must hold all {self.space.size:,} cells, since a search may derive "
                f"any, but {self.table.provenance.name} has {len(self._rows):,}"
            )
        val, test = table_images(NASBench201, self.table, config.truth)
        self.val = self.table.val_acc(dataset=val)
        self.test = self.table.test_acc(dataset=test)
        self.other_name = "cifar100" if config.truth != "cifar100" else "cifar10"
        self.other = _other(self.table, self.other_name)
        ordered = np.sort(self.test)[::-1]
        self.ranks = 1 + np.searchsorted(-ordered, -self.test, side="left")
        self.columns = {
            "val_column": scores_name(self.table.select("val_acc", dataset=val)),
            "test_column": scores_name(self.table.select("test_acc", dataset=test)),
            "other": self.other_name if self.other is not None else None,
        }

    def row_of(self, text: str) -> int:
        """Table row of a cell, given as text."""
        return self._rows[self.space.codes(self.space.from_str(text))]

    def result(
        self, searches: Sequence[SupernetSearch], data: Mapping[str, Any], seconds: float
    ) -> SupernetBenchResult:
        """Evaluate searches by the table."""
        rows = tuple(self._rows_of(searches))
        best = max(rows, key=lambda row: row.val_acc.mean)
        return SupernetBenchResult(
            command="bench supernet",
            config=self.config,
            table={**self.table.provenance.summary(), **self.columns},
            protocol=PROTOCOL,
            data=data,
            rows=rows,
            searches=tuple(searches),
            best_test_acc=float(self.test.max()),
            mean_test_acc=float(self.test.mean()),
            median_test_acc=float(np.median(self.test)),
            chosen=best.method,
            seconds=seconds,
        )

    def _rows_of(self, searches: Sequence[SupernetSearch]) -> Iterator[SupernetRow]:
        by_method: dict[str, dict[int, SupernetSearch]] = {}
        for search in searches:
            by_method.setdefault(search.method, {})[search.seed] = search
        for method, own in by_method.items():
            place = {seed: self.row_of(search.architecture) for seed, search in own.items()}
            index = list(place.values())
            test = self.test[index]
            cells = [self.space.from_str(search.architecture) for search in own.values()]
            taus = [
                kendall_tau(search.one_shot, self._one_shot)
                for search in own.values()
                if search.one_shot
            ]
            yield SupernetRow(
                method=method,
                seeds=tuple(own),
                val_acc=mean_interval(self.val[index]),
                test_acc=mean_interval(test),
                other_acc=None if self.other is None else mean_interval(self.other[index]),
                worst=float(test.min()),
                rank=float(np.median(self.ranks[index])),
                regret=mean_interval(self.test.max() - test),
                above_mean=mean_interval(test - self.test.mean()),
                above_median=mean_interval(test - np.median(self.test)),
                edges=float(np.mean([cell.edge_index.size(1) for cell in cells])),
                skip_share=float(np.mean([self._skip_share(cell) for cell in cells])),
                joined=float(np.mean([is_joined(cell) for cell in cells])),
                tau=mean_interval(taus) if taus else None,
                p_darts=self._paired(own, by_method.get(DARTS)) if method != DARTS else None,
                p_random=self._paired(own, by_method.get(RANDOM)) if method != RANDOM else None,
                curves=tuple(
                    tuple(float(self.test[self.row_of(text)]) for text in search.epochs)
                    for search in own.values()
                ),
                seconds=float(np.mean([search.seconds for search in own.values()])),
            )

    @cached_property
    def _one_shot(self) -> Floats:
        """Test accuracies of the cells that supernets rank."""
        cells = one_shot_cells(self.space)
        truth: Floats = self.test[[self._rows[self.space.codes(cell)] for cell in cells]]
        return truth

    def _skip_share(self, cell: Data) -> float:
        """Share of skip connections among the edges of a cell; 0 where there is none."""
        skips = cell.edge_op == self.space.vocabulary.skip_ops[0]
        return float(skips.double().mean()) if len(skips) else 0.0

    def _paired(
        self, own: Mapping[int, SupernetSearch], others: Mapping[int, SupernetSearch] | None
    ) -> float | None:
        seeds = sorted(own.keys() & (others or {}).keys())
        if others is None or len(seeds) < 2:
            return None
        mine, theirs = (
            self.test[[self.row_of(group[seed].architecture) for seed in seeds]]
            for group in (own, others)
        )
        if np.ptp(mine - theirs) == 0:  # no spread: the test has no answer but for equality
            return 1.0 if mine[0] == theirs[0] else None
        return float(ttest_rel(mine, theirs).pvalue)


def is_joined(cell: Data) -> bool:
    """Whether a path joins a cell's input to its output."""
    return bool(prune(cell).edge_index.size(1))


def _other(table: BenchmarkTable, images: str) -> Floats | None:
    try:
        return table.test_acc(dataset=table_images(NASBench201, table, images)[1])
    except ConfigError:
        return None
