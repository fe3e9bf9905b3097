"""Local search: try everything next to the best, then start somewhere else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from gnas.geometric import Data
from gnas.graphs import DenseBatch
from gnas.search.pareto import non_dominated
from gnas.search.samplers.base import Scored, Searcher
from gnas.search.settings import STARTS, LocalSettings
from gnas.spaces.base import Space, list_neighbours

KEPT = 200
"""Architectures of which the neighbours are kept in memory."""


@dataclass(frozen=True)
class _Neighbours:
    graphs: DenseBatch
    keys: list[int]


class LocalSearch(Searcher):
    """Local search: climbs from the best of ``starts`` random architectures, again and again.

    The neighbours of the best architecture of a climb are asked for in random order; one that is
    better becomes the best at once (the paper's "query until lower" variant, which it recommends
    for large spaces). When all neighbours of the best are known, the next climb begins.

    With several objectives a climb goes on from every architecture that none of the climb
    dominates, the oldest first (Pareto local search).

    A neighbour is one edit away (`gnas.spaces.base.Space.neighbours`). While the last neighbours
    of a climb are being evaluated elsewhere, the next random starts are asked for.

    Args:
        space: See `Searcher`.
        starts: Random architectures at the beginning of every climb.
        seed: See `Searcher`.

    Raises:
        ConfigError: ``starts`` is less than 1.

    Source: White et al., Exploring the Loss Landscape in Neural Architecture Search, UAI 2021
    (arXiv 2005.02960, 2020), algorithm 1 and its variants; Paquete et al., Pareto Local Optimum
    Sets in the Biobjective Traveling Salesman Problem, 2004.

    Examples:
        >>> from gnas.spaces import NASBench201
        >>> searcher = LocalSearch(NASBench201(), seed=0)
        >>> for _ in range(10):
        ...     cell = searcher.ask()
        ...     searcher.tell(cell, float(cell.num_edges))
        >>> len(searcher.told)
        10
    """

    def __init__(self, space: Space, *, starts: int = STARTS, seed: int = 0) -> None:
        LocalSettings(starts=starts)
        super().__init__(space, seed=seed)
        self.starts = starts
        self._climb: list[Scored] = []
        self._around: dict[int, _Neighbours] = {}

    def _propose(self, rng: np.random.Generator) -> Data:
        if len(self._climb) >= self.starts:
            for best in self._best():
                around = self._neighbours(best)
                new = [row for row, key in enumerate(around.keys) if self._is_new(key)]
                if new:
                    return around.graphs.data(new[int(rng.integers(len(new)))])
        return self._random(rng)

    def _add(self, scored: Scored) -> None:
        if self._at_optimum():
            self._climb = []
        self._climb.append(scored)
        super()._add(scored)

    def _forget(self) -> None:
        self._climb, self._around = [], {}
        super()._forget()

    def _at_optimum(self) -> bool:
        """Whether every neighbour of the climb's best is known: none is better."""
        return len(self._climb) >= self.starts and all(
            self._is_settled(key) for best in self._best() for key in self._neighbours(best).keys
        )

    def _best(self) -> list[Scored]:
        """The best of the climb; with several objectives, those that none of it dominates."""
        if len(self.goal.objectives) == 1:
            return [max(self._climb, key=lambda scored: scored.merit)]
        values = np.array([scored.values for scored in self._climb])
        violation = np.array([scored.violation for scored in self._climb])
        return [self._climb[i] for i in sorted(non_dominated(values, violation))]

    def _neighbours(self, scored: Scored) -> _Neighbours:
        if scored.key not in self._around:
            graphs = list_neighbours(self.space, scored.graph)
            graphs = graphs[torch.from_numpy(self._allowed(graphs))]
            self._around[scored.key] = _Neighbours(graphs, self.keys(graphs))
            while len(self._around) > KEPT:  # the oldest
                del self._around[next(iter(self._around))]
        return self._around[scored.key]
