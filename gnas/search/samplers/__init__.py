"""Ask-and-tell searchers, and Optuna samplers built on them.

A *searcher* chooses the next architecture to score; the search loop calls `Searcher.ask` and
`Searcher.tell`. An Optuna *sampler* lets a searcher choose the architectures of a study's trials;
samplers are loaded on first use, since importing Optuna is slow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnas.lazy import on_first_use
from gnas.search.samplers.base import Scored, Searcher
from gnas.search.samplers.evolution import RegularizedEvolution
from gnas.search.samplers.local_search import LocalSearch
from gnas.search.samplers.predictor_search import (
    PredictorSearch,
    bayes_search,
    nasgem_predictor,
    nasgem_search,
)
from gnas.search.samplers.random_search import RandomSearch
from gnas.search.samplers.registry import SEARCHERS, make_searcher

if TYPE_CHECKING:
    from gnas.search.samplers.study import ArchitectureSampler as ArchitectureSampler
    from gnas.search.samplers.study import LocalSearchSampler as LocalSearchSampler
    from gnas.search.samplers.study import NASGEMSampler as NASGEMSampler
    from gnas.search.samplers.study import (
        RandomArchitectureSampler as RandomArchitectureSampler,
    )
    from gnas.search.samplers.study import (
        RegularizedEvolutionSampler as RegularizedEvolutionSampler,
    )
    from gnas.search.samplers.study import suggest_architecture as suggest_architecture

_LATER = dict.fromkeys(
    (
        "ArchitectureSampler",
        "LocalSearchSampler",
        "NASGEMSampler",
        "RandomArchitectureSampler",
        "RegularizedEvolutionSampler",
        "suggest_architecture",
    ),
    "gnas.search.samplers.study",
)
__all__ = [
    "SEARCHERS",
    "ArchitectureSampler",
    "LocalSearch",
    "LocalSearchSampler",
    "NASGEMSampler",
    "PredictorSearch",
    "RandomArchitectureSampler",
    "RandomSearch",
    "RegularizedEvolution",
    "RegularizedEvolutionSampler",
    "Scored",
    "Searcher",
    "bayes_search",
    "make_searcher",
    "nasgem_predictor",
    "nasgem_search",
    "suggest_architecture",
]
__getattr__, __dir__ = on_first_use(__name__, _LATER)
