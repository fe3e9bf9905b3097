"""Several objectives at once: dominance, crowding and hypervolume. Larger is better everywhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Indices = NDArray[np.int64]

POINTS = 2_000
"""Choice: random points by which improvements in more than two objectives are estimated."""
CHUNK_SIZE = 500_000
"""Numbers of a block of comparisons."""


def non_dominated(values: Values, violation: Values | None = None) -> list[int]:
    """The rows of the Pareto front, best in the first objective first; of equal rows the first.

    Only rows that break the bounds least are on it.

    Args:
        values: Objectives of N architectures, float64 [N, M].
        violation: By how much each breaks the bounds [N]; None for not at all.

    Examples:
        >>> non_dominated(np.array([[1.0, 1.0], [2.0, 0.0], [0.0, 0.5]]))
        [1, 0]
    """
    if not len(values):
        return []
    allowed = np.ones(len(values), bool) if violation is None else violation == violation.min()
    order = [i for i in np.lexsort(-values.T[::-1]).tolist() if allowed[i]]
    front = np.empty((0, values.shape[1]))
    found: list[int] = []
    for i in order:  # rows that dominate i come before it
        if not (front >= values[i]).all(1).any():
            front = np.vstack([front, values[i]])
            found.append(i)
    return found


def pareto_order(values: Values, violation: Values | None = None) -> Indices:
    """The order of survival in NSGA-II: int64 [N], the fittest row first.

    By non-dominated rank, within a rank by crowding distance; rows that break the bounds come
    last, those that break them least first.

    Args:
        values: Objectives, float64 [N, M].
        violation: By how much each row breaks the bounds [N]; None for not at all.

    Source: Deb et al., A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II, IEEE
    Transactions on Evolutionary Computation 2002, sections III and VI.
    """
    broken = np.zeros(len(values)) if violation is None else violation
    left = np.flatnonzero(broken == 0)
    order: list[int] = []
    while len(left):
        front = left[_first_front(values[left])]
        order += front[np.argsort(-crowding(values[front]), kind="stable")].tolist()
        left = np.setdiff1d(left, front)
    rest = np.flatnonzero(broken > 0)
    order += rest[np.argsort(broken[rest], kind="stable")].tolist()
    return np.array(order, dtype=np.int64)


def _first_front(values: Values) -> NDArray[np.bool_]:
    """Mask of the non-dominated rows, equal ones included: bool [N]."""
    at_least = (values[:, None] >= values[None]).all(2)  # [i, j]: i is nowhere worse than j
    return np.asarray(~(at_least & ~at_least.T).any(0), dtype=bool)


def crowding(values: Values) -> Values:
    """Crowding distance of each row, summed over the objectives: float64 [N].

    Infinite at both ends of every objective.
    """
    n, m = values.shape
    distance = np.zeros(n)
    for k in range(m):
        order = np.argsort(values[:, k], kind="stable")
        column = values[order, k]
        gaps = np.full(n, np.inf)
        width = column[-1] - column[0] if n else 0.0
        if n > 2:
            gaps[1:-1] = (column[2:] - column[:-2]) / width if width else 0.0
        distance[order] += gaps
    return distance


def hypervolume(values: Values, reference: Values) -> float:
    """The volume that the rows dominate above a reference point; exact.

    Args:
        values: Objectives, float64 [N, M].
        reference: The corner from which volume counts, float64 [M].

    Source: Zitzler and Thiele, Multiobjective Optimization Using Evolutionary Algorithms, PPSN
    1998; by slices of the last objective.

    Examples:
        >>> hypervolume(np.array([[2.0, 1.0], [1.0, 3.0]]), np.zeros(2))
        4.0
    """
    above = values[(values > reference).all(1)]
    if not len(above):
        return 0.0
    if values.shape[1] == 1:
        return float(above.max() - reference[0])
    above = above[np.argsort(-above[:, -1], kind="stable")]
    floors = np.append(above[1:, -1], reference[-1])
    volume = 0.0
    for k in range(len(above)):  # the slab between row k and the next lower one
        height = above[k, -1] - floors[k]
        if height > 0:
            rows = above[: k + 1, :-1]
            if rows.shape[1] > 1:
                rows = rows[non_dominated(rows)]
            volume += height * hypervolume(rows, reference[:-1])
    return float(volume)


def hypervolume_improvement(points: Values, front: Values, reference: Values) -> Values:
    """By how much each point alone would enlarge the hypervolume of a front: float64 [N].

    Exact for one and two objectives; for more, estimated by `POINTS` fixed random points.

    Args:
        points: Objectives, float64 [N, M].
        front: Known front, float64 [F, M].
        reference: See `hypervolume`, float64 [M].
    """
    m = points.shape[1]
    front = front[(front > reference).all(1)]
    if m == 1:
        best = np.max(front, initial=reference[0])
        gain: Values = np.maximum(points[:, 0] - best, 0.0)
        return gain
    if m == 2:
        return _strips(points, front[non_dominated(front)][::-1], reference)
    return _sampled(points, front, reference)


def _strips(points: Values, front: Values, reference: Values) -> Values:
    """Two objectives: strip by strip between the front's members, ascending in the first."""
    left = np.concatenate([[reference[0]], front[:, 0]])  # [F + 1]
    right = np.concatenate([front[:, 0], [np.inf]])
    floor = np.concatenate([front[:, 1], [reference[1]]])
    gain = np.zeros(len(points))
    for begin, end, low in zip(left, right, floor, strict=True):
        width = np.clip(np.minimum(points[:, 0], end) - begin, 0.0, None)
        gain += width * np.clip(points[:, 1] - low, 0.0, None)
    return gain


def _sampled(points: Values, front: Values, reference: Values) -> Values:
    upper = np.maximum(np.vstack([points, front]).max(0), reference)
    sizes = upper - reference
    drawn = reference + np.random.default_rng(0).random((POINTS, len(reference))) * sizes
    for member in front:  # what is dominated already is no improvement
        drawn = drawn[~(drawn <= member).all(1)]
    share = np.zeros(len(points))
    step = max(1, CHUNK_SIZE // max(1, drawn.size))
    for start in range(0, len(points), step):
        part = points[start : start + step]
        share[start : start + step] = (drawn[None] <= part[:, None]).all(2).sum(1)
    gain: Values = share / POINTS * float(np.prod(sizes))
    return gain
