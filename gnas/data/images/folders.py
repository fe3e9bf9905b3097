"""Reading of image folders, bad files named; `listing` finds what lies there."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gnas.data.images.decoding import UnreadableImageError, read_header, read_rgb
from gnas.data.images.listing import SHOWN, ImageList, Reading, empty_class
from gnas.errors import ConfigError, DataError

logger = logging.getLogger(__name__)

MAX_UNREADABLE = 0.01
"""An image folder with a larger share of unreadable files is refused."""
MAX_BYTES = 8 * 2**30
"""Images with more bytes of pixels than this are not held in memory."""


def read_images(images: ImageList, image_size: int | None) -> tuple[Tensor, Tensor, Reading]:
    """Pixels uint8 [N, 3, H, W] and labels int64 [N] of all readable images.

    Unreadable ones are left out and named in a warning.

    Args:
        images: Files to read.
        image_size: Height and width they are brought to; None needs images of one size.

    Raises:
        DataError: more than 1% are unreadable, a class has no readable image, or sizes differ.
        ConfigError: the images are too large to be held in memory.
    """
    pixels: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    unreadable: dict[Path, str] = {}
    sizes: set[tuple[int, int]] = set()
    for row, label in enumerate(images.labels):
        try:
            image = read_rgb(images.path(row))
        except UnreadableImageError as error:
            unreadable[images.path(row)] = str(error)
            continue
        sizes.add(image.size)
        if image_size is None and len(sizes) > 1:
            raise DataError(
                f"images of {images.folder} differ in size; give an image size to reduce them to"
            )
        if not pixels and image_size is None:
            check_memory(len(images.names), *image.size)
        pixels.append(np.asarray(_resized(image, image_size), dtype=np.uint8))
        labels.append(label)
    bad = check_readable(images, labels, unreadable)
    x = torch.from_numpy(np.stack(pixels).transpose(0, 3, 1, 2).copy())
    reading = images.reading | Reading(sizes=frozenset(sizes), unreadable=bad)
    return x, torch.tensor(labels, dtype=torch.int64), reading


def readable(images: ImageList) -> ImageList:
    """The images whose headers can be read; the others are named in a warning.

    Raises:
        DataError: more than 1% are unreadable, or a class has no readable image.
    """
    good: list[int] = []
    unreadable: dict[Path, str] = {}
    sizes: set[tuple[int, int]] = set()
    for row in range(len(images.names)):
        try:
            sizes.add(read_header(images.path(row)))
            good.append(row)
        except UnreadableImageError as error:
            unreadable[images.path(row)] = str(error)
    kept = images.select(good)
    bad = check_readable(images, kept.labels, unreadable)
    reading = kept.reading | Reading(sizes=frozenset(sizes), unreadable=bad)
    return replace(kept, reading=reading)


def check_readable(
    images: ImageList, labels: Sequence[int], unreadable: Mapping[Path, str]
) -> tuple[str, ...]:
    """Warn of unreadable images, and return their names.

    Args:
        images: Images to read.
        labels: Labels of the images read.
        unreadable: Those that were not, and why.

    Raises:
        DataError: they are more than 1%, or a class has none left.
    """
    if unreadable:
        named = [f"{path}: {why}" for path, why in unreadable.items()][:SHOWN]
        total = len(labels) + len(unreadable)
        if len(unreadable) > MAX_UNREADABLE * total:
            raise DataError(
                f"at most {MAX_UNREADABLE:.0%} of the images may be unreadable, but "
                f"{len(unreadable)} of {total} are, for example {named[0]}"
            )
        logger.warning("left out %d unreadable images: %s", len(unreadable), ", ".join(named))
    found = set(labels)
    for label, name in enumerate(images.classes):
        if label not in found:
            raise empty_class(images.folder / name, ())
    return tuple(str(path.relative_to(images.folder)) for path in unreadable)


def check_memory(count: int, width: int, height: int, channels: int = 3) -> None:
    """Check that so many images may be held in memory.

    Args:
        count: Images.
        width: Width of each image in pixels.
        height: Height of each image in pixels.
        channels: Bytes a pixel.

    Raises:
        ConfigError: they are larger than `MAX_BYTES`.
    """
    needed = count * channels * width * height
    if needed > MAX_BYTES:
        raise ConfigError(
            f"the images of a source are held in memory and must fit in {MAX_BYTES >> 30} GiB, "
            f"but {count:,} images of {width}x{height} need {needed / 2**30:,.0f} GiB; lower the "
            "image size, or make a smaller list with `gnas data subset`"
        )


def _resized(image: Image.Image, size: int | None) -> Image.Image:
    """Squeezed to ``size`` x ``size``: area means when shrinking, bilinear when growing."""
    if size is None:
        return image
    shrinks = min(image.size) >= size
    how = Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
    return image.resize((size, size), how)
