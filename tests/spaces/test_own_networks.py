"""Spaces of users whose networks, draws or functions are not what they must be: one line each."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from torch import nn
from typer.testing import CliRunner

from gnas.cli import app
from gnas.errors import ConfigError
from gnas.evaluate import FunctionEvaluator
from gnas.geometric import Data
from gnas.graphs import DenseBatch, as_batch
from gnas.models import num_macs
from gnas.search import run_search
from gnas.spaces import SPACES, DagSpace, load_space

FILE = """
import torch
from torch import nn

from gnas.spaces import DagSpace


class Net(nn.Module):
    def __init__(self, kind, channels, classes):
        super().__init__()
        self.kind = kind
        self.head = nn.Linear(channels, classes + (kind == "wide"))

    def forward(self, images):
        if self.kind == "forward":
            raise KeyError("lost")
        logits = self.head(images if self.kind == "shape" else images.mean((2, 3)))
        kinds = {"nothing": None, "tuple": (logits,), "numbers": logits.argmax(1)}
        return kinds.get(self.kind, logits)


def space(kind):
    def build(graph, *, in_channels=3, num_classes=10):
        if kind == "build":
            raise LookupError("no such layer")
        if kind in ("text", "bare"):
            return "a network" if kind == "text" else nn.Flatten()
        return Net(kind, in_channels, num_classes)

    return DagSpace(ops=("a", "b"), max_nodes=5, learned=("a", "b"), build=build)


wide, forward, shape, nothing, tuple_, numbers, build, text, bare, sound = map(
    space,
    ["wide", "forward", "shape", "nothing", "tuple", "numbers", "build", "text", "bare", "sound"],
)


class Undrawn(DagSpace):
    def sample_batch(self, count, rng):
        raise KeyError("no draws")


class Unread(DagSpace):
    def from_str(self, text):
        raise IndexError("no such cell")


class Different(DagSpace):
    def sample_batch(self, count, rng):
        drawn = super().sample_batch(count, rng)
        return drawn[: len({self.to_str(one) for one in drawn})]


class Twice(DagSpace):
    def sample_batch(self, count, rng):
        return super().sample_batch(2 * count, rng)


class Listed(DagSpace):
    def sample_batch(self, count, rng):
        return list(super().sample_batch(count, rng))


undrawn, unread, different, twice, listed = (
    kind(ops=("a", "b"), max_nodes=5) for kind in (Undrawn, Unread, Different, Twice, Listed)
)
"""
CELL = "input,a,b,a,output|26f"
NETWORKS = {
    "wide": r"float \[2, 10\], one for each of 10 classes, but returns float32 \[2, 11\]",
    "forward": "images of 16x16 pixels, but: KeyError: 'lost'",
    "shape": "images of 16x16 pixels, but: RuntimeError: .*shapes cannot be multiplied",
    "nothing": "but returns NoneType",
    "tuple_": "but returns tuple",
    "numbers": r"but returns int64 \[2\]",
    "build": "`build` must return a network, but: LookupError: no such layer",
    "text": "must return an nn.Module with parameters, but returned str",
    "bare": "must return an nn.Module with parameters, but returned Flatten without any",
}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "own.py"
    path.write_text(FILE)
    return path


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_are_tried_before_anything_is_written(
    name: str, file: Path, tmp_path: Path
) -> None:
    words = ["retrain", CELL, "--space", f"{file}:{name}", "--out", str(tmp_path / "run")]
    ended = CliRunner().invoke(app, words)
    assert ended.exit_code == 1 and not (tmp_path / "run").exists()
    assert re.search(NETWORKS[name], " ".join(ended.output.split()))


@pytest.mark.parametrize("name", ["wide", "forward", "nothing", "build", "text", "bare"])
def test_no_program_is_written_of_such_a_network(name: str, file: Path, tmp_path: Path) -> None:
    words = ["export", CELL, "--space", f"{file}:{name}", "--to", "pt2"]
    ended = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "net.pt2")])
    assert ended.exit_code == 1 and not any(tmp_path.iterdir())
    assert re.search(NETWORKS[name].replace("16x16", "32x32"), " ".join(ended.output.split()))


@pytest.mark.parametrize("name", ["forward", "text"])
def test_candidates_with_such_a_network_fail_with_the_reason(
    name: str, file: Path, tmp_path: Path
) -> None:
    words = ["search", "random", "--space", f"{file}:{name}", "--dataset", "digits"]
    words += ["--budget", "2", "--set", "epochs=1", "--out", str(tmp_path / "run")]
    ended = CliRunner().invoke(app, words)
    shown = " ".join(ended.output.split())
    assert ended.exit_code == 1 and "the first 2 all failed" in shown
    assert re.search(NETWORKS[name].replace("16x16", "8x8"), shown)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("different", "repeats included: 64, but returned 60$"),
        ("twice", r"DenseBatch of as many .* 64, but returned 128$"),
        ("listed", r"DenseBatch of as many .* 64, but returned a list$"),
        ("undrawn", "be drawn from by `sample_batch`, but: KeyError: 'no draws'"),
        ("unread", "read by `from_str` what it writes by `to_str`, but: IndexError: no such cell"),
    ],
)
def test_spaces_are_drawn_from_when_they_are_opened(name: str, why: str, file: Path) -> None:
    with pytest.raises(ConfigError, match=why):
        load_space(f"{file}:{name}")


@pytest.mark.parametrize("searcher", ["random", "nasgem", "predictor"])
def test_a_search_gets_as_many_architectures_as_it_asks_for(searcher: str) -> None:
    class OneMore(DagSpace):
        def sample_batch(self, count: int, rng: np.random.Generator) -> DenseBatch:
            return super().sample_batch(count + 1, rng)

    space = OneMore(ops=("a", "b"), max_nodes=5)
    with pytest.raises(ConfigError, match=r"`sample_batch` of '\w+' must .* but returned \d+"):
        run_search(space, searcher, lambda graph, *, seed: graph.num_edges, budget=3)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("def worth(graph): ...", r"takes \(graph\): got an unexpected keyword argument 'seed'"),
        ("def worth(graph, seed, more): ...", "missing a required argument: 'more'"),
        ("def worth(*, seed): ...", "too many positional arguments"),
    ],
)
def test_functions_must_take_a_graph_and_a_seed(text: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(text)
    evaluator = FunctionEvaluator(f"{tmp_path}/mine.py:worth")
    with pytest.raises(ConfigError, match=why):
        evaluator.open(load_space("nasbench201"))


@pytest.mark.parametrize(
    "text",
    [
        "def worth(graph, seed): return seed + 1",
        "def worth(graph, *, seed, more=1): return seed + more",
        "def worth(*args, **options): return options['seed'] + len(args)",
    ],
)
def test_functions_may_take_more(text: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(text)
    evaluator, space = FunctionEvaluator(f"{tmp_path}/mine.py:worth"), load_space("nasbench201")
    evaluator.open(space)
    assert evaluator.evaluate(space.enumerate().data(0), seed=2) == {"score": 3.0}


LATER = """
from gnas.spaces import DagSpace


class Later(DagSpace):
    def mutate(self, graph, rng):
        raise LookupError("no edit")


later = Later(ops=("a", "b"), max_nodes=5)


def worth(graph, *, seed):
    return graph.num_edges
"""


def test_errors_of_a_users_code_name_its_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(LATER)
    words = ["search", "evolution", "--space", f"{path}:later", "--evaluate", f"{path}:worth"]
    words += ["--set", "population=4", "--set", "tournament=2", "--budget", "12"]
    ended = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "run")])
    assert ended.exit_code == 1
    assert f"{path}, line 7: LookupError: no edit; mend your file" in ended.output


def test_options_without_a_default_are_named() -> None:
    def build(graph: Data, in_channels: int, num_classes: int = 10) -> nn.Module:
        return nn.Linear(in_channels, num_classes)

    space = DagSpace(ops=("a",), max_nodes=4, build=build)
    with pytest.raises(ConfigError, match=r"but has no default for in_channels$"):
        space.network_config()


@pytest.mark.parametrize("name", sorted(SPACES))
def test_a_build_of_ones_own_replaces_the_networks_of_a_derived_space(name: str) -> None:
    class Own(SPACES[name]):  # type: ignore[misc, valid-type]
        def build(
            self, graph: Data, *, in_channels: int = 3, num_classes: int = 10, width: int = 4
        ) -> nn.Module:
            return nn.Sequential(nn.Flatten(), nn.Linear(64 * in_channels, num_classes * width))

    class Further(Own):
        pass

    class Back(Own):
        networks = SPACES[name].networks

    graph = SPACES[name]().sample(np.random.default_rng(0))
    for space in (Own(), Further()):
        network = space.network(graph, space.network_config(in_channels=1, width=2))
        assert isinstance(network, nn.Sequential)
        assert num_macs(network, (1, 8, 8)) == 64 * 10 * 2
        assert space.count_macs(as_batch(graph), space.network_config(), 8) is None
    assert type(Back().network(graph)) is type(SPACES[name]().network(graph))
