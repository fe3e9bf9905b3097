from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from gnas.errors import ConfigError, GraphError
from gnas.models import (
    NASBench201NetworkConfig,
    nasbench201_network,
    nasbench201_num_params,
    num_macs,
    num_params,
)
from gnas.spaces import NASBench101, NASBench201
from gnas.spaces.nasbench201.network import NASBench201Cell

BEST = (
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+"
    "|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
)
SMALL = NASBench201NetworkConfig(channels=4, cells_per_stage=1)


def test_the_published_size() -> None:
    # NATS-Bench's own record: 1.073466 MB of parameters, 153.27297 M; it counts the 10 additions
    # of the classifier's bias too. Neither number has the operations of batch norms.
    network = nasbench201_network(NASBench201().from_str(BEST))
    assert num_params(network) == 1_073_466
    assert num_macs(network, (3, 32, 32)) + 10 == 153_272_970


def test_sizes_of_the_table(shared_data: Callable[[str], Path]) -> None:
    columns = ["arch_str", "cifar10_num_params", "cifar10_macs_M"]
    path = shared_data("nasbench201/nasbench201_cifar.parquet")
    for row in pq.read_table(path, columns=columns).to_pylist()[::1200]:
        network = nasbench201_network(NASBench201().from_str(row["arch_str"]))
        assert num_params(network) == row["cifar10_num_params"]
        macs = num_macs(network, (3, 32, 32)) + 10
        assert macs == round(row["cifar10_macs_M"] * 1e6)


def test_hand_computed_cell() -> None:
    edges = ((0, 1, "skip_connect"), (0, 2, "avg_pool_3x3"), (1, 3, "skip_connect"))
    cell = NASBench201Cell((*edges, (2, 3, "skip_connect")), channels=2)
    x = torch.randn(1, 2, 5, 5)
    pooled = nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    assert torch.allclose(cell(x), x + pooled)


def test_a_map_that_nothing_enters_is_zero() -> None:
    cell = NASBench201Cell(((0, 3, "skip_connect"), (1, 3, "nor_conv_1x1")), channels=2).eval()
    cell.ops[1][2].bias.data.fill_(3.0)  # type: ignore[index]
    x = torch.randn(1, 2, 4, 4)
    assert torch.allclose(cell(x), x + 3)
    empty = NASBench201Cell((), channels=2)
    assert not empty(x).any()


@pytest.mark.parametrize("size", [8, 7])
def test_networks_run_forward_and_learn(rng: np.random.Generator, size: int) -> None:
    for graph in NASBench201().sample_batch(4, rng):
        network = nasbench201_network(graph, SMALL)
        logits = network(torch.randn(2, 3, size, size))
        assert logits.shape == (2, 10)
        logits.sum().backward()
        assert network.stem[0].weight.grad is not None


def test_what_is_refused(rng: np.random.Generator) -> None:
    with pytest.raises(GraphError, match="x must have 3 columns, but got 5"):
        nasbench201_network(NASBench101().sample(rng))
    with pytest.raises(ConfigError, match="cells_per_stage must be at least 1, but got 0"):
        NASBench201NetworkConfig(cells_per_stage=0)


@pytest.mark.parametrize(
    "config",
    [
        NASBench201NetworkConfig(),
        NASBench201NetworkConfig(in_channels=1, num_classes=7, channels=3, cells_per_stage=2),
    ],
)
def test_parameters_are_those_of_the_network(
    rng: np.random.Generator, config: NASBench201NetworkConfig
) -> None:
    cells = NASBench201().sample_batch(8, rng)
    expected = [num_params(nasbench201_network(cell, config)) for cell in cells]
    assert nasbench201_num_params(cells, config).tolist() == expected
