"""TopoNAS: operations and topology learned by gradient in one supernet.

`search_toponas` is the search; `ToponasConfig` and its presets say how; `RunRecord` makes it
resumable; `joined` lets several processes search together.
"""

from gnas.distributed import World, joined
from gnas.search.toponas.arch import ArchParameters, DerivedCell
from gnas.search.toponas.config import (
    BASELINES,
    PRESETS,
    SIZES,
    ToponasConfig,
    nasbench201_cpu,
    nasbench201_paper,
    toponas_cifar10,
    toponas_digits,
    toponas_imagenet,
)
from gnas.search.toponas.loop import SupernetSearchResult, search_toponas
from gnas.search.toponas.record import RunRecord
from gnas.search.toponas.where import search_space, supernets_of, toponas_space

__all__ = [
    "BASELINES",
    "PRESETS",
    "SIZES",
    "ArchParameters",
    "DerivedCell",
    "RunRecord",
    "SupernetSearchResult",
    "ToponasConfig",
    "World",
    "joined",
    "nasbench201_cpu",
    "nasbench201_paper",
    "search_space",
    "search_toponas",
    "supernets_of",
    "toponas_cifar10",
    "toponas_digits",
    "toponas_imagenet",
    "toponas_space",
]
