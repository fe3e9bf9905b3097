"""Evaluators: named measures of an architecture, from a table, a training or a user's function.

An `Evaluator` knows nothing of how architectures are chosen, and a searcher nothing of where the
measures come from; `gnas.search.run_search` joins them.
"""

from gnas.evaluate.base import Evaluator, Measures
from gnas.evaluate.efficiency import EfficiencyEvaluator, efficiency_score
from gnas.evaluate.function import FunctionEvaluator
from gnas.evaluate.job import EvaluationJob
from gnas.evaluate.table import TableEvaluator, TableSpace
from gnas.evaluate.training import TrainingEvaluator

__all__ = [
    "EfficiencyEvaluator",
    "EvaluationJob",
    "Evaluator",
    "FunctionEvaluator",
    "Measures",
    "TableEvaluator",
    "TableSpace",
    "TrainingEvaluator",
    "efficiency_score",
]
