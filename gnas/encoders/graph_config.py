"""Configuration of a graph-network encoder: its graphs, its network, its pretraining."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any, Literal, cast, get_args

from pydantic import Field

from gnas.config import Seed, configuration
from gnas.encoders.config import GraphNetworkName, recipe_from_json
from gnas.encoders.networks import GPSNetwork
from gnas.errors import ConfigError
from gnas.spaces import SPACES
from gnas.spaces.vocabulary import Vocabulary

BoundedCount = Annotated[int, Field(ge=1, le=100_000)]
"""A width, a number of steps and the like: a damaged header must not ask for all memory."""
TaskName = Literal["properties", "flow", "masked", "wl"]
"""Name of a pretraining task; see `gnas.encoders.tasks`."""
TASKS: tuple[TaskName, ...] = get_args(TaskName)


@configuration
class GraphEncoderConfig:
    """The recipe of one `gnas.encoders.GraphEncoder`; written beside its weights.

    Raises:
        ConfigError: an option is outside its range; the message names it.

    Examples:
        >>> from gnas.spaces import NASBench201, Vocabulary
        >>> vocabulary = Vocabulary.of(NASBench201())
        >>> config = GraphEncoderConfig(vocabulary=vocabulary, network="gin", layers=3)
        >>> config.dim, GraphEncoderConfig.from_json(config.to_json()) == config
        (64, True)
    """

    vocabulary: Vocabulary
    """Vocabulary of its graphs."""
    space: str = ""
    """Key in `gnas.spaces.SPACES` of the space whose cells it is pretrained on; empty for graphs
    of one's own."""
    network: GraphNetworkName = "dag"
    """Name of the network in `gnas.encoders.networks.NETWORKS`."""
    width: BoundedCount = 48
    """Width of the states of nodes."""
    layers: BoundedCount = 1
    """Layers of the network."""
    dim: BoundedCount = 64
    """Width d of the embedding."""
    tasks: tuple[TaskName, ...] = ("properties",)
    """Pretraining tasks, of equal weights; see `gnas.encoders.tasks`."""
    pool: BoundedCount = 20_000
    """Cells that are drawn for pretraining, where the space is too large to take all."""
    steps: BoundedCount = 1500
    """Optimiser steps of the pretraining."""
    batch_size: BoundedCount = 256
    """Graphs of a step."""
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 4e-3
    """Peak of the one-cycle schedule."""
    seed: Seed = 0
    """Seed of weights, pool and batches."""

    def __post_init__(self) -> None:
        if not self.tasks:
            raise ConfigError("tasks must be at least one, but got none")
        if self.network == "gps" and self.width % GPSNetwork.HEADS:
            raise ConfigError(
                f"width must be a multiple of {GPSNetwork.HEADS} for gps, but got {self.width}"
            )
        if "wl" in self.tasks and self.batch_size < 2:
            raise ConfigError(f"batch_size must be at least 2 for wl, but got {self.batch_size}")

    def to_json(self) -> str:
        """One line of JSON that `from_json` reads back."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> GraphEncoderConfig:
        """The config that `to_json` wrote.

        Raises:
            ConfigError: the text is no JSON object, or its fields do not fit.
        """
        return recipe_from_json(GraphEncoderConfig, text)


_LAYERS = {"dag": 1, "gin": 3, "gps": 3}
_LARGE: dict[str, Any] = {"pool": 5_000, "steps": 600, "batch_size": 128}
"""Graphs of `LARGE` nodes and more take longer."""
LARGE = 30
GRAPH_PRESETS = {
    f"{network}-{name}": (name, network)
    for name, space in SPACES.items()
    for network in space.graph_networks
}
"""Name of every shipped graph-network encoder, and its space and network."""


def graph_preset(name: str) -> GraphEncoderConfig:
    """The recipe of a shipped graph-network encoder.

    Args:
        name: Key of `GRAPH_PRESETS`.

    Raises:
        ConfigError: none has this name.

    Examples:
        >>> graph_preset("dag-nasbench201").network
        'dag'
    """
    if name not in GRAPH_PRESETS:
        raise ConfigError(f"unknown encoder '{name}'; choose from {sorted(GRAPH_PRESETS)}")
    space, network = GRAPH_PRESETS[name]
    vocabulary = SPACES[space]().vocabulary
    return GraphEncoderConfig(
        vocabulary=vocabulary,
        space=space,
        network=cast(GraphNetworkName, network),
        layers=_LAYERS[network],
        **(_LARGE if vocabulary.most_nodes >= LARGE else {}),
    )
