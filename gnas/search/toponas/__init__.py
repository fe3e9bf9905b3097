"""TopoNAS: operations and topology learned by gradient in one supernet.

`search_toponas` is the search; `ToponasConfig` and its presets say how; `SearchRecord` makes it
resumable; `init_distributed` lets several processes search together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnas.lazy import on_first_use

if TYPE_CHECKING:
    from gnas.search.toponas.arch import ArchParameters as ArchParameters
    from gnas.search.toponas.arch import DerivedCell as DerivedCell
    from gnas.search.toponas.config import BASELINES as BASELINES
    from gnas.search.toponas.config import PRESETS as PRESETS
    from gnas.search.toponas.config import SIZES as SIZES
    from gnas.search.toponas.config import ToponasConfig as ToponasConfig
    from gnas.search.toponas.config import toponas_cifar10 as toponas_cifar10
    from gnas.search.toponas.config import toponas_digits as toponas_digits
    from gnas.search.toponas.config import toponas_imagenet as toponas_imagenet
    from gnas.search.toponas.result import SupernetSearchResult as SupernetSearchResult
    from gnas.search.toponas.search import search_toponas as search_toponas
    from gnas.search.toponas.state import SearchRecord as SearchRecord
    from gnas.search.toponas.where import search_space as search_space
    from gnas.search.toponas.where import supernets_of as supernets_of
    from gnas.search.toponas.where import toponas_space as toponas_space
    from gnas.training.distributed import DistributedContext as DistributedContext
    from gnas.training.distributed import init_distributed as init_distributed

_HOME = {
    "ArchParameters": "gnas.search.toponas.arch",
    "BASELINES": "gnas.search.toponas.config",
    "DerivedCell": "gnas.search.toponas.arch",
    "PRESETS": "gnas.search.toponas.config",
    "SearchRecord": "gnas.search.toponas.state",
    "SIZES": "gnas.search.toponas.config",
    "SupernetSearchResult": "gnas.search.toponas.result",
    "ToponasConfig": "gnas.search.toponas.config",
    "DistributedContext": "gnas.training.distributed",
    "init_distributed": "gnas.training.distributed",
    "search_space": "gnas.search.toponas.where",
    "search_toponas": "gnas.search.toponas.search",
    "supernets_of": "gnas.search.toponas.where",
    "toponas_cifar10": "gnas.search.toponas.config",
    "toponas_digits": "gnas.search.toponas.config",
    "toponas_imagenet": "gnas.search.toponas.config",
    "toponas_space": "gnas.search.toponas.where",
}
__all__ = [
    "BASELINES",
    "PRESETS",
    "SIZES",
    "ArchParameters",
    "DerivedCell",
    "DistributedContext",
    "SearchRecord",
    "SupernetSearchResult",
    "ToponasConfig",
    "init_distributed",
    "search_space",
    "search_toponas",
    "supernets_of",
    "toponas_cifar10",
    "toponas_digits",
    "toponas_imagenet",
    "toponas_space",
]
__getattr__, __dir__ = on_first_use(__name__, _HOME)
