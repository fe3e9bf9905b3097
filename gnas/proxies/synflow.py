"""Synaptic flow: how much passes through all weights of a network, whatever the data."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from gnas.config import checked
from gnas.errors import UnsupportedError
from gnas.models.checks import known_channels
from gnas.proxies.images import check_batch
from gnas.training.devices import own_settings

WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
"""Modules whose weights are counted."""
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


@own_settings()
@checked
def synflow(network: nn.Module, images: Tensor) -> float:
    """log(1 + the sum over all weights of w dR/dw), R the summed outputs for an image of ones.

    The network is made linear first, on a copy: weights become their absolute values, biases
    zero and batch norms identities; then no ReLU cuts anything off. Computed in float64, since
    the sum grows with every layer. 0 where nothing reaches the output.

    Args:
        network: Any network of convolutions, batch norms, ReLUs, pools, sums and concatenations.
        images: Only their shape matters, [B, C, H, W].

    Raises:
        ConfigError: ``images`` have another shape, or other channels than the network takes.
        UnsupportedError: the sum is infinite, as in very deep networks without batch norm.

    Source: Tanaka et al., Pruning neural networks without any data by iteratively conserving
    synaptic flow, NeurIPS 2020, equation 2 and algorithm 1; as a score of architectures, without
    batch norms: Abdelfattah et al., Zero-Cost Proxies for Lightweight NAS, ICLR 2021. The
    logarithm is ours: it changes no order.

    Examples:
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(3, 1, bias=False))
        >>> _ = nn.init.constant_(network[1].weight, -2.0)
        >>> round(synflow(network, torch.ones(1, 3, 1, 1)), 4)  # log(1 + 3 * 2)
        1.9459
    """
    check_batch(images)
    linear = linearised(network)
    weights = [part.weight for part in linear.modules() if isinstance(part, WEIGHTED)]
    image = torch.ones(1, *images.shape[1:], dtype=torch.float64)
    with known_channels(image.shape):
        outputs = linear(image)
    gradients = torch.autograd.grad(outputs.sum(), weights, allow_unused=True)
    flow = math.fsum(
        (weight.detach() * gradient).sum().item()
        for weight, gradient in zip(weights, gradients, strict=True)
        if gradient is not None
    )
    if not math.isfinite(flow):
        raise UnsupportedError(
            f"synflow must be finite, but is {flow}: the network is too deep; take fewer cells"
        )
    return math.log1p(flow)


def linearised(network: nn.Module) -> nn.Module:
    """A float64 copy with absolute weights, without biases, its batch norms identities."""
    linear = copy.deepcopy(network).cpu().double().eval()
    for module in list(linear.modules()):
        for name, child in module.named_children():
            if isinstance(child, _NORMS):
                setattr(module, name, nn.Identity())
    for name, parameter in linear.named_parameters():
        parameter.requires_grad_(True)
        parameter.data = torch.zeros_like(parameter) if _is_bias(name) else parameter.data.abs()
    return linear


def _is_bias(name: str) -> bool:
    return name.rpartition(".")[2] == "bias"
