"""Drawn architectures: every edge once, from box to box, and through no other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gnas.graphs import to_adjacency
from gnas.spaces import SPACES, Space
from gnas.spaces.layout import layered
from gnas.spaces.nasgem import NASGEM
from gnas.spaces.nasgem.wiring import RandomWiring

RANDOM_CELLS = 7
"""Of each of eight spaces."""
TOUCHING = 1.0
"""Pixels between an edge's end and its box that count as none."""


def boxes_and_edges(
    figure: Figure,
) -> tuple[dict[int, NDArray[np.float64]], dict[tuple[int, int], NDArray[np.float64]]]:
    """In pixels: the corners [2, 2] of every box, points [p, 2] of every edge, from artists."""
    figure.draw_without_rendering()
    (axes,) = figure.axes
    boxes = {
        int(str(patch.get_gid()).split()[1]): patch.get_window_extent().get_points()
        for patch in axes.patches
        if str(patch.get_gid()).startswith("node")
    }
    edges = {}
    for line in axes.lines:
        _, source, target = str(line.get_gid()).split()
        assert (int(source), int(target)) not in edges
        points = line.get_transform().transform(np.asarray(line.get_xydata()))
        edges[int(source), int(target)] = _dense(points)
    return boxes, edges


def _dense(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points of a broken line, its own among them, no further apart than half a pixel."""
    along = np.cumsum([0, *np.hypot(*np.diff(points, axis=0).T)])
    where = np.union1d(along, np.arange(0, along[-1], 0.5))
    return np.stack([np.interp(where, along, values) for values in points.T], axis=1)


def check(figure: Figure) -> None:
    boxes, edges = boxes_and_edges(figure)
    assert boxes and edges
    nodes = np.array([*boxes])
    low, high = np.stack([*boxes.values()], 1)[:, :, None]  # [nodes, 1, 2] each
    for (source, target), points in edges.items():
        for end, node in ((points[0], source), (points[-1], target)):
            first, last = boxes[node]
            assert (first - TOUCHING <= end).all() and (end <= last + TOUCHING).all()
        border = np.where(np.isin(nodes, (source, target)), TOUCHING, 0)[:, None, None]
        near = ((low < points.max(0)) & (points.min(0) < high)).all((1, 2))  # [nodes]
        inside = (low + border < points)[near] & (points < high - border)[near]
        crossed = nodes[near][inside.all(2).any(1)]
        assert not len(crossed), f"edge {source} {target} crosses nodes {crossed}"
    beyond = (low >= high[:, 0]).any(2)  # [nodes, nodes]: a box begins where another one ends
    assert (beyond | beyond.T | np.eye(len(nodes), dtype=bool)).all(), "boxes overlap"
    for axes in figure.axes:
        width, height = figure.get_size_inches() * figure.dpi
        for text in axes.texts:
            box = text.get_window_extent()
            assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height


def spaces() -> Iterator[Space]:
    for make in SPACES.values():
        yield make()
    yield NASGEM(12)
    for kind in ("erdos-renyi", "barabasi-albert", "watts-strogatz"):
        yield RandomWiring(30, kind, spread=True)


@pytest.mark.parametrize("space", list(spaces()), ids=repr)
def test_no_edge_goes_through_a_box(space: Space) -> None:
    rng = np.random.default_rng(0)
    for _ in range(RANDOM_CELLS):
        graph = space.sample(rng)
        for figure in space.draw(graph).values():
            check(figure)


def test_every_edge_of_an_architecture_is_drawn() -> None:
    rng = np.random.default_rng(1)
    space = SPACES["nasbench101"]()
    for _ in range(20):
        graph = space.sample(rng)
        _, edges = boxes_and_edges(space.draw(graph)["architecture"])
        assert set(edges) == set(map(tuple, graph.edge_index.t().tolist()))
    by_edge = SPACES["nasbench201"]()
    graph = by_edge.sample(rng)
    boxes, edges = boxes_and_edges(by_edge.draw(graph)["architecture"])
    assert len(boxes) == len(graph.x) + graph.edge_index.size(1)
    assert len(edges) == 2 * graph.edge_index.size(1)
    cells = NASGEM(30)
    graph = cells.sample(rng)
    _, edges = boxes_and_edges(cells.draw(graph)["cell"])
    leaves = int((to_adjacency(graph)[0].sum(1) == 0).sum())
    assert len(edges) == graph.edge_index.size(1) + 1 + leaves


def test_layouts_of_small_graphs_are_what_a_hand_draws() -> None:
    size = (1.0, 0.5)
    chain = layered([size] * 3, [(0, 1), (1, 2)])
    assert np.allclose(chain.places[:, 1], chain.places[0, 1])  # one straight line
    assert (np.diff(chain.places[:, 0]) > size[0]).all()
    skip = layered([size] * 3, [(0, 1), (1, 2), (0, 2)])
    route = skip.routes[0, 2]
    beside = (route[:, 0] > skip.places[1, 0] - 0.5) & (route[:, 0] < skip.places[1, 0] + 0.5)
    assert (abs(route[beside, 1] - skip.places[1, 1]) > size[1] / 2).all()
    late = layered([size] * 4, [(0, 1), (1, 3), (0, 2), (2, 3)], late=[2])
    assert late.places[1, 0] == late.places[2, 0]
    alone = layered([size] * 2, [])
    assert alone.routes == {} and alone.places.shape == (2, 2)
