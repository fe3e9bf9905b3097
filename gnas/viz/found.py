"""Figures of searches by any searcher on any evaluator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gnas.config import checked
from gnas.search.result import SearchResult
from gnas.style import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure


LARGE = 1e4
"""Measures from here on have a prefix of their unit, as 20 M."""


@checked
def search_result_figures(result: SearchResult) -> dict[str, Figure]:
    """By name: "progress", of the first objective; "front" where there are several objectives.

    Args:
        result: A search that has ended.

    Examples:
        >>> from gnas.search import run_search
        >>> from gnas.spaces import NASBench201
        >>> def edges(graph, *, seed):
        ...     return float(graph.num_edges)
        >>> list(search_result_figures(run_search(NASBench201(), "random", edges, budget=5)))
        ['progress']
    """
    figures = {"progress": _progress(result)}
    if len(result.objectives) > 1:
        figures["front"] = _front(result)
    return figures


def _progress(result: SearchResult) -> Figure:
    """The first objective of every evaluation, and the best one so far that keeps the bounds."""
    from matplotlib.ticker import MaxNLocator

    figure, axes = _axes(result)
    objective, goal = result.goal.objectives[0], result.goal
    done = [one for one in result.evaluations if one.measures is not None]
    numbers = np.array([one.number for one in done])
    values = np.array([(one.measures or {})[objective.name] for one in done])
    kept = np.array([goal.violation(one.measures or {}) == 0 for one in done], dtype=bool)
    axes.scatter(numbers[kept], values[kept], s=12, color=COLOURS[2], label="evaluated")
    if not kept.all():
        axes.scatter(
            numbers[~kept],
            values[~kept],
            s=12,
            marker="x",
            color=COLOURS[7],
            label="breaks a bound",
        )
    best = np.maximum if objective.direction == "max" else np.minimum
    if kept.any():
        axes.step(
            numbers[kept], best.accumulate(values[kept]), where="post", color=COLOURS[0],
            label="best so far",
        )  # fmt: skip
    axes.set_xlabel("Number of the evaluation")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_ylabel(objective.name)
    _shorten(axes.yaxis, values)
    axes.legend(fontsize=8, frameon=False)
    return figure


def _front(result: SearchResult) -> Figure:
    """The first two objectives of every evaluation, and of the front of all objectives."""
    figure, axes = _axes(result)
    across, up = result.goal.objectives[1], result.goal.objectives[0]
    done = [one for one in result.evaluations if one.measures is not None]
    points = np.array(
        [[(one.measures or {})[across.name], (one.measures or {})[up.name]] for one in done]
    )
    order = {one.number: row for row, one in enumerate(done)}
    kept = np.array([result.goal.violation(one.measures or {}) == 0 for one in done], dtype=bool)
    numbers = [one.number for one, good in zip(done, kept, strict=True) if good]
    x, y = points.T
    shades = axes.scatter(x[kept], y[kept], s=14, c=numbers, cmap="viridis_r", label="evaluated")
    if not kept.all():
        axes.scatter(
            x[~kept], y[~kept], s=14, marker="x", color=COLOURS[7], label="breaks a bound"
        )
    members = points[[order[number] for number in result.front]]
    x, y = members[np.argsort(members[:, 0], kind="stable")].T
    axes.plot(x, y, "o", color=COLOURS[5], markersize=6, mfc="none", label="front")
    if len(result.objectives) == 2:  # of more, the front is no line
        axes.step(x, y, where="post" if across.direction == "min" else "pre", color=COLOURS[5])
    figure.colorbar(shades, label="Number of the evaluation")
    axes.set_xlabel(across.name)
    axes.set_ylabel(up.name)
    for axis, values in zip((axes.xaxis, axes.yaxis), points.T, strict=True):
        _shorten(axis, values)
    axes.legend(fontsize=8, frameon=False)
    return figure


def _shorten(axis: Axis, values: NDArray[np.float64]) -> None:
    """Label large numbers as 20 M instead of by a power of ten at the axis' end."""
    from matplotlib.ticker import EngFormatter

    if np.abs(values).max() >= LARGE:
        axis.set_major_formatter(EngFormatter())


def _axes(result: SearchResult) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    bounds = f", at most {', '.join(result.bounds)}" if result.bounds else ""
    axes.set_title(f"{result.command} in {result.space['name']}{bounds}", fontsize=10)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
