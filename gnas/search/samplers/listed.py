"""A searcher that goes through given architectures: every one of a table to be, for example."""

from __future__ import annotations

import numpy as np

from gnas.geometric import Data
from gnas.graphs import DenseBatch
from gnas.search.samplers.base import Searcher, SpaceExhausted
from gnas.spaces.base import Space


class ListedSearch(Searcher):
    """Given architectures in their order; none needs the result of another.

    Args:
        space: Theirs.
        graphs: The architectures.
        seed: Without influence.
    """

    name = "listed"
    may_repeat = True

    def __init__(self, space: Space, graphs: DenseBatch, *, seed: int = 0) -> None:
        super().__init__(space, seed=seed)
        self._graphs = graphs

    def needs(self, number: int, parallel: int) -> int:
        """See `Searcher.needs`: nothing."""
        return 0

    def _propose(self, rng: np.random.Generator) -> Data:
        if self.asked >= len(self._graphs):
            raise SpaceExhausted(f"the list must go on, but ends after {len(self._graphs)}")
        return self._graphs.data(self.asked)
