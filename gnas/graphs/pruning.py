"""Dead nodes: find them and cut them away."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import Data

from gnas.graphs.dense import DenseBatch


def live_nodes(batch: DenseBatch, *, to_output: bool = True) -> Tensor:
    """Which nodes carry data from node 0 (to the last node): bool [N, n].

    Args:
        batch: N architectures.
        to_output: Require a path to the graph's last node too; False suits spaces whose output
            joins all leaves (NASGEM).
    """
    size, n = batch.ops.shape
    edges = batch.adjacency.bool()
    forward = torch.zeros(size, n, dtype=torch.bool)
    forward[:, 0] = True
    for j in range(1, n):
        forward[:, j] = (forward[:, :j] & edges[:, :j, j]).any(1)
    if not to_output:
        return forward
    backward = torch.nn.functional.one_hot(batch.num_nodes - 1, n).bool()
    for i in range(n - 2, -1, -1):
        backward[:, i] |= (backward[:, i + 1 :] & edges[:, i, i + 1 :]).any(1)
    return forward & backward


def prune_batch(batch: DenseBatch, *, to_output: bool = True) -> DenseBatch:
    """The batch without dead nodes; node 0 (and the last node, if ``to_output``) always stay.

    Args:
        batch: N architectures.
        to_output: As for `live_nodes`.
    """
    live = live_nodes(batch, to_output=to_output)
    live[:, 0] = True
    if to_output:
        live[torch.arange(len(batch)), batch.num_nodes - 1] = True
    edges = batch.adjacency * (live[:, :, None] & live[:, None, :])
    ops = batch.ops.masked_fill(~live, -1)
    cut = DenseBatch(edges, ops, live.sum(1), batch.num_ops, batch.has_edge_ops)
    return cut.reordered(torch.argsort((~live).to(torch.uint8), dim=1, stable=True))


def prune(data: Data, *, to_output: bool = True) -> Data:
    """The architecture without dead nodes (see `prune_batch`); the caller's graph is untouched."""
    return prune_batch(DenseBatch.from_data([data]), to_output=to_output).data(0)
