"""The size of a network: parameters and multiply-accumulates."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

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
    the counter has two operations for each multiply-accumulate. To these come products that the
    counter takes for nothing: with vectors, in bilinear layers, and in PyTorch's fused attention,
    transformer layers and LSTMs.

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
    counter = FlopCounterMode(display=False, custom_mapping=_other_flops())
    with eval_mode(network), counter, torch.no_grad():
        with own_generator(), known_channels(image.shape):
            network(image)
    return int(counter.get_total_flops()) // 2


Shape = Sequence[int]


def _other_flops() -> dict[Any, Callable[..., int]]:
    """Operations that PyTorch does not count, by the shapes of their arguments: two a product."""
    aten = torch.ops.aten
    return {
        aten.mv: _vector_flops,
        aten.dot: _vector_flops,
        aten.vdot: _vector_flops,
        aten.addmv: lambda added, matrix, *_, **__: _vector_flops(matrix),
        aten.addbmm: lambda added, first, second, *_, **__: 2 * math.prod(first) * second[-1],
        aten._trilinear: _bilinear_flops,
        aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops,
        aten._native_multi_head_attention: _multi_head_flops,
        aten._transformer_encoder_layer_fwd: _encoder_layer_flops,
        aten.mkldnn_rnn_layer: _lstm_flops,
    }


def _vector_flops(matrix: Shape, *_: Any, **__: Any) -> int:
    return 2 * math.prod(matrix)


def _bilinear_flops(first: Shape, weights: Shape, second: Shape, *_: Any, **__: Any) -> int:
    outputs, width, other = weights
    return 2 * first[0] * outputs * (width + 1) * other


def _attention_flops(query: Shape, key: Shape, value: Shape, *_: Any, **__: Any) -> int:
    *several, length, width = query
    heads = math.prod(several)
    return 2 * heads * length * key[-2] * (width + value[-1])


def _multi_head_flops(query: Shape, key: Shape, value: Shape, *_: Any, **__: Any) -> int:
    batch, length, width = query
    projected = 2 * length + key[1] + value[1]  # query and output, key, value
    return 2 * batch * width * (projected * width + 2 * length * key[1])


def _encoder_layer_flops(source: Shape, *rest: Any, **_: Any) -> int:
    first, second = rest[13], rest[15]  # weights of the perceptron
    perceptron: int = 2 * math.prod(source[:-1]) * (math.prod(first) + math.prod(second))
    return _multi_head_flops(source, source, source) + perceptron


def _lstm_flops(source: Shape, inner: Shape, hidden: Shape, *_: Any, **__: Any) -> int:
    return 2 * source[0] * source[1] * (math.prod(inner) + math.prod(hidden))
