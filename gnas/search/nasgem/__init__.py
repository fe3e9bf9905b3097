"""NASGEM: train random cells, learn to predict their score from an embedding, choose from many.

`plan_nasgem` and `run_nasgem` are what ``gnas search nasgem`` calls: `NasgemSearch` on
`gnas.search.run_search`.

Source: Cheng et al., NASGEM: Neural Architecture Search via Graph Embedding Method, AAAI 2021.
"""

from gnas.evaluate import efficiency_score
from gnas.search.nasgem.config import NasgemConfig
from gnas.search.nasgem.plan import NasgemPlan, plan_nasgem, planned, resumed_plan
from gnas.search.nasgem.result import NasgemResult
from gnas.search.nasgem.run import run_nasgem
from gnas.search.nasgem.searcher import NasgemSearch
from gnas.search.nasgem.trace import NasgemTrace, read_trace

__all__ = [
    "NasgemConfig",
    "NasgemPlan",
    "NasgemResult",
    "NasgemSearch",
    "NasgemTrace",
    "efficiency_score",
    "plan_nasgem",
    "planned",
    "read_trace",
    "resumed_plan",
    "run_nasgem",
]
