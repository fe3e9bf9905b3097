from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gnas.data.images.config import Augmentation, TrainImagesConfig
from gnas.data.images.loading import BatchSchedule, FileBatches, cutout
from gnas.data.images.parts import load_images, open_train_images
from gnas.data.images.sources import ImageArray, open_source
from gnas.data.images.splits import hold_out
from gnas.errors import ConfigError, DataError, MissingDataError


def order(**changes: Any) -> BatchSchedule:
    return BatchSchedule(**{"count": 40, "batch_size": 8, "seed": 0, **changes})


@pytest.fixture
def folder(tmp_path: Path, rng: np.random.Generator) -> Path:
    """train/ and val/ with two classes of 50x40 images."""
    for part, count in (("train", 6), ("val", 3)):
        for label, name in enumerate(("cat", "dog")):
            place = tmp_path / part / name
            place.mkdir(parents=True)
            for k in range(count):
                pixels = rng.integers(0, 100, (40, 50, 3)) + 100 * label
                Image.fromarray(pixels.astype(np.uint8)).save(place / f"{k}.png")
    return tmp_path


def test_digits_are_tested_on_what_no_search_ever_sees() -> None:
    images = open_train_images(TrainImagesConfig())
    assert [len(images.rows[part]) for part in ("train", "val", "test")] == [1438, 0, 359]
    x = torch.cat([batch for batch, _ in images.eval_batches("test", 100)])
    y = torch.cat([labels for _, labels in images.eval_batches("test", 100)])
    splits = load_images("digits", image_size=16, seed=0)
    assert torch.equal(y, splits.pixels("test").y)
    assert torch.allclose(x, images.normalization(splits.pixels("test").x))
    source = open_source("digits", image_size=16)
    assert isinstance(source.train, ImageArray)
    searched = source.train.x
    assert len(searched) == 1438
    assert not {p.numpy().tobytes() for p in searched} & {
        p.numpy().tobytes() for p in splits.pixels("test").x
    }


def test_every_image_once_whoever_looks() -> None:
    images = open_train_images(TrainImagesConfig(val_share=0.1))
    for part in ("train", "val", "test"):
        whole = torch.cat([y for _, y in images.eval_batches(part, 97)])
        shares = [
            torch.cat([y for _, y in images.eval_batches(part, 64, rank=rank, world=3)])
            for rank in range(3)
        ]
        assert torch.equal(torch.cat(shares).sort().values, whole.sort().values)


def test_cutout_blanks_a_square_that_may_hang_over_the_border() -> None:
    x = torch.ones(8, 2, 10, 12)
    out = cutout(x, 4, order(), 3)
    assert torch.equal(out, cutout(x, 4, order(), 3)) and torch.equal(x, torch.ones_like(x))
    assert not torch.equal(out, cutout(x, 4, order(), 4))
    second = cutout(x[4:], 4, order(rank=1, world=2), 3)
    assert torch.equal(out[4:], second)
    for image in out:
        assert torch.equal(image[0], image[1])
        rows, columns = (image[0] == 0).nonzero().T
        height, width = int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1
        assert (image[0] == 0).sum() == height * width
        assert height == 4 or rows.min() == 0 or rows.max() == 9
        assert width == 4 or columns.min() == 0 or columns.max() == 11
    many = torch.cat([cutout(x, 4, order(), number) for number in range(200)])
    assert 0.08 < (many == 0).double().mean() < 16 / 120


def test_shares_of_classes() -> None:
    labels = torch.tensor([0] * 10 + [1] * 30)
    kept, held = hold_out(labels, 0.2, seed=1)
    assert torch.bincount(labels[held]).tolist() == [2, 6]
    assert torch.equal(torch.cat([kept, held]).sort().values, torch.arange(40))
    assert not torch.equal(held, hold_out(labels, 0.2, seed=2)[1])
    with pytest.raises(DataError, match="val_share must be 0 or hold out an image of a class"):
        hold_out(labels, 0.001, seed=1)
    assert len(hold_out(labels, 0.0, seed=1)[1]) == 0


def test_large_images_from_their_files(folder: Path) -> None:
    config = TrainImagesConfig(dataset="imagenet", data_dir=str(folder), image_size=16, workers=0)
    images = open_train_images(config)
    assert images.classes == ("cat", "dog") and images.num_classes == 2
    (x, y), *_ = list(images.eval_batches("test", 4))
    assert x.shape == (4, 3, 16, 16) and y.tolist() == [0, 0, 0, 1]
    assert x[:3].mean() < x[3:].mean()
    plain = next(images.batches("train", 6, Augmentation(), seed=0).iter_from(2))
    again = next(images.batches("train", 6, Augmentation(), seed=0).iter_from(2))
    assert torch.equal(plain[0], again[0])
    jittered = next(images.batches("train", 6, Augmentation(jitter=0.4), seed=0).iter_from(2))
    assert torch.equal(plain[1], jittered[1]) and not torch.equal(plain[0], jittered[0])
    blanked = next(images.batches("train", 6, Augmentation(cutout=8), seed=0).iter_from(2))
    same = (blanked[0] == plain[0]).double().mean()
    assert 0.5 < same < 1 and (blanked[0] == 0).any()


def test_a_worker_reads_what_the_process_itself_reads(folder: Path) -> None:
    config = TrainImagesConfig(dataset="imagenet", data_dir=str(folder), image_size=16, workers=0)
    alone = open_train_images(config)
    other = open_train_images(replace(config, workers=1))
    options = Augmentation(flip=True, jitter=0.4)
    first, second = (
        next(i.batches("train", 4, options, seed=0).iter_from(1)) for i in (alone, other)
    )
    assert torch.equal(first[0], second[0])
    both = [torch.cat([x for x, _ in images.eval_batches("test", 4)]) for images in (alone, other)]
    assert torch.equal(*both)


def test_files_that_are_no_images(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = TrainImagesConfig(dataset="imagenet", data_dir=str(folder), image_size=16, workers=0)
    (folder / "val" / "cat" / "0.png").write_bytes(b"no image")
    assert [y.tolist() for _, y in open_train_images(config).eval_batches("test", 6)] == [
        [-1, 0, 0, 1, 1, 1]
    ]
    broken = folder / "train" / "dog" / "0.png"
    broken.write_bytes(broken.read_bytes()[:100])
    batches = open_train_images(config).batches("train", 12, Augmentation(), seed=0)
    assert isinstance(batches, FileBatches)
    with caplog.at_level(logging.WARNING), pytest.raises(DataError, match="at most 1% of the"):
        next(batches.iter_from(0))
    assert "left out an unreadable image" in caplog.text


def test_folders_that_are_not_what_they_should_be(folder: Path) -> None:
    config = TrainImagesConfig(dataset="imagenet", data_dir=str(folder / "train"))
    with pytest.raises(MissingDataError, match=r"must have train/<class>/\* and val/<class>"):
        open_train_images(config)
    (folder / "val" / "dog").rename(folder / "val" / "wolf")
    with pytest.raises(DataError, match=r"must have the classes of .*differ in \['dog', 'wolf'\]"):
        open_train_images(TrainImagesConfig(dataset="imagenet", data_dir=str(folder)))
    with pytest.raises(MissingDataError, match="must hold cifar-10-batches-py"):
        open_train_images(TrainImagesConfig(dataset="cifar10", data_dir=str(folder)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset": "mnist"}, "dataset must be one of digits, .*but got 'mnist'"),
        ({"dataset": "cifar10"}, "cifar10 needs the folder of its images: give --data-dir"),
        ({"image_size": 4}, "image_size must be at least 8, but got 4"),
        ({"val_share": 1.0}, "val_share must be below 1, but got 1.0"),
        ({"val_share": "much"}, "val_share must be a number, but got 'much'"),
        ({"workers": -1}, "workers must be at least 0, but got -1"),
    ],
)
def test_impossible_configs(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainImagesConfig(**change)
