"""Size of the networks of NAS-Bench-201 cells."""

from __future__ import annotations

from gnas.config import Channels, Count, Depth, configuration


@configuration
class NASBench201NetworkConfig:
    """Size of a NAS-Bench-201 network; the defaults are the benchmark's own."""

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
