"""Pictures of cells and searches show what was found."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch_geometric.data import Data

from gnas.search.toponas import ToponasConfig, toponas_space
from gnas.search.toponas.arch import ArchParameters
from gnas.spaces.toponas.figure import LABELS
from gnas.spaces.toponas.genotype import Genotype
from gnas.topology import candidate_edges
from gnas.viz import cell_figures, search_figures


@dataclass(frozen=True)
class Search:
    config: ToponasConfig
    architecture: Data
    epoch: int
    epochs: list[dict[str, Any]]
    history: dict[str, Tensor]


def search(epochs: int = 3, **changes: Any) -> Search:
    config = ToponasConfig(**changes)
    torch.manual_seed(0)
    arch = ArchParameters(config)
    snapshots = []
    for _ in range(epochs + 1):
        with torch.no_grad():
            for parameter in arch.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.3)
        snapshots.append(arch.snapshot())
    history = {name: torch.stack([s[name] for s in snapshots]) for name in snapshots[0]}
    architecture = toponas_space(config).sample(np.random.default_rng(0))
    metrics = {**arch.statistics(), "skip_share_normal": 0.1, "skip_share_reduce": 0.2}
    names = ("train_loss", "val_loss", "train_acc", "val_acc")
    return Search(
        config,
        architecture,
        epochs,
        [{"epoch": e + 1, **metrics, **dict.fromkeys(names, 0.5)} for e in range(epochs)],
        history,
    )


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def draw(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg")
    return buffer.getvalue()


@pytest.mark.parametrize("num_nodes", [4, 7, 11])
def test_every_operation_is_named_once_and_nothing_overlaps(num_nodes: int) -> None:
    config = ToponasConfig(num_nodes=num_nodes)
    genotype = Genotype.from_graph(toponas_space(config).sample(np.random.default_rng(1)))
    for cell, figure in cell_figures(genotype).items():
        draw(figure)
        (axes,) = figure.axes
        labels = [text for text in axes.texts if text.get_text() in LABELS.values()]
        assert len(labels) == sum(map(len, getattr(genotype, cell)))
        boxes = [text.get_window_extent() for text in axes.texts if text.get_text()]
        for k, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[:k])


def test_edge_probabilities_stand_below_the_operations() -> None:
    found = search()
    edges = candidate_edges(7)
    probabilities = torch.arange(len(edges)) / 100
    genotype = Genotype.from_graph(found.architecture)
    shown = texts(cell_figures(genotype, {"normal": probabilities})["normal"])
    for j, node in enumerate(genotype.normal, start=2):
        for _, i in node:
            assert any(text.endswith(f"\n{edges.index((i, j)) / 100:.2f}") for text in shown)


@pytest.mark.parametrize(
    "changes",
    [{}, {"topology": "fixed", "k": 1, "mode": "input"}, {"topology": "none"}, {"num_nodes": 4}],
    ids=str,
)
def test_figures_of_every_kind_of_search(changes: dict[str, Any]) -> None:
    found = search(**changes)
    figures = search_figures(found)
    assert set(figures) == {"normal", "reduce", "metrics", "variables"}
    for figure in figures.values():
        assert draw(figure).startswith(b"<?xml")
    learns = found.config.learns_topology
    visible = [axes.get_title() for axes in figures["metrics"].axes if axes.get_visible()]
    assert ("Probability of an invalid cell" in visible) == learns
    variables = figures["variables"].axes
    assert len(variables) == (6 if learns else 2)
    weights = found.history["alpha.normal"].softmax(-1)
    lines = [np.asarray(line.get_ydata()) for line in variables[0].lines]
    assert any(np.allclose(line, weights[:, 0, 0].numpy()) for line in lines)
    legend = variables[0].get_legend()
    assert legend is not None
    assert legend.get_title().get_text() == "thin: an edge each; thick: their mean"
    if learns:
        scales = [np.asarray(line.get_ydata()) for line in variables[2].lines]
        assert len(scales) == len(candidate_edges(found.config.num_nodes))
        assert np.allclose(scales[0], found.history["scale.normal"][:, 0].numpy())


@pytest.mark.parametrize("topology", ["arbitrary", "none"])
def test_entropies_are_drawn_from_0_to_that_of_the_uniform_distribution(topology: str) -> None:
    found = search(topology=topology)
    panels = {axes.get_title(): axes for axes in search_figures(found)["metrics"].axes}
    operations = 8 if topology == "none" else 7  # "none" among them
    expected = {"Entropy of operations (nats)": np.log(operations)}
    if topology == "arbitrary":  # nodes choose among 2^n - 1 sets of the n later nodes
        sets = [2**later - 1 for later in (4, 4, 3, 2, 1)]
        expected["Entropy of edge sets (nats)"] = np.mean(np.log(sets))
    for title, uniform in expected.items():
        assert panels[title].get_ylim()[0] == 0
        assert uniform < panels[title].get_ylim()[1] < 1.1 * uniform
        (line,) = (line for line in panels[title].lines if line.get_label() == "uniform")
        assert np.asarray(line.get_ydata()) == pytest.approx(uniform)


def test_one_epoch_is_visible() -> None:
    axes = search_figures(search(epochs=1))["metrics"].axes[0]
    assert axes.lines[0].get_marker() == "o"
