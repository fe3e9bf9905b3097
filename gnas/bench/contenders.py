"""Predictors and encoders that an experiment compares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnas.encoders import EncoderConfig, GraphEncoder, NASGEMEncoder, load_encoder
from gnas.encoders.training import principal_coordinates
from gnas.graphs import DenseBatch, Graphs, as_batch, graph_keys
from gnas.predictors import (
    MLP,
    Embedding,
    Features,
    FunctionalGraphs,
    GraphNetwork,
    Joined,
    OneColumn,
    OneHot,
    OneHotOps,
    Predictor,
    make_predictor,
)
from gnas.predictors.features import Rows
from gnas.predictors.names import is_own_predictor
from gnas.predictors.registry import own_predictor
from gnas.spaces.base import Space
from gnas.user_code import Source

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
    source: Source | None = None
    """Where the predictor is from, if from a user's file: other processes load it again."""
    space: Space | None = None
    """Space that the user's predictor was made for."""

    def __reduce__(self) -> tuple[Callable[..., Contender], tuple[Any, ...]]:
        if self.source is None:
            values = tuple(getattr(self, one.name) for one in fields(self))
            return type(self), values
        return _own, (self.source, self.space)


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
    predictors: Sequence[str] | None = None,
) -> list[Contender]:
    """The paper's predictor with and without embeddings, ours, and the trivial ones.

    Args:
        space: The space of the cells.
        encoders: Names for `gnas.encoders.load_encoder`; see `_perceptrons`.
        wiring_only: The cells' operations are hidden, so nothing is joined to the embeddings.
        params: One column, the number of parameters of a cell's network.
        networks: Let `default` take part with its graph networks too; without them it always does.
        predictors: Which predictors take part, in this order: names for
            `gnas.predictors.make_predictor`. None: the perceptron, the default and its parts, and
            baselines.

    Returns:
        By default the perceptron on the raw adjacency matrix first: it is the reference of the
        others. The number of parameters is last.

    Raises:
        ConfigError: a predictor does not suit the space, or its file is damaged.
    """
    names = _default_names(space, networks) if predictors is None else predictors
    found = [one for name in names for one in _of_name(name, space, encoders, wiring_only)]
    return [*found, Contender(OneColumn(params), "none", params.name, true_ops=True)]


def _default_names(space: Space, networks: bool) -> list[str]:
    """The predictors that an experiment compares unless others are named."""
    names = ["mlp", *(["default-networks"] if networks else []), "default"]
    if space.edge_ops:
        names += ["default-prior", "ard-gp", "wl-gp"]
    return [*names, "forest", "gp"]


def _of_name(
    name: str, space: Space, encoders: Sequence[str], wiring_only: bool
) -> list[Contender]:
    """The contenders of one predictor's name: several where it reads embeddings."""
    if is_own_predictor(name):
        return [_own(Source.parse(name), space)]
    predictor = make_predictor(name, space)
    sees = predictor.features.name
    if wiring_only and isinstance(predictor.features, OneHot):
        sees = "adjacency"
    if name == "mlp":
        first = Contender(predictor, predictor.name, sees)
        return [first, *_perceptrons(space, encoders, wiring_only)]
    if name == "graph-network":
        loaded = [(one, load_encoder(one)) for one in encoders]
        networks = [(one, GraphNetwork(e)) for one, e in loaded if isinstance(e, GraphEncoder)]
        if networks:
            return [Contender(network, network.name, one) for one, network in networks]
    label = predictor.name
    if name.startswith("default"):
        label = "default"
        if name == "default-prior":
            sees += ", prior from CIFAR-100"
        elif isinstance(predictor.features, FunctionalGraphs):
            sees = f"{make_predictor('default', space).features.name} + graphs"
    return [Contender(predictor, label, sees)]


def _perceptrons(space: Space, encoders: Sequence[str], wiring_only: bool) -> list[Contender]:
    """NASGEM's predictor on every embedding.

    The paper's encoder reads the wiring alone. Where operations vary and sit on nodes, each
    embedding therefore takes part alone and beside the operations that the raw adjacency matrix
    comes with. Encoders that approximate a kernel are followed by the kernel's own coordinates.
    """
    ops = OneHotOps(space.max_nodes, len(space.ops))
    found = []
    for name in encoders:
        encoder = load_encoder(name)
        embedding = Embedding(encoder)
        found.append(Contender(MLP(embedding), "MLP", name))
        if not wiring_only and not space.edge_ops:
            found.append(Contender(MLP(Joined((embedding, ops))), "MLP", f"{name} + {ops.name}"))
        if isinstance(encoder, NASGEMEncoder):
            exact = KernelMap(encoder.config, name)
            found.append(Contender(MLP(exact), "MLP", exact.name))
    return found


def _own(source: Source, space: Space) -> Contender:
    """The contender of a user's file."""
    predictor = own_predictor(source, space)
    return Contender(
        predictor, predictor.name, predictor.features.name, source=source, space=space
    )


def own_files(predictors: Sequence[str] | None) -> dict[str, str]:
    """What a protocol says of predictors of a user's own: their files.

    Args:
        predictors: See `contenders`.

    Returns:
        Nothing where all are of gnas.
    """
    files = [Source.parse(name) for name in predictors or () if is_own_predictor(name)]
    if not files:
        return {}
    said = [f"{Path(one.path).name}:{one.name} (sha256 {one.sha256[:12]})" for one in files]
    return {"own predictors": ", ".join(said)}
