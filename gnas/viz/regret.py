"""Figures of searches on benchmark tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gnas.bench.search import SearchBenchResult, SearcherRow
from gnas.style import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gnas.figure import Figure

LEAST_REGRET_PERCENT = 0.002
"""Lower end of the logarithmic axis: a regret of 0 is drawn here."""


def regret_figures(result: SearchBenchResult) -> dict[str, Figure]:
    """By name: "regret", of test accuracy by purchases, and "found", the optimum's finders.

    Lines are means over seeds, bands their 95% intervals, in percentage points on a logarithmic
    axis; "found" has the share of the searches that bought the optimum within so many purchases.
    """
    regret, axes = _axes(result, f"Regret (percentage points)\nof {result.table['test_column']}")
    for i, row in enumerate(result.rows):
        _regret(axes, row, COLOURS[i % len(COLOURS)])
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.legend(fontsize=8, frameon=False)

    found, axes = _axes(result, "Searches that bought the optimum (%)")
    bought = np.arange(1, result.config.budget + 1)
    for i, row in enumerate(result.rows):
        ends = np.array([np.inf if q is None else q for q in row.queries])
        shares = (ends[:, None] <= bought).mean(0)
        axes.plot(bought, 100 * shares, color=COLOURS[i % len(COLOURS)], label=row.searcher)
    axes.legend(fontsize=8, frameon=False)
    return {"regret": regret, "found": found}


def _axes(result: SearchBenchResult, label: str) -> tuple[Figure, Axes]:
    from gnas.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel("Architectures bought")
    axes.set_ylabel(label)
    axes.set_title(
        f"{result.table['name']}, {result.config.dataset}: {result.config.seeds} searches "
        f"each, chosen by {result.table['val_column']}",
        fontsize=10,
    )
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _regret(axes: Axes, row: SearcherRow, colour: str) -> None:
    """The mean of one searcher, and its interval."""
    mean, low, high = (
        np.maximum(
            100 * np.array([getattr(v, part) for v in row.test_regret]), LEAST_REGRET_PERCENT
        )
        for part in ("mean", "low", "high")
    )
    bought = np.arange(1, len(mean) + 1)
    axes.plot(bought, mean, color=colour, label=row.searcher)
    if row.seeds > 1:
        axes.fill_between(bought, low, high, color=colour, alpha=0.15, linewidth=0)
