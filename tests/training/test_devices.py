from __future__ import annotations

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from gnas.encoders.paths import PathStatistics
from gnas.errors import ConfigError
from gnas.predictors import MLP
from gnas.predictors.features import FeatureMatrix
from gnas.predictors.targets import Scores
from gnas.spaces import NASBench201
from gnas.training.devices import resolve_device, suited_threads, use_threads


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


def test_small_maps_have_one_thread() -> None:
    """Up to 131,072 numbers: a batch of 32 at 8 channels and 22x22 pixels."""
    assert suited_threads(32, 8, 22) == 1 and suited_threads(32, 8, 23) is None


@pytest.mark.parametrize("count", [0, -1, 2000])
def test_impossible_threads(count: int) -> None:
    with pytest.raises(ConfigError, match="threads must be in"):
        use_threads(count)
