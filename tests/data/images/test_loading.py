from __future__ import annotations

import logging
import os
import signal
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset

from gnas.data.images import loading
from gnas.data.images.config import Augmentation
from gnas.data.images.listing import ImageList, list_images
from gnas.data.images.loading import (
    BatchSchedule,
    FileBatches,
    MemoryBatches,
    Normalization,
    random_crop_flip,
)
from gnas.errors import ConfigError, DataError, ProcessError

PLAIN = Normalization((0.0,), (1.0,))


def numbered(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images 1x8x8 that show their own number, and labels that are it."""
    y = torch.arange(count)
    return y[:, None, None, None].expand(count, 1, 8, 8).to(torch.uint8), y


def image_folder(folder: Path, count: int = 6, size: int = 24) -> ImageList:
    for k, name in enumerate(("cat", "dog")):
        (folder / name).mkdir(parents=True)
        for row in range(count):
            colour = (20 * row + 100 * k,) * 3
            Image.new("RGB", (size, size + row), colour).save(folder / name / f"{row}.png")
    return list_images(folder)


def test_every_pass_has_every_image_once_in_an_order_of_its_own() -> None:
    x, y = numbered(12)
    stream = MemoryBatches(
        x, y, BatchSchedule(count=12, batch_size=4, seed=0), Augmentation(), normalization=PLAIN
    ).iter_from(0)
    passes = [[label for _, b in islice(stream, 3) for label in b.tolist()] for _ in range(3)]
    assert all(sorted(labels) == list(range(12)) for labels in passes)
    assert passes[0] != passes[1] != passes[2]
    incomplete = BatchSchedule(count=12, batch_size=5, seed=0)
    assert incomplete.batches_per_epoch == 2
    numbers = [number for number, _ in islice(incomplete.batches(3), 4)]
    assert numbers == [3, 4, 5, 6]


def test_any_batch_can_be_made_again_from_its_number() -> None:
    rng = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (20, 3, 8, 8), generator=rng).to(torch.uint8)
    y = torch.arange(20)

    def batches(seed: int = 0, stream: int = 0) -> MemoryBatches:
        order = BatchSchedule(count=20, batch_size=4, seed=seed, stream=stream)
        how = Augmentation(padding=2, flip=True)
        return MemoryBatches(x, y, order, how, normalization=Normalization.of(x))

    whole = list(islice(batches().iter_from(0), 12))
    for start in (1, 5, 7):
        for (a, b), (c, d) in zip(whole[start:], batches().iter_from(start), strict=False):
            assert torch.equal(a, c) and torch.equal(b, d)
    assert not torch.equal(whole[0][1], next(batches(seed=1).iter_from(0))[1])
    assert not torch.equal(whole[0][1], next(batches(stream=1).iter_from(0))[1])


def test_processes_share_a_batch() -> None:
    x, y = numbered(12)

    def stream(rank: int, world: int) -> list[torch.Tensor]:
        order = BatchSchedule(count=12, batch_size=6, seed=0, rank=rank, world=world)
        how = Augmentation(padding=3, flip=True)
        batches = MemoryBatches(x, y, order, how, normalization=PLAIN)
        return [a for a, _ in islice(batches.iter_from(0), 3)]

    shares = zip(stream(0, 2), stream(1, 2), strict=True)
    for whole, (first, second) in zip(stream(0, 1), shares, strict=True):
        assert torch.equal(whole, torch.cat([first, second]))


def test_shifted_images_are_crops_of_the_padded_ones() -> None:
    rng = torch.Generator().manual_seed(0)
    x = torch.randint(1, 256, (64, 2, 5, 5), generator=rng)
    padded = torch.nn.functional.pad(x, (2,) * 4)
    windows = padded.unfold(2, 5, 1).unfold(3, 5, 1)  # [B, C, 5, 5 offsets, 5, 5]
    order = BatchSchedule(count=64, batch_size=64, seed=1)
    out = random_crop_flip(x, 2, True, order, 0)
    seen = set()
    for k in range(64):
        found = [
            (i, j, mirrored)
            for i in range(5)
            for j in range(5)
            for mirrored in (False, True)
            if torch.equal(out[k].flip(2) if mirrored else out[k], windows[k, :, i, j])
        ]
        assert len(found) == 1
        seen.update(found)
    assert len(seen) > 30  # of 50 ways
    second = replace(order, rank=1, world=2)
    assert torch.equal(random_crop_flip(x[32:], 2, True, second, 0), out[32:])  # of its own alone
    assert torch.equal(random_crop_flip(x, 0, False, order, 0), x)


def test_normalization_is_that_of_the_images() -> None:
    rng = torch.Generator().manual_seed(0)
    x = torch.randint(0, 200, (50, 2, 4, 4), generator=rng).to(torch.uint8)
    x[:, 1] = 7
    out = Normalization.of(x)(x)
    assert out[:, 0].mean().abs() < 1e-5 and (out[:, 0].std() - 1).abs() < 1e-2
    assert torch.equal(out[:, 1], torch.zeros(50, 4, 4))


@pytest.mark.parametrize(
    ("size", "world", "message"),
    [(0, 1, "between 1 and the 12"), (13, 1, "between 1 and the 12"), (5, 2, "of the 2 proc")],
)
def test_impossible_batches(size: int, world: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BatchSchedule(count=12, batch_size=size, seed=0, world=world)


@pytest.mark.parametrize("workers", [0, 1])
def test_files_are_cropped_the_same_way_every_time(tmp_path: Path, workers: int) -> None:
    images = image_folder(tmp_path)
    order = BatchSchedule(count=12, batch_size=4, seed=0)
    state = torch.random.get_rng_state()
    batches = FileBatches(images, order, Augmentation(flip=True), image_size=16, workers=workers)
    whole = list(islice(batches.iter_from(0), 5))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(x.shape == (4, 3, 16, 16) and x.dtype == torch.float32 for x, _ in whole)
    assert sorted(torch.cat([y for _, y in whole[:3]]).tolist()) == [0] * 6 + [1] * 6
    for (a, b), (c, d) in zip(
        whole[2:],
        FileBatches(images, order, Augmentation(flip=True), image_size=16, workers=0).iter_from(2),
        strict=False,
    ):
        assert torch.equal(a, c) and torch.equal(b, d)


def test_files_that_cannot_be_decoded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = image_folder(tmp_path, count=60)
    row = images.names.index("cat/3.png")
    path = images.path(row)
    path.write_bytes(path.read_bytes()[:60])  # a sound header
    order = BatchSchedule(count=120, batch_size=8, seed=0)
    batches = FileBatches(images, order, Augmentation(flip=True), image_size=8, workers=0)
    with caplog.at_level(logging.WARNING):
        labels = torch.cat([y for _, y in islice(batches.iter_from(0), 30)])
    assert caplog.text.count("left out an unreadable image") == 1 and "3.png" in caplog.text
    assert len(labels) == 240 and batches.unreadable == {row}
    images.path(row + 1).write_bytes(b"")
    with pytest.raises(DataError, match=r"at most 1% .* 2 of 120 are, for example .*cat/"):
        list(islice(batches.iter_from(0), 30))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_is_at_least_readable_as_bytes(tmp_path: Path, workers: int) -> None:
    images = image_folder(tmp_path, count=1)
    for row in range(2):
        images.path(row).write_bytes(b"")
    order = BatchSchedule(count=2, batch_size=1, seed=0)
    batches = FileBatches(images, order, Augmentation(), image_size=8, workers=workers)
    with pytest.raises(DataError, match=r"^none of the 2 images can be read$"):
        next(batches.iter_from(0))
    assert np.array_equal(images.labels, [0, 1])


class Killed(Dataset[int]):
    """Images of which the second is too large for the memory."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, row: int) -> int:
        if row:
            os.kill(os.getpid(), signal.SIGKILL)
        return row


class Broken(Killed):
    def __getitem__(self, row: int) -> int:
        raise RuntimeError("of another kind")


def test_a_killed_process_that_reads_images_is_one_line() -> None:
    with pytest.raises(
        ProcessError, match=r"^each of the 1 processes that read images .* workers$"
    ):
        list(loading._read(Killed(), 1, "cpu", batch_size=1))
    with pytest.raises(RuntimeError, match="of another kind"):
        list(loading._read(Broken(), 1, "cpu", batch_size=1))
