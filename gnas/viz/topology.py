"""Figure of the accuracies of topologies."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from gnas.bench.topology import TopologyResult, TopologyRow
from gnas.style import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gnas.figure import Figure

CLOSE = 0.013
"""Points of one column whose means differ by less than this share of the axis stand side by
side."""
STEP = 0.09
"""Distance of points that stand side by side, in edges."""


def topology_figures(result: TopologyResult) -> dict[str, Figure]:
    """Mean accuracy against the number of edges, one point a topology: "topologies".

    Isomorphic topologies have one colour in their column and are joined by a line. Hollow ones
    have edges on no path from input to output; those without any such path are left out.

    Args:
        result: Accuracies by topology.
    """
    from gnas.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    shown = [row for row in result.rows if row.live_edges]
    lost = len(result.rows) - len(shown)
    spread = max(row.mean_acc for row in shown) - min(row.mean_acc for row in shown)
    sizes = Counter(row.isomorphism_class for row in shown)
    for count in sorted({len(row.edges) for row in shown}):
        column = [row for row in shown if len(row.edges) == count]
        places = _side_by_side(column, CLOSE * spread)
        colours: dict[int, str] = {}
        for row in column:
            alone = sizes[row.isomorphism_class] == 1
            if not alone:
                colours.setdefault(
                    row.isomorphism_class, COLOURS[1 + len(colours) % (len(COLOURS) - 2)]
                )
        for row, place in zip(column, places, strict=True):
            colour = colours.get(row.isomorphism_class, COLOURS[0])
            whole = row.live_edges == count
            axes.plot(
                count + place,
                100 * row.mean_acc,
                "o",
                markersize=6,
                markeredgecolor=colour,
                markerfacecolor=colour if whole else "white",
            )
        for name, colour in colours.items():
            twins = [
                (count + place, 100 * row.mean_acc)
                for row, place in zip(column, places, strict=True)
                if row.isomorphism_class == name
            ]
            axes.plot(*zip(*twins, strict=True), "-", color=colour, linewidth=1, alpha=0.6)
    _labels(axes, result, lost)
    return {"topologies": figure}


def _side_by_side(column: list[TopologyRow], close: float) -> list[float]:
    """Horizontal shifts that keep points of nearly the same height apart."""
    shifts: list[float] = []
    for k, row in enumerate(column):
        near = [shifts[i] for i in range(k) if abs(column[i].mean_acc - row.mean_acc) <= close]
        shifts.append(max(near) + STEP if near else 0.0)
    return shifts


def _labels(axes: Axes, result: TopologyResult, lost: int) -> None:
    axes.set_xlabel("Number of edges")
    axes.set_ylabel(f"Mean over all operations (%)\nof {result.table['column']}")
    axes.set_title(
        f"{result.table['name']}: {len(result.rows)} topologies in "
        f"{result.num_classes} classes; {lost} do not join input and output",
        fontsize=10,
    )
    axes.plot([], [], "o", color=COLOURS[0], label="every edge on a path from input to output")
    axes.plot(
        [], [], "o", color=COLOURS[0], markerfacecolor="white", label="some edges lead nowhere"
    )
    axes.plot([], [], "o-", color=COLOURS[1], label="isomorphic topologies (one colour, joined)")
    axes.legend(loc="lower right", fontsize=8, frameon=False)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
