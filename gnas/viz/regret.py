"""Figures of searches on benchmark tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gnas.bench.search import SearchBenchResult, SearcherRow
from gnas.config import checked
from gnas.printable import amount
from gnas.style import LINES, predictor_colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gnas.figure import Figure

LINEAR_PERCENT = 0.01
"""The axis of regrets is linear from 0 to here, and logarithmic above."""


@checked
def regret_figures(result: SearchBenchResult) -> dict[str, Figure]:
    """By name: "regret", of test accuracy by queries, and "found", the optimum's finders.

    Lines are means over seeds, in percentage points on an axis that is logarithmic down to
    `LINEAR_PERCENT`; bands hold four fifths of the searches, and there are none below five.
    "found" has the share of the searches that queried the optimum within so many of them.

    Args:
        result: Searches on a table.

    Examples:
        >>> from gnas.bench.config import SearchBench
        >>> from gnas.bench.search import bench_search
        >>> config = SearchBench(
        ...     space="nasbench101", table="nasbench101-mini",
        ...     searchers=("random",), budget=5, seeds=2,
        ... )
        >>> list(regret_figures(bench_search(config)))
        ['regret', 'found']
    """
    from gnas.figure import plain_ticks

    colours = predictor_colours(row.searcher for row in result.rows)
    regret, axes = _axes(result, f"Regret (percentage points)\nof {result.table['test_column']}")
    for row in result.rows:
        _regret(axes, row, colours[row.searcher])
    axes.set_yscale("symlog", linthresh=LINEAR_PERCENT, linscale=0.5)
    axes.set_ylim(bottom=-0.05 * LINEAR_PERCENT)
    plain_ticks(axes.yaxis)
    axes.legend(fontsize=8, frameon=False)

    found, axes = _axes(result, "Searches that found the optimum (%)")
    queries = np.arange(1, result.config.budget + 1)
    for k, row in enumerate(result.rows):
        ends = np.array([np.inf if q is None else q for q in row.queries])
        shares = (ends[:, None] <= queries).mean(0)
        axes.step(
            queries, 100 * shares, LINES[k % len(LINES)], where="post",
            color=colours[row.searcher], label=row.searcher,
        )  # fmt: skip
    axes.legend(fontsize=8, frameon=False)
    return {"regret": regret, "found": found}


def _axes(result: SearchBenchResult, label: str) -> tuple[Figure, Axes]:
    from gnas.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel("Queries")
    axes.set_ylabel(label)
    axes.set_title(
        f"{result.table['name']}: {amount(result.config.seeds, 'search')} each, chosen by "
        f"{result.table['val_column']}",
        fontsize=10,
    )
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _regret(axes: Axes, row: SearcherRow, colour: str) -> None:
    """The mean of one searcher, and between which regrets most of its searches lie."""
    mean = 100 * np.array([value.mean for value in row.test_regret])
    queries = np.arange(1, len(mean) + 1)
    axes.plot(queries, mean, color=colour, label=row.searcher)
    known = [value for value in row.test_regret_spread if value is not None]
    if len(known) == len(mean):
        low, high = (100 * np.array([getattr(v, end) for v in known]) for end in ("low", "high"))
        axes.fill_between(queries, low, high, color=colour, alpha=0.1, linewidth=0)
