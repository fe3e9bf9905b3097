from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from gnas.data.images import sources
from gnas.data.images.config import SearchImagesConfig, TrainImagesConfig
from gnas.data.images.parts import load_images, open_search_images, open_train_images
from gnas.data.images.sources import ImageArray, _digits, open_source, resized
from gnas.errors import ConfigError, DataError, MissingDataError


def write_arrays(folder: Path, rng: np.random.Generator, size: int = 8) -> Path:
    for part, count in (("train", 40), ("test", 12)):
        np.save(folder / f"x_{part}.npy", rng.integers(0, 256, (count, size, size, 3), np.uint8))
        np.save(folder / f"y_{part}.npy", np.arange(count) % 4)
    return folder


def write_folder(folder: Path, rng: np.random.Generator, count: int = 10) -> Path:
    for part in ("train", "val"):
        for name in ("cat", "dog"):
            (folder / part / name).mkdir(parents=True)
            for k in range(count):
                pixels = rng.integers(0, 256, (10, 10, 3), np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{k}.png")
    return folder


def rows(x: torch.Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in x}


def test_digits_are_split_in_three_disjoint_parts() -> None:
    splits = load_images("digits")
    sizes = [
        len(splits.pixels("train").y),
        len(splits.pixels("val").y),
        len(splits.pixels("test").y),
    ]
    assert sum(sizes) == 1797 and splits.num_classes == 10
    assert (splits.in_channels, splits.image_size) == (1, 8)
    parts = [
        rows(splits.pixels("train").x),
        rows(splits.pixels("val").x),
        rows(splits.pixels("test").x),
    ]
    assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
    assert splits.pixels("train").x.max() == 255


def test_digits_are_those_of_scikit_learn() -> None:
    digits = load_digits()
    found = _digits().train
    assert isinstance(found, ImageArray)
    assert np.array_equal(found.x[:, 0].numpy(), (digits.images * (255 / 16)).round())
    assert np.array_equal(found.y.numpy(), digits.target)


def test_digits_that_are_not_installed_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "DIGITS", "sklearn/datasets/data/none.csv.gz")
    with pytest.raises(MissingDataError, match=r"come with scikit-learn, but .*none\.csv\.gz"):
        _digits()


def test_arrays(tmp_path: Path, rng: np.random.Generator) -> None:
    write_arrays(tmp_path, rng)
    splits = load_images(tmp_path, num_train=20, num_val=10, num_test=5)
    assert splits.pixels("train").x.shape == (20, 3, 8, 8) and len(splits.pixels("val").y) == 10
    pixels = np.load(tmp_path / "x_test.npy")[:5]
    assert np.array_equal(splits.pixels("test").x.numpy(), pixels.transpose(0, 3, 1, 2))
    again = load_images(tmp_path, num_train=20, num_val=10, num_test=5)
    other = load_images(tmp_path, num_train=20, num_val=10, num_test=5, seed=1)
    assert splits.sha256 == again.sha256 != other.sha256


def test_reduction_is_the_mean_of_areas() -> None:
    x = torch.arange(2 * 3 * 8 * 8, dtype=torch.uint8).reshape(2, 3, 8, 8)
    images = ImageArray(x, torch.arange(2))
    expected = x.float().reshape(2, 3, 4, 2, 4, 2).mean((3, 5)).round()
    assert torch.equal(resized(images, 4).x.float(), expected)
    assert resized(images, 16).x.shape == (2, 3, 16, 16)


def test_image_folder(tmp_path: Path, rng: np.random.Generator) -> None:
    write_folder(tmp_path, rng)
    splits = load_images(tmp_path, num_val=4)
    assert [
        len(splits.pixels("train").y),
        len(splits.pixels("val").y),
        len(splits.pixels("test").y),
    ] == [16, 4, 20]
    first = np.asarray(Image.open(tmp_path / "val" / "cat" / "0.png"))
    assert np.array_equal(splits.pixels("test").x[0].numpy(), first.transpose(2, 0, 1))
    assert splits.pixels("test").y.tolist() == [0] * 10 + [1] * 10
    assert len(load_images(tmp_path / "train").rows["test"]) == 4  # no test part: a fifth of it
    assert load_images(tmp_path, image_size=5).image_size == 5


def test_unreadable_images(
    tmp_path: Path, rng: np.random.Generator, caplog: pytest.LogCaptureFixture
) -> None:
    write_folder(tmp_path, rng, count=60)
    (tmp_path / "train" / "cat" / "0.png").write_bytes(b"not an image")
    with caplog.at_level(logging.WARNING):
        splits = load_images(tmp_path)
    assert len(splits.pixels("train").y) + len(splits.pixels("val").y) == 119
    assert "left out 1 unreadable images" in caplog.text and "0.png" in caplog.text
    for k in range(1, 6):
        (tmp_path / "train" / "cat" / f"{k}.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"at most 1% .* 6 of 120 are"):
        load_images(tmp_path)


def test_listed_images_are_none_that_are_held_out_for_testing(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    write_folder(tmp_path, rng, count=60)
    folder, listed = tmp_path / "train", tmp_path / "list.txt"
    (folder / "cat" / "0.png").write_bytes(b"not an image")
    names = [f"{label}/{k}.png" for label in ("cat", "dog") for k in range(1, 31)]
    listed.write_text("\n".join(names))
    search = open_search_images(
        SearchImagesConfig(
            dataset="folder", data_dir=str(folder), image_size=8, images=str(listed)
        )
    )
    training = open_train_images(
        TrainImagesConfig(dataset="folder", data_dir=str(folder), image_size=8)
    )
    seen = set().union(*(rows(search.pixels(part).x) for part in search.rows))
    assert 30 < len(seen) < 60 and not seen & rows(training.pixels("test").x)


def test_a_class_that_is_held_out_whole_is_named(tmp_path: Path, rng: np.random.Generator) -> None:
    write_folder(tmp_path, rng)
    for k in range(1, 10):
        (tmp_path / "train" / "cat" / f"{k}.png").unlink()
    with pytest.raises(DataError, match=r"all of 'cat' in .* are among those .* held out"):
        for seed in range(20):
            open_source("folder", tmp_path / "train", 8, rng=np.random.default_rng(seed))


def test_few_test_images_are_of_all_classes(tmp_path: Path, rng: np.random.Generator) -> None:
    write_folder(tmp_path, rng)
    assert load_images(tmp_path, num_test=4).pixels("test").y.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"num_train": 35, "num_val": 10}, "at most 40 together"),
        ({"num_val": 0}, "at least 1"),
        ({"num_test": 13}, "num_test must be at most 12"),
        ({"image_size": 1}, "image_size must be at least 4, but got 1"),
        ({"image_size": 10**8}, "image_size must be at most 4096, but got 100000000"),
    ],
)
def test_impossible_requests(
    tmp_path: Path, rng: np.random.Generator, kwargs: dict[str, int], message: str
) -> None:
    write_arrays(tmp_path, rng)
    with pytest.raises(ConfigError, match=message):
        load_images(tmp_path, **kwargs)


def test_absurd_labels_are_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    write_arrays(tmp_path, rng)
    labels = np.load(tmp_path / "y_train.npy")
    labels[3] = 10**9
    np.save(tmp_path / "y_train.npy", labels)
    with pytest.raises(DataError, match=r"labels below 100000, but .* has 1000000000"):
        load_images(tmp_path)


def test_damaged_arrays(tmp_path: Path, rng: np.random.Generator) -> None:
    write_arrays(tmp_path, rng)
    good = (tmp_path / "x_train.npy").read_bytes()
    (tmp_path / "x_train.npy").write_bytes(good[: len(good) // 2])
    with pytest.raises(DataError, match=r"x_train.npy must be a .npy array"):
        load_images(tmp_path)
    np.save(tmp_path / "x_train.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="without pickles"):
        load_images(tmp_path)
    np.save(tmp_path / "x_train.npy", rng.random((40, 8, 8, 3)))
    with pytest.raises(DataError, match="must be uint8"):
        load_images(tmp_path)
    write_arrays(tmp_path, rng)
    np.save(tmp_path / "y_train.npy", np.zeros(3, dtype=int))
    with pytest.raises(DataError, match="must hold 40 labels"):
        load_images(tmp_path)
    (tmp_path / "y_train.npy").unlink()
    with pytest.raises(MissingDataError, match=r"y_train\.npy does not exist"):
        load_images(tmp_path)


def test_folders_that_do_not_fit(tmp_path: Path, rng: np.random.Generator) -> None:
    with pytest.raises(MissingDataError, match="found no folder"):
        load_images(tmp_path / "nowhere")
    with pytest.raises(DataError, match="at least 2 classes"):
        load_images(tmp_path)
    write_folder(tmp_path, rng)
    Image.new("RGB", (7, 7)).save(tmp_path / "train" / "cat" / "other.png")
    with pytest.raises(DataError, match="differ in size"):
        load_images(tmp_path)
    (tmp_path / "val" / "cow").mkdir()
    with pytest.raises(DataError, match=r"must have the classes .* differ in \['cow'\]"):
        load_images(tmp_path, image_size=8)
    (tmp_path / "val" / "cow").rmdir()
    (tmp_path / "train" / "dog").rename(tmp_path / "train" / "moved")
    (tmp_path / "train" / "dog").mkdir()
    with pytest.raises(DataError, match="readable images"):
        load_images(tmp_path / "train", image_size=8)
