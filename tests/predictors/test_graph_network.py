from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gnas.encoders import GraphEncoder, GraphEncoderConfig, load_encoder, pretrain
from gnas.encoders.config import GraphNetworkName
from gnas.errors import ConfigError, GraphError, UnsupportedError
from gnas.graphs import architecture
from gnas.metrics import kendall_tau
from gnas.predictors import (
    LOSSES,
    MLP,
    ARDGaussianProcess,
    Average,
    Embedding,
    Forest,
    GraphNetwork,
    OneHot,
    OnPackedGraphs,
    PackedGraphs,
    PathStatistics,
    default_predictor,
    graph_network,
)
from gnas.spaces import SPACES, NASBench101, NASBench201, Vocabulary

SPACE = NASBench201()
CELLS = SPACE.sample_batch(120, np.random.default_rng(3))
CONVS = SPACE.functional_form(CELLS).ops
SCORES = ((CONVS == 5).sum(1) + 0.4 * (CONVS == 4).sum(1)).double().numpy()
"""3x3 convolutions count, 1x1 ones a little."""


def encoder(network: GraphNetworkName = "dag", seed: int = 0) -> GraphEncoder:
    config = GraphEncoderConfig(
        vocabulary=Vocabulary.of(SPACE), network=network, width=12, dim=8, steps=100, seed=seed
    )
    return GraphEncoder(config).eval()


@pytest.mark.parametrize(
    ("network", "loss"),
    [*(("dag", loss) for loss in sorted(LOSSES)), ("gin", "bce"), ("gps", "bce")],
)
def test_networks_learn_end_to_end(network: GraphNetworkName, loss: str) -> None:
    model = GraphNetwork(encoder(network), loss=loss, members=1, epochs=40, body_rate=1.0)
    model.fit(CELLS[:80], SCORES[:80])
    assert kendall_tau(model.predict(CELLS[80:]), SCORES[80:]) > 0.6
    predicted = model.predict(CELLS[:80])
    assert abs(predicted.mean() - SCORES[:80].mean()) < 0.5


def test_same_seed_same_result_and_the_encoder_is_left_alone() -> None:
    start = encoder()
    before = start.encode(CELLS)
    models = [
        GraphNetwork(start, epochs=2, random_state=seed).fit(CELLS, SCORES) for seed in (5, 5, 6)
    ]
    first, second, third = (model.predict(CELLS) for model in models)
    assert np.array_equal(first, second)
    assert not np.array_equal(first, third)
    assert torch.equal(start.encode(CELLS), before)
    assert all(p.requires_grad for p in start.parameters())


def test_members_differ_and_tell_how_unsure_they_are() -> None:
    model = GraphNetwork(SPACE, members=3, epochs=3).fit(CELLS, SCORES)
    mean, deviation = model.predict(CELLS, return_std=True)
    assert np.array_equal(mean, model.predict(CELLS))
    assert (deviation > 0).all()
    alone = GraphNetwork(encoder(), members=1, gaussian_process=False, epochs=1)
    with pytest.raises(UnsupportedError, match="knows its uncertainty"):
        alone.fit(CELLS, SCORES).predict(CELLS, return_std=True)


def test_the_process_is_one_on_the_embedding_before_training() -> None:
    start = encoder()
    both = GraphNetwork(start, members=2, epochs=3, random_state=4).fit(CELLS[:60], SCORES[:60])
    networks = GraphNetwork(start, members=2, epochs=3, random_state=4, gaussian_process=False)
    gaussian_process = ARDGaussianProcess(Embedding(start), random_state=4)
    a, b = (model.fit(CELLS[:60], SCORES[:60]) for model in (networks, gaussian_process))
    mean, deviation = both.predict(CELLS, return_std=True)
    assert np.allclose(mean, (2 * a.predict(CELLS) + b.predict(CELLS)) / 3, atol=1e-3)
    assert (deviation > b.predict(CELLS, return_std=True)[1] - 1e-3).all()
    three = GraphNetwork([start, encoder(seed=1)], members=2, epochs=3, random_state=4)
    other = ARDGaussianProcess(Embedding(encoder(seed=1)), random_state=4).fit(
        CELLS[:60], SCORES[:60]
    )
    processes = (b.predict(CELLS) + other.predict(CELLS)) / 2
    expected = (2 * a.predict(CELLS) + processes) / 3
    found = three.fit(CELLS[:60], SCORES[:60]).predict(CELLS)
    assert np.allclose(found, expected, atol=1e-3)
    copy = both.reseeded(4)
    assert np.array_equal(copy.fit(CELLS[:60], SCORES[:60]).predict(CELLS), mean)


def test_cells_that_compute_the_same_get_the_same_score() -> None:
    model = GraphNetwork(SPACE, members=1, epochs=1).fit(CELLS, SCORES)
    texts = (
        "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|skip_connect~1|none~2|",
        "|nor_conv_3x3~0|+|avg_pool_3x3~0|nor_conv_1x1~1|+|none~0|skip_connect~1|none~2|",
    )
    first, second = model.predict([SPACE.from_str(text) for text in texts])
    assert first == second


def test_rows_are_graphs_and_nothing_else() -> None:
    rows = PackedGraphs(Vocabulary.of(SPACE))(CELLS)
    assert rows.shape == (120, 10 + 45)
    model = GraphNetwork(SPACE, members=1, epochs=1).fit_features(rows, SCORES)
    assert np.array_equal(model.predict_features(rows), model.predict(CELLS))
    assert model.predict(CELLS[:0]).shape == (0,)


def test_round_trip_on_disk(tmp_path: Path) -> None:
    model = GraphNetwork(encoder(), epochs=2, random_state=3).fit(CELLS, SCORES)
    model.save(tmp_path / "model.safetensors")
    again = GraphNetwork.load(tmp_path / "model.safetensors")
    assert np.array_equal(again.predict(CELLS), model.predict(CELLS))


@pytest.mark.parametrize("name", sorted(SPACES))
def test_every_space_and_few_samples(name: str, rng: np.random.Generator) -> None:
    space = SPACES[name]()
    cells = space.sample_batch(6, rng)
    model = GraphNetwork(space, members=1, epochs=2).fit(cells[:2], [0.1, 0.2])
    assert np.isfinite(model.predict(cells)).all()


def test_a_frozen_encoder_stays_as_it_is() -> None:
    start = encoder()
    model = GraphNetwork(start, members=1, epochs=2, body_rate=0.0).fit(CELLS, SCORES)
    trained = model._scorers[0].encoder
    for old, new in zip(start.parameters(), trained.parameters(), strict=True):
        assert torch.equal(old, new)


def test_a_process_on_the_embedding_takes_a_graph_encoder() -> None:
    start = encoder()
    pretrain(start, CELLS)
    model = ARDGaussianProcess(Embedding(start)).fit(CELLS[:80], SCORES[:80])
    assert kendall_tau(model.predict(CELLS[80:]), SCORES[80:]) > 0.7
    both = Average([GraphNetwork(start, epochs=1), GraphNetwork(start, epochs=1, loss="hinge")])
    assert np.isfinite(both.fit(CELLS, SCORES).predict(CELLS)).all()


@pytest.mark.parametrize("name", ["nasbench101", "nasbench201"])
def test_predictors_on_statistics_can_read_graphs(name: str, rng: np.random.Generator) -> None:
    space = SPACES[name]()
    cells, scores = space.sample_batch(30, rng), rng.random(30)
    plain = ARDGaussianProcess(PathStatistics(space), random_state=2).fit(cells[:20], scores[:20])
    reading = OnPackedGraphs(ARDGaussianProcess(PathStatistics(space)), random_state=2).fit(
        cells[:20], scores[:20]
    )
    found, expected = (model.predict(cells, return_std=True) for model in (reading, plain))
    assert np.allclose(found, expected)
    both = Average([OnPackedGraphs(plain), GraphNetwork(space, members=1, epochs=1)])
    mean, deviation = both.fit(cells, scores).predict(cells, return_std=True)
    assert np.isfinite(mean).all()
    assert (deviation > 0).all()
    with pytest.raises(
        ConfigError, match="features must be PathStatistics or ChannelStatistics, but"
    ):
        OnPackedGraphs(GraphNetwork(space))


def test_bad_options_and_graphs_are_named(rng: np.random.Generator) -> None:
    with pytest.raises(ConfigError, match="unknown loss 'mse'; choose from"):
        GraphNetwork(SPACE, loss="mse")
    with pytest.raises(ConfigError, match="members must be at least 1"):
        GraphNetwork(SPACE, members=0)
    with pytest.raises(ConfigError, match="body_rate must be a number at least 0, but got -1"):
        GraphNetwork(SPACE, body_rate=-1)
    other = GraphEncoder(GraphEncoderConfig(vocabulary=Vocabulary.of(NASBench101()), width=4))
    for wrong in ([], [encoder(), other]):
        with pytest.raises(ConfigError, match="encoders must be at least one and share"):
            GraphNetwork(wrong)
    model = GraphNetwork(SPACE, members=1, epochs=1)
    with pytest.raises(GraphError, match="graphs must have 3 node ops and some edge ops"):
        model.fit(NASBench101().sample_batch(2, rng), [0.1, 0.2])
    with pytest.raises(ConfigError, match="scores must differ"):
        model.fit(CELLS, np.ones(120))
    with pytest.raises(ConfigError, match="scores must be finite"):
        model.fit(CELLS[:2], [0.5, np.nan])
    with pytest.raises(ConfigError, match="at least 2 scores"):
        model.fit(CELLS[:1], [0.5])
    large = architecture(torch.ones(12, 12).triu(1), [0, *[1] * 10, 2], 3)
    with pytest.raises(GraphError, match="graphs must have 3 node ops and some edge ops"):
        model.fit([large, large], [0.1, 0.2])


def test_the_default_takes_networks_from_enough_samples_on(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph_network, "MAX_STEPS", 12)
    space = NASBench101()
    cells, scores = space.sample_batch(70, rng), rng.normal(size=70)
    full, counting = default_predictor(space), default_predictor(space, networks=False)
    few = full.fit(cells[:49], scores[:49]).predict(cells[50:])
    assert (few == counting.fit(cells[:49], scores[:49]).predict(cells[50:])).all()
    many = full.fit(cells[:50], scores[:50]).predict(cells[50:])
    alone = counting.fit(cells[:50], scores[:50]).predict(cells[50:])
    assert np.abs(many - alone).max() > 1e-3
    own = NASBench101()
    own.vocabulary = replace(own.vocabulary, max_nodes=8)  # no pretrained network reads such cells
    assert default_predictor(own).features == default_predictor(own, networks=False).features


def test_what_was_fitted_to_a_space_is_for_that_space_alone() -> None:
    counting = default_predictor(SPACE, prior="cifar100", networks=False)
    assert isinstance(counting, Average) and len(counting.members) == 4
    fitted = counting.members[0]
    assert isinstance(fitted, ARDGaussianProcess) and fitted.relevance is not None
    assert len(fitted.relevance) == PathStatistics(SPACE)(CELLS[:1]).shape[1]
    own = NASBench201()
    own.vocabulary = replace(own.vocabulary, edge_ops=(*own.edge_ops[:-1], "max_pool_3x3"))
    other = default_predictor(own, prior="cifar100", networks=False)
    assert isinstance(other, Average) and len(other.members) == 5


def test_members_that_wait_for_samples_are_counted(rng: np.random.Generator) -> None:
    features = OneHot(7, 5)
    one, other = Forest(features, num_trees=5), MLP(features, epochs=3)
    cells, scores = NASBench101().sample_batch(40, rng), rng.normal(size=40)
    both = Average([one, other], from_samples=(0, 30))
    assert not both.has_std
    few = both.fit(cells[:20], scores[:20]).predict(cells)
    assert (few == one.reseeded(0).fit(cells[:20], scores[:20]).predict(cells)).all()
    plain = Average([one, other]).fit(cells, scores).predict(cells)
    assert (both.fit(cells, scores).predict(cells) == plain).all()
    for least in ((5, 30), (-1, -1), (0,)):
        with pytest.raises(ConfigError, match="a number for each of the 2 members, one of them 0"):
            Average([one, other], from_samples=least)


def test_a_network_starts_from_a_graph_encoder_and_keeps_its_own(rng: np.random.Generator) -> None:
    with pytest.raises(ConfigError, match=r"must start from a GraphEncoder.*NASGEMEncoder"):
        GraphNetwork(load_encoder("nasgem-nasbench101"))  # type: ignore[arg-type]
    mine = encoder()
    model = GraphNetwork(mine, members=1, epochs=1).fit(CELLS[:30], SCORES[:30])
    before = model.predict(CELLS)
    with torch.no_grad():
        for weights in mine.parameters():
            weights.zero_()
    assert (model.predict(CELLS) == before).all()
