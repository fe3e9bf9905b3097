"""The Python text of networks of NAS-Bench-201 cells."""

from __future__ import annotations

from torch_geometric.data import Data

from gnas.spaces import parts
from gnas.spaces.nasbench201.config import NASBench201NetworkConfig
from gnas.spaces.nasbench201.network import NUM_STAGES, Edge, cell_edges
from gnas.spaces.nasbench201.space import NUM_NODES


def nasbench201_blocks(graph: Data, config: NASBench201NetworkConfig) -> list[str]:
    """The functions and classes of the file, in order."""
    layers, width = [], config.channels
    for stage in range(NUM_STAGES):
        if stage:
            layers.append(f"ResidualReduction({width}, {2 * width}),")
            width *= 2
        layers += [f"Cell({width}),"] * config.cells_per_stage
    cell = _cell201(cell_edges(graph))
    uses = [parts.NOR_CONV] if "nor_conv(" in cell else []
    return [*uses, cell, parts.RESIDUAL_REDUCTION, _network201(layers, width, config)]


def _cell201(edges: tuple[Edge, ...]) -> str:
    """The class of a NAS-Bench-201 cell."""
    ops, maps = [], []
    for source, target, op in edges:
        made = f"nor_conv(channels, {op[-1]})"
        if op == "skip_connect":
            made = "nn.Identity()"
        elif op == "avg_pool_3x3":
            made = "nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)"
        ops.append(f"{made},  # x{source} -> x{target}")
    read = {NUM_NODES - 1}
    for source, target, _ in reversed(edges):
        read |= {source} if target in read else set()
    for node in sorted(read - {0}):
        terms = [f"self.ops[{k}](x{s})" for k, (s, t, _) in enumerate(edges) if t == node]
        maps.append(f"x{node} = {' + '.join(terms) or 'torch.zeros_like(x0)'}")
    return f'''
class Cell(nn.Module):
    """Four feature maps; x0 is the input and x{NUM_NODES - 1} the output."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.ops = {parts.module_list(ops)}

    def forward(self, x0: Tensor) -> Tensor:
{parts.indented(maps, 2)}        return x{NUM_NODES - 1}
'''


def _network201(layers: list[str], width: int, config: NASBench201NetworkConfig) -> str:
    """The class of a NAS-Bench-201 network."""
    stem = f"""        self.stem = nn.Sequential(
            nn.Conv2d({config.in_channels}, {config.channels}, 3, padding=1, bias=False),
            nn.BatchNorm2d({config.channels}),
        )
"""
    last = f"        self.last = nn.Sequential(nn.BatchNorm2d({width}), nn.ReLU())\n"
    return parts.layered_network("layers", layers, width, config, stem, last)
