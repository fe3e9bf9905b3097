"""NASWOT: how well an untrained network tells images apart, by the ReLUs they switch on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from gnas.config import checked
from gnas.errors import UnsupportedError
from gnas.models.checks import known_channels
from gnas.proxies.images import check_batch
from gnas.training.devices import own_settings


@own_settings()
@checked
def naswot(network: nn.Module, images: Tensor) -> float:
    """Log-determinant of the kernel that counts the ReLUs that two images switch alike.

    Entry (i, j) is the number of ReLU outputs, of all layers and places, that are positive for
    both images or for neither. Batch norms use the statistics of these images, as at the start
    of a training; the network is left as it is.

    Deliberate difference from the paper: 1 is added to the diagonal, as if each image had one
    output of its own. Two images that switch everything alike then give a low score, and not
    minus infinity.

    Args:
        network: Uses `torch.nn.ReLU` modules.
        images: [B, C, H, W], B > 1; scores of different images or numbers of them do not compare.

    Raises:
        ConfigError: ``images`` have another shape, or other channels than the network takes.
        UnsupportedError: the network has no such module.

    Source: Mellor et al., Neural Architecture Search without Training, ICML 2021, section 3.

    Examples:
        >>> images = torch.tensor([1.0, -1.0]).view(2, 1, 1, 1)  # which no ReLU switches alike
        >>> round(naswot(nn.Sequential(nn.ReLU()), images), 4)  # log(2 * 2)
        1.3863
    """
    check_batch(images, least=2)
    kernel = torch.eye(len(images), dtype=torch.float64)  # [B, B]

    def count(_: nn.Module, __: Any, output: Tensor) -> None:
        signs = (output > 0).flatten(1).float() * 2 - 1  # [B, units]
        kernel.add_((signs.size(1) + (signs @ signs.t()).cpu().double()) / 2)

    activations = [part for part in network.modules() if isinstance(part, nn.ReLU)]
    if not activations:
        raise UnsupportedError("NASWOT must see ReLU modules, but the network has none")
    handles = [part.register_forward_hook(count) for part in activations]
    modes = [(part, part.training) for part in network.modules()]
    try:
        for part, _ in modes:
            part.training = isinstance(part, nn.modules.batchnorm._BatchNorm)
        statistics = {name: buffer.clone() for name, buffer in network.named_buffers()}
        with torch.no_grad(), known_channels(images.shape):
            functional_call(network, statistics, (images,))
    finally:
        for part, mode in modes:
            part.training = mode
        for handle in handles:
            handle.remove()
    return float(torch.linalg.slogdet(kernel).logabsdet)
