"""Folders of images with one sub-folder a class: listing and reading, bad files named."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gnas.data.images.decoding import SUFFIXES, UnreadableImageError, read_header, read_rgb
from gnas.errors import ConfigError, DataError, MissingDataError

logger = logging.getLogger(__name__)

MAX_UNREADABLE = 0.01
"""An image folder with a larger share of unreadable files is refused."""
MAX_BYTES = 8 * 2**30
"""Images with more bytes of pixels than this are not held in memory."""
SYSTEM_FOLDERS = {
    "__MACOSX", "__pycache__", "@eaDir", "lost+found", "$RECYCLE.BIN", "System Volume Information",
}  # fmt: skip
"""Folders that archives, file systems and tools leave behind; hidden ones are skipped as well."""
SHOWN = 3
"""Names that a line shows of many."""


@dataclass(frozen=True)
class Reading:
    """Notes taken while reading images, such as skipped files and resized images."""

    sizes: frozenset[tuple[int, int]] = frozenset()
    """Widths and heights of the images as they are stored."""
    skipped: tuple[str, ...] = ()
    """Files that are not named as images, and hidden or unused folders, each with a final /."""
    unreadable: tuple[str, ...] = ()
    """Image files that could not be read."""

    def __or__(self, other: Reading) -> Reading:
        """Both together."""
        return Reading(
            self.sizes | other.sizes,
            self.skipped + other.skipped,
            self.unreadable + other.unreadable,
        )

    def line(
        self, name: str, classes: Sequence[str], parts: Mapping[str, int], resized: str
    ) -> str:
        """One line on what was read.

        Args:
            name: Name of the source.
            classes: Their names.
            parts: Images of every part by its name.
            resized: Description of the resizing; empty if there is none.
        """
        counts = ", ".join(f"{count:,} {part}" for part, count in parts.items())
        texts = [f"{name}: {len(classes):,} classes{_few(classes)}", f"images: {counts}"]
        if self.sizes:
            texts.append(f"{_range(self.sizes)} pixels{resized and f', {resized}'}")
        elif resized:
            texts.append(resized)
        if self.skipped:
            texts.append(f"skipped {len(self.skipped):,}{_few(self.skipped)}")
        if self.unreadable:
            texts.append(f"{len(self.unreadable):,} unreadable{_few(self.unreadable)}")
        return "; ".join(texts)

    def resized(self, width: int, height: int) -> str:
        """Description of the resizing to ``width`` x ``height``; empty if sizes are unchanged."""
        if self.sizes <= {(width, height)}:
            return ""
        squeezed = any(w * height != h * width for w, h in self.sizes)
        return f"resized to {width}x{height}{' regardless of their aspect' if squeezed else ''}"


NOTHING_NOTED = Reading()


@dataclass(frozen=True)
class ImageList:
    """Images of a folder by name, class after class in sorted order."""

    folder: Path
    """Root of ``names``."""
    classes: tuple[str, ...]
    names: tuple[str, ...]
    """Path of every image: ``class/file``, or ``class/sub-folder/file``."""
    labels: tuple[int, ...]
    """Class index of every image."""
    reading: Reading = field(default=NOTHING_NOTED, compare=False)
    """Notes on skipped files."""

    @property
    def y(self) -> Tensor:
        """The same as int64 [N]."""
        return torch.tensor(self.labels, dtype=torch.int64)

    @property
    def in_channels(self) -> int:
        """Files are read as RGB."""
        return 3

    @property
    def sha256(self) -> str:
        """Hex digest of the names of all files."""
        return hashlib.sha256(os.fsencode("\n".join(self.names))).hexdigest()

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
            self.reading,
        )


def class_names(folder: Path) -> list[str]:
    """Sorted names of the sub-folders, without hidden ones and `SYSTEM_FOLDERS`.

    Raises:
        DataError: there are fewer than two, or a name is no text.
    """
    classes = sorted(
        entry.name
        for entry in _entries(folder)
        if _is_folder(entry) and not _is_hidden(entry.name)
    )
    if len(classes) < 2:
        raise DataError(
            f"an image folder must have one sub-folder for each of at least 2 classes, "
            f"but {folder} has {classes}"
        )
    for name in classes:
        if not name.isprintable():
            raise DataError(f"names of classes must be printable text, but {folder} has {name!r}")
    return classes


def training_folder(folder: Path) -> Path:
    """``folder/train`` if there is one, else ``folder`` itself.

    Raises:
        MissingDataError: no such folder.
    """
    if not folder.is_dir():
        raise MissingDataError(f"a folder of images must exist, but found no folder {folder}")
    return folder / "train" if (folder / "train").is_dir() else folder


def unused_beside(folder: Path, used: Sequence[Path]) -> Reading:
    """Notes on entries of ``folder`` that are not ``used``."""
    names = {path.name for path in used if path.parent == folder}
    return Reading(skipped=tuple(_shown(e) for e in _entries(folder) if e.name not in names))


def list_images(folder: Path, classes: Sequence[str] | None = None) -> ImageList:
    """Every file below ``folder/<class>/`` that is named as an image, none of them opened.

    Images in sub-folders of a class belong to it. Hidden files and folders, `SYSTEM_FOLDERS` and
    files with other names than `SUFFIXES` have are skipped, and kept in ``reading``.

    Args:
        folder: Has one sub-folder a class.
        classes: Subfolders in the order of their labels; None takes all, sorted.

    Raises:
        DataError: fewer than two classes, a class without an image, or a folder that cannot be
            read.
    """
    classes = class_names(folder) if classes is None else classes
    names: list[str] = []
    labels: list[int] = []
    skipped = [_shown(entry) for entry in _entries(folder) if entry.name not in classes]
    for label, name in enumerate(classes):
        others = len(skipped)
        files = sorted(_images_below(folder / name, name, skipped))
        if not files:
            raise _empty(folder / name, skipped[others:])
        names += files
        labels += [label] * len(files)
    reading = Reading(skipped=tuple(skipped))
    return ImageList(folder, tuple(classes), tuple(names), tuple(labels), reading)


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
            raise _empty(images.folder / name, ())
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


def _images_below(folder: Path, name: str, skipped: list[str]) -> Iterator[str]:
    """Names of the images in a folder and its sub-folders, each real folder once."""
    waiting, seen = [(folder, name)], set[tuple[int, int]]()
    while waiting:
        here, prefix = waiting.pop()
        entries = _entries(here)
        status = here.stat()
        key = (status.st_dev, status.st_ino)
        if key in seen:  # by a link
            skipped.append(f"{prefix}/")
            continue
        seen.add(key)
        for entry in entries:
            own = f"{prefix}/{entry.name}"
            if _is_folder(entry) and not _is_hidden(entry.name):
                waiting.append((here / entry.name, own))
            elif _is_image_file(entry):
                yield own
            else:
                skipped.append(f"{prefix}/{_shown(entry)}")


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """The content of a folder, sorted by name.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{folder} must be a folder to read, but: {error.strerror}") from error


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in SYSTEM_FOLDERS


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_image_file(entry: os.DirEntry[str]) -> bool:
    """Whether it is a regular file (no pipe, no device) that is named as an image."""
    if entry.name.startswith(".") or not entry.name.lower().endswith(SUFFIXES):
        return False
    try:
        return entry.is_file()
    except OSError:
        return False


def _shown(entry: os.DirEntry[str]) -> str:
    return f"{entry.name}/" if _is_folder(entry) else entry.name


def _few(names: Sequence[str]) -> str:
    """The first names in brackets, as printable text."""
    shown = [name if name.isprintable() else ascii(name) for name in names[:SHOWN]]
    return f" ({', '.join(shown)}{', ...' if len(names) > SHOWN else ''})" if shown else ""


def _range(sizes: frozenset[tuple[int, int]]) -> str:
    (left, right), (low, high) = ((min(side), max(side)) for side in zip(*sizes, strict=True))
    if len(sizes) == 1:
        return f"{left}x{low}"
    return f"{left} to {right} x {low} to {high}"


def _empty(folder: Path, others: Sequence[str]) -> DataError:
    named = f"; it has{_few(others)}, and images are named {', '.join(SUFFIXES)}" if others else ""
    return DataError(f"every class must have readable images, but {folder} has none{named}")
