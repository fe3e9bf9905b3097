"""Configuration of a graph-network encoder: its graphs, its network, its pretraining."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

from gnas.config import check_seed
from gnas.encoders.networks import NETWORKS, GPSNetwork
from gnas.errors import ConfigError
from gnas.spaces import SPACES
from gnas.spaces.vocabulary import Vocabulary

MOST = 100_000
"""Largest width, number of steps and the like: a damaged header must not ask for all memory."""
TASKS = ("properties", "flow", "masked", "wl")


@dataclass(frozen=True, kw_only=True)
class GraphEncoderConfig:
    """The recipe of one `gnas.encoders.GraphEncoder`; written beside its weights.

    Raises:
        ConfigError: an option is outside its range; the message names it.
    """

    vocabulary: Vocabulary
    """What its graphs mean."""
    space: str = ""
    """Key in `gnas.spaces.SPACES` of the space whose cells it is pretrained on; empty for graphs
    of one's own."""
    network: str = "dag"
    """Of `gnas.encoders.networks.NETWORKS`."""
    width: int = 48
    """Width of the states of nodes."""
    layers: int = 1
    """Layers of the network."""
    dim: int = 64
    """Width d of the embedding."""
    tasks: tuple[str, ...] = ("properties",)
    """What it is pretrained on, of `TASKS`, with equal weights; see `gnas.encoders.tasks`."""
    pool: int = 20_000
    """Cells that are drawn for pretraining, where the space is too large to take all."""
    steps: int = 1500
    """Optimiser steps of the pretraining."""
    batch_size: int = 256
    """Graphs of a step."""
    learning_rate: float = 4e-3
    """Peak of the one-cycle schedule."""
    seed: int = 0
    """Seed of weights, pool and batches."""

    def __post_init__(self) -> None:
        check_seed(self.seed)
        for name in ("width", "layers", "dim", "pool", "steps", "batch_size"):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= MOST:
                raise ConfigError(f"{name} must be a whole number in [1, {MOST}], but got {value}")
        if self.network not in NETWORKS:
            raise ConfigError(
                f"network must be one of {sorted(NETWORKS)}, but got {self.network!r}"
            )
        if set(self.tasks) - set(TASKS) or not self.tasks:
            raise ConfigError(f"tasks must be some of {list(TASKS)}, but got {self.tasks}")
        if self.network == "gps" and self.width % GPSNetwork.HEADS:
            raise ConfigError(
                f"width must be a multiple of {GPSNetwork.HEADS} for gps, but got {self.width}"
            )
        if "wl" in self.tasks and self.batch_size < 2:
            raise ConfigError(f"batch_size must be at least 2 for wl, but got {self.batch_size}")
        if not 0 < self.learning_rate < 1:
            raise ConfigError(f"learning_rate must be in (0, 1), but got {self.learning_rate}")

    def to_json(self) -> str:
        """One line of JSON that `from_json` reads back."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> GraphEncoderConfig:
        """The config that `to_json` wrote.

        Raises:
            ConfigError: the text is no JSON object, or its fields do not fit.
        """
        try:
            record = json.loads(text)
            if set(record) - {field.name for field in fields(GraphEncoderConfig)}:
                raise ValueError("unknown fields")
            vocabulary = Vocabulary.from_record(record.pop("vocabulary"))
            tasks = tuple(record.pop("tasks", ("properties",)))
            return GraphEncoderConfig(vocabulary=vocabulary, tasks=tasks, **record)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(
                f"an encoder config must be a JSON object with its fields, but got {text[:80]!r}"
            ) from error


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

    Raises:
        ConfigError: none has this name.
    """
    if name not in GRAPH_PRESETS:
        raise ConfigError(f"unknown encoder '{name}'; choose from {sorted(GRAPH_PRESETS)}")
    space, network = GRAPH_PRESETS[name]
    vocabulary = SPACES[space]().vocabulary
    return GraphEncoderConfig(
        vocabulary=vocabulary,
        space=space,
        network=network,
        layers=_LAYERS[network],
        **(_LARGE if vocabulary.most_nodes >= LARGE else {}),
    )
