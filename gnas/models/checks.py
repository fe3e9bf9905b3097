"""Checks of networks by a forward pass, before time is spent on them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from gnas.config import checked
from gnas.errors import ConfigError, GnasError
from gnas.training.devices import oom_hint, own_generator
from gnas.training.evaluation import eval_mode
from gnas.user_code import described

IMAGES = 2
"""Images of the check: a batch whose axis a network must keep."""


@checked
def check_network(network: nn.Module, input_shape: tuple[int, int, int], num_classes: int) -> None:
    """Check that a network maps images to logits, by `IMAGES` black ones in evaluation mode.

    Weights, buffers and random numbers stay as they are.

    Args:
        network: A network, on the CPU.
        input_shape: Channels, height and width of an image.
        num_classes: Number of classes.

    Raises:
        ConfigError: its forward pass fails, or returns something else than logits.

    Examples:
        >>> check_network(nn.Sequential(nn.Flatten(), nn.Linear(12, 10)), (3, 2, 2), 10)
    """
    try:
        with eval_mode(network), own_generator(), torch.no_grad():
            with oom_hint("lower layers, channels or the image size"):
                logits = network(torch.zeros(IMAGES, *input_shape))
    except GnasError:
        raise
    except Exception as error:  # of many kinds: the network may be a user's
        height, width = input_shape[1:]
        raise ConfigError(
            f"the network must fit on images of {width}x{height} pixels, but: "
            f"{described(error).splitlines()[0]}; raise the image size (--set image_size=N), or "
            "change the space's `build`"
        ) from error
    wanted = (IMAGES, num_classes)
    if not (isinstance(logits, Tensor) and logits.is_floating_point() and logits.shape == wanted):
        found = (
            f"{str(logits.dtype).removeprefix('torch.')} {list(logits.shape)}"
            if isinstance(logits, Tensor)
            else type(logits).__name__
        )
        raise ConfigError(
            f"the network must map {IMAGES} images to logits, float {list(wanted)}, one for each "
            f"of {num_classes} classes, but returns {found}; change the space's `build`"
        )


@contextmanager
def known_channels(shape: Sequence[int]) -> Iterator[None]:
    """Say it plainly where a network inside the block is given images of other channels.

    Args:
        shape: That of the images, [B, C, H, W].

    Raises:
        ConfigError: the network's first convolution takes other channels than C.
    """
    try:
        yield
    except RuntimeError as error:
        wrong = re.search(rf"{re.escape(str([*shape]))} to have (\d+) channels", str(error))
        if wrong is None:
            raise
        raise ConfigError(
            f"images must have {wrong[1]} channels, as the network takes them, but have {shape[1]}"
        ) from error
