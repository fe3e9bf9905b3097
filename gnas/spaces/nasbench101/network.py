"""The trainable network of a NAS-Bench-101 cell."""

from __future__ import annotations

from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from gnas.graphs import to_adjacency
from gnas.spaces import NASBench101
from gnas.spaces.nasbench101 import OPS
from gnas.spaces.nasbench101.config import NASBench101NetworkConfig

BATCH_NORM_MOMENTUM = 0.1
"""Weight of the newest batch; nasbench-pytorch's own 0.997 is TensorFlow's weight of the old."""


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

    Example:
        >>> import torch
        >>> from gnas.spaces import NASBench101
        >>> cell = NASBench101().from_str("input,conv3x3-bn-relu,maxpool3x3,output|33")
        >>> config = NASBench101NetworkConfig(stem_channels=8, cells_per_stack=1)
        >>> nasbench101_network(cell, config)(torch.zeros(2, 3, 16, 16)).shape
        torch.Size([2, 10])
    """
    from nasbench_pytorch.model import Network
    from nasbench_pytorch.model.model import Cell

    NASBench101().validate(cell)
    config = config or NASBench101NetworkConfig()
    adjacency, ops = to_adjacency(cell)
    network = Network(
        (adjacency.numpy().astype(int), [OPS[op] for op in ops.tolist()]),
        num_labels=config.num_classes,
        in_channels=config.in_channels,
        stem_out_channels=config.stem_channels,
        num_stacks=config.num_stacks,
        num_modules_per_stack=config.cells_per_stack,
        momentum=BATCH_NORM_MOMENTUM,
    )
    network.layers = nn.ModuleList(
        PlainCell(layer) if isinstance(layer, Cell) else _innermost(layer)
        for layer in network.layers
    )
    built: nn.Module = network
    return built


def _innermost(module: nn.Module) -> nn.Module:
    """The sequence or pool that nasbench-pytorch wraps in modules of one part."""
    while not isinstance(module, nn.Sequential | nn.MaxPool2d):
        (module,) = module.children()
    return module


class PlainCell(nn.Module):
    """nasbench-pytorch's cell with its parts and results, without what exporters cannot follow.

    That is its wiring in an array and its widths in tensors; its place-holder parameters go too.

    Args:
        cell: nasbench-pytorch's cell.
    """

    def __init__(self, cell: Any) -> None:
        super().__init__()
        last = cell.num_vertices - 1
        self.ops, self.projections = nn.ModuleDict(), nn.ModuleDict()
        self.inputs: list[tuple[int, ...]] = [()]
        """Predecessors of every vertex except the last, without the input 0."""
        self.widths: list[int] = list(cell.vertex_channels)
        for t in range(1, last):
            self.ops[str(t)] = _innermost(cell.vertex_op[t])
            self.inputs.append(tuple(s for s in range(1, t) if cell.matrix[s, t]))
        for t in range(1, last + 1):
            if cell.matrix[0, t]:
                self.projections[str(t)] = _innermost(cell.input_op[t])
        self.outputs = tuple(t for t in range(1, last) if cell.matrix[t, last])

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_channels, H, W] -> [B, out_channels, H, W]."""
        values = [x]
        for t in range(1, len(self.inputs)):
            read = [values[s][:, : self.widths[t]] for s in self.inputs[t]]
            if str(t) in self.projections:
                read.append(self.projections[str(t)](x))
            values.append(self.ops[str(t)](reduce(torch.add, read)))
        projected = self._projected(x)
        if not self.outputs:
            assert projected is not None  # the input is joined to the output
            return projected
        joined = torch.cat([values[t] for t in self.outputs], dim=1)
        return joined if projected is None else joined + projected

    def _projected(self, x: Tensor) -> Tensor | None:
        """Projection of the cell's input onto its output; None without such an edge."""
        last = str(len(self.inputs))
        return self.projections[last](x) if last in self.projections else None
