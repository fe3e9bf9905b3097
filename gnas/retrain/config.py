"""Configuration of a retraining, with the papers' recipes as presets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import Field

from gnas.config import (
    BelowOne,
    Count,
    CountOrZero,
    NotNegative,
    Positive,
    Precision,
    Rate,
    Seed,
    check_pieces,
    configuration,
)
from gnas.data.images.config import Augmentation
from gnas.errors import ConfigError
from gnas.training.schedules import Decay, decay, warmup


@configuration
class RetrainConfig:
    """Recipe by which a found architecture is trained from new weights.

    Defaults are TopoNAS' for CIFAR-10 (Huang et al. 2020, appendix A.2), and DARTS' where it says
    "following DARTS".

    Raises:
        ConfigError: an option is outside its range; the message names it.

    Examples:
        >>> config = RetrainConfig(epochs=100, batch_size=64)
        >>> config.lr_at(0), round(config.lr_at(50), 4)
        (0.025, 0.0125)
    """

    layers: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Cells of the network, or in each stage of one of NASGEM or NAS-Bench cells; None takes the
    preset's (12 for TopoNAS cells on CIFAR-10; the papers stack 20 of DARTS' cells) or the
    space's own."""
    channels: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Channels of the first cells; None takes the preset's (32 for TopoNAS cells on CIFAR-10, 48
    in its large networks, 36 for DARTS cells) or the space's own."""
    stem: Literal["cifar", "imagenet"] = "cifar"
    """One convolution, or three with stride 2."""
    network: Mapping[str, Any] = field(default_factory=dict)
    """Other fields of the config of the space's networks, each of which can be set by its own name
    (``num_stages``, ``num_stacks``, ``stem_multiplier``)."""

    epochs: Count = 600
    """Passes over the training images."""
    batch_size: Count = 96
    """Images a step, of all processes together; an incomplete last batch of a pass is left out."""
    accumulate: Count = 1
    """Pieces that a process takes its share of a batch in: less memory. Batch norm sees one piece
    of one process at a time."""
    lr: Rate = 0.025
    """First learning rate of SGD."""
    schedule: Decay = "cosine"
    """Course of the rate down to 0, lowered after every epoch."""
    warmup_epochs: CountOrZero = 0
    """Epochs over which the rate first rises linearly, at most ``epochs``."""
    momentum: BelowOne = 0.9
    """Momentum of SGD."""
    weight_decay: NotNegative = 3e-4
    """L2 penalty on all weights."""
    gradient_clip: Positive = 5.0
    """Largest norm of the gradient."""
    label_smoothing: BelowOne = 0.0
    """Probability mass spread over all classes in the training loss."""
    auxiliary_weight: NotNegative = 0.4
    """Weight of the auxiliary head's loss; 0 builds none."""
    drop_path: BelowOne = 0.2
    """Probability of dropping a path after the last epoch; it grows linearly from 0."""

    flip: bool = True
    """Mirror every second training image."""
    padding: Annotated[int, Field(ge=0, le=4096)] = 4
    """Largest shift in pixels of training images in memory."""
    cutout: Annotated[int, Field(ge=0, le=4096)] = 16
    """Height and width of the square that is blanked in every training image; 0 blanks none."""
    jitter: BelowOne = 0.0
    """Largest relative change of the colours of training images read from files."""

    test_every: CountOrZero = 0
    """Epochs between looks at the test images for the record; 0 looks after the last one only.
    Nothing is ever chosen by them."""
    precision: Precision = "float32"
    """Autocast to this type; float16 scales the loss."""
    channels_last: bool = False
    """Keep images and weights with the channels as the innermost dimension."""
    compile: bool = False
    """Run the network through torch.compile."""
    seed: Seed = 0
    """Seed of initial weights, order of images, augmentation and dropped paths."""

    def __post_init__(self) -> None:
        check_pieces(self.batch_size, self.accumulate)
        if self.warmup_epochs > self.epochs:
            raise ConfigError(
                f"warmup_epochs must be at most epochs, or the rate never reaches lr, but got "
                f"{self.warmup_epochs} and {self.epochs}"
            )

    def lr_at(self, epoch: int) -> float:
        """Learning rate in epoch 0, 1, ..."""
        share = decay(self.schedule, epoch, self.epochs)
        return self.lr * share * warmup(epoch, self.warmup_epochs)

    def drop_path_at(self, epoch: int) -> float:
        """Probability of dropping a path in epoch 0, 1, ..."""
        return self.drop_path * epoch / self.epochs

    @property
    def augmentation(self) -> Augmentation:
        """Augmentation of the training images."""
        return Augmentation(
            flip=self.flip, padding=self.padding, cutout=self.cutout, jitter=self.jitter
        )


def retrain_cifar10() -> RetrainConfig:
    """CIFAR-10 as in the paper, appendix A.2, for a TopoNAS cell.

    For DARTS' cells the papers take ``layers=20, channels=36``; for the large TopoNAS networks
    of Table 1 ``channels=48``.

    Examples:
        >>> retrain_cifar10().epochs, retrain_cifar10().cutout
        (600, 16)
    """
    return RetrainConfig()


def retrain_imagenet() -> RetrainConfig:
    """ImageNet as in the paper, appendix A.4; what it leaves open as in DARTS' published code.

    Choice: a warm-up of 5 epochs, which PC-DARTS' published code has for batches of 1024.

    Examples:
        >>> config = retrain_imagenet()
        >>> config.epochs, [config.lr_at(epoch) for epoch in (0, 4)]
        (250, [0.1, 0.492])
    """
    return RetrainConfig(
        stem="imagenet",
        epochs=250,
        batch_size=1024,
        lr=0.5,
        schedule="linear",
        warmup_epochs=5,
        weight_decay=3e-5,
        label_smoothing=0.1,
        drop_path=0.0,
        padding=0,
        cutout=0,
        jitter=0.4,
    )


def retrain_digits() -> RetrainConfig:
    """Digits in a minute or two on two CPU cores.

    Choice: smaller and shorter than CIFAR-10, with a higher rate, never mirrored.

    Examples:
        >>> retrain_digits().epochs, retrain_digits().flip
        (15, False)
    """
    return RetrainConfig(
        epochs=15, batch_size=64, lr=0.1, flip=False, padding=2, cutout=4, drop_path=0.1
    )


MAX_TIMED = 4096
"""Largest batch by which a network is timed: larger ones take memory and tell nothing more."""
PRESETS = {
    "digits": retrain_digits,
    "cifar10": retrain_cifar10,
    "folder": retrain_cifar10,
    "imagenet": retrain_imagenet,
}
"""The preset of every kind of images (`gnas.data.images.config.TrainDataset`)."""

SIZES = {
    "layers": ("layers", "num_cells", "cells_per_stage", "cells_per_stack"),
    "channels": ("channels", "stem_channels"),
    "stem": ("stem",),
}
"""Fields of `RetrainConfig`, and the names that the spaces' networks have for them."""
NO_SIZES = ("in_channels", "num_classes", "auxiliary")
"""Fields of networks' configs that follow from the images and the recipe."""

CELL_SIZES = {"digits": (5, 16), "cifar10": (12, 32), "folder": (12, 32), "imagenet": (14, 48)}
"""Layers and channels of a network of TopoNAS cells, where none are given."""
DARTS_SIZE = (20, 36)
"""The same of DARTS' cells, whose topology was not learned."""
