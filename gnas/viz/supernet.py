"""Figure of supernet searches that a table has judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnas.bench.supernet import SupernetBenchResult
from gnas.style import COLOURS

if TYPE_CHECKING:
    from gnas.figure import Figure

LOWEST = 0.5
"""Accuracies below are cut off by the figure: cells that learn nothing."""


def supernet_figures(result: SupernetBenchResult) -> dict[str, Figure]:
    """True test accuracy of the cell of every epoch, by method: "supernets".

    A thin line a search, a thick one the mean of a method's searches; the best, the median and the
    mean of all cells as lines across.
    """
    from matplotlib.ticker import MaxNLocator

    from gnas.figure import Figure

    figure = Figure(figsize=(9, 5.4), layout="constrained")
    axes = figure.subplots()
    shown = [row for row in result.rows if row.curve]
    for k, row in enumerate(shown):
        colour = COLOURS[(k + 1) % len(COLOURS)]
        style = "-" if k < len(COLOURS) - 1 else "--"
        for curve in row.curves:
            values = [100 * value for value in curve]
            axes.plot(range(1, len(values) + 1), values, color=colour, lw=0.6, alpha=0.45)
        axes.plot(
            range(1, len(row.curve) + 1),
            [100 * value for value in row.curve],
            style,
            color=colour,
            lw=2.2,
            marker="o" if len(row.curve) == 1 else None,
            label=f"{row.method}: {100 * row.test_acc.mean:.2f} ({len(row.seeds)} seeds)",
        )
    for name, value, style in (
        ("best cell", result.best_test_acc, "-"),
        ("median cell", result.median_test_acc, "--"),
        ("mean cell", result.mean_test_acc, ":"),
    ):
        label = f"{name}: {100 * value:.2f}"
        axes.axhline(100 * value, color="#555555", linestyle=style, lw=1, label=label)
    values = [value for row in shown for value in row.curve]
    lowest = max(LOWEST, min([result.mean_test_acc, *values]) - 0.02)
    axes.set_ylim(100 * lowest, 100 * result.best_test_acc + 0.4)
    axes.set_xlabel("Epoch of the search")
    axes.set_ylabel(f"{result.table['test_column']} of the derived cell (%)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return {"supernets": figure}
