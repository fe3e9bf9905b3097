"""Predictors and encoders that an experiment compares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnas.encoders import EncoderConfig, NASGEMEncoder, load_encoder
from gnas.encoders.training import principal_coordinates
from gnas.graphs import DenseBatch, Graphs, as_batch, graph_keys
from gnas.predictors import (
    MLP,
    ArdProcess,
    Embedding,
    Features,
    Forest,
    GaussianProcess,
    Joined,
    OneColumn,
    OneHot,
    OneHotOps,
    Predictor,
    WLLabels,
    WLProcess,
    default,
)
from gnas.predictors.features import Rows
from gnas.spaces.base import Space

EXACT = "the best coordinates of the encoder's kernel itself: what the encoder can reach"
"""The rows of `KernelMap`, in a protocol's words."""


@dataclass(frozen=True)
class Contender:
    """A predictor and how the result table calls it."""

    predictor: Predictor
    name: str
    encoder: str
    """What the predictor sees."""
    true_ops: bool = False
    """Sees the operations even where the experiment is on wiring only."""


@dataclass(frozen=True, eq=False)
class KnownColumn:
    """One column: what is known of each of some cells.

    Args:
        graphs: N cells; isomorphic ones have the mean of their values.
        values: Of every cell, [N].
        name: What the result tables print.
    """

    graphs: DenseBatch
    values: NDArray[Any]
    name: str

    def __call__(self, graphs: Graphs) -> Rows:
        """Rows float64 [M, 1] of M of these cells."""
        keys, place = np.unique(graph_keys(self.graphs), return_inverse=True)
        means = np.bincount(place, self.values) / np.bincount(place)  # [K]
        found: Rows = means[np.searchsorted(keys, graph_keys(as_batch(graphs)))][:, None]
        return found


@dataclass(frozen=True)
class NumEdges:
    """One column: the number of edges."""

    name: str = field(default="number of edges", init=False)

    def __call__(self, graphs: Graphs) -> Rows:
        """Rows float64 [N, 1]."""
        return (as_batch(graphs).adjacency > 0).sum((1, 2)).double().numpy()[:, None]


@dataclass(frozen=True)
class KernelMap:
    """The best coordinates of an encoder's target kernel itself: what the encoder can reach.

    They depend on all graphs of one call, and are unique up to a rotation. A random one is taken:
    along principal axes, predictors that standardise columns would magnify the least of them.

    Args:
        config: Gives the kernel and the number of coordinates.
        encoder: Its name.
    """

    config: EncoderConfig
    encoder: str

    @property
    def name(self) -> str:
        """What the result tables print."""
        return f"exact kernel of {self.encoder}"

    def __call__(self, graphs: Graphs) -> Rows:
        """Rows float64 [N, config.dim]."""
        generator = np.random.default_rng(0)
        rows: Rows = (
            principal_coordinates(as_batch(graphs), self.config, generator).double().numpy()
        )
        return rows


def contenders(
    space: Space,
    encoders: Sequence[str],
    *,
    wiring_only: bool,
    params: Features,
    networks: bool = False,
) -> list[Contender]:
    """The paper's predictor with and without embeddings, ours, and the trivial ones.

    The paper's encoder reads the wiring alone. Where operations vary and sit on nodes, each
    embedding therefore takes part alone and beside the operations that the raw adjacency matrix
    comes with. Encoders that approximate a kernel are followed by the kernel's own coordinates.

    Args:
        space: The space of the cells.
        encoders: Names for `gnas.encoders.load_encoder`.
        wiring_only: The cells' operations are hidden, so nothing is joined to the embeddings.
        params: One column, the number of parameters of a cell's network.
        networks: Let `default` take part with its graph networks too; without them it always does.

    Returns:
        The perceptron on the raw adjacency matrix first: it is the reference of the others.
    """
    vocabulary = space.max_nodes, len(space.ops), len(space.edge_ops)
    raw, counted = OneHot(*vocabulary), OneHot(*vocabulary, with_counts=True)
    ops = OneHotOps(space.max_nodes, len(space.ops))
    raw_name, counted_name = ("adjacency",) * 2 if wiring_only else (raw.name, counted.name)
    found = [Contender(MLP(raw), "MLP", raw_name)]
    for name in encoders:
        encoder = load_encoder(name)
        embedding = Embedding(encoder)
        found.append(Contender(MLP(embedding), "MLP", name))
        if not wiring_only and not space.edge_ops:
            found.append(Contender(MLP(Joined((embedding, ops))), "MLP", f"{name} + {ops.name}"))
        if isinstance(encoder, NASGEMEncoder):
            exact = KernelMap(encoder.config, name)
            found.append(Contender(MLP(exact), "MLP", exact.name))
    trees, process, ours = Forest(counted), GaussianProcess(raw), default(space, networks=False)
    if networks:
        found.append(Contender(default(space), "default", f"{ours.features.name} + graphs"))
    found.append(Contender(ours, "default", ours.features.name))
    if space.edge_ops:
        prior = default(space, prior="cifar100", networks=False)
        found.append(Contender(prior, "default", f"{ours.features.name}, prior from CIFAR-100"))
        alone = ArdProcess(ours.features), WLProcess(WLLabels(space))
        found += [Contender(one, one.name, one.features.name) for one in alone]
    found += [
        Contender(trees, trees.name, counted_name),
        Contender(process, process.name, raw_name),
        Contender(OneColumn(params), "none", params.name, true_ops=True),
    ]
    return found
