"""Every way to divide images: the rows of disjoint parts, drawn from a seed alone.

Parts of a data set keep the shares of its classes, except where numbers of images are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gnas.config import check_seed
from gnas.errors import ConfigError, DataError

VAL_SHARE = 0.25
"""Choice: share of a candidate's training images held out for validation."""
TEST_SHARE = 0.2
"""Choice: share of all images held out for testing when a source has no test part of its own."""


def split_evenly(
    labels: Tensor, num_parts: int, seed: int, classes: Sequence[str] = ()
) -> tuple[Tensor, ...]:
    """Disjoint random parts that together are everything, of equal size and class shares.

    Every class is shuffled, then all images are dealt out in turn: sizes differ by at most one,
    and so do the parts' numbers of images of any class.

    Args:
        labels: int64 [N].
        num_parts: Parts.
        seed: Seed of the shuffle.
        classes: Names of the classes, for messages.

    Returns:
        Ascending rows, int64, of every part.

    Raises:
        DataError: a class has fewer images than there are parts.
    """
    by_class = _shuffled_classes(labels, seed)
    few = [k for k, rows in enumerate(by_class) if 0 < len(rows) < num_parts]
    if few or len(labels) == 0:
        found = "there is none"
        if few:
            found = f"{class_label(few[0], classes)} has {len(by_class[few[0]])}"
        raise DataError(
            f"every class must have at least {num_parts} images, one for each part of the "
            f"split, but {found}"
        )
    dealt = torch.cat(by_class)  # [N]
    return tuple(dealt[k::num_parts].sort().values for k in range(num_parts))


def split_share(
    labels: Tensor, share: float, seed: int, classes: Sequence[str] = ()
) -> tuple[Tensor, Tensor]:
    """Ascending rows for training and for validation, of a share of every class.

    Args:
        labels: int64 [N].
        share: Share of every class that is drawn, in (0, 1]; `VAL_SHARE` of it validates. Both are
            rounded to whole images.
        seed: Seed of the draw; a larger share contains the images of a smaller one.
        classes: Names of the classes, for messages.

    Raises:
        DataError: a class would have no image for one of the two.
    """
    train, val = [], []
    for label, rows in enumerate(_shuffled_classes(labels, seed)):
        drawn = rows[: round(len(rows) * share)]
        num_val = max(1, round(len(drawn) * VAL_SHARE))
        if len(drawn) - num_val < 1:
            raise DataError(
                "every class must have at least 2 images, one to train and one to validate, "
                f"but {class_label(label, classes)} has {len(drawn)} of {len(rows)} at {share:.2%}"
            )
        val.append(drawn[:num_val])
        train.append(drawn[num_val:])
    return torch.cat(train).sort().values, torch.cat(val).sort().values


def hold_out(
    labels: Tensor, share: float, seed: int, classes: Sequence[str] = ()
) -> tuple[Tensor, Tensor]:
    """Ascending rows of what is kept, and of ``share`` of every class, drawn at random.

    Args:
        labels: int64 [N].
        share: In [0, 1), rounded to whole images of each class.
        seed: Seed of the draw.
        classes: Names of the classes, for messages.

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
                f"every class must keep images to train on, but {class_label(label, classes)} has "
                f"{len(rows)} and val_share is {share}"
            )
        held.append(rows[:count])
        kept.append(rows[count:])
    if share > 0 and not any(map(len, held)):
        raise DataError(
            f"val_share must be 0 or hold out an image of a class, but {share} of "
            f"{len(labels):,} images is none"
        )
    return torch.cat(kept).sort().values, torch.cat(held).sort().values


def hold_out_test(count: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], ...]:
    """Random rows for training, and `TEST_SHARE` of ``count`` images for testing.

    Raises:
        DataError: there are too few images.
    """
    order = rng.permutation(count)
    num_test = round(count * TEST_SHARE)
    if num_test == 0:
        raise DataError(
            f"a source without test images must have at least 3 images, so that a part of them "
            f"can be held out, but got {count}"
        )
    return order[num_test:], order[:num_test]


def split_by_number(
    count: int, num_train: int | None, num_val: int | None, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Random rows for training and for validation.

    Args:
        count: Images in all.
        num_train: Images for training; None takes all that validation leaves.
        num_val: Images for validation; None takes `VAL_SHARE` of all.
        rng: Source of randomness.

    Raises:
        ConfigError: there are fewer images.
    """
    order = torch.from_numpy(rng.permutation(count))
    num_val = round(count * VAL_SHARE) if num_val is None else num_val
    num_train = count - num_val if num_train is None else num_train
    if num_train < 2 or num_val < 1 or num_train + num_val > count:
        raise ConfigError(
            f"training images must be at least 2, validation images at least 1, and both at most "
            f"{count} together, but got {num_train=} and {num_val=}"
        )
    return order[num_val : num_val + num_train], order[:num_val]


def class_label(label: int, classes: Sequence[str] = ()) -> str:
    """A class in messages: by its name, or by its number where it has none.

    Args:
        label: Its number.
        classes: Names of all classes.
    """
    return f"class {classes[label]!r}" if classes else f"class {label}"


def _shuffled_classes(labels: Tensor, seed: int) -> list[Tensor]:
    """Rows of every class from 0 to the largest label, in random order."""
    generator = torch.Generator().manual_seed(check_seed(seed))
    shuffled = torch.randperm(len(labels), generator=generator)  # [N]
    by_class = shuffled[torch.argsort(labels[shuffled], stable=True)]  # [N]
    return list(torch.split(by_class, torch.bincount(labels).tolist()))
