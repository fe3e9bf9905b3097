"""Agreement of cells that compute the same function: a check of a table's encoding.

A table whose architectures were misread (edges in another order, operations shifted by one) holds
sound graphs with the accuracies of other cells; no hash can tell. But cells that compute the same
function have the same accuracy up to the noise of training, and under a wrong reading unrelated
cells are taken for them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gnas.data.benchmark_table import BenchmarkTable
from gnas.data.columns import QUANTITIES
from gnas.spaces.base import Space

SUSPICIOUS_SHARE = 0.04
"""Shares above are no noise of published trainings. On NAS-Bench-201's accuracies, single runs and
12 epochs included, the share is .006 to .016 over all cells; read wrongly it is .06 to .6 (see
tests/data/test_agreement.py). Of 1,200 draws of 500 cells and one column each none was suspicious,
of 200 cells 0.9%; a table with several columns is so only where all are."""
MIN_CELLS = 40
"""Cells beyond the first of every function, below which nothing is said."""
_CONFIDENCE = 0.999
_COST = re.compile(
    r"latency|_m?s$|seconds|time|energy|power|memory|size|params|flops|macs", re.IGNORECASE
)
"""Quantities of the network as it is built, in which cells of one function differ rightly."""


@dataclass(frozen=True)
class FunctionAgreement:
    """Differences in accuracy between cells that compute the same function.

    Raises no alarm where the encoding is wrong in a way that keeps equal functions equal: learned
    operations (or pooling) taken for each other, or a cell read from its output to its input.
    """

    column: str
    """The scores, by the name of their column or mean: those that agree best."""
    functions: int
    """Functions that several cells compute."""
    cells: int
    """Cells that compute them."""
    share: float
    """Variance of the scores' ranks within functions, as a share of that between these cells;
    0 where equal functions have equal scores, about 1 where they have nothing in common."""
    least_share: float
    """Lower end of a one-sided interval of confidence .999: few cells say little."""

    @property
    def is_suspicious(self) -> bool:
        """Whether the share is more than the noise of trainings that are worth ranking."""
        return self.least_share > SUSPICIOUS_SHARE

    def __str__(self) -> str:
        text = (
            f"{self.cells:,} cells share {self.functions:,} functions; within these lies "
            f"{self.share:.1%} of the variance of the ranks of {self.column}"
        )
        if not self.is_suspicious:
            return text
        return (
            f"{text}: suspicious, published tables have about 1%. Operations or edges may have "
            "been read in another order than they were written, or the trainings are very noisy"
        )


def function_agreement(
    table: BenchmarkTable, space: Space | None = None
) -> FunctionAgreement | None:
    """Agreement of functionally equal cells, by the scores that agree best.

    Scores are accuracies or, in a table without, the columns of quantities that
    `gnas.data.columns.QUANTITIES` lacks, as other benchmarks name theirs; costs such as latencies
    are no scores, since parts of a cell that compute nothing cost time too.

    Accuracies are compared by rank, as a few cells that do not learn at all would otherwise make
    up nearly all variance. The best column decides, as all of them share one encoding.

    Args:
        table: The table.
        space: Its space, where that is a user's own.

    Returns:
        None where too few cells compute what another one computes, as in spaces that count
        architectures up to isomorphism, where the table has no such scores, or where its space is
        a user's own that is not given.

    Raises:
        GnasError: see `gnas.data.Provenance.known_space` and `~gnas.data.Provenance.opened_space`.
    """
    facts = table.provenance
    space = facts.known_space() if space is None else facts.opened_space(space)
    if space is None:
        return None
    _, group, count = np.unique(space.keys(table.graphs), return_inverse=True, return_counts=True)
    group = group.reshape(-1)
    shared = count[group] > 1
    if shared.sum() - (count > 1).sum() < MIN_CELLS:
        return None
    found = [
        measured
        for name, values in _scores(table).items()
        if (measured := _agreement(name, values[shared], group[shared])) is not None
    ]
    return min(found, key=lambda measured: measured.share, default=None)


def _scores(table: BenchmarkTable) -> dict[str, NDArray[np.float64]]:
    """The scores of the table, with gaps, means over runs where there are several."""
    chosen: dict[tuple[str, str | None, int | None], list[str]] = {}
    stored: dict[tuple[str, str | None, int | None], str] = {}
    columns = [column for column in table.columns if column.is_accuracy]
    others = [c for c in table.columns if c.quantity not in QUANTITIES]
    for column in columns or [c for c in others if not _COST.search(c.quantity)]:
        key = column.quantity, column.dataset, column.epochs
        chosen.setdefault(key, []).append(column.name)
        if column.run is None:
            stored[key] = column.name
    scores = {}
    for key, names in chosen.items():
        used = [stored[key]] if key in stored else names
        values = np.stack([table.values(name) for name in used], axis=1)
        count = (~np.isnan(values)).sum(1)
        mean = np.where(count > 0, np.nansum(values, axis=1) / np.maximum(count, 1), np.nan)
        name = used[0] if len(used) == 1 else f"mean {key[0]} of {len(used)} runs"
        scores[name] = mean
    return scores


def _agreement(
    name: str, values: NDArray[np.float64], group: NDArray[np.int64]
) -> FunctionAgreement | None:
    """Agreement in one score; values and groups [M] of the cells that share a function."""
    from scipy.stats import chi2, rankdata

    known = ~np.isnan(values)  # [M]
    values, group = values[known], group[known]
    _, group, count = np.unique(group, return_inverse=True, return_counts=True)
    group = group.reshape(-1)
    kept = count[group] > 1
    values, group = values[kept], group[kept]
    functions = int((count > 1).sum())
    freedom = len(values) - functions
    if freedom < MIN_CELLS or np.ptp(values) == 0:
        return None
    ranks = rankdata(values)  # [K], those that share a function
    sizes = np.bincount(group)  # [groups]
    means = np.bincount(group, ranks) / np.maximum(sizes, 1)
    within = float(((ranks - means[group]) ** 2).sum()) / freedom
    share = within / float(ranks.var(ddof=1))
    return FunctionAgreement(
        column=name,
        functions=functions,
        cells=len(values),
        share=share,
        least_share=share * freedom / float(chi2.ppf(_CONFIDENCE, freedom)),
    )
