"""From any architecture to its network: which builder and which size go with which space."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from torch import nn
from torch_geometric.data import Data

from gnas.errors import ConfigError
from gnas.spaces.nasbench101.network import NASBench101NetworkConfig, nasbench101_network
from gnas.spaces.nasbench201.network import NASBench201NetworkConfig, nasbench201_network
from gnas.spaces.nasgem.network import NasgemNetworkConfig, nasgem_network
from gnas.spaces.texts import space_of
from gnas.spaces.toponas.network import DartsNetworkConfig, darts_network

NetworkConfig = (
    DartsNetworkConfig | NASBench101NetworkConfig | NASBench201NetworkConfig | NasgemNetworkConfig
)
"""Size and form of a network; every one has ``in_channels`` and ``num_classes``."""


@dataclass(frozen=True)
class Family:
    """How the architectures of one kind of space become networks."""

    config: type[NetworkConfig]
    """Size and form; its defaults are the paper's own network for CIFAR-10."""
    build: Callable[[Data, Any], nn.Module]
    """Builds a network from an architecture and a ``config``."""
    depth: str = "num_cells"
    """The field of ``config`` that says how many cells there are, of a stage or altogether."""
    width: str = "channels"
    """The field of ``config`` that says how many channels the first cells have."""


FAMILIES: dict[str, Family] = {
    "nasbench101": Family(
        NASBench101NetworkConfig, nasbench101_network, "cells_per_stack", "stem_channels"
    ),
    "nasbench201": Family(NASBench201NetworkConfig, nasbench201_network, "cells_per_stage"),
    "nasgem": Family(NasgemNetworkConfig, nasgem_network, "cells_per_stage"),
    "toponas": Family(DartsNetworkConfig, darts_network),
}
"""By the name of the space."""


def build_network(graph: Data, config: NetworkConfig | None = None) -> nn.Module:
    """The network of an architecture of any space.

    Args:
        graph: The architecture, whose form says which space it is from.
        config: Size and form; None for the paper's own network for CIFAR-10.

    Shapes:
        The network maps [B, in_channels, H, W] to logits [B, num_classes].

    Raises:
        GraphError: no space has such graphs, or ``graph`` breaks a rule of its own.
        ConfigError: ``config`` is that of another space's networks.
    """
    space = space_of(graph)
    family = FAMILIES[space.name]
    if config is not None and not isinstance(config, family.config):
        raise ConfigError(
            f"networks of '{space.name}' must have a {family.config.__name__}, "
            f"but got a {type(config).__name__}"
        )
    return family.build(graph, config)


def network_config(graph: Data, **size: Any) -> NetworkConfig:
    """The config of an architecture's network from the fields that are not None.

    Raises:
        GraphError: no space has such graphs.
        ConfigError: the space's networks have no such field, or not this value.
    """
    space = space_of(graph)
    config = FAMILIES[space.name].config
    given = {field: value for field, value in size.items() if value is not None}
    known = {field.name: field.default for field in fields(config)}
    for field, value in given.items():
        if field not in known:
            raise ConfigError(
                f"networks of '{space.name}' have no '{field}'; choose from {list(known)}"
            )
        if type(value) is not type(known[field]):
            raise ConfigError(
                f"{field} must be of the type of {known[field]!r}, but got {value!r:.60}"
            )
    return config(**given)
