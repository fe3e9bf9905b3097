"""Isomorphism-invariant hashes of architectures."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from gnas.geometric import Batch, Data
from gnas.graphs.dense import DenseBatch, Graphs, as_batch

_UInt64 = NDArray[np.uint64]


@overload
def graph_hash(graphs: Sequence[Data] | DenseBatch) -> list[str]: ...


@overload
def graph_hash(graphs: Data) -> str: ...


def graph_hash(graphs: Graphs) -> str | list[str]:
    """Isomorphism-invariant md5 of an architecture; on NAS-Bench-101 the official module hash.

    Nodes are labelled -1 (first column of ``x``: "input" in NAS-Bench-101), -2 (last column:
    "output") or their operation's index, and refined over in- and out-neighbours, n rounds. An
    edge operation, where there is one, is prefixed to the neighbour's hash. The graph is hashed
    as it is: call `gnas.graphs.prune` first where dead nodes must not count.

    Two isomorphic architectures always share the hash. The reverse is Weisfeiler-Lehman strong:
    it holds for all of NAS-Bench-101 and is not guaranteed for arbitrary large graphs.

    Args:
        graphs: One architecture, or N of them: a PyG ``Batch``, a list, or a dense batch.

    Returns:
        The hash of one ``Data``; for everything else a list with the hash of every graph.

    Raises:
        GraphError: a graph breaks the conventions of `gnas.graphs`.

    Source: Ying et al., NAS-Bench-101, ICML 2019, appendix on graph hashing.

    Examples:
        >>> from gnas.spaces import NASBench101
        >>> space = NASBench101()
        >>> one = space.from_str("input,conv3x3-bn-relu,maxpool3x3,output|33")
        >>> same = space.from_str("input,maxpool3x3,conv3x3-bn-relu,output|33")
        >>> graph_hash(one) == graph_hash(same)
        True
    """
    batch = as_batch(graphs)
    hashes = _hashes(batch)
    return hashes[0] if isinstance(graphs, Data) and not isinstance(graphs, Batch) else hashes


def _hashes(batch: DenseBatch) -> list[str]:
    """The hash of every architecture."""
    graph, source, target = batch.adjacency.nonzero().unbind(1)  # [edges of all graphs] each
    ends = np.searchsorted(graph.numpy(), np.arange(len(batch) + 1))  # [N + 1]
    codes = batch.adjacency[graph, source, target].tolist()
    pairs = list(zip(source.tolist(), target.tolist(), codes, strict=True))
    return [
        _hash(ops[:n], pairs[first:last], batch.num_ops, batch.has_edge_ops)
        for ops, n, first, last in zip(
            batch.ops.tolist(), batch.num_nodes.tolist(), ends[:-1], ends[1:], strict=True
        )
    ]


def _hash(
    ops: list[int], edges: list[tuple[int, int, int]], num_ops: int, has_edge_ops: bool
) -> str:
    """The hash of one architecture: operations [n], and source, target and code of every edge."""
    n = len(ops)
    incoming: list[list[tuple[int, str]]] = [[] for _ in range(n)]
    outgoing: list[list[tuple[int, str]]] = [[] for _ in range(n)]
    for source, target, code in edges:
        prefix = f"{code - 1}:" if has_edge_ops else ""
        incoming[target].append((source, prefix))
        outgoing[source].append((target, prefix))
    labels = [-1 if op == 0 else -2 if op == num_ops - 1 else op - 1 for op in ops]
    hashes = [_md5(str((len(outgoing[v]), len(incoming[v]), labels[v]))) for v in range(n)]
    for _ in range(n):
        hashes = [
            _md5(
                "".join(sorted(prefix + hashes[u] for u, prefix in incoming[v]))
                + "|"
                + "".join(sorted(prefix + hashes[u] for u, prefix in outgoing[v]))
                + "|"
                + hashes[v]
            )
            for v in range(n)
        ]
    return _md5(str(sorted(hashes)))


def graph_keys(batch: Graphs) -> _UInt64:
    """A 64-bit isomorphism-invariant key of every architecture, for counting and deduplicating.

    Much faster than `graph_hash` (about a million 7-node graphs a second) and as discerning: a
    forward and a backward sweep over the topological order give every node the multiset of all
    its ancestors and descendants, twice. Keys of different versions of gnas may differ: store
    `graph_hash` instead.

    Args:
        batch: N architectures.

    Shapes:
        N architectures -> uint64 [N].

    Examples:
        >>> from gnas.spaces import NASBench201
        >>> cells = NASBench201().enumerate()
        >>> len(set(graph_keys(NASBench201().functional_form(cells)).tolist()))
        5425
    """
    batch = as_batch(batch)
    real = batch.ops.numpy() >= 0
    keys: _UInt64 = mix64((node_keys(batch) * real).sum(1, dtype=np.uint64))
    return keys


def distinct(batch: Graphs) -> NDArray[np.int64]:
    """Rows of the first of every group of isomorphic architectures, ascending: int64 [M].

    Args:
        batch: N architectures.

    Examples:
        >>> from gnas.spaces import NASBench101
        >>> cells = NASBench101().enumerate()[:10]
        >>> distinct(DenseBatch.concat([cells, cells])).tolist()
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    _, first = np.unique(graph_keys(batch), return_index=True)
    rows: NDArray[np.int64] = np.sort(first)
    return rows


def node_keys(batch: DenseBatch) -> _UInt64:
    """A 64-bit key of every node, equal for nodes that an isomorphism maps to each other.

    Built from the multisets of all ancestors and descendants, twice (see `graph_keys`).

    Shapes:
        N architectures -> uint64 [N, n]; keys of padding mean nothing.
    """
    adjacency = batch.adjacency.numpy()  # [N, n, n]
    ops = batch.ops.numpy()  # [N, n]
    # The backward sweep is a forward one over the reversed graph; both are made together.
    edges = np.stack([adjacency, adjacency[:, ::-1, ::-1].swapaxes(1, 2)])  # [2, N, n, n]
    labels = mix64(ops.astype(np.int64).astype(np.uint64) + np.uint64(2))  # [N, n]
    for _ in range(2):
        own = np.stack([labels, labels[:, ::-1]])  # [2, N, n]
        states = np.zeros_like(own)
        for j in range(ops.shape[1]):
            codes = edges[..., :j, j]  # [2, N, j]
            # Sum over predecessors of a mix of their state and the edge's code
            coded = mix64(states[..., :j] * _SALTS + codes)  # [2, N, j]
            coded *= codes > 0
            states[..., j] = mix64(own[..., j] + coded.sum(2, dtype=np.uint64))
        labels = mix64(mix64(states[0]) + states[1, :, ::-1])
    return labels


_SALTS = np.array([3, 5], dtype=np.uint64)[:, None, None]
"""What tells the sweep forward from the one backward."""


def mix64(values: _UInt64) -> _UInt64:
    """SplitMix64's finaliser: a bijection that spreads every bit (Steele et al., OOPSLA 2014)."""
    values = values + _MIX[0]
    values ^= values >> _MIX[1]
    values *= _MIX[2]
    values ^= values >> _MIX[3]
    values *= _MIX[4]
    values ^= values >> _MIX[5]
    return values


_MIX = [
    np.array(number, dtype=np.uint64)  # made once: of few values that is half of the time
    for number in (0x9E3779B97F4A7C15, 30, 0xBF58476D1CE4E5B9, 27, 0x94D049BB133111EB, 31)
]
"""The steps of `mix64`."""


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
