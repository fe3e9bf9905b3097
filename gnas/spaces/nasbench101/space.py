"""The NAS-Bench-101 space: cells of at most 7 vertices and 9 edges over three operations."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from itertools import permutations
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch_geometric.data import Data

from gnas.errors import GraphError
from gnas.graphs import (
    DenseBatch,
    architecture,
    distinct,
    live_nodes,
    prune,
    prune_batch,
    to_adjacency,
)
from gnas.spaces.base import Space
from gnas.spaces.networks import Networks
from gnas.spaces.notation import MAX_TEXT, Notation
from gnas.spaces.vocabulary import Vocabulary

MAX_VERTICES = 7
MAX_EDGES = 9
OPS = ("input", "conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3", "output")
NUM_INNER_OPS = 3
_MATRIX = re.compile(r'"(module_)?(matrix|adjacency)"\s*:')
_JSON_NAMES = (("matrix", "module_adjacency"), ("ops", "module_operations"))

_Codes = NDArray[np.int64]
_Matrix = NDArray[np.integer]


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


class NASBench101(Space):
    """All 423,624 cells of NAS-Bench-101, each up to isomorphism and without dead vertices.

    Node 0 is the input, the last node the output, every other node one of three operations and
    on a path from the input to the output. `sample_batch` is uniform over cells: not over
    matrices, as rejection sampling of random matrices would be, which favours some cells a
    hundredfold.

    Source: Ying et al., NAS-Bench-101: Towards Reproducible Neural Architecture Search,
    ICML 2019, section 2.
    """

    name = "nasbench101"
    vocabulary = Vocabulary(
        ops=OPS, max_nodes=MAX_VERTICES, learned=("conv3x3-bn-relu", "conv1x1-bn-relu")
    )
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
    wl_encoder = "nasgem-nasbench101"
    pretrained = MappingProxyType({"dag-nasbench101": 50, "gps-nasbench101": 50})

    @property
    def networks(self) -> Networks:
        """The benchmark's networks."""
        from gnas.spaces.nasbench101.network import NASBench101NetworkConfig, nasbench101_network
        from gnas.spaces.nasbench101.source import nasbench101_blocks

        return Networks(
            NASBench101NetworkConfig,
            nasbench101_network,
            depth="cells_per_stack",
            width="stem_channels",
            small={"cells_per_stack": 1, "stem_channels": 8},
            source=nasbench101_blocks,
        )

    @classmethod
    def of_text(cls, text: str) -> NASBench101 | None:
        """See `Space.of_text`; the notation is ``op,op,...|hex``, or JSON with a matrix."""
        is_json = text.lstrip().startswith("{") and _MATRIX.search(text)
        return cls() if is_json or text.partition(",")[0].strip() in OPS else None

    def from_str(self, text: str) -> Data:
        """The cell that `to_str` wrote, or one in JSON; see `notations`."""
        return _read_json(text) if text.lstrip().startswith("{") else super().from_str(text)

    def sample_batch(self, count: int, rng: np.random.Generator) -> DenseBatch:
        """``count`` cells, uniform over the 423,624, with replacement."""
        return self.enumerate()[torch.from_numpy(rng.integers(self.size, size=count))]

    def enumerate(self) -> DenseBatch:
        """All cells by number of vertices, then by matrix, then by operations."""
        return _all_cells()

    def representative(self, batch: DenseBatch) -> DenseBatch:
        """The cells without dead vertices, the others in a fixed order.

        A network may differ from that of the cell as it was by a few channels of its vertices.
        """
        return self.functional(batch)

    def mutate(self, graph: Data, rng: np.random.Generator) -> Data:
        """A uniform draw from `neighbours`."""
        neighbours = self.neighbours(graph)
        return neighbours.data(int(rng.integers(len(neighbours))))

    def mutate_batch(self, batch: DenseBatch, rng: np.random.Generator) -> DenseBatch:
        """Every cell after one edge toggled or one operation changed, then pruned.

        Edits that leave the space are drawn again, 20 times at most; then the cell stays.
        """
        result = batch.pad_to(MAX_VERTICES)
        adjacency, ops, num_nodes = (
            result.adjacency.clone(),
            result.ops.clone(),
            result.num_nodes.clone(),
        )
        todo = torch.arange(len(batch))
        for _ in range(20):
            edited = _random_edits(result[todo], rng)
            alive = live_nodes(edited)
            pruned = prune_batch(edited)
            moved = (pruned.adjacency != result.adjacency[todo]).any(2).any(1)
            moved |= (pruned.ops != result.ops[todo]).any(1)
            last = edited.num_nodes - 1
            valid = moved & alive[torch.arange(len(todo)), last]
            valid &= pruned.adjacency.sum((1, 2)) <= MAX_EDGES
            done = todo[valid]
            adjacency[done], ops[done] = pruned.adjacency[valid], pruned.ops[valid]
            num_nodes[done] = pruned.num_nodes[valid]
            todo = todo[~valid]
            if not len(todo):
                break
        return DenseBatch(adjacency, ops, num_nodes, len(OPS))

    def neighbours(self, graph: Data) -> DenseBatch:
        """Every other cell at one edit, once up to isomorphism.

        An edit changes one operation, adds or removes one edge, or adds a vertex with one
        incoming and one outgoing edge; vertices that an edit leaves dead are cut away.
        """
        adjacency, ops = (tensor.numpy() for tensor in to_adjacency(graph))
        edited = prune_batch(_stack([(adjacency, ops), *_edits(adjacency, ops)]))
        edited = edited[edited.adjacency.bool().any(2).any(1)]  # input still reaches output
        return edited[torch.from_numpy(distinct(edited)[1:])]  # row 0 is the cell itself

    def check(self, graph: Data) -> None:
        """See `Space.check`."""
        adjacency, ops = to_adjacency(graph)
        n, num_edges = len(ops), graph.edge_index.size(1)
        if not 2 <= n <= MAX_VERTICES or num_edges > MAX_EDGES:
            raise GraphError(
                f"a NAS-Bench-101 cell must have 2 to {MAX_VERTICES} vertices and at most "
                f"{MAX_EDGES} edges, but got {n} and {num_edges}"
            )
        inner = ops[1:-1]
        if ops[0] != 0 or ops[-1] != len(OPS) - 1 or bool(((inner < 1) | (inner > 3)).any()):
            raise GraphError(
                "a NAS-Bench-101 cell must start with input, end with output and have "
                f"operations between, but got {[OPS[op] for op in ops.tolist()]}"
            )
        if not bool(live_nodes(DenseBatch.from_data([graph])).all()):
            raise GraphError(
                "every vertex must be on a path from input to output; `gnas.graphs.prune` cuts "
                f"the others (adjacency {adjacency.tolist()})"
            )


def _random_edits(batch: DenseBatch, rng: np.random.Generator) -> DenseBatch:
    """One random pair of vertices joined or parted, or one inner operation replaced, per cell."""
    size = len(batch)
    adjacency, ops = batch.adjacency.clone(), batch.ops.clone()
    everyone, n = torch.arange(size), batch.num_nodes
    i = torch.from_numpy(rng.integers(0, n.numpy() - 1))
    j = torch.from_numpy(rng.integers(i.numpy() + 1, n.numpy()))
    shift = torch.from_numpy(rng.integers(1, NUM_INNER_OPS, size=size))
    change_op = torch.from_numpy(rng.random(size) < 1 / 3) & (i > 0)  # i is an inner vertex
    adjacency[everyone, i, j] ^= (~change_op).to(torch.uint8)
    replaced = ((ops[everyone, i].long() - 1 + shift) % NUM_INNER_OPS + 1).to(torch.int8)
    ops[everyone, i] = torch.where(change_op, replaced, ops[everyone, i])
    return DenseBatch(adjacency, ops, n, batch.num_ops)


def _edits(adjacency: _Matrix, ops: _Matrix) -> Iterator[tuple[_Matrix, _Matrix]]:
    """All results of one edit, unpruned and with repetitions up to isomorphism."""
    n, num_edges = len(ops), int(adjacency.sum())
    inner_ops = range(1, NUM_INNER_OPS + 1)
    for v in range(1, n - 1):
        for op in inner_ops:
            if op != ops[v]:
                changed = ops.copy()
                changed[v] = op
                yield adjacency, changed
    reaches = np.linalg.matrix_power(adjacency.astype(np.int64) + np.eye(n, dtype=int), n) > 0
    for i, j in np.ndindex(n - 1, n):
        if j == 0 or reaches[j, i]:
            continue  # into the input, out of the output, or closing a cycle
        if adjacency[i, j] or num_edges < MAX_EDGES:
            toggled = adjacency.copy()
            toggled[i, j] ^= 1
            yield _in_order(toggled, ops)
        if n < MAX_VERTICES and num_edges + 2 <= MAX_EDGES:
            for op in inner_ops:
                yield _with_vertex(adjacency, ops, i, j, op)


def _with_vertex(
    adjacency: _Matrix, ops: _Matrix, source: int, target: int, op: int
) -> tuple[_Matrix, _Matrix]:
    """The cell with one more vertex, source -> vertex -> target, in topological order."""
    n = len(ops)
    edited = np.zeros((n + 1, n + 1), dtype=adjacency.dtype)
    old = [*range(n - 1), n]  # the output stays last
    edited[np.ix_(old, old)] = adjacency
    edited[old[source], n - 1] = edited[n - 1, old[target]] = 1
    return _in_order(edited, np.concatenate([ops[:-1], [op], ops[-1:]]))


def _in_order(adjacency: _Matrix, ops: _Matrix) -> tuple[_Matrix, _Matrix]:
    """The same acyclic cell with its vertices in topological order."""
    order: list[int] = []
    while len(order) < len(ops):
        waiting = [v for v in range(len(ops)) if v not in order]
        order.append(next(v for v in waiting if not adjacency[waiting, v].any()))
    return adjacency[np.ix_(order, order)], ops[order]


def _stack(cells: list[tuple[_Matrix, _Matrix]]) -> DenseBatch:
    """Cells of different sizes as one padded batch."""
    adjacency = np.zeros((len(cells), MAX_VERTICES, MAX_VERTICES), dtype=np.uint8)
    ops = np.full((len(cells), MAX_VERTICES), -1, dtype=np.int8)
    for row, (matrix, labels) in enumerate(cells):
        adjacency[row, : len(labels), : len(labels)] = matrix
        ops[row, : len(labels)] = labels
    num_nodes = torch.tensor([len(labels) for _, labels in cells])
    return DenseBatch(torch.from_numpy(adjacency), torch.from_numpy(ops), num_nodes, len(OPS))


@cache
def _all_cells() -> DenseBatch:
    """Every cell once up to isomorphism; about two seconds, then cached (about 25 MB)."""
    return DenseBatch.concat([_cells(n) for n in range(2, MAX_VERTICES + 1)])


def _cells(n: int) -> DenseBatch:
    """Every cell of exactly ``n`` vertices once up to isomorphism.

    First the wirings up to isomorphism: each is represented by the smallest of its permuted
    codes. Then each wiring's labelings up to the wiring's automorphisms.
    """
    wirings = _wirings(n)
    inner = n - 2
    perms = np.array(list(permutations(range(inner))), dtype=np.int64)
    permuted = _permuted_codes(wirings, n, perms)  # [W, P]
    canonical = permuted.min(1)
    _, first = np.unique(canonical, return_index=True)
    is_automorphism = permuted[first] == permuted[first, :1]  # perms[0] is the identity
    labelings = _digits(np.arange(NUM_INNER_OPS**inner), NUM_INNER_OPS, inner)
    powers = NUM_INNER_OPS ** np.arange(inner)
    moved = (labelings[:, perms] * powers).sum(2)  # [3^inner, P] labeling after a permutation
    identity = moved[:, 0]
    keep = [moved[:, autos].min(1) == identity for autos in is_automorphism]
    wiring, labeling = np.nonzero(np.stack(keep))
    bits = _digits(wirings[first], 2, n * (n - 1) // 2).astype(np.uint8)
    adjacency = np.zeros((len(wiring), n, n), dtype=np.uint8)
    adjacency[:, *np.triu_indices(n, 1)] = bits[wiring]
    ops = np.zeros((len(wiring), n), dtype=np.int8)
    ops[:, 1:-1] = labelings[labeling] + 1
    ops[:, -1] = len(OPS) - 1
    num_nodes = torch.full((len(wiring),), n, dtype=torch.int64)
    return DenseBatch(torch.from_numpy(adjacency), torch.from_numpy(ops), num_nodes, len(OPS))


def _wirings(n: int) -> _Codes:
    """Codes (bits of the upper triangle) of all n-vertex wirings without dead vertices."""
    rows, columns = np.triu_indices(n, 1)
    codes = np.arange(2 ** len(rows), dtype=np.int64)
    codes = codes[np.bitwise_count(codes) <= MAX_EDGES]
    weights = 1 << np.arange(len(rows), dtype=np.int64)
    for v in range(n):
        # In a DAG with no other source and sink, every vertex is on a path from 0 to n - 1.
        if v > 0:
            codes = codes[codes & weights[columns == v].sum() != 0]
        if v < n - 1:
            codes = codes[codes & weights[rows == v].sum() != 0]
    return codes


def _permuted_codes(codes: _Codes, n: int, perms: _Codes) -> _Codes:
    """Code of every wiring's full matrix after each permutation of its inner vertices: [W, P].

    The vertex ``perms[p, k] + 1`` of the wiring becomes vertex ``k + 1``. Bits move
    independently, so eight of them are looked up at a time.
    """
    rows, columns = np.triu_indices(n, 1)
    result = np.zeros((len(codes), len(perms)), dtype=np.int64)
    for p, perm in enumerate(perms):
        new = np.zeros(n, dtype=np.int64)
        new[perm + 1] = np.arange(1, n - 1)
        new[-1] = n - 1
        moved = 1 << (new[rows] * n + new[columns])
        for start in range(0, len(rows), 8):
            chunk = moved[start : start + 8]
            table = (_digits(np.arange(2 ** len(chunk)), 2, len(chunk)) * chunk).sum(1)
            result[:, p] |= table[(codes >> start) & (2 ** len(chunk) - 1)]
    return result


def _digits(values: _Codes, base: int, count: int) -> _Codes:
    """The lowest ``count`` digits of every value, least significant first: [..., count]."""
    return values[:, None] // base ** np.arange(count) % base
