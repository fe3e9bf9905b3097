"""Regularized evolution (aging evolution), and NSGA-II for several objectives."""

from __future__ import annotations

import numpy as np

from gnas.geometric import Data
from gnas.search.pareto import pareto_order
from gnas.search.samplers.base import Scored, Searcher
from gnas.search.settings import POPULATION, TOURNAMENT, EvolutionSettings
from gnas.spaces.base import Space

PARETO_TOURNAMENT = 2
"""Tournament size of NSGA-II, for several objectives."""
CHILDREN = 10
"""Choice: mutations of one parent that may all be known before another parent is drawn."""
TOURNAMENTS = 20
"""Choice: parents tried before a random architecture takes the child's place."""


class RegularizedEvolution(Searcher):
    """Regularized (aging) evolution; NSGA-II with several objectives.

    With one objective, the population is the last ``population`` architectures told. Every child
    is one mutation of the best of ``tournament`` members, drawn with replacement. Before
    ``population`` were told, architectures are random.

    With several objectives, the population is the ``population`` fittest of all that were told, by
    non-dominated rank and crowding distance, and a child is a mutation of the fitter of
    `PARETO_TOURNAMENT` members. Its steady state differs from NSGA-II's generations, and there is
    no crossover, which spaces do not have.

    Deliberate differences from Real et al.: a child that was seen before is mutated from its
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
    2019, algorithm 1; Deb et al., NSGA-II, IEEE Transactions on Evolutionary Computation 2002.

    Examples:
        >>> from gnas.spaces import NASBench201
        >>> searcher = RegularizedEvolution(NASBench201(), seed=0)
        >>> for _ in range(10):
        ...     cell = searcher.ask()
        ...     searcher.tell(cell, float(cell.num_edges))
        >>> len(searcher.told)
        10
    """

    def __init__(
        self,
        space: Space,
        *,
        population: int = POPULATION,
        tournament: int = TOURNAMENT,
        seed: int = 0,
    ) -> None:
        EvolutionSettings(population=population, tournament=tournament)
        super().__init__(space, seed=seed)
        self.population = population
        self.tournament = tournament

    @property
    def random_start(self) -> int:
        """See `Searcher.random_start`."""
        return self.population

    def _propose(self, rng: np.random.Generator) -> Data:
        if len(self.told) < self.population:
            return self._random(rng)
        several = len(self.goal.objectives) > 1
        alive = self._fittest() if several else self.told[-self.population :]
        size = PARETO_TOURNAMENT if several else self.tournament
        for _ in range(TOURNAMENTS):
            drawn = rng.integers(len(alive), size=size).tolist()
            if several:  # the fittest come first
                parent = alive[min(drawn)]
            else:
                parent = max((alive[i] for i in drawn), key=lambda member: member.merit)
            for _ in range(CHILDREN):
                child = self.space.mutate(parent.graph.clone(), rng)
                if self._is_new(self.key(child)) and self._is_allowed(child):
                    return child
        return self._random(rng)

    def _fittest(self) -> list[Scored]:
        """The population of several objectives, the fittest first."""
        values = np.array([scored.values for scored in self.told])
        violation = np.array([scored.violation for scored in self.told])
        order = pareto_order(values, violation)[: self.population]
        return [self.told[i] for i in order.tolist()]
