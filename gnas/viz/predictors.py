"""Figures of predictor experiments."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import TYPE_CHECKING

from gnas.bench.result import RANDOM_PICK, BenchResult, Row
from gnas.metrics import Interval
from gnas.style import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gnas.figure import Figure

MARKERS = "osD^vPX*<>h"
LEAST_BIAS_PERCENT = 0.02
"""Lower end of the logarithmic axis: a bias of 0 is drawn here."""
CEILING_WIDTH = 90
"""Characters a line of what the ceiling is."""


def predictor_figures(result: BenchResult) -> dict[str, Figure]:
    """The figures of a predictor experiment by name: "bias" and "kendall_tau".

    Both are drawn against the number of samples, with 95% intervals over seeds, and name the
    scores as the table does; "bias", of accuracies in percentage points, on a logarithmic axis,
    is figure 4 of Cheng et al., NASGEM, AAAI 2021. The
    random pick, whose bias would set the scale, is left to the tables.
    """
    scores = result.table["test_column"]
    unit = " (percentage points)" if result.is_accuracy else ""
    bias, axes = _axes(result, f"Global prediction bias{unit}\nof {scores}")
    for i, rows in enumerate(_curves(result.rows)):
        if rows[0].encoder == RANDOM_PICK:
            continue
        _curve(axes, i, rows, [_shown(row.global_bias, result) for row in rows])
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    _legend(axes)

    tau, axes = _axes(result, f"Kendall tau\non {scores}")
    for i, rows in enumerate(_curves(result.rows)):
        values = [row.kendall_tau for row in rows if row.kendall_tau is not None]
        if values:
            _curve(axes, i, rows, values)
    axes.axhline(result.ceiling, color="#999999", linestyle=":")
    axes.annotate(
        "\n".join(wrap(f"ceiling: {result.protocol['ceiling']}", CEILING_WIDTH)),
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
    axes.set_xlim(sizes[0] / 1.15, sizes[-1] * 1.15)
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


def _curve(axes: Axes, i: int, rows: Sequence[Row], values: Sequence[Interval]) -> None:
    """One curve with error bars, shifted a little so that bars do not hide each other."""
    x = [row.samples * 1.012 ** (i - 4) for row in rows]
    y = [value.mean for value in values]
    known = [value.low == value.low for value in values]  # NaN with one seed
    down = [v.mean - v.low if ok else 0.0 for v, ok in zip(values, known, strict=True)]
    up = [v.high - v.mean if ok else 0.0 for v, ok in zip(values, known, strict=True)]
    axes.errorbar(
        x,
        y,
        yerr=(down, up),
        label=label_of(rows[0]),
        color=COLOURS[i % len(COLOURS)],
        marker=MARKERS[i % len(MARKERS)],
        linestyle="--" if rows[0].predictor == "none" else "-",
        markersize=5,
        linewidth=1.3,
        elinewidth=0.8,
        capsize=2,
    )


def label_of(row: Row) -> str:
    """How figures and tables call a row."""
    return row.encoder if row.predictor == "none" else f"{row.predictor}: {row.encoder}"


def _shown(bias: Interval, result: BenchResult) -> Interval:
    """A bias as it is drawn: cut at the lower end of the logarithmic axis.

    That of accuracies is in percentage points, and `LEAST_BIAS_PERCENT` the end; that of other
    scores ends at the same share of the best score.
    """
    scale = 100 if result.is_accuracy else 1
    least = LEAST_BIAS_PERCENT / 100 * (100 if result.is_accuracy else abs(result.best_score))
    values = (bias.mean, bias.low, bias.high)
    return Interval(*(max(scale * v, least) if v == v else v for v in values))


def _legend(axes: Axes) -> None:
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, frameon=False)
