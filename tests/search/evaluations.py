"""Functions that worker processes of tests call to evaluate an architecture."""

from __future__ import annotations

import time

from torch_geometric.data import Data


def convolutions(graph: Data, *, seed: int) -> dict[str, float]:
    """Counts convolutions of a NAS-Bench-201 cell; cells differ in how long that takes."""
    kinds = graph.edge_op.tolist()
    time.sleep(0.002 * (sum(kinds) % 5))
    if sum(kinds) % 6 == 1:
        raise RuntimeError("not enough memory: you tried to allocate 9 GB")
    return {"score": sum(kind in (2, 3) for kind in kinds) + 0.01 * sum(kinds), "seed": seed}
