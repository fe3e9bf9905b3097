"""The predictor that we would bet on."""

from __future__ import annotations

from gnas.encoders import GraphEncoder, load
from gnas.encoders.paths import PathStatistics
from gnas.predictors.average import Average
from gnas.predictors.base import Predictor
from gnas.predictors.baselines import Forest
from gnas.predictors.channels import ChannelStatistics
from gnas.predictors.embedding import Joined
from gnas.predictors.graph_network import GraphNetwork, OnGraphs
from gnas.predictors.mlp import MLP
from gnas.predictors.process import ArdProcess
from gnas.spaces.base import Space
from gnas.spaces.vocabulary import Vocabulary

NETWORKED = ("nasbench101", "nasbench201")
"""Spaces whose pretrained graph networks were measured to help."""
FROM_SAMPLES = 150
"""Choice: graph networks take part from this many samples on. Averaged in they lose a little with
39 and 78 samples of NAS-Bench-201 (its CIFAR-10 accuracies, the samples that we report) and gain
with more; on NAS-Bench-101 they gain with 100 already."""
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


def default(space: Space, *, networks: bool = True, seed: int = 0) -> Predictor:
    """The predictor to bet on for few labels: processes, trees and perceptrons, averaged.

    All see `PathStatistics`, and `ChannelStatistics` where the output concatenates. Where
    operations sit on edges there are four processes: two know which columns mattered elsewhere,
    one sees only few of them. From `FROM_SAMPLES` samples on this average is averaged with a
    pretrained graph network, where one of the space ships. `benchmarks/results` holds the
    comparison, and ``docs/predictors.md`` what was tried and how the choices were made.

    Args:
        space: Where the architectures come from.
        networks: Whether graph networks may take part. Training them on 500 samples takes some
            ten seconds, the rest four.
        seed: Fixes every random choice.
    """
    counting = Average(_for_edge_ops(space) if space.edge_ops else _for_node_ops(space), seed=seed)
    encoders = _encoders(space) if networks else []
    if not encoders:
        return counting
    members = [OnGraphs(counting), GraphNetwork(encoders)]
    return Average(members, from_samples=(0, FROM_SAMPLES), seed=seed)


def _encoders(space: Space) -> list[GraphEncoder]:
    """Pretrained ones of exactly this space, the one to train first."""
    if space.name not in NETWORKED:
        return []
    found = [load(f"{network}-{space.name}") for network in ("dag", "gin", "gps")]
    encoders = [one for one in found if isinstance(one, GraphEncoder)]
    return [one for one in encoders if one.config.vocabulary == Vocabulary.of(space)]


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
