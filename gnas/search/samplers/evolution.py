"""Regularised evolution: the best of a small random sample has a child, the oldest dies."""

from __future__ import annotations

import numpy as np
from torch_geometric.data import Data

from gnas.errors import ConfigError
from gnas.search.samplers.base import Searcher
from gnas.spaces.base import Space

POPULATION, TOURNAMENT = 30, 10
"""Choice: sizes for some hundred evaluations; Real et al. have 100 and 25 for 20,000."""
CHILDREN = 10
"""Choice: mutations of one parent that may all be known before another parent is drawn."""
TOURNAMENTS = 20
"""Choice: parents tried before a random architecture takes the child's place."""


class RegularizedEvolution(Searcher):
    """Evolution in which age, not fitness, decides who leaves.

    The population is the last ``population`` architectures told. Every child is one mutation of
    the best of ``tournament`` members, drawn with replacement. Before ``population`` were told,
    architectures are random.

    Deliberate differences from the paper: a child that was seen before is mutated from its
    parent again; mutations are those of the space, without the paper's identity mutation, which
    would evaluate the same architecture twice.

    Args:
        space: See `Searcher`.
        population: Members alive.
        tournament: Members drawn to choose one parent.
        seed: See `Searcher`.

    Raises:
        ConfigError: a size is less than 1.

    Source: Real et al., Regularized Evolution for Image Classifier Architecture Search, AAAI
    2019, algorithm 1.
    """

    def __init__(
        self,
        space: Space,
        *,
        population: int = POPULATION,
        tournament: int = TOURNAMENT,
        seed: int = 0,
    ) -> None:
        if population < 1 or tournament < 1:
            raise ConfigError(
                "population and tournament must be at least 1, "
                f"but got {population} and {tournament}"
            )
        super().__init__(space, seed=seed)
        self.population = population
        self.tournament = tournament

    def _propose(self, rng: np.random.Generator) -> Data:
        if len(self.told) < self.population:
            return self._random(rng)
        alive = self.told[-self.population :]
        for _ in range(TOURNAMENTS):
            drawn = rng.integers(len(alive), size=self.tournament).tolist()
            parent = max((alive[i] for i in drawn), key=lambda member: member.score)
            for _ in range(CHILDREN):
                child = self.space.mutate(parent.graph, rng)
                if self._is_new(self.key(child)):
                    return child
        return self._random(rng)
