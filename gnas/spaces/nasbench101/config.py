"""Size of the networks of NAS-Bench-101 cells."""

from __future__ import annotations

from collections.abc import Mapping

from gnas.config import Channels, Count, Depth, Stages, configuration


@configuration
class NASBench101NetworkConfig:
    """Size of a NAS-Bench-101 network; the defaults are the benchmark's own.

    Examples:
        >>> NASBench101NetworkConfig(num_classes=100).stem_channels
        128
    """

    in_channels: Channels = 3
    """Image channels."""
    num_classes: Count = 10
    """Width of the classifier."""
    stem_channels: Channels = 128
    """Channels of the first stack; each later stack doubles them."""
    num_stacks: Stages = 3
    """Stacks, with a 2x2 max-pool between them."""
    cells_per_stack: Depth = 3
    """Cells in each stack."""


NETWORK = NASBench101NetworkConfig
"""See `gnas.spaces.names.network_config`."""
TABLE_IMAGES: Mapping[str, tuple[str | None, str | None]] = {"cifar10": (None, None)}
"""See `gnas.spaces.Space.table_images`."""
