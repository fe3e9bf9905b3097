from __future__ import annotations

import pytest

from gnas.figure import Figure, plain_ticks


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (4.2, 8.8, {"5", "6", "7", "8"}),
        (0.56, 12, {"1", "2", "5", "10"}),
        (0.02, 30, {"0.1", "1", "10"}),
    ],
)
def test_ticks_of_a_logarithmic_axis_are_plain_numbers(
    low: float, high: float, labels: set[str]
) -> None:
    figure = Figure()
    axes = figure.subplots()
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    plain_ticks(axes.yaxis)
    figure.draw_without_rendering()
    shown = {
        tick.label1.get_text()
        for tick in (*axes.yaxis.get_major_ticks(), *axes.yaxis.get_minor_ticks())
        if low <= tick.get_loc() <= high
    }
    assert shown - {""} == labels
