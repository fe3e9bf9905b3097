"""The NASGEM space: cells of 30 (or any number of) operation nodes with free wiring."""

from __future__ import annotations

import numpy as np
import torch
from torch_geometric.data import Data

from gnas.errors import ConfigError, GraphError
from gnas.graphs import DenseBatch, architecture, prune_batch, to_adjacency
from gnas.spaces.base import Space

OPS = ("conv_1x1", "dw_sep_conv_3x3")
DENSITIES = (0.05, 0.6)
"""Choice: each draw has its own edge probability, uniform in this range. With one density for
all, the kernel between any two cells is nearly constant and an encoder has nothing to learn."""


class NASGEM(Space):
    """Directed acyclic graphs of operation nodes, every pair of nodes joined or not.

    The graph holds all ``num_nodes`` nodes, dead ones included, as the paper's encoder sees it.
    `live` gives what the network is built from.

    Choice: node 0 takes the cell's input and is the only node that does; any other node without
    input is dropped (paper, section 3.3), with whatever hangs on it alone. The leaves that
    remain form the output. So node 0 and the last node need no operation of their own.

    Args:
        num_nodes: Nodes of every cell.
        densities: Range of the edge probability of a drawn cell.

    Source: Cheng et al., NASGEM: Neural Architecture Search via Graph Embedding Method,
    AAAI 2021, section 3.
    """

    name = "nasgem"
    ops = OPS
    to_output = False
    learned = OPS

    def __init__(self, num_nodes: int = 30, densities: tuple[float, float] = DENSITIES) -> None:
        if not 1 <= num_nodes <= 127:
            raise ConfigError(f"num_nodes must be in [1, 127], but got {num_nodes=}")
        if not 0 <= densities[0] <= densities[1] <= 1:
            raise ConfigError(f"densities must be 0 <= low <= high <= 1, but got {densities}")
        self.max_nodes = num_nodes
        self.densities = densities

    def sample_batch(self, count: int, rng: np.random.Generator) -> DenseBatch:
        """``count`` cells: a density uniform in ``densities``, then independent edges and ops."""
        n = self.max_nodes
        rows, columns = np.triu_indices(n, 1)
        density = rng.uniform(*self.densities, size=(count, 1)).astype(np.float32)
        adjacency = np.zeros((count, n, n), dtype=np.uint8)
        adjacency[:, rows, columns] = rng.random((count, len(rows)), dtype=np.float32) < density
        ops = rng.integers(len(OPS), size=(count, n), dtype=np.int8)
        return DenseBatch(
            torch.from_numpy(adjacency),
            torch.from_numpy(ops),
            torch.full((count,), n, dtype=torch.int64),
            len(OPS),
        )

    def mutate(self, graph: Data, rng: np.random.Generator) -> Data:
        """One edge added or removed, or one operation changed, each candidate equally likely."""
        adjacency, ops = to_adjacency(graph)
        rows, columns = np.triu_indices(len(ops), 1)
        k = int(rng.integers(len(rows) + len(ops)))
        if k < len(rows):
            adjacency[rows[k], columns[k]] ^= 1
        else:
            ops[k - len(rows)] = (ops[k - len(rows)] + 1) % len(OPS)
        return architecture(adjacency, ops, len(OPS))

    def neighbours(self, graph: Data) -> DenseBatch:
        """All cells with one edge added or removed or one operation changed, live parts compared.

        435 edges and 30 operations, less what changes dead nodes only.
        """
        adjacency, ops = to_adjacency(graph)
        n = len(ops)
        rows, columns = torch.triu_indices(n, n, 1)
        pairs, nodes = torch.arange(len(rows)), torch.arange(n)
        edges = adjacency.repeat(1 + len(rows) + n, 1, 1)
        kinds = ops.to(torch.int8).repeat(len(edges), 1)
        edges[1 + pairs, rows, columns] ^= 1
        changed = 1 + len(rows) + nodes
        kinds[changed, nodes] = (kinds[changed, nodes] + 1) % len(OPS)
        return self._others(DenseBatch(edges, kinds, torch.full((len(edges),), n), len(OPS)))

    def check(self, graph: Data) -> None:
        """See `Space.check`."""
        if graph.x.size(0) != self.max_nodes:
            raise GraphError(
                f"a cell of this space must have {self.max_nodes} nodes, but got {graph.x.size(0)}"
            )

    def live(self, batch: DenseBatch) -> DenseBatch:
        """The cells without the nodes that no data reaches from node 0."""
        return prune_batch(batch, to_output=False)
