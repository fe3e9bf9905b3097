"""Predictors order architectures after seeing a few scored ones: ``fit``, then ``predict``."""

from gnas.encoders.paths import PathStatistics
from gnas.predictors.average import Average
from gnas.predictors.base import Predictor
from gnas.predictors.baselines import BoostedTrees, Forest, GaussianProcess, OneColumn
from gnas.predictors.calibrated import Calibrated
from gnas.predictors.channels import ChannelStatistics
from gnas.predictors.embedding import Embedding, Joined
from gnas.predictors.features import Features, OneHot, OneHotOps
from gnas.predictors.graph_network import FunctionalGraphs, GraphNetwork, OnGraphs
from gnas.predictors.losses import LOSSES
from gnas.predictors.mlp import MLP
from gnas.predictors.parameters import NASBench101Params, nasbench101_num_params
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
    "ChannelStatistics",
    "Embedding",
    "Features",
    "Forest",
    "FunctionalGraphs",
    "GaussianProcess",
    "GraphNetwork",
    "Joined",
    "NASBench101Params",
    "OnGraphs",
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
    """The predictor to bet on for few labels: processes, trees and perceptrons, averaged.

    All see `PathStatistics`, and `ChannelStatistics` where the output concatenates. Where
    operations sit on edges there are four processes: two know which columns mattered elsewhere,
    one sees only few of them. `benchmarks/results` holds the comparison, and
    ``docs/predictors.md`` what was tried and how the choices were made.

    Args:
        space: Where the architectures come from.
        seed: Fixes every random choice.
    """
    members = _for_edge_ops(space) if space.edge_ops else _for_node_ops(space)
    return Average(members, seed=seed)


def _for_edge_ops(space: Space) -> list[Predictor]:
    features = PathStatistics(space)
    relevance = features.spread(_RELEVANCE)
    return [
        ArdProcess(features, relevance=relevance, tails=0.5),
        ArdProcess(features, relevance=relevance, tails=0.5, kernel="matern52"),
        ArdProcess(features, tails=0.5),
        ArdProcess(features, tails=0.5, columns=features.columns(*_FLOW)),
        Forest(features, kind="extra", num_trees=150, max_features=0.4),
    ]


def _for_node_ops(space: Space) -> list[Predictor]:
    paths = PathStatistics(space)
    features = Joined((paths, ChannelStatistics(space))) if space.concatenates else paths
    members = [
        ArdProcess(features, length=8.0, tails=0.0),
        MLP(features, members=5, loss="bce", epochs=50),
        Forest(features, kind="extra", num_trees=150, max_features=0.4),
    ]
    if space.concatenates:
        columns = range(sum(paths.widths.values()))
        members.append(ArdProcess(features, columns=columns, length=8.0, tails=0.0))
    return members
