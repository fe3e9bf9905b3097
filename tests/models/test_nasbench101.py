from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from nasbench_pytorch.model import Network

from gnas.data import load_table
from gnas.errors import ConfigError, GraphError
from gnas.graphs import DenseBatch, architecture, to_adjacency
from gnas.models import (
    NASBench101NetworkConfig,
    nasbench101_network,
    nasbench101_num_params,
    num_macs,
    num_params,
)
from gnas.spaces import NASGEM, NASBench101, NASBench201
from gnas.spaces.nasbench101 import OPS


def test_parameter_counts_of_published_cells(shared_data: Callable[[str], Path]) -> None:
    table = load_table(shared_data("nasbench101/nasbench101_partial.parquet"))
    published = table.values("num_params")
    for row in range(0, 4400, 440):
        assert num_params(nasbench101_network(table[row])) == published[row]


def test_hand_counted_cell() -> None:
    # stem 3x3, one cell input -> conv1x1 -> output, both with a projection and batch norm.
    cell = architecture([[0, 1, 0], [0, 0, 1], [0, 0, 0]], [0, 2, 4], len(OPS))
    config = NASBench101NetworkConfig(stem_channels=4, num_stacks=1, cells_per_stack=1)
    network = nasbench101_network(cell, config)
    stem = 3 * 4 * 9 + 2 * 4
    projection = conv = 4 * 4 + 2 * 4
    assert num_params(network) == stem + projection + conv + 4 * 10 + 10
    macs = (3 * 4 * 9 + 2 * 4 * 4) * 64 + 4 * 10
    assert num_macs(network, (3, 8, 8)) == macs


def test_networks_run_forward(rng: np.random.Generator) -> None:
    config = NASBench101NetworkConfig(
        in_channels=1, num_classes=7, stem_channels=8, cells_per_stack=1
    )
    for cell in NASBench101().sample_batch(5, rng):
        network = nasbench101_network(cell, config)
        assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 7)


def test_the_same_numbers_as_nasbench_pytorch(rng: np.random.Generator) -> None:
    drawn = list(NASBench101().sample_batch(6, rng))
    direct = architecture([[0, 1], [0, 0]], [0, 4], len(OPS))  # input and output alone
    three = np.triu(np.ones((5, 5), dtype=int), 1)  # three vertices share 8 channels: 3, 3, 2
    three[0, 4] = 0  # an edge fewer than ten
    for cell in [*drawn, direct, architecture(three, [0, 2, 1, 3, 4], len(OPS))]:
        adjacency, ops = to_adjacency(cell)
        spec = (adjacency.numpy().astype(int), [OPS[op] for op in ops.tolist()])
        torch.manual_seed(0)
        theirs = Network(spec, stem_out_channels=8, num_modules_per_stack=1, momentum=0.1)
        torch.manual_seed(0)
        config = NASBench101NetworkConfig(stem_channels=8, cells_per_stack=1)
        ours = nasbench101_network(cell, config)
        images = torch.randn(2, 3, 8, 8)
        for _ in ("training", "evaluation"):
            assert torch.equal(ours(images), theirs(images))
            ours.eval()
            theirs.eval()


def test_counting_leaves_the_network_as_it_was(rng: np.random.Generator) -> None:
    network = nasbench101_network(
        NASBench101().sample(rng), NASBench101NetworkConfig(stem_channels=8)
    )
    before = {name: value.clone() for name, value in network.state_dict().items()}
    num_macs(network, (3, 16, 16))
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_cells_of_other_spaces_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(GraphError, match="x must have 5 columns, but got 3"):
        nasbench101_network(NASBench201().sample(rng))


def test_more_vertices_than_channels() -> None:
    rows = [[0, 1, 1, 1, 1], [0, 0, 0, 0, 1], [0, 0, 0, 0, 1], [0, 0, 0, 0, 1], [0] * 5]
    cell = architecture(rows, [0, 1, 2, 3, 4], len(OPS))
    with pytest.raises(ConfigError, match=r"stem_channels must be at least 3, .*, but is 2"):
        nasbench101_network(cell, NASBench101NetworkConfig(stem_channels=2))
    nasbench101_network(cell, NASBench101NetworkConfig(stem_channels=3))


def test_parameters_of_known_cells() -> None:
    """The counts are those that the benchmark's paper and its own table give."""
    space = NASBench101()
    deep = "input,conv3x3-bn-relu,conv3x3-bn-relu,output|"
    chain = space.from_str(deep + "25")  # input -> a -> b -> output
    single = space.from_str("input,output|1")
    counts = nasbench101_num_params(DenseBatch.from_data([chain, single]))
    stem, classifier = 27 * 128 + 256, 513 * 10
    projections = sum(
        i * o + 2 * o for i, o in
        [(128, 128)] * 3 + [(128, 256), (256, 256), (256, 256), (256, 512), (512, 512), (512, 512)]
    )  # fmt: skip
    convolutions = sum(3 * 2 * (9 * c * c + 2 * c) for c in (128, 256, 512))
    assert counts[1] == stem + projections + classifier
    assert counts[0] == stem + projections + convolutions + classifier


@pytest.mark.parametrize(
    "config",
    [
        NASBench101NetworkConfig(stem_channels=22),  # small, and not divisible evenly
        NASBench101NetworkConfig(
            in_channels=1, num_classes=7, stem_channels=6, num_stacks=2, cells_per_stack=1
        ),
    ],
)
def test_parameters_are_those_of_the_network(
    rng: np.random.Generator, config: NASBench101NetworkConfig
) -> None:
    cells = NASBench101().sample_batch(6, rng)
    expected = [num_params(nasbench101_network(cell, config)) for cell in cells]
    assert nasbench101_num_params(cells, config).tolist() == expected


def test_parameters_need_nasbench101_cells(rng: np.random.Generator) -> None:
    with pytest.raises(GraphError, match="5 NAS-Bench-101 ops, got 2"):
        nasbench101_num_params(NASGEM(5).sample_batch(2, rng))
