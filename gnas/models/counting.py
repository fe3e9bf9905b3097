"""The size of a network: parameters and multiply-accumulates."""

from __future__ import annotations

import itertools

import torch
from torch import nn

from gnas.config import check_count
from gnas.errors import ConfigError
from gnas.models.checks import known_channels
from gnas.training.devices import own_generator
from gnas.training.evaluation import eval_mode

AUXILIARY = "auxiliary_head"
"""Name of a part that only training uses; it is not counted, as in published sizes."""

MAX_SIZE = 16_384
"""Largest height and width of an image, so that a typing error cannot request all memory."""


def num_params(network: nn.Module) -> int:
    """Trainable scalars of the network that predicts, without an auxiliary head.

    Args:
        network: A network, with or without an auxiliary head.

    Examples:
        >>> num_params(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8, 10)))
        314
    """
    return sum(
        p.numel()
        for name, p in network.named_parameters()
        if p.requires_grad and AUXILIARY not in name
    )


def num_macs(network: nn.Module, input_shape: tuple[int, int, int]) -> int:
    """Multiply-accumulates of one forward pass of one image of shape [C, H, W].

    Counts what `torch.utils.flop_counter` counts (convolutions and matrix products), halved:
    the counter has two operations for each multiply-accumulate.

    Args:
        network: A network of images.
        input_shape: Channels, height and width of an image.

    Raises:
        ConfigError: ``input_shape`` is no such shape, or has other channels than the network
            takes.

    Examples:
        >>> num_macs(nn.Conv2d(3, 8, 3, padding=1), (3, 32, 32))
        221184
    """
    from torch.utils.flop_counter import FlopCounterMode

    if len(input_shape) != 3:
        raise ConfigError(f"input_shape must be (C, H, W), but got {input_shape!r:.80}")
    channels, *size = input_shape
    check_count(channels, "channels", 1, 100_000)
    for pixels in size:
        check_count(pixels, "height and width", 1, MAX_SIZE)
    image = torch.zeros(1, *input_shape)
    for parameter in itertools.islice(network.parameters(), 1):
        image = image.to(parameter)
    with eval_mode(network), FlopCounterMode(display=False) as counter, torch.no_grad():
        with own_generator(), known_channels(image.shape):
            network(image)
    return int(counter.get_total_flops()) // 2
