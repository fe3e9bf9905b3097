"""Predictors order architectures after seeing a few scored ones: ``fit``, then ``predict``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnas.lazy import on_first_use

if TYPE_CHECKING:
    from gnas.encoders.paths import PathStatistics as PathStatistics
    from gnas.predictors.average import Average as Average
    from gnas.predictors.base import Predictor as Predictor
    from gnas.predictors.baselines import BoostedTrees as BoostedTrees
    from gnas.predictors.baselines import Forest as Forest
    from gnas.predictors.baselines import GaussianProcess as GaussianProcess
    from gnas.predictors.baselines import IdentityPredictor as IdentityPredictor
    from gnas.predictors.baselines import Regressor as Regressor
    from gnas.predictors.calibrated import Calibrated as Calibrated
    from gnas.predictors.channels import ChannelStatistics as ChannelStatistics
    from gnas.predictors.defaults import default_predictor as default_predictor
    from gnas.predictors.embedding import Embedding as Embedding
    from gnas.predictors.embedding import FeatureUnion as FeatureUnion
    from gnas.predictors.features import Features as Features
    from gnas.predictors.features import NumParams as NumParams
    from gnas.predictors.features import OneHot as OneHot
    from gnas.predictors.features import OneHotOps as OneHotOps
    from gnas.predictors.gaussian_process import ARDGaussianProcess as ARDGaussianProcess
    from gnas.predictors.gaussian_process import WLGaussianProcess as WLGaussianProcess
    from gnas.predictors.graph_network import GraphNetwork as GraphNetwork
    from gnas.predictors.graph_network import OnPackedGraphs as OnPackedGraphs
    from gnas.predictors.graph_network import PackedGraphs as PackedGraphs
    from gnas.predictors.losses import LOSSES as LOSSES
    from gnas.predictors.mlp import MLP as MLP
    from gnas.predictors.names import PREDICTOR_NAMES as PREDICTOR_NAMES
    from gnas.predictors.random_walks import RandomWalkStatistics as RandomWalkStatistics
    from gnas.predictors.registry import PREDICTORS as PREDICTORS
    from gnas.predictors.registry import PredictorFactory as PredictorFactory
    from gnas.predictors.registry import make_predictor as make_predictor
    from gnas.predictors.wl import WLLabels as WLLabels
    from gnas.predictors.zero_cost import ZeroCost as ZeroCost

_HOME = {
    "ARDGaussianProcess": "gnas.predictors.gaussian_process",
    "Average": "gnas.predictors.average",
    "BoostedTrees": "gnas.predictors.baselines",
    "Calibrated": "gnas.predictors.calibrated",
    "ChannelStatistics": "gnas.predictors.channels",
    "Embedding": "gnas.predictors.embedding",
    "FeatureUnion": "gnas.predictors.embedding",
    "Features": "gnas.predictors.features",
    "Forest": "gnas.predictors.baselines",
    "GaussianProcess": "gnas.predictors.baselines",
    "GraphNetwork": "gnas.predictors.graph_network",
    "IdentityPredictor": "gnas.predictors.baselines",
    "LOSSES": "gnas.predictors.losses",
    "MLP": "gnas.predictors.mlp",
    "NumParams": "gnas.predictors.features",
    "OnPackedGraphs": "gnas.predictors.graph_network",
    "OneHot": "gnas.predictors.features",
    "OneHotOps": "gnas.predictors.features",
    "PREDICTORS": "gnas.predictors.registry",
    "PREDICTOR_NAMES": "gnas.predictors.names",
    "PackedGraphs": "gnas.predictors.graph_network",
    "PathStatistics": "gnas.encoders.paths",
    "Predictor": "gnas.predictors.base",
    "PredictorFactory": "gnas.predictors.registry",
    "RandomWalkStatistics": "gnas.predictors.random_walks",
    "Regressor": "gnas.predictors.baselines",
    "WLGaussianProcess": "gnas.predictors.gaussian_process",
    "WLLabels": "gnas.predictors.wl",
    "ZeroCost": "gnas.predictors.zero_cost",
    "default_predictor": "gnas.predictors.defaults",
    "make_predictor": "gnas.predictors.registry",
}
__all__ = [
    "LOSSES",
    "MLP",
    "PREDICTORS",
    "PREDICTOR_NAMES",
    "ARDGaussianProcess",
    "Average",
    "BoostedTrees",
    "Calibrated",
    "ChannelStatistics",
    "Embedding",
    "FeatureUnion",
    "Features",
    "Forest",
    "GaussianProcess",
    "GraphNetwork",
    "IdentityPredictor",
    "NumParams",
    "OnPackedGraphs",
    "OneHot",
    "OneHotOps",
    "PackedGraphs",
    "PathStatistics",
    "Predictor",
    "PredictorFactory",
    "RandomWalkStatistics",
    "Regressor",
    "WLGaussianProcess",
    "WLLabels",
    "ZeroCost",
    "default_predictor",
    "make_predictor",
]
__getattr__, __dir__ = on_first_use(__name__, _HOME)
