"""The NAS-Bench-101 space: cells of at most 7 vertices and 9 edges over three operations."""

from __future__ import annotations

import json
import re
from types import MappingProxyType

import numpy as np

from gnas.errors import GraphError
from gnas.geometric import Data
from gnas.graphs import DenseBatch, architecture, prune, to_adjacency
from gnas.spaces.base import check_draw
from gnas.spaces.dag import DagSpace
from gnas.spaces.nasbench101.config import TABLE_IMAGES
from gnas.spaces.networks import Networks
from gnas.spaces.notation import MAX_TEXT, Notation

MAX_VERTICES = 7
MAX_EDGES = 9
OPS = ("input", "conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3", "output")
_MATRIX = re.compile(r'"(module_)?(matrix|adjacency)"\s*:')
_JSON_NAMES = (("matrix", "module_adjacency"), ("ops", "module_operations"))


def _read_json(text: str) -> Data:
    """The cell of ``{"matrix": [[...]], "ops": [...]}``, vertices off every path cut away."""
    try:
        record = json.loads(text) if len(text) <= MAX_TEXT else None
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        raise GraphError(
            'a NAS-Bench-101 cell must be a JSON object {"matrix": [[0, 1], [0, 0]], "ops": '
            f'["input", "output"]}}, but got {text.strip()[:80]!r}'
        )
    for pair in _JSON_NAMES:
        if {*pair} <= {*record}:
            raise GraphError(f"a NAS-Bench-101 cell must have {' or '.join(pair)}, but has both")
    names = [next((n for n in pair if n in record), pair[0]) for pair in _JSON_NAMES]
    matrix, ops = (record.get(name, 0) for name in names)
    size = len(ops) if isinstance(ops, list) else 0
    if (
        not isinstance(ops, list)
        or not 2 <= size <= MAX_VERTICES
        or not all(isinstance(op, str) and op in OPS for op in ops)
    ):
        raise GraphError(
            f"{names[1]} must be a list of 2 to {MAX_VERTICES} of {list(OPS)}, "
            f"but got {repr(ops)[:80]}"
        )
    rows: list[list[object]] = matrix if isinstance(matrix, list) else []
    square = len(rows) == size and all(isinstance(r, list) and len(r) == size for r in rows)
    if not square or any(type(k) not in (int, bool) or k not in (0, 1) for r in rows for k in r):
        raise GraphError(
            f"{names[0]} must be {size} lists of {size} numbers 0 or 1, as there are {size} "
            f"{names[1]}, but got {repr(matrix)[:80]}"
        )
    adjacency = np.array(rows, dtype=np.int64)
    if np.tril(adjacency).any():
        raise GraphError(f"{names[0]} must be 0 on and below the diagonal, but got {rows}")
    graph = prune(architecture(adjacency, [OPS.index(op) for op in ops], len(OPS)))
    NASBench101().validate(graph)
    return graph


def _write_json(graph: Data) -> str:
    adjacency, ops = to_adjacency(graph)
    names = [OPS[op] for op in ops.tolist()]
    return json.dumps({"matrix": adjacency.tolist(), "ops": names})


class NASBench101(DagSpace):
    """All 423,624 cells of NAS-Bench-101, each up to isomorphism and without dead vertices.

    Node 0 is the input, the last node the output, every other node one of three operations and
    on a path from the input to the output. `sample_batch` is uniform over cells: not over
    matrices, as rejection sampling of random matrices would be, which favours some cells a
    hundredfold.

    Source: Ying et al., NAS-Bench-101: Towards Reproducible Neural Architecture Search,
    ICML 2019, section 2.

    Examples:
        >>> import numpy as np
        >>> space = NASBench101()
        >>> cell = space.sample(np.random.default_rng(0))
        >>> space.from_str(space.to_str(cell)).num_nodes == cell.num_nodes
        True
        >>> len(space.enumerate())
        423624
    """

    name = "nasbench101"
    concatenates = True
    size = 423_624
    notations = (
        Notation(
            "nasbench101-json",
            'a matrix and a list of operations, {"matrix": [[0, 1], [0, 0]], "ops": ["input", '
            '"output"]}; also module_adjacency and module_operations, as the benchmark has them',
            _read_json,
            _write_json,
        ),
    )
    table_images = MappingProxyType(TABLE_IMAGES)
    wl_encoder = "nasgem-nasbench101"
    graph_networks = ("dag", "gin", "gps")
    pretrained = MappingProxyType({"dag-nasbench101": 50, "gps-nasbench101": 50})

    def __init__(self) -> None:
        super().__init__(
            ops=OPS[1:-1],
            max_nodes=MAX_VERTICES,
            learned=("conv3x3-bn-relu", "conv1x1-bn-relu"),
            max_edges=MAX_EDGES,
        )

    @property
    def networks(self) -> Networks:
        """The benchmark's networks."""
        from gnas.spaces.nasbench101.config import NASBench101NetworkConfig
        from gnas.spaces.nasbench101.network import NASBench101Network, network_arguments

        return Networks(
            NASBench101NetworkConfig,
            NASBench101Network,
            network_arguments,
            depth="cells_per_stack",
            width="stem_channels",
            small={"cells_per_stack": 1, "stem_channels": 8},
            tabulated={"stem_channels": 16},
        )

    @classmethod
    def of_text(cls, text: str) -> NASBench101 | None:
        """See `Space.of_text`; the notation is ``op,op,...|hex``, or JSON with a matrix."""
        is_json = text.lstrip().startswith("{") and _MATRIX.search(text)
        return cls() if is_json or text.partition(",")[0].strip() in OPS else None

    def from_str(self, text: str) -> Data:
        """The cell that `to_str` wrote, or one in JSON; see `notations`."""
        return _read_json(text) if text.lstrip().startswith("{") else super().from_str(text)

    def representative(self, batch: DenseBatch) -> DenseBatch:
        """The cells without dead vertices, the others in a fixed order.

        A network may differ from that of the cell as it was by a few channels of its vertices.
        """
        return self.functional_form(batch)

    def mutate(self, graph: Data, rng: np.random.Generator) -> Data:
        """A uniform draw from `neighbours`."""
        check_draw(1, rng)
        self.check_own(graph)
        neighbours = self.neighbours(graph)
        if not len(neighbours):
            self.validate(graph)  # says why: no cell of the space is without neighbours
        return neighbours.data(int(rng.integers(len(neighbours))))
