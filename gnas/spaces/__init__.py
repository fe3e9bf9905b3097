"""Search spaces: where architectures come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnas.lazy import on_first_use

if TYPE_CHECKING:
    from gnas.spaces.base import Space as Space
    from gnas.spaces.dag import DagSpace as DagSpace
    from gnas.spaces.edge_ops import EdgeOpSpace as EdgeOpSpace
    from gnas.spaces.nasbench101 import NASBench101 as NASBench101
    from gnas.spaces.nasbench201 import NASBench201 as NASBench201
    from gnas.spaces.nasgem import NASGEM as NASGEM
    from gnas.spaces.nasgem.wiring import RandomWiring as RandomWiring
    from gnas.spaces.nasgem.wiring import nasgem_space as nasgem_space
    from gnas.spaces.networks import Networks as Networks
    from gnas.spaces.networks import builds as builds
    from gnas.spaces.registry import READY_MADE as READY_MADE
    from gnas.spaces.registry import SPACES as SPACES
    from gnas.spaces.registry import in_notation as in_notation
    from gnas.spaces.registry import load_space as load_space
    from gnas.spaces.registry import notations as notations
    from gnas.spaces.registry import space_of_record as space_of_record
    from gnas.spaces.registry import space_of_text as space_of_text
    from gnas.spaces.registry import space_record as space_record
    from gnas.spaces.registry import space_text as space_text
    from gnas.spaces.toponas import TopoNAS as TopoNAS
    from gnas.spaces.toponas.genotype import Genotype as Genotype
    from gnas.spaces.vocabulary import Vocabulary as Vocabulary

_HOME = {
    "DagSpace": "gnas.spaces.dag",
    "EdgeOpSpace": "gnas.spaces.edge_ops",
    "Genotype": "gnas.spaces.toponas.genotype",
    "NASBench101": "gnas.spaces.nasbench101",
    "NASBench201": "gnas.spaces.nasbench201",
    "NASGEM": "gnas.spaces.nasgem",
    "Networks": "gnas.spaces.networks",
    "READY_MADE": "gnas.spaces.registry",
    "RandomWiring": "gnas.spaces.nasgem.wiring",
    "SPACES": "gnas.spaces.registry",
    "Space": "gnas.spaces.base",
    "TopoNAS": "gnas.spaces.toponas",
    "Vocabulary": "gnas.spaces.vocabulary",
    "builds": "gnas.spaces.networks",
    "in_notation": "gnas.spaces.registry",
    "load_space": "gnas.spaces.registry",
    "notations": "gnas.spaces.registry",
    "nasgem_space": "gnas.spaces.nasgem.wiring",
    "space_of_record": "gnas.spaces.registry",
    "space_of_text": "gnas.spaces.registry",
    "space_record": "gnas.spaces.registry",
    "space_text": "gnas.spaces.registry",
}
__all__ = [
    "NASGEM",
    "READY_MADE",
    "SPACES",
    "DagSpace",
    "EdgeOpSpace",
    "Genotype",
    "NASBench101",
    "NASBench201",
    "Networks",
    "RandomWiring",
    "Space",
    "TopoNAS",
    "Vocabulary",
    "builds",
    "in_notation",
    "load_space",
    "nasgem_space",
    "notations",
    "space_of_record",
    "space_of_text",
    "space_record",
    "space_text",
]
__getattr__, __dir__ = on_first_use(__name__, _HOME)
