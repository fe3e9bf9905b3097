"""The NAS-Bench-201 space: four feature maps, six edges, five operations on the edges."""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import MappingProxyType

from gnas.errors import GraphError
from gnas.geometric import Data
from gnas.graphs import to_adjacency
from gnas.spaces.edge_ops import EdgeOpSpace
from gnas.spaces.nasbench201.config import TABLE_IMAGES
from gnas.spaces.networks import Networks
from gnas.spaces.notation import Notation, numbers
from gnas.spaces.supernets import Supernets

NUM_NODES = 4
CANDIDATES = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""The candidates of an edge in the benchmark's order; "none" is the absence of an edge."""
EDGES = tuple((i, j) for j in range(1, NUM_NODES) for i in range(j))
"""Edge k of the benchmark's strings and indices joins these nodes."""
Edge = tuple[int, int]

NASLIB_OPS = ("skip_connect", "none", "nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3")
NASLIB_EDGES = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
"""Operations of NASLib's codes and the order of its edges."""
TRANSNAS_OPS = CANDIDATES[:4]
"""Operations of TransNAS-Bench-101's digits: no pooling, the benchmark's order of edges."""
_TRANSNAS = re.compile(r"(?:\d+-[1-4]+-)?([0-3])_([0-3]{2})_([0-3]{3})")


def _from_numbers(codes: Sequence[int], ops: Sequence[str], edges: Sequence[Edge]) -> Data:
    """The cell with operation ``ops[codes[k]]`` on ``edges[k]``."""
    on_edge = dict(zip(edges, codes, strict=True))
    return NASBench201().cell(CANDIDATES.index(ops[on_edge[edge]]) for edge in EDGES)


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


class NASBench201(EdgeOpSpace):
    """All 15,625 cells of NAS-Bench-201 (the topology space of NATS-Bench).

    Nodes are the four feature maps (roles input, sum, sum, output); every edge carries one of
    four operations on ``edge_op``, and an edge whose operation is "none" is absent.

    Source: Dong and Yang, NAS-Bench-201, ICLR 2020, section 2.1.

    Examples:
        >>> import numpy as np
        >>> space = NASBench201()
        >>> cell = space.sample(np.random.default_rng(0))
        >>> space.from_str(space.to_str(cell)).num_nodes == cell.num_nodes
        True
        >>> space.edge_ops
        ('skip_connect', 'nor_conv_1x1', 'nor_conv_3x3', 'avg_pool_3x3')
    """

    name = "nasbench201"
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

    table_images = MappingProxyType(TABLE_IMAGES)
    wl_encoder = "nasgem-nasbench201"
    graph_networks = ("dag", "gin", "gps")

    def __init__(self) -> None:
        super().__init__(
            num_nodes=NUM_NODES,
            edge_ops=CANDIDATES,
            none="none",
            skip="skip_connect",
            learned=("nor_conv_1x1", "nor_conv_3x3"),
        )

    @property
    def networks(self) -> Networks:
        """The benchmark's networks."""
        from gnas.spaces.nasbench201.config import NASBench201NetworkConfig
        from gnas.spaces.nasbench201.network import NASBench201Network, network_arguments

        return Networks(
            NASBench201NetworkConfig,
            NASBench201Network,
            network_arguments,
            depth="cells_per_stage",
            width="channels",
            small={"cells_per_stage": 1, "channels": 8},
        )

    @property
    def supernets(self) -> Supernets:
        """One cell type; edges fall away where `none` is best unless a topology is learned."""
        from gnas.spaces.nasbench201.supernet import NASBench201Supernet

        return Supernets(
            cells=("cell",),
            ops=CANDIDATES[1:],
            skip="skip_connect",
            learned=self.vocabulary.learned,
            num_nodes=NUM_NODES,
            num_inputs=1,
            joins=False,
            prunes=False,
            build=NASBench201Supernet,
            graph=lambda codes: self.cell(codes[0].tolist()),
        )

    @classmethod
    def of_text(cls, text: str) -> NASBench201 | None:
        """See `Space.of_text`; the notation is ``|op~0|+|op~0|op~1|+...``."""
        is_one = text.lstrip().startswith("|") or ("|" in text and "~" in text)
        return cls() if is_one else None


def simplified(graph: Data) -> str:
    """A string shared by the cells that the benchmark counts as isomorphic: 6,466 classes.

    Every node is written as the sorted sum of what enters it. "skip_connect" passes its input's
    expression on unchanged; "none", and whatever is computed from a node that is zero, is the
    zero ``#``, which stays in the sum as the benchmark's authors count it.

    Args:
        graph: A cell of `NASBench201`.

    Source: Dong and Yang, NAS-Bench-201, ICLR 2020, section 2.1 (number of unique cells).

    Examples:
        >>> space = NASBench201()
        >>> one = "|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|"
        >>> same = "|skip_connect~0|+|none~0|none~1|+|none~0|nor_conv_3x3~1|none~2|"
        >>> simplified(space.from_str(one)), simplified(space.from_str(same))
        ('#+#+(0)@nor_conv_3x3', '#+#+(0)@nor_conv_3x3')
    """
    adjacency = to_adjacency(graph)[0].tolist()
    expressions = ["0"]
    for j in range(1, NUM_NODES):
        terms = []
        for i in range(j):
            op, source = CANDIDATES[adjacency[i][j]], expressions[i]
            if op == "none" or source == "#":
                terms.append("#")
            else:
                terms.append(source if op == "skip_connect" else f"({source})@{op}")
        expressions.append("+".join(sorted(terms)))
    return expressions[-1]
