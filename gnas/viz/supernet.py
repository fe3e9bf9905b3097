"""Figure of supernet searches that a table has judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnas.bench.supernet import SupernetBenchResult
from gnas.metrics import MIN_SEEDS
from gnas.printable import amount
from gnas.style import COLOURS

if TYPE_CHECKING:
    from gnas.figure import Figure

BELOW_MEAN = 0.005
"""Lower end of the plotted accuracies, below the mean of all cells."""


def supernet_figures(result: SupernetBenchResult) -> dict[str, Figure]:
    """True test accuracy of the cell of every epoch, by method: "supernets".

    A line is the median of a method's searches, a number the mean of their derived cells; methods
    are in that order. The best, the median and the mean of all cells are lines across. What lies
    below the mean cell is not shown.

    Args:
        result: Supernet searches that a table judged.
    """
    from matplotlib.ticker import MaxNLocator

    from gnas.figure import Figure

    figure = Figure(figsize=(9, 4.6), layout="constrained")
    axes = figure.subplots()
    shown = sorted((row for row in result.rows if row.curve), key=lambda row: -row.test_acc.mean)
    for k, row in enumerate(shown):
        half = row.test_acc.high - row.test_acc.mean
        told = f"{100 * row.test_acc.mean:.2f}" + (f" ± {100 * half:.2f}" if half > 0 else "")
        axes.plot(
            range(1, len(row.curve) + 1),
            [100 * value for value in row.curve],
            "-" if k < len(COLOURS) - 1 else "--",
            color=COLOURS[(k + 1) % len(COLOURS)],
            lw=2.6 if k == 0 else 1.6,
            marker="o" if len(row.curve) == 1 else None,
            label=f"{row.method}: {told}",
        )
    for name, value, style in (
        ("best cell", result.best_test_acc, "-"),
        ("median cell", result.median_test_acc, "--"),
        ("mean cell", result.mean_test_acc, ":"),
    ):
        label = f"{name}: {100 * value:.2f}"
        axes.axhline(100 * value, color="#555555", linestyle=style, lw=1, label=label)
    lowest = result.mean_test_acc - BELOW_MEAN
    axes.set_ylim(100 * lowest, 100 * result.best_test_acc + 0.4)
    axes.set_xlabel("Epoch of the search")
    axes.set_ylabel(f"{result.table['test_column']} of the derived cell (%)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(
        f"{result.table['name']}: median of {amount(result.config.seeds, 'search')} a method",
        fontsize=10,
    )
    interval = " ± 95%" if result.config.seeds >= MIN_SEEDS else ""
    axes.legend(
        title=f"mean at the end{interval}", title_fontsize=8, fontsize=8, frameon=False,
        loc="center left", bbox_to_anchor=(1.0, 0.5),
    )  # fmt: skip
    return {"supernets": figure}
