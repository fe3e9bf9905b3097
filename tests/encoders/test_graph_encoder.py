from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gnas.encoders import (
    GRAPH_PRESETS,
    GraphEncoder,
    GraphEncoderConfig,
    encoder_metadata,
    graph_preset,
    load_encoder,
    pool_of,
    pretrain,
    save_encoder,
)
from gnas.encoders.graph import pack_graphs, unpack_graphs
from gnas.encoders.graph_config import TASKS
from gnas.encoders.networks import NETWORKS
from gnas.encoders.pairs import permuted
from gnas.encoders.recipes import train_preset
from gnas.errors import ConfigError, GraphError
from gnas.graphs import DenseBatch, architecture, graph_keys
from gnas.spaces import SPACES, NASBench101, NASBench201, Vocabulary

VOCABULARY = Vocabulary(ops=("in", "conv", "pool", "out"), max_nodes=6)


def small(vocabulary: Vocabulary = VOCABULARY, **changes: object) -> GraphEncoderConfig:
    options = {"width": 8, "dim": 6, "steps": 3, "batch_size": 16, **changes}
    return GraphEncoderConfig(vocabulary=vocabulary, **options)  # type: ignore[arg-type]


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("network", sorted(NETWORKS))
@pytest.mark.parametrize("name", sorted(SPACES))
def test_every_network_reads_every_space(
    network: str, name: str, rng: np.random.Generator
) -> None:
    space = SPACES[name]()
    encoder = GraphEncoder(small(Vocabulary.of(space), network=network)).eval()
    batch = space.sample_batch(5, rng)
    embeddings = encoder.encode(batch)
    assert embeddings.shape == (5, 6)
    assert close(embeddings[:1], encoder.encode(batch.data(0)))
    assert close(embeddings, encoder.encode(list(batch)))
    assert encoder.encode(batch[:0]).shape == (0, 6)
    if name == "nasbench101":  # where the input is the only source, so it stays node 0
        assert close(embeddings, encoder.encode(permuted(batch, rng)))


@pytest.mark.parametrize("network", sorted(NETWORKS))
def test_cells_that_compute_the_same_get_the_same_embedding(network: str) -> None:
    encoder = GraphEncoder(small(Vocabulary.of(NASBench201()), network=network)).eval()
    conv = "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|skip_connect~1|none~2|"
    skipped = "|skip_connect~0|+|none~0|none~1|+|none~0|nor_conv_3x3~1|none~2|"
    dead = "|nor_conv_3x3~0|+|avg_pool_3x3~0|nor_conv_1x1~1|+|none~0|skip_connect~1|none~2|"
    twice = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|skip_connect~1|skip_connect~2|"
    found = encoder.encode([NASBench201().from_str(text) for text in (conv, skipped, dead, twice)])
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
    assert (found[0] - found[3]).abs().max() > 1e-4  # the sum of two counts twice


def test_cells_without_a_way_through_and_single_nodes() -> None:
    encoder = GraphEncoder(small()).eval()
    parted = architecture(torch.zeros(2, 2), [0, 3], 4)
    lone = architecture(torch.zeros(1, 1), [0], 4)
    found = encoder.encode([parted, lone])
    assert found.isfinite().all()
    none = DenseBatch.from_data([NASBench201().enumerate().data(0)])
    assert not none.adjacency.any()
    assert GraphEncoder(small(Vocabulary.of(NASBench201()))).encode(none).isfinite().all()


def test_graphs_of_other_vocabularies_and_sizes_are_named(rng: np.random.Generator) -> None:
    encoder = GraphEncoder(small(), "mine")
    with pytest.raises(GraphError, match="'mine': graphs must have 4 node ops and no edge ops"):
        encoder.encode(NASBench201().sample_batch(2, rng))
    with pytest.raises(GraphError, match=r"'mine': graphs must have 4 node ops .* but got 5"):
        encoder.encode(NASBench101().sample_batch(2, rng))
    with pytest.raises(
        GraphError, match="'mine': graphs must have at most 6 nodes, but one has 7"
    ):
        encoder.encode(architecture(torch.ones(7, 7).triu(1), [0, *[1] * 5, 3], 4))
    with pytest.raises(GraphError, match="a batch must hold at least one graph"):
        encoder.encode([])
    with pytest.raises(GraphError, match="at least one operation and one node"):
        Vocabulary(ops=(), max_nodes=3)


def test_forms_survive_being_rows(rng: np.random.Generator) -> None:
    forms = NASBench201().functional_form(NASBench201().sample_batch(50, rng))
    ops, edges = unpack_graphs(pack_graphs(forms.pad_to(10)))
    assert torch.equal(ops, forms.ops[:, : ops.size(1)].long())
    assert torch.equal(edges, forms.adjacency[:, : ops.size(1), : ops.size(1)].float())


@pytest.mark.parametrize(
    ("network", "task"),
    [*(("dag", task) for task in TASKS), ("gin", "properties"), ("gps", "properties")],
)
def test_pretraining_lowers_every_loss(network: str, task: str) -> None:
    config = small(
        Vocabulary.of(NASBench201()),
        network=network,
        tasks=(task,),
        width=16,
        dim=16,
        steps=40,
        batch_size=32,
        learning_rate=1e-2,
    )
    pool = NASBench201().sample_batch(400, np.random.default_rng(0))
    losses: list[float] = []
    encoder = GraphEncoder(config)
    quality = pretrain(encoder, pool, progress=lambda step, loss: losses.append(loss))
    assert len(losses) == 40
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:3])
    assert quality.held_out > 2
    assert quality.losses[task] < losses[0]
    assert not encoder.training


def test_pretraining_repeats_and_leaves_the_callers_chance_alone() -> None:
    pool = NASBench201().sample_batch(100, np.random.default_rng(0))
    config = small(Vocabulary.of(NASBench201()), tasks=TASKS)
    found = []
    for _ in range(2):
        torch.manual_seed(1)
        encoder = GraphEncoder(config)
        pretrain(encoder, pool)
        found.append((encoder.encode(pool), torch.rand(1)))
    torch.manual_seed(1)
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], torch.rand(1))
    other = GraphEncoder(replace(config, seed=1))
    pretrain(other, pool)
    assert not torch.equal(other.encode(pool), found[0][0])


def test_pretraining_on_graphs_of_ones_own() -> None:
    """A vocabulary without a space, and PyG graphs made by hand."""
    rng = np.random.default_rng(0)
    graphs = []
    for _ in range(60):
        adjacency = torch.from_numpy(np.triu(rng.integers(0, 2, (5, 5)), 1))
        graphs.append(architecture(adjacency, [0, *rng.integers(1, 3, 3).tolist(), 3], 4))
    encoder = GraphEncoder(small(tasks=TASKS))
    quality = pretrain(encoder, graphs)
    assert set(quality.losses) == set(TASKS)
    assert encoder.encode(graphs).isfinite().all()
    with pytest.raises(GraphError, match="at least 2 architectures that compute different"):
        pretrain(encoder, [graphs[0], graphs[0]])
    with pytest.raises(ConfigError, match="space must be one of"):
        pool_of(encoder.config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 0}, "width must be at least 1, but got 0"),
        ({"network": "gcn"}, "network must be one of dag, gin, gps, but got 'gcn'"),
        ({"tasks": ("accuracy",)}, r"tasks\[0\] must be one of .*got 'accuracy'"),
        ({"tasks": ()}, "tasks must be at least one, but got none"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"learning_rate": 0.0}, "learning_rate must be positive, but got 0.0"),
    ],
)
def test_bad_options_are_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        small(VOCABULARY, **changes)


def test_recipes_survive_json() -> None:
    for name in GRAPH_PRESETS:
        config = graph_preset(name)
        assert GraphEncoderConfig.from_json(config.to_json()) == config
    for text in ("nonsense", "[]", '{"vocabulary": 3}', '{"width": 3}', '{"extra": 1}'):
        with pytest.raises(ConfigError, match="an encoder config must"):
            GraphEncoderConfig.from_json(text)
    with pytest.raises(ConfigError, match="unknown encoder 'gcn-mine'; choose from"):
        graph_preset("gcn-mine")


@pytest.mark.parametrize("network", sorted(NETWORKS))
def test_round_trip_on_disk(network: str, tmp_path: Path, rng: np.random.Generator) -> None:
    encoder = GraphEncoder(small(Vocabulary.of(NASBench201()), network=network), "mine").eval()
    path = tmp_path / "mine.safetensors"
    save_encoder(encoder, path)
    again = load_encoder(path)
    batch = NASBench201().sample_batch(20, rng)
    assert torch.equal(again.encode(batch), encoder.encode(batch))
    assert again.config == encoder.config
    assert again.name == "mine"


def test_train_preset_writes_a_loadable_encoder(tmp_path: Path) -> None:
    path = tmp_path / "new.safetensors"
    record = train_preset("dag-nasbench201", path, steps=2, seed=3)
    encoder = load_encoder(path)
    assert isinstance(encoder, GraphEncoder)
    assert (encoder.config.steps, encoder.config.seed) == (2, 3)
    assert json.loads(encoder_metadata(path)["quality"]) == asdict(record.quality)
    assert "properties" in record.summary()


@pytest.mark.parametrize("name", sorted(GRAPH_PRESETS))
def test_shipped_encoders_have_the_quality_in_their_header(name: str) -> None:
    encoder, quality = load_encoder(name), json.loads(encoder_metadata(name)["quality"])
    assert encoder.config == graph_preset(name), "train again: the recipe changed"
    assert quality["held_out"] > 100
    assert max(quality["losses"].values()) < 0.2


def test_shipped_encoders_tell_all_functions_apart() -> None:
    encoder = load_encoder("dag-nasbench201")
    cells = NASBench201().enumerate()
    _, first = np.unique(graph_keys(NASBench201().functional_form(cells)), return_index=True)
    found = encoder.encode(cells[torch.from_numpy(first[:2000])])
    nearest = torch.cdist(found, found).fill_diagonal_(torch.inf).min()
    assert nearest > 1e-3
