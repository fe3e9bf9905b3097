"""The TopoNAS space of DARTS-like cells, their genotypes and their networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnas.lazy import on_first_use

if TYPE_CHECKING:
    from gnas.spaces.toponas.cells import CELL_TYPES as CELL_TYPES
    from gnas.spaces.toponas.cells import EDGE_OPS as EDGE_OPS
    from gnas.spaces.toponas.cells import PRIMITIVES as PRIMITIVES
    from gnas.spaces.toponas.cells import ROLES as ROLES
    from gnas.spaces.toponas.genotype import Genotype as Genotype
    from gnas.spaces.toponas.space import TopoNAS as TopoNAS
    from gnas.topology import candidate_edges as candidate_edges

_HOME = {
    "CELL_TYPES": "gnas.spaces.toponas.cells",
    "EDGE_OPS": "gnas.spaces.toponas.cells",
    "Genotype": "gnas.spaces.toponas.genotype",
    "PRIMITIVES": "gnas.spaces.toponas.cells",
    "ROLES": "gnas.spaces.toponas.cells",
    "TopoNAS": "gnas.spaces.toponas.space",
    "candidate_edges": "gnas.topology",
}
__all__ = [
    "CELL_TYPES",
    "EDGE_OPS",
    "PRIMITIVES",
    "ROLES",
    "Genotype",
    "TopoNAS",
    "candidate_edges",
]
__getattr__, __dir__ = on_first_use(__name__, _HOME)
