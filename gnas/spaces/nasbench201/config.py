"""Size of the networks of NAS-Bench-201 cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gnas.config import Channels, Count, Depth, configuration


@configuration
class NASBench201NetworkConfig:
    """Size of a NAS-Bench-201 network; the defaults are the benchmark's own.

    Examples:
        >>> NASBench201NetworkConfig(num_classes=100).channels
        16
    """

    in_channels: Channels = 3
    """Image channels."""
    num_classes: Count = 10
    """Width of the classifier."""
    channels: Channels = 16
    """Channels of the first stage; each later stage doubles them."""
    cells_per_stage: Depth = 5
    """Cells in each of the three stages."""


NETWORK = NASBench201NetworkConfig
"""See `gnas.spaces.names.network_config`."""
TABLE_IMAGES: Mapping[str, tuple[str | None, str | None]] = {
    "cifar10": ("cifar10-valid", "cifar10"),
    "cifar100": ("cifar100", "cifar100"),
    "imagenet16-120": ("ImageNet16-120", "ImageNet16-120"),
}
"""See `gnas.spaces.Space.table_images`."""
SUPERNET_SIZES: Mapping[str, Mapping[str, Any]] = {
    "cpu": {
        "num_nodes": 4,
        "channels": 8,
        "num_cells": 1,
        "epochs": 20,
        "batch_size": 128,
        "lr": 0.05,
        "arch_lr": 0.01,
    },
    "paper": {"num_nodes": 4, "channels": 16, "num_cells": 5},
}
"""Fields of `gnas.search.toponas.ToponasConfig` by size; the first is the default.

Choice: "cpu" takes minutes on one core for about 10,000 images of 16 x 16 pixels. It has the
smallest supernet that still tells operations apart, and rates at which alpha and beta can move in
some 500 steps. "paper" has the size of the benchmark's own searches on 32 x 32 pixels.
"""
