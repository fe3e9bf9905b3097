"""The images of a supernet search: disjoint equal parts of a training set, and their batches."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gnas.config import check_seed
from gnas.data.batches import (
    IMAGENET,
    Batch,
    Batches,
    BatchSchedule,
    FileBatches,
    MemoryBatches,
    Normalization,
)
from gnas.data.config import ImagesConfig, TrainTestConfig
from gnas.data.files import sha256_of
from gnas.data.folders import (
    NOTHING_NOTED,
    ImageList,
    Reading,
    check_memory,
    read_images,
    readable,
)
from gnas.data.images import CIFAR10_CLASSES, CIFAR10_READING, cifar10, train_and_test
from gnas.data.subsets import make_subset, read_subset, write_subset
from gnas.errors import DataError, UnsupportedError

logger = logging.getLogger(__name__)

PADDING_SHARE = 8
"""Random crops shift images by up to 1/8 of their size: 4 pixels at 32, as DARTS does."""
SPLIT_NAMES = ("train", "val_alpha", "val_beta")


def split_evenly(labels: Tensor, num_parts: int, seed: int) -> tuple[Tensor, ...]:
    """Disjoint random parts that together are everything, of equal size and class shares.

    Every class is shuffled, then all images are dealt out in turn: sizes differ by at most one,
    and so do the parts' numbers of images of any class.

    Args:
        labels: int64 [N].
        num_parts: Parts.
        seed: Seed of the shuffle.

    Returns:
        Ascending rows, int64, of every part.

    Raises:
        DataError: a class has fewer images than there are parts.
    """
    generator = torch.Generator().manual_seed(check_seed(seed))
    shuffled = torch.randperm(len(labels), generator=generator)  # [N]
    by_class = shuffled[torch.argsort(labels[shuffled], stable=True)]  # [N]
    counts = torch.bincount(labels)  # [classes]
    few = torch.nonzero((counts > 0) & (counts < num_parts)).flatten().tolist()
    if few or len(labels) == 0:
        found = f"class {few[0]} has {int(counts[few[0]])}" if few else "there is none"
        raise DataError(
            f"every class must have at least {num_parts} images, one for each part of the "
            f"split, but {found}"
        )
    return tuple(by_class[k::num_parts].sort().values for k in range(num_parts))


class SearchImages:
    """An image set that is split for a search."""

    def __init__(
        self,
        config: ImagesConfig,
        source: tuple[Tensor, Tensor] | ImageList,
        *,
        num_parts: int = 3,
        classes: Sequence[str] = (),
        reading: Reading = NOTHING_NOTED,
        facts: dict[str, Any] | None = None,
    ) -> None:
        """Split the images.

        Args:
            config: The configuration.
            source: Pixels uint8 [N, C, H, W] and labels int64 [N]; or files.
            num_parts: 3, or 2 where no topology is learned.
            classes: Their names, if they have any.
            reading: Notes taken while reading; file lists have their own.
            facts: More that a run should record of its data.

        Raises:
            DataError: too few images of a class.
        """
        self.config, self._source = config, source
        labels = torch.tensor(source.labels) if isinstance(source, ImageList) else source[1].cpu()
        self.labels = labels
        self.num_classes = int(labels.max()) + 1
        if isinstance(source, ImageList):
            classes, reading = source.classes, source.reading
        self.classes = tuple(classes) or tuple(str(label) for label in range(self.num_classes))
        """Names of the classes, or their numbers."""
        self.reading = reading
        self.in_channels = 3 if isinstance(source, ImageList) else int(source[0].size(1))
        counts = torch.bincount(labels, minlength=self.num_classes)
        if not counts.all():
            empty = int((counts == 0).nonzero()[0])
            raise DataError(f"every class must have images, but class {empty} has none")
        self.parts = split_evenly(labels, num_parts, config.seed)
        self._facts = facts or {}

    def resplit(self, num_parts: int, seed: int) -> SearchImages:
        """The same images, not copied, in other parts.

        Args:
            num_parts: Number of parts.
            seed: Seed of the split.
        """
        return SearchImages(
            replace(self.config, seed=seed),
            self._source,
            num_parts=num_parts,
            classes=self.classes,
            reading=self.reading,
            facts=self._facts,
        )

    @property
    def line(self) -> str:
        """One line on what was read."""
        size = self.config.size
        counts = {name: len(rows) for name, rows in zip(self.names, self.parts, strict=True)}
        resized = (
            f"random crops of {size}x{size}"
            if isinstance(self._source, ImageList)
            else self.reading.resized(size, size)
        )
        return self.reading.line(source_name(self.config), self.classes, counts, resized)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parts."""
        return SPLIT_NAMES if len(self.parts) == 3 else ("train", "val")

    @cached_property
    def scaling(self) -> Normalization:
        """Pixel normalization: statistics of the first split; ImageNet's for files."""
        if isinstance(self._source, ImageList):
            return IMAGENET
        return Normalization.of(self._source[0][self.parts[0]])

    def metadata(self) -> dict[str, Any]:
        """Metadata for the run record: digests and sizes of the data and its splits."""
        return {
            "dataset": self.config.dataset,
            "images": len(self.labels),
            "image_size": self.config.size,
            "in_channels": self.in_channels,
            "classes": self.num_classes,
            "class_names": self.classes,
            "mean": self.scaling.mean,
            "std": self.scaling.std,
            "sha256": digest_of(self._source),
            "parts": [
                {"name": name, "images": len(rows), "sha256": digest_of_rows(rows)}
                for name, rows in zip(self.names, self.parts, strict=True)
            ],
            **self._facts,
        }

    def unaugmented(self, rows: Tensor) -> Batch:
        """Images and labels of these rows, normalised, without crops and mirroring.

        Raises:
            UnsupportedError: the images are files, which are read as crops alone.
        """
        if isinstance(self._source, ImageList):
            raise UnsupportedError("only images in memory are there as they are, but got files")
        x, y = self._source
        return self.scaling(x[rows]), y[rows]

    def batches(
        self,
        parts: Sequence[int],
        batch_size: int,
        *,
        seed: int,
        device: str = "cpu",
        rank: int = 0,
        world: int = 1,
    ) -> Batches:
        """Endless batches of one part, or of several together.

        Args:
            parts: Indices of the splits.
            batch_size: Images a batch, of all processes together.
            seed: Seed of the order and the augmentation.
            device: Device of the batches.
            rank: Number of this process.
            world: Number of processes.

        Raises:
            ConfigError: the batch is larger than the parts, or no multiple of the processes.
        """
        rows = torch.cat([self.parts[part] for part in parts])
        order = BatchSchedule(
            count=len(rows),
            batch_size=batch_size,
            seed=seed,
            stream=min(parts),
            rank=rank,
            world=world,
        )
        size, flip = self.config.size, self.config.flip
        if isinstance(self._source, ImageList):
            return FileBatches(
                self._source.select(rows.tolist()),
                order,
                image_size=size,
                flip=flip,
                workers=self.config.workers,
                device=device,
            )
        x, y = self._source
        return MemoryBatches(
            x[rows],
            y[rows],
            order,
            scaling=self.scaling,
            padding=size // PADDING_SHARE,
            flip=flip,
            device=device,
        )


@dataclass(frozen=True)
class SearchLoaders:
    """Batches for `search_toponas`: one stream each for w, alpha and beta."""

    train: Batches
    alpha: Batches
    beta: Batches | None
    """None: no topology is learned, or it learns from alpha's batches."""
    in_channels: int
    num_classes: int
    image_size: int


def search_loaders(
    images: SearchImages,
    batch_size: int,
    *,
    seed: int = 0,
    joint: bool = False,
    device: str = "cpu",
    rank: int = 0,
    world: int = 1,
) -> SearchLoaders:
    """The streams of a search over ``images``.

    Args:
        images: Split in three (w, alpha, beta) or in two (w, alpha).
        batch_size: Images a step, of all processes together.
        seed: Seed of the order and the augmentation.
        joint: alpha and beta learn from the same batches, drawn from both their parts.
        device: Device of the batches.
        rank: Number of this process.
        world: Number of processes.

    Raises:
        ConfigError: the batch is larger than a part, or no multiple of the processes.
    """
    three = len(images.parts) == 3

    def stream(*parts: int) -> Batches:
        return images.batches(parts, batch_size, seed=seed, device=device, rank=rank, world=world)

    return SearchLoaders(
        train=stream(0),
        alpha=stream(1, 2) if joint and three else stream(1),
        beta=stream(2) if three and not joint else None,
        in_channels=images.in_channels,
        num_classes=images.num_classes,
        image_size=images.config.size,
    )


def open_images(
    config: ImagesConfig, *, num_parts: int = 3, new_list: Path | None = None
) -> SearchImages:
    """Read or list the images of ``config`` and split them.

    Args:
        config: Images to use.
        num_parts: 3, or 2 where no topology is learned.
        new_list: Path for a newly drawn ImageNet list; if it exists,
            it is read instead.

    Raises:
        MissingDataError: a folder, file or list is not there.
        DataError: damaged or too few images.
        ConfigError: too many bytes of images.
    """
    facts: dict[str, Any] = {}
    classes: Sequence[str] = ()
    reading = NOTHING_NOTED
    source: tuple[Tensor, Tensor] | ImageList
    folder = Path(config.data_dir or ".")
    if config.dataset == "cifar10":
        source = cifar10(folder, config.size)
        classes, reading = CIFAR10_CLASSES, CIFAR10_READING
    elif config.dataset == "imagenet-3pct":
        source = readable(_imagenet_list(config, folder, new_list, facts))
    elif config.images is not None:
        listed = read_subset(Path(config.images), folder)
        check_memory(len(listed.names), config.size, config.size)
        facts["list_sha256"] = sha256_of(Path(config.images))
        x, y, reading = read_images(listed, config.size)
        source, classes = (x, y), listed.classes
    else:
        images = train_and_test(
            "digits" if config.dataset == "digits" else folder, image_size=config.size
        )
        source = images.x_train, images.y_train
        classes, reading = images.classes, images.reading
    return SearchImages(
        config, source, num_parts=num_parts, classes=classes, reading=reading, facts=facts
    )


def _imagenet_list(
    config: ImagesConfig, folder: Path, new_list: Path | None, facts: dict[str, Any]
) -> ImageList:
    if config.images is not None or (new_list is not None and new_list.is_file()):
        path = Path(config.images) if config.images is not None else new_list
        assert path is not None
        facts["list_sha256"] = sha256_of(path)
        return read_subset(path, folder)
    drawn = make_subset(folder, config.percent, config.seed)
    logger.info("drew %d images of %d classes", len(drawn.names), len(drawn.classes))
    if new_list is not None:
        facts["list_sha256"] = write_subset(drawn, new_list)
    return drawn


def source_name(source: ImagesConfig | TrainTestConfig) -> str:
    """Name of the images in messages: the data set and the user's folder."""
    if source.dataset == "digits" or source.data_dir is None:
        return source.dataset
    name = Path(source.data_dir).name
    return f"{source.dataset} {name if name.isprintable() else ascii(name)}"


def digest_of(source: tuple[Tensor, Tensor] | ImageList) -> str:
    """Hex sha256 of all pixels and labels, or of the names of all files."""
    digest = hashlib.sha256()
    if isinstance(source, ImageList):
        digest.update(os.fsencode("\n".join(source.names)))
    else:
        for tensor in source:
            digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


def digest_of_rows(rows: Tensor) -> str:
    """Hex sha256 of the numbers of a part's images."""
    return hashlib.sha256("".join(f"{row}\n" for row in rows.tolist()).encode()).hexdigest()
