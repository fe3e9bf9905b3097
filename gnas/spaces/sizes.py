"""Limits on the size of a network, the same for all kinds."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from gnas.errors import ConfigError

MOST = {
    "num_cells": 1000,
    "cells_per_stage": 1000,
    "cells_per_stack": 1000,
    "num_stages": 16,
    "num_stacks": 16,
}
"""Largest numbers of cells, and of stages, each of which doubles the channels: far beyond any
network that is trained, and small enough that a wrong number is said at once."""


def check_sizes(config: Any) -> None:
    """Checks that the whole numbers of a network's config are possible.

    Raises:
        ConfigError: names the first that is below 1 or above its `MOST`.
    """
    for field in fields(config):
        value = getattr(config, field.name)
        if type(value) is not int:
            continue
        if value < 1:
            raise ConfigError(f"{field.name} must be at least 1, but got {value}")
        if value > MOST.get(field.name, value):
            raise ConfigError(f"{field.name} must be at most {MOST[field.name]}, but got {value}")
