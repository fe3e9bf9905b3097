"""Two spaces as a stranger would define them, through all that gnas does with a space.

The file is what commands are given too, as ``--space FILE.py:NAME --evaluate FILE.py:FUNCTION``.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.data import Data
from typer.testing import CliRunner

from gnas import wl_kernel
from gnas.cli import app
from gnas.encoders import (
    GraphEncoder,
    GraphEncoderConfig,
    encoder_config,
    encoder_metadata,
    fit_encoder,
    load_encoder,
    pretrain,
    save_encoder,
)
from gnas.encoders.pairs import permuted
from gnas.errors import UnsupportedError
from gnas.export.programs import export_onnx
from gnas.graphs import graph_hash, graph_keys
from gnas.metrics import kendall_tau
from gnas.models import load_network
from gnas.predictors import MLP, Embedding
from gnas.predictors import default_predictor as default_predictor
from gnas.search import (
    SEARCHERS,
    LocalSearchSampler,
    NASGEMSampler,
    RandomArchitectureSampler,
    RegularizedEvolutionSampler,
    read_result,
    run_search,
    suggest_architecture,
)
from gnas.spaces import SPACES, DagSpace, EdgeOpSpace, Space, load_space, space_of_record
from tests import commands

optuna.logging.set_verbosity(optuna.logging.WARNING)

# What the stranger writes -----------------------------------------------------------------------


class Layer(nn.Module):
    """One of five operations on tokens [B, T, d]."""

    def __init__(self, op: str, width: int) -> None:
        super().__init__()
        self.op = op
        self.norm = nn.LayerNorm(width)
        wider = {"attention": 3 * width, "gate": 2 * width}
        self.inner = nn.Linear(width, wider.get(op, width)) if op != "norm" else nn.Identity()
        self.mix = nn.Conv1d(width, width, 3, padding=1, groups=width) if op == "conv" else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.inner(self.norm(x))
        if self.op == "attention":
            q, k, v = y.unsqueeze(1).chunk(3, dim=-1)  # [B, 1, T, d]: one head
            return torch.add(x, F.scaled_dot_product_attention(q, k, v).squeeze(1))
        if self.op == "gate":
            a, b = y.chunk(2, dim=-1)
            return torch.add(x, a * torch.sigmoid(b))
        if self.mix is not None:
            return torch.add(x, self.mix(y.transpose(1, 2)).transpose(1, 2))
        return torch.as_tensor(y) if self.op == "norm" else x + F.gelu(y)


class Transformer(nn.Module):
    """Images [B, C, H, W] -> patches of 4 x 4 pixels -> the graph's layers -> logits."""

    def __init__(self, graph: Data, in_channels: int, num_classes: int, channels: int) -> None:
        super().__init__()
        names = [blocks.ops[k] for k in graph.x.argmax(1).tolist()]
        edges = graph.edge_index.t().tolist()
        self.sources = [[i for i, j in edges if j == node] for node in range(len(names))]
        self.stem = nn.Conv2d(in_channels, channels, 4, stride=4)
        self.layers = nn.ModuleList(Layer(name, channels) for name in names[1:-1])
        self.head = nn.Linear(channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        found = [self.stem(images).flatten(2).transpose(1, 2)]
        for layer, sources in zip(self.layers, self.sources[1:-1], strict=True):
            found.append(layer(torch.stack([found[i] for i in sources]).sum(0)))
        tokens = torch.stack([found[i] for i in self.sources[-1]]).sum(0)
        return torch.as_tensor(self.head(tokens.mean(1)))


def transformer(
    graph: Data, *, in_channels: int = 3, num_classes: int = 10, channels: int = 16
) -> nn.Module:
    return Transformer(graph, in_channels, num_classes, channels)


blocks = DagSpace(
    ops=("attention", "mlp", "conv", "gate", "norm"),
    max_nodes=6,
    learned=("attention", "mlp", "conv", "gate"),
    build=transformer,
    name="blocks",
)
cells = EdgeOpSpace(
    num_nodes=4,
    edge_ops=("zero", "identity", "attention", "mlp"),
    none="zero",
    skip="identity",
    learned=("attention", "mlp"),
    name="cells",
)


def worth(graph: Data, *, seed: int) -> dict[str, float]:
    """Depth in operations of the first two learned kinds, minus a little for every edge."""
    if "edge_op" in graph:
        weight = (graph.edge_op >= 1).double()
    else:
        weight = torch.isin(graph.x.argmax(1), torch.tensor([1, 2])).double()[graph.edge_index[1]]
    depth = torch.zeros(len(graph.x), dtype=torch.float64)
    for (i, j), w in zip(graph.edge_index.t().tolist(), weight.tolist(), strict=True):
        depth[j] = max(depth[j], depth[i] + w)
    return {"score": float(depth[-1]) - 0.05 * graph.num_edges, "edges": float(graph.num_edges)}


# What gnas does with it -------------------------------------------------------------------------

STRANGERS: dict[str, DagSpace | EdgeOpSpace] = {"blocks": blocks, "cells": cells}
EVERY: dict[str, Space] = {**STRANGERS, **{name: make() for name, make in SPACES.items()}}
FILE = Path(__file__)
SMALL: dict[str, dict[str, int]] = {
    "evolution": {"population": 4, "tournament": 2},
    "local": {"starts": 2},
    "bayes": {"num_initial": 4, "refit_every": 4, "pool": 12, "num_elites": 1},
    "nasgem": {"num_initial": 4, "refit_every": 4, "pool": 12},
    "predictor": {"num_initial": 4, "refit_every": 4, "pool": 12, "num_elites": 1},
}
"""So that every phase of a searcher is reached within a few architectures."""
each_space = pytest.mark.parametrize("space", EVERY.values(), ids=EVERY)
each_stranger = pytest.mark.parametrize("space", STRANGERS.values(), ids=STRANGERS)


@each_space
def test_draws_edits_and_texts(space: Space, rng: np.random.Generator) -> None:
    batch = space.sample_batch(12, rng)
    texts = [space.to_str(graph) for graph in batch]
    again = space.sample_batch(12, np.random.default_rng(7)), np.random.default_rng(7)
    assert torch.equal(again[0].adjacency, space.sample_batch(12, again[1]).adjacency)
    for graph, text in zip(batch, texts, strict=True):
        space.validate(graph)
        assert space.to_str(space.from_str(text)) == text
        mutated = space.mutate(graph, rng)
        space.validate(mutated)
        assert space.to_str(mutated) != text
    copy = type(space)(**space.args)
    assert copy == space and hash(copy) == hash(space) and repr(copy) == repr(space)


@each_space
def test_numbering_does_not_matter(space: Space, rng: np.random.Generator) -> None:
    batch = space.sample_batch(40, rng)
    other = permuted(batch, rng)
    assert graph_hash(batch) == graph_hash(other)
    # data enters at the first node and leaves at the last one, unless roles say where
    kept = (other.ops[:, [0, -1]] == batch.ops[:, [0, -1]]).all(1)
    kept |= bool(space.vocabulary.inputs)
    assert kept.sum() > 5
    batch, other = batch[kept], other[kept]
    forms = [graph_keys(space.functional_form(graphs)).tolist() for graphs in (batch, other)]
    assert forms[0] == forms[1]
    assert graph_keys(space.functional_form(space.representative(batch))).tolist() == forms[0]
    # isomorphic graphs alone share their keys: as many as there are hashes
    assert len({*graph_keys(batch).tolist()}) == len({*graph_hash(batch)})


@each_space
def test_kernels_agree_with_grakel(space: Space, rng: np.random.Generator) -> None:
    graphs = space.sample_batch(6, rng).to_data_list()
    ours = wl_kernel(graphs, 2, labels="op", direction="out")
    theirs = wl_kernel(graphs, 2, labels="op", direction="out", backend="grakel")
    assert torch.allclose(ours, theirs, atol=1e-12)
    assert torch.allclose(ours.diagonal(), torch.ones(6, dtype=ours.dtype))


@each_stranger
def test_the_default_predictor_foresees(space: Space, rng: np.random.Generator) -> None:
    graphs = space.sample_batch(80, rng).to_data_list()
    scores = np.array([worth(graph, seed=0)["score"] for graph in graphs])
    predictor = default_predictor(space).fit(graphs[:50], scores[:50])
    assert kendall_tau(predictor.predict(graphs[50:]), scores[50:]) > 0.5


@each_stranger
def test_encoders_trained_on_it(space: Space, tmp_path: Path, rng: np.random.Generator) -> None:
    graphs = space.sample_batch(40, rng)
    scores = np.array([worth(graph, seed=0)["score"] for graph in graphs])
    config = encoder_config(space, pool=100, steps=20, batch_size=32, dim=16, wl_buckets=32)
    wl = fit_encoder(config, f"nasgem-{space.name}", space=space)
    recipe = GraphEncoderConfig(
        vocabulary=space.vocabulary, width=16, dim=16, steps=3, batch_size=8
    )
    network = GraphEncoder(recipe, f"dag-{space.name}")
    pretrain(network, graphs)
    for encoder in (wl, network):
        path = tmp_path / f"{encoder.name}.safetensors"
        save_encoder(encoder, path)
        again = load_encoder(path)
        assert again.config == encoder.config and encoder_metadata(path)["name"] == encoder.name
        torch.testing.assert_close(again.encode(graphs), encoder.encode(graphs))
        model = MLP(Embedding(again), epochs=3).fit(graphs[:30], scores[:30])
        assert model.predict(graphs[30:]).shape == (10,)
    known = type(space)(**space.args)
    known.wl_encoder = str(tmp_path / f"{wl.name}.safetensors")  # and the searcher takes it
    searcher = SEARCHERS["nasgem"](known, num_initial=3, refit_every=3, pool=8)
    for _ in range(5):
        graph = searcher.ask()
        searcher.tell(graph, worth(graph, seed=0)["score"])
    assert searcher.metadata()["kind"] == "PredictorSearch"


@pytest.mark.parametrize("name", sorted(SEARCHERS))
@each_stranger
def test_every_searcher(space: Space, name: str) -> None:
    found = run_search(space, name, worth, budget=7, settings=SMALL.get(name), seed=1)
    texts = {one.architecture for one in found.evaluations}
    assert len(texts) == found.evaluated == 7
    best = worth(space.from_str(found.architecture), seed=0)["score"]
    scores = [one.measures["score"] for one in found.evaluations if one.measures]
    assert found.metrics["score"] == best == max(scores)
    assert space_of_record(found.space, space) is space
    assert found.space["args"].keys() == space.args.keys()


@each_stranger
def test_a_front_of_two_objectives(space: Space) -> None:
    goals = ["score:max", "edges:min"]
    found = run_search(
        space, "predictor", worth, budget=8, objectives=goals, settings=SMALL["predictor"]
    )
    values = [found.evaluations[k].measures or {} for k in found.front]
    pairs = {(one["score"], -one["edges"]) for one in values}
    assert not any(a != b and a[0] >= b[0] and a[1] >= b[1] for a in pairs for b in pairs)


@each_stranger
def test_samplers_of_optuna(space: Space) -> None:
    samplers = [
        RandomArchitectureSampler(space, seed=0),
        RegularizedEvolutionSampler(space, population=3, tournament=2, seed=0),
        LocalSearchSampler(space, starts=2, seed=0),
        NASGEMSampler(space, num_initial=3, refit_every=3, pool=8, seed=0),
    ]
    for sampler in samplers:
        study = optuna.create_study(direction="maximize", sampler=sampler)
        study.optimize(lambda trial: worth(suggest_architecture(trial, space), seed=0)["score"], 5)
        texts = {trial.user_attrs["architecture"] for trial in study.trials}
        assert len(texts) == 5
        assert suggest_architecture(study.best_trial, space).num_edges > 0


@each_space
def test_parameters_of_optuna(space: Space) -> None:
    sampler = optuna.samplers.TPESampler(seed=0, n_startup_trials=4)
    study = optuna.create_study(direction="maximize", sampler=sampler)

    def objective(trial: optuna.Trial) -> float:
        graph = space.suggest(trial)
        space.validate(graph)
        return float(graph.num_edges)

    study.optimize(objective, n_trials=8)
    again = space.suggest(optuna.trial.FixedTrial(study.best_params))
    assert again.num_edges == study.best_value


def command(space: str, out: Path, *options: str) -> list[str]:
    words = ["search", "evolution", "--space", f"{FILE}:{space}", "--evaluate", f"{FILE}:worth"]
    settings = [x for k, v in SMALL["evolution"].items() for x in ("--set", f"{k}={v}")]
    return [*words, *settings, "--budget", "12", "--seed", "2", "--out", str(out), *options]


def gnas(*words: object) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("name", STRANGERS)
def test_commands_two_workers_a_kill_and_pictures(name: str, tmp_path: Path) -> None:
    """A search of two workers that is killed and resumed ends as one in this process."""
    here = run_search(
        STRANGERS[name], "evolution", worth, budget=12, settings=SMALL["evolution"], seed=2
    )
    out = tmp_path / "run"
    words = [sys.executable, "-m", "gnas", *command(name, out, "--workers", "2")]
    with commands.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        metrics, deadline = out / "metrics.jsonl", time.monotonic() + 300
        while not (metrics.exists() and metrics.read_bytes().count(b"\n") >= 3):
            assert running.poll() is None or metrics.exists(), running.communicate()
            assert time.monotonic() < deadline
            if running.poll() is not None:
                break
            time.sleep(0.05)
        running.send_signal(signal.SIGKILL)
    gnas("search", "evolution", "--resume", out, "--workers", "2")
    found = read_result(out)
    assert [(e.architecture, e.measures) for e in found.evaluations] == [
        (e.architecture, e.measures) for e in here.evaluations
    ]
    record = json.loads((out / "result.json").read_text())["space"]
    expected = f"{FILE.name}:{name}" if name == "blocks" else "edge-ops"
    assert record["name"] == expected and "args" in record
    gnas("show", out, "--out", tmp_path / "pictures")
    assert (tmp_path / "pictures" / "progress.png").stat().st_size > 5000
    shown = gnas(
        "show", here.architecture, "--space", f"{FILE}:{name}", "--out", tmp_path / "cell"
    )
    assert here.architecture in shown.replace("\n", "")
    assert list((tmp_path / "cell").glob("*.svg"))


def test_networks_are_searched_trained_tested_and_exported(tmp_path: Path) -> None:
    space, run = f"{FILE}:blocks", tmp_path / "run"
    training = ["--set", "epochs=1", "--set", "percent=30", "--set", "channels=8"]
    goals = ["--objective", "val_acc", "--objective", "num_params"]
    words = ["--space", space, "--dataset", "digits", "--budget", 3, "--out", run]
    gnas("search", "random", *words, *goals, *training)
    found = read_result(run)
    assert found.space["name"] == f"{FILE.name}:blocks" and len(found.space["sha256"]) == 64
    assert found.params and 0 <= found.metrics["val_acc"] <= 1 and found.macs
    trained = tmp_path / "trained"
    options = ["--epochs", 1, "--channels", 8, "--out", trained]
    gnas("retrain", run, "--space", space, *options, "--set", "batch_size=400")
    result = json.loads((trained / "result.json").read_text())
    assert result["architecture"] == found.architecture
    gnas("evaluate", trained, "--space", space, "--json", tmp_path / "tested.json")
    tested = json.loads((tmp_path / "tested.json").read_text())
    assert tested["architecture"] == found.architecture
    assert 0 <= tested["metrics"]["test_acc"] <= 1
    images = torch.rand(2, 1, 8, 8)
    network, facts = load_network(_weights(trained), load_space(space))
    assert facts.architecture == found.architecture
    expected = network(images)
    program, onnx = tmp_path / "model.pt2", tmp_path / "model.onnx"
    gnas("export", trained, "--space", space, "--to", "pt2", "--out", program)
    loaded = torch.export.load(program).module()
    torch.testing.assert_close(loaded(images), expected, rtol=1e-4, atol=1e-5)
    gnas("export", trained, "--space", space, "--to", "onnx", "--out", onnx)
    import onnxruntime

    session = onnxruntime.InferenceSession(onnx)
    (name,) = [one.name for one in session.get_inputs()]
    (logits,) = session.run(None, {name: images.numpy()})
    np.testing.assert_allclose(logits, expected.detach().numpy(), rtol=1e-3, atol=1e-4)


def _weights(trained: Path) -> Path:
    from gnas.retrain.source import weights_folder

    return weights_folder(trained)


def test_a_table_of_one_s_own(tmp_path: Path) -> None:
    out = tmp_path / "blocks.parquet"
    words = ["--cells", 3, "--seeds", 1, "--set", "epochs=1", "--set", "channels=4"]
    gnas("tabulate", f"{FILE}:blocks", "--out", out, *words, "--set", "num_train=64")
    from gnas.data import load_table

    table = load_table(out)
    assert len(table) == 3 and table.val_acc().shape == (3,)
    for graph in table.graphs:
        blocks.validate(graph)
    assert len({*graph_keys(table.graphs).tolist()}) == 3


class Odd(nn.Module):
    """What no ONNX operator computes."""

    def forward(self, images: Tensor) -> Tensor:
        attended = F.scaled_dot_product_attention(images[:, 0], images[:, 0], images[:, 0])
        return attended.mean((1, 2))[:, None].expand(-1, 10)


def test_a_network_that_onnx_cannot_hold_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="ONNX must be able to hold the network") as caught:
        export_onnx(Odd(), (1, 8, 8), tmp_path / "odd.onnx", metadata={})
    assert "\n" not in str(caught.value) and not (tmp_path / "odd.onnx").exists()
