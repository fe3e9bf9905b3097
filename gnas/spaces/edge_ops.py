"""Ready-made space: operations on the edges between feature maps."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from gnas.errors import GraphError
from gnas.geometric import Data
from gnas.graphs import DenseBatch, architecture, as_batch, to_adjacency, validate
from gnas.spaces.base import Space, check_draw
from gnas.spaces.config import check_edge_ops
from gnas.spaces.suggestions import Trial, pick
from gnas.spaces.vocabulary import Vocabulary

ROLES = ("input", "sum", "output")
"""Roles of the feature maps: the first, the inner ones and the last, which is a sum too."""
MAX_ENUMERABLE = 2**20
"""Choice: spaces with at most so many cells are enumerated."""

MAX_COMPARED = 2**16
"""Choice: of spaces with at most so many cells, all functions are known."""

_LOG = logging.getLogger(__name__)
_ROW = re.compile(r"\|[^|+]*(\|[^|+]*)*\|")
_GROUP = r"\|(?:\s*[\w.-]+\s*~\s*\d+\s*\|)+"
_CELL = re.compile(rf"{_GROUP}(?:\s*\+\s*{_GROUP})*")

Codes = TypeVar("Codes", int, Tensor)
"""One code of an operation, or many."""


class EdgeOpSpace(Space):
    """Cells of feature maps, each the sum of what operations make of all earlier ones.

    Map 0 is the cell's input, the last map its output. Every edge from a map to a later one has
    one of ``edge_ops``, so a space of n maps and k operations has k^(n (n - 1) / 2) cells.

    Args:
        num_nodes: Feature maps of a cell, input and output included.
        edge_ops: Names of the operations.
        none: The operation that cuts: an edge with it is absent from the graph, so the values of
            ``edge_op`` count the other operations only (see `Space.op_names`). None if no
            operation does.
        skip: The operation that passes its input on as it is. None if no operation does.
        learned: The operations that have weights.
        build: Makes the network of a cell: ``build(graph, *, in_channels=3, num_classes=10,
            ...)``, see `Space.build`. Subclasses may define the method instead.
        name: Name of the space in messages and records.

    Raises:
        ConfigError: an argument is outside its range, or operations have impossible names.

    Examples:
        >>> space = EdgeOpSpace(
        ...     num_nodes=4,
        ...     edge_ops=("zero", "skip", "attention", "mlp"),
        ...     none="zero",
        ...     skip="skip",
        ...     learned=("attention", "mlp"),
        ... )
        >>> space.count()
        4096
        >>> cell = space.from_str("|mlp~0|+|zero~0|skip~1|+|zero~0|zero~1|mlp~2|")
        >>> cell.num_edges
        3
    """

    name = "edge-ops"

    def __init__(
        self,
        *,
        num_nodes: int,
        edge_ops: Iterable[str],
        none: str | None = None,
        skip: str | None = None,
        learned: Iterable[str] = (),
        build: Callable[..., nn.Module] | None = None,
        name: str | None = None,
    ) -> None:
        named = check_edge_ops(
            num_nodes=num_nodes, edge_ops=edge_ops, none=none, skip=skip, learned=learned
        )
        present = tuple(op for op in named if op != none)
        self.num_nodes = num_nodes
        self.edges = tuple((i, j) for j in range(1, num_nodes) for i in range(j))
        self.candidates = named if none is None else (none, *present)
        self._first = 0 if none is not None else 1  # code of the first candidate in a matrix
        self.vocabulary = Vocabulary(
            ops=ROLES,
            max_nodes=num_nodes,
            edge_ops=present,
            skip_ops=() if skip is None else (present.index(skip),),
            sum_roles=(ROLES.index("sum"),),
            learned=tuple(learned),
        )
        count = self.count()
        self.size = count if count <= MAX_ENUMERABLE else None
        self._take(name, build)

    def count(self) -> int:
        """Number of cells, known also where they are too many to enumerate."""
        return int(len(self.candidates) ** len(self.edges))

    def sample_batch(self, count: int, rng: np.random.Generator) -> DenseBatch:
        """``count`` cells, uniform over all, with replacement: every edge's operation uniform."""
        check_draw(count, rng)
        if self.size is not None:
            return self._shared()[torch.from_numpy(rng.integers(self.size, size=count))]
        choice = rng.integers(len(self.candidates), size=(count, len(self.edges)))
        return _cells(self.num_nodes, choice + self._first)

    def enumerate(self) -> DenseBatch:
        """All cells; the operation of the first edge changes slowest.

        Raises:
            UnsupportedError: there are more than `MAX_ENUMERABLE`.
        """
        if self.size is None:
            return super().enumerate()
        return self._shared().clone()

    def _shared(self) -> DenseBatch:
        """All cells, in tensors that every caller shares and none may change."""
        if type(self).enumerate is not EdgeOpSpace.enumerate:
            return self.enumerate()
        return _all_cells(self.num_nodes, len(self.candidates), self._first)

    def representative(self, batch: DenseBatch) -> DenseBatch:
        """The first cell of the same function, in spaces of at most `MAX_COMPARED` cells.

        Raises:
            GraphError: a graph is not a cell of this space.
        """
        if self.size is None or self.size > MAX_COMPARED:
            return self.prune(batch)
        known, first = _functions(self)
        keys = self.keys(batch)
        place = np.searchsorted(known, keys).clip(max=len(known) - 1)
        if (known[place] != keys).any():
            row = int(np.flatnonzero(known[place] != keys)[0])
            raise GraphError(f"graphs must be cells of '{self.name}', but graph {row} is none")
        return self._shared()[torch.from_numpy(first[place])]

    def mutate(self, graph: Data, rng: np.random.Generator) -> Data:
        """The cell with the operation of one edge replaced by another one, all equally likely."""
        check_draw(1, rng)
        self.check_own(graph)
        adjacency, ops = to_adjacency(graph)
        i, j = self.edges[int(rng.integers(len(self.edges)))]
        shift = int(rng.integers(1, len(self.candidates)))
        adjacency[i, j] = self._shifted(int(adjacency[i, j]), shift)
        return architecture(adjacency, ops, len(ROLES), edge_ops=True)

    def mutate_batch(self, batch: DenseBatch, rng: np.random.Generator) -> DenseBatch:
        """See `Space.mutate_batch`; draws as `mutate` does, cell after cell."""
        check_draw(0, rng)
        batch = as_batch(batch).pad_to(self.max_nodes)
        most = len(self.edges), len(self.candidates)
        draws = [(rng.integers(most[0]), rng.integers(1, most[1])) for _ in range(len(batch))]
        edge, shift = torch.tensor(draws, dtype=torch.int64).reshape(-1, 2).t()
        i, j = torch.tensor(self.edges).t()[:, edge]
        place = torch.arange(len(batch)), i, j
        adjacency = batch.adjacency.clone()
        moved = self._shifted(adjacency[place].long(), shift)
        adjacency[place] = moved.to(adjacency.dtype)
        return replace(batch, adjacency=adjacency)

    def neighbours(self, graph: Data) -> DenseBatch:
        """The other cells that differ in the operation of one edge."""
        self.check_own(graph)
        adjacency, ops = to_adjacency(graph)
        edited = adjacency.repeat(1 + len(self.edges) * (len(self.candidates) - 1), 1, 1)
        row = 1
        for i, j in self.edges:
            for shift in range(1, len(self.candidates)):
                edited[row, i, j] = self._shifted(int(adjacency[i, j]), shift)
                row += 1
        return self._others(
            DenseBatch(
                edited,
                ops.to(torch.int8).repeat(len(edited), 1),
                torch.full((len(edited),), self.num_nodes),
                len(ROLES),
                has_edge_ops=True,
            )
        )

    def _shifted(self, code: Codes, shift: Codes) -> Codes:
        """The code of the operation ``shift`` places further."""
        return (code - self._first + shift) % len(self.candidates) + self._first

    def check(self, graph: Data) -> None:
        """See `Space.check`."""
        roles = [ROLES[role] for role in graph.x.argmax(1).tolist()]
        expected = [ROLES[role] for role in _roles(self.num_nodes)]
        if roles != expected:
            raise GraphError(
                f"a cell of '{self.name}' must have nodes {expected}, but got {roles}"
            )
        if self._first and graph.num_edges != len(self.edges):
            raise GraphError(
                f"a cell of '{self.name}' must have an operation on each of its "
                f"{len(self.edges)} edges, but has {graph.num_edges}"
            )

    def to_str(self, graph: Data) -> str:
        """The operations of each map's edges, ``|conv~0|+|none~0|skip~1|``, as NAS-Bench-201."""
        self.check_own(graph)
        tokens = iter([self.candidates[code - self._first] for code in self._codes(graph)])
        return "+".join(
            "|" + "|".join(f"{next(tokens)}~{i}" for i in range(j)) + "|"
            for j in range(1, self.num_nodes)
        )

    def from_str(self, text: str) -> Data:
        """The last cell in a text, such as a log; logs the number of cells if it is not the only.

        Raises:
            GraphError: there is none, or the last is malformed or of another size.
        """
        found = _CELL.findall(text)  # of any size, so that no part of one is taken for a whole
        if len(found) > 1:
            _LOG.warning("took the last of %d cells of '%s' in the text", len(found), self.name)
        text = found[-1] if found else text
        parts = "".join(text.split()).split("+")
        tokens = [part[1:-1].split("|") for part in parts if _ROW.fullmatch(part)]
        if [len(token) for token in tokens] != list(range(1, self.num_nodes)):
            raise GraphError(
                f"a cell of '{self.name}' must be written '|op~0|+|op~0|op~1|+...', with a group "
                f"for each of the {self.num_nodes - 1} nodes after the first, "
                f"but got {text[:80]!r}"
            )
        codes = []
        for i, entry in ((i, entry) for token in tokens for i, entry in enumerate(token)):
            name, _, source = entry.partition("~")
            if name not in self.candidates or source != str(i):
                raise GraphError(
                    f"each entry must be one of {list(self.candidates)} followed by '~{i}', "
                    f"but got {entry[:40]!r} in {text[:80]!r}"
                )
            codes.append(self.candidates.index(name) + self._first)
        return self.cell(codes)

    def cell(self, codes: Iterable[int]) -> Data:
        """The cell of the codes of all ``edges``.

        Args:
            codes: Place of every edge's operation in ``candidates``; 1 more in a space without
                ``none``, as 0 says that an edge is absent.
        """
        adjacency = np.zeros((self.num_nodes, self.num_nodes), dtype=np.int64)
        for code, (i, j) in zip(codes, self.edges, strict=True):
            adjacency[i, j] = code
        return architecture(adjacency, _roles(self.num_nodes), len(ROLES), edge_ops=True)

    def codes(self, graph: Data) -> tuple[int, ...]:
        """The codes of all ``edges``, as `cell` takes them."""
        validate(graph)
        return self._codes(graph)

    def _codes(self, graph: Data) -> tuple[int, ...]:
        """`codes` of a graph that was validated."""
        edges = zip(*graph.edge_index.tolist(), strict=True)
        ops = dict(zip(edges, graph.edge_op.tolist(), strict=True))
        return tuple(1 + ops.get(edge, -1) for edge in self.edges)

    def suggest(self, trial: Trial) -> Data:
        """A cell by the categorical parameters ``edge_0_1``, ..., one of ``edge_ops`` each."""
        names = [f"edge_{i}_{j}" for i, j in self.edges]
        return self.cell(self._first + pick(trial, name, self.candidates) for name in names)


def _roles(num_nodes: int) -> list[int]:
    return [0, *[1] * (num_nodes - 2), 2]


def _cells(num_nodes: int, codes: np.ndarray) -> DenseBatch:
    """The cells of the codes [N, E] of their edges."""
    adjacency = np.zeros((len(codes), num_nodes, num_nodes), dtype=np.uint8)
    edges = [(i, j) for j in range(1, num_nodes) for i in range(j)]
    for k, (i, j) in enumerate(edges):
        adjacency[:, i, j] = codes[:, k]
    ops = torch.tensor(_roles(num_nodes), dtype=torch.int8).repeat(len(codes), 1)
    sizes = torch.full((len(codes),), num_nodes, dtype=torch.int64)
    return DenseBatch(torch.from_numpy(adjacency), ops, sizes, len(ROLES), has_edge_ops=True)


@cache
def _all_cells(num_nodes: int, num_ops: int, first: int) -> DenseBatch:
    num_edges = num_nodes * (num_nodes - 1) // 2
    powers = num_ops ** np.arange(num_edges)[::-1]
    return _cells(num_nodes, np.arange(num_ops**num_edges)[:, None] // powers % num_ops + first)


@cache
def _functions(space: EdgeOpSpace) -> tuple[np.ndarray, np.ndarray]:
    """The key of every function, ascending, and the first cell that computes it."""
    return np.unique(space.keys(space.enumerate()), return_index=True)
