"""A node order that does not depend on how the nodes were numbered."""

from __future__ import annotations

import numpy as np
import torch

from gnas.graphs.dense import DenseBatch
from gnas.graphs.hashing import node_keys


def canonical_order(batch: DenseBatch) -> DenseBatch:
    """The same architectures with their nodes sorted by depth, then by `node_keys`.

    The depth of a node is the length of the longest path that ends there, so the order is
    topological. Isomorphic architectures get the same matrix wherever all nodes of one depth
    have different keys, or nodes with equal keys can be exchanged freely. Keys that tie are left
    in their old order: in symmetric graphs a choice between twins may then show in the matrix.

    Shapes:
        N architectures -> N architectures, padding unchanged.
    """
    edges = batch.adjacency.bool()  # [N, n, n]
    size, n = batch.ops.shape
    depth = torch.zeros(size, n, dtype=torch.int64)  # [N, n]
    for j in range(1, n):
        depth[:, j] = ((depth[:, :j] + 1) * edges[:, :j, j]).amax(1)  # [N]
    depth[batch.ops < 0] = n  # padding stays last
    by_key = np.argsort(node_keys(batch), axis=1, kind="stable")  # [N, n]
    by_depth = np.argsort(np.take_along_axis(depth.numpy(), by_key, 1), axis=1, kind="stable")
    return batch.reordered(torch.from_numpy(np.take_along_axis(by_key, by_depth, 1)))
