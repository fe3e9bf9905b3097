"""Draws docs/images/overview.svg: one cell's way through gnas, from real data.

`python docs/overview.py [--table nasbench101] [--out docs/images/overview.svg]`
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from numpy.typing import NDArray
from scipy.stats import kendalltau
from torch_geometric.data import Data

from gnas.data import BenchmarkTable, load_table
from gnas.graphs import op_indices, to_adjacency
from gnas.kernels import wl_kernel
from gnas.predictors import default_predictor
from gnas.spaces import SPACES

COLORS = {
    "input": "#d9dde3",
    "conv3x3-bn-relu": "#2f6fb0",
    "conv1x1-bn-relu": "#7fb6e2",
    "maxpool3x3": "#f2a541",
    "output": "#d9dde3",
}
NAMES = {"conv3x3-bn-relu": "3x3 conv", "conv1x1-bn-relu": "1x1 conv", "maxpool3x3": "3x3 pool"}
GREY, DARK, CHOSEN = "#8a93a0", "#252a31", "#c8324a"
NUM_TRAINED, NUM_KERNEL = 500, 1_200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", default="nasbench101")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images/overview.svg")
    options = parser.parse_args()
    figure = draw(load_table(options.table))
    options.out.parent.mkdir(exist_ok=True)
    figure.savefig(options.out, dpi=200, metadata={"Date": None} if _is_svg(options.out) else {})


def _is_svg(path: Path) -> bool:
    return path.suffix == ".svg"


def draw(table: BenchmarkTable) -> Figure:
    """Four panels: a cell, its graph, all cells by kernel, and the predictor's choice."""
    plt.rcParams.update({"font.size": 9.5, "svg.hashsalt": "gnas", "text.color": DARK})
    rng = np.random.default_rng(0)
    rows = rng.permutation(len(table))
    val_acc = table.val_acc()
    predicted, test = _predict(table, rows, val_acc)
    chosen = int(test[np.argmax(predicted)])
    cell = table[chosen]
    figure, axes = plt.subplots(
        1, 4, figsize=(12.6, 4.1), width_ratios=(0.8, 1, 1.15, 1.15), facecolor="white"
    )
    figure.subplots_adjust(left=0.02, right=0.985, top=0.86, bottom=0.15, wspace=0.25)
    draw_cell(axes[0], cell)
    draw_graph(axes[1], cell)
    near = np.unique(np.append(rows[:NUM_KERNEL], chosen))
    draw_kernel(axes[2], table, near, val_acc, chosen)
    draw_prediction(axes[3], predicted, table.test_acc()[test])
    titles = ("an architecture", "a graph", "similar graphs lie together", "so a few tell of all")
    for number, (ax, title) in enumerate(zip(axes, titles, strict=True), start=1):
        place = (ax.get_position().x0, 0.95)
        figure.text(*place, f"{number}  {title}", fontsize=11, fontweight="bold", va="top")
    kind, name = table.provenance.kind, table.provenance.name
    note = f"{len(table):,} trained cells of NAS-Bench-101 ({kind} table {name})"
    figure.text(0.985, 0.02, note, ha="right", fontsize=8, color=GREY)
    return figure


def _predict(
    table: BenchmarkTable, rows: NDArray[np.int64], val_acc: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    train, test = rows[:NUM_TRAINED], rows[NUM_TRAINED:]
    predictor = default_predictor(SPACES[table.provenance.space]())
    predictor.fit(table.graphs[train.tolist()], val_acc[train])
    return np.asarray(predictor.predict(table.graphs[test.tolist()])), test


def draw_cell(ax: Axes, cell: Data) -> None:
    """The cell as boxes from top to bottom."""
    adjacency, ops = to_adjacency(cell)
    names = [SPACES["nasbench101"]().ops[op] for op in ops.tolist()]
    places = _places(adjacency.numpy())
    for number, (source, target) in enumerate(cell.edge_index.t().tolist()):
        _draw_edge(ax, places[source], places[target], side=1 if number % 2 else -1)
    for (x, y), name in zip(places, names, strict=True):
        box = FancyBboxPatch(
            (x - 0.44, y - 0.24), 0.88, 0.48, "round,pad=0.02,rounding_size=0.12",
            facecolor=COLORS[name], edgecolor="none",
        )  # fmt: skip
        ax.add_patch(box)
        light = name in ("conv3x3-bn-relu",)
        text = NAMES.get(name, name)
        ax.text(
            x, y, text, ha="center", va="center", color="white" if light else DARK, fontsize=7.5
        )
    xs, ys = zip(*places, strict=True)
    ax.set_xlim(min(xs) - 1.6, max(xs) + 1.6)
    ax.set_ylim(min(ys) - 0.5, max(ys) + 0.5)
    ax.axis("off")


def _draw_edge(
    ax: Axes, start: tuple[float, float], end: tuple[float, float], *, side: int
) -> None:
    """A straight arrow to the next depth, a bow around the boxes to a later one."""
    (x0, y0), (x1, y1) = start, end
    if y0 - y1 > 1.5:
        x0, x1 = x0 + side * 0.47, x1 + side * 0.47
        style = f"arc3,rad={-side * 0.42}"
    else:
        y0, y1, style = y0 - 0.25, y1 + 0.27, "arc3"
    arrow = FancyArrowPatch(
        (x0, y0), (x1, y1), connectionstyle=style, arrowstyle="-|>", mutation_scale=9,
        color=GREY, linewidth=1.1, shrinkA=0, shrinkB=0,
    )  # fmt: skip
    ax.add_patch(arrow)


def _places(adjacency: NDArray[np.integer]) -> list[tuple[float, float]]:
    """Node centres: depth downwards, the nodes of one depth side by side."""
    depth = [0] * len(adjacency)
    for node in range(1, len(adjacency)):
        depth[node] = 1 + max((depth[i] for i in np.flatnonzero(adjacency[:, node])), default=-1)
    places = []
    for node, level in enumerate(depth):
        row = [other for other, its in enumerate(depth) if its == level]
        places.append((row.index(node) - (len(row) - 1) / 2, -float(level)))
    return places


def draw_graph(ax: Axes, cell: Data) -> None:
    """The adjacency matrix and, beside it, the one-hot operations."""
    adjacency, ops = to_adjacency(cell)
    n, num_ops = len(ops), cell.x.size(1)
    names = [SPACES["nasbench101"]().ops[op] for op in ops.tolist()]
    for i in range(n):
        for j in range(n):
            color = DARK if adjacency[i, j] else "#eef1f4"
            ax.add_patch(Rectangle((j, -i), 0.9, 0.9, color=color))
        for j in range(num_ops):
            hot = j == int(op_indices(cell)[i])
            color = COLORS[names[i]] if hot else "#eef1f4"
            ax.add_patch(Rectangle((n + 1 + j, -i), 0.9, 0.9, color=color))
    ax.text(n / 2, -n + 0.3, "adjacency", ha="center", va="top")
    ax.text(n + 1 + num_ops / 2, -n + 0.3, "operations", ha="center", va="top")
    data = f"Data(x=[{n}, {num_ops}], edge_index=[2, {cell.edge_index.size(1)}])"
    middle = (n + 1 + num_ops) / 2
    ax.text(middle, -n - 1.1, data, ha="center", va="top", family="monospace", fontsize=8.5)
    ax.set_xlim(-0.3, n + num_ops + 1.3)
    ax.set_ylim(-n - 2.2, 1.4)
    ax.set_aspect("equal", anchor="C")
    ax.axis("off")


def draw_kernel(
    ax: Axes,
    table: BenchmarkTable,
    rows: NDArray[np.int64],
    val_acc: NDArray[np.float64],
    chosen: int,
) -> None:
    """The cells' first two kernel principal components, coloured by accuracy rank."""
    gram = np.asarray(wl_kernel(table.graphs[rows.tolist()], labels="op", direction="out"))
    centred = gram - gram.mean(0) - gram.mean(1)[:, None] + gram.mean()
    values, vectors = np.linalg.eigh(centred)
    x, y = (vectors[:, -k] * np.sqrt(values[-k]) for k in (1, 2))
    rank = val_acc[rows].argsort().argsort() / len(rows)
    dots = ax.scatter(x, y, c=rank, s=9, cmap="viridis", linewidths=0, rasterized=True)
    mine = int(np.flatnonzero(rows == chosen)[0])
    ax.plot(x[mine], y[mine], "o", mfc="none", mec=CHOSEN, ms=9, mew=1.8)
    ax.set_xlabel(f"{len(rows):,} cells, Weisfeiler-Lehman kernel, 2-D")
    bar = ax.figure.colorbar(dots, ax=ax, shrink=0.75, pad=0.02, ticks=[0.02, 0.98])
    bar.ax.set_yticklabels(["worst", "best"], fontsize=7.5)
    bar.outline.set_visible(False)
    _bare(ax)


def draw_prediction(
    ax: Axes, predicted: NDArray[np.float64], measured: NDArray[np.float64]
) -> None:
    """Predicted against measured accuracy of the cells that were not trained on."""
    tau = kendalltau(predicted, measured).statistic
    ax.plot(predicted, measured, "o", ms=2.2, mew=0, color="#2f6fb0", alpha=0.45, rasterized=True)
    best = int(predicted.argmax())
    ax.plot(predicted[best], measured[best], "o", mfc="none", mec=CHOSEN, ms=9, mew=1.8)
    ax.annotate(
        "chosen", (predicted[best], measured[best]), xytext=(0, -22), ha="right",
        textcoords="offset points", color=CHOSEN, fontsize=9,
    )  # fmt: skip
    low, high = np.quantile(measured, [0.02, 1])
    span = high - low
    ax.set_ylim(low - 0.05 * span, high + 0.08 * span)
    ax.set_xlabel(f"predicted after {NUM_TRAINED} trained cells")
    ax.set_ylabel("measured accuracy", labelpad=2)
    ax.text(0.04, 0.93, f"Kendall tau {tau:.2f}", transform=ax.transAxes)
    _bare(ax)


def _bare(ax: Axes) -> None:
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(GREY)


if __name__ == "__main__":
    main()
