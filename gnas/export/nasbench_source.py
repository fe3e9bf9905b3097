"""The Python text of networks of NAS-Bench-101 and NAS-Bench-201 cells."""

from __future__ import annotations

from torch import nn
from torch_geometric.data import Data

from gnas.export import parts
from gnas.models.nasbench101 import NASBench101NetworkConfig, PlainCell, nasbench101_network
from gnas.models.nasbench201 import NUM_STAGES, Edge, NASBench201NetworkConfig, cell_edges
from gnas.spaces.nasbench201 import NUM_NODES


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
    return [parts.CONV_NORM_RELU, _cell101(cells), _network("layers", lines, width, config)]


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
    return _network("layers", layers, width, config, stem, last)


def _network(
    name: str,
    layers: list[str],
    width: int,
    config: NASBench101NetworkConfig | NASBench201NetworkConfig,
    stem: str = "",
    last: str = "",
) -> str:
    """The class of a network of layers in a row."""
    first = "x = self.stem(images)" if stem else "x = images"
    end = "self.last(x)" if last else "x"
    return f'''
class Network(nn.Module):
    """Images [B, {config.in_channels}, H, W] -> logits [B, {config.num_classes}]."""

    def __init__(self) -> None:
        super().__init__()
{stem}        self.{name} = {parts.module_list(layers)}
{last}        self.classifier = nn.Linear({width}, {config.num_classes})

    def forward(self, images: Tensor) -> Tensor:
        {first}
        for layer in self.{name}:
            x = layer(x)
        return self.classifier({end}.mean((2, 3)))
'''
