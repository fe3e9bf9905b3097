"""Zero-cost proxies as what a predictor sees, alone or beside other features."""

from __future__ import annotations

from dataclasses import dataclass, field

from gnas.graphs import Graphs, as_batch
from gnas.predictors.features import FeatureMatrix
from gnas.proxies import ProxyConfig, ProxyStore, compute_proxies
from gnas.spaces.base import Space, check_is_space
from gnas.spaces.vocabulary import check_vocabulary


@dataclass(frozen=True)
class ZeroCost:
    """Rows are zero-cost proxies of untrained networks: see `gnas.proxies`.

    Some 30 architectures a second and core, so give a ``store`` with a file where many are
    measured; what was measured once is remembered in any case.

    Args:
        space: Space of the architectures.
        config: Proxies and their networks.
        store: Store of computed values.

    Raises:
        GraphError: when called with a graph that is not of ``space``.

    Examples:
        >>> from gnas.spaces import NASBench201
        >>> space = NASBench201()
        >>> features = ZeroCost(space, ProxyConfig(proxies=("params", "macs")))
        >>> features(space.enumerate()[:2]).shape
        (2, 2)
    """

    space: Space
    config: ProxyConfig = field(default_factory=ProxyConfig)
    store: ProxyStore = field(default_factory=ProxyStore, compare=False, repr=False)

    def __post_init__(self) -> None:
        check_is_space(self.space)

    @property
    def name(self) -> str:
        """The proxies' names."""
        return ", ".join(self.config.proxies)

    def __call__(self, graphs: Graphs) -> FeatureMatrix:
        """Rows float64 [N, number of proxies]."""
        batch = as_batch(graphs)
        check_vocabulary(batch, len(self.space.ops), len(self.space.edge_ops))
        return compute_proxies(self.space, batch, self.config, store=self.store)
