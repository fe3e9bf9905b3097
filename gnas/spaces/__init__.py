"""Search spaces: where architectures come from."""

from gnas.spaces.base import Space
from gnas.spaces.nasbench101 import NASBench101
from gnas.spaces.nasbench201 import NASBench201
from gnas.spaces.nasgem import NASGEM
from gnas.spaces.nasgem.wiring import RandomWiring, prior_space
from gnas.spaces.toponas import TopoNAS
from gnas.spaces.toponas.genotype import Genotype
from gnas.spaces.vocabulary import Vocabulary

SPACES: dict[str, type[Space]] = {
    "nasbench101": NASBench101,
    "nasbench201": NASBench201,
    "nasgem": NASGEM,
    "toponas": TopoNAS,
}

__all__ = [
    "NASGEM",
    "SPACES",
    "Genotype",
    "NASBench101",
    "NASBench201",
    "RandomWiring",
    "Space",
    "TopoNAS",
    "Vocabulary",
    "prior_space",
]
