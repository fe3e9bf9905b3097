"""What the perceptron gains by reading shipped embeddings, on fixed draws of shipped labels.

Every draw, weight and label is fixed, so these numbers do not change from run to run; bounds leave
room for other machines' rounding.
"""

from __future__ import annotations

import numpy as np
import pytest

from gnas.data import load_table
from gnas.encoders import load_encoder
from gnas.graphs import DenseBatch
from gnas.metrics import kendall_tau
from gnas.models import nasbench201_num_params
from gnas.predictors import MLP, Embedding, Features, OneHot
from gnas.predictors.targets import Scores
from gnas.spaces import NASBench201


def mean_tau(features: Features, cells: DenseBatch, scores: Scores, samples: int) -> float:
    """Mean over six draws of Kendall's tau on the cells that are no samples."""
    rows = features(cells)
    found = []
    for seed in range(6):
        order = np.random.default_rng([31, seed]).permutation(len(cells))
        few, rest = order[:samples], order[samples:]
        predictor = MLP(features, random_state=seed).fit_features(rows[few], scores[few])
        found.append(kendall_tau(predictor.predict_features(rows[rest]), scores[rest]))
    return float(np.mean(found))


@pytest.mark.parametrize(("samples", "least"), [(100, 0.03), (500, 0.0)])
def test_nasbench101_embedding_beats_the_raw_matrix(samples: int, least: float) -> None:
    table = load_table("nasbench101-mini")
    embedding = Embedding(load_encoder("nasgem-nasbench101"))
    scores = table.val_acc()
    raw = mean_tau(OneHot(7, 5), table.graphs, scores, samples)
    assert mean_tau(embedding, table.graphs, scores, samples) - raw > least


def test_nasbench201_embedding_beats_the_raw_matrix() -> None:
    """On a made-up truth that dead operations do not enter: parameters that data goes through."""
    space = NASBench201()
    cells = space.enumerate()[::10]
    scores = nasbench201_num_params(space.representative(cells)).astype(np.float64)
    embedding = Embedding(load_encoder("nasgem-nasbench201"))
    raw = mean_tau(OneHot(4, 3, 4), cells, scores, 100)
    assert mean_tau(embedding, cells, scores, 100) - raw > 0.05


def test_embeddings_do_not_depend_on_numbering_nor_on_dead_operations(
    rng: np.random.Generator,
) -> None:
    space = NASBench201()
    cells = space.sample_batch(200, rng)
    encoder = load_encoder("nasgem-nasbench201")
    same = encoder.encode(space.representative(cells))
    np.testing.assert_allclose(encoder.encode(cells).numpy(), same.numpy(), atol=1e-5)
