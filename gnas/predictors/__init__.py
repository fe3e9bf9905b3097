"""Predictors order architectures after seeing a few scored ones: ``fit``, then ``predict``."""

from gnas.encoders.paths import PathStatistics
from gnas.predictors.average import Average
from gnas.predictors.base import Predictor
from gnas.predictors.baselines import (
    BoostedTrees,
    Forest,
    GaussianProcess,
    OneColumn,
    Regressor,
)
from gnas.predictors.calibrated import Calibrated
from gnas.predictors.channels import ChannelStatistics
from gnas.predictors.defaults import default
from gnas.predictors.embedding import Embedding, Joined
from gnas.predictors.features import Features, NumParams, OneHot, OneHotOps
from gnas.predictors.graph_network import FunctionalGraphs, GraphNetwork, OnGraphs
from gnas.predictors.losses import LOSSES
from gnas.predictors.mlp import MLP
from gnas.predictors.process import ArdProcess, WLProcess
from gnas.predictors.walks import WalkStatistics
from gnas.predictors.wl import WLLabels
from gnas.predictors.zero_cost import ZeroCost

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
    "NumParams",
    "OnGraphs",
    "OneColumn",
    "OneHot",
    "OneHotOps",
    "PathStatistics",
    "Predictor",
    "Regressor",
    "WLLabels",
    "WLProcess",
    "WalkStatistics",
    "ZeroCost",
    "default",
]
