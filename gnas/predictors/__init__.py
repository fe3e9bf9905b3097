"""Predictors order architectures after seeing a few scored ones: ``fit``, then ``predict``."""

from gnas.predictors.average import Average
from gnas.predictors.base import Predictor
from gnas.predictors.baselines import BoostedTrees, Forest, GaussianProcess, OneColumn
from gnas.predictors.embedding import Embedding, Joined
from gnas.predictors.features import Features, OneHot, OneHotOps
from gnas.predictors.mlp import MLP
from gnas.predictors.parameters import NASBench101Params, nasbench101_num_params
from gnas.predictors.paths import PathStatistics
from gnas.predictors.process import ArdProcess, WLProcess
from gnas.predictors.wl import WLLabels
from gnas.spaces.base import Space

__all__ = [
    "MLP",
    "ArdProcess",
    "Average",
    "BoostedTrees",
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
    "default",
    "nasbench101_num_params",
]

_FLOW = ("size", "ops", "walk", "flow")
_SHORT = ("degrees", "length spread", "walk", "flow")


def default(space: Space, *, seed: int = 0) -> Predictor:
    """The predictor to bet on for few labels: Gaussian processes and extra trees, averaged.

    All see `PathStatistics`. Where operations sit on edges, two more processes see few of its
    columns, which ranks better as long as labels are very few. `benchmarks/results` holds the
    comparison, and ``docs/predictors.md`` what was tried and how the choices were made.

    Args:
        space: Where the architectures come from.
        seed: Fixes every random choice.
    """
    features = PathStatistics(space)
    trees = Forest(features, kind="extra", num_trees=150, max_features=0.4)
    if not space.edge_ops:
        return Average([ArdProcess(features, length=8.0), trees], seed=seed)
    members = [
        ArdProcess(features),
        ArdProcess(features, kernel="matern52"),
        ArdProcess(features, columns=features.columns(*_FLOW)),
        ArdProcess(features, columns=features.columns(*_SHORT)),
        trees,
    ]
    return Average(members, seed=seed)
