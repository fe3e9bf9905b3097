from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gnas.errors import DataError, MissingDataError
from gnas.graphs import DenseBatch
from gnas.metrics import kendall_tau
from gnas.predictors import MLP, OneHot
from gnas.search.nasgem.learning import Learner, quality
from gnas.search.nasgem.surface import (
    FILE,
    load_surfaces,
    local_r2,
    save_surfaces,
    surface,
)
from gnas.spaces import NASGEM

SPACE = NASGEM(8)


def cells_and_scores(count: int, rng: np.random.Generator) -> tuple[DenseBatch, np.ndarray]:
    cells = SPACE.sample_batch(count, rng)
    return cells, -cells.adjacency.sum((1, 2)).double().numpy() / 28


def test_a_local_average_explains_what_is_smooth(rng: np.random.Generator) -> None:
    points = rng.uniform(-1, 1, (600, 2))
    assert local_r2(points, points[:, 0] + points[:, 1] ** 2) > 0.95
    assert local_r2(points, rng.normal(size=600)) < 0.05
    assert local_r2(points[:100], points[:100, 0], folds=100) > 0.8
    assert np.isnan(local_r2(points, np.ones(600))) and np.isnan(
        local_r2(points[:2], points[:2, 0])
    )


def test_leaving_one_out_is_the_mean_of_the_others_nearest(rng: np.random.Generator) -> None:
    points, scores = rng.normal(size=(25, 2)), rng.normal(size=25)
    distances = np.linalg.norm(points[:, None] - points, axis=2)
    np.fill_diagonal(distances, np.inf)
    local = scores[np.argsort(distances, axis=1)[:, :10]].mean(1)
    expected = 1 - ((scores - local) ** 2).sum() / ((scores - scores.mean()) ** 2).sum()
    assert local_r2(points, scores, folds=25) == pytest.approx(expected)


def test_a_surface_and_its_file(tmp_path: Path, rng: np.random.Generator) -> None:
    cells, scores = cells_and_scores(40, rng)
    pool = SPACE.sample_batch(500, rng)
    raw = OneHot(8, 2)
    one = surface(MLP(raw), None, pool, cells, scores)
    assert one.points.shape == (500, 2) and np.isfinite(one.predicted).all()
    assert one.numbers["predicted_r2_full"] > 0.2 and 0 < one.numbers["explained_variance"] < 1
    save_surfaces({"raw": one}, tmp_path)
    again = load_surfaces(tmp_path, {"raw": one.numbers})["raw"]
    assert np.allclose(again.points, one.points, atol=1e-5)
    assert np.allclose(again.trained, scores, atol=1e-6) and again.numbers == one.numbers
    with pytest.raises(MissingDataError, match=r"must have surface\.safetensors"):
        load_surfaces(tmp_path / "none", {})
    (tmp_path / FILE).write_bytes(b"short")
    with pytest.raises(DataError, match="must be whole"):
        load_surfaces(tmp_path, {"raw": one.numbers})


def test_the_learner_foresees_before_it_is_told(rng: np.random.Generator) -> None:
    cells, scores = cells_and_scores(40, rng)
    learner = Learner(MLP(OneHot(8, 2)), cells, 10)
    told = [(learner.foresee(row), learner.add(row, score)) for row, score in enumerate(scores)]
    assert [predicted is None for predicted, _ in told] == [True] * 10 + [False] * 30
    updates = [news for _, news in told if news is not None]
    assert [news["seen"] for news in updates] == [10, 20, 30, 40]
    assert "kendall_tau" not in updates[0]
    before = np.array([predicted for predicted, _ in told[20:30]], dtype=float)
    assert updates[2]["kendall_tau"] == kendall_tau(before, scores[20:30])
    assert updates[3]["best_score"] == scores.max()
    curve = learner.curve()
    assert [(line["seen"], line["unseen"]) for line in curve] == [(10, 30), (20, 20), (30, 10)]
    assert curve[2]["kendall_tau"] > 0.2
    fitted = learner.finish()
    assert kendall_tau(fitted.predict(cells), scores) > 0.8


def test_the_learner_skips_what_failed(rng: np.random.Generator) -> None:
    cells, scores = cells_and_scores(12, rng)
    learner = Learner(MLP(OneHot(8, 2)), cells, 5)
    for row in range(0, 12, 2):
        learner.add(row, scores[row])
    expected = MLP(OneHot(8, 2)).fit(cells[list(range(0, 12, 2))], scores[::2]).predict(cells)
    assert np.array_equal(learner.finish().predict(cells), expected)


def test_quality_that_is_not_defined() -> None:
    assert quality(np.ones(1), np.ones(1)) == {"kendall_tau": None, "r2": None}
    assert quality(np.ones(3), np.arange(3.0))["kendall_tau"] is None
    found = quality(np.arange(4.0), np.arange(4.0))
    assert found == {"kendall_tau": 1.0, "r2": 1.0}
