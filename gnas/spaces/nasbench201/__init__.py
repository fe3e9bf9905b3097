"""The NAS-Bench-201 space and its networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnas.lazy import on_first_use

if TYPE_CHECKING:
    from gnas.spaces.edge_ops import ROLES as ROLES
    from gnas.spaces.nasbench201.space import CANDIDATES as CANDIDATES
    from gnas.spaces.nasbench201.space import EDGES as EDGES
    from gnas.spaces.nasbench201.space import NUM_NODES as NUM_NODES
    from gnas.spaces.nasbench201.space import NASBench201 as NASBench201
    from gnas.spaces.nasbench201.space import simplified as simplified

_HOME = {
    "CANDIDATES": "gnas.spaces.nasbench201.space",
    "EDGES": "gnas.spaces.nasbench201.space",
    "NASBench201": "gnas.spaces.nasbench201.space",
    "NUM_NODES": "gnas.spaces.nasbench201.space",
    "ROLES": "gnas.spaces.edge_ops",
    "simplified": "gnas.spaces.nasbench201.space",
}
__all__ = [
    "CANDIDATES",
    "EDGES",
    "NUM_NODES",
    "ROLES",
    "NASBench201",
    "simplified",
]
__getattr__, __dir__ = on_first_use(__name__, _HOME)
