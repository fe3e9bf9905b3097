"""The images of a training and of its test, and of a validation part if one is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
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
from gnas.data.config import Augmentation, TrainTestConfig
from gnas.data.decoding import UnreadableImageError, read_rgb
from gnas.data.folders import (
    NOTHING_NOTED,
    ImageList,
    Reading,
    list_images,
    training_folder,
    unused_beside,
)
from gnas.data.images import (
    CIFAR10_CLASSES,
    CIFAR10_READING,
    TEST_FOLDERS,
    cifar10,
    train_and_test,
)
from gnas.data.splits import digest_of, digest_of_rows, source_name
from gnas.errors import DataError, MissingDataError
from gnas.processes import worker_context

Part = Literal["train", "val", "test"]
ImageSource = tuple[Tensor, Tensor] | ImageList
SPLIT_LABELS: dict[Part, str] = {
    "train": "for training",
    "val": "for validation",
    "test": "for testing",
}
"""Descriptions of the splits."""
MAX_ASPECT = 16
"""Test images that are longer than this, relative to their short side, lose their ends first."""
RESIZE_SHARE = 256 / 224
"""Test images of files are brought to this multiple of the size before the centre is cut out."""


class TrainTestImages:
    """Images for training and testing; ``scaling`` is what their pixels are normalised by."""

    def __init__(
        self,
        config: TrainTestConfig,
        train: ImageSource,
        test: ImageSource,
        *,
        classes: Sequence[str] = (),
        reading: Reading = NOTHING_NOTED,
        scaling: Normalization | None = None,
    ) -> None:
        """Hold out the validation part.

        Args:
            config: The configuration.
            train: Pixels uint8 [N, C, H, W] and labels int64 [N]; or files.
            test: The same of other images.
            classes: Their names, if they have any.
            reading: Notes taken while reading the images.
            scaling: None takes the statistics of the images trained on (of files: ImageNet's).

        Raises:
            DataError: a class has no image to train on, or labels of the test are unknown.
        """
        self.config = config
        self._sources: dict[str, ImageSource] = {"train": train, "val": train, "test": test}
        self.reading = reading
        labels = {"train": _labels(train), "test": _labels(test)}
        self.num_classes = int(labels["train"].max()) + 1
        self.classes = tuple(classes) or tuple(str(label) for label in range(self.num_classes))
        """Names of the classes, or their numbers."""
        self.in_channels = 3 if isinstance(train, ImageList) else int(train[0].size(1))
        counts = torch.bincount(labels["train"], minlength=self.num_classes)
        if not counts.all():
            empty = int((counts == 0).nonzero()[0])
            raise DataError(f"every class must have images, but class {empty} has none")
        if int(labels["test"].max()) >= self.num_classes:
            raise DataError(
                f"test images must be of the {self.num_classes} classes trained on, but a label "
                f"is {int(labels['test'].max())}"
            )
        kept, held = hold_out(labels["train"], config.val_share, config.split_seed)
        self.rows = {"train": kept, "val": held, "test": torch.arange(len(labels["test"]))}
        """Rows of every part in its source; ``val`` is empty if none was asked for."""
        if scaling is None:
            scaling = (
                IMAGENET if isinstance(train, ImageList) else Normalization.of(train[0][kept])
            )
        self.scaling = scaling

    def line(self, *parts: Part) -> str:
        """One line on what was read of ``parts``; of all if none is given."""
        size = self.config.size
        names = [part for part in parts or SPLIT_LABELS if len(self.rows[part])]
        if isinstance(self._sources["train"], ImageList):
            ways = {"train": "random crops", "test": "centres"}
            cuts = [f"{ways[part]} {SPLIT_LABELS[part]}" for part in names if part in ways]
            resized = f"cut to {size}x{size}: {', '.join(cuts)}"
        else:
            resized = self.reading.resized(size, size)
        counts = {SPLIT_LABELS[part]: len(self.rows[part]) for part in names}
        return self.reading.line(source_name(self.config), self.classes, counts, resized)

    def metadata(self) -> dict[str, Any]:
        """Metadata of the data: sizes, digests and pixel normalization."""
        return {
            "dataset": self.config.dataset,
            "image_size": self.config.size,
            "in_channels": self.in_channels,
            "classes": self.num_classes,
            "class_names": self.classes,
            "mean": self.scaling.mean,
            "std": self.scaling.std,
            "train_sha256": digest_of(self._sources["train"]),
            "test_sha256": digest_of(self._sources["test"]),
            "parts": [
                {"name": name, "images": len(rows), "sha256": digest_of_rows(rows)}
                for name, rows in self.rows.items()
                if len(rows)
            ],
        }

    def batches(
        self,
        batch_size: int,
        augmentation: Augmentation,
        *,
        seed: int,
        device: str = "cpu",
        rank: int = 0,
        world: int = 1,
    ) -> Batches:
        """Endless batches of the training part.

        Args:
            batch_size: Images a batch, of all processes together.
            augmentation: Augmentation of the images.
            seed: Seed of the order and the augmentation.
            device: Device of the batches.
            rank: Number of this process.
            world: Number of processes.

        Raises:
            ConfigError: the batch is larger than the part, or no multiple of the processes.
        """
        rows, source = self.rows["train"], self._sources["train"]
        order = BatchSchedule(
            count=len(rows), batch_size=batch_size, seed=seed, rank=rank, world=world
        )
        if isinstance(source, ImageList):
            return FileBatches(
                source.select(rows.tolist()),
                order,
                image_size=self.config.size,
                flip=augmentation.flip,
                cutout=augmentation.cutout,
                jitter=augmentation.jitter,
                workers=self.config.workers,
                device=device,
            )
        x, y = source
        return MemoryBatches(
            x[rows],
            y[rows],
            order,
            scaling=self.scaling,
            padding=augmentation.padding,
            flip=augmentation.flip,
            cutout=augmentation.cutout,
            device=device,
        )

    def eval_batches(
        self, part: Part, batch_size: int, *, device: str = "cpu", rank: int = 0, world: int = 1
    ) -> Iterator[Batch]:
        """Every image of a part once, as it is, in this process or another one.

        Files that cannot be decoded have the label -1.

        Args:
            part: Images to use.
            batch_size: Images a batch of this process.
            device: Device of the batches.
            rank: Number of this process.
            world: Number of processes.
        """
        rows, source = self.rows[part][rank::world], self._sources[part]
        if not isinstance(source, ImageList):
            for chunk in torch.split(rows, batch_size):
                yield self.scaling(source[0][chunk].to(device)), source[1][chunk].to(device)
            return
        loader: torch.utils.data.DataLoader[Any] = torch.utils.data.DataLoader(
            _Centres(source, rows.tolist(), self.config.size),
            batch_size=batch_size,
            num_workers=self.config.workers,
            pin_memory=device.startswith("cuda"),
            generator=torch.Generator(),  # or it would draw from the global one
            multiprocessing_context=worker_context(__name__) if self.config.workers else None,
        )
        for x, y in loader:
            yield self.scaling(x.to(device)), y.to(device)


def hold_out(labels: Tensor, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Ascending rows of what is kept, and of ``share`` of every class, drawn at random.

    Args:
        labels: int64 [N].
        share: In [0, 1), rounded to whole images of each class.
        seed: Seed of the draw.

    Raises:
        DataError: a class would keep no image, or none is held out.
    """
    generator = torch.Generator().manual_seed(check_seed(seed))
    kept, held = [], []
    for label in sorted(set(labels.tolist())):
        rows = (labels == label).nonzero().flatten()
        rows = rows[torch.randperm(len(rows), generator=generator)]
        count = round(len(rows) * share)
        if count == len(rows):
            raise DataError(
                f"every class must keep images to train on, but class {label} has {len(rows)} "
                f"and val_share is {share}"
            )
        held.append(rows[:count])
        kept.append(rows[count:])
    if share > 0 and not any(map(len, held)):
        raise DataError(
            f"val_share must be 0 or hold out an image of a class, but {share} of "
            f"{len(labels):,} images is none"
        )
    return torch.cat(kept).sort().values, torch.cat(held).sort().values


def open_train_test(
    config: TrainTestConfig, *, scaling: Normalization | None = None, only_test: bool = False
) -> TrainTestImages:
    """Read or list the images of ``config``.

    Args:
        config: Images to use.
        scaling: Pixel normalization; None as in `TrainTestImages`.
        only_test: Large images: do not list those for training, which may even be absent.

    Raises:
        MissingDataError: a folder or file is not there.
        DataError: damaged or too few images.
        ConfigError: too many bytes of images.
    """
    folder = Path(config.data_dir or ".")
    train: ImageSource
    test: ImageSource
    if config.dataset == "imagenet":
        train, test, reading = _files(folder, only_test)
        classes = train.classes
    elif config.dataset == "cifar10":
        train, test = (cifar10(folder, config.size, train=part) for part in (True, False))
        classes, reading = CIFAR10_CLASSES, CIFAR10_READING
    else:
        images = train_and_test(
            "digits" if config.dataset == "digits" else folder, image_size=config.size
        )
        train, test = (images.x_train, images.y_train), (images.x_test, images.y_test)
        classes, reading = images.classes, images.reading
    return TrainTestImages(config, train, test, classes=classes, reading=reading, scaling=scaling)


def _files(folder: Path, only_test: bool) -> tuple[ImageList, ImageList, Reading]:
    root = training_folder(folder)
    tests = [folder / name for name in ("val", *TEST_FOLDERS) if (folder / name).is_dir()]
    if not tests or (root == folder and not only_test):
        raise MissingDataError(
            f"a folder of large images must have train/<class>/* and val/<class>/* (or test), "
            f"but {folder} has not; a small folder without them is `--dataset folder`"
        )
    test = list_images(tests[0])
    if only_test:
        return test, test, test.reading
    train = list_images(root)
    if train.classes != test.classes:
        raise DataError(
            f"{tests[0]} must have the classes of {root}, but they differ in "
            f"{sorted(set(train.classes) ^ set(test.classes))[:5]}"
        )
    return train, test, train.reading | test.reading | unused_beside(folder, [root, tests[0]])


def _labels(source: ImageSource) -> Tensor:
    return torch.tensor(source.labels) if isinstance(source, ImageList) else source[1].cpu()


class _Centres(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """Centre of one image: uint8 [3, S, S], and its label, -1 if it cannot be decoded."""

    def __init__(self, images: ImageList, rows: list[int], size: int) -> None:
        from torchvision.transforms import v2

        self._images, self._rows, self._size = images, rows, size
        resize = v2.Resize(round(size * RESIZE_SHARE), antialias=True)
        self._transform = v2.Compose([v2.PILToTensor(), resize, v2.CenterCrop(size)])

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        row = self._rows[number]
        try:
            rgb = read_rgb(self._images.path(row))
        except UnreadableImageError:
            return torch.zeros(3, self._size, self._size, dtype=torch.uint8), -1
        centre: Tensor = self._transform(_shortened(rgb))
        return centre, self._images.labels[row]


def _shortened(image: Image.Image) -> Image.Image:
    """The middle of a very long image: resized whole, a line of pixels would fill the memory."""
    short, (width, height) = min(image.size), image.size
    if max(image.size) <= MAX_ASPECT * short:
        return image
    cut_x, cut_y = (max(0, side - MAX_ASPECT * short) // 2 for side in (width, height))
    return image.crop((cut_x, cut_y, width - cut_x, height - cut_y))
