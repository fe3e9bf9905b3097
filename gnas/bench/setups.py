"""Predictors compared by an experiment, with their labels in the result tables."""

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
    FeatureUnion,
    GraphNetwork,
    IdentityPredictor,
    OneHot,
    OneHotOps,
    PackedGraphs,
    Predictor,
    make_predictor,
)
from gnas.predictors.features import FeatureMatrix
from gnas.predictors.registry import own_predictor
from gnas.spaces import SPACES
from gnas.spaces.base import Space
from gnas.user_code import Source, is_own

EXACT = "the best coordinates of the encoder's kernel itself: what the encoder can reach"
"""Description of `KernelMap` in the protocol of a result."""


@dataclass(frozen=True)
class PredictorSetup:
    """A predictor and its labels in the result table."""

    predictor: Predictor
    name: str
    encoder: str
    """Label of the predictor's input: an encoder's name, or other features."""
    uses_ops: bool = False
    """Whether the predictor sees operations even in a wiring-only experiment."""
    source: Source | None = None
    """User file that defines the predictor, if any; worker processes load it again."""
    space: Space | None = None
    """Space passed to the user's factory."""

    def __reduce__(self) -> tuple[Callable[..., PredictorSetup], tuple[Any, ...]]:
        if self.source is None:
            values = tuple(getattr(self, one.name) for one in fields(self))
            return type(self), values
        return _own, (self.source, self.space)


@dataclass(frozen=True, eq=False)
class KnownValues:
    """One column: known values of a fixed set of cells.

    Args:
        graphs: N cells; isomorphic ones have the mean of their values.
        values: One value per cell, [N].
        name: Label in the result tables.
    """

    graphs: DenseBatch
    values: NDArray[Any]
    name: str

    def __call__(self, graphs: Graphs) -> FeatureMatrix:
        """Rows float64 [M, 1] of M of these cells."""
        keys, place = np.unique(graph_keys(self.graphs), return_inverse=True)
        means = np.bincount(place, self.values) / np.bincount(place)  # [K]
        found: FeatureMatrix = means[np.searchsorted(keys, graph_keys(as_batch(graphs)))][:, None]
        return found


@dataclass(frozen=True)
class NumEdges:
    """One column: the number of edges."""

    name: str = field(default="number of edges", init=False)

    def __call__(self, graphs: Graphs) -> FeatureMatrix:
        """Rows float64 [N, 1]."""
        return (as_batch(graphs).adjacency > 0).sum((1, 2)).double().numpy()[:, None]


@dataclass(frozen=True)
class KernelMap:
    """Principal coordinates of an encoder's target kernel: an upper bound for the encoder.

    They depend on all graphs of one call and are unique up to a rotation. A random one is used:
    along principal axes, predictors that standardise columns would magnify the least of them.

    Args:
        config: Encoder configuration: the kernel and the number of coordinates.
        encoder: Name of the encoder.
    """

    config: EncoderConfig
    encoder: str

    @property
    def name(self) -> str:
        """Label in the result tables."""
        return f"exact kernel of {self.encoder}"

    def __call__(self, graphs: Graphs) -> FeatureMatrix:
        """Rows float64 [N, config.dim]."""
        generator = np.random.default_rng(0)
        rows: FeatureMatrix = (
            principal_coordinates(as_batch(graphs), self.config, generator).double().numpy()
        )
        return rows


def predictor_setups(
    space: Space,
    encoders: Sequence[str],
    *,
    wiring_only: bool,
    params: Features,
    networks: bool = False,
    predictors: Sequence[str] | None = None,
) -> list[PredictorSetup]:
    """Set up the predictors to compare: the paper's, the default ones and trivial baselines.

    Args:
        space: The space of the cells.
        encoders: Names for `gnas.encoders.load_encoder`; see `_perceptrons`.
        wiring_only: Whether the cells' operations are hidden; embeddings then stand alone.
        params: One column, the number of parameters of a cell's network.
        networks: Whether to add `default` with its graph networks; without them it is always in.
        predictors: Names for `gnas.predictors.make_predictor`, in this order. None: the
            perceptron, the default and its parts, and baselines.

    Returns:
        Setups in the order of ``predictors``; by default the perceptron on the raw adjacency
        matrix is first, as the reference of the others. The number of parameters is last.

    Raises:
        ConfigError: a predictor does not suit the space, or its file is damaged.
    """
    names = _default_names(space, networks) if predictors is None else predictors
    found = [one for name in names for one in _of_name(name, space, encoders, wiring_only)]
    return [*found, PredictorSetup(IdentityPredictor(params), "none", params.name, uses_ops=True)]


def _default_names(space: Space, networks: bool) -> list[str]:
    """Names of the predictors compared by default."""
    names = ["mlp", *(["default-networks"] if networks else []), "default"]
    if space.edge_ops:
        prior = ["default-prior"] if type(space) in SPACES.values() else []
        names += [*prior, "ard-gp", "wl-gp"]
    return [*names, "forest", "gp"]


def _of_name(
    name: str, space: Space, encoders: Sequence[str], wiring_only: bool
) -> list[PredictorSetup]:
    """Setups of one predictor name: several where it reads embeddings."""
    if is_own(name):
        return [_own(Source.parse(name), space)]
    predictor = make_predictor(name, space)
    sees = predictor.features.name
    if wiring_only and isinstance(predictor.features, OneHot):
        sees = "adjacency"
    if name == "mlp":
        first = PredictorSetup(predictor, predictor.name, sees)
        return [first, *_perceptrons(space, encoders, wiring_only)]
    if name == "graph-network":
        loaded = [(one, load_encoder(one)) for one in encoders]
        networks = [(one, GraphNetwork(e)) for one, e in loaded if isinstance(e, GraphEncoder)]
        if networks:
            return [PredictorSetup(network, network.name, one) for one, network in networks]
    label = predictor.name
    if name.startswith("default"):
        label = "default"
        if name == "default-prior":
            sees += ", prior from CIFAR-100"
        elif isinstance(predictor.features, PackedGraphs):
            sees = f"{make_predictor('default', space).features.name} + graphs"
    return [PredictorSetup(predictor, label, sees)]


def _perceptrons(space: Space, encoders: Sequence[str], wiring_only: bool) -> list[PredictorSetup]:
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
        found.append(PredictorSetup(MLP(embedding), "MLP", name))
        if not wiring_only and not space.edge_ops:
            found.append(
                PredictorSetup(MLP(FeatureUnion((embedding, ops))), "MLP", f"{name} + {ops.name}")
            )
        if isinstance(encoder, NASGEMEncoder):
            exact = KernelMap(encoder.config, name)
            found.append(PredictorSetup(MLP(exact), "MLP", exact.name))
    return found


def _own(source: Source, space: Space) -> PredictorSetup:
    """Setup of a predictor defined in a user's file."""
    predictor = own_predictor(source, space)
    return PredictorSetup(
        predictor, predictor.name, predictor.features.name, source=source, space=space
    )


def own_files(predictors: Sequence[str] | None) -> dict[str, str]:
    """Files of user-defined predictors, for the protocol of a result.

    Args:
        predictors: See `predictor_setups`.

    Returns:
        File names and digests; empty if all predictors belong to gnas.
    """
    files = [Source.parse(name) for name in predictors or () if is_own(name)]
    if not files:
        return {}
    said = [f"{Path(one.path).name}:{one.name} (sha256 {one.sha256[:12]})" for one in files]
    return {"own predictors": ", ".join(said)}
