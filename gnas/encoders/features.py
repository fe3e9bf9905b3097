"""The fixed vector that stands for a graph at an encoder's input."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gnas.encoders.config import EncoderConfig
from gnas.graphs import DenseBatch
from gnas.graphs.canonical import canonical_order
from gnas.kernels import wl_labels


def num_features(config: EncoderConfig) -> int:
    """Width F of the vector that `graph_features` returns."""
    n = config.num_nodes
    widths = {
        "adjacency": n * (n - 1) // 2,
        "ops": n * config.num_ops,
        "degrees": 4 * n,
        "wl": (config.n_iter + 1) * config.wl_buckets,
    }
    return sum(widths[name] for name in config.features)


def graph_features(batch: DenseBatch, config: EncoderConfig) -> Tensor:
    """The input vector of every architecture, parts in the order of ``config.features``.

    * "adjacency": the upper triangle, row by row; "ops": the one-hots, node by node (zeros on
      padding). Both depend on node order: see ``config.canonical``.
    * "degrees": number of nodes of every out-degree, every in-degree, every total degree.
    * "wl": per round of the target kernel, its labels hashed into buckets and counted. The dot
      product of two such vectors approximates the kernel; node order does not matter.

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


def _label_buckets(batch: DenseBatch, config: EncoderConfig) -> Tensor:
    """Counts of Weisfeiler-Lehman labels by round and bucket: float32 [N, rounds * buckets]."""
    labels, real = wl_labels(batch, config.n_iter, labels=config.labels, directed=config.directed)
    rounds, size, _ = labels.shape
    width = rounds * config.wl_buckets
    column = (labels % np.uint64(config.wl_buckets)).astype(np.int64)
    column += (np.arange(rounds) * config.wl_buckets)[:, None, None]
    column += (np.arange(size) * width)[:, None]
    counts = np.bincount(column[:, real].reshape(-1), minlength=size * width)
    return torch.from_numpy(counts.reshape(size, width).astype(np.float32))
