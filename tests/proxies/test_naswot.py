"""NASWOT against a loop over images and ReLUs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gnas.errors import UnsupportedError
from gnas.proxies import naswot, small_network
from gnas.spaces import SPACES


def noise(count: int) -> Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def network() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(4 * 36, 5),
            nn.ReLU(),
            nn.Linear(5, 2),
        )


def test_is_the_loop_over_images_and_relus(network: nn.Sequential) -> None:
    images = noise(6)
    conv, norm, _, _, linear, _, _ = network
    with torch.no_grad():
        inside = nn.BatchNorm2d(4)(conv(images))
        hidden = linear(inside.relu().flatten(1))
    assert isinstance(norm, nn.BatchNorm2d)
    codes = [
        (torch.cat([a.flatten(), b]) > 0).tolist() for a, b in zip(inside, hidden, strict=True)
    ]
    kernel = np.array(
        [
            [sum(p == q for p, q in zip(a, b, strict=True)) + float(a is b) for b in codes]
            for a in codes
        ]
    )
    assert naswot(network, images) == pytest.approx(math.log(np.linalg.det(kernel)), rel=1e-9)


def test_images_alike_score_lower_and_never_minus_infinity(network: nn.Sequential) -> None:
    same = noise(1).repeat(4, 1, 1, 1)
    units = 4 * 36 + 5
    alike = naswot(network, same)
    assert alike == pytest.approx(math.log(4 * units + 1))  # one direction of 4 is not flat
    assert naswot(network, noise(4)) > alike + 5


@pytest.mark.parametrize("name", sorted(SPACES))
def test_leaves_the_network_as_it_is(name: str, rng: np.random.Generator) -> None:
    space = SPACES[name]()
    graph = space.sample(rng)
    network = space.network(graph, small_network(space)).eval()
    next(network.children()).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    modes = [part.training for part in network.modules()]
    score = naswot(network, noise(8))
    assert math.isfinite(score)
    assert naswot(network, noise(8)) == score
    after = network.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert [part.training for part in network.modules()] == modes
    assert not any(part._forward_hooks for part in network.modules())


def test_a_network_without_relus_is_named() -> None:
    with pytest.raises(UnsupportedError, match="must see ReLU modules, but the network has none"):
        naswot(nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), noise(2))
