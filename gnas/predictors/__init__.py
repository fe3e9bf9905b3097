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
    from gnas.predictors.baselines import OneColumn as OneColumn
    from gnas.predictors.baselines import Regressor as Regressor
    from gnas.predictors.calibrated import Calibrated as Calibrated
    from gnas.predictors.channels import ChannelStatistics as ChannelStatistics
    from gnas.predictors.defaults import default as default
    from gnas.predictors.embedding import Embedding as Embedding
    from gnas.predictors.embedding import Joined as Joined
    from gnas.predictors.features import Features as Features
    from gnas.predictors.features import NumParams as NumParams
    from gnas.predictors.features import OneHot as OneHot
    from gnas.predictors.features import OneHotOps as OneHotOps
    from gnas.predictors.graph_network import FunctionalGraphs as FunctionalGraphs
    from gnas.predictors.graph_network import GraphNetwork as GraphNetwork
    from gnas.predictors.graph_network import OnGraphs as OnGraphs
    from gnas.predictors.losses import LOSSES as LOSSES
    from gnas.predictors.mlp import MLP as MLP
    from gnas.predictors.names import PREDICTOR_NAMES as PREDICTOR_NAMES
    from gnas.predictors.process import ArdProcess as ArdProcess
    from gnas.predictors.process import WLProcess as WLProcess
    from gnas.predictors.registry import PREDICTORS as PREDICTORS
    from gnas.predictors.registry import PredictorFactory as PredictorFactory
    from gnas.predictors.registry import make_predictor as make_predictor
    from gnas.predictors.walks import WalkStatistics as WalkStatistics
    from gnas.predictors.wl import WLLabels as WLLabels
    from gnas.predictors.zero_cost import ZeroCost as ZeroCost

_HOME = {
    "ArdProcess": "gnas.predictors.process",
    "Average": "gnas.predictors.average",
    "BoostedTrees": "gnas.predictors.baselines",
    "Calibrated": "gnas.predictors.calibrated",
    "ChannelStatistics": "gnas.predictors.channels",
    "Embedding": "gnas.predictors.embedding",
    "Features": "gnas.predictors.features",
    "Forest": "gnas.predictors.baselines",
    "FunctionalGraphs": "gnas.predictors.graph_network",
    "GaussianProcess": "gnas.predictors.baselines",
    "GraphNetwork": "gnas.predictors.graph_network",
    "Joined": "gnas.predictors.embedding",
    "LOSSES": "gnas.predictors.losses",
    "MLP": "gnas.predictors.mlp",
    "NumParams": "gnas.predictors.features",
    "OnGraphs": "gnas.predictors.graph_network",
    "OneColumn": "gnas.predictors.baselines",
    "OneHot": "gnas.predictors.features",
    "OneHotOps": "gnas.predictors.features",
    "PREDICTORS": "gnas.predictors.registry",
    "PREDICTOR_NAMES": "gnas.predictors.names",
    "PathStatistics": "gnas.encoders.paths",
    "Predictor": "gnas.predictors.base",
    "PredictorFactory": "gnas.predictors.registry",
    "Regressor": "gnas.predictors.baselines",
    "WLLabels": "gnas.predictors.wl",
    "WLProcess": "gnas.predictors.process",
    "WalkStatistics": "gnas.predictors.walks",
    "ZeroCost": "gnas.predictors.zero_cost",
    "default": "gnas.predictors.defaults",
    "make_predictor": "gnas.predictors.registry",
}
__all__ = [
    "LOSSES",
    "MLP",
    "PREDICTORS",
    "PREDICTOR_NAMES",
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
    "NumParams",
    "OnGraphs",
    "OneColumn",
    "OneHot",
    "OneHotOps",
    "PathStatistics",
    "Predictor",
    "PredictorFactory",
    "Regressor",
    "WLLabels",
    "WLProcess",
    "WalkStatistics",
    "ZeroCost",
    "default",
    "make_predictor",
]
__getattr__, __dir__ = on_first_use(__name__, _HOME)
