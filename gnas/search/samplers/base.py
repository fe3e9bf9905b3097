"""What every searcher can do: it is asked for architectures and told how good they are."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from torch_geometric.data import Data

from gnas.config import check_seed
from gnas.errors import ConfigError
from gnas.graphs import DenseBatch, as_batch, graph_keys
from gnas.spaces.base import Space

DRAWS = (1, 4, 64, 1024, 8192, 8192)
"""Sizes of the batches drawn one after another until one holds a new architecture."""


@dataclass(frozen=True, eq=False)
class Scored:
    """An architecture with its score; equal to itself only."""

    graph: Data
    key: int
    """`Searcher.key` of the graph."""
    score: float


class Searcher(ABC):
    """Chooses the next architecture to score; a higher score is better.

    Whoever evaluates architectures calls `ask` and, when the score is known, `tell`. Several may
    be asked for before the first is told, and any architecture of the space may be told whether
    it was asked for or not. No two architectures that are the same network, drawn differently, are
    ever asked for.

    The state is what was told, in that order, and what was asked for and not told yet; the
    randomness of an `ask` depends on the seed and on how many came before. So `restore` can put a
    searcher anywhere, and what it asks for from there on is what a searcher that never stopped
    would have asked for.

    Subclasses say how to choose (`_propose`); those that keep more than ``told`` extend `_add` and
    `_forget`.

    Args:
        space: Where the architectures come from.
        seed: Fixes every random choice.

    Raises:
        ConfigError: the seed is no whole number from 0 below 2^63.
    """

    def __init__(self, space: Space, *, seed: int = 0) -> None:
        self.space = space
        self.seed = check_seed(seed)
        self.asked = 0
        """How often `ask` was called."""
        self.told: list[Scored] = []
        """Everything that was told, oldest first."""
        self._told: set[int] = set()
        self._pending: set[int] = set()
        self._dropped: set[int] = set()
        self._keys: dict[str, int] = {}

    def ask(self) -> Data:
        """An architecture that was neither asked for nor told before.

        Raises:
            ConfigError: there is none left.
        """
        found = self._propose(np.random.default_rng((self.seed, self.asked)))
        graph = self.space.from_str(self.space.to_str(found))  # as it is after any restart
        self.asked += 1
        self._pending.add(self.key(graph))
        return graph

    def tell(self, graph: Data, score: float) -> None:
        """Learns the score of an architecture; told twice, it counts twice.

        Raises:
            ConfigError: the score is not finite.
            GraphError: the architecture is not of this space.
        """
        score = float(score)
        if not math.isfinite(score):
            raise ConfigError(
                f"a score must be finite, but got {score}; leave out what could not be scored"
            )
        key = self.key(graph)
        if key not in self._pending:
            self.space.validate(graph)
        self._pending.discard(key)
        self._add(Scored(graph, key, score))

    def restore(
        self,
        told: Sequence[Scored],
        *,
        asked: int,
        pending: Collection[int] = (),
        dropped: Collection[int] = (),
    ) -> None:
        """Puts the searcher where it would be with this past; cheap if that only grew.

        Args:
            told: All scored architectures, oldest first.
            asked: Number of calls of `ask` so far: fixes the randomness of the next one.
            pending: Keys of architectures that are being evaluated.
            dropped: Keys of architectures that were asked for and will never be told, as their
                evaluation failed.
        """
        self.asked = asked
        self._pending, self._dropped = set(pending), set(dropped)
        if self.told != list(told[: len(self.told)]):
            self._forget()
        for scored in told[len(self.told) :]:
            self._add(scored)

    def key(self, graph: Data) -> int:
        """Equal for architectures that are the same network: see `Space.functional`."""
        text = self.space.to_str(graph)
        if text not in self._keys:
            self._keys[text] = self.keys(as_batch(graph))[0]
        return self._keys[text]

    def keys(self, batch: DenseBatch) -> list[int]:
        """`key` of every architecture of a batch, much faster."""
        found: list[int] = graph_keys(self.space.functional(batch)).tolist()
        return found

    @abstractmethod
    def _propose(self, rng: np.random.Generator) -> Data:
        """The next architecture, one that `_is_new`; changes no state.

        `_random` gives one where there is nothing better to go by.
        """

    def _add(self, scored: Scored) -> None:
        """Learns from an architecture that was told."""
        self.told.append(scored)
        self._told.add(scored.key)

    def _forget(self) -> None:
        """Forgets all that was told."""
        self.told, self._told = [], set()

    def _is_new(self, key: int) -> bool:
        """Whether no architecture with this key was asked for or told."""
        return not (key in self._told or key in self._pending or key in self._dropped)

    def _is_settled(self, key: int) -> bool:
        """Whether all that will ever be known of this architecture is known."""
        return key in self._told or key in self._dropped

    def _random(self, rng: np.random.Generator) -> Data:
        """A new architecture drawn from the space's own distribution.

        Raises:
            ConfigError: there is none, or none in some 17,000 draws.
        """
        for count in DRAWS:
            batch = self.space.sample_batch(count, rng)
            for row, key in enumerate(self.keys(batch)):
                if self._is_new(key):
                    return batch.data(row)
        if self.space.size is not None:
            batch = self.space.enumerate()
            new = [row for row, key in enumerate(self.keys(batch)) if self._is_new(key)]
            if new:
                return batch.data(new[int(rng.integers(len(new)))])
        raise ConfigError(
            f"space '{self.space.name}' must have an architecture that was not asked for yet, but "
            f"none is left after {len(self._told | self._pending | self._dropped)}; stop here"
        )
