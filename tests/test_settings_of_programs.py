"""What a program sets for its own computations changes no result of this package."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from gnas import load_encoder, load_table
from gnas.evaluate import TrainingEvaluator
from gnas.export import export
from gnas.models import (
    NASBench201NetworkConfig,
    NetworkMetadata,
    load_network,
    nasbench201_network,
    num_macs,
    save_network,
)
from gnas.predictors import OneHot, Predictor, make_predictor
from gnas.predictors.features import FeatureMatrix
from gnas.predictors.targets import Scores
from gnas.proxies import compute_proxies, naswot, small_network, synflow
from gnas.search import run_search
from gnas.spaces import NASGEM, NASBench101, NASBench201
from gnas.training.devices import own_generator, own_settings
from gnas.training.recipe import ProxyRecipe

TABLE = load_table("nasbench101-mini")
CELLS, SCORES = TABLE.graphs[:60], TABLE.val_acc()[:60]


@contextmanager
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def predictions(name: str, **changes: int) -> Any:
    model = make_predictor(name, NASBench101(), random_state=0).set_params(**changes)
    return model.fit(CELLS[:30], SCORES[:30]).predict(CELLS[30:]).tolist()


def proxies_of_a_network() -> Any:
    space = NASBench201()
    with own_settings(), own_generator(0):
        network = space.network(space.enumerate().data(9999), small_network(space))
        images = torch.randn(4, 3, 8, 8)
    return synflow(network, images), naswot(network, images)


def training() -> Any:
    space = NASGEM(4)
    evaluator = TrainingEvaluator("digits", ProxyRecipe(epochs=1), network={"channels": 4})
    evaluator.open(space)
    graph = space.sample(np.random.default_rng(0))
    found = evaluator.evaluate(graph, seed=0)
    return {name: found[name] for name in ("val_acc", "val_loss", "macs")}


def search() -> Any:
    def worth(graph: Data, *, seed: int) -> float:
        return float((graph.edge_op == 1).sum() / 3 + (graph.edge_op == 2).sum())

    found = run_search(NASBench201(), "bayes", worth, budget=14, settings={"num_initial": 8})
    return [one.architecture for one in found.evaluations]


TASKS: dict[str, Callable[[], Any]] = {
    "mlp": lambda: predictions("mlp"),
    "graph network": lambda: predictions("graph-network", epochs=20),
    "gp": lambda: predictions("gp"),
    "default": lambda: predictions("default"),
    "encoder": lambda: load_encoder("nasgem-nasbench101").encode(CELLS[:9]).tolist(),
    "proxies": lambda: compute_proxies(
        NASBench201(), NASBench201().enumerate()[5000:5002]
    ).tolist(),
    "proxies of a network": proxies_of_a_network,
    "training": training,
    "macs": lambda: num_macs(torch.nn.Conv2d(3, 4, 1), (3, 8, 8)),
    "search": search,
}
SETTINGS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "float64": float64,
    "numpy raises": lambda: np.errstate(all="raise"),
    "no gradients": torch.no_grad,
    "inference": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
}


@cache
def as_usual(task: str) -> Any:
    return TASKS[task]()


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("task", TASKS)
def test_settings_change_no_result(task: str, setting: str) -> None:
    wanted = as_usual(task)
    with SETTINGS[setting]():
        found = TASKS[task]()
    assert found == wanted


def test_saved_and_exported_networks_are_float32(tmp_path: Path) -> None:
    space, config = NASBench201(), NASBench201NetworkConfig(channels=2, cells_per_stage=1)
    cell = space.enumerate().data(9999)
    network = nasbench201_network(cell, config).eval()
    facts = NetworkMetadata(
        space=space, architecture=space.to_str(cell), config=config, image_size=8
    )
    with float64():
        save_network(tmp_path / "saved", network, facts)
        found, _ = load_network(tmp_path / "saved")
        export(network, facts, "pt2", tmp_path / "network.pt2")
    images = torch.rand(2, 3, 8, 8)
    exported = torch.export.load(tmp_path / "network.pt2").module()
    for one in (found, exported):
        torch.testing.assert_close(one(images), network(images))


class Own(Predictor):
    """A program's predictor, which counts on what the program has set."""

    name = "own"

    def _fit(self, rows: FeatureMatrix, targets: Scores) -> None:
        self.seen = [torch.zeros(1).dtype]

    def _predict(self, rows: FeatureMatrix) -> Scores:
        self.seen.append(torch.zeros(1).dtype)
        return np.zeros(len(rows))


def test_code_of_the_program_keeps_its_settings() -> None:
    model = Own(OneHot(7, 5))
    with float64():
        model.fit(CELLS, SCORES).predict(CELLS)
    assert model.seen == [torch.float64, torch.float64]
