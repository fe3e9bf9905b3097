"""The NAS-Bench-201 space: four feature maps, six edges, five operations on the edges."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from functools import cache
from types import MappingProxyType

import numpy as np
import torch
from torch_geometric.data import Data

from gnas.errors import GraphError
from gnas.graphs import DenseBatch, architecture, graph_keys, to_adjacency
from gnas.spaces.base import Space
from gnas.spaces.networks import Networks
from gnas.spaces.notation import Notation, numbers
from gnas.spaces.vocabulary import Vocabulary

NUM_NODES = 4
ROLES = ("input", "sum", "output")
CANDIDATES = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""The candidates of an edge in the benchmark's order; "none" is the absence of an edge."""
EDGES = tuple((i, j) for j in range(1, NUM_NODES) for i in range(j))
"""Edge k of the benchmark's strings and indices joins these nodes."""
Edge = tuple[int, int]

_PATTERN = re.compile(r"\|[^|+]*(\|[^|+]*)*\|")
_IN_TEXT = re.compile(
    r"\s*\+\s*".join(rf"\|(?:\s*\w+\s*~\s*\d\s*\|){{{j}}}" for j in range(1, NUM_NODES))
)
"""A cell's string wherever it stands; white space in it does not matter."""
NASLIB_OPS = ("skip_connect", "none", "nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3")
NASLIB_EDGES = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
"""What NASLib's numbers mean, and on which edges they are, in its order."""
TRANSNAS_OPS = CANDIDATES[:4]
"""What TransNAS-Bench-101's digits mean; it has no pooling, and the benchmark's order of edges."""
_TRANSNAS = re.compile(r"(?:\d+-[1-4]+-)?([0-3])_([0-3]{2})_([0-3]{3})")

_LOG = logging.getLogger(__name__)


def _from_numbers(codes: Sequence[int], ops: Sequence[str], edges: Sequence[Edge]) -> Data:
    """The cell with operation ``ops[codes[k]]`` on ``edges[k]``."""
    adjacency = np.zeros((NUM_NODES, NUM_NODES), dtype=np.int64)
    for code, (i, j) in zip(codes, edges, strict=True):
        adjacency[i, j] = CANDIDATES.index(ops[code])
    return _cell(adjacency)


def _to_numbers(graph: Data, ops: Sequence[str], edges: Sequence[Edge], what: str) -> list[int]:
    """The numbers that `_from_numbers` reads."""
    adjacency, _ = to_adjacency(graph)
    names = [CANDIDATES[int(adjacency[edge])] for edge in edges]
    unknown = sorted({*names} - {*ops})
    if unknown:
        raise GraphError(f"{what} must have operations {[*ops]} only, but the cell has {unknown}")
    return [ops.index(name) for name in names]


def _read_naslib(text: str) -> Data:
    codes = numbers(text, len(EDGES), len(NASLIB_OPS), "a NASLib cell of NAS-Bench-201")
    return _from_numbers(codes, NASLIB_OPS, NASLIB_EDGES)


def _write_naslib(graph: Data) -> str:
    return str(tuple(_to_numbers(graph, NASLIB_OPS, NASLIB_EDGES, "a NASLib cell")))


def _read_transnas(text: str) -> Data:
    match = _TRANSNAS.fullmatch(text.strip())
    if match:
        codes = [int(digit) for digit in "".join(match.groups())]
    elif "_" in text:
        raise GraphError(
            "a TransNAS-Bench-101 micro cell must be written '64-41414-1_02_333' or '1_02_333' "
            f"with digits 0 to 3, or as six numbers, but got {text.strip()[:80]!r}"
        )
    else:
        what = "a TransNAS-Bench-101 micro cell"
        codes = numbers(text, len(EDGES), len(TRANSNAS_OPS), what)
    return _from_numbers(codes, TRANSNAS_OPS, EDGES)


def _write_transnas(graph: Data) -> str:
    codes = _to_numbers(graph, TRANSNAS_OPS, EDGES, "a TransNAS-Bench-101 micro cell")
    digits = "".join(map(str, codes))
    return f"{digits[0]}_{digits[1:3]}_{digits[3:]}"


class NASBench201(Space):
    """All 15,625 cells of NAS-Bench-201 (the topology space of NATS-Bench).

    Nodes are the four feature maps (roles input, sum, sum, output); every edge carries one of
    four operations on ``edge_op``, and an edge whose operation is "none" is absent.

    Source: Dong and Yang, NAS-Bench-201, ICLR 2020, section 2.1.
    """

    name = "nasbench201"
    vocabulary = Vocabulary(
        ops=ROLES,
        max_nodes=NUM_NODES,
        edge_ops=CANDIDATES[1:],
        skip_ops=(CANDIDATES[1:].index("skip_connect"),),
        sum_roles=(ROLES.index("sum"),),
        learned=("nor_conv_1x1", "nor_conv_3x3"),
    )
    size = len(CANDIDATES) ** len(EDGES)
    notations = (
        Notation(
            "naslib-nasbench201",
            "NASLib's six numbers, (4, 0, 3, 1, 4, 3): 0 skip, 1 none, 2 convolution 3x3, 3 "
            "convolution 1x1, 4 pooling; edges 01 02 03 12 13 23",
            _read_naslib,
            _write_naslib,
        ),
        Notation(
            "transnas-micro",
            "TransNAS-Bench-101's micro cells, 64-41414-1_02_333, or their six numbers: 0 none, "
            "1 skip, 2 convolution 1x1, 3 convolution 3x3; edges 01, 02 12, 03 13 23",
            _read_transnas,
            _write_transnas,
        ),
    )
    pretrained = MappingProxyType(
        {"dag-nasbench201": 150, "gps-nasbench201": 150, "gin-nasbench201": 150}
    )

    @property
    def networks(self) -> Networks:
        """The benchmark's networks."""
        from gnas.spaces.nasbench201.network import NASBench201NetworkConfig, nasbench201_network
        from gnas.spaces.nasbench201.source import nasbench201_blocks

        return Networks(
            NASBench201NetworkConfig,
            nasbench201_network,
            depth="cells_per_stage",
            width="channels",
            small={"cells_per_stage": 1, "channels": 8},
            source=nasbench201_blocks,
        )

    @classmethod
    def of_text(cls, text: str) -> NASBench201 | None:
        """See `Space.of_text`; the notation is ``|op~0|+|op~0|op~1|+...``."""
        is_one = text.lstrip().startswith("|") or ("|" in text and "~" in text)
        return cls() if is_one else None

    def sample_batch(self, count: int, rng: np.random.Generator) -> DenseBatch:
        """``count`` cells, uniform over the 15,625, with replacement."""
        return self.enumerate()[torch.from_numpy(rng.integers(self.size, size=count))]

    def enumerate(self) -> DenseBatch:
        """All cells; the operation of the first edge changes slowest."""
        return _all_cells()

    def representative(self, batch: DenseBatch) -> DenseBatch:
        """The first cell of the same function: 5,425 different ones, without dead operations.

        Raises:
            GraphError: a graph is not a cell of this space.
        """
        known, first = _functions()
        keys = graph_keys(self.functional(batch))
        place = np.searchsorted(known, keys).clip(max=len(known) - 1)
        if (known[place] != keys).any():
            row = int(np.flatnonzero(known[place] != keys)[0])
            raise GraphError(f"graphs must be NAS-Bench-201 cells, but graph {row} is none")
        return _all_cells()[torch.from_numpy(first[place])]

    def mutate(self, graph: Data, rng: np.random.Generator) -> Data:
        """The cell with the operation of one edge replaced by another ("none" included)."""
        adjacency, ops = to_adjacency(graph)
        i, j = EDGES[int(rng.integers(len(EDGES)))]
        shift = int(rng.integers(1, len(CANDIDATES)))
        adjacency[i, j] = (int(adjacency[i, j]) + shift) % len(CANDIDATES)
        return architecture(adjacency, ops, len(ROLES), edge_ops=True)

    def neighbours(self, graph: Data) -> DenseBatch:
        """The at most 24 other cells that differ in the operation of one edge."""
        adjacency, ops = to_adjacency(graph)
        edited = adjacency.repeat(1 + len(EDGES) * (len(CANDIDATES) - 1), 1, 1)
        row = 1
        for i, j in EDGES:
            for shift in range(1, len(CANDIDATES)):
                edited[row, i, j] = (int(adjacency[i, j]) + shift) % len(CANDIDATES)
                row += 1
        return self._others(
            DenseBatch(
                edited,
                ops.to(torch.int8).repeat(len(edited), 1),
                torch.full((len(edited),), NUM_NODES),
                len(ROLES),
                has_edge_ops=True,
            )
        )

    def check(self, graph: Data) -> None:
        """See `Space.check`."""
        roles = [ROLES[role] for role in graph.x.argmax(1).tolist()]
        expected = ["input", *["sum"] * (NUM_NODES - 2), "output"]
        if roles != expected:
            raise GraphError(f"a NAS-Bench-201 cell must have nodes {expected}, but got {roles}")

    def to_str(self, graph: Data) -> str:
        """The benchmark's own string, e.g. ``|nor_conv_3x3~0|+|none~0|...``."""
        adjacency, _ = to_adjacency(graph)
        return "+".join(
            "|" + "|".join(f"{CANDIDATES[int(adjacency[i, j])]}~{i}" for i in range(j)) + "|"
            for j in range(1, NUM_NODES)
        )

    def from_str(self, text: str) -> Data:
        """The cell of the last of the benchmark's strings in a text, such as a log.

        Logs the number of cells where there are several.

        Raises:
            GraphError: there is none, or it names an unknown operation.
        """
        found = _IN_TEXT.findall(text)
        if len(found) > 1:
            _LOG.warning("took the last of %d NAS-Bench-201 cells in the text", len(found))
        text = found[-1] if found else text
        adjacency = np.zeros((NUM_NODES, NUM_NODES), dtype=np.int64)
        parts = "".join(text.split()).split("+")
        tokens = [part[1:-1].split("|") for part in parts if _PATTERN.fullmatch(part)]
        if [len(token) for token in tokens] != list(range(1, NUM_NODES)):
            raise GraphError(
                "a NAS-Bench-201 cell must be written '|op~0|+|op~0|op~1|+|op~0|op~1|op~2|', "
                f"but got {text[:80]!r}"
            )
        for j, token in enumerate(tokens, start=1):
            for i, entry in enumerate(token):
                name, _, source = entry.partition("~")
                if name not in CANDIDATES or source != str(i):
                    raise GraphError(
                        f"each entry must be one of {list(CANDIDATES)} followed by '~{i}', "
                        f"but got {entry[:40]!r} in {text[:80]!r}"
                    )
                adjacency[i, j] = CANDIDATES.index(name)
        return _cell(adjacency)


def simplified(graph: Data) -> str:
    """A string shared by the cells that the benchmark counts as isomorphic: 6,466 classes.

    Every node is written as the sorted sum of what enters it. "skip_connect" passes its input's
    expression on unchanged; "none", and whatever is computed from a node that is zero, is the
    zero ``#``, which stays in the sum as the benchmark's authors count it.

    Source: Dong and Yang, NAS-Bench-201, ICLR 2020, section 2.1 (number of unique cells).
    """
    adjacency, _ = to_adjacency(graph)
    expressions = ["0"]
    for j in range(1, NUM_NODES):
        terms = []
        for i in range(j):
            op, source = CANDIDATES[int(adjacency[i, j])], expressions[i]
            if op == "none" or source == "#":
                terms.append("#")
            else:
                terms.append(source if op == "skip_connect" else f"({source})@{op}")
        expressions.append("+".join(sorted(terms)))
    return expressions[-1]


def _cell(adjacency: np.ndarray) -> Data:
    return architecture(adjacency, _roles(), len(ROLES), edge_ops=True)


def _roles() -> list[int]:
    return [0, *[1] * (NUM_NODES - 2), 2]


@cache
def _all_cells() -> DenseBatch:
    total, num_edges = len(CANDIDATES) ** len(EDGES), len(EDGES)
    choice = np.arange(total)[:, None] // len(CANDIDATES) ** np.arange(num_edges)[::-1]
    adjacency = np.zeros((total, NUM_NODES, NUM_NODES), dtype=np.uint8)
    for k, (i, j) in enumerate(EDGES):
        adjacency[:, i, j] = choice[:, k] % len(CANDIDATES)
    ops = torch.tensor(_roles(), dtype=torch.int8).repeat(total, 1)
    num_nodes = torch.full((total,), NUM_NODES, dtype=torch.int64)
    return DenseBatch(torch.from_numpy(adjacency), ops, num_nodes, len(ROLES), has_edge_ops=True)


@cache
def _functions() -> tuple[np.ndarray, np.ndarray]:
    """The key of every function, ascending, and the first cell that computes it."""
    return np.unique(graph_keys(NASBench201().functional(_all_cells())), return_index=True)
