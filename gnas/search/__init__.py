"""Searches: who is asked for the next architecture, and who finds the best one.

`run_search` joins a space, a searcher and an evaluator. Searchers (`SEARCHERS`) are asked for
architectures and told their measures; Optuna samplers, `NASGEMSampler` for example, let them
choose for the trials of a study. `bootstrap` lets a predictor choose from a pool.
`search_toponas` learns operations and topology in a supernet. All but `bootstrap` are loaded on
first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from gnas.search.bootstrap import Best, bootstrap, sample_pool

if TYPE_CHECKING:
    from gnas.search.objectives import Bound as Bound
    from gnas.search.objectives import Goal as Goal
    from gnas.search.objectives import Objective as Objective
    from gnas.search.result import Evaluation as Evaluation
    from gnas.search.result import SearchResult as SearchResult
    from gnas.search.result import read_result as read_result
    from gnas.search.run import run_search as run_search
    from gnas.search.samplers import SEARCHERS as SEARCHERS
    from gnas.search.samplers import LocalSearch as LocalSearch
    from gnas.search.samplers import LocalSearchSampler as LocalSearchSampler
    from gnas.search.samplers import NASGEMSampler as NASGEMSampler
    from gnas.search.samplers import PredictorSearch as PredictorSearch
    from gnas.search.samplers import RandomArchitectureSampler as RandomArchitectureSampler
    from gnas.search.samplers import RandomSearch as RandomSearch
    from gnas.search.samplers import RegularizedEvolution as RegularizedEvolution
    from gnas.search.samplers import RegularizedEvolutionSampler as RegularizedEvolutionSampler
    from gnas.search.samplers import Searcher as Searcher
    from gnas.search.samplers import suggest_architecture as suggest_architecture
    from gnas.search.toponas.config import ToponasConfig as ToponasConfig
    from gnas.search.toponas.loop import SupernetSearchResult as SupernetSearchResult
    from gnas.search.toponas.loop import search_toponas as search_toponas

_SAMPLERS, _TOPONAS = "gnas.search.samplers", "gnas.search.toponas"
_HOME = {
    "SEARCHERS": _SAMPLERS,
    "LocalSearch": _SAMPLERS,
    "LocalSearchSampler": _SAMPLERS,
    "NASGEMSampler": _SAMPLERS,
    "PredictorSearch": _SAMPLERS,
    "RandomArchitectureSampler": _SAMPLERS,
    "RandomSearch": _SAMPLERS,
    "RegularizedEvolution": _SAMPLERS,
    "RegularizedEvolutionSampler": _SAMPLERS,
    "Bound": "gnas.search.objectives",
    "Evaluation": "gnas.search.result",
    "Goal": "gnas.search.objectives",
    "Objective": "gnas.search.objectives",
    "SearchResult": "gnas.search.result",
    "SupernetSearchResult": _TOPONAS,
    "read_result": "gnas.search.result",
    "run_search": "gnas.search.run",
    "Searcher": _SAMPLERS,
    "ToponasConfig": _TOPONAS,
    "search_toponas": _TOPONAS,
    "suggest_architecture": _SAMPLERS,
}
"""Where the names are that are loaded on first use."""
__all__ = ["Best", "bootstrap", "sample_pool", *_HOME]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'gnas.search' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
