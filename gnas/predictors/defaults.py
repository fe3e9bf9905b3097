"""Default predictor of each space."""

from __future__ import annotations

import json
from importlib.resources import files

from gnas.encoders import GraphEncoder, load_encoder
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
"""How much each column says on NAS-Bench-201, written by ``benchmarks/fit_relevance.py``."""
TREES_BESIDE_FITTED = 400
"""Choice: trees take part beside processes of fitted relevance from this many samples on."""
_FLOW = ("size", "ops", "walk", "flow")


def default(space: Space, *, networks: bool = True, seed: int = 0) -> Predictor:
    """The predictor to bet on for few labels: processes, trees and perceptrons, averaged.

    All see `PathStatistics`, and `ChannelStatistics` where the output concatenates. Where
    operations sit on edges, processes begin with what mattered on NAS-Bench-201's CIFAR-100
    accuracies. With enough samples this average is averaged with pretrained graph networks, where
    some of the space ship (`Space.pretrained`). `benchmarks/results` holds the comparison, and
    ``docs/predictors.md`` what was tried and how the choices were made.

    Args:
        space: Where the architectures come from.
        networks: Whether graph networks may take part. Training them on 500 samples takes ten to
            thirty seconds, the rest four.
        seed: Fixes every random choice.
    """
    counting = _counting(space, seed)
    found = _networks(space) if networks else []
    if not found:
        return counting
    least = max(space.pretrained.values())
    members = [OnGraphs(counting), *found]
    return Average(members, from_samples=(0, *[least] * len(found)), seed=seed)


def _networks(space: Space) -> list[GraphNetwork]:
    """Pretrained ones of exactly this space, each to be trained on.

    As measured: where operations sit on edges processes on the embeddings of all help, elsewhere
    a second kind of network does.
    """
    found = [load_encoder(name) for name in space.pretrained]
    encoders = [one for one in found if isinstance(one, GraphEncoder)]
    if not encoders or any(one.config.vocabulary != space.vocabulary for one in encoders):
        return []
    if space.edge_ops:
        return [GraphNetwork(encoders)]
    return [GraphNetwork(encoder, process=False) for encoder in encoders]


def _counting(space: Space, seed: int) -> Average:
    """All that sees counts."""
    if not space.edge_ops:
        return Average(_for_node_ops(space), seed=seed)
    features = PathStatistics(space)
    relevance = _fitted_relevance(features)
    if relevance is None:
        return Average(_for_edge_ops(features), seed=seed)
    members = [
        ArdProcess(features, relevance=relevance, spread=0.25, tails=0.5),
        ArdProcess(features, relevance=relevance, spread=0.5, tails=0.5),
        ArdProcess(features, relevance=relevance, spread=0.25, tails=0.5, kernel="matern52"),
        Forest(features, kind="extra", num_trees=150, max_features=0.4),
    ]
    return Average(members, from_samples=(0, 0, 0, TREES_BESIDE_FITTED), seed=seed)


def _fitted_relevance(features: PathStatistics) -> list[float] | None:
    """Of every column, if they are those that it was fitted to."""
    record = json.loads(files("gnas.predictors").joinpath(FITTED).read_text(encoding="utf-8"))
    if Vocabulary.from_record(record["vocabulary"]) != features.vocabulary:
        return None
    return [value for name in features.widths for value in record["relevance"][name]]


def _for_edge_ops(features: PathStatistics) -> list[Predictor]:
    relevance = features.spread(RELEVANCE)
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
