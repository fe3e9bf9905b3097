"""Size and form of the networks of NASGEM cells."""

from __future__ import annotations

from typing import Literal

from gnas.config import Channels, Count, Depth, Stages, check_count, configuration
from gnas.errors import ConfigError

Generator = Literal["erdos-renyi", "barabasi-albert", "watts-strogatz"]
WiringPrior = Literal["density", "erdos-renyi", "barabasi-albert", "watts-strogatz"]
"""Random graph model of the cells."""
Parameters = dict[str, float]

DENSITIES = (0.2, 1.0)
"""Choice: each draw has its own share of the edges that a cell can have, uniform in this range.
With one density for all, the kernel between any two cells is nearly constant and an encoder has
nothing to learn."""
MAX_INPUTS = 6
"""Choice: most feature maps that a node joins. The paper caps them for the sake of memory (its
section 2) and does not say where."""
FIXED: dict[Generator, Parameters] = {
    "erdos-renyi": {"p": 0.2},
    "barabasi-albert": {"m": 5},
    "watts-strogatz": {"k": 4, "p": 0.75},
}
"""Choice, but for Watts-Strogatz: RandWire's networks of 32 nodes are WS(4, 0.75)."""
SPREAD: dict[Generator, dict[str, tuple[float, ...]]] = {
    "erdos-renyi": {"p": (0.2, 0.4, 0.6, 0.8)},
    "barabasi-albert": {"m": (1, 2, 3, 5, 7)},
    "watts-strogatz": {"k": (2, 4, 6, 8), "p": (0.25, 0.5, 0.75, 1.0)},
}
"""Choice: from sparse to dense, without the lattice that Watts-Strogatz with p = 0 is."""


@configuration
class NasgemNetworkConfig:
    """Size and form of a GEMNet-like network; the defaults are a small one for proxy trainings.

    On ImageNet: `nasgem_imagenet`.

    Examples:
        >>> NasgemNetworkConfig(channels=8, num_stages=2).stem
        'cifar'
    """

    in_channels: Channels = 3
    """Image channels."""
    num_classes: Count = 10
    """Width of the classifier."""
    channels: Channels = 16
    """Channels of every node in the first stage; each later stage doubles them."""
    num_stages: Stages = 3
    """Stages; each but the first (on ImageNet: each) halves the maps."""
    cells_per_stage: Depth = 1
    """Cells in each stage."""
    stem: Literal["cifar", "imagenet"] = "cifar"
    """One 3x3 convolution: with stride 1, or with stride 2 and a first stage that halves too."""


NETWORK = NasgemNetworkConfig
"""See `gnas.spaces.names.network_config`."""


def wiring_parameters(
    generator: Generator, num_nodes: int, *, spread: bool
) -> dict[str, tuple[float, ...]]:
    """The parameters that a generator of random graphs may draw with.

    Args:
        generator: Random graph model.
        num_nodes: Nodes of a cell.
        spread: Whether each draw takes some of `SPREAD` instead of `FIXED`.

    Raises:
        ConfigError: unknown generator, or too few nodes for it.
    """
    if generator not in FIXED:
        raise ConfigError(f"unknown generator '{generator}'; choose from {sorted(FIXED)}")
    values = SPREAD[generator] if spread else {k: (v,) for k, v in FIXED[generator].items()}
    most = {"m": num_nodes - 1, "k": num_nodes - 1}
    possible = {
        name: tuple(v for v in choices if v <= most.get(name, 1))
        for name, choices in values.items()
    }
    short = [name for name, choices in possible.items() if not choices]
    if short:
        least = int(min(values[short[0]])) + 1
        raise ConfigError(
            f"num_nodes must be at least {least} for {generator} cells with "
            f"{short[0]}={least - 1}, but got {num_nodes}"
        )
    return possible


def check_nasgem(
    num_nodes: int = 30,
    densities: tuple[float, float] = DENSITIES,
    max_inputs: int = MAX_INPUTS,
) -> None:
    """Check the arguments of `gnas.spaces.NASGEM`.

    Raises:
        ConfigError: one is impossible.
    """
    check_count(num_nodes, "num_nodes", 1, 127)
    check_count(max_inputs, "max_inputs")
    low, high = densities
    if not 0 <= low <= high <= 1:
        raise ConfigError(f"densities must be 0 <= low <= high <= 1, but got {densities}")


def check_wiring(
    num_nodes: int = 30,
    generator: Generator = "watts-strogatz",
    *,
    spread: bool = False,
    max_inputs: int = MAX_INPUTS,
) -> None:
    """Check the arguments of `gnas.spaces.RandomWiring`.

    Raises:
        ConfigError: one is impossible.
    """
    check_nasgem(num_nodes, max_inputs=max_inputs)
    wiring_parameters(generator, num_nodes, spread=spread)


ARGUMENTS = {"NASGEM": check_nasgem, "RandomWiring": check_wiring}
"""See `gnas.spaces.names.check_space`."""
