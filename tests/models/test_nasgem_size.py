from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from gnas.errors import GraphError
from gnas.graphs import DenseBatch, architecture
from gnas.models import NasgemNetworkConfig, nasgem_imagenet, nasgem_macs, nasgem_network, num_macs
from gnas.spaces import NASGEM, NASBench201
from gnas.spaces.nasgem.network import GEMNET_A_SIZED, GEMNET_B_SIZED
from gnas.spaces.nasgem.wiring import nasgem_space

FORMS: list[tuple[dict[str, Any], int]] = [
    ({"in_channels": 1, "channels": 8}, 8),
    ({"channels": 4, "num_stages": 1, "cells_per_stage": 2, "num_classes": 7}, 9),
    ({"channels": 3, "num_stages": 4, "cells_per_stage": 3}, 11),
    ({"channels": 5, "num_stages": 2, "stem": "imagenet"}, 17),
    ({"channels": 2, "num_stages": 3, "cells_per_stage": 2, "stem": "imagenet"}, 32),
]


@pytest.mark.parametrize(("form", "size"), FORMS)
@pytest.mark.parametrize("densities", [(0.0, 0.1), (0.05, 0.6), (0.9, 1.0)])
def test_as_the_networks_are_counted(
    rng: np.random.Generator, form: dict[str, Any], size: int, densities: tuple[float, float]
) -> None:
    """Few nodes at low densities, the cap on inputs at high ones, and leaves between."""
    config = NasgemNetworkConfig(**form)
    cells = NASGEM(18, densities).sample_batch(4, rng)
    shape = (config.in_channels, size, size)
    expected = [num_macs(nasgem_network(cell, config), shape) for cell in cells]
    assert nasgem_macs(cells, config, size).tolist() == expected


@pytest.mark.parametrize("prior", ["density", "erdos-renyi", "barabasi-albert", "watts-strogatz"])
def test_cells_of_every_prior(rng: np.random.Generator, prior: Any) -> None:
    cells = nasgem_space(prior, spread=prior != "density").sample_batch(5, rng)
    config = NasgemNetworkConfig(in_channels=1, channels=8)
    expected = [num_macs(nasgem_network(cell, config), (1, 8, 8)) for cell in cells]
    assert nasgem_macs(cells, config, 8).tolist() == expected


def test_published_sizes_in_one_batch() -> None:
    cells = DenseBatch.from_data([NASGEM().from_str(t) for t in (GEMNET_A_SIZED, GEMNET_B_SIZED)])
    assert nasgem_macs(cells, nasgem_imagenet(), 224).tolist() == [463_808_352, 562_772_832]


def test_no_cells_and_others(rng: np.random.Generator) -> None:
    cells = NASGEM(5).sample_batch(3, rng)
    none = cells[torch.zeros(0, dtype=torch.int64)]
    assert nasgem_macs(none, NasgemNetworkConfig(), 8).shape == (0,)
    adjacency = np.zeros((3, 3), dtype=int)
    adjacency[0, 1] = 1
    unreached = DenseBatch.from_data([architecture(adjacency, [0, 1, 0], 2)])
    with pytest.raises(GraphError, match="but node 2 of cell 0 has no input"):
        nasgem_macs(unreached, NasgemNetworkConfig(), 8)
    with pytest.raises(GraphError, match="cells must have the 2 NASGEM ops, but got 3"):
        nasgem_macs(NASBench201().sample_batch(2, rng), NasgemNetworkConfig(), 8)
