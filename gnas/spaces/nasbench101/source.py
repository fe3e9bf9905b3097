"""The Python text of networks of NAS-Bench-101 cells."""

from __future__ import annotations

from torch import nn
from torch_geometric.data import Data

from gnas.spaces import parts
from gnas.spaces.nasbench101.config import NASBench101NetworkConfig
from gnas.spaces.nasbench101.network import PlainCell, nasbench101_network


def nasbench101_blocks(graph: Data, config: NASBench101NetworkConfig) -> list[str]:
    """The functions and classes of the file, in order."""
    network = nasbench101_network(graph, config)
    layers = network.get_submodule("layers")
    cells = [layer for layer in layers.children() if isinstance(layer, PlainCell)]
    lines, width = [], config.in_channels
    for layer in layers.children():
        if isinstance(layer, PlainCell):
            lines.append(f"Cell({width}, {_tuple(layer.widths[1:])}),")
            width = layer.widths[-1]
        elif isinstance(layer, nn.MaxPool2d):
            lines.append("nn.MaxPool2d(2, stride=2),")
        else:
            lines.append(f"conv_norm_relu({width}, {config.stem_channels}, 3),")
            width = config.stem_channels
    return [
        parts.CONV_NORM_RELU,
        _cell101(cells),
        parts.layered_network("layers", lines, width, config),
    ]


def _tuple(values: list[int]) -> str:
    return f"({', '.join(map(str, values))}{',' if len(values) == 1 else ''})"


def _cell101(cells: list[PlainCell]) -> str:
    """The class of a NAS-Bench-101 cell; all of ``cells`` are wired alike."""
    cell, last = cells[0], len(cells[0].inputs)
    ops = []
    for vertex, op in cell.ops.items():
        conv = op[0] if isinstance(op, nn.Sequential) else None
        text = (
            f"conv_norm_relu(w{vertex}, w{vertex}, {conv.kernel_size[0]})"
            if isinstance(conv, nn.Conv2d)
            else "nn.MaxPool2d(3, stride=1, padding=1)"
        )
        ops.append(f'"{vertex}": {text},')
    projections = [f'"{t}": conv_norm_relu(in_channels, w{t}, 1),' for t in cell.projections]
    lines = []
    for t in range(1, last):
        terms = [_read(cells, s, t) for s in cell.inputs[t]]
        terms += [f'self.projections["{t}"](x)'] if str(t) in cell.projections else []
        lines.append(f'v{t} = self.ops["{t}"]({" + ".join(terms)})')
    terms = [parts.joined(f"v{t}" for t in cell.outputs)] if cell.outputs else []
    terms += [f'self.projections["{last}"](x)'] if str(last) in cell.projections else []
    made = "".join((*ops, *projections))
    names = ", ".join(f"w{t}" if f"w{t}" in made else "_" for t in range(1, last + 1))
    names = names if last > 1 else f"({names},)"
    return f'''
class Cell(nn.Module):
    """Vertices that add up what they read; those that end in the output are joined.

    ``widths`` are the channels of the vertices 1, 2, ... and of the output.
    """

    def __init__(self, in_channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        {names} = self.widths = widths
        self.ops = {parts.module_dict(ops)}
        self.projections = {parts.module_dict(projections)}

    def forward(self, x: Tensor) -> Tensor:
{parts.indented(lines, 2)}        return {" + ".join(terms)}
'''


def _read(cells: list[PlainCell], source: int, target: int) -> str:
    """A vertex, cut to the width of the one that reads it where they differ."""
    if all(cell.widths[source] == cell.widths[target] for cell in cells):
        return f"v{source}"
    return f"v{source}[:, : self.widths[{target - 1}]]"
