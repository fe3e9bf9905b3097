"""Class-balanced subsets of an image folder, written down as a list with a checksum."""

from __future__ import annotations

import hashlib
import os
import re
from codecs import BOM_UTF8
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gnas.config import check_seed
from gnas.data.files import atomic_write, sha256_of
from gnas.data.images.listing import ImageList, list_images, training_folder
from gnas.errors import ConfigError, DataError, MissingDataError


def make_subset(folder: Path, percent: float, seed: int) -> ImageList:
    """A random ``percent`` of every class's training images, at least one of each.

    Args:
        folder: ``folder/train/<class>/*`` or ``folder/<class>/*``.
        percent: Percentage of each class, rounded to whole images.
        seed: Seed of the draw; equal files and seeds give equal lists on every machine.

    Raises:
        ConfigError: ``percent`` is not in (0, 100], or the seed is none.
        MissingDataError: no such folder.
        DataError: a class is empty.
    """
    if not 0 < percent <= 100:
        raise ConfigError(f"percent must be in (0, 100], but got {percent}")
    check_seed(seed)
    images = list_images(training_folder(folder))
    return images.select(draw_share(images.labels, percent, seed))


def draw_share(labels: Sequence[int], percent: float, seed: int) -> list[int]:
    """Rows of a random ``percent`` of every class, at least one of each, class after class.

    Args:
        labels: Class of every image.
        percent: Percentage of each class, rounded to whole images.
        seed: Seed of the draw.
    """
    rng = np.random.default_rng(check_seed(seed))
    chosen: list[int] = []
    for label in np.unique(labels):
        rows = np.flatnonzero(np.asarray(labels) == label)
        count = max(1, round(len(rows) * percent / 100))
        chosen += sorted(rng.permutation(rows)[:count].tolist())
    return chosen


def write_subset(images: ImageList, path: Path) -> str:
    """Write one ``class/file`` a line, and ``path.sha256`` beside it; return the sha256.

    The checksum file is what ``sha256sum --check`` reads.

    Args:
        images: The listed images.
        path: The file of the list.

    Raises:
        DataError: writing failed, or a file's name has a line break.
    """
    broken = [name for name in images.names if "\n" in name or "\r" in name]
    if broken:
        raise DataError(f"names in a list must have no line break, but got {broken[0]!r}")
    content = os.fsencode("".join(f"{name}\n" for name in images.names))
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    with atomic_write(checksum_path(path)) as temporary:
        temporary.write_bytes(os.fsencode(f"{digest}  {path.name}\n"))
    return digest


def read_subset(path: Path, folder: Path) -> ImageList:
    """The list that `write_subset` wrote, over the same or an equal folder.

    Args:
        path: The list.
        folder: As in `make_subset`.

    Raises:
        MissingDataError: no such list or folder, or files of the list are not in the folder.
        DataError: the list differs from its checksum, or is no list of ``class/file``.
    """
    if not path.is_file():
        raise MissingDataError(
            f"a list of images must exist, but found no {path}; make it with `gnas data subset`"
        )
    _check_digest(path)
    content = path.read_bytes().removeprefix(BOM_UTF8)
    names = os.fsdecode(content).replace("\r\n", "\n").removesuffix("\n").split("\n")
    names = names if names != [""] else []
    wrong = [
        n for n in names if not re.fullmatch(r"[^/\0]+(/[^/\0]+)+", n) or ".." in n.split("/")
    ]
    if wrong or not names or len(set(names)) < len(names):
        found = f"{wrong[0]!r:.200}" if wrong else "no line" if not names else "repeated lines"
        raise DataError(f"{path} must have a different class/file on every line, but has {found}")
    root = training_folder(folder)
    absent = [name for name in names if not os.path.isfile(root / name)]
    if absent:
        raise MissingDataError(
            f"every image of {path.name} must be in {root}, but {len(absent)} of {len(names)} "
            f"are not, for example {absent[0]!r:.200}"
        )
    classes = sorted({name.split("/")[0] for name in names})
    number = {name: label for label, name in enumerate(classes)}
    labels = tuple(number[name.split("/")[0]] for name in names)
    return ImageList(root, tuple(classes), tuple(names), labels)


def checksum_path(path: Path) -> Path:
    """Path of the checksum of the list ``path``."""
    return path.with_name(f"{path.name}.sha256")


def _check_digest(path: Path) -> None:
    beside = checksum_path(path)
    if beside.is_file():
        expected = beside.read_text(encoding="utf-8", errors="replace").split()[:1]
        if expected != [sha256_of(path)]:
            raise DataError(
                f"{path} must have the sha256 that {beside.name} gives, but it was changed; "
                "make it again, or remove the checksum file if the change is wanted"
            )
