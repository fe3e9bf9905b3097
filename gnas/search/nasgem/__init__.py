"""NASGEM: train random cells, learn to predict their score from an embedding, choose from many.

`plan_nasgem` and `run_nasgem` are what ``gnas search nasgem`` calls: `NasgemSearch` on
`gnas.search.run_search`.

Source: Cheng et al., NASGEM: Neural Architecture Search via Graph Embedding Method, AAAI 2021.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnas.lazy import on_first_use

if TYPE_CHECKING:
    from gnas.evaluate import efficiency_score as efficiency_score
    from gnas.search.nasgem.config import NasgemConfig as NasgemConfig
    from gnas.search.nasgem.plan import NasgemPlan as NasgemPlan
    from gnas.search.nasgem.plan import plan_nasgem as plan_nasgem
    from gnas.search.nasgem.result import NasgemResult as NasgemResult
    from gnas.search.nasgem.run import run_nasgem as run_nasgem
    from gnas.search.nasgem.searcher import NasgemSearch as NasgemSearch

_HOME = {
    "NasgemConfig": "gnas.search.nasgem.config",
    "NasgemPlan": "gnas.search.nasgem.plan",
    "NasgemResult": "gnas.search.nasgem.result",
    "NasgemSearch": "gnas.search.nasgem.searcher",
    "efficiency_score": "gnas.evaluate",
    "plan_nasgem": "gnas.search.nasgem.plan",
    "run_nasgem": "gnas.search.nasgem.run",
}
__all__ = [
    "NasgemConfig",
    "NasgemPlan",
    "NasgemResult",
    "NasgemSearch",
    "efficiency_score",
    "plan_nasgem",
    "run_nasgem",
]
__getattr__, __dir__ = on_first_use(__name__, _HOME)
