"""What cannot be trained is said before time is spent, and before anything is written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gnas.data.images.batch_size import check_batch, fitting_batch
from gnas.data.images.config import TrainImagesConfig
from gnas.data.images.parts import ImageParts
from gnas.data.images.sources import ImageArray, ImageSource
from gnas.errors import ConfigError
from gnas.models import num_params
from gnas.retrain.plan import network_of, plan_retrain, planned, resumed_plan, with_params
from gnas.retrain.run import run_retrain
from gnas.search.toponas.plan import plan_search
from gnas.search.toponas.run import run_search
from gnas.training.distributed import SINGLE_PROCESS
from gnas.training.recipe import ProxyRecipe
from gnas.training.short import train_proxy
from tests.retrain.conftest import GENOTYPE, SPACE

FAST: dict[str, Any] = {"layers": (3,), "channels": 2, "epochs": 1, "image_size": 8}


@pytest.fixture
def folder(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Two classes of 10 images each: 16 for training."""
    for name in ("cat", "dog"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for k in range(10):
            pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{k}.png")
    return tmp_path / "images"


def test_default_batches_follow_the_data(folder: Path, tmp_path: Path) -> None:
    plan = plan_retrain(SPACE, GENOTYPE, "folder", data_dir=str(folder), **FAST)
    assert plan.config.batch_size == 96
    result = run_retrain(plan, out=tmp_path / "run")
    assert result["config"]["retrain"].batch_size == 4
    assert planned(tmp_path / "run").config.batch_size == 4
    assert resumed_plan(tmp_path / "run", None, {}).follows == ()
    read = json.loads((tmp_path / "run" / "config.json").read_text())["data"]["read"]
    assert read == (
        "folder images: 2 classes (cat, dog); images: 16 for training, 4 for testing; 8x8 pixels"
    )
    search = plan_search("folder", data_dir=str(folder), image_size=8, epochs=1, num_cells=3,
                         channels=2, stem_multiplier=1, num_nodes=4)  # fmt: skip
    found = run_search(search, out=tmp_path / "search")
    assert found.config["search"].batch_size == 2 and search.config.batch_size == 64


@pytest.mark.parametrize("wanted", [9_000, 60_000, 1_000_000])
def test_channels_follow_from_the_parameters(wanted: int) -> None:
    asked = plan_retrain(SPACE, GENOTYPE, "digits", layers=4, num_params=wanted)
    plan = with_params(asked, in_channels=3, num_classes=10)
    assert plan.num_params is None and plan.config.channels is not None

    def away(channels: int) -> int:
        config = replace(plan.config, channels=channels)
        size = network_of(SPACE, config, in_channels=3, num_classes=10)
        return abs(num_params(SPACE.network(SPACE.from_str(GENOTYPE), size)) - wanted)

    near = range(max(2, plan.config.channels - 6), plan.config.channels + 7, 2)
    assert plan.config.channels == min(near, key=away)


def test_impossible_numbers_of_parameters() -> None:
    few = plan_retrain(SPACE, GENOTYPE, "digits", layers=4, num_params=9)
    with pytest.raises(ConfigError, match="the parameters of two channels, but got 9"):
        with_params(few, in_channels=3, num_classes=10)
    for changes, message in (
        ({"num_params": 0}, "must be from 1 to 1,000,000,000, but got 0"),
        ({"num_params": 10**6, "layers": (4, 5)}, r"one number of layers, but got \(4, 5\)"),
        ({"num_params": 10**6, "channels": 4}, "channels must not be given beside num_params"),
    ):
        with pytest.raises(ConfigError, match=message):
            plan_retrain(SPACE, GENOTYPE, "digits", **changes)


@pytest.mark.parametrize(
    ("wanted", "count", "options", "size"),
    [
        (96, 384, {}, 96),
        (96, 383, {}, 64),
        (64, 40, {}, 8),
        (64, 5, {}, 2),
        (64, 40, {"accumulate": 2}, 8),
        (64, 40, {"accumulate": 3}, 6),
        (64, 40, {"accumulate": 2, "processes": 4}, 16),
    ],
)
def test_fitting_batches(wanted: int, count: int, options: dict[str, int], size: int) -> None:
    assert fitting_batch(wanted, count, **options) == size
    check_batch(size, count, **options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"repeats": 10**9}, "at most 1,000 trainings, but got 1,000,000,000"),
        ({"image_size": 10**9}, "image_size must be at most 4096, but got 1000000000"),
        ({"padding": 1000}, "padding must be at most the 8 pixels of the images"),
        ({"cutout": 1000}, "cutout must be at most the 8 pixels of the images"),
        ({"batch_size": 1}, "batch_size must be at least 2 with accumulate=1"),
        ({"accumulate": 96}, "batch_size must be at least 192 with accumulate=96"),
        ({"padding": 10**12}, "padding must be at most 4096"),
        ({"layers": 10**9}, "layers must be at most 1000"),
        ({"layers": (1, 2, 3), "repeats": 500}, "at most 1,000 trainings, but got 1,500"),
        ({"network": {"num_cells": 3}}, "must have fields without .* has num_cells; set layers"),
        ({"network": {"channels": 4}}, "but has channels; set channels"),
    ],
)
def test_impossible_plans(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_retrain(SPACE, GENOTYPE, "folder", data_dir=".", **{**FAST, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 17}, r"between 1 and the 16 images .* lower it \(--set batch_size=N\)"),
        ({"accumulate": 16}, r"between 1 and the 16 images .* but got 32"),
        ({"channels": 10_000}, "networks must have at most 1,000,000,000 parameters"),
    ],
)
def test_nothing_is_written_of_what_cannot_be_trained(
    folder: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    asked = {**FAST, **changes}
    plan = plan_retrain(SPACE, GENOTYPE, "folder", data_dir=str(folder), **asked)
    with pytest.raises(ConfigError, match=message):
        run_retrain(plan, out=tmp_path / "run")
    several = plan_retrain(SPACE, GENOTYPE, "folder", data_dir=str(folder), repeats=2, **asked)
    with pytest.raises(ConfigError, match=message):
        run_retrain(several, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    good = plan_retrain(SPACE, GENOTYPE, "folder", data_dir=str(folder), **FAST)
    assert run_retrain(good, out=tmp_path / "run", context=SINGLE_PROCESS)["metrics"]["epoch"] == 1


def test_shifts_and_cutout_follow_the_size_of_the_images() -> None:
    config = plan_retrain(SPACE, GENOTYPE, "folder", data_dir=".", image_size=8).config
    assert (config.padding, config.cutout) == (1, 4)
    config = plan_retrain(SPACE, GENOTYPE, "folder", data_dir=".").config
    assert (config.padding, config.cutout) == (4, 16)
    config = plan_retrain(SPACE, GENOTYPE, "digits", image_size=32, cutout=5).config
    assert (config.padding, config.cutout) == (4, 5)


def test_a_last_single_image_is_no_batch() -> None:
    """Batch norm on one pixel of one image has no deviation, and torch refuses it."""
    x = torch.randint(0, 256, (9, 1, 4, 4)).to(torch.uint8)
    y = torch.arange(9) % 2
    source = ImageSource("noise", ImageArray(x, y), ImageArray(x, y))
    rows = torch.arange(9)
    images = ImageParts(source, {"train": rows, "val": rows, "test": rows})
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 4),
        torch.nn.BatchNorm2d(4),
        torch.nn.Flatten(),
        torch.nn.Linear(4, 2),
    )
    result = train_proxy(network, images, ProxyRecipe(epochs=2, batch_size=4), seed=0)
    assert np.isfinite(result.train_loss)
    with pytest.raises(ConfigError, match="batch_size must be at least 2, but got 1"):
        ProxyRecipe(batch_size=1)


def test_sizes_of_images_are_bounded() -> None:
    with pytest.raises(ConfigError, match="image_size must be at most 4096, but got 4097"):
        TrainImagesConfig(image_size=4097)
