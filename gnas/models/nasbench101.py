"""The trainable network of a NAS-Bench-101 cell."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from torch_geometric.data import Data

from gnas.errors import ConfigError
from gnas.graphs import to_adjacency
from gnas.spaces import NASBench101
from gnas.spaces.nasbench101 import OPS

BATCH_NORM_MOMENTUM = 0.1
"""Weight of the newest batch; nasbench-pytorch's own 0.997 is TensorFlow's weight of the old."""


@dataclass(frozen=True, kw_only=True)
class NASBench101NetworkConfig:
    """Size of a NAS-Bench-101 network; the defaults are the benchmark's own."""

    in_channels: int = 3
    """Image channels."""
    num_classes: int = 10
    """Width of the classifier."""
    stem_channels: int = 128
    """Channels of the first stack; each later stack doubles them."""
    num_stacks: int = 3
    """Stacks, with a 2x2 max-pool between them."""
    cells_per_stack: int = 3
    """Cells in each stack."""

    def __post_init__(self) -> None:
        for field, value in vars(self).items():
            if value < 1:
                raise ConfigError(f"{field} must be at least 1, but got {value}")


def nasbench101_network(cell: Data, config: NASBench101NetworkConfig | None = None) -> nn.Module:
    """The network that stacks ``cell``, with nasbench-pytorch's weights and initialisation.

    Args:
        cell: A NAS-Bench-101 architecture.
        config: Size; None for the benchmark's.

    Shapes:
        The network maps [B, in_channels, H, W] to logits [B, num_classes].

    Raises:
        GraphError: ``cell`` is not a NAS-Bench-101 cell.

    Source: Ying et al., NAS-Bench-101, ICML 2019, section 2.2; defaults are the benchmark's.
    """
    from nasbench_pytorch.model import Network

    NASBench101().validate(cell)
    config = config or NASBench101NetworkConfig()
    adjacency, ops = to_adjacency(cell)
    network: nn.Module = Network(
        (adjacency.numpy().astype(int), [OPS[op] for op in ops.tolist()]),
        num_labels=config.num_classes,
        in_channels=config.in_channels,
        stem_out_channels=config.stem_channels,
        num_stacks=config.num_stacks,
        num_modules_per_stack=config.cells_per_stack,
        momentum=BATCH_NORM_MOMENTUM,
    )
    return network
