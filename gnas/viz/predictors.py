"""Figures of predictor experiments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np

from gnas.bench.result import RANDOM_PICK, BenchResult, Row
from gnas.config import checked
from gnas.style import predictor_colours, shade

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gnas.figure import Figure

MARKERS = "osD^vPX*<>h"
MIN_BIAS_PERCENT = 0.02
"""Lower end of the logarithmic axis: a bias of 0 is drawn here."""
MARGIN = 1.25
"""Factor from the outer numbers of samples to the ends of their axis."""
SHIFT = 0.012
"""Between neighbouring curves, as a share of the number of samples."""
CEILING_WIDTH = 90
"""Characters a line of what the ceiling is."""


@checked
def predictor_figures(result: BenchResult) -> dict[str, Figure]:
    """The figures of a predictor experiment by name: "bias" and "kendall_tau".

    Both are drawn against the number of samples and name the scores as the table does. A predictor
    has one colour, in shades for what it sees. Bars of "kendall_tau" are 95% intervals of the mean
    over seeds. "bias", of accuracies in percentage points on a logarithmic axis, is figure 4 of
    Cheng et al., NASGEM, AAAI 2021; its bars hold four fifths of the seeds, and there are none
    below five seeds. The random pick, whose bias would set the scale, is left to the tables.

    Args:
        result: An experiment of `gnas bench`.

    Examples:
        >>> from gnas.bench.config import NASBench101Bench
        >>> from gnas.bench.nasbench101 import bench_nasbench101
        >>> config = NASBench101Bench(
        ...     table="nasbench101-mini", samples=(20,), seeds=2, predictors=("ard-gp",)
        ... )
        >>> list(predictor_figures(bench_nasbench101(config)))
        ['bias', 'kendall_tau']
    """
    from gnas.figure import plain_ticks

    scores = result.table["test_column"]
    unit = " (percentage points)" if result.is_accuracy else ""
    looks = _looks(result.rows)
    bias, axes = _axes(result, f"Global prediction bias{unit}\nof {scores}")
    for row in _curves(result.rows):
        if row[0].encoder != RANDOM_PICK:
            values = [_shown(one, result) for one in row]
            _curve(axes, row, values, looks)
    axes.set_yscale("log")
    plain_ticks(axes.yaxis)
    _legend(axes)

    tau, axes = _axes(result, f"Kendall tau\non {scores}")
    for row in _curves(result.rows):
        taus = [one.kendall_tau for one in row if one.kendall_tau is not None]
        if taus:
            _curve(axes, row, [(one.mean, one.low, one.high) for one in taus], looks)
    axes.axhline(result.ceiling, color="#999999", linestyle=":")
    lines = wrap(f"ceiling: {result.protocol['ceiling']}", CEILING_WIDTH)
    low, high = axes.get_ylim()
    axes.set_ylim(low, max(high, result.ceiling + 0.05 * (high - low) * len(lines)))
    axes.annotate(
        "\n".join(lines),
        (0.01, result.ceiling),
        (0, 3),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        fontsize=8,
        color="#666666",
    )
    _legend(axes)
    return {"bias": bias, "kendall_tau": tau}


def _axes(result: BenchResult, label: str) -> tuple[Figure, Axes]:
    from gnas.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    sizes = sorted({row.samples for row in result.rows})
    axes.set_xscale("log")
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.set_xlim(sizes[0] / MARGIN, sizes[-1] * MARGIN)
    axes.margins(y=0.08)
    axes.set_xlabel("Labelled samples")
    axes.set_ylabel(label)
    axes.set_title(
        f"{result.table['name']} ({result.table['provenance']}, {result.table['usable']:,} cells)",
        fontsize=10,
    )
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _curves(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows of one predictor and encoder together, by number of samples."""
    curves: dict[tuple[str, str], list[Row]] = {}
    for row in sorted(rows, key=lambda row: row.samples):
        curves.setdefault((row.predictor, row.encoder), []).append(row)
    order = dict.fromkeys((row.predictor, row.encoder) for row in rows)
    return [curves[key] for key in order]


def _looks(rows: Sequence[Row]) -> dict[str, tuple[int, str]]:
    """Number and colour of every curve by its label: shades of the predictor's own colour."""
    curves = [one[0] for one in _curves(rows) if one[0].encoder != RANDOM_PICK]
    colours = predictor_colours(row.predictor for row in curves)
    seen: dict[str, int] = {}
    counts = Counter(row.predictor for row in curves)
    looks = {}
    for number, row in enumerate(curves):
        k = seen[row.predictor] = seen.get(row.predictor, -1) + 1
        colour = shade(colours[row.predictor], k, counts[row.predictor])
        looks[row.label] = number, colour
    return looks


def _curve(
    axes: Axes,
    rows: Sequence[Row],
    values: Sequence[tuple[float, float, float]],
    looks: Mapping[str, tuple[int, str]],
) -> None:
    """One curve with bars, shifted a little so that bars do not hide each other.

    Args:
        axes: Axes to draw on.
        rows: Rows of the curve, by number of samples.
        values: Height, and lower and upper end of the bar, NaN where there is none.
        looks: See `_looks`.
    """
    number, colour = looks[rows[0].label]
    shift = SHIFT * (number - (len(looks) - 1) / 2)
    y, low, high = np.array(values).T
    bars = np.nan_to_num(np.stack([y - low, high - y]).clip(min=0))
    axes.errorbar(
        [row.samples * (1 + shift) for row in rows],
        y,
        yerr=bars if bars.any() else None,
        label=rows[0].label,
        color=colour,
        marker=MARKERS[number % len(MARKERS)],
        linestyle="none" if len(rows) == 1 else "--" if rows[0].predictor == "none" else "-",
        markersize=5,
        linewidth=1.3,
        elinewidth=0.8,
        capsize=2,
        clip_on=False,
    )


def _shown(row: Row, result: BenchResult) -> tuple[float, float, float]:
    """The mean bias and between which most seeds' lie, cut at the lower end of the axis.

    Those of accuracies are in percentage points, and `MIN_BIAS_PERCENT` the end; those of other
    scores end at the same share of the best score.
    """
    scale = 100 if result.is_accuracy else 1
    least = MIN_BIAS_PERCENT / 100 * (100 if result.is_accuracy else abs(result.best_score))
    spread, nan = row.global_bias_spread, float("nan")
    ends = (nan, nan) if spread is None else (spread.low, spread.high)
    mean, low, high = (
        max(scale * v, least) if v == v else v for v in (row.global_bias.mean, *ends)
    )
    return mean, low, high


def _legend(axes: Axes) -> None:
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, frameon=False)
