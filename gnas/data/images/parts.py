"""Parts of a data set and their batches, for searches, trainings and candidates alike."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gnas.config import checked
from gnas.data.images.config import (
    Augmentation,
    CandidateImages,
    NumberedImagesConfig,
    SearchImagesConfig,
    TrainImagesConfig,
)
from gnas.data.images.listing import ImageList
from gnas.data.images.loading import (
    IMAGENET,
    Batch,
    Batches,
    BatchSchedule,
    FileBatches,
    MemoryBatches,
    Normalization,
    centre_batches,
)
from gnas.data.images.sources import (
    ImageArray,
    ImageSource,
    digest_of,
    open_files,
    open_list,
    open_source,
)
from gnas.data.images.splits import hold_out, split_by_number, split_evenly, split_share
from gnas.errors import ConfigError, UnsupportedError

PADDING_SHARE = 8
"""Random crops of a search shift images by up to 1/8 of their size: 4 pixels at 32, as DARTS."""
USES = {
    "train": "for training",
    "val": "for validation",
    "val_alpha": "for alpha",
    "val_beta": "for beta",
    "test": "for testing",
}
"""Descriptions of the parts."""


class ImageParts:
    """A data set in disjoint parts by name, and the batches of each.

    Args:
        source: The data set.
        rows: Rows of each part, int64: of the test images for "test", of the training images for
            all others.
        image_size: Height and width; None is that of the images in memory.
        normalization: None takes the statistics of the part "train" (of files: ImageNet's).
        workers: Processes that read files; 0 reads in this one.

    Examples:
        >>> from gnas.data.images import SearchImagesConfig, open_search_images
        >>> images = open_search_images(SearchImagesConfig(image_size=8))
        >>> {name: len(rows) for name, rows in images.rows.items()}
        {'train': 480, 'val_alpha': 479, 'val_beta': 479}
        >>> x, y = next(images.batches("train", 16, seed=0).iter_from(0))
        >>> x.shape, y.shape
        (torch.Size([16, 1, 8, 8]), torch.Size([16]))
    """

    def __init__(
        self,
        source: ImageSource,
        rows: Mapping[str, Tensor],
        *,
        image_size: int | None = None,
        normalization: Normalization | None = None,
        workers: int = 0,
    ) -> None:
        self.source, self.rows = source, dict(rows)
        self.num_classes, self.classes = source.num_classes, source.classes
        self.in_channels = source.train.in_channels
        if image_size is None:
            assert isinstance(source.train, ImageArray)
            image_size = int(source.train.x.size(2))
        self.image_size = image_size
        """Height and width in pixels."""
        self._normalization, self._workers = normalization, workers

    @cached_property
    def normalization(self) -> Normalization:
        """Normalization of the pixels."""
        if self._normalization is not None:
            return self._normalization
        if isinstance(self.source.train, ImageList):
            return IMAGENET
        return Normalization.of(self.source.train.x[self.rows["train"]])

    @cached_property
    def sha256(self) -> str:
        """Hex digest of the pixels and labels of all parts; of images in memory alone."""
        return digest_of(*map(self.pixels, self.rows))

    def __repr__(self) -> str:
        counts = "".join(f", {part}={len(rows)}" for part, rows in self.rows.items())
        return f"{type(self).__name__}({self.source.dataset!r}{counts})"

    def line(self, *parts: str) -> str:
        """One line on what was read of ``parts``; of all if none is given."""
        source, size = self.source, self.image_size
        names = [part for part in parts or self.rows if len(self.rows[part])]
        if isinstance(source.train, ImageArray):
            height, width = source.train.x.shape[2:]
            resized = source.reading.resized(width, height)
        elif "test" not in self.rows:
            resized = f"random crops of {size}x{size}"
        else:
            ways = {"train": "random crops", "test": "centres"}
            cuts = [f"{ways[part]} {USES[part]}" for part in names if part in ways]
            resized = f"cut to {size}x{size}: {', '.join(cuts)}"
        folder = source.folder if source.folder.isprintable() else ascii(source.folder)
        counts = {USES.get(part, part): len(self.rows[part]) for part in names}
        title = f"{source.dataset} {folder}".strip()
        return source.reading.line(title, self.classes, counts, resized)

    def metadata(self) -> dict[str, Any]:
        """Metadata for run records: sizes and digests of the data and its parts."""
        source = self.source
        digests = {"train_sha256": source.train.sha256}
        if source.test is not None and "test" in self.rows:
            digests["test_sha256"] = source.test.sha256
        return {
            "dataset": source.dataset,
            "image_size": self.image_size,
            "in_channels": self.in_channels,
            "classes": self.num_classes,
            "class_names": self.classes,
            "mean": self.normalization.mean,
            "std": self.normalization.std,
            **digests,
            "parts": [
                {"name": name, "images": len(rows), "sha256": _digest_of_rows(rows)}
                for name, rows in self.rows.items()
                if len(rows)
            ],
            **source.facts,
        }

    def pixels(self, part: str | Tensor) -> ImageArray:
        """Images and labels as they are in memory.

        Args:
            part: Name of a part, or rows of the training images.

        Raises:
            UnsupportedError: the images are files, which are read as crops alone.
        """
        images = self._images(part) if isinstance(part, str) else self.source.train
        if not isinstance(images, ImageArray):
            raise UnsupportedError("only images in memory are there as they are, but got files")
        return images[self.rows[part] if isinstance(part, str) else part]

    def normalised(self, part: str | Tensor) -> Batch:
        """Images float32 and labels as one batch, without augmentation.

        Args:
            part: See `pixels`.

        Raises:
            UnsupportedError: the images are files.
        """
        found = self.pixels(part)
        return self.normalization(found.x), found.y

    def batches(
        self,
        parts: str | tuple[str, ...],
        batch_size: int,
        augmentation: Augmentation | None = None,
        *,
        seed: int,
        device: str = "cpu",
        rank: int = 0,
        world: int = 1,
    ) -> Batches:
        """Endless batches of one part, or of several together; not of the test images.

        Args:
            parts: Name or names.
            batch_size: Images a batch, of all processes together.
            augmentation: Augmentation of the images; None leaves those in memory as they are.
            seed: Seed of the order and the augmentation.
            device: Device of the batches.
            rank: Number of this process.
            world: Number of processes.

        Raises:
            ConfigError: the batch is larger than the parts, or no multiple of the processes.
        """
        names = (parts,) if isinstance(parts, str) else parts
        rows = torch.cat([self.rows[name] for name in names])
        order = BatchSchedule(
            count=len(rows),
            batch_size=batch_size,
            seed=seed,
            stream=min(map(list(self.rows).index, names)),
            rank=rank,
            world=world,
        )
        images, augmentation = self.source.train, augmentation or Augmentation()
        if isinstance(images, ImageList):
            return FileBatches(
                images.select(rows.tolist()),
                order,
                augmentation,
                image_size=self.image_size,
                workers=self._workers,
                device=device,
            )
        chosen, normalization = images[rows], self.normalization
        return MemoryBatches(
            chosen.x, chosen.y, order, augmentation, normalization=normalization, device=device
        )

    def eval_batches(
        self, part: str, batch_size: int, *, device: str = "cpu", rank: int = 0, world: int = 1
    ) -> Iterator[Batch]:
        """Every image of a part once, as it is, in this process or another one.

        Files that cannot be decoded have the label -1.

        Args:
            part: Name of the part.
            batch_size: Images a batch of this process.
            device: Device of the batches.
            rank: Number of this process.
            world: Number of processes.
        """
        rows, images = self.rows[part][rank::world], self._images(part)
        shown: Iterator[Batch]
        if isinstance(images, ImageList):
            chosen = images.select(rows.tolist())
            shown = centre_batches(
                chosen, self.image_size, batch_size, workers=self._workers, device=device
            )
        else:
            shown = ((images.x[k], images.y[k]) for k in torch.split(rows, batch_size))
        for x, y in shown:
            yield self.normalization(x.to(device)), y.to(device)

    def _images(self, part: str) -> ImageArray | ImageList:
        images = self.source.test if part == "test" else self.source.train
        assert images is not None
        return images


@dataclass(frozen=True)
class SearchLoaders:
    """Batches for `search_toponas`: one stream each for w, alpha and beta; see `search_loaders`.

    Examples:
        >>> from gnas.data.images import SearchImagesConfig, open_search_images, search_loaders
        >>> images = open_search_images(SearchImagesConfig(image_size=8), num_parts=2)
        >>> search_loaders(images, 32).beta is None
        True
    """

    train: Batches
    alpha: Batches
    beta: Batches | None
    """None: no topology is learned, or it learns from alpha's batches."""
    in_channels: int
    num_classes: int
    image_size: int


def search_loaders(
    images: ImageParts,
    batch_size: int,
    *,
    seed: int = 0,
    joint: bool = False,
    device: str = "cpu",
    rank: int = 0,
    world: int = 1,
) -> SearchLoaders:
    """The streams of a search over ``images``: shifted, and mirrored unless they are digits.

    Args:
        images: See `open_search_images`.
        batch_size: Images a step, of all processes together.
        seed: Seed of the order and the augmentation.
        joint: alpha and beta learn from the same batches, drawn from both their parts.
        device: Device of the batches.
        rank: Number of this process.
        world: Number of processes.

    Raises:
        ConfigError: the batch is larger than a part, or no multiple of the processes.

    Examples:
        >>> from gnas.data.images import SearchImagesConfig, open_search_images
        >>> images = open_search_images(SearchImagesConfig(image_size=8))
        >>> search_loaders(images, 32).train.batches_per_epoch
        15
    """
    augmentation = Augmentation(
        flip=images.source.dataset != "digits",  # which would become other signs
        padding=images.image_size // PADDING_SHARE,
    )

    def stream(*parts: str) -> Batches:
        return images.batches(
            parts, batch_size, augmentation, seed=seed, device=device, rank=rank, world=world
        )

    train, *others = images.rows
    return SearchLoaders(
        train=stream(train),
        alpha=stream(*others) if joint else stream(others[0]),
        beta=stream(others[1]) if len(others) == 2 and not joint else None,
        in_channels=images.in_channels,
        num_classes=images.num_classes,
        image_size=images.image_size,
    )


@checked
def open_search_images(
    config: SearchImagesConfig,
    *,
    num_parts: int = 3,
    new_list: Path | None = None,
    source: ImageSource | None = None,
) -> ImageParts:
    """Read or list the images of a supernet search and divide them equally.

    Args:
        config: Images to use.
        num_parts: 3, or 2 where no topology is learned.
        new_list: Path for a newly drawn ImageNet list; if it exists, it is read instead.
        source: The data set, where it is open already.

    Returns:
        Parts train, val_alpha and val_beta, or train and val, of the training images.

    Raises:
        MissingDataError: a folder, file or list is not there.
        DataError: damaged or too few images.
        ConfigError: too many bytes of images.

    Examples:
        >>> images = open_search_images(SearchImagesConfig(image_size=8), num_parts=2)
        >>> images.line()[35:]
        'images: 719 for training, 719 for validation; 8x8 pixels'
    """
    if source is None and (config.images is not None or config.dataset == "imagenet-3pct"):
        source = open_list(config, new_list)
    elif source is None:
        source = open_source(config.dataset, config.data_dir, config.size, only_train=True)
    source.check_classes()
    names = ("train", "val") if num_parts == 2 else ("train", "val_alpha", "val_beta")
    rows = split_evenly(source.train.y, num_parts, config.seed, source.class_names)
    parts = dict(zip(names, rows, strict=True))
    return ImageParts(source, parts, image_size=config.size, workers=config.workers)


@checked
def open_train_images(
    config: TrainImagesConfig,
    *,
    normalization: Normalization | None = None,
    only_test: bool = False,
    source: ImageSource | None = None,
) -> ImageParts:
    """Read or list the images that a network is trained and tested on.

    Args:
        config: Images to use.
        normalization: See `ImageParts`.
        only_test: Large images: do not list those for training, which may even be absent.
        source: The data set, where it is open already.

    Returns:
        Parts train, val (empty if none is asked for) and test.

    Raises:
        MissingDataError: a folder or file is not there.
        DataError: damaged or too few images.
        ConfigError: too many bytes of images.

    Examples:
        >>> images = open_train_images(TrainImagesConfig(val_share=0.1))
        >>> {name: len(rows) for name, rows in images.rows.items()}
        {'train': 1295, 'val': 143, 'test': 359}
    """
    if source is None and config.dataset == "imagenet":
        source = open_files(Path(config.data_dir or "."), only_test=only_test)
    elif source is None:
        source = open_source(config.dataset, config.data_dir, config.size)
    source.check_classes()
    assert source.test is not None
    kept, held = hold_out(source.train.y, config.val_share, config.split_seed, source.class_names)
    return ImageParts(
        source,
        {"train": kept, "val": held, "test": torch.arange(len(source.test.y))},
        image_size=config.size,
        normalization=normalization,
        workers=config.workers,
    )


@checked
def open_candidate_images(config: CandidateImages) -> ImageParts:
    """Read the images that candidates are trained, validated and tested on.

    Args:
        config: Images to use, by their share or by their numbers.

    Returns:
        Parts train, val and test in memory.

    Raises:
        MissingDataError: a folder or file is not there.
        DataError: damaged images, or too few of a class, or a class in the test part alone.
        ConfigError: too many bytes of images, or fewer images than asked for.

    Examples:
        >>> from gnas.data.images import ProxyImagesConfig
        >>> images = open_candidate_images(ProxyImagesConfig(percent=40.0))
        >>> {name: len(rows) for name, rows in images.rows.items()}
        {'train': 433, 'val': 143, 'test': 359}
    """
    if isinstance(config, NumberedImagesConfig):
        rng = np.random.default_rng(config.seed)
        source = open_source(config.dataset, config.data_dir, config.image_size, rng=rng)
        assert source.test is not None
        count = len(source.train.y)
        train, val = split_by_number(count, config.num_train, config.num_val, rng)
        num_test = config.num_test or len(source.test.y)
        if num_test > len(source.test.y):
            raise ConfigError(f"num_test must be at most {len(source.test.y)}, but got {num_test}")
        test = _first_of_all_classes(source.test.y, num_test)
    else:
        source = open_source(config.dataset, config.data_dir, config.size)
        assert source.test is not None
        train, val = split_share(source.train.y, config.share, config.seed, source.class_names)
        test = torch.arange(len(source.test.y))
    source.check_classes()
    assert isinstance(source.train, ImageArray)
    rows = {"train": train, "val": val, "test": test}
    return ImageParts(source, rows, normalization=Normalization.in_float32(source.train.x[train]))


def load_images(
    source: str | Path,
    *,
    image_size: int | None = None,
    num_train: int | None = None,
    num_val: int | None = None,
    num_test: int | None = None,
    seed: int = 0,
) -> ImageParts:
    """Images by their numbers, in parts train, val and test.

    Args:
        source: "digits", or a folder; see `open_source`. Validation images come from its training
            part.
        image_size: Height and width in pixels; smaller than the source's by averaging areas.
            None keeps the size (an image folder then needs images of one size).
        num_train: Training images; None takes what validation leaves.
        num_val: Validation images; None takes a quarter of the training part.
        num_test: Test images, the first of the test part; where that lies class after class,
            images at equal distances. None takes all.
        seed: Seed of the split of the training part.

    Raises:
        MissingDataError: no such source.
        DataError: arrays or images are damaged or do not fit together.
        ConfigError: the source has fewer images than asked for.

    Examples:
        >>> images = load_images("digits", num_train=100, num_val=50)
        >>> images.pixels("train").x.shape
        torch.Size([100, 1, 8, 8])
    """
    return open_candidate_images(
        NumberedImagesConfig(
            dataset="digits" if str(source) == "digits" else "folder",
            data_dir=None if str(source) == "digits" else str(source),
            image_size=image_size,
            num_train=num_train,
            num_val=num_val,
            num_test=num_test,
            seed=seed,
        )
    )


def _first_of_all_classes(labels: Tensor, count: int) -> Tensor:
    """The first ``count`` rows; of labels that lie class after class, rows at equal distances."""
    rows = torch.arange(count)
    in_order = bool((labels[1:] >= labels[:-1]).all())
    return rows * len(labels) // count if in_order else rows


def _digest_of_rows(rows: Tensor) -> str:
    """Hex sha256 of the numbers of a part's images."""
    return hashlib.sha256("".join(f"{row}\n" for row in rows.tolist()).encode()).hexdigest()
