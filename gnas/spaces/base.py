"""What every search space can do."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch_geometric.data import Data

from gnas.errors import GraphError, UnsupportedError
from gnas.graphs import (
    DenseBatch,
    architecture,
    distinct,
    to_adjacency,
    validate,
)
from gnas.spaces.notation import Notation
from gnas.spaces.vocabulary import Vocabulary

NEIGHBOUR_DRAWS = 300
"""Mutations that stand for the neighbours of an architecture where a space cannot list them."""


class Space(ABC):
    """A set of architectures: facts about it, and ways to draw, change, check and write them.

    Searchers call `sample_batch` for a first population or a pool to score, `mutate` to vary one
    architecture and `neighbours` to vary it in every way; readers of files call `from_str`, which
    validates. A space knows no tables, files or devices. Methods never change the caller's graph.
    """

    name: str
    """Key in `gnas.spaces.SPACES`."""
    ops: tuple[str, ...]
    """What the columns of ``x`` mean: operations, or node roles where operations sit on edges."""
    edge_ops: tuple[str, ...] = ()
    """What the values of ``edge_op`` mean; empty where operations sit on nodes."""
    max_nodes: int
    """Most nodes that an architecture has."""
    max_edges: int | None = None
    """Most edges that an architecture has, where that is far from every pair of nodes."""
    inputs: tuple[int, ...] = ()
    """Columns of ``x`` of the nodes at which data enters, where not node 0 alone."""
    outputs: tuple[int, ...] = ()
    """Columns of ``x`` of the nodes at which data leaves, where not the last node alone."""
    skip_ops: tuple[int, ...] = ()
    """Values of ``edge_op`` that return their input as it is."""
    sum_roles: tuple[int, ...] = ()
    """Columns of ``x`` of the nodes that only add up what enters them."""
    strided_roles: tuple[int, ...] = ()
    """Columns of ``x`` of the nodes whose edges halve the maps, so that no skip is an identity."""
    to_output: bool = True
    """Whether a node without a path to an output computes nothing; else leaves are outputs."""
    concatenates: bool = False
    """Whether the last node concatenates what enters it, so that nodes share its channels."""
    learned: tuple[str, ...] = ()
    """The operations of ``ops`` and ``edge_ops`` that have weights."""
    size: int | None = None
    """Number of different architectures, where the space can enumerate them."""
    notations: tuple[Notation, ...] = ()
    """Other projects' ways to write architectures, by name: see `Notation`."""

    @abstractmethod
    def sample_batch(self, count: int, rng: np.random.Generator) -> DenseBatch:
        """``count`` independent draws; the space's docstring says from which distribution."""

    @abstractmethod
    def mutate(self, graph: Data, rng: np.random.Generator) -> Data:
        """A different architecture of the space, one edit away from ``graph``."""

    @abstractmethod
    def check(self, graph: Data) -> None:
        """Raises GraphError if ``graph``, sound as a graph, breaks a rule of this space."""

    def sample(self, rng: np.random.Generator) -> Data:
        """One draw from the distribution of `sample_batch`."""
        return self.sample_batch(1, rng).data(0)

    def mutate_batch(self, batch: DenseBatch, rng: np.random.Generator) -> DenseBatch:
        """Every architecture one random edit away from where it was; padded to ``max_nodes``.

        Faster than `mutate` where a space overrides it, and then free to draw edits otherwise.
        """
        mutated = DenseBatch.from_data([self.mutate(graph, rng) for graph in batch])
        return mutated.pad_to(self.max_nodes)

    def neighbours(self, graph: Data) -> DenseBatch:
        """Other architectures one edit away from ``graph``, each once up to isomorphism.

        All of them where the space can list them. Otherwise the different ones among
        `NEIGHBOUR_DRAWS` mutations, always the same for the same graph.
        """
        rng = np.random.default_rng(0)
        draws = [self.mutate(graph, rng) for _ in range(NEIGHBOUR_DRAWS)]
        return self._others(DenseBatch.from_data([graph, *draws]))

    def _others(self, batch: DenseBatch) -> DenseBatch:
        """The different architectures of a batch that differ from its first one, as they are."""
        return batch[torch.from_numpy(distinct(self.live(batch))[1:])]

    def enumerate(self) -> DenseBatch:
        """Every architecture of the space once, in a fixed order.

        Raises:
            UnsupportedError: the space is too large to enumerate.
        """
        raise UnsupportedError(f"space '{self.name}' is too large to enumerate; sample from it")

    def live(self, batch: DenseBatch) -> DenseBatch:
        """The architectures reduced to the nodes that the network is built from."""
        return batch

    def representative(self, batch: DenseBatch) -> DenseBatch:
        """Architectures of this space that stand for those given, in what their networks compute.

        Where a space overrides it, architectures of one function share their representative, so
        that what is measured on a network is measured once. Here: the `live` part.
        """
        return self.live(batch)

    def functional(self, batch: DenseBatch) -> DenseBatch:
        """What the networks compute: see `gnas.graphs.functional_form`; no dead branch, no skip.

        Raises:
            GraphError: the graphs carry edge operations where this space has none, or reversely.
        """
        return Vocabulary.of(self).functional(batch)

    def validate(self, graph: Data) -> None:
        """Checks that ``graph`` is an architecture of this space.

        Raises:
            GraphError: says which rule is broken and what was found.
        """
        validate(graph, num_ops=len(self.ops))
        if ("edge_op" in graph) != bool(self.edge_ops):
            raise GraphError(
                f"architectures of '{self.name}' must "
                f"{'carry' if self.edge_ops else 'not carry'} edge_op"
            )
        if self.edge_ops and graph.edge_op.numel():
            largest = int(graph.edge_op.max())
            if largest >= len(self.edge_ops):
                raise GraphError(f"edge_op must be in [0, {len(self.edge_ops)}), got {largest}")
        self.check(graph)

    def to_str(self, graph: Data) -> str:
        """One line of text: the operations, a bar, the upper triangle row by row in hex."""
        adjacency, ops = to_adjacency(graph)
        n = len(ops)
        bits = adjacency[tuple(torch.triu_indices(n, n, 1))].tolist()
        code = int("".join(map(str, bits)) or "0", 2)
        digits = (len(bits) + 3) // 4
        return f"{','.join(self.ops[op] for op in ops.tolist())}|{code:0{max(digits, 1)}x}"

    def from_str(self, text: str) -> Data:
        """The architecture that `to_str` wrote, validated.

        Raises:
            GraphError: the text is malformed, or its graph is not of this space.
        """
        names, _, digits = text.strip().partition("|")
        ops = [self._op_index(name) for name in names.split(",")]
        n = len(ops)
        num_pairs = n * (n - 1) // 2
        try:
            code = int(digits, 16)
        except ValueError:
            code = -1
        if code < 0 or code >> num_pairs:
            raise GraphError(
                f"an architecture text must be 'op,op,...|hex' with {num_pairs} bits of upper "
                f"triangle for its {n} ops, but got {text[:80]!r}"
            )
        adjacency = np.zeros((n, n), dtype=np.int64)
        adjacency[np.triu_indices(n, 1)] = [int(bit) for bit in f"{code:0{num_pairs}b}"][
            :num_pairs
        ]
        graph = architecture(adjacency, ops, len(self.ops))
        self.validate(graph)
        return graph

    def _op_index(self, name: str) -> int:
        try:
            return self.ops.index(name)
        except ValueError:
            raise GraphError(
                f"unknown operation {name[:40]!r}; '{self.name}' has {list(self.ops)}"
            ) from None
