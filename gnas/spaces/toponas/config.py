"""Size and form of the networks of pairs of DARTS cells."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from gnas.config import Channels, Count, Depth, check_choice, configuration
from gnas.errors import ConfigError
from gnas.topology_options import Mode, TopologySpace, check_codes


@configuration
class DartsNetworkConfig:
    """Size and form of a derived network; the defaults are DARTS' on CIFAR-10.

    On ImageNet: ``stem="imagenet", num_classes=1000, channels=48, num_cells=14``.

    Examples:
        >>> config = DartsNetworkConfig(stem="imagenet", channels=48, num_cells=14)
        >>> config.in_channels, config.auxiliary
        (3, False)
        >>> DartsNetworkConfig(channels=35)
        Traceback (most recent call last):
        gnas.errors.ConfigError: channels must be even, but got 35
    """

    in_channels: Channels = 3
    """Image channels."""
    num_classes: Count = 10
    """Width of the classifier."""
    channels: Channels = 36
    """Channels of the first cells' nodes, an even number; each reduction cell doubles them."""
    num_cells: Depth = 20
    """Cells; those at 1/3 and 2/3 of the depth reduce."""
    stem: Literal["cifar", "imagenet"] = "cifar"
    """One 3x3 convolution, or three with stride 2."""
    stem_multiplier: Annotated[int, Field(ge=1, le=64)] = 3
    """Channels of the CIFAR stem, in multiples of ``channels``."""
    auxiliary: bool = False
    """A second classifier after the last reduction cell, in training only."""

    def __post_init__(self) -> None:
        if self.channels % 2:
            raise ConfigError(f"channels must be even, but got {self.channels}")


NETWORK = DartsNetworkConfig
"""See `gnas.spaces.names.network_config`."""


def check_toponas(
    num_nodes: int = 7,
    *,
    topology: TopologySpace = "arbitrary",
    k: int = 2,
    mode: Mode = "output",
    concat: Literal["all", "some"] = "all",
) -> None:
    """Check the arguments of `gnas.spaces.TopoNAS`.

    Raises:
        ConfigError: one is impossible.
    """
    check_codes(num_nodes, topology, k, mode, name="topology")
    check_choice(concat, "concat", ("all", "some"))


ARGUMENTS = {"TopoNAS": check_toponas}
"""See `gnas.spaces.names.check_space`."""
