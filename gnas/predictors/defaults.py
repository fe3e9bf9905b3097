"""Default predictor of each space."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import get_args

from gnas.encoders import GraphEncoder, load_encoder
from gnas.encoders.paths import PathStatistics
from gnas.errors import ConfigError
from gnas.predictor_options import Prior
from gnas.predictors.average import Average
from gnas.predictors.base import Predictor
from gnas.predictors.baselines import Forest
from gnas.predictors.channels import ChannelStatistics
from gnas.predictors.embedding import FeatureUnion
from gnas.predictors.features import Features
from gnas.predictors.gaussian_process import ARDGaussianProcess
from gnas.predictors.graph_network import GraphNetwork, OnPackedGraphs
from gnas.predictors.mlp import MLP
from gnas.spaces.base import Space, check_is_space
from gnas.spaces.vocabulary import Vocabulary

RELEVANCE = {
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
FITTED = "relevance/nasbench201.json"
"""Fitted relevance of each column on NAS-Bench-201 (``benchmarks/fit_relevance.py``)."""
_FLOW = ("size", "ops", "walk", "flow")


def default_predictor(
    space: Space, *, prior: Prior | None = None, networks: bool = True, random_state: int = 0
) -> Predictor:
    """Recommended predictor for few labels: an average of Gaussian processes, trees and MLPs.

    All see `PathStatistics`, and `ChannelStatistics` where the output concatenates. With enough
    samples this average is averaged with pretrained graph networks, where some of the space ship
    (`Space.pretrained`). `benchmarks/results` holds the comparison, and
    ``docs/experiments/predictors.md`` what was tried and how the choices were made.

    Args:
        space: Space of the architectures.
        prior: For operations on edges, processes may begin with the features that mattered
            for NAS-Bench-201's accuracies on CIFAR-100: a value for each column on this space, for
            each group of columns on others. It is knowledge about that benchmark; None begins
            with nothing.
        networks: Whether graph networks may take part. Training them on 500 samples takes ten to
            thirty seconds, the rest four.
        random_state: Fixes every random choice.

    Raises:
        ConfigError: ``prior`` is unknown, or operations do not sit on edges.

    Examples:
        >>> from gnas.spaces import NASBench201
        >>> default_predictor(NASBench201(), networks=False).name
        'ARD GP + extra trees'
    """
    check_is_space(space)
    counting = _counting(space, prior, random_state)
    found = pretrained_networks(space) if networks else []
    if not found:
        return counting
    least = max(space.pretrained.values())
    members = [OnPackedGraphs(counting), *found]
    return Average(members, from_samples=(0, *[least] * len(found)), random_state=random_state)


def counting_features(space: Space) -> Features:
    """The counts that the default predictor reads of a space's architectures.

    Args:
        space: Space of the architectures.

    Returns:
        `PathStatistics`; beside them `ChannelStatistics` where operations sit on nodes and the
        output concatenates.

    Examples:
        >>> from gnas.spaces import NASBench101, NASBench201
        >>> counting_features(NASBench101()).name
        'path statistics + channel statistics'
        >>> counting_features(NASBench201()).name
        'path statistics'
    """
    paths = PathStatistics(space)
    if space.edge_ops or not space.concatenates:
        return paths
    return FeatureUnion((paths, ChannelStatistics(space)))


def extra_trees(features: Features) -> Forest:
    """The trees that are a member of the default predictor."""
    return Forest(features, kind="extra", num_trees=150, max_features=0.4)


def pretrained_networks(space: Space) -> list[GraphNetwork]:
    """Graph networks that were pretrained on exactly this space, each to be trained further.

    As measured: where operations sit on edges processes on the embeddings of all help, elsewhere
    a second kind of network does.

    Args:
        space: Space of the architectures.

    Returns:
        Empty where no encoder of the space ships.
    """
    found = [load_encoder(name) for name in space.pretrained]
    encoders = [one for one in found if isinstance(one, GraphEncoder)]
    if not encoders or any(one.config.vocabulary != space.vocabulary for one in encoders):
        return []
    if space.edge_ops:
        return [GraphNetwork(encoders)]
    return [GraphNetwork(encoder, gaussian_process=False) for encoder in encoders]


def _counting(space: Space, prior: Prior | None, random_state: int) -> Average:
    """All that sees counts."""
    if prior is not None and (prior not in get_args(Prior) or not space.edge_ops):
        raise ConfigError(
            f"prior must be None, or one of {[*get_args(Prior)]} in spaces with operations on "
            f"edges, but got {prior!r} for '{space.name}'"
        )
    members = _for_edge_ops(space, prior) if space.edge_ops else _for_node_ops(space)
    return Average(members, random_state=random_state)


def _fitted_relevance(features: PathStatistics) -> list[float] | None:
    """Fitted relevance of every column, if the columns agree."""
    record = json.loads(files("gnas.predictors").joinpath(FITTED).read_text(encoding="utf-8"))
    if Vocabulary.from_record(record["vocabulary"]) != features.vocabulary:
        return None
    return [value for name in features.widths for value in record["relevance"][name]]


def _for_edge_ops(space: Space, prior: Prior | None) -> list[Predictor]:
    features = PathStatistics(space)
    trees = extra_trees(features)
    fitted = None if prior is None else _fitted_relevance(features)
    if fitted is not None:
        return [
            ARDGaussianProcess(features, relevance=fitted, length_std=0.25, tail_weight=0.5),
            ARDGaussianProcess(features, relevance=fitted, length_std=0.5, tail_weight=0.5),
            ARDGaussianProcess(
                features, relevance=fitted, length_std=0.25, tail_weight=0.5, kernel="matern52"
            ),
            trees,
        ]
    flow = ARDGaussianProcess(features, tail_weight=0.5, columns=features.columns(*_FLOW))
    plain = ARDGaussianProcess(features, tail_weight=0.5)
    if prior is None:
        return [
            plain,
            ARDGaussianProcess(features, tail_weight=0.5, kernel="matern52"),
            flow,
            trees,
        ]
    relevance = features.per_column(RELEVANCE)
    return [
        ARDGaussianProcess(features, relevance=relevance, tail_weight=0.5),
        ARDGaussianProcess(features, relevance=relevance, tail_weight=0.5, kernel="matern52"),
        plain,
        flow,
        trees,
    ]


def _for_node_ops(space: Space) -> list[Predictor]:
    features = counting_features(space)
    members = [
        ARDGaussianProcess(features, length_scale=8.0, tail_weight=0.0),
        MLP(features, members=5, loss="bce", epochs=50),
        extra_trees(features),
    ]
    if space.concatenates:
        columns = range(sum(PathStatistics(space).widths.values()))
        members.append(
            ARDGaussianProcess(features, columns=columns, length_scale=8.0, tail_weight=0.0)
        )
    return members
