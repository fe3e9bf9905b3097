from __future__ import annotations

import io

import matplotlib
import numpy as np
import pytest

from gnas.bench.result import RANDOM_PICK, BenchResult, Row
from gnas.metrics import Interval
from gnas.viz import COLOURS, LEAST_BIAS_PERCENT, predictor_figures

PER_BAR = 3
"""Lines that one curve with caps adds: itself and the two rows of caps."""


def result(samples: tuple[int, ...] = (100, 200), intervals: bool = True) -> BenchResult:
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
            rows.append(Row(name, encoder, n, 3, tau, tau, tau, tau, bias, bias, None))
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
    assert np.asarray(line.get_ydata())[1] == LEAST_BIAS_PERCENT


def test_figures_touch_no_global_state() -> None:
    before = dict(matplotlib.rcParams)
    predictor_figures(result())
    assert dict(matplotlib.rcParams) == before
    assert len(set(COLOURS)) == len(COLOURS)
