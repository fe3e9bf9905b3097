from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event
from typing import Any

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from gnas.encoders.paths import PathStatistics
from gnas.errors import ConfigError
from gnas.predictors import MLP
from gnas.predictors.features import FeatureMatrix
from gnas.predictors.targets import Scores
from gnas.retrain import plan_retrain
from gnas.retrain.plan import threads_for
from gnas.spaces import NASBench201
from gnas.training.devices import one_thread, resolve_device, suited_threads, use_threads


def test_names_of_devices() -> None:
    assert resolve_device("cpu") == "cpu"
    assert resolve_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    if torch.cuda.is_available():
        assert resolve_device("cuda:0") == "cuda:0"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tpu", "must be auto, cpu, cuda or cuda:N, but got 'tpu'"),
        ("meta", "must be auto, cpu, cuda or cuda:N"),
        ("cuda:x", "must be auto, cpu, cuda or cuda:N"),
        ("cuda:64", r"device cuda:64 must exist, but this machine has \d+ usable GPUs"),
    ],
)
def test_no_such_device(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve_device(name)


def test_small_fits_have_one_thread() -> None:
    """Whatever the fit uses: torch, BLAS or OpenMP."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        seen: list[tuple[int, set[int]]] = []

        class Watched(MLP):
            def _fit(self, rows: FeatureMatrix, targets: Scores) -> None:
                pools = {int(pool["num_threads"]) for pool in threadpool_info()}
                seen.append((torch.get_num_threads(), pools))

        space = NASBench201()
        graphs = space.sample_batch(5, np.random.default_rng(0))
        Watched(PathStatistics(space)).fit(graphs, np.arange(5.0))
        assert seen == [(1, {1})]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_threads_are_as_many_as_before_whichever_fit_ends_last() -> None:
    before = torch.get_num_threads()

    def counts() -> list[int]:
        return [torch.get_num_threads(), *(int(pool["num_threads"]) for pool in threadpool_info())]

    def fit() -> tuple[list[int], list[int]]:
        with one_thread():
            entered.wait(10)
            first.wait(10)
            inside = counts()
        return inside, counts()

    torch.set_num_threads(3)
    entered, first, wanted = Barrier(2), Event(), counts()
    try:
        with ThreadPoolExecutor(1) as threads:
            with one_thread():
                later = threads.submit(fit)
                entered.wait(10)
            first.set()
            assert later.result(10) == ([1] * len(wanted), wanted)
            assert counts() == wanted
    finally:
        torch.set_num_threads(before)


def test_small_maps_have_one_thread() -> None:
    """Up to 262,144 numbers: a batch of 32 at 8 channels and 32x32 pixels."""
    assert suited_threads(32, 8, 32) == 1 and suited_threads(32, 8, 33) is None


def test_threads_of_trainings() -> None:
    cell = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_1x1~2|"
    size: dict[str, Any] = {"auxiliary_weight": 0, "drop_path": 0}
    small = plan_retrain(NASBench201(), cell, "digits", **size)
    assert threads_for(small) == 1  # a batch of 64 at 16 channels and 16x16 pixels
    assert threads_for(plan_retrain(NASBench201(), cell, "digits", channels=17, **size)) is None
    assert (
        threads_for(plan_retrain(NASBench201(), cell, "digits", num_params=9999, **size)) is None
    )


@pytest.mark.parametrize("count", [0, -1, 2000])
def test_impossible_threads(count: int) -> None:
    with pytest.raises(ConfigError, match="threads must be in"):
        use_threads(count)
