"""Dominance and hypervolume against their definitions, counted on a grid and by pairs."""

from __future__ import annotations

import numpy as np
import pytest

from gnas.search import pareto


def dominates(a: np.ndarray, b: np.ndarray) -> bool:
    return bool((a >= b).all() and (a > b).any())


@pytest.fixture(params=[1, 2, 3, 4])
def values(request: pytest.FixtureRequest) -> np.ndarray:
    """Whole numbers, so that ties occur and a grid of unit boxes is exact."""
    rng = np.random.default_rng(request.param)
    return rng.integers(0, 6, (12, request.param)).astype(float)


def boxes(values: np.ndarray) -> int:
    """Unit boxes above 0 that some row dominates."""
    grid = np.indices((6,) * values.shape[1]).reshape(values.shape[1], -1).T
    return sum(any((box + 1 <= row).all() for row in values) for box in grid)


def test_the_front_is_what_none_dominates(values: np.ndarray) -> None:
    front = pareto.non_dominated(values)
    expected = [i for i, a in enumerate(values) if not any(dominates(b, a) for b in values)]
    assert {tuple(values[i]) for i in front} == {tuple(values[i]) for i in expected}
    assert len({tuple(values[i]) for i in front}) == len(front)
    assert (np.diff(values[front, 0]) <= 0).all()
    violation = np.arange(len(values), dtype=np.float64) % 3
    kept = [i for i in range(len(values)) if violation[i] == 0]
    allowed = pareto.non_dominated(values, violation)
    assert allowed == [kept[i] for i in pareto.non_dominated(values[kept])]


def test_hypervolume_counts_the_dominated_boxes(values: np.ndarray) -> None:
    reference = np.zeros(values.shape[1])
    assert pareto.hypervolume(values, reference) == boxes(values)
    assert pareto.hypervolume(values, reference + 6) == 0
    assert pareto.hypervolume(values[:0], reference) == 0


def test_improvement_is_the_difference_of_two_hypervolumes(values: np.ndarray) -> None:
    reference = np.zeros(values.shape[1])
    front, points = values[:5], values[5:]
    before = pareto.hypervolume(front, reference)
    expected = [
        pareto.hypervolume(np.vstack([front, point]), reference) - before for point in points
    ]
    found = pareto.hypervolume_improvement(points, front, reference)
    if values.shape[1] < 3:
        assert found == pytest.approx(expected)
    else:
        spread = 5.0 ** values.shape[1] / np.sqrt(pareto.POINTS)
        assert np.abs(found - expected).max() < 3 * spread * 0.5
        assert np.corrcoef(found, expected)[0, 1] > 0.95
    alone = pareto.hypervolume_improvement(points, front[:0], reference)
    if values.shape[1] < 3:
        assert alone == pytest.approx([float(np.prod(point)) for point in points])


def test_survival_is_by_rank_then_crowding_then_violation(values: np.ndarray) -> None:
    violation = np.where(np.arange(len(values)) % 4 == 3, values[:, 0] + 1, 0.0)
    order = pareto.pareto_order(values, violation).tolist()
    assert sorted(order) == list(range(len(values)))
    good = [i for i in order if violation[i] == 0]
    assert order[: len(good)] == good and (np.diff(violation[order[len(good) :]]) >= 0).all()
    rank: dict[int, int] = {}
    left = set(good)
    while left:  # by definition
        first = {i for i in left if not any(dominates(values[j], values[i]) for j in left)}
        rank |= dict.fromkeys(first, len(set(rank.values())))
        left -= first
    assert [rank[i] for i in good] == sorted(rank.values())
    for level in set(rank.values()):
        members = [i for i in good if rank[i] == level]
        apart = pareto.crowding(values[sorted(members)])
        by_row = dict(zip(sorted(members), apart.tolist(), strict=True))
        assert [by_row[i] for i in members] == sorted(by_row.values(), reverse=True)


def test_crowding_of_a_line() -> None:
    line = np.array([[0.0, 4.0], [1.0, 3.0], [3.0, 1.0], [4.0, 0.0]])
    assert pareto.crowding(line).tolist() == [np.inf, 1.5, 1.5, np.inf]
