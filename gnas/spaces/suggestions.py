"""Architectures by the parameters of Optuna trials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from gnas.errors import GraphError
from gnas.geometric import Data
from gnas.graphs import architecture
from gnas.graphs.dense import single

if TYPE_CHECKING:
    from gnas.spaces.base import Space


class Trial(Protocol):
    """Protocol of ``optuna.Trial``, ``FrozenTrial`` and ``FixedTrial``."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of ``choices``."""
        ...

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """A whole number in [low, high]."""
        ...


def pick(trial: Trial, name: str, choices: Sequence[Any]) -> int:
    """The position of the choice of a categorical parameter among different ``choices``."""
    return list(choices).index(trial.suggest_categorical(name, list(choices)))


def suggested(space: Space, trial: Trial) -> Data:
    """An architecture by parameters that know nothing of the space but its vocabulary.

    The number of nodes, every node's operation and every edge (with its operation, where edges
    have one) are parameters. The graph that they make is the architecture, or else its live part
    (`Space.prune`).

    Args:
        space: The space.
        trial: The trial.

    Raises:
        optuna.TrialPruned: neither is an architecture of the space.
    """
    most = space.max_nodes
    n = trial.suggest_int("nodes", 1, most) if most > 1 else 1
    ops = [pick(trial, f"op_{v}", space.ops) for v in range(most)][:n]
    adjacency = np.zeros((most, most), dtype=np.int64)
    for i, j in zip(*np.triu_indices(most, 1), strict=True):
        name = f"edge_{i}_{j}"
        if space.edge_ops:
            adjacency[i, j] = pick(trial, name, [None, *space.edge_ops])
        else:
            adjacency[i, j] = trial.suggest_int(name, 0, 1)
    with_ops = bool(space.edge_ops)
    graph = architecture(adjacency[:n, :n], ops, len(space.ops), edge_ops=with_ops)
    try:
        space.validate(graph)
    except GraphError as error:
        live = space.prune(single(graph)).data(0)
        try:
            space.validate(live)
        except GraphError:
            from optuna import TrialPruned

            raise TrialPruned(str(error)) from error
        return live
    return graph
