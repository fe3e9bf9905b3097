"""What a program sets for its own computations changes no result of this package."""

from __future__ import annotations

import random
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
from gnas.encoders import encoder_config, fit_encoder
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
from gnas.search.toponas.plan import plan_search
from gnas.search.toponas.run import run_search as run_supernet_search
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


def supernet_search() -> Any:
    plan = plan_search(
        "digits", epochs=1, channels=2, num_cells=3, num_nodes=5, batch_size=400, image_size=8
    )
    return run_supernet_search(plan).architecture


def encoder_of_ones_own() -> Any:
    space = NASBench101()
    config = encoder_config(space, pool=20, steps=2, dim=8, hidden=(8,), batch_size=8)
    return fit_encoder(config, space=space).encode(CELLS[:2]).tolist()


DRAWING = TASKS | {"supernet search": supernet_search, "own encoder": encoder_of_ones_own}
del DRAWING["macs"]  # draws the weights of its own layer


@pytest.mark.parametrize("form", ["python", "pt2", "safetensors"])
def test_exports_leave_the_programs_generators_where_they_are(form: Any, tmp_path: Path) -> None:
    space, config = NASBench201(), NASBench201NetworkConfig(channels=2, cells_per_stage=1)
    cell = space.enumerate().data(9999)
    network = nasbench201_network(cell, config).eval()
    facts = NetworkMetadata(
        space=space, architecture=space.to_str(cell), config=config, image_size=8
    )
    before = states_of_generators()
    export(network, facts, form, tmp_path / {"python": "a.py", "pt2": "a.pt2"}.get(form, "a"))
    assert states_of_generators()[2] == before[2]


def states_of_generators() -> Any:
    of_numpy: Any = np.random.get_state()  # noqa: NPY002
    return random.getstate(), of_numpy[1].tolist(), torch.get_rng_state().tolist()


@pytest.mark.parametrize("task", DRAWING)
def test_the_programs_generators_stay_where_they_are(task: str) -> None:
    DRAWING[task]()  # what is imported on the way may draw
    before = states_of_generators()
    DRAWING[task]()
    assert states_of_generators() == before


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
