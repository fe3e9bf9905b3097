"""Figure 3 of the paper in numbers: how smooth the score is over the space of graph vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnas.data.files import atomic_write, utf8_path
from gnas.errors import DataError, MissingDataError
from gnas.graphs import DenseBatch
from gnas.predictors import Predictor
from gnas.predictors.features import feature_rows

Values = NDArray[np.float64]

NEIGHBOURS = 10
"""Cells of which the mean score is the local average."""
NUM_FOLDS = 5
MAX_EXACT_CELLS = 5_000
"""Cells of the pool among which neighbours are searched in all coordinates."""
FILE = "surface.safetensors"


@dataclass(frozen=True)
class Surface:
    """Predicted scores of the pool, and trained ones, over two principal components."""

    points: Values
    """Coordinates of the pool's cells, float [M, 2]."""
    predicted: Values
    """Their predicted scores, float [M]."""
    trained_points: Values
    """Coordinates of the trained cells, float [T, 2]."""
    trained: Values
    """Their scores, float [T]."""
    numbers: dict[str, float]
    """Share of variance of the two components, and R2 of local averages; see `surface`."""


def surface(
    predictor: Predictor,
    width: int | None,
    pool: DenseBatch,
    cells: DenseBatch,
    scores: Values,
) -> Surface:
    """The score surface of a predictor over the two principal components of what it reads.

    ``numbers`` holds the share of the score's variance that the mean score of the 10 nearest
    other cells explains (R2, cross-validated): of the predicted scores of the pool and of the
    scores of trained cells, each by distance in the plane and in all coordinates. Only the
    trained scores were measured: that of predicted ones says how smooth the predictor is, which
    no error of it can lower.

    Args:
        predictor: Fitted here on ``cells`` and ``scores``, unless all of these are equal.
        width: Number of leading feature columns to map; None for all.
        pool: M cells.
        cells: T trained cells.
        scores: Their scores, float [T].

    Source: Cheng et al., NASGEM, AAAI 2021, section 4.1 and figure 3.
    """
    from sklearn.decomposition import PCA

    rows, known = (feature_rows(predictor.features, graphs) for graphs in (pool, cells))
    predicted = np.full(len(rows), scores[0])
    if np.ptp(scores) > 0:
        predicted = predictor.fit_features(known, scores).predict_features(rows)
    vectors, own = rows[:, :width], known[:, :width]
    components = PCA(2, svd_solver="covariance_eigh").fit(vectors)
    points, own_points = components.transform(vectors), components.transform(own)
    part = slice(None, MAX_EXACT_CELLS)
    numbers = {
        "explained_variance": float(components.explained_variance_ratio_.sum()),
        "predicted_r2_plane": local_r2(points, predicted),
        "predicted_r2_full": local_r2(vectors[part], predicted[part]),
        "trained_r2_plane": local_r2(own_points, scores, folds=len(scores)),
        "trained_r2_full": local_r2(own, scores, folds=len(scores)),
    }
    return Surface(points, predicted, own_points, scores, numbers)


def local_r2(points: Values, scores: Values, *, folds: int = NUM_FOLDS) -> float:
    """Cross-validated R2 of the mean score of the `NEIGHBOURS` nearest cells; NaN if undefined.

    Args:
        points: Coordinates, float [N, d].
        scores: float [N].
        folds: Parts, each averaged over neighbours of the others; N leaves one out at a time.
    """
    from sklearn.metrics import r2_score
    from sklearn.neighbors import KNeighborsRegressor

    if len(scores) < 3 or np.ptp(scores) == 0:
        return float("nan")
    folds = min(folds, len(scores))
    fold = np.arange(len(scores)) % folds
    smallest = len(scores) - int((fold == 0).sum())
    local = np.empty(len(scores))
    for k in range(folds):
        model = KNeighborsRegressor(min(NEIGHBOURS, smallest)).fit(
            points[fold != k], scores[fold != k]
        )
        local[fold == k] = model.predict(points[fold == k])
    return float(r2_score(scores, local))


def save_surfaces(surfaces: Mapping[str, Surface], folder: Path) -> None:
    """Write what the figure is drawn from into a run's folder, float32.

    Raises:
        DataError: writing failed.
    """
    from safetensors.numpy import save

    arrays = {
        f"{name}.{part}": np.ascontiguousarray(getattr(one, part), dtype=np.float32)
        for name, one in surfaces.items()
        for part in ("points", "predicted", "trained_points", "trained")
    }
    with atomic_write(folder / FILE) as temporary:
        temporary.write_bytes(save(arrays))


def load_surfaces(folder: Path, numbers: Mapping[str, dict[str, Any]]) -> dict[str, Surface]:
    """The surfaces that `save_surfaces` wrote.

    Args:
        folder: The run's.
        numbers: `Surface.numbers` by name, from the run's result.

    Raises:
        MissingDataError: there are none.
        DataError: the file is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = folder / FILE
    if not path.is_file():
        raise MissingDataError(f"a finished search must have {FILE}, but {folder} has none")
    try:
        with utf8_path(path) as readable:
            arrays = load_file(readable)
        return {
            name: Surface(
                points=arrays[f"{name}.points"].astype(np.float64),
                predicted=arrays[f"{name}.predicted"].astype(np.float64),
                trained_points=arrays[f"{name}.trained_points"].astype(np.float64),
                trained=arrays[f"{name}.trained"].astype(np.float64),
                numbers=own,
            )
            for name, own in numbers.items()
        }
    except (OSError, SafetensorError, KeyError) as error:
        raise DataError(f"{path} must be whole, but cannot be read: {error}") from error
