"""Result of a supernet search: the derived architecture, and how it came about."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from gnas.geometric import Data
from gnas.search.toponas.arch import derived_codes
from gnas.search.toponas.bilevel import BilevelOptimizer
from gnas.search.toponas.config import ToponasConfig
from gnas.search.toponas.state import SearchState
from gnas.spaces.base import Space
from gnas.spaces.toponas.genotype import Genotype


@dataclass(frozen=True)
class SupernetSearchResult:
    """Result of a supernet search.

    Examples:
        >>> from gnas.search import search_toponas
        >>> from gnas.search.toponas.plan import plan_search
        >>> from gnas.data.images import open_search_images, search_loaders
        >>> from gnas.spaces import NASBench201
        >>> plan = plan_search(
        ...     "digits", space="nasbench201",
        ...     epochs=1, channels=2, num_cells=1, batch_size=400, image_size=8,
        ... )
        >>> loaders = search_loaders(open_search_images(plan.images), plan.config.batch_size)
        >>> found = search_toponas(NASBench201(), loaders, plan.config)
        >>> found.text == NASBench201().to_str(found.architecture), len(found.epochs)
        (True, 1)
    """

    config: ToponasConfig = field(repr=False)
    architecture: Data
    """The derived architecture, of the space."""
    text: str
    """The same in the space's notation."""
    derived: dict[str, str]
    """Derivation of each cell: "argmax" of every node's sets of edges, or "best valid" joint
    topology where that left a node without input."""
    epoch: int
    """The epoch, from 1, whose architecture was derived: the last one, unless `stop_eigenvalue`
    went back to an earlier one."""
    metrics: dict[str, Any]
    """Metrics of the epoch derived."""
    epochs: list[dict[str, Any]] = field(repr=False)
    """Metrics of every epoch."""
    history: dict[str, Tensor] = field(repr=False)
    """alpha, beta and s (``alpha.normal``, ...) before the first and after every epoch:
    [epochs + 1, ...]."""
    supernet_params: int
    """Weights of the supernet."""
    seconds: float
    """Time spent on the steps."""
    stopped: str | None
    """Reason for an early stop, if any."""
    bilevel: BilevelOptimizer = field(repr=False)
    """The supernet with its weights, and alpha and beta as they derive the architecture."""

    @property
    def genotype(self) -> Genotype:
        """The architecture in the DARTS family's notation.

        Raises:
            GraphError: it is of another space.
        """
        return Genotype.from_graph(self.architecture)


def search_result(space: Space, state: SearchState) -> SupernetSearchResult:
    """Result of a search that ended.

    Args:
        space: Space to derive in.
        state: State of the search.
    """
    bilevel = state.bilevel
    chosen = state.chosen or len(state.epochs)
    if state.chosen is not None:
        bilevel.arch.restore(state.snapshots[chosen])
    cells = bilevel.arch.derive()
    architecture = bilevel.arch.form.graph(derived_codes(cells))
    space.validate(architecture)
    return SupernetSearchResult(
        config=bilevel.config,
        architecture=architecture,
        text=space.to_str(architecture),
        derived={name: cell.how for name, cell in cells.items()},
        epoch=chosen,
        metrics=state.epochs[chosen - 1],
        epochs=state.epochs,
        history=state.history(),
        supernet_params=sum(p.numel() for p in bilevel.w),
        seconds=state.seconds,
        stopped=state.stopped,
        bilevel=bilevel,
    )
