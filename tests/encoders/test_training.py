from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations
from typing import get_args

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import Tensor
from torch_geometric.data import Data

from gnas.encoders import Encoder, EncoderConfig, NASGEMEncoder, encoder_quality, fit_encoder
from gnas.encoders.config import PRESETS
from gnas.encoders.features import feature_widths, first_label_columns, graph_features
from gnas.encoders.pairs import independent_pairs, near_pairs, permuted
from gnas.encoders.training import (
    RARE,
    kernel_features,
    kernel_values,
    pair_quality,
    principal_coordinates,
)
from gnas.errors import ConfigError, GraphError
from gnas.graphs import DenseBatch, as_batch
from gnas.kernel_options import Direction, Labels
from gnas.kernels import wl_features, wl_kernel
from gnas.spaces import NASGEM, SPACES, NASBench101, NASBench201

TINY = EncoderConfig(
    space="nasgem",
    num_nodes=30,
    num_ops=2,
    features=("degrees", "wl"),
    wl_buckets=64,
    hidden=(64,),
    dim=32,
    steps=40,
    batch_size=64,
)


class Perfect(Encoder):
    """The exact feature map of the kernel, cut to the graphs of one test."""

    name = "perfect"

    def __init__(self, everyone: DenseBatch) -> None:
        features = wl_features(everyone, 3, direction="out").toarray()
        self.rows = {g.edge_index.numpy().tobytes(): f for g, f in zip(everyone, features)}  # noqa: B905
        self.dim = features.shape[1]

    def encode(self, graphs: Data | Sequence[Data] | DenseBatch) -> Tensor:
        found = [self.rows[graph.edge_index.numpy().tobytes()] for graph in as_batch(graphs)]
        return torch.from_numpy(np.stack(found)).float()


def test_targets_are_kernel_values(rng: np.random.Generator) -> None:
    first, second = independent_pairs(NASGEM(), 10, rng)
    expected = wl_kernel(first, 3, direction="out", other=second).diagonal()
    torch.testing.assert_close(kernel_values((first, second), TINY), expected)


def test_a_perfect_encoder_scores_one_and_noise_below_zero(rng: np.random.Generator) -> None:
    pairs = independent_pairs(NASGEM(), 200, rng)
    quality = pair_quality(Perfect(DenseBatch.concat(pairs)), TINY, pairs)
    assert quality.r2 > 1 - 1e-9
    assert quality.correlation > 1 - 1e-9
    noise = pair_quality(NASGEMEncoder(replace(TINY, features=("adjacency",))), TINY, pairs)
    assert noise.r2 < 0
    assert noise.constant_loss == quality.constant_loss


def test_quality_by_hand(rng: np.random.Generator) -> None:
    pairs = independent_pairs(NASGEM(), 50, rng)
    encoder = NASGEMEncoder(TINY)
    cosine = torch.cosine_similarity(encoder.encode(pairs[0]), encoder.encode(pairs[1])).numpy()
    target = kernel_values(pairs, TINY).numpy()
    quality = pair_quality(encoder, TINY, pairs)
    assert quality.loss == pytest.approx(np.mean((cosine - target) ** 2), rel=1e-5)
    assert quality.r2 == pytest.approx(1 - quality.loss / target.var(), rel=1e-9)
    assert quality.correlation == pytest.approx(np.corrcoef(cosine, target)[0, 1], rel=1e-4)


def test_training_learns_and_is_repeatable() -> None:
    losses: list[float] = []
    longer = replace(TINY, steps=160)
    encoder = fit_encoder(longer, progress=lambda step, loss: losses.append(loss))
    assert len(losses) == longer.steps
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])  # .37 to .44 over five seeds
    again = fit_encoder(replace(TINY, steps=5))
    once_more = fit_encoder(replace(TINY, steps=5))
    for key, value in again.state_dict().items():
        assert torch.equal(value, once_more.state_dict()[key])
    assert encoder.state_dict()["shift"].any()


def test_every_two_graphs_of_a_batch_can_be_a_pair() -> None:
    """The first step's loss, pair by pair."""
    config = replace(TINY, all_pairs=True, near_share=0.3, batch_size=5, steps=1)
    losses: list[float] = []
    fit_encoder(config, progress=lambda step, loss: losses.append(loss))
    space, rng = NASGEM(), np.random.default_rng(config.seed)
    encoder = NASGEMEncoder(config)
    features = encoder.features(space.sample_batch(4096, rng))
    encoder.shift.copy_(features.mean(0))
    encoder.scale.copy_(1 / features.std(0).clamp_min(0.05))
    first, second = near_pairs(space, config, 5, rng)

    def error(one: DenseBatch, other: DenseBatch) -> float:
        cosine = torch.cosine_similarity(encoder.encode(one), encoder.encode(other))
        return float((cosine - kernel_values((one, other), config)) ** 2)

    near = [error(first[[i]], second[[i]]) for i in range(5)]
    apart = [error(s[[i]], s[[j]]) for s in (first, second) for i, j in permutations(range(5), 2)]
    assert losses[0] == pytest.approx(0.3 * np.mean(near) + 0.7 * np.mean(apart), rel=1e-4)
    assert fit_encoder(replace(config, augment=True)).state_dict()["shift"].any()


def test_the_sketch_estimates_the_kernel_before_any_training(rng: np.random.Generator) -> None:
    config = replace(TINY, sketch=True, dim=512, wl_buckets=512)
    quality = encoder_quality(NASGEMEncoder(config), config, rng, 500)
    assert quality.independent.r2 > 0.9
    assert quality.near.r2 > 0.9


def test_augmentation_renumbers_training_graphs() -> None:
    plain = replace(TINY, features=("adjacency",), steps=3)
    one = fit_encoder(plain).state_dict()
    other = fit_encoder(replace(plain, augment=True)).state_dict()
    assert any(not torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_features_have_the_announced_width(name: str, rng: np.random.Generator) -> None:
    config = PRESETS[name]()
    batch = SPACES[config.space]().sample_batch(9, rng)
    features = graph_features(batch, config)
    assert features.shape == (9, sum(feature_widths(config).values()))


def test_label_histograms_by_definition(rng: np.random.Generator) -> None:
    batch = NASBench101().sample_batch(8, rng)
    for labels in get_args(Labels):
        for direction in get_args(Direction):
            config = EncoderConfig(
                space="nasbench101",
                num_nodes=7,
                num_ops=5,
                features=("wl",),
                wl_buckets=200_000,
                labels=labels,
                direction=direction,
                n_iter=2,
            )
            features = graph_features(batch, config)
            # With so many buckets nothing collides: dot products are the kernel itself.
            expected = wl_kernel(batch, 2, labels=labels, direction=direction, normalize=False)
            zero = wl_kernel(batch, 0, labels=labels, normalize=False)
            if direction == "both":
                expected -= zero  # round 0 is held once
            assert torch.equal((features @ features.T).double(), expected)
            first = features[:, first_label_columns(config)]
            assert torch.equal((first @ first.T).double(), zero)


@pytest.mark.parametrize("functional", [False, True])
@pytest.mark.parametrize("name", ["nasbench201", "toponas"])
def test_label_histograms_where_operations_sit_on_edges(
    name: str, functional: bool, rng: np.random.Generator
) -> None:
    space = SPACES[name]()
    batch = space.sample_batch(6, rng)
    config = EncoderConfig(
        space=name,
        num_nodes=space.max_nodes,
        num_ops=len(space.ops),
        num_edge_ops=len(space.edge_ops),
        features=("wl",),
        wl_buckets=200_000,
        labels="op",
        direction="in",
        n_iter=2,
        functional=functional,
    )
    features = graph_features(batch, config)
    forms = space.functional_form(batch)
    simple = replace(forms, adjacency=forms.adjacency.clamp(max=1), has_edge_ops=False)
    expected = wl_kernel(
        simple if functional else batch, 2, labels="op", direction="in", normalize=False
    )
    assert torch.equal((features @ features.T).double(), expected)


def test_edge_operations_in_the_matrix() -> None:
    space = NASBench201()
    config = EncoderConfig(space="nasbench201", num_nodes=4, num_ops=3, num_edge_ops=4)
    cell = space.from_str("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|none~2|")
    row = graph_features(as_batch(cell), config)[0].view(6, 4)
    # Edges 01, 02, 03, 12, 13, 23; operations skip, conv 1x1, conv 3x3, pool.
    assert row.nonzero().tolist() == [[0, 2], [3, 0]]
    encoder = NASGEMEncoder(config)
    assert encoder.sees_ops and encoder.encode(cell).shape == (1, 128)


def test_principal_coordinates_are_the_kernel(rng: np.random.Generator) -> None:
    batch = NASBench101().sample_batch(60, rng)
    config = EncoderConfig(
        space="nasbench101", num_nodes=7, num_ops=5, labels="op", direction="both", n_iter=1
    )
    expected = wl_kernel(batch, 1, labels="op", direction="both")
    features = kernel_features(batch, config).toarray()
    np.testing.assert_allclose(features @ features.T, expected, atol=1e-12)
    wide = principal_coordinates(batch, replace(config, dim=200), rng).double()
    assert wide.shape == (60, 200)
    torch.testing.assert_close(wide @ wide.T, expected, atol=5e-3, rtol=0)
    # With fewer dimensions: the best approximation there is (Eckart and Young).
    narrow = principal_coordinates(batch, replace(config, dim=10), rng).double()
    values = torch.linalg.eigvalsh(expected)
    error = (narrow @ narrow.T - expected).square().sum()
    assert float(error) == pytest.approx(float(values[:-10].square().sum()), rel=1e-3)
    assert float(narrow.std(0).min()) > 0.2 * float(narrow.std(0).max())  # turned


def test_regression_on_coordinates_starts_at_least_squares_and_improves() -> None:
    config = EncoderConfig(
        space="nasbench101",
        num_nodes=7,
        num_ops=5,
        features=("wl",),
        wl_buckets=64,
        sketch=True,
        hidden=(64,),
        dim=32,
        labels="op",
        direction="both",
        n_iter=1,
        near="mutations",
        max_edits=2,
        pool=500,
        steps=300,
        batch_size=64,
    )
    losses: list[float] = []
    encoder = fit_encoder(config, progress=lambda step, loss: losses.append(loss))
    space, rng = NASBench101(), np.random.default_rng(config.seed)
    untrained = NASGEMEncoder(config)
    space.sample_batch(4096, rng)  # those that inputs were standardised by
    graphs = DenseBatch.concat(near_pairs(space, config, config.pool, rng))
    x = untrained.features(graphs).double().numpy()
    y = principal_coordinates(graphs, config, rng).double().numpy()
    model = Ridge(alpha=1.0).fit(x, y)
    assert encoder.sketch is not None
    np.testing.assert_allclose(encoder.sketch.weight.detach(), model.coef_, atol=1e-3)
    linear = float(((model.predict(x) - y) ** 2).sum(1).mean())
    assert losses[0] == pytest.approx(linear, rel=0.3)  # of a batch
    found = encoder.encode(graphs).double().numpy()
    assert float(((found - y) ** 2).sum(1).mean()) < 0.7 * linear
    # A label that never came in training is no input of the perceptron, a rare one no huge input.
    assert not encoder.scale[torch.from_numpy(x.std(0) == 0)].any()
    assert float(encoder.scale.max()) <= 1 / RARE + 0.01
    again = fit_encoder(config)
    for key, value in encoder.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])
        assert torch.equal(value, value.half().float())


def test_degree_histograms_by_hand() -> None:
    batch = DenseBatch.from_data([NASBench101().from_str("input,maxpool3x3,output|7")])
    config = EncoderConfig(space="nasbench101", num_nodes=3, num_ops=5, features=("degrees",))
    # Edges 0->1, 0->2, 1->2: out-degrees 2, 1, 0; in-degrees 0, 1, 2; sums 2, 2, 2.
    assert graph_features(batch, config).tolist() == [[1, 1, 1, 1, 1, 1, 0, 0, 3, 0, 0, 0]]


def test_node_order_matters_to_the_plain_encoder_only(rng: np.random.Generator) -> None:
    batch = NASGEM().sample_batch(50, rng)
    copies = permuted(batch, rng)
    invariant, plain = NASGEMEncoder(TINY), NASGEMEncoder(replace(TINY, features=("adjacency",)))
    torch.testing.assert_close(invariant.encode(batch), invariant.encode(copies))
    cosine = torch.cosine_similarity(plain.encode(batch), plain.encode(copies))
    assert float(cosine.mean()) < 0.99
    canonical = NASGEMEncoder(replace(TINY, features=("adjacency",), canonical=True))
    ordered = torch.cosine_similarity(canonical.encode(batch), canonical.encode(copies))
    assert float(ordered.mean()) > 0.999


def test_encode_takes_one_graph_a_list_or_a_batch(rng: np.random.Generator) -> None:
    config = EncoderConfig(space="nasbench101", num_nodes=7, num_ops=5, hidden=(16,), dim=8)
    encoder = NASGEMEncoder(config)
    batch = NASBench101().sample_batch(12, rng)
    together = encoder.encode(batch)
    assert together.shape == (12, 8)
    assert together.dtype == torch.float32
    assert not together.requires_grad
    torch.testing.assert_close(encoder.encode(list(batch)), together)
    torch.testing.assert_close(encoder.encode(batch.data(3)), together[3:4])


@pytest.mark.parametrize("name", sorted(PRESETS))
@pytest.mark.parametrize("hidden", [(16, 8), ()])
def test_encode_adds_up_what_forward_multiplies(
    name: str, hidden: tuple[int, ...], rng: np.random.Generator
) -> None:
    config = replace(PRESETS[name](), hidden=hidden, dim=256 if PRESETS[name]().sketch else 8)
    encoder = NASGEMEncoder(config)
    batch = SPACES[config.space]().sample_batch(40, rng)
    if config.space == "nasgem":  # some with padding
        batch = DenseBatch.concat([NASGEM(12).sample_batch(5, rng), batch])
    inputs = encoder.features(batch)
    encoder.shift.copy_(inputs.mean(0))
    encoder.scale.copy_(1 / inputs.std(0).clamp_min(0.05))
    with torch.no_grad():
        if encoder.sketch is not None:
            encoder.layers[-1].weight.normal_(generator=torch.Generator().manual_seed(0))  # type: ignore[operator]
        expected = encoder(inputs)
    torch.testing.assert_close(encoder.encode(batch), expected, rtol=1e-3, atol=2e-3)


def test_chunks_keep_their_order(rng: np.random.Generator) -> None:
    """More graphs than several threads read at once."""
    encoder = NASGEMEncoder(replace(TINY, num_nodes=7, num_ops=5, space="nasbench101"))
    few = NASBench101().sample_batch(50, rng)
    rows = torch.from_numpy(rng.integers(50, size=20_000))
    torch.testing.assert_close(encoder.encode(few[rows]), encoder.encode(few)[rows])


def test_graphs_of_other_spaces_are_refused(rng: np.random.Generator) -> None:
    encoder = NASGEMEncoder(EncoderConfig(space="nasbench101", num_nodes=7, num_ops=5), "mine")
    with pytest.raises(GraphError, match=r"'mine' takes .* of 'nasbench101': .* but got 2 and"):
        encoder.encode(NASGEM(7).sample_batch(2, rng))
    with pytest.raises(GraphError, match="no edge ops, but got 3 and has_edge_ops=True"):
        encoder.encode(NASBench201().sample_batch(2, rng))
    small = NASGEMEncoder(replace(TINY, num_nodes=10))
    with pytest.raises(GraphError, match=r"at most 10 nodes, but one has [23]"):
        small.encode(NASGEM().sample_batch(2, rng))


def test_config_round_trip_and_checks() -> None:
    for name in PRESETS:
        config = PRESETS[name]()
        assert EncoderConfig.from_json(config.to_json()) == config
    for text in ("", "[]", '{"colour": 1}', TINY.to_json()[:-1]):
        with pytest.raises(ConfigError, match="an encoder config must"):
            EncoderConfig.from_json(text)
    with pytest.raises(ConfigError, match=r"features\[0\] must be one of .*'paths'"):
        replace(TINY, features=("paths",))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="steps must be at least 1, but got 0"):
        replace(TINY, steps=0)
    with pytest.raises(ConfigError, match="near_share must be at most 1"):
        replace(TINY, near_share=1.5)
    with pytest.raises(ConfigError, match="dim must be at least 1"):
        replace(TINY, dim=0)
    with pytest.raises(ConfigError, match="near must be"):
        replace(TINY, near="far")  # type: ignore[arg-type]
    for field, value in (
        ("labels", "nonsense"),
        ("direction", "up"),
        ("n_iter", -1),
        ("n_iter", 1.5),
        ("pool", -1),
        ("num_edge_ops", 2.0),
    ):
        with pytest.raises(ConfigError, match=f"{field} must be"):
            replace(TINY, **{field: value})  # type: ignore[arg-type]
