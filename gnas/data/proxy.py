"""The small image sets that candidates are trained on: a balanced share of a training set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from gnas.config import check_seed, from_record
from gnas.data.images import (
    CIFAR10_CLASSES,
    CIFAR10_READING,
    VAL_SHARE,
    ImageSplits,
    TrainAndTest,
    cifar10,
    load_images,
    train_and_test,
)
from gnas.data.parts import check_source
from gnas.errors import ConfigError, DataError

ProxyDataset = Literal["digits", "cifar10", "folder"]
IMAGE_SIZE: dict[ProxyDataset, int] = {"digits": 8, "cifar10": 32, "folder": 32}
"""Choice: height and width in pixels where none is given."""
PERCENT: dict[ProxyDataset, float] = {"digits": 100.0, "cifar10": 10.0, "folder": 100.0}
"""Share of the training images where none is given; a tenth of CIFAR-10 is the paper's."""


@dataclass(frozen=True, kw_only=True)
class ProxyImagesConfig:
    """Which images candidates are trained, validated and tested on.

    Raises:
        ConfigError: an option is outside its range, or a folder is missing.
    """

    dataset: ProxyDataset = "digits"
    """digits of scikit-learn; torchvision's CIFAR-10; a folder of class folders or .npy arrays."""
    data_dir: str | None = None
    """Folder of the images; digits need none."""
    image_size: int | None = None
    """Height and width; None takes the data set's own, see `IMAGE_SIZE`."""
    percent: float | None = None
    """Share of every class's training images, drawn at random; None: see `PERCENT`. A quarter of
    them validates. Test images are always all."""
    seed: int = 0
    """Of the draw and of the split."""

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_source(self, get_args(ProxyDataset), counts=())
        if type(self.share) not in (int, float) or not 0 < self.share <= 1:
            raise ConfigError(f"percent must be in (0, 100], but got {self.percent!r}")

    @property
    def size(self) -> int:
        """Height and width in pixels."""
        return IMAGE_SIZE[self.dataset] if self.image_size is None else self.image_size

    @property
    def share(self) -> float:
        """Share of the training images, a fraction."""
        percent = PERCENT[self.dataset] if self.percent is None else self.percent
        return percent / 100 if type(percent) in (int, float) else -1.0

    def open(self) -> ImageSplits:
        """The images; see `open_proxy_images`."""
        return open_proxy_images(self)

    def facts(self) -> dict[str, Any]:
        """All but the folder, which every machine has its own of."""
        return {k: v for k, v in asdict(self).items() if k != "data_dir"}


@dataclass(frozen=True, kw_only=True)
class SplitImagesConfig:
    """Images by their numbers in training, validation and test; see `load_images`.

    Raises:
        ConfigError: a number that is none.
    """

    source: str = "digits"
    """"digits", or a folder of .npy arrays or of images."""
    image_size: int | None = None
    """Height and width; None keeps the images' own."""
    num_train: int | None = None
    """Training images; None takes all that validation leaves."""
    num_val: int | None = None
    """Validation images; None takes a quarter of the training part."""
    num_test: int | None = None
    """Test images; None takes all."""

    @property
    def dataset(self) -> str:
        """The kind of images: digits, or a folder."""
        return self.source if self.source == "digits" else "folder"

    def open(self) -> ImageSplits:
        """The images; see `load_images`."""
        sizes = {k: v for k, v in asdict(self).items() if k != "source"}
        return load_images(self.source, **sizes)

    def facts(self) -> dict[str, Any]:
        """All but the folder, which every machine has its own of."""
        return {**asdict(self), "source": self.dataset}


ImagesConfig = ProxyImagesConfig | SplitImagesConfig
"""Which images, of either kind."""


def images_of_facts(facts: Mapping[str, Any], data_dir: str | None) -> ImagesConfig:
    """The config that wrote the facts, with a folder of this machine.

    Raises:
        ConfigError: the facts are of another version, or there is no folder where one is needed.
    """
    if "source" not in facts:
        return from_record(ProxyImagesConfig, {**facts, "data_dir": data_dir})
    if facts["source"] == "digits":
        return from_record(SplitImagesConfig, facts)
    if data_dir is None:
        raise ConfigError("a folder needs the folder of its images; give --data-dir")
    return from_record(SplitImagesConfig, {**facts, "source": data_dir})


def open_proxy_images(config: ProxyImagesConfig) -> ImageSplits:
    """The images of ``config``: every class has the same share in training and validation.

    Raises:
        MissingDataError: a folder or file is not there.
        DataError: damaged images, or too few of a class.
        ConfigError: too many bytes of images.
    """
    folder = Path(config.data_dir or ".")
    if config.dataset == "cifar10":
        train, test = (cifar10(folder, config.size, train=part) for part in (True, False))
        images = TrainAndTest(*train, *test, CIFAR10_CLASSES, CIFAR10_READING)
    else:
        source = "digits" if config.dataset == "digits" else folder
        images = train_and_test(source, image_size=config.size)
    fitted, held_out = _balanced_split(images.y_train, config.share, config.seed)
    return ImageSplits(
        source=config.dataset if config.dataset != "folder" else folder.name,
        x_train=images.x_train[fitted],
        y_train=images.y_train[fitted],
        x_val=images.x_train[held_out],
        y_val=images.y_train[held_out],
        x_test=images.x_test,
        y_test=images.y_test,
        num_classes=images.num_classes,
        classes=images.classes,
        reading=images.reading,
    )


def _balanced_split(labels: Tensor, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Rows for training and validation, `VAL_SHARE` of every class's drawn share for the latter.

    Args:
        labels: int64 [N].
        share: Of every class, rounded to whole images.
        seed: Of the draw; a larger share holds the smaller one's images.

    Raises:
        DataError: a class would have no image for one of the two.
    """
    shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    train, val = [], []
    for label in range(int(labels.max()) + 1):
        rows = shuffled[labels[shuffled] == label]
        drawn = rows[: round(len(rows) * share)]
        held_out = max(1, round(len(drawn) * VAL_SHARE))
        if len(drawn) - held_out < 1:
            raise DataError(
                "every class must have at least 2 images, one to train and one to validate, "
                f"but class {label} has {len(drawn)} of {len(rows)} at {share:.2%}"
            )
        val.append(drawn[:held_out])
        train.append(drawn[held_out:])
    return torch.cat(train).sort().values, torch.cat(val).sort().values
