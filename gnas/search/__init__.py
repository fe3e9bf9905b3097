"""Architecture search: searchers, evaluators and the loop between them.

`run_search` joins a space, a searcher and an evaluator. Searchers (`SEARCHERS`) are asked for
architectures and told their measures; Optuna samplers, `NASGEMSampler` for example, let them
choose for the trials of a study. `bootstrap` lets a predictor choose from a pool.
`search_toponas` learns operations and topology in a supernet. All are loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnas.lazy import on_first_use

if TYPE_CHECKING:
    from gnas.search.objectives import Bound as Bound
    from gnas.search.objectives import Goal as Goal
    from gnas.search.objectives import Objective as Objective
    from gnas.search.pools import Best as Best
    from gnas.search.pools import bootstrap as bootstrap
    from gnas.search.pools import sample_pool as sample_pool
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
    from gnas.search.samplers import make_searcher as make_searcher
    from gnas.search.samplers import suggest_architecture as suggest_architecture
    from gnas.search.toponas.config import ToponasConfig as ToponasConfig
    from gnas.search.toponas.result import SupernetSearchResult as SupernetSearchResult
    from gnas.search.toponas.search import search_toponas as search_toponas

_HOME = {
    "Best": "gnas.search.pools",
    "Bound": "gnas.search.objectives",
    "Evaluation": "gnas.search.result",
    "Goal": "gnas.search.objectives",
    "LocalSearch": "gnas.search.samplers",
    "LocalSearchSampler": "gnas.search.samplers",
    "NASGEMSampler": "gnas.search.samplers",
    "Objective": "gnas.search.objectives",
    "PredictorSearch": "gnas.search.samplers",
    "RandomArchitectureSampler": "gnas.search.samplers",
    "RandomSearch": "gnas.search.samplers",
    "RegularizedEvolution": "gnas.search.samplers",
    "RegularizedEvolutionSampler": "gnas.search.samplers",
    "SEARCHERS": "gnas.search.samplers",
    "make_searcher": "gnas.search.samplers",
    "SearchResult": "gnas.search.result",
    "Searcher": "gnas.search.samplers",
    "SupernetSearchResult": "gnas.search.toponas.result",
    "ToponasConfig": "gnas.search.toponas.config",
    "bootstrap": "gnas.search.pools",
    "read_result": "gnas.search.result",
    "run_search": "gnas.search.run",
    "sample_pool": "gnas.search.pools",
    "search_toponas": "gnas.search.toponas.search",
    "suggest_architecture": "gnas.search.samplers",
}
__all__ = [
    "SEARCHERS",
    "Best",
    "Bound",
    "Evaluation",
    "Goal",
    "LocalSearch",
    "LocalSearchSampler",
    "NASGEMSampler",
    "Objective",
    "PredictorSearch",
    "RandomArchitectureSampler",
    "RandomSearch",
    "RegularizedEvolution",
    "RegularizedEvolutionSampler",
    "SearchResult",
    "Searcher",
    "SupernetSearchResult",
    "ToponasConfig",
    "bootstrap",
    "make_searcher",
    "read_result",
    "run_search",
    "sample_pool",
    "search_toponas",
    "suggest_architecture",
]
__getattr__, __dir__ = on_first_use(__name__, _HOME)
