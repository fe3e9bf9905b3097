"""Parameters of many NAS-Bench-201 networks at once, straight from their cells' graphs."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from gnas.graphs import Graphs, as_batch
from gnas.spaces.convolutions import conv_norm_params
from gnas.spaces.nasbench201 import CANDIDATES, ROLES
from gnas.spaces.nasbench201.config import NASBench201NetworkConfig
from gnas.spaces.nasbench201.network import NUM_STAGES
from gnas.spaces.vocabulary import check_vocabulary


def nasbench201_num_params(
    batch: Graphs, config: NASBench201NetworkConfig | None = None
) -> NDArray[np.int64]:
    """Trainable parameters of every cell's network, without building it: int64 [N].

    Dead branches count, as in the benchmark.

    Args:
        batch: N cells.
        config: Size of the networks; None for the benchmark's on ten classes.

    Raises:
        GraphError: the vocabulary is not that of NAS-Bench-201.

    Examples:
        >>> from gnas.spaces import NASBench201
        >>> counts = nasbench201_num_params(NASBench201().enumerate())
        >>> counts.shape, int(counts.max())
        ((15625,), 1531546)
    """
    batch = as_batch(batch)
    check_vocabulary(batch, len(ROLES), len(CANDIDATES) - 1)
    config = config or NASBench201NetworkConfig()
    width = config.channels
    total = torch.full((len(batch),), conv_norm_params(config.in_channels, width, 3))
    for stage in range(NUM_STAGES):
        if stage:  # a residual block
            wide = 2 * width
            total += conv_norm_params(width, wide, 3) + conv_norm_params(wide, wide, 3)
            total += width * wide
            width = wide
        for kernel in (1, 3):
            op = CANDIDATES.index(f"nor_conv_{kernel}x{kernel}")
            count = config.cells_per_stage * (batch.adjacency == op).sum((1, 2))  # [N]
            total += count * conv_norm_params(width, width, kernel)
    counts: NDArray[np.int64] = (total + 2 * width + (width + 1) * config.num_classes).numpy()
    return counts
