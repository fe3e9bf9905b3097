"""A function that tests have evaluated by processes of their own."""

from __future__ import annotations

from torch_geometric.data import Data


def worth(graph: Data, *, seed: int) -> float:
    """Many separable convolutions, few edges."""
    return float(graph.x[:, 1].sum() - 0.1 * graph.num_edges + 0.001 * seed)


def same(graph: Data, *, seed: int) -> float:
    """What an evaluation gives that fails in the same way for every architecture."""
    return 0.5
