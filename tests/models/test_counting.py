"""Sizes of any network, which is left as it is."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gnas.models import num_macs, num_params


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_networks_of_every_precision(dtype: torch.dtype) -> None:
    network = nn.Conv2d(4, 8, 3, groups=2, stride=2, padding=1, dilation=2).to(dtype)
    assert num_macs(network, (4, 17, 13)) == 8 * 8 * 6 * 2 * 9


def test_a_network_without_weights() -> None:
    network = nn.Sequential(nn.AvgPool2d(2), nn.Flatten())
    assert (num_macs(network, (3, 8, 8)), num_params(network)) == (0, 0)


def test_parts_keep_their_modes() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    network[1].eval()
    num_macs(network, (3, 8, 8))
    assert [part.training for part in network.modules()] == [True, True, False]
