"""The NASGEM space: cells of up to 30 (or any number of) operation nodes with free wiring."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gnas.errors import GraphError
from gnas.geometric import Data
from gnas.graphs import DenseBatch, architecture, prune, prune_batch, to_adjacency
from gnas.spaces.base import Space, check_draw
from gnas.spaces.nasgem.config import DENSITIES, MAX_INPUTS, check_nasgem
from gnas.spaces.networks import Networks
from gnas.spaces.suggestions import Trial, pick
from gnas.spaces.vocabulary import Vocabulary

if TYPE_CHECKING:
    from gnas.figure import Figure

OPS = ("conv_1x1", "dw_sep_conv_3x3")
CHUNK_SIZE = 500
"""Cells drawn at a time: they stay in cache."""


class NASGEM(Space):
    """Directed acyclic graphs of operation nodes; the graph is the network, edge for edge.

    Every node is reached from node 0, which alone takes the cell's input, and joins the outputs
    of at most ``max_inputs`` earlier nodes. The nodes that nothing reads, the leaves, are joined
    to the cell's output, however many they are. So node 0 and the output need no node of their
    own, and no edge or node of a graph is left out of its network.

    The paper draws an adjacency matrix of 30 nodes and drops those without input (section 3.3).
    Here the graph is what remains, so cells have 1 to ``num_nodes`` nodes.

    Args:
        num_nodes: Most nodes of a cell.
        densities: Range of a drawn cell's share of the edges that it can have.
        max_inputs: Most inputs of a node.

    Raises:
        ConfigError: an argument is outside its range.

    Source: Cheng et al., NASGEM: Neural Architecture Search via Graph Embedding Method,
    AAAI 2021, section 3.

    Examples:
        >>> import numpy as np
        >>> space = NASGEM()
        >>> cell = space.sample(np.random.default_rng(0))
        >>> space.from_str(space.to_str(cell)).num_nodes == cell.num_nodes
        True
        >>> space.max_nodes
        30
    """

    name = "nasgem"
    wl_encoder = "nasgem-30"
    graph_networks = ("dag",)

    def __init__(
        self,
        num_nodes: int = 30,
        densities: tuple[float, float] = DENSITIES,
        max_inputs: int = MAX_INPUTS,
    ) -> None:
        check_nasgem(num_nodes, densities, max_inputs)
        self.vocabulary = Vocabulary(ops=OPS, max_nodes=num_nodes, to_output=False, learned=OPS)
        self.densities = densities
        self.max_inputs = max_inputs

    @property
    def networks(self) -> Networks:
        """GEMNet-like networks."""
        from gnas.spaces.nasgem.config import NasgemNetworkConfig
        from gnas.spaces.nasgem.network import NasgemNetwork, nasgem_imagenet, network_arguments
        from gnas.spaces.nasgem.size import nasgem_macs

        return Networks(
            NasgemNetworkConfig,
            NasgemNetwork,
            network_arguments,
            depth="cells_per_stage",
            width="channels",
            small={"cells_per_stage": 1, "channels": 8},
            large=vars(nasgem_imagenet()),
            macs=nasgem_macs,
        )

    def draw(self, graph: Data) -> dict[str, Figure]:
        """Built part of the cell."""
        from gnas.spaces.nasgem.figure import nasgem_cell_figure

        return {"cell": nasgem_cell_figure(graph)}

    @classmethod
    def of_text(cls, text: str) -> NASGEM | None:
        """See `Space.of_text`; the notation is ``op,op,...|hex``, one operation for each node."""
        names = text.strip().partition("|")[0].split(",")
        return NASGEM(len(names)) if names[0].strip() in OPS else None

    def sample_batch(self, count: int, rng: np.random.Generator) -> DenseBatch:
        """``count`` cells: a density, then every node's inputs and operation, independently.

        With a density q, uniform in ``densities``, node j has Binomial(min(j, max_inputs), q)
        inputs, any of the j earlier nodes equally likely; nodes that node 0 does not reach are
        dropped. Where the cap is no bound, every edge exists with probability q.
        """
        check_draw(count, rng)
        n = self.max_nodes
        density = rng.uniform(*self.densities, size=(count, 1))
        degrees = rng.binomial(np.minimum(np.arange(n), self.max_inputs), density)  # [N, n]
        earlier = np.broadcast_to(np.triu(np.ones((n, n), dtype=np.bool_), 1), (count, n, n))
        adjacency = some_inputs(earlier, degrees, rng)
        ops = rng.integers(len(OPS), size=(count, n), dtype=np.int8)
        return prune_batch(
            DenseBatch(
                torch.from_numpy(adjacency.astype(np.uint8)),
                torch.from_numpy(ops),
                torch.full((count,), n, dtype=torch.int64),
                len(OPS),
            ),
            to_output=False,
        )

    def repair(self, batch: DenseBatch, rng: np.random.Generator) -> DenseBatch:
        """Graphs that break this space's rules as cells that keep them.

        Of more than ``max_inputs`` inputs of a node, that many at random stay; nodes that node 0
        then does not reach go.
        """
        edges = batch.adjacency.numpy() > 0
        kept = some_inputs(edges, np.full(batch.ops.shape, self.max_inputs), rng)
        fewer = torch.from_numpy(kept.astype(np.uint8))
        return prune_batch(
            DenseBatch(fewer, batch.ops, batch.num_nodes, batch.num_ops), to_output=False
        )

    def mutate(self, graph: Data, rng: np.random.Generator) -> Data:
        """One edit: each of the following equally likely, as far as the rules allow it.

        An edge added; an edge removed, and with it the nodes that node 0 then does not reach; an
        operation changed; a node of either operation added at any later place with one input.
        """
        check_draw(1, rng)
        self.check_own(graph)
        adjacency, ops = to_adjacency(graph)
        n = len(ops)
        toggles, grown = self._toggles(adjacency), self._grown(n)
        k = int(rng.integers(len(toggles) + n + grown))
        if k < len(toggles):
            i, j = toggles[k].tolist()
            adjacency[i, j] ^= 1
            return prune(architecture(adjacency, ops, len(OPS)), to_output=False)
        k -= len(toggles)
        if k < n:
            ops[k] = (ops[k] + 1) % len(OPS)
            return architecture(adjacency, ops, len(OPS))
        source, op = divmod(k - n, len(OPS))
        place = int(rng.integers(source + 1, n + 1))
        adjacency, ops = _with_node(adjacency, ops, place)
        adjacency[source, place], ops[place] = 1, op
        return architecture(adjacency, ops, len(OPS))

    def neighbours(self, graph: Data) -> DenseBatch:
        """All cells one edit away (see `mutate`), each once up to isomorphism.

        A node added is the last one: where a leaf stands changes no network.
        """
        self.check_own(graph)
        adjacency, ops = to_adjacency(graph)
        n = len(ops)
        toggles, grown = self._toggles(adjacency), self._grown(n)
        adjacency, ops = _with_node(adjacency, ops, n)
        ops[n] = -1
        edges = adjacency.to(torch.uint8).repeat(1 + len(toggles) + n + grown, 1, 1)
        kinds = ops.to(torch.int8).repeat(len(edges), 1)  # [M, n + 1]
        sizes = torch.full((len(edges),), n)  # [M]
        edges[1 + torch.arange(len(toggles)), toggles[:, 0], toggles[:, 1]] ^= 1
        changed = 1 + len(toggles) + torch.arange(n)
        kinds[changed, torch.arange(n)] = (kinds[changed, torch.arange(n)] + 1) % len(OPS)
        added = torch.arange(grown)
        first = 1 + len(toggles) + n
        edges[first + added, added // len(OPS), n] = 1
        kinds[first + added, n] = (added % len(OPS)).to(torch.int8)
        sizes[first:] += 1
        others = self._others(
            prune_batch(DenseBatch(edges, kinds, sizes, len(OPS)), to_output=False)
        )
        return others.pad_to(max(n, int(others.num_nodes.max()))) if grown else others

    def check(self, graph: Data) -> None:
        """See `Space.check`."""
        adjacency, ops = to_adjacency(graph)
        if len(ops) > self.max_nodes:
            raise GraphError(
                f"a cell of this space must have at most {self.max_nodes} nodes, "
                f"but got {len(ops)}"
            )
        inputs = adjacency.sum(0)
        over = (inputs > self.max_inputs).nonzero().flatten().tolist()
        if over:
            raise GraphError(
                f"a node of this space must have at most {self.max_inputs} inputs, but node "
                f"{over[0]} has {int(inputs[over[0]])}; leave some out, or make the space with "
                "another max_inputs"
            )
        unreached = (inputs[1:] == 0).nonzero().flatten().tolist()
        if unreached:
            raise GraphError(
                "every node must be reached from node 0, the only one that takes the cell's "
                f"input, but node {unreached[0] + 1} has no input; drop it and what hangs on it "
                "alone: gnas.graphs.prune(graph, to_output=False)"
            )

    def suggest(self, trial: Trial) -> Data:
        """A cell by the operations ``op_0``, ... and the inputs of every node.

        Node j has a parameter ``edge_i_j`` (0 or 1) for every earlier node i, where it may read
        all of them; else ``max_inputs`` parameters ``input_0_j``, ..., each an earlier node or
        None. Nodes that node 0 does not reach are dropped.
        """
        n = self.max_nodes
        ops = [pick(trial, f"op_{v}", OPS) for v in range(n)]
        adjacency = np.zeros((n, n), dtype=np.int64)
        for j in range(1, n):
            if j <= self.max_inputs:
                for i in range(j):
                    adjacency[i, j] = trial.suggest_int(f"edge_{i}_{j}", 0, 1)
                continue
            for k in range(self.max_inputs):
                source = trial.suggest_categorical(f"input_{k}_{j}", [None, *range(j)])
                if source is not None:
                    adjacency[source, j] = 1
        return prune(architecture(adjacency, ops, len(OPS)), to_output=False)

    def _toggles(self, adjacency: Tensor) -> Tensor:
        """The edges that can be added or removed: int64 [K, 2]."""
        n = len(adjacency)
        free = adjacency.sum(0, keepdim=True) < self.max_inputs
        return torch.triu((adjacency > 0) | free.expand(n, n), 1).nonzero()

    def _grown(self, n: int) -> int:
        """Ways to add a node with one input to a cell of ``n``, its place left open."""
        return n * len(OPS) if n < self.max_nodes else 0


def _with_node(adjacency: Tensor, ops: Tensor, place: int) -> tuple[Tensor, Tensor]:
    """The same cell with one more node, of operation 0 and without edges, at ``place``."""
    n = len(ops)
    kept = [k for k in range(n + 1) if k != place]
    wider, kinds = adjacency.new_zeros(n + 1, n + 1), ops.new_zeros(n + 1)
    wider[torch.tensor(kept)[:, None], torch.tensor(kept)] = adjacency
    kinds[kept] = ops
    return wider, kinds


def some_inputs(
    edges: NDArray[np.bool_], degrees: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Random subsets of every node's possible inputs, uniform over subsets of the given size.

    Args:
        edges: The possible edges, upper triangles.
        degrees: Number of inputs to keep per node; all where it has fewer.
        rng: Random generator.

    Shapes:
        edges [N, n, n], degrees [N, n] -> [N, n, n].
    """
    kept = np.empty_like(edges)
    for start in range(0, len(edges), CHUNK_SIZE):
        possible = edges[start : start + CHUNK_SIZE].transpose(0, 2, 1)  # [M, target, source]
        keys = np.where(possible, rng.random(possible.shape, dtype=np.float32), np.float32(2))
        most = np.minimum(degrees[start : start + CHUNK_SIZE], keys.shape[2] - 1)
        first_out = np.take_along_axis(np.sort(keys, axis=2), most[:, :, None], axis=2)
        kept[start : start + CHUNK_SIZE] = (keys < first_out).transpose(0, 2, 1)
    return kept
