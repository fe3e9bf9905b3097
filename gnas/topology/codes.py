"""Codes of the sets of edges that a node, and a cell, may choose.

Nodes are numbered from 0: the first (two in DARTS' cells) are the cell's inputs, the last is its
output, those between are intermediate. A joint topology is a bool mask [E] over `candidate_edges`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from math import prod

import numpy as np
import torch
from torch import Tensor

from gnas.config import checked
from gnas.errors import GraphError
from gnas.topology_options import (
    NUM_INPUTS,
    Mode,
    TopologySpace,
    check_codes,
    check_num_nodes,
)


@cache
def candidate_edges(num_nodes: int, num_inputs: int = NUM_INPUTS) -> tuple[tuple[int, int], ...]:
    """All edges (i, j) that a cell may have: j intermediate, ascending, then i < j, ascending.

    Every tensor "per edge" uses this order; 14 edges for 7 nodes.

    Args:
        num_nodes: Nodes of the cell, its inputs and its output included.
        num_inputs: Input nodes, which come first.

    Raises:
        ConfigError: ``num_nodes`` is out of range.

    Examples:
        >>> candidate_edges(5)
        ((0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
    """
    check_num_nodes(num_nodes, num_inputs)
    return tuple((i, j) for j in range(num_inputs, num_nodes - 1) for i in range(j))


@checked
def codes(num_partners: int, space: TopologySpace, k: int) -> Tensor:
    """All sets of edges that one node may choose, one row each; bit m is the m-th partner.

    Args:
        num_partners: M, the nodes that could be at the other end.
        space: "arbitrary" has every set but the empty one, "fixed" those of exactly ``k`` edges.
        k: Edges of a set; not used in "arbitrary".

    Shapes:
        bool [2^M - 1, M] or [C(M, k), M], in the order of the number that the bits spell, the
        first partner least significant. So the first code always has the first partner.

    Examples:
        >>> codes(3, "fixed", 2).tolist()
        [[True, True, False], [True, False, True], [False, True, True]]
    """
    numbers = torch.arange(1, 2**num_partners)
    rows = (numbers[:, None] >> torch.arange(num_partners)) & 1  # [2^M - 1, M]
    if space == "fixed":
        rows = rows[rows.sum(1) == k]
    return rows.bool()


@checked
def is_valid(mask: Tensor, num_nodes: int, num_inputs: int = NUM_INPUTS) -> Tensor:
    """Whether every intermediate node has an input.

    Args:
        mask: Whether each of E candidate edges is there.
        num_nodes: Nodes of a cell, inputs and output included.
        num_inputs: Nodes that are inputs.

    Shapes:
        mask bool [..., E] -> bool [...].

    Raises:
        GraphError: the mask's last dimension is not the number of candidate edges.

    Examples:
        >>> is_valid(torch.tensor([True, True, False, False, False]), num_nodes=5).item()
        False
    """
    edges = candidate_edges(num_nodes, num_inputs)
    if mask.size(-1) != len(edges):
        raise GraphError(
            f"a topology of {num_nodes} nodes must be a mask of {len(edges)} edges, "
            f"but got shape {tuple(mask.shape)}"
        )
    groups = torch.split(mask.bool(), list(range(num_inputs, num_nodes - 1)), dim=-1)  # by target
    return torch.stack([group.any(-1) for group in groups], dim=-1).all(-1)


@dataclass(frozen=True, kw_only=True)
class TopologyCodes:
    """The codes of every choosing node of a cell, and exact sums over all joint topologies.

    Choosing nodes are all that have a possible edge on the side that ``mode`` names: nodes 0 to
    num_nodes - 3 in output mode, the intermediate nodes in input mode. In input mode every joint
    topology is valid.

    Choice: in output mode "fixed" keeps ``max(1, min(k, M - 1))`` of a node's M edges, which for
    k = 2 and 7 nodes gives the paper's 2, 2, 2, 1, 1; in input mode ``min(k, M)``.

    Source: Huang et al., Explicitly Learning Topology for Differentiable Neural Architecture
    Search, 2020, sections 3.1 and 3.2.

    Examples:
        >>> cell = TopologyCodes(num_nodes=7, space="arbitrary")
        >>> cell.sizes, cell.num_joint
        ((15, 15, 7, 3, 1), 4725)
    """

    num_nodes: int = 7
    """Nodes of the cell: inputs, intermediate ones, the output."""
    space: TopologySpace = "arbitrary"
    """See `codes`."""
    k: int = 2
    """Edges that a node keeps in "fixed"."""
    mode: Mode = "output"
    """Side of the node that selects edges."""
    num_inputs: int = NUM_INPUTS
    """Nodes that no edge enters: in DARTS' cells the outputs of the two previous cells."""

    def __post_init__(self) -> None:
        check_codes(self.num_nodes, self.space, self.k, self.mode, self.num_inputs)

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """`candidate_edges` of the cell."""
        return candidate_edges(self.num_nodes, self.num_inputs)

    @property
    def num_intermediate(self) -> int:
        """Nodes that are neither input nor output."""
        return self.num_nodes - self.num_inputs - 1

    @cached_property
    def deciding_nodes(self) -> tuple[int, ...]:
        """The nodes that own a distribution, ascending."""
        if self.mode == "output":
            return tuple(range(self.num_nodes - 2))
        return tuple(range(self.num_inputs, self.num_nodes - 1))

    @cached_property
    def edge_ids(self) -> tuple[Tensor, ...]:
        """Positions in `edges` of every deciding node's edges, int64 [M] each."""
        side = 0 if self.mode == "output" else 1
        return tuple(
            torch.tensor([e for e, edge in enumerate(self.edges) if edge[side] == node])
            for node in self.deciding_nodes
        )

    @cached_property
    def codes(self) -> tuple[Tensor, ...]:
        """Codes of every deciding node, bool [codes, M] each, columns as in `edge_ids`."""
        return tuple(codes(len(ids), self.space, self._kept(len(ids))) for ids in self.edge_ids)

    def _kept(self, num_partners: int) -> int:
        if self.mode == "input":
            return min(self.k, num_partners)
        return max(1, min(self.k, num_partners - 1))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of codes of every deciding node."""
        return tuple(len(rows) for rows in self.codes)

    @property
    def num_joint(self) -> int:
        """Joint topologies, valid or not."""
        return prod(self.sizes)

    @cached_property
    def num_valid(self) -> int:
        """Valid joint topologies, counted by inclusion and exclusion of uncovered nodes."""
        total = 0
        for uncovered in range(2**self.num_intermediate):
            avoiding = prod(int(((cover & uncovered) == 0).sum()) for cover in self.covers)
            total += (-1) ** uncovered.bit_count() * avoiding
        return total

    @cached_property
    def incidence(self) -> Tensor:
        """Edges of every code, stacked over the deciding nodes: bool [sum of codes, E]."""
        rows = torch.zeros(sum(self.sizes), len(self.edges), dtype=torch.bool)
        for part, ids, own in zip(
            torch.split(rows, list(self.sizes)), self.edge_ids, self.codes, strict=True
        ):
            part[:, ids] = own  # the codes of the node in its own columns
        return rows

    @cached_property
    def covers(self) -> tuple[Tensor, ...]:
        """Bit sets of the nodes with an input in each code, int64 [codes] per deciding node.

        Bit m stands for intermediate node m.
        """
        bits = torch.tensor([1 << (target - self.num_inputs) for _, target in self.edges])  # [E]
        if self.mode == "input":  # all bits of one code are the same node
            return tuple(
                bits[ids[0]].repeat(size)
                for ids, size in zip(self.edge_ids, self.sizes, strict=True)
            )
        pairs = zip(self.edge_ids, self.codes, strict=True)
        return tuple((own * bits[ids]).sum(1) for ids, own in pairs)  # [codes] each

    def is_valid(self, mask: Tensor) -> Tensor:
        """Whether every intermediate node has an input: see `is_valid`."""
        return is_valid(mask, self.num_nodes, self.num_inputs)

    def mask(self, choice: Sequence[int] | Tensor) -> Tensor:
        """Joint topology of one code index per deciding node.

        Shapes:
            choice int64 [..., nodes] -> bool [..., E].
        """
        index = torch.as_tensor(choice)
        mask = torch.zeros(*index.shape[:-1], len(self.edges), dtype=torch.bool)
        for c, (ids, own) in enumerate(zip(self.edge_ids, self.codes, strict=True)):
            mask[..., ids] = own[index[..., c]]  # [..., M]
        return mask

    def choice(self, mask: Tensor) -> Tensor:
        """Code index of every deciding node in a joint topology; -1 where it is not a code.

        Shapes:
            mask bool [E] -> int64 [nodes].
        """
        found = []
        for ids, own in zip(self.edge_ids, self.codes, strict=True):
            same = (own == mask[ids]).all(1)  # [codes]
            found.append(int(same.long().argmax()) if bool(same.any()) else -1)
        return torch.tensor(found)

    def tables(
        self, last: Tensor, step: Callable[[int, Tensor], Tensor], device: torch.device | str
    ) -> list[Tensor]:
        """Backward recursion over the deciding nodes and the sets of nodes already covered.

        Table c has a value for every set that nodes 0..c-1 may have covered together: what
        ``step`` makes of node c's codes and table c + 1. Exact in sums and maxima over all
        joint topologies, without listing them.

        Args:
            last: The value of every set after the last deciding node, [2^intermediate].
            step: Maps c and the next table's values [sets, codes of c] to table c, [sets].
            device: Device of the tables.
        """
        covered = torch.arange(2**self.num_intermediate, device=device)  # [sets]
        found = [last]
        for c in reversed(range(len(self.deciding_nodes))):
            after = covered[:, None] | self.covers[c].to(device)  # [sets, codes of c]
            found.append(step(c, found[-1][after]))
        return found[::-1]

    def sample(self, count: int, rng: np.random.Generator) -> Tensor:
        """Independent draws, uniform over the valid joint topologies.

        Shapes:
            bool [count, E].
        """
        uniform = torch.from_numpy(rng.random((count, len(self.deciding_nodes))))  # [count, nodes]
        return self.mask(
            torch.cat([self._sample_part(part) for part in torch.split(uniform, 4096)])
        )

    @cached_property
    def _completions(self) -> list[Tensor]:
        """`tables` of the number of valid completions by the remaining deciding nodes."""
        complete = torch.zeros(2**self.num_intermediate, dtype=torch.float64)  # [sets]
        complete[-1] = 1
        return self.tables(complete, lambda c, after: after.sum(1), "cpu")

    def _sample_part(self, uniform: Tensor) -> Tensor:
        """Choices [n, nodes], node by node, each code by its number of valid completions."""
        covered = torch.zeros(len(uniform), dtype=torch.int64)  # [n], bit sets
        choice = torch.zeros(uniform.shape, dtype=torch.int64)  # [n, nodes]
        for c, cover in enumerate(self.covers):
            below = self._completions[c + 1][covered[:, None] | cover].cumsum(1)  # [n, codes of c]
            choice[:, c] = (below <= uniform[:, c, None] * below[:, -1:]).sum(1)
            covered |= cover[choice[:, c]]  # [n]
        return choice


@checked
def enumerate_joint(
    codes: TopologyCodes, *, valid_only: bool = False, chunk: int = 65_536
) -> Iterator[Tensor]:
    """Iterate over all joint topologies, with the last deciding node's code changing fastest.

    Args:
        codes: Codes to choose from.
        valid_only: Leave out topologies in which an intermediate node has no input.
        chunk: Joint topologies looked at for each tensor.

    Yields:
        bool [at most chunk, E].

    Examples:
        >>> cell = TopologyCodes(num_nodes=5, space="fixed", k=1)
        >>> [mask.shape for mask in enumerate_joint(cell)], cell.num_joint
        ([torch.Size([4, 5])], 4)
    """
    sizes = codes.sizes
    stride = [prod(sizes[c + 1 :]) for c in range(len(sizes))]
    for start in range(0, codes.num_joint, chunk):
        index = torch.arange(start, min(start + chunk, codes.num_joint))  # [at most chunk]
        digits = [index // step % size for step, size in zip(stride, sizes, strict=True)]
        mask = codes.mask(torch.stack(digits, dim=1))  # [at most chunk, E]
        yield mask[codes.is_valid(mask)] if valid_only else mask
