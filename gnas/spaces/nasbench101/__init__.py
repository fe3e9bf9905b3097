"""The NAS-Bench-101 space and its networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnas.lazy import on_first_use

if TYPE_CHECKING:
    from gnas.spaces.nasbench101.space import MAX_EDGES as MAX_EDGES
    from gnas.spaces.nasbench101.space import MAX_VERTICES as MAX_VERTICES
    from gnas.spaces.nasbench101.space import OPS as OPS
    from gnas.spaces.nasbench101.space import NASBench101 as NASBench101

_HOME = {
    "MAX_EDGES": "gnas.spaces.nasbench101.space",
    "MAX_VERTICES": "gnas.spaces.nasbench101.space",
    "NASBench101": "gnas.spaces.nasbench101.space",
    "OPS": "gnas.spaces.nasbench101.space",
}
__all__ = [
    "MAX_EDGES",
    "MAX_VERTICES",
    "OPS",
    "NASBench101",
]
__getattr__, __dir__ = on_first_use(__name__, _HOME)
