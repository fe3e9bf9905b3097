"""TopoNAS: operations and topology learned by gradient in one supernet.

`search_toponas` is the search; `ToponasConfig` and its presets say how; `RunRecord` makes it
resumable; `joined` lets several processes search together.
"""

from gnas.distributed import World, joined
from gnas.search.toponas.arch import ArchParameters, DerivedCell
from gnas.search.toponas.config import (
    BASELINES,
    PRESETS,
    ToponasConfig,
    toponas_cifar10,
    toponas_digits,
    toponas_imagenet,
)
from gnas.search.toponas.loop import SupernetSearchResult, search_toponas, toponas_space
from gnas.search.toponas.record import RunRecord

__all__ = [
    "BASELINES",
    "PRESETS",
    "ArchParameters",
    "DerivedCell",
    "RunRecord",
    "SupernetSearchResult",
    "ToponasConfig",
    "World",
    "joined",
    "search_toponas",
    "toponas_cifar10",
    "toponas_digits",
    "toponas_imagenet",
    "toponas_space",
]
