"""Figures of a NASGEM search: its cell, the score's surface, and how the predictor learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gnas.search.nasgem.result import Learned, NasgemResult
from gnas.search.nasgem.surface import Surface
from gnas.search.nasgem.trace import NasgemTrace
from gnas.search.result import Evaluation
from gnas.style import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize

    from gnas.figure import Figure

SURFACE_TITLES = {"embedding": "With graph embedding", "raw": "Raw adjacency matrix"}
COLOUR_MAP = "viridis"
MIN_R2 = -0.5
"""Lower end of the axis of how well the predictor learned; what lies below is marked there."""
HEXAGONS = 45
"""Across a surface."""
SHOWN = (0.5, 99.5)
"""Percentiles between which a surface's plane is drawn; a few cells lie far outside."""


def nasgem_figures(search: NasgemTrace) -> dict[str, Figure]:
    """Figures by name: those of `result_figures`, and "surface", the paper's figure 3.

    Args:
        search: One that has ended.
    """
    return {**result_figures(search), "surface": surface_figure(search.surfaces)}


def result_figures(search: NasgemTrace) -> dict[str, Figure]:
    """Figures of the result by name.

    "cell" (or "architecture") is the chosen one, if its space is known; "search" shows every
    trained cell and how well the predictor foresees those that it has not seen.

    Args:
        search: One that has ended.
    """
    space = search.space
    return {
        **({} if space is None else space.draw(space.from_str(search.result.architecture))),
        "search": _search_figure(search.result),
    }


def surface_figure(surfaces: Mapping[str, Surface]) -> Figure:
    """The paper's figure 3: predicted scores over two principal components, side by side.

    Hexagons show the mean predicted score of the pool's cells in them, dots the scores that cells
    were trained to, in the same colours.
    """
    from matplotlib.colors import Normalize

    from gnas.figure import Figure

    figure = Figure(figsize=(5.3 * len(surfaces) + 0.9, 5.2), layout="constrained")
    panels = figure.subplots(1, len(surfaces), squeeze=False)[0]
    every = np.concatenate([np.r_[one.predicted, one.trained] for one in surfaces.values()])
    scale = Normalize(*np.quantile(every, [0.005, 0.995]))
    for axes, (name, one) in zip(panels, surfaces.items(), strict=True):
        shown = _surface(axes, one, scale)
        axes.set_title(SURFACE_TITLES.get(name, name), fontsize=12)
    bar = figure.colorbar(shown, ax=list(panels), shrink=0.9, pad=0.015)
    bar.set_label("efficiency score: predicted (hexagons), trained (dots)", fontsize=9)
    return figure


def _surface(axes: Axes, one: Surface, scale: Normalize) -> Any:
    low, high = np.percentile(one.points, SHOWN, axis=0)
    margin = 0.04 * (high - low)
    low, high = low - margin, high + margin
    inside = ((one.points >= low) & (one.points <= high)).all(1)
    shown = axes.hexbin(
        one.points[inside, 0],
        one.points[inside, 1],
        C=one.predicted[inside],
        reduce_C_function=np.mean,
        gridsize=HEXAGONS,
        extent=(low[0], high[0], low[1], high[1]),
        cmap=COLOUR_MAP,
        norm=scale,
        linewidths=0.1,
    )
    axes.scatter(
        one.trained_points[:, 0],
        one.trained_points[:, 1],
        c=one.trained,
        cmap=COLOUR_MAP,
        norm=scale,
        s=26,
        edgecolors="white",
        linewidths=0.9,
        zorder=3,
    )
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
    axes.set_xlabel(
        "first principal component\n"
        f"R² of a local average: predicted {_two(one, 'predicted_r2_plane')} here, "
        f"{_two(one, 'predicted_r2_full')} in all coordinates;\n"
        f"trained {_two(one, 'trained_r2_plane')} here, {_two(one, 'trained_r2_full')} in all; "
        f"{one.numbers['explained_variance']:.0%} of the variance shown",
        fontsize=9,
    )
    axes.set_ylabel("second principal component", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.set_facecolor("#f4f4f4")
    return shown


def _two(one: Surface, name: str) -> str:
    value = one.numbers[name]
    return "-" if value is None or value != value else f"{value:.2f}"


def _search_figure(result: NasgemResult) -> Figure:
    from gnas.figure import Figure

    figure = Figure(figsize=(13.5, 4.1), layout="constrained")
    panels = figure.subplots(1, 3)
    random = [one for one in result.evaluations if one.number < _first_final(result)]
    objective = result.goal.objectives[0].name
    _trade_off(panels[0], random, objective, result)
    _foreseen(panels[1], random, objective)
    _learning(panels[2], result.learning)
    for axes in panels:
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8, frameon=False)
    return figure


def _first_final(result: NasgemResult) -> int:
    """The number of the first of the best predicted cells."""
    return result.finals[0].number if result.finals else len(result.evaluations)


def _trade_off(
    axes: Axes, random: Sequence[Evaluation], objective: str, result: NasgemResult
) -> None:
    """Accuracy against size, where both are known; what is better lies up and left."""
    from matplotlib.ticker import FuncFormatter

    done = [one for one in random if one.measures is not None]
    known = [one.measures or {} for one in done]
    both = all("macs" in one and "val_acc" in one for one in known)
    sizes, height = ("macs", 1e-6), ("val_acc", 100.0)
    if not both:  # the order of the evaluations instead
        height = (objective, 1.0)
    axes.scatter(
        [one["macs"] * sizes[1] for one in known] if both else [one.number for one in done],
        [one[height[0]] * height[1] for one in known],
        s=16, color=COLOURS[7], label="sampled cells",
    )  # fmt: skip
    finals = [one for one in result.finals if one.error is None]
    best = "best predicted, trained longer" if result.data else "best predicted"
    for some, colour, marker, size, label in (
        (finals, COLOURS[4], "s", 30, best),
        ([one for one in finals if one.rank == 0], COLOURS[1], "D", 45, "the predictor's first"),
        ([result.chosen], COLOURS[5], "*", 150, "chosen"),
    ):
        axes.scatter(
            [one.measures["macs"] * sizes[1] if both else one.number for one in some],
            [one.measures[height[0]] * height[1] for one in some],
            s=size, color=colour, marker=marker, label=label, edgecolors="white", linewidths=0.6,
        )  # fmt: skip
    axes.set_title("Trained cells" if result.data else "Evaluated cells", fontsize=10)
    axes.set_ylabel("validation accuracy (%)" if both else objective, fontsize=9)
    axes.tick_params(which="both", labelsize=8)
    if not both:
        axes.set_xlabel("number of the evaluation", fontsize=9)
        return
    axes.set_xscale("log")
    for part in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        part(FuncFormatter(lambda value, _: f"{value:.3g}"))
    axes.set_xlabel("multiply-accumulates (M)", fontsize=9)


def _foreseen(axes: Axes, random: Sequence[Evaluation], objective: str) -> None:
    """Scores against what was predicted before the cell was evaluated."""
    pairs = [
        (one.expected, one.measures[objective])
        for one in random
        if one.expected is not None and one.measures is not None
    ]
    axes.set_title("Score, and its prediction before the evaluation", fontsize=10)
    axes.set_xlabel("predicted score", fontsize=9)
    axes.set_ylabel("score", fontsize=9)
    if not pairs:
        return
    axes.scatter([x for x, _ in pairs], [y for _, y in pairs], s=16, color=COLOURS[4])
    ends = [min(map(min, pairs)), max(map(max, pairs))]
    axes.plot(ends, ends, color="#888888", linewidth=0.8, linestyle="--")


def _learning(axes: Axes, learning: Sequence[Learned]) -> None:
    """Quality on unseen cells by the number of seen ones."""
    from matplotlib.ticker import MaxNLocator

    for k, (name, label) in enumerate((("kendall_tau", "Kendall tau"), ("r2", "R²"))):
        known = [(one.seen, getattr(one, name)) for one in learning]
        known = [(seen, value) for seen, value in known if value is not None]
        seen = [x for x, _ in known]
        values = [max(value, MIN_R2) for _, value in known]
        axes.plot(seen, values, marker="o", markersize=4, color=COLOURS[4 + k], label=label)
        far = [x for x, value in known if value < MIN_R2]
        axes.plot(
            far, [MIN_R2] * len(far), "v", markersize=8, color=COLOURS[4 + k],
            label=f"{label} lies below" if far else None,
        )  # fmt: skip
    axes.set_ylim(top=1.03)
    if axes.get_ylim()[0] < MIN_R2:
        axes.set_ylim(bottom=MIN_R2 - 0.04)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("trained cells that the predictor has seen", fontsize=9)
    axes.set_title("Prediction of the cells not seen yet", fontsize=10)
