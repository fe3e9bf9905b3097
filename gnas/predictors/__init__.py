"""Predictors order architectures after seeing a few scored ones: ``fit``, then ``predict``."""

from gnas.predictors.average import Average
from gnas.predictors.base import Predictor
from gnas.predictors.baselines import BoostedTrees, Forest, GaussianProcess, OneColumn
from gnas.predictors.calibrated import Calibrated
from gnas.predictors.embedding import Embedding, Joined
from gnas.predictors.features import Features, OneHot, OneHotOps
from gnas.predictors.losses import LOSSES
from gnas.predictors.mlp import MLP
from gnas.predictors.parameters import NASBench101Params, nasbench101_num_params
from gnas.predictors.paths import PathStatistics
from gnas.predictors.process import ArdProcess, WLProcess
from gnas.predictors.walks import WalkStatistics
from gnas.predictors.wl import WLLabels
from gnas.predictors.zero_cost import ZeroCost
from gnas.spaces.base import Space

__all__ = [
    "LOSSES",
    "MLP",
    "ArdProcess",
    "Average",
    "BoostedTrees",
    "Calibrated",
    "Embedding",
    "Features",
    "Forest",
    "GaussianProcess",
    "Joined",
    "NASBench101Params",
    "OneColumn",
    "OneHot",
    "OneHotOps",
    "PathStatistics",
    "Predictor",
    "WLLabels",
    "WLProcess",
    "WalkStatistics",
    "ZeroCost",
    "default",
    "nasbench101_num_params",
]

_RELEVANCE = {
    "size": 0.6,
    "ops": 1.4,
    "degrees": 0.45,
    "depth": 0.5,
    "pairs": 0.55,
    "joined": 0.4,
    "length": 0.6,
    "length spread": 1.1,
    "counts": 0.4,
    "spreads": 0.6,
    "learned": 1.5,
    "learned spread": 1.6,
    "only": 0.8,
    "walk": 0.9,
    "flow": 1.0,
}
"""Choice: how much each group of `PathStatistics` says where operations sit on edges, before any
label is seen. Fitted by marginal likelihood to CIFAR-100 on NAS-Bench-201, one value a group."""
_FLOW = ("size", "ops", "walk", "flow")


def default(space: Space, *, seed: int = 0) -> Predictor:
    """The predictor to bet on for few labels: Gaussian processes and extra trees, averaged.

    All see `PathStatistics`. Where operations sit on edges there are four processes: two know
    which columns mattered elsewhere, one sees only few of them. `benchmarks/results` holds the
    comparison, and ``docs/predictors.md`` what was tried and how the choices were made.

    Args:
        space: Where the architectures come from.
        seed: Fixes every random choice.
    """
    features = PathStatistics(space)
    trees = Forest(features, kind="extra", num_trees=150, max_features=0.4)
    if not space.edge_ops:
        return Average([ArdProcess(features, length=8.0), trees], seed=seed)
    relevance = features.spread(_RELEVANCE)
    members = [
        ArdProcess(features, relevance=relevance),
        ArdProcess(features, relevance=relevance, kernel="matern52"),
        ArdProcess(features),
        ArdProcess(features, columns=features.columns(*_FLOW)),
        trees,
    ]
    return Average(members, seed=seed)
