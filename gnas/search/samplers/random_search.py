"""Random search: what every other searcher has to beat."""

from __future__ import annotations

import numpy as np

from gnas.geometric import Data
from gnas.search.samplers.base import Searcher


class RandomSearch(Searcher):
    """Random search: draws from the space's own distribution, without repeats.

    Args:
        space: See `Searcher`.
        seed: See `Searcher`.

    Source: Li and Talwalkar, Random Search and Reproducibility for Neural Architecture Search,
    UAI 2019, section 3, without their weight sharing.

    Examples:
        >>> from gnas.spaces import NASBench201
        >>> searcher = RandomSearch(NASBench201(), seed=0)
        >>> for _ in range(10):
        ...     cell = searcher.ask()
        ...     searcher.tell(cell, float(cell.num_edges))
        >>> len(searcher.told)
        10
    """

    def _propose(self, rng: np.random.Generator) -> Data:
        return self._random(rng)
