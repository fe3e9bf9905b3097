"""Places for the nodes of a drawn graph, and ways for its edges around them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Edge = tuple[int, int]
Size = tuple[float, float]

SWEEPS = 24
"""Passes that order the columns, and likewise that move their members up and down."""
BETWEEN_BOXES, BESIDE_BOX, BETWEEN_LINES = 0.16, 0.1, 0.09
"""Least vertical distances, in inches."""
GAPS = (0.45, 1.3)
"""Least and largest distance of two columns, in inches; it grows with how steep edges are."""
HEAD = 0.1
"""Length of an arrowhead, in inches, over which an edge is straight."""
PORTS = 0.7
"""Share of a box's height over which the edges that enter it are spread."""
SAMPLES = 33
"""Points of a curve between two columns."""


@dataclass(frozen=True)
class Layout:
    """Coordinates of a graph drawing, from left to right, in inches."""

    places: NDArray[np.float64]
    """Centres of the boxes [n, 2]."""
    routes: Mapping[Edge, NDArray[np.float64]]
    """Points [p, 2] of every edge, from the right side of a box to the left side of another."""
    low: NDArray[np.float64]
    """Lower left corner of everything [2]."""
    high: NDArray[np.float64]
    """Upper right corner [2]."""


def layered(sizes: Sequence[Size], edges: Sequence[Edge], late: Sequence[int] = ()) -> Layout:
    """A layered drawing of a directed acyclic graph, with no edge through a box.

    A node's column is the length of the longest path to it. An edge over several columns has a
    place of its own in each of them, beside the boxes, and bends between columns only. Edges of
    one node share their way as long as they can. Columns are ordered by barycentres, which keeps
    crossings few.

    Args:
        sizes: Width and height of every node's box, in inches.
        edges: Pairs of nodes, the lower one first; each once.
        late: Nodes that stand just before what reads them, not just after what they read.

    Source: Sugiyama, Tagawa and Toda, Methods for Visual Understanding of Hierarchical System
    Structures, IEEE Transactions on Systems, Man, and Cybernetics 11(2), 1981.
    """
    depth = _depths(len(sizes), edges, late)
    members = _with_ways(sizes, edges, depth)
    columns = _ordered(members)
    heights = _heights(members, columns)
    left, right = _sides(members, columns, heights)
    places = np.array(
        [[(left[depth[k]] + right[depth[k]]) / 2, heights[k]] for k in range(len(sizes))]
    ).reshape(-1, 2)
    routes = _routes(sizes, edges, depth, members, places, heights, left, right)
    half = np.array(sizes).reshape(-1, 2) / 2
    points = np.concatenate([places - half, places + half, *routes.values()])
    return Layout(places, routes, points.min(0), points.max(0))


@dataclass
class _Members:
    """The nodes, and after them the places that edges take in the columns they pass."""

    depth: list[int]
    sizes: list[Size]
    before: list[list[int]]
    """Neighbours in the column before, of every member."""
    after: list[list[int]]
    ways: dict[Edge, int]
    """By source and column the member that edges of this source pass there."""

    def is_box(self, k: int) -> bool:
        return self.sizes[k][1] > 0


def _depths(count: int, edges: Sequence[Edge], late: Sequence[int]) -> list[int]:
    depth = [0] * count
    for i, j in sorted(edges):
        depth[j] = max(depth[j], depth[i] + 1)
    for k in late:
        depth[k] = min((depth[j] for i, j in edges if i == k), default=depth[k] + 1) - 1
    return depth


def _with_ways(sizes: Sequence[Size], edges: Sequence[Edge], depth: list[int]) -> _Members:
    found = _Members(list(depth), list(sizes), [[] for _ in sizes], [[] for _ in sizes], {})
    for i, j in sorted(edges):
        last = i
        for column in range(depth[i] + 1, depth[j]):
            if (i, column) not in found.ways:
                found.ways[i, column] = len(found.depth)
                found.depth.append(column)
                found.sizes.append((0.0, 0.0))
                found.before.append([last])
                found.after.append([])
                found.after[last].append(found.ways[i, column])
            last = found.ways[i, column]
        found.after[last].append(j)
        found.before[j].append(last)
    return found


def _ordered(members: _Members) -> list[list[int]]:
    """Members of every column from bottom to top: the order with the fewest crossings found."""
    columns: list[list[int]] = [[] for _ in range(max(members.depth, default=-1) + 1)]
    for k, depth in enumerate(members.depth):
        columns[depth].append(k)
    best, fewest = [list(column) for column in columns], _crossings(members, columns)
    place = np.zeros(len(members.depth))
    for column in columns:
        place[column] = _spread(len(column))
    for sweep in range(SWEEPS):
        forth = sweep % 2 == 0
        sides = members.before if forth else members.after
        for column in columns if forth else columns[::-1]:
            wanted = {k: place[sides[k]].mean() if sides[k] else place[k] for k in column}
            column.sort(key=wanted.__getitem__)
            place[column] = _spread(len(column))
        crossings = _crossings(members, columns)
        if crossings < fewest:
            best, fewest = [list(column) for column in columns], crossings
    return best


def _spread(count: int) -> NDArray[np.float64]:
    return np.arange(count, dtype=np.float64) - (count - 1) / 2


def _crossings(members: _Members, columns: list[list[int]]) -> int:
    found = 0
    place = {k: row for column in columns for row, k in enumerate(column)}
    for column in columns:
        ends = [(place[k], place[j]) for k in column for j in members.after[k]]
        starts, stops = np.array(ends).reshape(-1, 2).T
        found += int(((starts[:, None] < starts) & (stops[:, None] > stops)).sum())
    return found


def _heights(members: _Members, columns: list[list[int]]) -> NDArray[np.float64]:
    """Vertical places: near the neighbours', no closer to the next in the column than allowed."""
    from scipy.optimize import isotonic_regression

    offsets = []
    for column in columns:
        steps = [_distance(members, a, b) for a, b in itertools.pairwise(column)]
        offset = np.cumsum([0.0, *steps])
        offsets.append(offset - offset[-1] / 2)
    y = np.zeros(len(members.depth))
    for column, offset in zip(columns, offsets, strict=True):
        y[column] = offset
    weight = np.array([1.0 if members.is_box(k) else 3.0 for k in range(len(y))])
    both = [[*a, *b] for a, b in zip(members.before, members.after, strict=True)]
    before, after, around = (
        [(np.array(own, dtype=int), weight[own], weight[own].sum()) for own in sides]
        for sides in (members.before, members.after, both)
    )
    for sweep in range(SWEEPS):
        forth = sweep % 2 == 0
        sides = around if sweep >= SWEEPS - 4 else before if forth else after
        for c in range(len(columns)) if forth else range(len(columns))[::-1]:
            column, offset = columns[c], offsets[c]
            wanted = y[column] - offset
            for row, k in enumerate(column):
                own, shares, total = sides[k]
                if len(own):
                    wanted[row] = (y[own] * shares).sum() / total - offset[row]
            if len(column) > 1:
                wanted = isotonic_regression(wanted, weights=weight[column]).x
            y[column] = wanted + offset
    return y


def _distance(members: _Members, a: int, b: int) -> float:
    boxes = members.is_box(a) + members.is_box(b)
    least = (BETWEEN_LINES, BESIDE_BOX, BETWEEN_BOXES)[boxes]
    return (members.sizes[a][1] + members.sizes[b][1]) / 2 + least


def _sides(
    members: _Members, columns: list[list[int]], y: NDArray[np.float64]
) -> tuple[list[float], list[float]]:
    """Left and right ends of every column, within which edges are straight."""
    left, right, x = [], [], 0.0
    for column in columns:
        left.append(x)
        right.append(x + max(members.sizes[k][0] for k in column))
        steepest = max((abs(y[k] - y[j]) for k in column for j in members.after[k]), default=0.0)
        x = right[-1] + float(np.clip(0.3 * steepest, *GAPS))
    return left, right


def _routes(
    sizes: Sequence[Size],
    edges: Sequence[Edge],
    depth: list[int],
    members: _Members,
    places: NDArray[np.float64],
    y: NDArray[np.float64],
    left: list[float],
    right: list[float],
) -> dict[Edge, NDArray[np.float64]]:
    ports = _ports(sizes, edges, depth, members, y)
    routes = {}
    for i, j in edges:
        points = [np.array([[places[i, 0] + sizes[i][0] / 2, y[i]]])]
        height = y[i]
        for column in range(depth[i] + 1, depth[j] + 1):
            is_last = column == depth[j]
            own = ports[i, j] if is_last else y[members.ways[i, column]]
            end = left[column] - (HEAD if is_last else 0)
            points.append(_bend((right[column - 1], height), (end, own)))
            height = own
        points.append(np.array([[places[j, 0] - sizes[j][0] / 2, height]]))
        routes[i, j] = np.concatenate(points)
    return routes


def _ports(
    sizes: Sequence[Size],
    edges: Sequence[Edge],
    depth: list[int],
    members: _Members,
    y: NDArray[np.float64],
) -> dict[Edge, float]:
    """The height at which every edge enters its box, in the order in which the edges come."""
    entering: dict[int, list[tuple[float, int]]] = {}
    for i, j in edges:
        last = members.ways.get((i, depth[j] - 1), i)
        entering.setdefault(j, []).append((float(y[last]), i))
    found = {}
    for j, ends in entering.items():
        step = PORTS * sizes[j][1] / max(len(ends) - 1, 4)
        for place, (_, i) in zip(_spread(len(ends)), sorted(ends), strict=True):
            found[i, j] = float(y[j] + place * step)
    return found


def _bend(start: tuple[float, float], end: tuple[float, float]) -> NDArray[np.float64]:
    """A cubic curve, level at both ends [SAMPLES, 2]."""
    t = np.linspace(0, 1, SAMPLES)
    rise = t * t * (3 - 2 * t)
    return np.stack(
        [start[0] + t * (end[0] - start[0]), start[1] + rise * (end[1] - start[1])], axis=1
    )
