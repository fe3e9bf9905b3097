"""NASGEM: train random cells, learn to predict their score from an embedding, choose from many.

`plan_search` and `run_search` are what ``gnas search nasgem`` calls.

Source: Cheng et al., NASGEM: Neural Architecture Search via Graph Embedding Method, AAAI 2021.
"""

from gnas.search.nasgem.config import NasgemConfig, efficiency_score
from gnas.search.nasgem.job import NasgemJob
from gnas.search.nasgem.plan import SearchPlan, plan_search, planned, resumed_plan
from gnas.search.nasgem.run import Progress, run_search
from gnas.search.nasgem.trace import NasgemTrace, read_trace

__all__ = [
    "NasgemConfig",
    "NasgemJob",
    "NasgemTrace",
    "Progress",
    "SearchPlan",
    "efficiency_score",
    "plan_search",
    "planned",
    "read_trace",
    "resumed_plan",
    "run_search",
]
