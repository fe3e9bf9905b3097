"""Small image sets held in memory: scikit-learn's digits, .npy arrays or a folder of images."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gnas.config import check_seed
from gnas.data.config import LARGEST
from gnas.data.folders import (
    Reading,
    check_memory,
    class_names,
    list_images,
    read_images,
    training_folder,
    unused_beside,
)
from gnas.errors import ConfigError, DataError, MissingDataError

TEST_FOLDERS = ("test", "val")
VAL_SHARE = 0.25
"""Choice: share of the training images held out for validation when no number is given."""
TEST_SHARE = 0.2
"""Choice: share of all images held out for testing when a source has no test part of its own."""
SIZES = (4, LARGEST)
"""Smallest and largest height and width in pixels that images are brought to."""
MAX_CLASSES = 100_000
"""Larger labels are taken for a mistake: the classifier has an output for each."""


@dataclass(frozen=True)
class ImageSplits:
    """Three disjoint sets of images of one size.

    Shapes:
        x_*: uint8 [N, C, H, W]; y_*: int64 [N], labels in [0, num_classes).
    """

    source: str
    x_train: Tensor
    y_train: Tensor
    x_val: Tensor
    y_val: Tensor
    x_test: Tensor
    y_test: Tensor
    num_classes: int
    classes: tuple[str, ...] = ()
    """Names of the classes; empty where they have none."""
    reading: Reading = field(default=Reading(), compare=False)
    """Notes taken while reading the images."""

    @property
    def line(self) -> str:
        """One line on what was read."""
        parts = {
            "for training": len(self.y_train),
            "for validation": len(self.y_val),
            "for testing": len(self.y_test),
        }
        names = self.classes or tuple(str(label) for label in range(self.num_classes))
        height, width = self.x_train.shape[2:]
        return self.reading.line(self.source, names, parts, self.reading.resized(width, height))

    @property
    def in_channels(self) -> int:
        """1 for grey images, 3 for colour."""
        return int(self.x_train.size(1))

    @property
    def image_size(self) -> int:
        """Height and width in pixels."""
        return int(self.x_train.size(2))

    @cached_property
    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation (at least 1) of the training images' channels, [C] each."""
        x = self.x_train.float()
        return x.mean((0, 2, 3)), x.std((0, 2, 3)).clamp_min(1.0)

    def reading_facts(self) -> dict[str, Any]:
        """Image metadata required by networks."""
        mean, std = self.statistics
        names = self.classes or tuple(str(label) for label in range(self.num_classes))
        return {
            "image_size": self.image_size,
            "in_channels": self.in_channels,
            "classes": self.num_classes,
            "class_names": names,
            "mean": tuple(mean.tolist()),
            "std": tuple(std.tolist()),
        }

    @cached_property
    def sha256(self) -> str:
        """Digest of all pixels and labels, so that a result can name its data."""
        digest = hashlib.sha256()
        for tensor in (
            self.x_train,
            self.y_train,
            self.x_val,
            self.y_val,
            self.x_test,
            self.y_test,
        ):
            digest.update(tensor.numpy().tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class TrainAndTest:
    """All images of a source for training and all for testing.

    Shapes:
        x_*: uint8 [N, C, H, W]; y_*: int64 [N], labels from 0.
    """

    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor
    classes: tuple[str, ...] = ()
    """Names of the classes; empty where they have none."""
    reading: Reading = field(default=Reading(), compare=False)
    """Notes taken while reading the images."""

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return int(max(self.y_train.max(), self.y_test.max())) + 1


def load_images(
    source: str | Path,
    *,
    image_size: int | None = None,
    num_train: int | None = None,
    num_val: int | None = None,
    num_test: int | None = None,
    seed: int = 0,
) -> ImageSplits:
    """Images split in three, reduced to ``image_size``.

    Args:
        source: "digits"; a folder with x_train.npy, y_train.npy, x_test.npy, y_test.npy; or a
            folder of images, either ``train/<class>/*`` with ``test/<class>/*`` (or ``val``), or
            ``<class>/*`` alone. Validation images always come from the training part.
        image_size: Height and width in pixels; smaller than the source's by averaging areas.
            None keeps the size (an image folder then needs images of one size).
        num_train: Training images; None takes what validation leaves.
        num_val: Validation images; None takes a quarter of the training part.
        num_test: Test images, the first of the test part; None takes all.
        seed: Seed of the split of the training part.

    Raises:
        MissingDataError: no such source.
        DataError: arrays or images are damaged or do not fit together.
        ConfigError: the source has fewer images than asked for.
    """
    if image_size is not None and not SIZES[0] <= image_size <= SIZES[1]:
        raise ConfigError(
            f"image_size must be {SIZES[0]} to {SIZES[1]} pixels, but got {image_size}"
        )
    check_seed(seed)
    rng = np.random.default_rng(seed)
    images = train_and_test(source, image_size=image_size, rng=rng)
    order = rng.permutation(len(images.y_train))
    num_val = round(len(order) * VAL_SHARE) if num_val is None else num_val
    num_train = len(order) - num_val if num_train is None else num_train
    num_test = len(images.y_test) if num_test is None else num_test
    if num_train < 2 or min(num_val, num_test) < 1 or num_train + num_val > len(order):
        raise ConfigError(
            f"training images must be at least 2, validation and test images at least 1, and the "
            f"first two at most {len(order)} together, but got {num_train=}, {num_val=}, "
            f"{num_test=}"
        )
    if num_test > len(images.y_test):
        raise ConfigError(f"num_test must be at most {len(images.y_test)}, but got {num_test}")
    val, train = order[:num_val], order[num_val : num_val + num_train]
    return ImageSplits(
        source=str(source) if str(source) == "digits" else Path(source).name,
        x_train=images.x_train[train],
        y_train=images.y_train[train],
        x_val=images.x_train[val],
        y_val=images.y_train[val],
        x_test=images.x_test[:num_test],
        y_test=images.y_test[:num_test],
        num_classes=images.num_classes,
        classes=images.classes,
        reading=images.reading,
    )


def train_and_test(
    source: str | Path, *, image_size: int | None = None, rng: np.random.Generator | None = None
) -> TrainAndTest:
    """All images for training, and all for testing, as `load_images` divides them.

    Args:
        source: As in `load_images`.
        image_size: As in `load_images`.
        rng: Draws the test images of a source without a test part; None as with seed 0.

    Raises:
        MissingDataError: no such source.
        DataError: arrays or images are damaged, do not fit together, or are none.
        ConfigError: an impossible size, or too large images.
    """
    images = _read(source, image_size)
    if len(images.y_test) == 0:
        images = _hold_out_test(images, rng or np.random.default_rng(0))
    return images


CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip


CIFAR10_READING = Reading(frozenset({(32, 32)}))


def cifar10(folder: Path, image_size: int, *, train: bool = True) -> tuple[Tensor, Tensor]:
    """CIFAR-10 as torchvision keeps it in ``folder``: training or test images.

    Args:
        folder: Folder of torchvision's copy.
        image_size: Side of the images in pixels.
        train: Whether to read the training images instead of the test images.

    Shapes:
        pixels uint8 [N, 3, image_size, image_size], labels int64 [N].

    Raises:
        MissingDataError: it is not there, or incomplete.
    """
    from torchvision.datasets import CIFAR10

    try:
        data = CIFAR10(str(folder), train=train)
    except RuntimeError as error:
        raise MissingDataError(
            f"{folder} must hold cifar-10-batches-py, complete as torchvision downloads it, but "
            f"does not; torchvision.datasets.CIFAR10({str(folder)!r}, download=True) gets it"
        ) from error
    pixels = torch.from_numpy(np.ascontiguousarray(data.data.transpose(0, 3, 1, 2)))
    if image_size != pixels.size(-1):
        pixels = resize(pixels, image_size)
    return pixels, torch.tensor(data.targets, dtype=torch.int64)


def _read(source: str | Path, image_size: int | None) -> TrainAndTest:
    if str(source) == "digits":
        images = _digits()
    else:
        folder = Path(source)
        if not folder.is_dir():
            raise MissingDataError(
                f"image source must be 'digits' or a folder of images or .npy arrays, "
                f"but found no folder {folder}"
            )
        arrays = (folder / "x_train.npy").exists()
        images = _arrays(folder) if arrays else _image_folder(folder, image_size)
    if image_size is None or images.x_train.shape[2:] == (image_size, image_size):
        return images
    return replace(
        images,
        x_train=resize(images.x_train, image_size),
        x_test=resize(images.x_test, image_size),
    )


def resize(x: Tensor, size: int) -> Tensor:
    """Images at ``size`` x ``size``: area means when shrinking, bilinear when growing.

    Args:
        x: Images [N, C, H, W].
        size: Side of the resized images in pixels.

    Shapes:
        uint8 [N, C, H, W] -> uint8 [N, C, size, size].

    Raises:
        ConfigError: the resized images are too large to be held in memory.
    """
    count, channels, height, width = x.shape
    check_memory(count, size, size, channels)
    mode = "area" if size <= min(height, width) else "bilinear"
    at_once = max(1, min(4096, 2**26 // (channels * max(height * width, size**2))))
    chunks = [
        torch.nn.functional.interpolate(chunk.float(), size=(size, size), mode=mode)
        .round()
        .clamp(0, 255)
        .to(torch.uint8)
        for chunk in torch.split(x, at_once)
        if len(chunk)
    ]
    return torch.cat(chunks) if chunks else x.new_zeros(0, channels, size, size)


def _hold_out_test(images: TrainAndTest, rng: np.random.Generator) -> TrainAndTest:
    order = rng.permutation(len(images.y_train))
    cut = round(len(order) * TEST_SHARE)
    test, train = order[:cut], order[cut:]
    if len(test) == 0:
        raise DataError(
            f"a source without test images must have at least 3 images, so that a part of them "
            f"can be held out, but got {len(order)}"
        )
    return replace(
        images,
        x_train=images.x_train[train],
        y_train=images.y_train[train],
        x_test=images.x_train[test],
        y_test=images.y_train[test],
    )


def _digits() -> TrainAndTest:
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = torch.from_numpy((digits.images * (255 / 16)).round().astype(np.uint8))[:, None]
    y = torch.from_numpy(digits.target.astype(np.int64))
    return TrainAndTest(x, y, x[:0], y[:0], reading=Reading(frozenset({(8, 8)})))


def _arrays(folder: Path) -> TrainAndTest:
    x_train, y_train = _array_pair(folder, "train")
    x_test, y_test = _array_pair(folder, "test")
    if x_train.shape[1:] != x_test.shape[1:]:
        raise DataError(
            f"x_train and x_test must hold images of one size, but {folder} has "
            f"{x_train.shape[1:]} and {x_test.shape[1:]}"
        )
    height, width = x_train.shape[2:]
    reading = Reading(frozenset({(width, height)}))
    return TrainAndTest(x_train, y_train, x_test, y_test, reading=reading)


def _array_pair(folder: Path, part: str) -> tuple[Tensor, Tensor]:
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
    return (
        torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2))),
        torch.from_numpy(y.astype(np.int64)),
    )


def _array(path: Path) -> NDArray[Any]:
    """The array in a file, checked against the file's size before memory is taken for it."""
    if not path.is_file():
        raise MissingDataError(
            f"a folder of arrays must hold x_train.npy, y_train.npy, x_test.npy and y_test.npy, "
            f"but {path} {'is no file' if path.exists() else 'does not exist'}"
        )
    try:
        with path.open("rb") as file:  # `numpy.load` would open archives and try pickles
            np.lib.format.read_magic(file)
        return np.array(np.lib.format.open_memmap(path, mode="r"))
    except Exception as error:  # a header is parsed as Python, and fails in many ways
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise DataError(f"{path} must be a .npy array without pickles: {reason}") from error


def _image_folder(folder: Path, image_size: int | None) -> TrainAndTest:
    train = training_folder(folder)
    classes = tuple(class_names(train))
    listed = list_images(train, classes)
    tests = [folder / name for name in TEST_FOLDERS if (folder / name).is_dir()]
    tested = None
    if train != folder and tests:
        found = tuple(class_names(tests[0]))
        if found != classes:
            raise DataError(
                f"{tests[0]} must have the classes of {train}, but they differ in "
                f"{sorted(set(found) ^ set(classes))[:5]}"
            )
        tested = list_images(tests[0], classes)
    if image_size is not None:
        count = len(listed.names) + (0 if tested is None else len(tested.names))
        check_memory(count, image_size, image_size)
    x, y, reading = read_images(listed, image_size)
    if train != folder:
        reading |= unused_beside(folder, [train, *tests[:1]])
    if tested is None:
        return TrainAndTest(x, y, x[:0], y[:0], classes, reading)
    x_test, y_test, more = read_images(tested, image_size)
    if x_test.shape[1:] != x.shape[1:]:
        raise DataError(
            f"images of {tests[0]} and {train} differ in size; give an image size to reduce "
            "them to"
        )
    return TrainAndTest(x, y, x_test, y_test, classes, reading | more)
