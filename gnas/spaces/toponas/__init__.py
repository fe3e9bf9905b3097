"""The TopoNAS space of DARTS-like cells, their genotypes and their networks."""

from gnas.spaces.toponas.cells import CELL_TYPES, EDGE_OPS, PRIMITIVES, ROLES
from gnas.spaces.toponas.genotype import Genotype
from gnas.spaces.toponas.space import TopoNAS
from gnas.topology import candidate_edges

__all__ = [
    "CELL_TYPES",
    "EDGE_OPS",
    "PRIMITIVES",
    "ROLES",
    "Genotype",
    "TopoNAS",
    "candidate_edges",
]
