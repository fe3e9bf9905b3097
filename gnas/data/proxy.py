"""The small image sets that candidates are trained on: a balanced share of a training set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gnas.config import from_record
from gnas.data.config import ProxyImagesConfig, SplitImagesConfig
from gnas.data.images import (
    CIFAR10_CLASSES,
    CIFAR10_READING,
    VAL_SHARE,
    ImageSplits,
    TrainAndTest,
    cifar10,
    train_and_test,
)
from gnas.errors import ConfigError, DataError

ImagesConfig = ProxyImagesConfig | SplitImagesConfig
"""Configuration of either kind of images."""


def images_of_facts(facts: Mapping[str, Any], data_dir: str | None) -> ImagesConfig:
    """The config that wrote the facts, with a folder of this machine.

    Raises:
        ConfigError: the facts are of another version, or there is no folder where one is needed.
    """
    if "source" not in facts:
        folder = None if facts.get("dataset") == "digits" else data_dir  # of any worker
        return from_record(ProxyImagesConfig, {**facts, "data_dir": folder})
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
        share: Share of every class, rounded to whole images.
        seed: Seed of the draw; a larger share contains the images of a smaller one.

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
