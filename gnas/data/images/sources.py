"""Data sets as they lie there: digits, CIFAR-10, arrays, image folders, lists of files."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gnas.data.files import sha256_of
from gnas.data.images.config import SearchImagesConfig
from gnas.data.images.folders import check_memory, read_images, readable
from gnas.data.images.listing import (
    ARRAYS,
    NOTHING_NOTED,
    ImageList,
    Reading,
    check_array,
    large_folders,
    list_images,
    missing_cifar10,
    small_folders,
    unused_beside,
)
from gnas.data.images.splits import class_label, hold_out_test
from gnas.data.images.subsets import make_subset, read_subset, write_subset
from gnas.errors import DataError, MissingDataError

logger = logging.getLogger(__name__)

DIGITS = "sklearn/datasets/data/digits.csv.gz"
"""scikit-learn's copy of the digits: 64 pixels from 0 to 16 and a label a line."""
MAX_CLASSES = 100_000
"""Larger labels are taken for a mistake: the classifier has an output for each."""


@dataclass(frozen=True)
class ImageArray:
    """Labelled images in memory."""

    x: Tensor
    """Pixels, uint8 [N, C, H, W]."""
    y: Tensor
    """Labels from 0, int64 [N]."""

    def __getitem__(self, rows: Tensor) -> ImageArray:
        """The images of ``rows``."""
        return ImageArray(self.x[rows], self.y[rows])

    @property
    def in_channels(self) -> int:
        """1 for grey images, 3 for colour."""
        return int(self.x.size(1))

    @property
    def sha256(self) -> str:
        """Hex digest of all pixels and labels."""
        return digest_of(self)


@dataclass(frozen=True)
class ImageSource:
    """A data set: images for training, and for testing where it has any."""

    dataset: str
    """Its kind, "digits" for example."""
    train: ImageArray | ImageList
    test: ImageArray | ImageList | None = None
    folder: str = ""
    """Name of the user's folder, if there is one."""
    class_names: tuple[str, ...] = ()
    """Empty where classes have numbers alone."""
    reading: Reading = field(default=NOTHING_NOTED, compare=False)
    """Notes taken while reading."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """More that a run should record of its data."""

    @property
    def name(self) -> str:
        """Name of the folder, or of the kind of a data set that everyone has."""
        return self.folder if self.dataset == "folder" else self.dataset

    @cached_property
    def num_classes(self) -> int:
        """Number of classes."""
        return 1 + max(int(part.y.max()) for part in (self.train, self.test) if part is not None)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, or their numbers."""
        return self.class_names or tuple(str(label) for label in range(self.num_classes))

    def check_classes(self) -> None:
        """Check that there is an image to train on of every class.

        Raises:
            DataError: there is none.
        """
        counts = torch.bincount(self.train.y, minlength=self.num_classes)
        if not counts.all():
            empty = int((counts == 0).nonzero()[0])
            raise DataError(
                "every class must have training images, but "
                f"{class_label(empty, self.class_names)} has none"
            )


def open_source(
    dataset: str,
    data_dir: str | Path | None = None,
    image_size: int | None = None,
    *,
    rng: np.random.Generator | None = None,
    only_train: bool = False,
) -> ImageSource:
    """A data set in memory.

    Args:
        dataset: "digits", "cifar10" or "folder".
        data_dir: Folder of torchvision's copy of CIFAR-10; or with x_train.npy, y_train.npy,
            x_test.npy, y_test.npy; or of images, either ``train/<class>/*`` with
            ``test/<class>/*`` (or ``val``), or ``<class>/*`` alone.
        image_size: Height and width in pixels that images are brought to; None keeps the size (an
            image folder then needs images of one size).
        rng: Draws the test images of a source without a test part; None as with seed 0.
        only_train: Of CIFAR-10, leave the test images out.

    Raises:
        MissingDataError: no such source.
        DataError: arrays or images are damaged, do not fit together, or are none.
        ConfigError: too large images.
    """
    folder = Path(data_dir or ".")
    if dataset == "digits":
        source = _digits()
    elif dataset == "cifar10":
        source = _cifar10(folder, only_train)
    elif not folder.is_dir():
        raise MissingDataError(
            f"image source must be 'digits' or a folder of images or .npy arrays, "
            f"but found no folder {folder}; say where it is with --data-dir"
        )
    elif (folder / ARRAYS[0]).exists():
        source = _arrays(folder)
    else:
        source = _image_folder(folder, image_size, rng or np.random.default_rng(0))
    train, test = (
        None if part is None or isinstance(part, ImageList) else resized(part, image_size)
        for part in (source.train, source.test)
    )
    assert train is not None
    if dataset == "digits":
        kept, held = hold_out_test(len(train.y), rng or np.random.default_rng(0))
        train, test = train[torch.from_numpy(kept)], train[torch.from_numpy(held)]
    return replace(source, train=train, test=test, folder="" if data_dir is None else folder.name)


def open_files(folder: Path, *, only_test: bool = False) -> ImageSource:
    """A folder of large images, which are listed and not read.

    Args:
        folder: Has ``train/<class>/*`` and ``val/<class>/*`` (or ``test``).
        only_test: Take the test images for those of training, too, which may even be absent.

    Raises:
        MissingDataError: a folder is not there.
        DataError: the classes of both differ, or one has no image.
    """
    root, beside, classes = large_folders(folder, only_test=only_test)
    test = list_images(beside, classes)
    train, reading = test, test.reading
    if not only_test:
        train = list_images(root, classes)
        reading = train.reading | test.reading | unused_beside(folder, [root, beside])
    return ImageSource("imagenet", train, test, folder.name, test.classes, reading)


def open_list(config: SearchImagesConfig, new_list: Path | None) -> ImageSource:
    """Training images by a list: of a folder in memory, of ImageNet as files.

    Args:
        config: Has the list, or says how to draw one of ImageNet.
        new_list: Path for a newly drawn ImageNet list; if it exists, it is read instead.

    Raises:
        MissingDataError: a folder, file or list is not there.
        DataError: damaged images, or too few of a class.
        ConfigError: too large images.
    """
    folder, facts = Path(config.data_dir or "."), {}
    path = new_list if config.images is None else Path(config.images)
    if path is not None and (config.images is not None or path.is_file()):
        listed = read_subset(path, folder)
        facts["list_sha256"] = sha256_of(path)
    else:
        listed = make_subset(folder, config.percent, config.seed)
        logger.info("drew %d images of %d classes", len(listed.names), len(listed.classes))
        if path is not None:
            facts["list_sha256"] = write_subset(listed, path)
    train: ImageArray | ImageList
    if config.dataset == "folder":
        listed = _without_test(listed, folder)
        check_memory(len(listed.names), config.size, config.size)
        x, y, reading = read_images(listed, config.size)
        train = ImageArray(x, y)
    else:
        train = readable(listed)
        reading = train.reading
    name, classes = folder.name, listed.classes
    return ImageSource(config.dataset, train, None, name, classes, reading, facts)


def resized(images: ImageArray, size: int | None) -> ImageArray:
    """Images at ``size`` x ``size``: area means when shrinking, bilinear when growing.

    Args:
        images: N images.
        size: Side of the resized images in pixels; None keeps them.

    Raises:
        ConfigError: the resized images are too large to be held in memory.
    """
    count, channels, height, width = images.x.shape
    if size is None or size == height == width:
        return images
    check_memory(count, size, size, channels)
    mode = "area" if size <= min(height, width) else "bilinear"
    at_once = max(1, min(4096, 2**26 // (channels * max(height * width, size**2))))
    chunks = [
        torch.nn.functional.interpolate(chunk.float(), size=(size, size), mode=mode)
        .round()
        .clamp(0, 255)
        .to(torch.uint8)
        for chunk in torch.split(images.x, at_once)
    ]
    return ImageArray(torch.cat(chunks), images.y)


def digest_of(*arrays: ImageArray) -> str:
    """Hex sha256 of all pixels and labels, so that a result can name its data."""
    digest = hashlib.sha256()
    for array in arrays:
        for tensor in (array.x, array.y):
            digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


def _digits() -> ImageSource:
    # Read as `sklearn.datasets.load_digits` does, without importing it, which takes a second.
    path = Path(str(distribution("scikit-learn").locate_file(DIGITS)))
    try:
        table = np.loadtxt(path, delimiter=",", dtype=np.uint8)  # [1797, 65]
    except OSError as error:
        raise MissingDataError(
            f"the digits come with scikit-learn, but {path} cannot be read; install it again"
        ) from error
    pixels = (table[:, :64] * (255 / 16)).round().astype(np.uint8).reshape(-1, 1, 8, 8)
    x, y = torch.from_numpy(pixels), torch.from_numpy(table[:, 64].astype(np.int64))
    return ImageSource("digits", ImageArray(x, y), reading=Reading(frozenset({(8, 8)})))


def _cifar10(folder: Path, only_train: bool) -> ImageSource:
    from torchvision.datasets import CIFAR10

    try:
        parts = [CIFAR10(str(folder), train=part) for part in (True, False)[: 2 - only_train]]
    except RuntimeError as error:
        raise missing_cifar10(folder) from error
    arrays = [
        ImageArray(
            torch.from_numpy(np.ascontiguousarray(part.data.transpose(0, 3, 1, 2))),
            torch.tensor(part.targets, dtype=torch.int64),
        )
        for part in parts
    ]
    train, test = arrays[0], None if only_train else arrays[1]
    classes, reading = tuple(parts[0].classes), Reading(frozenset({(32, 32)}))
    return ImageSource("cifar10", train, test, class_names=classes, reading=reading)


def _arrays(folder: Path) -> ImageSource:
    train, test = (_array_pair(folder, part) for part in ("train", "test"))
    if train.x.shape[1:] != test.x.shape[1:]:
        raise DataError(
            f"x_train and x_test must hold images of one size, but {folder} has "
            f"{train.x.shape[1:]} and {test.x.shape[1:]}"
        )
    if int(train.y.max()) == 0:
        raise DataError(
            f"y_train.npy must hold at least 2 classes, but {folder} has label 0 alone"
        )
    height, width = train.x.shape[2:]
    return ImageSource("folder", train, test, reading=Reading(frozenset({(width, height)})))


def _array_pair(folder: Path, part: str) -> ImageArray:
    x, y = (_array(folder / f"{axis}_{part}.npy") for axis in "xy")
    if x.dtype != np.uint8 or x.ndim not in (3, 4) or (x.ndim == 4 and x.shape[3] not in (1, 3)):
        raise DataError(
            f"x_{part}.npy must be uint8 [N, H, W] or [N, H, W, 1 or 3], "
            f"but {folder} has {x.dtype} {x.shape}"
        )
    if x.size == 0:
        raise DataError(f"x_{part}.npy must hold images, but {folder} has none ({x.shape})")
    if y.shape != (len(x),) or not np.issubdtype(y.dtype, np.integer) or (y < 0).any():
        raise DataError(
            f"y_{part}.npy must hold {len(x)} labels from 0, but {folder} has {y.dtype} {y.shape}"
        )
    if (y >= MAX_CLASSES).any():
        raise DataError(
            f"y_{part}.npy must hold labels below {MAX_CLASSES}, but {folder} has {y.max()}"
        )
    x = x[..., None] if x.ndim == 3 else x
    return ImageArray(
        torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2))),
        torch.from_numpy(y.astype(np.int64)),
    )


def _array(path: Path) -> NDArray[Any]:
    """The array in a file, checked against the file's size before memory is taken for it."""
    check_array(path)
    try:
        return np.array(np.lib.format.open_memmap(path, mode="r"))
    except Exception as error:  # a header is parsed as Python, and fails in many ways
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise DataError(f"{path} must be a .npy array without pickles: {reason}") from error


def _image_folder(folder: Path, image_size: int | None, rng: np.random.Generator) -> ImageSource:
    root, beside, classes = small_folders(folder)
    lists = [list_images(part, classes) for part in (root, beside) if part is not None]
    if image_size is not None:
        check_memory(sum(len(listed.names) for listed in lists), image_size, image_size)
    arrays, reading = [], NOTHING_NOTED
    for listed in lists:
        x, y, notes = read_images(listed, image_size)
        arrays.append(ImageArray(x, y))
        reading |= notes
    if root != folder:
        reading |= unused_beside(folder, [root, *([] if beside is None else [beside])])
    if len({array.x.shape[1:] for array in arrays}) > 1:
        raise DataError(
            f"images of {beside} and {root} differ in size; give an image size to reduce them to"
        )
    train = arrays[0]
    if beside is not None:
        return ImageSource("folder", train, arrays[1], class_names=classes, reading=reading)
    readable_names = (name for name in lists[0].names if name not in reading.unreadable)
    row = {name: k for k, name in enumerate(readable_names)}
    kept, held = (
        train[torch.tensor([row[name] for name in names if name in row])]
        for names in _held_out(lists[0], rng)
    )
    return ImageSource("folder", kept, held, class_names=classes, reading=reading)


def _held_out(listed: ImageList, rng: np.random.Generator) -> tuple[list[str], list[str]]:
    """Names of the images of a folder without a test part, for training and for testing.

    Raises:
        DataError: there are too few, or all of a class are held out.
    """
    kept, held = (rows.tolist() for rows in hold_out_test(len(listed.names), rng))
    lost = {listed.labels[row] for row in held} - {listed.labels[row] for row in kept}
    if lost:
        raise DataError(
            f"every class must have training images, but all of {listed.classes[min(lost)]!r} in "
            f"{listed.folder} are among those that are held out for testing; add images of it, or "
            "make folders train and test"
        )
    return [listed.names[row] for row in kept], [listed.names[row] for row in held]


def _without_test(listed: ImageList, folder: Path) -> ImageList:
    """A list without the images that trainings on its folder hold out for testing."""
    root, beside, classes = small_folders(folder)
    if beside is not None:
        return listed
    held = {*_held_out(list_images(root, classes), np.random.default_rng(0))[1]}
    rows = [row for row, name in enumerate(listed.names) if name not in held]
    if len(rows) < len(listed.names):
        logger.warning(
            "left out %d of %d listed images, which trainings on %s hold out for testing",
            len(listed.names) - len(rows),
            len(listed.names),
            folder,
        )
    return listed.select(rows)
