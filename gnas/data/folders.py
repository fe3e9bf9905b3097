"""Folders of images with one sub-folder a class: listing and reading, bad files named."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from gnas.errors import DataError, MissingDataError

logger = logging.getLogger(__name__)

MAX_UNREADABLE = 0.01
"""An image folder with a larger share of unreadable files is refused."""
UNREADABLE = (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError)
"""What Pillow raises for a file that is no sound image."""


@dataclass(frozen=True)
class ImageList:
    """Images of a folder by name, class after class in sorted order."""

    folder: Path
    """What ``names`` are relative to."""
    classes: tuple[str, ...]
    names: tuple[str, ...]
    """Of every image: ``class/file``."""
    labels: tuple[int, ...]
    """Of every image: the number of its class."""

    def path(self, row: int) -> Path:
        """File of image ``row``."""
        return self.folder / self.names[row]

    def select(self, rows: Sequence[int]) -> ImageList:
        """The images of ``rows`` in the same classes."""
        return ImageList(
            self.folder,
            self.classes,
            tuple(self.names[row] for row in rows),
            tuple(self.labels[row] for row in rows),
        )


def class_names(folder: Path) -> list[str]:
    """Sorted names of the sub-folders.

    Raises:
        DataError: there are fewer than two.
    """
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir())
    if len(classes) < 2:
        raise DataError(
            f"an image folder must have one sub-folder for each of at least 2 classes, "
            f"but {folder} has {classes}"
        )
    return classes


def training_folder(folder: Path) -> Path:
    """``folder/train`` if there is one, else ``folder`` itself.

    Raises:
        MissingDataError: no such folder.
    """
    if not folder.is_dir():
        raise MissingDataError(f"a folder of images must exist, but found no folder {folder}")
    return folder / "train" if (folder / "train").is_dir() else folder


def list_images(folder: Path, classes: Sequence[str] | None = None) -> ImageList:
    """Every file of ``folder/<class>/``, hidden ones left out, none of them opened.

    Args:
        folder: Has one sub-folder a class.
        classes: Which sub-folders, in the order of their labels; None takes all, sorted.

    Raises:
        DataError: fewer than two classes, or a class without a file.
    """
    classes = class_names(folder) if classes is None else classes
    names: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        files = sorted(
            path.name
            for path in (folder / name).iterdir()
            if path.is_file() and not path.name.startswith(".")
        )
        if not files:
            raise _empty(folder / name)
        names += [f"{name}/{file}" for file in files]
        labels += [label] * len(files)
    return ImageList(folder, tuple(classes), tuple(names), tuple(labels))


def read_images(images: ImageList, image_size: int | None) -> tuple[Tensor, Tensor]:
    """Pixels uint8 [N, 3, H, W] and labels int64 [N] of all readable images.

    Unreadable ones are left out and named in a warning.

    Args:
        images: Which files.
        image_size: Height and width they are brought to; None needs images of one size.

    Raises:
        DataError: more than 1% are unreadable, a class has no readable image, or sizes differ.
    """
    pixels: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    unreadable: list[Path] = []
    for row, label in enumerate(images.labels):
        try:
            pixels.append(read_image(images.path(row), image_size))
            labels.append(label)
        except UNREADABLE:
            unreadable.append(images.path(row))
    check_readable(images, labels, unreadable)
    if len({image.shape for image in pixels}) > 1:
        raise DataError(
            f"images of {images.folder} differ in size; give an image size to reduce them to"
        )
    x = torch.from_numpy(np.stack(pixels).transpose(0, 3, 1, 2).copy())
    return x, torch.tensor(labels, dtype=torch.int64)


def readable(images: ImageList) -> ImageList:
    """The images whose headers can be read; the others are named in a warning.

    Raises:
        DataError: more than 1% are unreadable, or a class has no readable image.
    """
    good, unreadable = [], []
    for row in range(len(images.names)):
        try:
            with Image.open(images.path(row)):
                good.append(row)
        except UNREADABLE:
            unreadable.append(images.path(row))
    kept = images.select(good)
    check_readable(images, kept.labels, unreadable)
    return kept


def check_readable(images: ImageList, labels: Sequence[int], unreadable: Sequence[Path]) -> None:
    """Warns of unreadable images.

    Args:
        images: What was to be read.
        labels: Of the images that were.
        unreadable: Those that were not.

    Raises:
        DataError: they are more than 1%, or a class has none left.
    """
    found = set(labels)
    for label, name in enumerate(images.classes):
        if label not in found:
            raise _empty(images.folder / name)
    if unreadable:
        names = ", ".join(str(path) for path in unreadable[:3])
        total = len(labels) + len(unreadable)
        if len(unreadable) > MAX_UNREADABLE * total:
            raise DataError(
                f"at most {MAX_UNREADABLE:.0%} of the images may be unreadable, but "
                f"{len(unreadable)} of {total} are, for example {names}"
            )
        logger.warning("left out %d unreadable images: %s", len(unreadable), names)


def read_image(path: Path, image_size: int | None) -> NDArray[np.uint8]:
    """One image as uint8 [H, W, 3]; resized here so that a large folder fits in memory."""
    with Image.open(path) as image:
        rgb = image.convert("RGB")
        if image_size is not None:
            box = (
                Image.Resampling.BOX if min(rgb.size) >= image_size else Image.Resampling.BILINEAR
            )
            rgb = rgb.resize((image_size, image_size), box)
        return np.asarray(rgb, dtype=np.uint8)


def _empty(folder: Path) -> DataError:
    return DataError(f"every class must have readable images, but {folder} has none")
