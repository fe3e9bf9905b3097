from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from gnas.errors import ConfigError, GraphError
from gnas.graphs import DenseBatch, architecture
from gnas.predictors import (
    Embedding,
    FeatureUnion,
    GaussianProcess,
    OneHot,
    OneHotOps,
    PathStatistics,
)
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


class _Own:
    """An encoder and features of a user, that return the sizes of graphs in some form."""

    name = "own"

    def __init__(self, form: Callable[[torch.Tensor], object]) -> None:
        self._form = form

    def encode(self, graphs: DenseBatch) -> Any:
        return self._form(graphs.num_nodes.float()[:, None])  # [N, 1]

    __call__ = encode


FORMS: dict[str, Callable[[torch.Tensor], object]] = {
    "needs gradients": lambda sizes: torch.nn.Parameter(sizes),
    "bfloat16": lambda sizes: sizes.bfloat16(),
    "int": lambda sizes: sizes.long(),
    "numpy": lambda sizes: sizes.numpy(),
    "list": lambda sizes: sizes.tolist(),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_rows_of_ones_own_are_taken_in_any_form(
    form: Callable[[torch.Tensor], object], rng: np.random.Generator
) -> None:
    cells = NASBench101().sample_batch(20, rng)
    sizes = cells.num_nodes.numpy().astype(float)[:, None]
    own = _Own(form)
    rows = Embedding(own)(cells)
    assert rows.dtype == np.float64 and (rows == sizes).all()
    assert (FeatureUnion((own, OneHotOps(7, 5)))(cells)[:, :1] == sizes).all()
    plain = GaussianProcess(_Own(lambda sizes: sizes.double().numpy()))
    expected = plain.fit(cells, sizes[:, 0]).predict(cells)
    for features in (own, Embedding(own)):
        assert (GaussianProcess(features).fit(cells, sizes[:, 0]).predict(cells) == expected).all()


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (lambda sizes: sizes[:1], r"'own' must return one row .* \[20, F\], .* is \[1, 1\]"),
        (lambda sizes: sizes[:, 0], r"'own' must return one row .* shape is \[20\]"),
        (lambda sizes: sizes[None], r"'own' must return one row .* shape is \[1, 20, 1\]"),
        (lambda _: None, r"'own' must return one row .* shape is \[\]"),
        (lambda sizes: sizes + 1j, "rows of 'own' must be numbers"),
        (lambda sizes: sizes.to_sparse(), "rows of 'own' must be numbers"),
        (lambda sizes: sizes.to("meta"), "rows of 'own' must be numbers, but got .*'meta'"),
    ],
    ids=["one row", "no columns", "an axis more", "nothing", "complex", "sparse", "no values"],
)
def test_rows_of_ones_own_that_cannot_be_right(
    form: Callable[[torch.Tensor], object], message: str, rng: np.random.Generator
) -> None:
    cells = NASBench101().sample_batch(20, rng)
    own = _Own(form)
    for features in (own, Embedding(own), FeatureUnion((own, OneHotOps(7, 5)))):
        with pytest.raises(ConfigError, match=message):
            GaussianProcess(features).fit(cells, np.arange(20.0))
    model = GaussianProcess(OneHotOps(7, 5)).fit(cells, np.arange(20.0))
    model.features = own
    with pytest.raises(ConfigError, match=message):
        model.predict(cells)


def test_features_and_encoders_may_change_the_graphs_that_they_get(
    rng: np.random.Generator,
) -> None:
    class Careless(_Own):
        def encode(self, graphs: DenseBatch) -> Any:
            graphs.ops[graphs.ops < 0] = 0  # so that the numbers are indices
            graphs.adjacency.zero_()
            return super().encode(graphs)

        __call__ = encode

    cells = NASBench101().sample_batch(20, rng)
    own, plain = Careless(torch.Tensor.numpy), OneHot(7, 5)
    expected, before = plain(cells), cells.clone()
    for features in (own, Embedding(own)):
        assert (FeatureUnion((features, plain))(cells)[:, 1:] == expected).all()
        GaussianProcess(features).fit(cells, np.arange(20.0)).predict(cells)
    assert cells.row_bytes() == before.row_bytes()


def test_features_have_a_name() -> None:
    def sizes(graphs: DenseBatch) -> np.ndarray[Any, Any]:
        return graphs.num_nodes.double().numpy()[:, None]

    for bad in (sizes, OneHot):
        with pytest.raises(ConfigError, match="features must"):
            GaussianProcess(bad)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="each of parts must"):
            FeatureUnion((bad,))  # type: ignore[arg-type]


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
