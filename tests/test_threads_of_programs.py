"""A program may use the package from several threads at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any

import pytest
import torch

from gnas import load_table
from gnas.encoders import GraphEncoder, GraphEncoderConfig
from gnas.predictors import make_predictor
from gnas.spaces import NASBench101
from gnas.spaces.vocabulary import Vocabulary
from gnas.training.devices import own_generator, own_settings
from gnas.training.short import fresh_network

TABLE = load_table("nasbench101-mini")
CELLS, SCORES = TABLE.graphs[:30], TABLE.val_acc()[:30]
RECIPE = GraphEncoderConfig(vocabulary=Vocabulary.of(NASBench101()), dim=16)


@pytest.fixture
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def in_turn(first: Any, second: Any) -> None:
    """Let one thread enter a context and another one enter, then the first leave before it."""
    entered, left = Barrier(2), Barrier(2)

    def one() -> None:
        with first:
            entered.wait(10)
            left.wait(10)

    with ThreadPoolExecutor(1) as threads:
        task = threads.submit(one)
        entered.wait(10)
        with second:
            left.wait(10)
            task.result(10)


def test_the_default_type_is_as_the_program_left_it(float64: None) -> None:
    in_turn(own_settings(), own_settings())
    assert torch.get_default_dtype() == torch.float64


def encoder(seed: int) -> Any:
    return GraphEncoder(replace(RECIPE, seed=seed)).state_dict()["readout.1.weight"].tolist()


def network(seed: int) -> Any:
    def build() -> torch.nn.Module:
        return torch.nn.Sequential(*(torch.nn.Linear(9, 9) for _ in range(50)))

    return [p.tolist() for p in fresh_network(build, seed).parameters()]


def predictions(seed: int) -> Any:
    model = make_predictor("mlp", NASBench101(), random_state=seed)
    return model.fit(CELLS, SCORES).predict(CELLS).tolist()


@pytest.mark.parametrize("task", [encoder, network, predictions])
def test_threads_compute_what_they_would_alone(task: Callable[[int], Any], float64: None) -> None:
    torch.manual_seed(3)
    state, wanted = torch.get_rng_state(), [task(seed) for seed in range(8)]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(task, range(8)))
    assert found == wanted
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_default_dtype() == torch.float64


def test_one_thread_at_a_time_draws() -> None:
    """Where another one draws in between, both have other numbers, and so has the program."""
    with own_generator(7):
        wanted = torch.rand(2).tolist()
    with ThreadPoolExecutor(1) as threads:

        def draw() -> list[float]:
            with own_generator(7):
                return torch.rand(2).tolist()

        with own_generator(7):
            first = torch.rand(1)
            other = threads.submit(draw)
            with pytest.raises(TimeoutError):
                other.result(0.1)
            assert [float(first), float(torch.rand(1))] == wanted
        assert other.result(10) == wanted


def test_generators_of_gpus_are_not_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program's seed of them, set before or after PyTorch looked for GPUs, stays."""
    seeded: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    fresh_network(lambda: torch.nn.Linear(1, 1), 5)
    encoder(0)
    assert not seeded
