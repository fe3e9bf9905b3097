from __future__ import annotations

import numpy as np
import pytest
import torch

from gnas.errors import GraphError
from gnas.graphs import DenseBatch, architecture
from gnas.predictors import Embedding, FeatureUnion, OneHot, OneHotOps, PathStatistics
from gnas.spaces import NASGEM, NASBench101, NASBench201


def test_one_hot_by_hand() -> None:
    graph = architecture([[0, 1, 1], [0, 0, 1], [0, 0, 0]], [0, 2, 4], 5)
    batch = DenseBatch.from_data([graph])
    rows = OneHot(4, 5)(batch)
    ops = [1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]
    assert rows.tolist() == [[1, 1, 0, 1, 0, 0, *ops]]
    assert OneHotOps(4, 5)(batch).tolist() == [ops]
    assert OneHot(4, 5, with_counts=True)(batch)[0, -5:].tolist() == [1, 0, 1, 0, 1]
    joined = FeatureUnion((OneHotOps(4, 5), OneHot(4, 5)))
    assert joined(batch).tolist() == [[*ops, 1, 1, 0, 1, 0, 0, *ops]]
    assert joined.name == "ops + adjacency + ops"


def test_one_hot_of_edge_ops(rng: np.random.Generator) -> None:
    space = NASBench201()
    cells = space.sample_batch(50, rng)
    rows = OneHot(4, 3, num_edge_ops=4)(cells)
    assert rows.shape == (50, 6 * 4 + 4 * 3)
    upper = cells.adjacency[:, *torch.triu_indices(4, 4, 1)].numpy()
    weights = np.arange(1, 5)
    assert (rows[:, :24].reshape(50, 6, 4) @ weights == upper).all()


def test_embedding_is_what_the_encoder_says(rng: np.random.Generator) -> None:
    class Degrees:
        name = "degrees"

        def encode(self, graphs: DenseBatch) -> torch.Tensor:
            return graphs.adjacency.sum(1).float()

    cells = NASBench101().sample_batch(5, rng)
    features = Embedding(Degrees())
    assert features.name == "degrees"
    assert (features(cells) == cells.adjacency.sum(1).numpy()).all()


@pytest.mark.parametrize(
    "features", [OneHot(7, 5), OneHotOps(7, 5), PathStatistics(NASBench101())]
)
def test_foreign_graphs_are_refused(features: OneHot, rng: np.random.Generator) -> None:
    with pytest.raises(GraphError, match="must have 5 node ops and no edge ops"):
        features(NASBench201().sample_batch(3, rng))
    with pytest.raises(GraphError, match="must have 5 node ops"):
        features(NASGEM(5).sample_batch(3, rng))
    big = architecture(np.triu(np.ones((8, 8), dtype=int), 1), [0, 1, 1, 1, 1, 1, 1, 4], 5)
    with pytest.raises(GraphError, match="at most 7 nodes"):
        features(DenseBatch.from_data([big]))
    with pytest.raises(GraphError, match=r"edge_op must be in \[0, 2\)"):
        OneHot(4, 3, num_edge_ops=2)(NASBench201().enumerate())
