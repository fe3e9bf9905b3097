"""Priors of NASGEM cells: densities, or the random graphs of randomly wired networks."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import get_args

import networkx as nx
import numpy as np
import torch

from gnas.errors import ConfigError
from gnas.graphs import DenseBatch
from gnas.spaces.base import check_draw
from gnas.spaces.nasgem.config import (
    MAX_INPUTS,
    Generator,
    Parameters,
    WiringPrior,
    wiring_parameters,
)
from gnas.spaces.nasgem.space import NASGEM, OPS, some_inputs


class RandomWiring(NASGEM):
    """NASGEM cells wired as Erdos-Renyi, Barabasi-Albert or Watts-Strogatz graphs.

    networkx draws an undirected graph; every edge is then directed from the lower to the higher
    node, as RandWire does. Operations are independent, as `NASGEM`'s.

    Choice: RandWire joins all nodes without input to an extra input node. Here node 0 is the only
    one that takes the cell's input, so each of them is joined to node 0 instead: no node is
    dropped. Of more than ``max_inputs`` inputs, that many at random are kept. The leaves form
    the output.

    Args:
        num_nodes: Nodes of every cell.
        generator: Random graph model.
        spread: Each draw takes parameters at random from `SPREAD` (those that are possible with
            this many nodes) instead of `FIXED`.
        max_inputs: Most inputs of a node.

    Raises:
        ConfigError: unknown generator, or too few nodes for its parameters.

    Source: Xie et al., Exploring Randomly Wired Neural Networks for Image Recognition, ICCV 2019,
    section 3.

    Examples:
        >>> space = RandomWiring(num_nodes=16, generator="barabasi-albert")
        >>> cell = space.sample(np.random.default_rng(0))
        >>> cell.num_nodes, cell.num_edges > 15
        (16, True)
    """

    def __init__(
        self,
        num_nodes: int = 30,
        generator: Generator = "watts-strogatz",
        *,
        spread: bool = False,
        max_inputs: int = MAX_INPUTS,
    ) -> None:
        super().__init__(num_nodes, max_inputs=max_inputs)
        self.generator = generator
        self.values = wiring_parameters(generator, num_nodes, spread=spread)

    def sample_batch(self, count: int, rng: np.random.Generator) -> DenseBatch:
        """``count`` cells: parameters (if spread), a random graph, oriented and capped, ops."""
        check_draw(count, rng)
        n = self.max_nodes
        draw = random.Random(int(rng.integers(2**63)))
        adjacency = np.zeros((count, n, n), dtype=np.uint8)
        for cell in adjacency:
            parameters = {name: draw.choice(values) for name, values in self.values.items()}
            edges = np.array(_DRAW[self.generator](n, parameters, draw).edges).reshape(-1, 2)
            cell[edges.min(1), edges.max(1)] = 1
        without = adjacency.sum(1) == 0
        without[:, 0] = False
        adjacency[:, 0, :] |= without.astype(np.uint8)
        most = np.full((count, n), self.max_inputs)
        adjacency = some_inputs(adjacency > 0, most, rng).astype(np.uint8)
        ops = rng.integers(len(OPS), size=(count, n), dtype=np.int8)
        sizes = torch.full((count,), n, dtype=torch.int64)
        return DenseBatch(torch.from_numpy(adjacency), torch.from_numpy(ops), sizes, len(OPS))


_DRAW: dict[Generator, Callable[[int, Parameters, random.Random], nx.Graph]] = {
    "erdos-renyi": lambda n, p, seed: nx.gnp_random_graph(n, p["p"], seed=seed),
    "barabasi-albert": lambda n, p, seed: nx.barabasi_albert_graph(n, int(p["m"]), seed=seed),
    "watts-strogatz": lambda n, p, seed: nx.watts_strogatz_graph(
        n, int(p["k"]), p["p"], seed=seed
    ),
}


def nasgem_space(
    prior: WiringPrior,
    num_nodes: int = 30,
    *,
    spread: bool = False,
    max_inputs: int = MAX_INPUTS,
) -> NASGEM:
    """The NASGEM space whose draws follow ``prior``.

    Args:
        prior: "density" is `NASGEM`'s own, spread as it is; else a generator.
        num_nodes: Most nodes of a cell.
        spread: As for `RandomWiring`.
        max_inputs: Most inputs of a node.

    Raises:
        ConfigError: unknown prior, or one that cannot be spread or have this many nodes.

    Examples:
        >>> nasgem_space("watts-strogatz", num_nodes=16).generator
        'watts-strogatz'
    """
    if prior not in get_args(WiringPrior):
        raise ConfigError(f"unknown prior '{prior}'; choose from {list(get_args(WiringPrior))}")
    if prior == "density":
        return NASGEM(num_nodes, max_inputs=max_inputs)
    return RandomWiring(num_nodes, prior, spread=spread, max_inputs=max_inputs)
