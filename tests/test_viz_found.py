"""Pictures of searches by any searcher."""

from __future__ import annotations

import numpy as np
import pytest
from torch_geometric.data import Data

from gnas.search import run_search
from gnas.spaces import NASBench201
from gnas.viz import search_result_figures


def measured(graph: Data, *, seed: int) -> dict[str, float]:
    convolutions = float((graph.edge_op > 1).sum())
    return {"score": convolutions, "macs": 1e7 * convolutions + 5e6}


@pytest.mark.parametrize("budget", [1, 2, 3, 7])
def test_numbers_of_architectures_are_whole(budget: int) -> None:
    result = run_search(NASBench201(), "random", measured, budget=budget)
    figure = search_result_figures(result)["progress"]
    figure.canvas.draw()
    axes = figure.axes[0]
    left, right = axes.get_xlim()
    ticks = [tick for tick in axes.get_xticks() if left <= tick <= right]
    assert ticks and all(tick == round(tick) for tick in ticks)
    drawn = np.asarray(axes.collections[0].get_offsets())[:, 0]
    assert drawn.tolist() == [one.number for one in result.evaluations]  # as tables and files do


def test_large_measures_have_a_prefix_at_their_axis() -> None:
    result = run_search(
        NASBench201(), "random", measured, budget=20, objectives=["score:max", "macs:min"]
    )
    figures = search_result_figures(result)
    assert set(figures) == {"progress", "front"}
    for figure in figures.values():
        figure.canvas.draw()
    axes = figures["front"].axes[0]
    across = [label.get_text() for label in axes.get_xticklabels()]
    assert any(text.endswith(" M") for text in across)
    assert axes.xaxis.get_offset_text().get_text() == ""
    up = [label.get_text() for label in axes.get_yticklabels()]
    assert not any(text.endswith("M") for text in up)
