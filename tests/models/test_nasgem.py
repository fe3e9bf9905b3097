from __future__ import annotations

import numpy as np
import pytest
import torch

from gnas.errors import ConfigError, GraphError
from gnas.graphs import architecture
from gnas.models import (
    NasgemNetworkConfig,
    nasgem_imagenet,
    nasgem_network,
    num_macs,
    num_params,
)
from gnas.spaces import NASGEM, NASBench201
from gnas.spaces.nasgem.network import GEMNET_A_SIZED, GEMNET_B_SIZED, MAX_INPUTS, wiring

SMALL = NasgemNetworkConfig(channels=4, num_classes=7, in_channels=1)


@pytest.mark.parametrize(
    ("text", "params", "macs"),
    [(GEMNET_A_SIZED, 4_291_216, 463_808_352), (GEMNET_B_SIZED, 4_523_608, 562_772_832)],
)
def test_the_published_sizes_are_reached(text: str, params: int, macs: int) -> None:
    network = nasgem_network(NASGEM().from_str(text), nasgem_imagenet())
    assert num_params(network) == params
    assert num_macs(network, (3, 224, 224)) == macs
    published = {GEMNET_A_SIZED: (4.3e6, 463e6), GEMNET_B_SIZED: (4.5e6, 563e6)}[text]
    assert (params, macs) == pytest.approx(published, rel=0.01)


def test_hand_drawn_wiring() -> None:
    # 0 -> 1 -> 3, 0 -> 3, 0 -> 4; nothing enters 2, which feeds 4 and 5.
    adjacency = np.zeros((6, 6), dtype=int)
    for i, j in ((0, 1), (1, 3), (0, 3), (0, 4), (2, 4), (2, 5)):
        adjacency[i, j] = 1
    found = wiring(architecture(adjacency, [0, 1, 0, 1, 0, 1], 2))
    assert found.ops == ("conv_1x1", "dw_sep_conv_3x3", "dw_sep_conv_3x3", "conv_1x1")
    assert found.inputs == ((), (0,), (0, 1), (0,))
    assert found.outputs == (2, 3)


def test_nodes_without_input_hang_nothing_on_the_output() -> None:
    adjacency = np.zeros((3, 3), dtype=int)
    adjacency[1, 2] = 1
    found = wiring(architecture(adjacency, [1, 0, 0], 2))
    assert found == type(found)(("dw_sep_conv_3x3",), ((),), (0,))


def test_inputs_are_capped_evenly() -> None:
    n = 30
    full = wiring(architecture(np.triu(np.ones((n, n), dtype=int), 1), [0] * n, 2))
    assert max(map(len, full.inputs)) == MAX_INPUTS
    last = full.inputs[-1]
    assert last[0] == 0
    assert last[-1] == len(full.ops) - 2
    assert len(set(last)) == MAX_INPUTS
    # every node that is built is read: nodes that the cap cut off are gone
    assert {i for inputs in full.inputs for i in inputs} | set(full.outputs) == set(
        range(len(full.ops))
    )


def test_hand_counted_network() -> None:
    adjacency = [[0, 1, 1], [0, 0, 0], [0, 0, 0]]
    cell = architecture(adjacency, [0, 1, 0], 2)
    config = NasgemNetworkConfig(channels=4, num_stages=2, num_classes=5)
    stem = 3 * 4 * 9 + 8
    first = (4 * 4 + 8) + (4 * 9 + 4 * 4 + 8) + (4 * 4 + 8)
    halving = 8 * 9 + 8 * 8 + 16  # 2 leaves of 4 channels, to 8
    second = (8 * 8 + 16) + (8 * 9 + 8 * 8 + 16) + (8 * 8 + 16)
    network = nasgem_network(cell, config)
    assert num_params(network) == stem + first + halving + second + 16 * 5 + 5
    full = 64 * (108 + 16 + 36 + 16 + 16)
    half = 16 * (72 + 64 + 64 + 72 + 64 + 64)
    assert num_macs(network, (3, 8, 8)) == full + half + 80


@pytest.mark.parametrize("size", [8, 9])
def test_networks_run_forward_and_learn(rng: np.random.Generator, size: int) -> None:
    for graph in NASGEM().sample_batch(3, rng):
        network = nasgem_network(graph, SMALL)
        logits = network(torch.randn(2, 1, size, size))
        assert logits.shape == (2, 7)
        logits.square().sum().backward()
        assert all(parameter.grad is not None for parameter in network.parameters())


def test_what_is_refused(rng: np.random.Generator) -> None:
    with pytest.raises(GraphError, match="x must have 2 columns, but got 3"):
        nasgem_network(NASBench201().sample(rng))
    with pytest.raises(ConfigError, match="num_stages must be at least 1, but got 0"):
        NasgemNetworkConfig(num_stages=0)
    with pytest.raises(ConfigError, match="stem must be 'cifar' or 'imagenet', but got 'big'"):
        NasgemNetworkConfig(stem="big")  # type: ignore[arg-type]
