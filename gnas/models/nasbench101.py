"""The trainable network of a NAS-Bench-101 cell."""

from __future__ import annotations

from torch import nn
from torch_geometric.data import Data

from gnas.graphs import to_adjacency
from gnas.spaces import NASBench101
from gnas.spaces.nasbench101 import OPS

BATCH_NORM_MOMENTUM = 0.1
"""Weight of the newest batch; nasbench-pytorch's own 0.997 is TensorFlow's weight of the old."""


def nasbench101_network(
    cell: Data,
    *,
    in_channels: int = 3,
    num_classes: int = 10,
    stem_channels: int = 128,
    num_stacks: int = 3,
    cells_per_stack: int = 3,
) -> nn.Module:
    """The network that stacks ``cell``, with nasbench-pytorch's weights and initialisation.

    Args:
        cell: A NAS-Bench-101 architecture.
        in_channels: Image channels.
        num_classes: Width of the classifier.
        stem_channels: Channels of the first stack; each later stack doubles them.
        num_stacks: Stacks, with a 2x2 max-pool between them.
        cells_per_stack: Cells in each stack.

    Shapes:
        The network maps [B, in_channels, H, W] to logits [B, num_classes].

    Raises:
        GraphError: ``cell`` is not a NAS-Bench-101 cell.

    Source: Ying et al., NAS-Bench-101, ICML 2019, section 2.2; defaults are the benchmark's.
    """
    from nasbench_pytorch.model import Network

    NASBench101().validate(cell)
    adjacency, ops = to_adjacency(cell)
    network: nn.Module = Network(
        (adjacency.numpy().astype(int), [OPS[op] for op in ops.tolist()]),
        num_labels=num_classes,
        in_channels=in_channels,
        stem_out_channels=stem_channels,
        num_stacks=num_stacks,
        num_modules_per_stack=cells_per_stack,
        momentum=BATCH_NORM_MOMENTUM,
    )
    return network
