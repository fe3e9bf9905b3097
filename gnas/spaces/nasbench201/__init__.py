"""The NAS-Bench-201 space and its networks."""

from gnas.spaces.edge_ops import ROLES
from gnas.spaces.nasbench201.space import (
    CANDIDATES,
    EDGES,
    NUM_NODES,
    NASBench201,
    simplified,
)

__all__ = ["CANDIDATES", "EDGES", "NUM_NODES", "ROLES", "NASBench201", "simplified"]
