"""Search spaces: where architectures come from."""

from gnas.spaces.base import Space
from gnas.spaces.dag import DagSpace
from gnas.spaces.edge_ops import EdgeOpSpace
from gnas.spaces.nasbench101 import NASBench101
from gnas.spaces.nasbench201 import NASBench201
from gnas.spaces.nasgem import NASGEM
from gnas.spaces.nasgem.wiring import RandomWiring, prior_space
from gnas.spaces.networks import Networks
from gnas.spaces.registry import (
    READY_MADE,
    SPACES,
    in_notation,
    load_space,
    notations,
    space_of_record,
    space_of_text,
    space_record,
)
from gnas.spaces.toponas import TopoNAS
from gnas.spaces.toponas.genotype import Genotype
from gnas.spaces.vocabulary import Vocabulary

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
    "in_notation",
    "load_space",
    "notations",
    "prior_space",
    "space_of_record",
    "space_of_text",
    "space_record",
]
