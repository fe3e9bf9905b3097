"""The fixed vector that stands for a graph at an encoder's input."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gnas.encoders.config import EncoderConfig
from gnas.graphs import DenseBatch, edge_ops_to_node_ops
from gnas.graphs.canonical import canonical_order
from gnas.kernels import degrees, wl_labels

Columns: TypeAlias = NDArray[np.int32]


def feature_widths(config: EncoderConfig) -> dict[str, int]:
    """Width of every part of the vector that `graph_features` returns, in order."""
    n = config.num_nodes
    widths = {
        "adjacency": n * (n - 1) // 2 * max(config.num_edge_ops, 1),
        "ops": n * config.num_ops,
        "degrees": 4 * n,
        "wl": _first_labels(config) + later_rounds(config) * config.wl_buckets,
    }
    return {name: widths[name] for name in config.features}


def first_label_columns(config: EncoderConfig) -> slice:
    """Slice of the exact histogram of round 0 in the vector; requires the part "wl"."""
    widths = feature_widths(config)
    start = sum(list(widths.values())[: list(widths).index("wl")])
    return slice(start, start + _first_labels(config))


def graph_features(batch: DenseBatch, config: EncoderConfig) -> Tensor:
    """The input vector of every architecture, parts in the order of ``config.features``.

    * "adjacency": the upper triangle, row by row, one-hot over the operations where these sit on
      edges; "ops": the one-hots, node by node (zeros on
      padding). Both depend on node order: see ``config.canonical``.
    * "degrees": number of nodes of every out-degree, every in-degree, every total degree.
    * "wl": the histogram of the target kernel's round 0, exact, then per further round its labels
      hashed into buckets and counted. The dot product of two such vectors approximates the
      kernel; node order does not matter.

    Args:
        batch: N architectures of ``config.num_nodes`` padded nodes.
        config: The encoder's recipe.

    Shapes:
        N architectures -> float32 [N, F].
    """
    matrix, columns = sparse_features(batch, config)
    size, width = len(batch), sum(feature_widths(config).values())
    row = np.arange(size)[:, None] * (width + 1)  # [N, 1]
    counts = np.bincount((row + columns).reshape(-1), minlength=size * (width + 1))
    features = torch.from_numpy(counts.reshape(size, width + 1)[:, :width].astype(np.float32))
    if matrix is not None:
        features[:, adjacency_columns(config)] = matrix
    return features


def sparse_features(batch: DenseBatch, config: EncoderConfig) -> tuple[Tensor | None, Columns]:
    """Sparse form of `graph_features`.

    Everything but the adjacency matrix counts nodes: each adds 1 to one column.

    Args:
        batch: As for `graph_features`.
        config: As for `graph_features`.

    Shapes:
        N architectures -> the part "adjacency" float32 [N, A], None without it, and
        int32 [N, K], the columns that get 1 added; padding adds to column F, which does not exist.
    """
    ordered = canonical_order(batch) if config.canonical else batch
    size, n = ordered.ops.shape
    matrix, start, parts = None, 0, [np.zeros((size, 0), dtype=np.int32)]
    widths = feature_widths(config)
    absent = sum(widths.values())  # the column that padding adds to
    for name, width in widths.items():
        if name == "adjacency":
            rows, columns = torch.triu_indices(n, n, 1)
            matrix = ordered.adjacency.view(size, n * n)[:, rows * n + columns]  # [N, pairs]
            if config.num_edge_ops:
                kinds = torch.arange(1, config.num_edge_ops + 1, dtype=torch.uint8)
                matrix = (matrix[:, :, None] == kinds).flatten(1)  # [N, A]
            matrix = matrix.float()
        elif name == "ops":
            ops = ordered.ops.numpy()  # [N, n]
            position = start + np.arange(n, dtype=np.int32) * config.num_ops  # [n]
            parts.append(np.where(ops >= 0, position + ops, absent))
        elif name == "degrees":
            real = batch.ops.numpy() >= 0
            for column in _degree_columns(batch, config):
                parts.append(np.where(real, start + column, absent))
        else:
            for column, real in _label_columns(batch, config):
                parts.append(np.where(real, start + column, absent))
        start += width
    return matrix, np.concatenate(parts, axis=1, dtype=np.int32)


def kernel_graphs(batch: DenseBatch, config: EncoderConfig) -> DenseBatch:
    """The graphs that the target kernel compares: as they are, or what they compute."""
    if not config.functional:
        return batch
    forms = config.reading.functional_form(batch)
    # Multiplicities are left out: as operations of edges they would become nodes.
    return DenseBatch(forms.adjacency.clamp(max=1), forms.ops, forms.num_nodes, forms.num_ops)


def later_rounds(config: EncoderConfig) -> int:
    """Rounds of labels beside round 0."""
    return config.n_iter * (2 if config.direction == "both" else 1)


def adjacency_columns(config: EncoderConfig) -> slice:
    """Slice of the part "adjacency" in the vector; requires that part."""
    widths = feature_widths(config)
    start = sum(list(widths.values())[: list(widths).index("adjacency")])
    return slice(start, start + widths["adjacency"])


def _degree_columns(batch: DenseBatch, config: EncoderConfig) -> Iterator[Columns]:
    """The columns of every node's out-degree, in-degree and their sum, each [N, n]."""
    out_degree, in_degree = (
        degree.astype(np.int32) for degree in degrees(batch.adjacency.numpy())
    )
    yield out_degree
    yield config.num_nodes + in_degree
    yield 2 * config.num_nodes + out_degree + in_degree


def _first_labels(config: EncoderConfig) -> int:
    """Number of labels that a node can have in round 0."""
    ops = 1 if config.labels == "degree" else config.num_ops + config.num_edge_ops
    return ops * (1 if config.labels == "op" else 2 * config.num_nodes)


def _label_columns(
    batch: DenseBatch, config: EncoderConfig
) -> Iterator[tuple[Columns, NDArray[np.bool_]]]:
    """Columns of every node's label, round by round, and which nodes are real, each [N, m].

    Where the operations of edges are nodes of the kernel's graphs, m is more than n.
    """
    graphs = kernel_graphs(batch, config)
    if graphs.has_edge_ops and config.labels != "degree":
        graphs = edge_ops_to_node_ops(graphs, config.num_edge_ops)
    labels, real = wl_labels(
        graphs, config.n_iter, labels=config.labels, direction=config.direction
    )
    exact, buckets = _first_labels(config), config.wl_buckets
    column = np.zeros(real.shape, dtype=np.int32)  # [N, m]
    if config.labels != "op":
        for degree in degrees((graphs.adjacency > 0).numpy().view(np.uint8)):
            column += degree
    if config.labels != "degree":
        kinds = config.num_ops + config.num_edge_ops
        column += graphs.ops.numpy() * np.int32(exact // kinds)
    yield column, real
    # "both" holds round 0 of either direction; they are the same.
    later = [values for k, values in enumerate(labels) if k % (config.n_iter + 1)]
    for k, values in enumerate(later):
        yield exact + k * buckets + (values % np.uint64(buckets)).astype(np.int32), real
