"""Channel statistics against the benchmark's own channels, and against listed paths."""

from __future__ import annotations

from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
import torch

from gnas.errors import ConfigError, GraphError
from gnas.graphs import DenseBatch, architecture, to_networkx
from gnas.predictors import ChannelStatistics
from gnas.spaces import NASGEM, NASBench101, NASBench201
from gnas.spaces.nasbench101 import OPS
from gnas.spaces.nasbench101.size import vertex_channels

SPACE = NASBench101()
INNER = (1, 2, 3)
CONVOLUTIONS = (1, 2)
CHANNELS = 60
"""Of the output: as many nodes as can feed it, at most five, share them without a rest."""


def naive(graph: nx.DiGraph, channels: list[int]) -> list[float]:
    """The columns of one cell, from its channels and by listing its paths."""
    nodes, last = sorted(graph), max(graph)
    op = [graph.nodes[v]["op"] for v in nodes]
    width = [channel / CHANNELS for channel in channels]
    sharing = [v for v in graph.predecessors(last) if v != 0]
    fed = [v for v in graph.successors(0) if v != last]
    found = [len(sharing), 1 / len(sharing) if sharing else 0.0, float(graph.has_edge(0, last))]
    found.append(sum(width[v] for v in fed))
    columns: list[list[float]] = []
    for kind in INNER:
        own = [v for v in nodes if op[v] == kind]
        columns.append(
            [
                sum(width[v] for v in own),
                max((width[v] for v in own), default=0.0),
                sum(width[v] == 1 for v in own),
                float(np.log(sum(width[v] ** 2 for v in own) + 0.02)),
                sum(width[v] for v in own if v in sharing),
                sum(width[v] for v in own if v in fed),
            ]
        )
    found += np.array(columns).T.ravel().tolist()
    met = [[met_by(graph, v, kinds) for kinds in (*((k,) for k in INNER), CONVOLUTIONS)]
           for v in sharing]  # fmt: skip
    values = np.array(met) if sharing else np.zeros((1, 4, 3))  # [shares, kinds, statistics]
    for statistic in range(3):
        part = values[:, :, statistic]
        for over in (np.mean, np.std, np.max, np.min):
            found += over(part, axis=0).tolist()
    return found


def met_by(graph: nx.DiGraph, node: int, kinds: tuple[int, ...]) -> tuple[float, float, float]:
    """Mean, most and least nodes of ``kinds`` on the paths from the input to a node."""
    counts, chances = [], []
    for path in nx.all_simple_paths(graph, 0, node):
        counts.append(sum(graph.nodes[v]["op"] in kinds for v in path))
        chances.append(np.prod([1 / graph.in_degree(v) for _, v in pairwise(path)]))
    return float(np.dot(counts, chances)), max(counts), min(counts)


def test_columns_are_those_of_listed_paths(rng: np.random.Generator) -> None:
    cells = SPACE.sample_batch(300, rng)
    channels = vertex_channels(cells, CHANNELS).tolist()
    rows = ChannelStatistics(SPACE)(cells)
    assert rows.shape == (len(cells), 70)
    for cell, widths, row in zip(cells, channels, rows, strict=True):
        np.testing.assert_allclose(row, naive(to_networkx(cell), widths), atol=1e-9)


def test_the_cell_that_only_passes_on_has_no_channels_to_share() -> None:
    edge = architecture(torch.tensor([[0, 1], [0, 0]]), torch.tensor([0, 4]), len(OPS))
    row = ChannelStatistics(SPACE)(DenseBatch.from_data([edge]))[0]
    assert row[:4].tolist() == [0, 0, 1, 0]
    assert np.isfinite(row).all()


def test_spaces_that_do_not_fit_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(ConfigError, match="must have outputs that concatenate, but 'nasbench201'"):
        ChannelStatistics(NASBench201())
    with pytest.raises(GraphError, match="ops"):
        ChannelStatistics(SPACE)(NASGEM().sample_batch(3, rng))
