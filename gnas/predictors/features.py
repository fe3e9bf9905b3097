"""Features: maps from architectures to rows of numbers of fixed length."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from gnas.config import check_count
from gnas.errors import ConfigError
from gnas.graph_limits import MAX_EDGE_OP, MAX_OPS
from gnas.graphs import DenseBatch, Graphs, as_batch
from gnas.graphs.dense import copied
from gnas.metrics import as_scores
from gnas.spaces.vocabulary import check_vocabulary

FeatureMatrix = NDArray[np.float64]


MAX_NODES = 1000
"""Most nodes that a matrix of pairs is made for."""


class Features(Protocol):
    """A fixed map from architectures to rows of numbers; two equal objects give equal rows.

    Examples:
        >>> import numpy as np
        >>> from gnas.predictors import Forest
        >>> from gnas.spaces import NASBench201
        >>> class NumEdges:
        ...     name = "edges"
        ...     def __call__(self, graphs):
        ...         return graphs.adjacency.bool().sum((1, 2)).numpy().astype(np.float64)[:, None]
        >>> cells = NASBench201().enumerate()
        >>> Forest(NumEdges()).fit(cells[:50], np.arange(50)).predict(cells[50:55]).shape
        (5,)
    """

    @property
    def name(self) -> str:
        """Label in result tables."""
        ...

    def __call__(self, graphs: DenseBatch, /) -> FeatureMatrix:
        """One row per architecture: [N] -> float64 [N, F]."""
        ...


def checked_rows(rows: object, count: int, name: str) -> FeatureMatrix:
    """What features or an encoder returned, a user's own for example, as a matrix of rows.

    Args:
        rows: Anything; an array, a tensor or a list of rows will do.
        count: Number of graphs that it was asked for.
        name: Name of what returned it, for messages.

    Shapes:
        [N, F] -> float64 [N, F].

    Raises:
        ConfigError: it holds something else than real numbers, or no row for each graph.
    """
    found = rows
    if not isinstance(found, np.ndarray) or found.dtype != np.float64:
        found = as_scores(rows, f"rows of '{name}'")
    if found.ndim != 2 or len(found) != count:
        raise ConfigError(
            f"'{name}' must return one row of numbers for each graph, [{count}, F], but its shape "
            f"is {list(found.shape)}"
        )
    return found


def feature_rows(features: Features, batch: DenseBatch) -> FeatureMatrix:
    """The rows of architectures, checked: [N] -> float64 [N, F].

    Raises:
        ConfigError: the features, a user's own for example, return something else.
    """
    return checked_rows(features(copied(batch)), len(batch), features.name)


def check_features(features: object, what: str = "features") -> None:
    """Check that an argument is an object of the protocol `Features`.

    Raises:
        ConfigError: it cannot be called, is a class, or has no name.
    """
    if not callable(features) or isinstance(features, type):
        raise ConfigError(f"{what} must be some such as OneHot(7, 5), but got {features!r:.80}")
    if not isinstance(getattr(features, "name", None), str):
        raise ConfigError(
            f"{what} must have a `name`, a text for results, but {features!r:.80} has none"
        )


@dataclass(frozen=True)
class OneHot:
    """The adjacency matrix, entry by entry, and the one-hot operation of every node.

    ``with_counts`` adds how often each operation occurs (a forest cannot sum columns). Where
    operations sit on edges, each entry is one-hot over ``num_edge_ops`` operations. The rows
    depend on the order of the nodes, as those of the papers' "raw adjacency" do.

    Args:
        max_nodes: Most nodes of an architecture; smaller ones are padded.
        num_ops: Width of the one-hot ``x``.
        num_edge_ops: Size of the edge-op vocabulary; 0 where operations sit on nodes.
        with_counts: Whether columns with the number of every operation are added.

    Raises:
        GraphError: when called with a graph of more than ``max_nodes`` nodes, or whose
            vocabulary is not the one given here.

    Examples:
        >>> import numpy as np
        >>> from gnas.spaces import NASBench101
        >>> cells = NASBench101().sample_batch(40, np.random.default_rng(0))
        >>> OneHot(7, 5)(cells).shape
        (40, 56)
    """

    max_nodes: int
    num_ops: int
    num_edge_ops: int = 0
    """Size of the edge-op vocabulary; 0 where operations sit on nodes."""
    with_counts: bool = False

    def __post_init__(self) -> None:
        check_count(self.max_nodes, "max_nodes", 1, MAX_NODES)
        check_count(self.num_ops, "num_ops", 1, MAX_OPS + 1)
        check_count(self.num_edge_ops, "num_edge_ops", 0, MAX_EDGE_OP + 1)

    @property
    def name(self) -> str:
        """Label in result tables."""
        return "adjacency + ops" + (" + op counts" if self.with_counts else "")

    def __call__(self, graphs: Graphs) -> FeatureMatrix:
        """Rows float64 [N, n(n-1)/2 * max(num_edge_ops, 1) + n * num_ops (+ number of ops)]."""
        batch = as_batch(graphs)
        check_vocabulary(batch, self.num_ops, self.num_edge_ops)
        batch = batch.pad_to(self.max_nodes)
        upper = tuple(torch.triu_indices(self.max_nodes, self.max_nodes, 1))
        codes = batch.adjacency[:, upper[0], upper[1]]  # [N, n (n - 1) / 2]
        values = torch.arange(1, max(self.num_edge_ops, 1) + 1)
        kinds = batch.ops[:, :, None] == torch.arange(self.num_ops)  # [N, n, o]
        parts = [(codes[:, :, None] == values).flatten(1), kinds.flatten(1)]
        if self.with_counts:
            counted = parts[0].view(len(batch), -1, len(values)) if self.num_edge_ops else kinds
            parts.append(counted.sum(1))
        rows: FeatureMatrix = torch.cat([part.double() for part in parts], 1).numpy()
        return rows


@dataclass(frozen=True)
class OneHotOps:
    """The one-hot operation of every node: what `OneHot` has beside the adjacency matrix.

    Args:
        max_nodes: Most nodes of an architecture; smaller ones are padded.
        num_ops: Width of the one-hot ``x``.

    Examples:
        >>> import numpy as np
        >>> from gnas.spaces import NASBench101
        >>> cells = NASBench101().sample_batch(40, np.random.default_rng(0))
        >>> OneHotOps(7, 5)(cells).shape
        (40, 35)
    """

    max_nodes: int
    num_ops: int
    name: str = field(default="ops", init=False)

    def __post_init__(self) -> None:
        check_count(self.max_nodes, "max_nodes", 1, MAX_NODES)
        check_count(self.num_ops, "num_ops", 1, MAX_OPS + 1)

    def __call__(self, graphs: Graphs) -> FeatureMatrix:
        """Rows float64 [N, n * num_ops]."""
        batch = as_batch(graphs)
        check_vocabulary(batch, self.num_ops, 0)
        kinds = batch.pad_to(self.max_nodes).ops[:, :, None] == torch.arange(self.num_ops)
        rows: FeatureMatrix = kinds.flatten(1).double().numpy()
        return rows


@dataclass(frozen=True)
class NumParams:
    """One column: the number of trainable parameters of every architecture's network.

    Args:
        count: Counts them, [N] architectures -> int64 [N]; for example
            `gnas.models.nasbench101_num_params`.

    Examples:
        >>> from gnas.models import nasbench201_num_params
        >>> from gnas.spaces import NASBench201
        >>> cells = NASBench201().enumerate()[:2]
        >>> NumParams(nasbench201_num_params)(cells).tolist()
        [[73306.0], [73306.0]]
    """

    count: Callable[[DenseBatch], NDArray[np.int64]]
    name: str = field(default="number of parameters", init=False)

    def __post_init__(self) -> None:
        if not callable(self.count):
            raise ConfigError(f"count must be a function of graphs, but got {self.count!r:.80}")

    def __call__(self, graphs: Graphs) -> FeatureMatrix:
        """Rows float64 [N, 1]."""
        return self.count(as_batch(graphs)).astype(np.float64)[:, None]
