"""Trainings of a few milliseconds: little images, two cells of one or two nodes."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

from gnas.data.images.config import TrainImagesConfig
from gnas.data.images.parts import ImageParts, open_train_images
from gnas.data.images.sources import ImageArray, ImageSource
from gnas.retrain import RetrainConfig, RetrainResult, retrain
from gnas.retrain.plan import network_of
from gnas.spaces import Space, TopoNAS
from tests.conftest import ROOT

GENOTYPE = (
    "Genotype(normal=[[('sep_conv_3x3', 0), ('skip_connect', 1)], [('max_pool_3x3', 2)]], "
    "normal_concat=[2, 3], reduce=[[('skip_connect', 0)], [('dil_conv_3x3', 1)]], "
    "reduce_concat=[2, 3])"
)
SPACE = TopoNAS(5, mode="input")
TINY: dict[str, Any] = {
    "layers": 3,
    "channels": 2,
    "epochs": 3,
    "batch_size": 8,
    "lr": 0.1,
    "padding": 1,
    "cutout": 3,
    "drop_path": 0.4,
}


def tiny(**changes: Any) -> RetrainConfig:
    return RetrainConfig(**{**TINY, **changes})


def make_images(count: int = 40, *, classes: int = 4, **options: Any) -> ImageParts:
    """Noise around a pattern of each class, 3/5 to train on."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(count) % classes
    patterns = torch.randint(0, 256, (classes, 3, 8, 8), generator=generator)
    noise = torch.randint(-40, 41, (count, 3, 8, 8), generator=generator)
    x = (patterns[y] + noise).clamp(0, 255).to(torch.uint8)
    config = TrainImagesConfig(image_size=8, **options)
    cut = count * 3 // 5
    source = ImageSource("noise", ImageArray(x[:cut], y[:cut]), ImageArray(x[cut:], y[cut:]))
    return open_train_images(config, source=source)


def train(
    config: RetrainConfig,
    images: ImageParts | None = None,
    *,
    space: Space = SPACE,
    architecture: str = GENOTYPE,
    **more: Any,
) -> RetrainResult:
    images = images or make_images()
    size = network_of(
        space, config, in_channels=images.in_channels, num_classes=images.num_classes
    )
    return retrain(space, space.from_str(architecture), size, images, config, **more)


@pytest.fixture
def script(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Runs a script of ``benchmarks/`` in this process; returns what it printed."""
    folder = ROOT / "benchmarks"
    monkeypatch.syspath_prepend(folder)

    def run(name: str, *options: str) -> str:
        monkeypatch.setattr(sys, "argv", [name, *options])
        capsys.readouterr()
        runpy.run_path(str(folder / name), run_name="__main__")
        return capsys.readouterr().out

    return run
