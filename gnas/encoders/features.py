"""The fixed vector that stands for a graph at an encoder's input."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gnas.encoders.config import EncoderConfig
from gnas.graphs import DenseBatch
from gnas.graphs.canonical import canonical_order
from gnas.kernels import wl_labels


def feature_widths(config: EncoderConfig) -> dict[str, int]:
    """Width of every part of the vector that `graph_features` returns, in order."""
    n = config.num_nodes
    widths = {
        "adjacency": n * (n - 1) // 2,
        "ops": n * config.num_ops,
        "degrees": 4 * n,
        "wl": _first_labels(config) + config.n_iter * config.wl_buckets,
    }
    return {name: widths[name] for name in config.features}


def first_label_columns(config: EncoderConfig) -> slice:
    """Where the exact histogram of round 0 lies in the vector; only with the part "wl"."""
    widths = feature_widths(config)
    start = sum(list(widths.values())[: list(widths).index("wl")])
    return slice(start, start + _first_labels(config))


def graph_features(batch: DenseBatch, config: EncoderConfig) -> Tensor:
    """The input vector of every architecture, parts in the order of ``config.features``.

    * "adjacency": the upper triangle, row by row; "ops": the one-hots, node by node (zeros on
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
    ordered = canonical_order(batch) if config.canonical else batch
    size, n = ordered.ops.shape
    parts = []
    for name in config.features:
        if name == "adjacency":
            rows, columns = torch.triu_indices(n, n, 1)
            parts.append(ordered.adjacency.view(size, n * n)[:, rows * n + columns].float())
        elif name == "ops":
            one_hot = ordered.ops[:, :, None] == torch.arange(config.num_ops)
            parts.append(one_hot.view(size, -1).float())
        elif name == "degrees":
            parts.append(_degree_histograms(ordered))
        else:
            parts.append(_label_buckets(batch, config))
    return torch.cat(parts, dim=1)


def _degree_histograms(batch: DenseBatch) -> Tensor:
    """Counts of nodes by out-degree, in-degree and their sum: float32 [N, 4n]."""
    size, n = batch.ops.shape
    edges = batch.adjacency.bool()
    real = (batch.ops >= 0).float()
    out_degree, in_degree = edges.sum(2), edges.sum(1)
    histograms = torch.zeros(size, 4 * n)
    histograms.scatter_add_(1, out_degree, real)
    histograms.scatter_add_(1, n + in_degree, real)
    histograms.scatter_add_(1, 2 * n + out_degree + in_degree, real)
    return histograms


def _first_labels(config: EncoderConfig) -> int:
    """Number of labels that a node can have in round 0."""
    ops = 1 if config.labels == "degree" else config.num_ops
    return ops * (1 if config.labels == "op" else 2 * config.num_nodes)


def _label_buckets(batch: DenseBatch, config: EncoderConfig) -> Tensor:
    """Counts of round 0's labels, then of later labels by round and bucket: float32 [N, F]."""
    labels, real = wl_labels(batch, config.n_iter, labels=config.labels, directed=config.directed)
    rounds, size, n = labels.shape
    exact, buckets = _first_labels(config), config.wl_buckets
    width = exact + (rounds - 1) * buckets
    column = np.zeros((rounds, size, n), dtype=np.int64)
    if config.labels != "op":
        edges = batch.adjacency.numpy()
        column[0] += edges.sum(1, dtype=np.int64) + edges.sum(2, dtype=np.int64)
    if config.labels != "degree":
        column[0] += batch.ops.numpy() * (exact // config.num_ops)
    column[1:] = labels[1:] % np.uint64(buckets)
    column[1:] += (exact + np.arange(rounds - 1) * buckets)[:, None, None]
    column += (np.arange(size) * width)[:, None]
    counts = np.bincount(column[:, real].reshape(-1), minlength=size * width)
    return torch.from_numpy(counts.reshape(size, width).astype(np.float32))
