"""Proxies of many architectures: each function's network is built and measured once."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from gnas.config import Seed, checked, configuration
from gnas.data.images.config import LARGEST
from gnas.errors import ConfigError
from gnas.geometric import Data
from gnas.graphs import DenseBatch, Graphs, as_batch
from gnas.models import num_macs, num_params
from gnas.processes import ProgressCallback
from gnas.proxies.naswot import naswot
from gnas.proxies.store import ProxyStore
from gnas.proxies.synflow import synflow
from gnas.spaces.base import Space, check_is_space
from gnas.spaces.networks import NetworkConfig
from gnas.training.devices import own_generator, own_settings

Proxy = Callable[[nn.Module, Tensor], float]
"""An untrained network and images [B, C, H, W] -> a score; more is better, if it is any good."""
Values = NDArray[np.float64]
Indices = NDArray[np.int64]


def log_params(network: nn.Module, images: Tensor) -> float:
    """Logarithm of the number of parameters; ``images`` do not matter."""
    return math.log(num_params(network))


def log_macs(network: nn.Module, images: Tensor) -> float:
    """Logarithm of the multiply-accumulates for one of the images."""
    channels, height, width = images.shape[1:]
    return math.log(num_macs(network, (channels, height, width)))


PROXIES: dict[str, Proxy] = {
    "synflow": synflow,
    "naswot": naswot,
    "params": log_params,
    "macs": log_macs,
}
"""By name. All grow like a logarithm, so that none has outliers."""


@configuration
class ProxyConfig:
    """Proxies to compute, with their network and images.

    Raises:
        ConfigError: no or unknown proxies, or a number that cannot work.

    Examples:
        >>> ProxyConfig(proxies=("synflow",), num_images=16).image_size
        8
        >>> ProxyConfig(proxies=("nonsense",))
        Traceback (most recent call last):
        gnas.errors.ConfigError: proxies must be some of ...
    """

    proxies: tuple[str, ...] = tuple(PROXIES)
    """Keys of `PROXIES`: the columns."""
    network: Any = None
    """Size and form of the networks, a `NetworkConfig`; None for the space's small ones."""
    image_size: Annotated[int, Field(ge=4, le=LARGEST)] = 8
    """Height and width in pixels."""
    num_images: Annotated[int, Field(ge=2, le=100_000)] = 32
    """Images that NASWOT compares, of Gaussian noise."""
    seed: Seed = 0
    """Seed of the weights and of the images."""

    def __post_init__(self) -> None:
        if not self.proxies or not set(self.proxies) <= set(PROXIES):
            raise ConfigError(f"proxies must be some of {list(PROXIES)}, but got {self.proxies!r}")


@own_settings()
def compute_proxies(
    space: Space,
    graphs: Graphs,
    config: ProxyConfig | None = None,
    *,
    store: ProxyStore | None = None,
    progress: ProgressCallback | None = None,
) -> Values:
    """Every proxy of every architecture.

    Architectures that compute the same function (`Space.representative`) are measured once and
    have the same row. A row depends on its architecture alone: every network starts from the
    same seed. The global generators stay as they are.

    Args:
        space: Space of the architectures.
        graphs: N architectures.
        config: Proxies to compute; None for the defaults.
        store: Remembers what was measured; takes up where a stopped measurement was.
        progress: Called with (functions measured, functions in all).

    Shapes:
        N architectures -> float64 [N, number of proxies], finite.

    Raises:
        GraphError: an architecture is not of ``space``.
        ConfigError: ``config.network`` is of another space, or the store of other measurements.
        UnsupportedError: a proxy is not defined for a network.

    Examples:
        >>> from gnas.spaces import NASBench201
        >>> space = NASBench201()
        >>> config = ProxyConfig(proxies=("params", "macs"))
        >>> compute_proxies(space, space.enumerate()[:3], config).shape
        (3, 2)
    """
    check_is_space(space)
    config = config or ProxyConfig()
    if not isinstance(config, ProxyConfig):
        raise ConfigError(f"config must be a ProxyConfig, but is {config!r:.80}")
    if not (store is None or isinstance(store, ProxyStore)):
        raise ConfigError(f"store must be a ProxyStore, but is {store!r:.80}")
    store = ProxyStore() if store is None else store
    store.open(space, config)
    batch = as_batch(graphs)
    if not len(batch):
        return np.zeros((0, len(config.proxies)))
    representatives = space.representative(batch)
    first, group = _distinct(representatives)
    network = config.network or small_network(space)
    images = _images(config, network.in_channels)
    found = []
    for i, row in enumerate(first.tolist()):
        space.validate(batch.data(row))
        graph = representatives.data(row)
        text = space.to_str(graph)
        if text not in store:
            store.add(text, measure_one(space, graph, images, config))
        found.append(store[text])
        if progress is not None:
            progress(i + 1, len(first))
    values: Values = np.array(found)[group]
    return values


def measure_one(
    space: Space, graph: Data, images: Tensor, config: ProxyConfig
) -> tuple[float, ...]:
    """The proxies of one architecture, as it is.

    Args:
        space: Space of the architecture.
        graph: The architecture.
        images: Input images.
        config: Proxies to compute.

    Shapes:
        images [B, C, H, W].
    """
    with own_generator(config.seed):
        network = space.network(graph, config.network or small_network(space))
        return tuple(PROXIES[name](network, images) for name in config.proxies)


@checked
def small_network(space: Space) -> NetworkConfig:
    """The network that is measured where none is given: few cells and few channels.

    Args:
        space: One that builds networks.

    Raises:
        UnsupportedError: the space does not say how its networks are built.

    Examples:
        >>> from gnas.spaces import NASBench201
        >>> small_network(NASBench201()).channels
        8
    """
    small = {} if space.networks is None else space.networks.small
    config: NetworkConfig = space.network_config(**small)
    return config


def _images(config: ProxyConfig, channels: int) -> Tensor:
    """Gaussian noise [num_images, C, H, W]."""
    generator = torch.Generator().manual_seed(config.seed)
    size = (config.image_size, config.image_size)
    return torch.randn(config.num_images, channels, *size, generator=generator)


def _distinct(batch: DenseBatch) -> tuple[Indices, Indices]:
    """Rows of the first of all that are written alike, and the group of every row: int64 [N]."""
    parts = [batch.ops.long(), batch.adjacency.flatten(1).long()]
    rows = torch.cat(parts, 1).to(torch.int16).numpy()
    _, first, group = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    return first, group.reshape(-1)
