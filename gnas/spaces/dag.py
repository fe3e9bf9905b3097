"""Ready-made space: operations on the nodes of a free directed acyclic graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import permutations
from math import comb

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gnas.errors import GraphError
from gnas.geometric import Data
from gnas.graphs import (
    DenseBatch,
    as_batch,
    distinct,
    graph_keys,
    live_nodes,
    prune_batch,
    to_adjacency,
)
from gnas.graphs.dense import single
from gnas.spaces.base import Space, check_draw
from gnas.spaces.config import check_dag
from gnas.spaces.suggestions import Trial, pick
from gnas.spaces.vocabulary import Vocabulary

_Codes = NDArray[np.int64]
_Matrix = NDArray[np.integer]
_Cell = tuple[_Matrix, _Matrix]
_Edit = tuple[int, int, int]
"""``(v, -1, op)``: node v gets an operation. ``(i, j, 0)``: edge i -> j is added or removed.
``(i, j, op)``: a node of that operation is added, with an edge from i and an edge to j."""

MAX_WIRINGS, MAX_LABELLED = 2**20, 2**23
"""Choice: a space with at most so many matrices of its largest size, and matrices with operations,
is enumerated: half a second at most."""
MAX_ENUMERABLE_NODES = 7
MAX_LISTED_NODES = 32
"""Choice: architectures of spaces with more nodes have too many neighbours to list them all."""
RETRIES = 20
"""Choice: how often `DagSpace.mutate_batch` draws an edit before it leaves a cell as it is."""


class DagSpace(Space):
    """Directed acyclic graphs of operation nodes between an input and an output.

    Node 0 is "input", the last node "output"; every node between them has one of ``ops`` and is on
    a path from the input to the output. Edges are free. Two drawings of one graph are the same
    architecture.

    Args:
        ops: Names of the operations.
        max_nodes: Most nodes of an architecture, input and output included.
        learned: The operations that have weights.
        max_edges: Most edges of an architecture; None for any number.
        build: Makes the network of an architecture: ``build(graph, *, in_channels=3,
            num_classes=10, ...)``, see `Space.build`. Subclasses may define the method instead.
        name: Name of the space in messages and records.

    Raises:
        ConfigError: an argument is outside its range, or operations have impossible names.

    Examples:
        >>> space = DagSpace(ops=("attention", "mlp", "norm"), max_nodes=5, learned=("mlp",))
        >>> space.ops
        ('input', 'attention', 'mlp', 'norm', 'output')
        >>> space.count()
        2559
    """

    name = "dag"

    def __init__(
        self,
        *,
        ops: Iterable[str],
        max_nodes: int,
        learned: Iterable[str] = (),
        max_edges: int | None = None,
        build: Callable[..., nn.Module] | None = None,
        name: str | None = None,
    ) -> None:
        inner = check_dag(ops=ops, max_nodes=max_nodes, learned=learned, max_edges=max_edges)
        pairs = max_nodes * (max_nodes - 1) // 2
        self.vocabulary = Vocabulary(
            ops=("input", *inner, "output"), max_nodes=max_nodes, learned=tuple(learned)
        )
        self.max_edges = pairs if max_edges is None else min(max_edges, pairs)
        if self.size is None and _is_small(len(inner), max_nodes, self.max_edges):
            self.size = len(_all_cells(len(inner), max_nodes, self.max_edges))
        self._take(name, build)

    @property
    def num_inner_ops(self) -> int:
        """Number of operations that a node between input and output may have."""
        return len(self.ops) - 2

    def enumerate(self) -> DenseBatch:
        """All architectures by number of nodes, then by matrix, then by operations.

        Raises:
            UnsupportedError: the space is too large.
        """
        if self.size is None:
            return super().enumerate()
        return self._shared().clone()

    def _shared(self) -> DenseBatch:
        """All architectures, in tensors that every caller shares and none may change."""
        if type(self).enumerate is not DagSpace.enumerate:
            return self.enumerate()
        return _all_cells(self.num_inner_ops, self.max_nodes, self.max_edges)

    def sample_batch(self, count: int, rng: np.random.Generator) -> DenseBatch:
        """``count`` architectures, with replacement.

        Where the space can be enumerated, uniform over its architectures: not over matrices, which
        would favour some a hundredfold. Elsewhere a number of nodes, uniform in [2, max_nodes]; a
        density, uniform in [0, 1], with which every edge exists; and uniform operations, all
        independent. What is on no path from the input to the output is cut away, and cells without
        such a path or with too many edges are drawn again.
        """
        check_draw(count, rng)
        if self.size is not None:
            return self._shared()[torch.from_numpy(rng.integers(self.size, size=count))]
        found = [self._drawn(0, rng)]
        while (missing := count - sum(map(len, found))) > 0:
            drawn = self._drawn(min(2 * missing + 8, 2**22 // self.max_nodes**2 + 1), rng)
            found.append(drawn[:missing])
        return DenseBatch.concat(found)

    def _drawn(self, count: int, rng: np.random.Generator) -> DenseBatch:
        """Those of ``count`` drawn cells that are architectures of the space."""
        n = self.max_nodes
        sizes = rng.integers(2, n + 1, size=count)
        density = rng.random((count, 1, 1))
        inside = np.arange(n) < sizes[:, None]  # [N, n]
        edges = np.triu(rng.random((count, n, n), dtype=np.float32) < density, 1)  # [N, n, n]
        edges &= inside[:, None, :]
        ops = rng.integers(1, self.num_inner_ops + 1, size=(count, n), dtype=np.int8)
        ops[:, 0] = 0
        ops[np.arange(count), sizes - 1] = len(self.ops) - 1
        ops[~inside] = -1
        cells = DenseBatch(
            torch.from_numpy(edges.astype(np.uint8)),
            torch.from_numpy(ops),
            torch.from_numpy(sizes),
            len(self.ops),
        )
        pruned = prune_batch(cells)
        return pruned[self._is_within(pruned)]

    def _is_within(self, pruned: DenseBatch) -> Tensor:
        """Pruned cells that connect input and output within the edge limit: bool [N]."""
        num_edges = pruned.adjacency.sum((1, 2))
        return (num_edges > 0) & (num_edges <= self.max_edges)

    def mutate(self, graph: Data, rng: np.random.Generator) -> Data:
        """One edit (see `neighbours`), each equally likely that leads to another architecture.

        Where none does, a fresh draw.
        """
        check_draw(1, rng)
        self.check_own(graph)
        adjacency, ops = (tensor.numpy() for tensor in to_adjacency(graph))
        own = graph_keys(single(graph))[0]
        edits = self._edits(adjacency, ops)
        for k in rng.permutation(len(edits)):
            cell = prune_batch(self._stack([_edited(adjacency, ops, edits[k])]))
            if bool(self._is_within(cell)[0]) and graph_keys(cell)[0] != own:
                return cell.data(0)
        return self.sample(rng)

    def mutate_batch(self, batch: DenseBatch, rng: np.random.Generator) -> DenseBatch:
        """Every cell after one edge toggled or one operation changed, then pruned.

        Edits that leave the space are drawn again, `RETRIES` times at most; then the cell stays.
        """
        check_draw(0, rng)
        result = as_batch(batch).pad_to(self.max_nodes)
        adjacency, ops, num_nodes = (
            result.adjacency.clone(),
            result.ops.clone(),
            result.num_nodes.clone(),
        )
        todo = torch.arange(len(batch))
        for _ in range(RETRIES):
            edited = self._random_edits(result[todo], rng)
            alive = live_nodes(edited)
            pruned = prune_batch(edited)
            moved = (pruned.adjacency != result.adjacency[todo]).any(2).any(1)
            moved |= (pruned.ops != result.ops[todo]).any(1)
            last = edited.num_nodes - 1
            valid = moved & alive[torch.arange(len(todo)), last]
            valid &= pruned.adjacency.sum((1, 2)) <= self.max_edges
            done = todo[valid]
            adjacency[done], ops[done] = pruned.adjacency[valid], pruned.ops[valid]
            num_nodes[done] = pruned.num_nodes[valid]
            todo = todo[~valid]
            if not len(todo):
                break
        return DenseBatch(adjacency, ops, num_nodes, len(self.ops))

    def neighbours(self, graph: Data) -> DenseBatch:
        """Every other architecture at one edit, once up to isomorphism.

        An edit changes one operation, adds or removes one edge, or adds a node with one incoming
        and one outgoing edge; nodes that an edit leaves dead are cut away. Spaces of more than
        `MAX_LISTED_NODES` nodes draw some of them (`Space.neighbours`).
        """
        if self.max_nodes > MAX_LISTED_NODES:
            return super().neighbours(graph)
        self.check_own(graph)
        adjacency, ops = (tensor.numpy() for tensor in to_adjacency(graph))
        cells = [_edited(adjacency, ops, edit) for edit in self._edits(adjacency, ops)]
        edited = prune_batch(self._stack([(adjacency, ops), *cells]))
        edited = edited[edited.adjacency.bool().any(2).any(1)]  # input still reaches output
        return edited[torch.from_numpy(distinct(edited)[1:])]  # row 0 is the cell itself

    def representative(self, batch: DenseBatch) -> DenseBatch:
        """The architectures with their nodes in a fixed order."""
        return self.functional_form(batch)

    def check(self, graph: Data) -> None:
        """See `Space.check`."""
        adjacency, ops = to_adjacency(graph)
        n, num_edges = len(ops), graph.edge_index.size(1)
        if not 2 <= n <= self.max_nodes or num_edges > self.max_edges:
            raise GraphError(
                f"a cell of '{self.name}' must have 2 to {self.max_nodes} nodes and at most "
                f"{self.max_edges} edges, but got {n} and {num_edges}"
            )
        inner, output = ops[1:-1], len(self.ops) - 1
        if ops[0] != 0 or ops[-1] != output or bool(((inner < 1) | (inner >= output)).any()):
            raise GraphError(
                f"a cell of '{self.name}' must start with input, end with output and have "
                f"operations between, but got {[self.ops[op] for op in ops.tolist()]}"
            )
        if not bool(live_nodes(single(graph)).all()):
            raise GraphError(
                "every node must be on a path from input to output; `gnas.graphs.prune` cuts "
                f"the others (adjacency {adjacency.tolist()})"
            )

    def suggest(self, trial: Trial) -> Data:
        """An architecture by the parameters ``op_1``, ... and ``edge_0_1``, ... (0 or 1).

        Node ``max_nodes`` - 1 is the output. What is on no path from the input to the output is
        cut away. Where edges are too many, the last ones are left out that a path does not need;
        where no path is left, the input is joined to the output.
        """
        n = self.max_nodes
        inner = self.ops[1:-1]
        ops = [0, *(1 + pick(trial, f"op_{v}", inner) for v in range(1, n - 1)), len(inner) + 1]
        adjacency = np.zeros((n, n), dtype=np.uint8)
        for i, j in zip(*np.triu_indices(n, 1), strict=True):
            adjacency[i, j] = trial.suggest_int(f"edge_{i}_{j}", 0, 1)
        cell = self._stack([(self._thinned(adjacency), np.array(ops))])
        return prune_batch(cell).data(0)

    def _thinned(self, adjacency: _Matrix) -> _Matrix:
        """A matrix with a path from first to last node and no more than ``max_edges`` edges."""
        kept = _on_paths(adjacency)
        for i, j in np.argwhere(kept)[::-1]:
            if kept.sum() <= self.max_edges:
                break
            fewer = kept.copy()
            fewer[i, j] = 0
            fewer = _on_paths(fewer)
            kept = fewer if fewer.any() else kept
        if not kept.any() or kept.sum() > self.max_edges:
            kept = np.zeros_like(adjacency)
            kept[0, -1] = 1
        return kept

    def _random_edits(self, batch: DenseBatch, rng: np.random.Generator) -> DenseBatch:
        """One random pair of nodes joined or parted, or one inner operation replaced, per cell."""
        size, kinds = len(batch), self.num_inner_ops
        adjacency, ops = batch.adjacency.clone(), batch.ops.clone()
        everyone, n = torch.arange(size), batch.num_nodes
        i = torch.from_numpy(rng.integers(0, n.numpy() - 1))  # [N]
        j = torch.from_numpy(rng.integers(i.numpy() + 1, n.numpy()))  # [N]
        shift = torch.from_numpy(rng.integers(1, max(kinds, 2), size=size))
        change_op = torch.from_numpy(rng.random(size) < 1 / 3) & (i > 0) & (kinds > 1)  # [N]
        adjacency[everyone, i, j] ^= (~change_op).to(torch.uint8)
        replaced = ((ops[everyone, i].long() - 1 + shift) % kinds + 1).to(torch.int8)
        ops[everyone, i] = torch.where(change_op, replaced, ops[everyone, i])
        return DenseBatch(adjacency, ops, n, batch.num_ops)

    def _edits(self, adjacency: _Matrix, ops: _Matrix) -> list[_Edit]:
        """All edits; what they lead to may be no cell, or one that others lead to."""
        n, num_edges = len(ops), int(adjacency.sum())
        inner_ops = range(1, self.num_inner_ops + 1)
        edits: list[_Edit] = [
            (v, -1, op) for v in range(1, n - 1) for op in inner_ops if op != ops[v]
        ]
        reaches = np.linalg.matrix_power(adjacency.astype(np.int64) + np.eye(n, dtype=int), n) > 0
        for i, j in np.ndindex(n - 1, n):
            if j == 0 or reaches[j, i]:
                continue  # into the input, out of the output, or closing a cycle
            if adjacency[i, j] or num_edges < self.max_edges:
                edits.append((i, j, 0))
            if n < self.max_nodes and num_edges + 2 <= self.max_edges:
                edits += [(i, j, op) for op in inner_ops]
        return edits

    def _stack(self, cells: Sequence[_Cell]) -> DenseBatch:
        """Cells of different sizes as one padded batch."""
        most = self.max_nodes
        adjacency = np.zeros((len(cells), most, most), dtype=np.uint8)
        ops = np.full((len(cells), most), -1, dtype=np.int8)
        for row, (matrix, labels) in enumerate(cells):
            adjacency[row, : len(labels), : len(labels)] = matrix
            ops[row, : len(labels)] = labels
        num_nodes = torch.tensor([len(labels) for _, labels in cells])
        return DenseBatch(
            torch.from_numpy(adjacency), torch.from_numpy(ops), num_nodes, len(self.ops)
        )


def _on_paths(adjacency: _Matrix) -> _Matrix:
    """The edges that are on a path from the first node to the last."""
    n = len(adjacency)
    before, after = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    before[0] = after[-1] = True
    for j in range(1, n):
        before[j] = (before & (adjacency[:, j] > 0)).any()
    for i in range(n - 2, -1, -1):
        after[i] = (after & (adjacency[i] > 0)).any()
    return np.where(before[:, None] & after, adjacency, np.zeros_like(adjacency))


def _edited(adjacency: _Matrix, ops: _Matrix, edit: _Edit) -> _Cell:
    """The cell after an edit, its nodes in topological order, dead ones included."""
    i, j, op = edit
    if j < 0:
        changed = ops.copy()
        changed[i] = op
        return adjacency, changed
    if op == 0:
        toggled = adjacency.copy()
        toggled[i, j] ^= 1
        return _in_order(toggled, ops)
    n = len(ops)
    wider = np.zeros((n + 1, n + 1), dtype=adjacency.dtype)
    old = [*range(n - 1), n]  # the output stays last
    wider[np.ix_(old, old)] = adjacency
    wider[old[i], n - 1] = wider[n - 1, old[j]] = 1
    return _in_order(wider, np.concatenate([ops[:-1], [op], ops[-1:]]))


def _in_order(adjacency: _Matrix, ops: _Matrix) -> _Cell:
    """The same acyclic cell with its nodes in topological order."""
    order: list[int] = []
    while len(order) < len(ops):
        waiting = [v for v in range(len(ops)) if v not in order]
        order.append(next(v for v in waiting if not adjacency[waiting, v].any()))
    return adjacency[np.ix_(order, order)], ops[order]


def _is_small(num_ops: int, max_nodes: int, max_edges: int) -> bool:
    """Whether a space can be enumerated, by the matrices of its largest size."""
    pairs = max_nodes * (max_nodes - 1) // 2
    wirings = sum(comb(pairs, k) for k in range(min(max_edges, pairs) + 1))
    labelled = wirings * num_ops ** (max_nodes - 2)
    small = wirings <= MAX_WIRINGS and labelled <= MAX_LABELLED
    return max_nodes <= MAX_ENUMERABLE_NODES and small


@cache
def _all_cells(num_ops: int, max_nodes: int, max_edges: int) -> DenseBatch:
    """Every cell once up to isomorphism; NAS-Bench-101 takes about two seconds and 25 MB."""
    sizes = range(2, min(max_nodes, max_edges + 1) + 1)
    return DenseBatch.concat([_cells(n, num_ops, max_edges) for n in sizes])


def _cells(n: int, num_ops: int, max_edges: int) -> DenseBatch:
    """Every cell of exactly ``n`` nodes once up to isomorphism.

    First the wirings up to isomorphism: each is represented by the smallest of its permuted
    codes. Then each wiring's labelings up to the wiring's automorphisms.
    """
    wirings = _wirings(n, max_edges)
    inner = n - 2
    perms = np.array(list(permutations(range(inner))), dtype=np.int64)
    permuted = _permuted_codes(wirings, n, perms)  # [W, P]
    canonical = permuted.min(1)
    _, first = np.unique(canonical, return_index=True)
    is_automorphism = permuted[first] == permuted[first, :1]  # perms[0] is the identity
    labelings = _digits(np.arange(num_ops**inner), num_ops, inner)
    powers = num_ops ** np.arange(inner)
    moved = (labelings[:, perms] * powers).sum(2)  # [L, P] labeling after a permutation
    identity = moved[:, 0]
    keep = [moved[:, autos].min(1) == identity for autos in is_automorphism]
    wiring, labeling = np.nonzero(np.stack(keep))
    bits = _digits(wirings[first], 2, n * (n - 1) // 2).astype(np.uint8)
    adjacency = np.zeros((len(wiring), n, n), dtype=np.uint8)
    adjacency[:, *np.triu_indices(n, 1)] = bits[wiring]
    ops = np.zeros((len(wiring), n), dtype=np.int8)
    ops[:, 1:-1] = labelings[labeling] + 1
    ops[:, -1] = num_ops + 1
    num_nodes = torch.full((len(wiring),), n, dtype=torch.int64)
    return DenseBatch(torch.from_numpy(adjacency), torch.from_numpy(ops), num_nodes, num_ops + 2)


def _wirings(n: int, max_edges: int) -> _Codes:
    """Codes (bits of the upper triangle) of all n-node wirings without dead nodes."""
    rows, columns = np.triu_indices(n, 1)
    codes = np.arange(2 ** len(rows), dtype=np.int64)
    codes = codes[np.bitwise_count(codes) <= max_edges]
    weights = 1 << np.arange(len(rows), dtype=np.int64)
    for v in range(n):
        # In a DAG with no other source and sink, every node is on a path from 0 to n - 1.
        if v > 0:
            codes = codes[codes & weights[columns == v].sum() != 0]
        if v < n - 1:
            codes = codes[codes & weights[rows == v].sum() != 0]
    return codes


def _permuted_codes(codes: _Codes, n: int, perms: _Codes) -> _Codes:
    """Code of every wiring's full matrix after each permutation of its inner nodes: [W, P].

    The node ``perms[p, k] + 1`` of the wiring becomes node ``k + 1``. Bits move independently, so
    eight of them are looked up at a time.
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
