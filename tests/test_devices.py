from __future__ import annotations

import pytest
import torch

from gnas.devices import resolve_device
from gnas.errors import ConfigError


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
