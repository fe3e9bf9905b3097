"""Draws docs/images/predictors.svg: how well predictors order NAS-Bench-201 after few labels.

`python docs/predictor_curves.py [--results FILE] [--out docs/images/predictors.svg]`

The curves of gnas come from a result of `gnas bench nasbench201`; the published numbers are
written down here, with the text that they were read in.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gnas.style import PREDICTOR_COLOURS, shade

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks/results/nasbench201_2core-cpu_202611.json"
PUBLISHED, DARK = "#8a7a5e", "#252a31"
OURS = PREDICTOR_COLOURS["default"]
SIZES = (39, 78, 156, 469, 781, 1563)
CURVES = {
    ("default", "path statistics"): "gnas default",
    ("default", "path statistics, prior from CIFAR-100"): "the same with a prior‡",
    ("ARD GP", "path statistics"): "one ARD process",
    ("WL GP", "WL labels"): "one WL-kernel process",
    ("random forest", "adjacency + ops + op counts"): "random forest, raw matrix",
    ("MLP", "adjacency + ops"): "perceptron, raw matrix",
}
"""Predictor and encoder of a row, and how the picture calls it."""
PUBLISHED_TAU = {
    # Reported by their authors.
    "TNASP 2021": (None, 0.539, 0.589, 0.640, 0.689, 0.724),  # Lu et al., NeurIPS
    "PINAT 2023": (0.494, 0.549, 0.631, 0.706, 0.761, 0.784),  # Lu et al., AAAI
    # Not their authors' numbers: PINAT, table 1. NP is there "reported by TNASP", the other two
    # were re-implemented by PINAT's authors.
    "NP (2020)†": (None, 0.343, 0.413, 0.584, 0.634, 0.646),
    "arch2vec (2020)†": (None, 0.542, 0.573, 0.601, 0.606, 0.605),
    "Graphormer (2021)†": (None, 0.505, 0.630, 0.680, 0.719, 0.776),
    # Quoted second-hand.
    "HyperNAS 2026*": (0.667, 0.677, 0.765, 0.836, None, None),  # CVPR
}
"""Kendall tau at `SIZES`, each on the samples and by the protocol of the text it was read in."""
MARKS = dict(zip(PUBLISHED_TAU, "sov^DP", strict=True))
GAP = 0.027
"""Least distance of two labels beside the axes, in tau."""


@dataclass
class Curve:
    """What is drawn under one label."""

    label: str
    colour: str
    sizes: list[int]
    tau: list[float]
    low: list[float]
    high: list[float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--out", type=Path, default=ROOT / "docs/images/predictors.svg")
    options = parser.parse_args()
    figure = draw(json.loads(options.results.read_text()))
    is_svg = options.out.suffix == ".svg"
    figure.savefig(options.out, dpi=200, metadata={"Date": None} if is_svg else {})


def draw(result: dict[str, Any]) -> Figure:
    """All curves, each named where it ends."""
    plt.rcParams.update({"font.size": 9.5, "svg.hashsalt": "gnas", "text.color": DARK})
    figure, ax = plt.subplots(figsize=(9.2, 5.6), facecolor="white")
    figure.subplots_adjust(left=0.07, right=0.785, top=0.86, bottom=0.155)
    ours = measured([row for row in result["rows"] if row["kendall_tau"]])
    theirs = [published(name, taus) for name, taus in PUBLISHED_TAU.items()]
    for curve in theirs:
        draw_published(ax, curve)
    for curve in reversed(ours):
        draw_measured(ax, curve)
    name_at_the_end(ax, [*ours, *theirs])
    draw_ceiling(ax, result["ceiling"])
    facts, config = result["table"], result["config"]
    figure.text(
        0.07, 0.965, "Which predictor ranks the other cells after a few labels?",
        fontsize=13, fontweight="bold", va="top",
    )  # fmt: skip
    figure.text(
        0.07, 0.91, f"Kendall tau on all remaining of NAS-Bench-201's {facts['rows']:,} cells, "
        f"CIFAR-10 validation accuracy, mean of {config['seeds']} draws with 95% intervals",
        fontsize=9, va="top",
    )  # fmt: skip
    draw_key(figure)
    return figure


def measured(rows: list[dict[str, Any]]) -> list[Curve]:
    """The curves of `CURVES`."""
    curves = []
    for key, label in CURVES.items():
        mine = [row for row in rows if (row["predictor"], row["encoder"]) == key]
        mine.sort(key=lambda row: row["samples"])
        taus = [row["kendall_tau"] for row in mine]
        sizes = [row["samples"] for row in mine]
        values = [[tau[part] for tau in taus] for part in ("mean", "low", "high")]
        colour = shade(OURS, 1, 2) if "prior" in key[1] else PREDICTOR_COLOURS[key[0]]
        curves.append(Curve(label, colour, sizes, *values))
    return curves


def published(name: str, taus: tuple[float | None, ...]) -> Curve:
    """A published row of numbers."""
    known = [(size, tau) for size, tau in zip(SIZES, taus, strict=True) if tau is not None]
    values = [tau for _, tau in known]
    return Curve(name, PUBLISHED, [size for size, _ in known], values, values, values)


def draw_measured(ax: Axes, curve: Curve) -> None:
    """A line in its interval."""
    width = 2.6 if curve.colour == OURS else 1.5
    style = "--" if "raw matrix" in curve.label else "-"
    ax.fill_between(curve.sizes, curve.low, curve.high, color=curve.colour, alpha=0.13, lw=0)
    ax.plot(curve.sizes, curve.tau, color=curve.colour, linewidth=width, linestyle=style)
    if curve.colour == OURS:
        ax.plot(curve.sizes, curve.tau, "o", color=curve.colour, ms=5.5, mec="white")
        for size, tau, high in zip(curve.sizes, curve.tau, curve.high, strict=True):
            ax.annotate(
                f"{tau:.2f}".removeprefix("0"), (size, high), (0, 4), ha="center",
                textcoords="offset points", fontsize=8.5, color=OURS, fontweight="bold",
            )  # fmt: skip


def draw_published(ax: Axes, curve: Curve) -> None:
    """Marks where a number was published."""
    ax.plot(
        curve.sizes, curve.tau, MARKS[curve.label], color=curve.colour, mfc="white", ms=5, mew=1.1,
        linestyle=":", linewidth=0.8,
    )  # fmt: skip


def name_at_the_end(ax: Axes, curves: list[Curve]) -> None:
    """Labels to the right of the last points, moved apart where they would overlap."""
    ax.set_xscale("log")
    ax.set_xlim(35, 1700)
    ax.set_ylim(0.32, 1.0)
    ax.set_xticks(SIZES, [f"{size:,}" for size in SIZES])
    ax.minorticks_off()
    ax.set_xlabel("labelled cells")
    ax.grid(axis="y", color="#eef1f4")
    ax.set_axisbelow(True)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)
    last = [curve for curve in curves if curve.sizes[-1] == SIZES[-1]]
    last.sort(key=lambda curve: curve.tau[-1])
    for curve, place in zip(last, apart([curve.tau[-1] for curve in last]), strict=True):
        weight = "bold" if curve.colour == OURS else "normal"
        ax.annotate(
            curve.label, (1, place), (6, 0), xycoords=("axes fraction", "data"), va="center",
            textcoords="offset points", fontsize=9, fontweight=weight, annotation_clip=False,
            color=curve.colour,
        )  # fmt: skip
    for curve in curves:
        if curve not in last:
            ax.annotate(
                curve.label, (curve.sizes[-1], curve.tau[-1]), (7, -1), va="center",
                textcoords="offset points", fontsize=9, color=curve.colour,
            )  # fmt: skip


def apart(places: list[float]) -> list[float]:
    """Ascending places, moved as little as it takes to lie `GAP` apart."""
    groups = [[place] for place in places]
    merged = True
    while merged:
        merged = False
        for k in range(len(groups) - 1):
            (low, high), (count, more) = map(mean, groups[k : k + 2]), map(len, groups[k : k + 2])
            if high - low < GAP * (count + more) / 2:
                groups[k : k + 2] = [groups[k] + groups[k + 1]]
                merged = True
                break
    return [
        mean(group) + GAP * (i - (len(group) - 1) / 2)
        for group in groups
        for i in range(len(group))
    ]


def draw_ceiling(ax: Axes, ceiling: float) -> None:
    """What knowing every function's mean would reach."""
    ax.axhline(ceiling, color="#6d7681", linewidth=0.9, linestyle=(0, (1, 2)))
    ax.annotate(
        f"ceiling {ceiling:.2f}: cells of one function are told apart by chance alone",
        (36, ceiling), (0, 3), textcoords="offset points", fontsize=8, color="#6d7681",
    )  # fmt: skip


def draw_key(figure: Figure) -> None:
    """What the colours mean."""
    parts = (
        (0.07, 0.04, "—  measured by gnas", DARK),
        (0.27, 0.04, "- -  its baselines, on the raw matrix", DARK),
        (0.655, 0.04, "···  published, on other samples", PUBLISHED),
        (0.07, 0.012, "† in PINAT's table 1, not its authors' (NP as reported by TNASP, the "
         "others re-implemented).   * quoted second-hand.   ‡ fitted to CIFAR-100.", PUBLISHED),
    )  # fmt: skip
    for x, y, text, colour in parts:
        figure.text(x, y, text, fontsize=8.5 if y > 0.03 else 7.2, color=colour)


if __name__ == "__main__":
    main()
