from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gnas.data.images.config import (
    ProxyImagesConfig,
    SearchImagesConfig,
    TrainImagesConfig,
)
from gnas.data.images.loading import Batch
from gnas.data.images.parts import (
    ImageParts,
    load_images,
    open_candidate_images,
    open_search_images,
    open_train_images,
    search_loaders,
)
from gnas.data.images.sources import ImageArray, ImageSource
from gnas.data.images.splits import split_evenly
from gnas.data.images.subsets import make_subset, write_subset
from gnas.errors import ConfigError, DataError, MissingDataError


def write_folder(folder: Path, count: int = 9, size: int = 12) -> Path:
    rng = np.random.default_rng(0)
    for part in ("train", "val"):
        for name in ("cat", "dog"):
            (folder / part / name).mkdir(parents=True)
            for k in range(count):
                pixels = rng.integers(0, 256, (size, size + 1, 3), np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{k}.png")
    return folder


def counted(facts: dict[str, Any]) -> int:
    """Images of all parts."""
    return sum(part["images"] for part in facts["parts"])


def pixels(images: ImageParts) -> torch.Tensor:
    assert isinstance(images.source.train, ImageArray)
    return images.source.train.x


@pytest.mark.parametrize("counts", [[3, 3, 3], [10, 4, 31, 0, 7], [3], [100, 101, 102]])
@pytest.mark.parametrize("num_parts", [2, 3])
def test_parts_are_disjoint_equal_and_balanced(counts: list[int], num_parts: int) -> None:
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]
    parts = split_evenly(labels, num_parts, seed=0)
    assert sorted(torch.cat(parts).tolist()) == list(range(len(labels)))  # disjoint, all
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    shares = torch.stack([torch.bincount(labels[p], minlength=len(counts)) for p in parts])
    assert int((shares.amax(0) - shares.amin(0)).max()) <= 1
    again, other = split_evenly(labels, num_parts, 0), split_evenly(labels, num_parts, 1)
    assert all(map(torch.equal, parts, again))
    assert len(labels) < 6 or not all(map(torch.equal, parts, other))


def test_too_few_images_and_empty_classes() -> None:
    with pytest.raises(DataError, match=r"at least 3 images, one for each part .* class 1 has 2"):
        split_evenly(torch.tensor([0, 0, 0, 1, 1]), 3, seed=0)
    with pytest.raises(DataError, match="but there is none"):
        split_evenly(torch.tensor([], dtype=torch.int64), 3, seed=0)
    x = torch.zeros(6, 1, 8, 8, dtype=torch.uint8)
    with pytest.raises(
        DataError, match="every class must have training images, but class 1 has none"
    ):
        images = ImageArray(x, torch.tensor([0, 0, 0, 2, 2, 2]))
        open_search_images(SearchImagesConfig(), source=ImageSource("digits", images))


def test_a_class_that_has_a_name_is_named(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "images", count=2)
    facts: dict[str, Any] = {"dataset": "folder", "data_dir": str(folder)}
    with pytest.raises(DataError, match="for each part of the split, but class 'cat' has 2"):
        open_search_images(SearchImagesConfig(**facts))
    with pytest.raises(DataError, match="one to validate, but class 'cat' has 1 of 2 at 50"):
        open_candidate_images(ProxyImagesConfig(**facts, percent=50.0))
    with pytest.raises(DataError, match="to train on, but class 'cat' has 2 and val_share is"):
        open_train_images(TrainImagesConfig(**facts, val_share=0.9))
    images = ImageArray(torch.zeros(2, 1, 8, 8), torch.tensor([0, 2]))
    with pytest.raises(DataError, match="must have training images, but class 'b' has none"):
        ImageSource("folder", images, class_names=("a", "b", "c")).check_classes()


def test_digits_leave_the_test_images_unseen() -> None:
    images = open_search_images(SearchImagesConfig(image_size=8))
    kept = {x.numpy().tobytes() for x in pixels(images)}
    splits = load_images("digits", image_size=8)
    held_out = {x.numpy().tobytes() for x in splits.pixels("test").x}
    assert len(held_out) == len(splits.pixels("test").x) and not kept & held_out
    facts = images.metadata()
    assert counted(facts) == len(splits.rows["train"]) + len(splits.rows["val"]) == 1438
    assert [part["images"] for part in facts["parts"]] == [480, 479, 479]
    assert [part["name"] for part in facts["parts"]] == ["train", "val_alpha", "val_beta"]
    text = "".join(f"{row}\n" for row in images.rows["val_alpha"].tolist())
    assert facts["parts"][1]["sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert open_search_images(SearchImagesConfig(image_size=8)).metadata() == facts
    other = open_search_images(SearchImagesConfig(image_size=8, seed=1)).metadata()
    assert other["train_sha256"] == facts["train_sha256"] and other["parts"] != facts["parts"]


def test_every_stream_reads_its_own_part() -> None:
    images = open_search_images(SearchImagesConfig(image_size=8))
    numbered = ImageArray(pixels(images), torch.arange(1438))  # labels are rows
    images.source = replace(images.source, train=numbered)

    def rows(stream: Iterator[Batch], count: int) -> set[int]:
        return {row for _, y in islice(stream, count) for row in y.tolist()}

    loaders = search_loaders(images, 100)
    assert loaders.beta is not None and loaders.train.batches_per_epoch == 4
    found = [rows(s.iter_from(0), 30) for s in (loaders.train, loaders.alpha, loaders.beta)]
    for got, part in zip(found, images.rows.values(), strict=True):
        assert got == set(part.tolist())
    joint = search_loaders(images, 100, joint=True)
    assert joint.beta is None
    assert rows(joint.alpha.iter_from(0), 60) == found[1] | found[2]
    del images.rows["val_beta"]
    assert search_loaders(images, 100).beta is None


def test_a_folder_in_memory(tmp_path: Path) -> None:
    write_folder(tmp_path)
    images = open_search_images(
        SearchImagesConfig(dataset="folder", data_dir=str(tmp_path), image_size=8)
    )
    assert counted(images.metadata()) == 18 and images.num_classes == 2  # val is left alone
    loaders = search_loaders(images, 6)
    x, y = next(loaders.train.iter_from(0))
    assert x.shape == (6, 3, 8, 8) and sorted(y.tolist()) == [0] * 3 + [1] * 3
    path = tmp_path / "list.txt"
    digest = write_subset(make_subset(tmp_path, 50, seed=0), path)
    config = SearchImagesConfig(
        dataset="folder", data_dir=str(tmp_path), image_size=8, images=str(path)
    )
    facts = open_search_images(config).metadata()
    assert counted(facts) == 8 and facts["list_sha256"] == digest


def test_a_share_of_imagenet(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "imagenet", count=30)
    config = SearchImagesConfig(
        dataset="imagenet-3pct", data_dir=str(folder), percent=20, image_size=16, workers=0
    )
    drawn = tmp_path / "run" / "images.txt"
    images = open_search_images(config, new_list=drawn)
    facts = images.metadata()
    assert counted(facts) == 12 == len(drawn.read_text().splitlines())
    assert facts["list_sha256"] == hashlib.sha256(drawn.read_bytes()).hexdigest()
    x, _ = next(search_loaders(images, 4).alpha.iter_from(0))
    assert x.shape == (4, 3, 16, 16)
    written = drawn.stat().st_mtime_ns
    assert open_search_images(config, new_list=drawn).metadata() == facts  # read, not drawn again
    assert drawn.stat().st_mtime_ns == written
    without = {k: v for k, v in facts.items() if k != "list_sha256"}
    assert open_search_images(config).metadata() == without


def test_unreadable_headers_are_left_out_before_the_split(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_folder(tmp_path, count=60)
    (folder / "train" / "cat" / "7.png").write_bytes(b"not an image")
    (folder / "train" / "cat" / ".hidden").write_bytes(b"nor this")
    config = SearchImagesConfig(dataset="imagenet-3pct", data_dir=str(folder), percent=100)
    assert counted(open_search_images(config).metadata()) == 119
    assert "left out 1 unreadable images" in caplog.text and "7.png" in caplog.text
    for k in range(5):
        (folder / "train" / "dog" / f"{k}.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"at most 1% .* 6 of 120 are"):
        open_search_images(config)


def test_cifar10_of_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own format, with little data and its checksums set to match."""
    from torchvision.datasets import CIFAR10

    config = SearchImagesConfig(dataset="cifar10", data_dir=str(tmp_path))
    with pytest.raises(MissingDataError, match=r"must hold cifar-10-batches-py, .* download=True"):
        open_search_images(config)
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    rng = np.random.default_rng(0)
    contents: dict[str, dict[str, Any]] = {
        "data_batch_1": {
            "data": rng.integers(0, 256, (40, 3072), np.uint8),
            "labels": [k % 10 for k in range(40)],
        },
        "batches.meta": {"label_names": [str(k) for k in range(10)]},
    }
    digests = {}
    for name, content in contents.items():
        (folder / name).write_bytes(pickle.dumps(content))
        digests[name] = hashlib.md5((folder / name).read_bytes()).hexdigest()
    monkeypatch.setattr(CIFAR10, "train_list", [["data_batch_1", digests["data_batch_1"]]])
    monkeypatch.setattr(CIFAR10, "test_list", [])
    meta = {"filename": "batches.meta", "key": "label_names", "md5": digests["batches.meta"]}
    monkeypatch.setattr(CIFAR10, "meta", meta)
    images = open_search_images(config)
    assert counted(images.metadata()) == 40 and images.in_channels == 3
    first = contents["data_batch_1"]["data"][0].reshape(3, 32, 32)
    assert np.array_equal(pixels(images)[0].numpy(), first)
    small = open_search_images(
        SearchImagesConfig(dataset="cifar10", data_dir=str(tmp_path), image_size=16)
    )
    assert next(search_loaders(small, 5).train.iter_from(0))[0].shape == (5, 3, 16, 16)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": "mnist"}, "dataset must be one of digits, cifar10, .*but got 'mnist'"),
        ({"image_size": 7}, "image_size must be at least 8, but got 7"),
        ({"dataset": "folder"}, "folder needs the folder of its images: give --data-dir"),
        ({"images": "list.txt"}, "a list of images needs a folder, but dataset is digits"),
        ({"seed": -1}, "seed must be a whole number from 0 below 2.63, but got -1"),
        ({"seed": "x"}, "seed must be a whole number from 0 below 2.63, but got 'x'"),
        ({"workers": -1}, "workers must be at least 0, but got -1"),
        ({"image_size": "abc"}, "image_size must be a whole number, but got 'abc'"),
        ({"percent": "half"}, "percent must be a number, but got 'half'"),
    ],
)
def test_impossible_configs(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SearchImagesConfig(**changes)  # type: ignore[arg-type]


def test_folders_that_are_not_there_or_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MissingDataError, match=r"found no folder .*nowhere"):
        open_search_images(
            SearchImagesConfig(dataset="folder", data_dir=str(tmp_path / "nowhere"))
        )
    write_folder(tmp_path)
    huge = SearchImagesConfig(dataset="folder", data_dir=str(tmp_path), image_size=4096)
    monkeypatch.setattr("gnas.data.images.folders.MAX_BYTES", 2**29)
    with pytest.raises(
        ConfigError, match=r"must fit in .* GiB, but 36 images .* lower the image size"
    ):
        open_search_images(huge)


def test_real_imagenet_images(shared_data: Callable[[str], Path]) -> None:
    folder = shared_data("images/imagenet_sample")
    config = SearchImagesConfig(
        dataset="imagenet-3pct", data_dir=str(folder), image_size=64, workers=0
    )
    images = open_search_images(config)
    assert counted(images.metadata()) == 30 and images.num_classes == 10
    x, y = next(search_loaders(images, 10).train.iter_from(0))
    assert x.shape == (10, 3, 64, 64) and y.tolist() != sorted(y.tolist())
    assert 0.5 < x.std() < 2 and x.mean().abs() < 1
