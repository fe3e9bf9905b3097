"""Graph kernels of architectures: a vectorised Weisfeiler-Lehman kernel, and GraKeL's kernels.

The Weisfeiler-Lehman (WL) subtree kernel of two graphs is the sum over rounds 0..h of
the dot product of their histograms of node labels. A round gives every node a new label that
stands for its old label and the multiset of its neighbours' old labels. Here labels are 64-bit
hashes, equal for equal subtrees whatever the batch: no dictionary of strings is kept, and all
graphs are relabelled at once. Two different subtrees collide with probability about 2^-64.

Options that all functions share:

* ``labels``: the label of a node in round 0: its ``"degree"``, its ``"op"``, or both.
  A degree counts the edges of both directions (in-degree + out-degree), whatever ``direction``.
* ``direction``: the neighbours that a round looks at. ``"out"``: the nodes that a node feeds,
  which is what GraKeL does with a directed graph. ``"in"``: the nodes that feed it, the same on
  the reversed graph. ``"both"``: the two apart, each with labels of its own; the kernel is the sum
  of those of "out" and "in". ``"joint"``: one label for the pair of the two multisets, the finest
  of all. ``"undirected"``: the two as one multiset, as if edges had no direction.
* Edge-op graphs: with ``"degree"`` the wiring alone is compared, as it is; with ``"op"`` and
  ``"op+degree"`` every edge's operation becomes a node first (`edge_ops_to_node_ops`).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from gnas.config import check_count
from gnas.errors import ConfigError, GraphError
from gnas.graphs import DenseBatch, Graphs, as_batch, edge_ops_to_node_ops
from gnas.graphs.hashing import mix64
from gnas.kernel_options import Direction, Labels

MAX_ROUNDS = 1000
"""Most relabelling rounds; after as many as a graph has nodes nothing changes any more."""

GRAKEL_KERNELS = {
    "wl": "WeisfeilerLehman",
    "wl_optimal_assignment": "WeisfeilerLehmanOptimalAssignment",
    "shortest_path": "ShortestPath",
    "vertex_histogram": "VertexHistogram",
    "pyramid_match": "PyramidMatch",
}
"""Names for ``kernel=`` and the GraKeL class behind each; only "wl" has a fast backend."""

_UInt64 = NDArray[np.uint64]
_LABELS: tuple[Labels, ...] = get_args(Labels)
_DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
_MAX_EDGE_OPS = 255  # what the dense batch can hold; only an upper bound is needed here
_DENSE_SHARE = 0.05  # label columns that more graphs than this share are multiplied densely
_BLOCK = 256  # rows of the kernel matrix that are computed at a time: they stay in cache
_EXACT = 2**24  # whole numbers below this are exact in float32


def wl_kernel(
    graphs: Graphs,
    n_iter: int = 3,
    *,
    labels: Labels = "degree",
    direction: Direction = "undirected",
    normalize: bool = True,
    backend: Literal["fast", "grakel"] = "fast",
    other: Graphs | None = None,
    kernel: str = "wl",
) -> Tensor:
    """Weisfeiler-Lehman subtree kernel of every pair of graphs.

    Args:
        graphs: N architectures.
        n_iter: Relabelling rounds h; 0 compares the histograms of the first labels only.
        labels: First label of a node: its degree, its operation, or both.
        direction: Neighbours that relabel a node: those it feeds ("out"), those that feed it
            ("in"), each on its own ("both"), as a pair ("joint") or thrown together
            ("undirected").
        normalize: Divide by sqrt(k(a, a) k(b, b)), so that values lie in [0, 1].
        backend: "fast" is vectorised; "grakel" calls GraKeL, the reference, which is slow.
        other: M further architectures; the result then compares each of ``graphs`` with each
            of these.
        kernel: With ``backend="grakel"``, any key of `GRAKEL_KERNELS`; ``n_iter`` counts only
            for the Weisfeiler-Lehman ones.

    Shapes:
        N architectures -> K float64 [N, N] (or [N, M]).

    Raises:
        ConfigError: an option is unknown, the kernel has no fast backend, or GraKeL has no such
            ``direction`` ("both", which is a sum of two, and "joint").
        GraphError: ``graphs`` and ``other`` come from different spaces.

    Source: Shervashidze et al., Weisfeiler-Lehman Graph Kernels, JMLR 2011, section 3.2;
    equal to GraKeL 0.1.11 within rounding.

    Examples:
        >>> import numpy as np
        >>> from gnas.spaces import NASBench101
        >>> cells = NASBench101().sample_batch(20, np.random.default_rng(0))
        >>> K = wl_kernel(cells, n_iter=2, labels="op", direction="both")
        >>> K.shape
        torch.Size([20, 20])
        >>> bool((K.diagonal() - 1).abs().max() < 1e-12)
        True
    """
    _check(n_iter, labels, direction)
    if backend not in ("fast", "grakel"):
        raise ConfigError(f"backend must be 'fast' or 'grakel', but got {backend!r}")
    if not isinstance(kernel, str) or kernel not in GRAKEL_KERNELS:
        raise ConfigError(f"unknown kernel {kernel!r}; choose from {sorted(GRAKEL_KERNELS)}")
    batch, split = _joined(graphs, other)
    if backend == "grakel":
        return _grakel(batch, split, n_iter, labels, direction, normalize, kernel)
    if kernel != "wl":
        raise ConfigError(f"kernel {kernel!r} has no fast backend; pass backend='grakel'")
    features = wl_features(batch, n_iter, labels=labels, direction=direction)
    return torch.from_numpy(_gram(features, split if other is not None else None, normalize))


def wl_pairs(
    graphs: Graphs,
    pairs: Tensor | NDArray[np.integer[Any]],
    n_iter: int = 3,
    *,
    labels: Labels = "degree",
    direction: Direction = "undirected",
    normalize: bool = True,
) -> Tensor:
    """The kernel of chosen pairs only: what `wl_kernel` holds at ``[pairs[:, 0], pairs[:, 1]]``.

    Args:
        graphs: N architectures.
        pairs: Row numbers of the two graphs of each pair.
        n_iter: As for `wl_kernel`, like the remaining options.
        labels: First label of a node.
        direction: Neighbours that relabel a node; see `wl_kernel`.
        normalize: Divide by sqrt(k(a, a) k(b, b)).

    Shapes:
        N architectures, pairs int [P, 2] -> float64 [P].

    Raises:
        ConfigError: an option is unknown.
        GraphError: ``pairs`` is not [P, 2] or names a graph that does not exist.

    Examples:
        >>> import numpy as np
        >>> from gnas.spaces import NASBench101
        >>> cells = NASBench101().sample_batch(20, np.random.default_rng(0))
        >>> some = wl_pairs(cells, np.array([[0, 1], [5, 5]]), labels="op")
        >>> bool((some[0] - wl_kernel(cells, labels="op")[0, 1]).abs() < 1e-12)
        True
    """
    _check(n_iter, labels, direction)
    batch = as_batch(graphs)
    try:
        index = np.asarray(pairs.detach().cpu() if isinstance(pairs, Tensor) else pairs)
    except ValueError as error:  # lists of different lengths
        raise GraphError(f"pairs must have shape [P, 2], but got {pairs!r:.80}") from error
    if index.size and index.dtype.kind not in "iu":
        raise GraphError(f"pairs must be row numbers, but got {index.dtype} such as {pairs!r:.80}")
    if index.ndim != 2 or index.shape[1] != 2:
        raise GraphError(f"pairs must have shape [P, 2], but got {tuple(index.shape)}")
    if index.size and (index.min() < 0 or index.max() >= len(batch)):
        raise GraphError(
            f"pairs must hold rows in [0, {len(batch)}), but got {index.min()}..{index.max()}"
        )
    rounds, real = _relabel(batch, n_iter, labels, direction)
    first, second = index[:, 0], index[:, 1]
    values = _matches(rounds, real, first, second)  # [P]
    if normalize:
        everyone = np.arange(len(batch))
        own = _matches(rounds, real, everyone, everyone)  # [N]
        values = values / np.sqrt(own[first] * own[second])
    return torch.from_numpy(values)


def wl_features(
    graphs: Graphs,
    n_iter: int = 3,
    *,
    labels: Labels = "degree",
    direction: Direction = "undirected",
) -> sparse.csr_array:
    """Counts of the WL labels of rounds 0..``n_iter`` in every graph.

    There is a column for every label that occurs in ``graphs``: tens of thousands for as many
    graphs, of which a row has few. Keep the matrix sparse.

    Args:
        graphs: N architectures.
        n_iter: Relabelling rounds.
        labels: First label of a node.
        direction: Neighbours that relabel a node; see `wl_kernel`.

    Shapes:
        N architectures -> float64 [N, number of different labels], rounds side by side (with
        "both" those of "out", then those of "in"); its product with its own transpose is the
        unnormalised kernel.

    Raises:
        ConfigError: an option is unknown.

    Examples:
        >>> import numpy as np
        >>> from gnas.spaces import NASBench101
        >>> cells = NASBench101().sample_batch(20, np.random.default_rng(0))
        >>> features = wl_features(cells, n_iter=0, labels="op")
        >>> features.shape
        (20, 5)
    """
    _check(n_iter, labels, direction)
    rounds, real = _relabel(as_batch(graphs), n_iter, labels, direction)
    size, n = real.shape
    order = np.full((size, len(rounds), n), np.iinfo(np.int32).max, dtype=np.int32)
    width = 0
    for k, values in enumerate(rounds):
        column, count = _ranks(values[real])
        order[:, k][real] = column + width
        width += count
    order.sort(axis=2)  # equal labels of a graph side by side, padding last
    entries = order[order != np.iinfo(np.int32).max]  # one number per real node and round
    per_graph = real.sum(1) * len(rounds)  # [N]
    begins = np.empty(len(entries), dtype=np.bool_)
    begins[1:] = entries[1:] != entries[:-1]
    begins[(np.cumsum(per_graph) - per_graph)] = True
    start = np.flatnonzero(begins)
    counts = np.diff(start, append=len(entries)).astype(np.float64)
    indptr = np.searchsorted(start, np.concatenate([[0], np.cumsum(per_graph)]))
    return sparse.csr_array((counts, entries[start], indptr), shape=(size, width))


def wl_labels(
    graphs: Graphs,
    n_iter: int = 3,
    *,
    labels: Labels = "degree",
    direction: Direction = "undirected",
) -> tuple[_UInt64, NDArray[np.bool_]]:
    """The 64-bit label of every node after every round, and which nodes are real.

    Labels are the same for the same subtree in every call of one version of gnas.

    Args:
        graphs: N architectures padded to n nodes.
        n_iter: Relabelling rounds h.
        labels: First label of a node.
        direction: Neighbours that relabel a node; see `wl_kernel`.

    Shapes:
        N architectures -> labels uint64 [h + 1, N, n], real bool [N, n]. With "both" labels are
        [2 h + 2, N, n]: all rounds of "out", then all of "in".

    Raises:
        ConfigError: an option is unknown.
    """
    _check(n_iter, labels, direction)
    rounds, real = _relabel(as_batch(graphs), n_iter, labels, direction)
    return np.stack(rounds), real


def _check(n_iter: int, labels: str, direction: str) -> None:
    check_count(n_iter, "n_iter", 0, MAX_ROUNDS)
    if labels not in _LABELS:
        raise ConfigError(f"labels must be one of {list(_LABELS)}, but got {labels!r}")
    if direction not in _DIRECTIONS:
        raise ConfigError(f"direction must be one of {list(_DIRECTIONS)}, but got {direction!r}")


def _joined(graphs: Graphs, other: Graphs | None) -> tuple[DenseBatch, int]:
    """Both collections in one batch, and where the second starts."""
    batch = as_batch(graphs)
    split = len(batch)
    return (
        (batch, split) if other is None else (DenseBatch.concat([batch, as_batch(other)]), split)
    )


def _initial(
    batch: DenseBatch, labels: str
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.bool_]]:
    """Edges 0/1 [N, n, n], small integer label of every node [N, n], and which are real [N, n]."""
    if batch.has_edge_ops and labels != "degree":
        batch = edge_ops_to_node_ops(batch, _MAX_EDGE_OPS)
    edges = batch.adjacency.numpy()  # [N, n, n]
    if batch.has_edge_ops:
        edges = (edges > 0).astype(np.uint8)
    ops = batch.ops.numpy()  # [N, n]
    first = np.zeros(ops.shape, dtype=np.int64)  # [N, n]
    if labels != "degree":
        first += 1024 * (ops.astype(np.int64) + 1)
    if labels != "op":
        for degree in degrees(edges):
            first += degree
    return edges, first, ops >= 0


def degrees(edges: NDArray[np.uint8]) -> tuple[NDArray[np.unsignedinteger[Any]], ...]:
    """Out- and in-degree of every node, in the narrowest type: 0/1 [N, n, n] -> two [N, n]."""
    narrow = edges if edges.shape[1] <= 256 else edges.astype(np.uint16)
    return np.einsum("gij->gi", narrow), np.einsum("gij->gj", narrow)


def _relabel(
    batch: DenseBatch, n_iter: int, labels: str, direction: str
) -> tuple[list[_UInt64], NDArray[np.bool_]]:
    """Hashed labels of rounds 0..n_iter, each [N, n], and which nodes are real.

    With "both" the rounds of "out", then those of "in".
    """
    edges, first, real = _initial(batch, labels)
    start = mix64(first.astype(np.uint64))  # [N, n]
    feeds = _adjacency(edges)  # [N n, N n]: row v has a 1 for every node that v feeds
    rounds = []
    for one in ("out", "in") if direction == "both" else (direction,):
        rounds.append(start)
        for _ in range(n_iter):
            around = _around(feeds, mix64(rounds[-1].reshape(-1)), one)  # [N n]
            rounds.append(mix64(rounds[-1] * np.uint64(3) + around.reshape(real.shape)))
    return rounds, real


def _around(feeds: sparse.csr_array, hashed: _UInt64, direction: str) -> _UInt64:
    """Hash of the multiset of every node's neighbours: the sum of their hashes mod 2^64.

    Shapes:
        feeds [N n, N n], hashed [N n] -> [N n].
    """
    fed_by = feeds.T  # shares the memory of ``feeds``
    if direction == "out":
        total = feeds @ hashed
    elif direction == "in":
        total = fed_by @ hashed
    elif direction == "undirected":  # no node both feeds and is fed by the same node
        total = feeds @ hashed + fed_by @ hashed
    else:  # "joint": one of the sums is mixed, so that the two stay apart
        total = feeds @ hashed + mix64(fed_by @ hashed)
    around: _UInt64 = total
    return around


def _adjacency(edges: NDArray[np.uint8]) -> sparse.csr_array:
    """All graphs as one block-diagonal matrix: 0/1 [N, n, n] -> uint64 [N n, N n]."""
    size, n, _ = edges.shape
    narrow = np.int32 if edges.size < 2**31 else np.int64
    flat = np.flatnonzero(edges.view(np.bool_)).astype(narrow)  # [edges], into [N n n]
    row = np.floor_divide(flat, n, dtype=narrow)  # [edges], sources in [0, N n)
    first_of_graph = np.floor_divide(row, n, dtype=narrow) * n  # [edges]
    starts = np.zeros(size * n + 1, dtype=narrow)  # [N n + 1]
    np.cumsum(degrees(edges)[0], out=starts[1:])
    entries = np.ones(len(flat), dtype=np.uint64), flat - row * n + first_of_graph, starts
    return sparse.csr_array(entries, shape=(size * n, size * n))


def _ranks(hashes: _UInt64) -> tuple[NDArray[np.int64], int]:
    """Rank of every hash among the different ones, and how many these are: [M] -> int64 [M].

    As `np.unique` gives them, in a third of the time. The leading bits of a hash are its place in
    a table; only hashes in places with several different ones are sorted.
    """
    bits = (4 * len(hashes)).bit_length()
    place = (hashes >> np.uint64(64 - bits)).astype(np.int64)  # [M]
    table = np.empty(1 << bits, dtype=np.uint64)
    table[place] = hashes
    is_shared = np.zeros(1 << bits, dtype=np.bool_)
    is_shared[place[table[place] != hashes]] = True
    shared = np.flatnonzero(is_shared[place])  # into M
    several, which = np.unique(hashes[shared], return_inverse=True)
    home = several >> np.uint64(64 - bits)  # ascending places
    start = np.flatnonzero(np.diff(home, prepend=np.uint64(1 << bits)))  # of each place's hashes
    count = np.diff(start, append=len(several))
    different = np.zeros(1 << bits, dtype=np.int32)  # hashes of each place
    different[place] = 1
    different[home[start]] = count
    upto = np.cumsum(different, dtype=np.int32)
    rank = (upto - different)[place].astype(np.int64)  # [M], of the lowest hash of the place
    rank[shared] += (np.arange(len(several)) - np.repeat(start, count))[which]
    return rank, int(upto[-1])


def _matches(
    rounds: list[_UInt64],
    real: NDArray[np.bool_],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Number of equal node labels between two graphs, over all rounds: float64 [P]."""
    n = real.shape[1]
    total = np.zeros(len(first))
    for start in range(0, len(first), 4096):
        chunk = slice(start, start + 4096)
        a, b = first[chunk], second[chunk]  # [P'] each
        count = np.zeros((len(a), n), dtype=np.uint16)
        for values in rounds:
            # Padding never matches: 0 on one side, 1 on the other.
            left = np.where(real[a], values[a], np.uint64(0))
            right = np.where(real[b], values[b], np.uint64(1))
            doubled = np.concatenate([right, right], axis=1)
            for shift in range(n):
                count += left == doubled[:, shift : shift + n]
        total[chunk] = count.sum(1)
    return total


def _squared_norms(features: sparse.csr_array) -> NDArray[np.float64]:
    squares: NDArray[np.float64] = np.add.reduceat(features.data**2, features.indptr[:-1])
    return squares  # no row is empty: graphs have nodes


def _gram(features: sparse.csr_array, split: int | None, normalize: bool) -> NDArray[np.float64]:
    """Products of the rows before ``split`` with those from it on (None: of all with all).

    Frequent columns are multiplied densely, rare ones as sparse matrices, and columns that one
    graph alone has not at all: they count on the diagonal only. Exact before the division, since
    counts are whole numbers: in float32 below 2^24, else in float64.

    Shapes:
        [N, F] -> [N, N], or [split, N - split].
    """
    if not features.shape[0]:
        return np.zeros((0, 0))
    by_label = features.tocsc()
    share = np.diff(by_label.indptr)
    frequent = share > max(_DENSE_SHARE * features.shape[0], 1)
    rare = (share > 1) & ~frequent
    own = _squared_norms(features)  # [N]
    scale = 1 / np.sqrt(own)
    exact = np.float32 if own.max() < _EXACT else np.float64
    dense = by_label[:, frequent].astype(exact).toarray()
    thin = by_label[:, rare].astype(exact).tocsr()
    count, skipped = (len(own), 0) if split is None else (split, split)
    gram = np.empty((count, len(own) - skipped))  # [N, N], or [split, N - split]
    for start in range(0, count, _BLOCK):
        rows = slice(start, min(start + _BLOCK, count))
        others = slice(start if split is None else split, None)  # those before are mirrored
        block = dense[rows] @ dense[others].T
        block += (thin[rows] @ thin[others].T).toarray()
        found = gram[rows, others.start - skipped :]
        torch.from_numpy(found).copy_(torch.from_numpy(block))  # faster than NumPy's conversion
        if normalize:
            found *= scale[others]
            found *= scale[rows, None]
        if split is None:
            gram[rows.stop :, rows] = found[:, rows.stop - start :].T
    if split is None:
        np.fill_diagonal(gram, 1 if normalize else own)
    if normalize:  # exactly 1 where rounding may have given 1 - 2^-53
        for same in _equal_rows(features):
            first = same if split is None else same[same < split]
            second = same if split is None else same[same >= split] - split
            gram[np.ix_(first, second)] = 1
    return gram


def _equal_rows(features: sparse.csr_array) -> list[NDArray[np.int64]]:
    """The groups of two or more rows that are equal, told apart by 64-bit hashes."""
    entries = mix64(features.indices.astype(np.uint64)) * features.data.astype(np.uint64)
    keys = np.add.reduceat(entries, features.indptr[:-1])
    order = np.argsort(keys, kind="stable")
    _, starts, times = np.unique(keys[order], return_index=True, return_counts=True)
    several = times > 1
    return [order[i : i + k] for i, k in zip(starts[several], times[several], strict=True)]


def _grakel(
    batch: DenseBatch,
    split: int,
    n_iter: int,
    labels: Labels,
    direction: Direction,
    normalize: bool,
    kernel: str,
) -> Tensor:
    """The kernel as GraKeL computes it."""
    import grakel.kernels

    inputs = grakel_inputs(batch, labels, direction)
    options: dict[str, Any] = {"normalize": normalize}
    if kernel == "wl" and n_iter == 0:
        kernel = "vertex_histogram"
    if kernel in ("wl", "wl_optimal_assignment"):
        if n_iter == 0:
            raise ConfigError(f"n_iter must be at least 1 for {kernel!r}, but got 0")
        options["n_iter"] = n_iter
    model = getattr(grakel.kernels, GRAKEL_KERNELS[kernel])(**options)
    with _python_random_kept(), np.errstate(invalid="ignore"):
        if split == len(batch):
            values = model.fit_transform(inputs)
        else:
            values = model.fit(inputs[split:]).transform(inputs[:split])
    if np.isnan(values).any():
        raise ConfigError(
            f"values of {kernel!r} cannot be normalised, since a graph has the value 0 with "
            "itself; pass normalize=False"
        )
    return torch.from_numpy(np.asarray(values, dtype=np.float64))


@contextmanager
def _python_random_kept() -> Iterator[None]:
    """Python's generator as it was, which GraKeL seeds for all when it fits."""
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)


def grakel_inputs(
    graphs: Graphs, labels: Labels = "degree", direction: Direction = "undirected"
) -> list[tuple[dict[int, dict[int, float]], dict[int, int]]]:
    """The graphs as GraKeL takes them: per graph, weighted successors and a label of every node.

    Args:
        graphs: N architectures.
        labels: Label of a node.
        direction: "out" keeps edges as they are, "in" reverses them, "undirected" has them both
            ways.

    Raises:
        ConfigError: ``direction`` is "both" or "joint": GraKeL's nodes have one set of neighbours.
    """
    if direction in ("both", "joint"):
        raise ConfigError(
            "GraKeL keeps one set of neighbours: direction must be 'out', 'in' or 'undirected' "
            f"with backend='grakel', but got {direction!r}"
        )
    edges, first, real = _initial(as_batch(graphs), labels)
    if direction != "out":
        reversed_edges = edges.transpose(0, 2, 1)
        edges = reversed_edges if direction == "in" else edges | reversed_edges
    inputs = []
    for matrix, label, mask in zip(edges, first, real, strict=True):
        nodes = range(int(mask.sum()))
        successors = {v: dict.fromkeys(np.flatnonzero(matrix[v]).tolist(), 1.0) for v in nodes}
        inputs.append((successors, {v: int(label[v]) for v in nodes}))
    return inputs
