"""Predictors order architectures after seeing a few scored ones: ``fit``, then ``predict``."""

from gnas.predictors.base import Predictor
from gnas.predictors.baselines import Average, Forest, GaussianProcess, OneColumn
from gnas.predictors.embedding import Embedding, Joined
from gnas.predictors.features import Features, OneHot, OneHotOps, PathStatistics
from gnas.predictors.mlp import MLP
from gnas.predictors.parameters import NASBench101Params, nasbench101_num_params
from gnas.predictors.walks import WalkStatistics
from gnas.spaces.base import Space

__all__ = [
    "MLP",
    "Average",
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
    "WalkStatistics",
    "default",
    "nasbench101_num_params",
]


def default(space: Space, *, seed: int = 0) -> Predictor:
    """The predictor that ranked best so far: extra trees and a Gaussian process, averaged.

    Both see `PathStatistics`. `benchmarks/results` holds the comparison.

    Args:
        space: Where the architectures come from.
        seed: Fixes every random choice.
    """
    features = PathStatistics(
        space.max_nodes,
        len(space.ops),
        num_edge_ops=len(space.edge_ops),
        live=space.live,
        max_edges=space.max_edges,
        inputs=space.inputs,
        outputs=space.outputs,
    )
    forest = Forest(features, kind="extra")
    process = GaussianProcess(features, kernel="matern", hyper_rows=250)
    return Average([forest, process], seed=seed)
