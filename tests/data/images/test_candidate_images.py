from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from gnas.data.images.config import ProxyImagesConfig
from gnas.data.images.parts import load_images, open_candidate_images
from gnas.errors import ConfigError, DataError, MissingDataError


def arrays(folder: Path, count: int = 40, classes: int = 4) -> Path:
    rng = np.random.default_rng(0)
    folder.mkdir()
    for part in ("train", "test"):
        np.save(folder / f"x_{part}.npy", rng.integers(0, 255, (count, 8, 8, 3), np.uint8))
        np.save(folder / f"y_{part}.npy", np.arange(count) % classes)
    return folder


def test_a_share_of_every_class(tmp_path: Path) -> None:
    folder = str(arrays(tmp_path / "set", 400))
    config = ProxyImagesConfig(dataset="folder", data_dir=folder, image_size=8, percent=40)
    images = open_candidate_images(config)
    assert torch.bincount(images.pixels("train").y).tolist() == [30] * 4
    assert torch.bincount(images.pixels("val").y).tolist() == [10] * 4
    assert len(images.rows["test"]) == 400 and images.source.name == "set"
    again = open_candidate_images(config)
    assert again.sha256 == images.sha256
    other = open_candidate_images(
        ProxyImagesConfig(dataset="folder", data_dir=folder, image_size=8, percent=40, seed=1)
    )
    assert other.sha256 != images.sha256
    parts = (images.pixels(name).x for name in ("train", "val"))
    train, val = ({x.numpy().tobytes() for x in part} for part in parts)
    assert len(train) == 120 and len(val) == 40 and not train & val


def test_digits_are_all_taken_and_disjoint_from_the_test_images() -> None:
    images = open_candidate_images(ProxyImagesConfig())
    sizes = [len(rows) for rows in images.rows.values()]
    assert sum(sizes) == 1797 and images.image_size == 8
    shares = torch.bincount(images.pixels("val").y) / torch.bincount(images.pixels("train").y)
    assert float((shares - 1 / 3).abs().max()) < 0.01


def test_a_tenth_of_cifar10_is_the_default() -> None:
    config = ProxyImagesConfig(dataset="cifar10", data_dir="somewhere")
    assert config.share == 0.1 and config.size == 32


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"dataset": "imagenet"},
            "dataset must be one of digits, cifar10, folder, but got 'imagenet'",
        ),
        ({"dataset": "folder"}, "give --data-dir"),
        ({"percent": 0}, "percent must be positive, but got 0"),
        ({"percent": "many"}, "but got 'many'"),
        ({"image_size": 2}, "image_size must be at least 8, but got 2"),
    ],
)
def test_impossible_configs(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ProxyImagesConfig(**arguments)  # type: ignore[arg-type]


def test_too_few_images(tmp_path: Path) -> None:
    folder = str(arrays(tmp_path / "set"))
    with pytest.raises(DataError, match=r"at least 2 images, one to train .* class 0 has 1 of 10"):
        open_candidate_images(ProxyImagesConfig(dataset="folder", data_dir=folder, percent=10))
    with pytest.raises(MissingDataError, match="found no folder"):
        open_candidate_images(ProxyImagesConfig(dataset="folder", data_dir=str(tmp_path / "none")))


def test_a_class_in_the_test_part_alone(tmp_path: Path) -> None:
    """Its images could never be told right, and the measured accuracy would be too low."""
    folder = arrays(tmp_path / "set")
    np.save(folder / "y_test.npy", np.arange(40) % 4 + 1)
    with pytest.raises(DataError, match="must have training images, but class 4 has none"):
        open_candidate_images(ProxyImagesConfig(dataset="folder", data_dir=str(folder)))
    with pytest.raises(DataError, match="must have training images, but class 4 has none"):
        load_images(folder, num_train=20, num_val=10)
