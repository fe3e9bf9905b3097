from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer

from gnas.bench.config import SearchBench
from gnas.bench.result import RANDOM_PICK, BenchResult, Row
from gnas.bench.search import SearchBenchResult, SearcherRow
from gnas.metrics import MIN_SEEDS, Interval, mean_interval, quantiles
from gnas.report.benches import bench_report
from gnas.report.page import Chart
from gnas.runs import to_jsonable
from gnas.style import PREDICTOR_COLOURS, predictor_colours, shade
from gnas.viz import COLOURS, predictor_figures, regret_figures
from gnas.viz.predictors import MIN_BIAS_PERCENT

PER_BAR = 3
"""Lines that one curve with caps adds: itself and the two rows of caps."""


def result(
    samples: tuple[int, ...] = (100, 200), intervals: bool = True, seeds: int = 5
) -> BenchResult:
    nan = float("nan")

    def around(mean: float, half: float) -> Interval:
        return Interval(mean, mean - half, mean + half) if intervals else Interval(mean, nan, nan)

    rows = []
    for n in samples:
        for name, encoder in (
            ("MLP", "none (adjacency)"),
            ("MLP", "nasgem"),
            ("none", "params"),
            ("none", RANDOM_PICK),
        ):
            tau = None if encoder == RANDOM_PICK else around(0.7 + n / 1000, 0.01)
            bias = around(0.0 if encoder == "nasgem" and n == 200 else 1 / n, 0.02)
            skewed = [0.5 * bias.mean] * (seeds - 1) + [(0.5 * seeds + 0.5) * bias.mean]
            rows.append(
                Row(
                    name, encoder, n, seeds, tau, tau, tau, tau, bias, bias, None,
                    global_bias_spread=quantiles(skewed) if intervals else None,
                )
            )  # fmt: skip
    return BenchResult(
        command="bench nasbench101",
        config={},
        table={
            "name": "small",
            "provenance": "partial",
            "usable": 4400,
            "train_column": "mean val_acc of 3 runs",
            "test_column": "mean test_acc of 3 runs",
        },
        quantity="test_acc",
        protocol={"ceiling": "mean val_acc of 3 runs itself"},
        rows=tuple(rows),
        ceiling=0.94,
        agreement_between_runs=None,
        best_score=0.94,
        seconds=1.0,
    )


@pytest.mark.parametrize(
    ("samples", "intervals"), [((100, 200), True), ((200, 100), False), ((500,), True)]
)
def test_figures_show_every_row(samples: tuple[int, ...], intervals: bool) -> None:
    figures = predictor_figures(result(samples, intervals))
    assert set(figures) == {"bias", "kendall_tau"}
    axes = figures["bias"].axes[0]
    assert axes.get_yscale() == "log"
    assert axes.get_xlim()[0] < min(samples) and axes.get_xlim()[1] > max(samples)
    labels = axes.get_legend_handles_labels()[1]
    assert labels == ["MLP: none (adjacency)", "MLP: nasgem", "params"]
    assert figures["kendall_tau"].axes[0].get_legend_handles_labels()[1] == labels
    line = axes.lines[0 * PER_BAR]
    assert np.asarray(line.get_ydata()).tolist() == pytest.approx(
        [100 / n for n in sorted(samples)]
    )
    shown = [text.get_text() for text in axes.get_xticklabels()]
    assert shown == [str(n) for n in sorted(samples)]
    for figure in figures.values():
        assert "partial, 4,400 cells" in figure.axes[0].get_title()
        for kind in ("png", "svg"):
            file = io.BytesIO()
            figure.savefig(file, format=kind)
            assert file.tell() > 5000


def test_a_bias_of_zero_stays_on_the_logarithmic_axis() -> None:
    axes = predictor_figures(result())["bias"].axes[0]
    line = axes.lines[1 * PER_BAR]
    assert np.asarray(line.get_ydata())[1] == MIN_BIAS_PERCENT


def test_figures_touch_no_global_state() -> None:
    before = dict(matplotlib.rcParams)
    predictor_figures(result())
    assert dict(matplotlib.rcParams) == before
    assert len(set(COLOURS)) == len(COLOURS)


def errorbars(axes: Axes) -> list[ErrorbarContainer]:
    return [one for one in axes.containers if isinstance(one, ErrorbarContainer)]


def test_bars_of_the_bias_hold_most_seeds_and_never_cross_zero() -> None:
    axes = predictor_figures(result())["bias"].axes[0]
    bars = errorbars(axes)[0].lines[2][0].get_segments()
    biases = np.array([0.5, 0.5, 0.5, 0.5, 3.0])
    for n, bar in zip((100, 200), bars, strict=True):
        low, high = np.quantile(biases / n, [0.1, 0.9])
        assert bar[:, 1].tolist() == pytest.approx([100 * low, 100 * high])
    few = predictor_figures(result(seeds=MIN_SEEDS - 1))["bias"].axes[0]
    assert errorbars(few) and not any(one.has_yerr for one in errorbars(few))
    one_size = predictor_figures(result((100,)))["bias"].axes[0]
    assert {one.lines[0].get_linestyle() for one in errorbars(one_size)} == {"None"}


def test_a_predictor_has_one_colour_in_all_figures() -> None:
    seen = set()
    for figure in predictor_figures(result()).values():
        for container in errorbars(figure.axes[0]):
            seen.add((container.get_label(), container.lines[0].get_color()))
    colours = dict(seen)
    assert len(colours) == len(seen)
    assert colours["MLP: none (adjacency)"] == PREDICTOR_COLOURS["MLP"].upper()
    assert len(set(colours.values())) == len(colours)
    several = predictor_colours(["one's own", "MLP", "another"])
    assert several["one's own"] != several["another"]
    assert not {several["one's own"], several["another"]} & set(PREDICTOR_COLOURS.values())
    shades = [shade("#0072B2", k, 4) for k in range(4)]
    assert shades[0] == "#0072B2" and len(set(shades)) == 4


def searched(seeds: int) -> SearchBenchResult:
    """Regrets of which most are 0 at the end, and one is large: a mean's interval crosses zero."""
    regrets = np.full((seeds, 6), 0.02)
    regrets[:, 3:] = 0
    regrets[0, 3:] = 0.05
    row = SearcherRow(
        searcher="bayes", seeds=seeds, test_acc=mean_interval([0.9] * seeds),
        test_regret=tuple(mean_interval(column) for column in regrets.T), val_regret=(),
        found_optimum=0.5, median_queries=None, queries=(None,) * seeds, seconds=1.0,
        test_regret_spread=tuple(quantiles(column) for column in regrets.T),
    )  # fmt: skip
    return SearchBenchResult(
        command="", config=SearchBench(space="nasbench201", budget=6, seeds=seeds),
        table={"name": "small", "val_column": "val", "test_column": "test"}, protocol={},
        rows=(row,), best_val_acc=0.9, best_test_acc=0.9, seconds=1.0,
    )  # fmt: skip


def test_shares_that_found_the_optimum_are_steps_of_their_own_styles(tmp_path: Path) -> None:
    result = searched(20)
    names = ("nasgem", "random", "mine")
    rows = tuple(
        replace(result.rows[0], searcher=name, queries=(3, *[None] * 19)) for name in names
    )
    result = replace(result, rows=rows)
    lines = regret_figures(result)["found"].axes[0].lines
    assert [line.get_drawstyle() for line in lines] == ["steps-post"] * 3
    assert len({line.get_linestyle() for line in lines}) == 3
    facts = dict.fromkeys(("rows", "architectures"), 9) | {
        "provenance": "",
        "sha256": "",
        "note": "",
    }
    table = {**result.table, **facts}
    result = replace(result, command="bench search", table=table)
    file = tmp_path / "result.json"
    file.write_text(json.dumps(to_jsonable(result)))
    page = bench_report(file, json.loads(file.read_text()), "run").sections[0]
    regret, found = (block for block in page.blocks if isinstance(block, Chart))
    for chart in (regret, found):
        assert [COLOURS[series.colour] for series in chart.series] == [
            *(PREDICTOR_COLOURS[name] for name in names[:2]), COLOURS[0]
        ]  # fmt: skip
    assert [series.style for series in found.series] == [0, 1, 2]


def test_bands_of_the_regret_hold_most_searches_and_never_cross_zero() -> None:
    many = searched(20)
    assert many.rows[0].test_regret[-1].low < 0
    axes = regret_figures(many)["regret"].axes[0]
    assert axes.lines[0].get_color() == PREDICTOR_COLOURS["bayes"]
    (band,) = axes.collections
    heights = np.concatenate([np.asarray(path.vertices)[:, 1] for path in band.get_paths()])
    assert heights.min() == 0 and heights.max() == pytest.approx(2)
    assert axes.get_yticklabels()[0].get_text() == "0"
    assert not regret_figures(searched(MIN_SEEDS - 1))["regret"].axes[0].collections
