"""The Python text of networks of NASGEM cells."""

from __future__ import annotations

from torch_geometric.data import Data

from gnas.spaces import parts
from gnas.spaces.nasgem.config import NasgemNetworkConfig
from gnas.spaces.nasgem.network import Wiring, wiring


def nasgem_blocks(graph: Data, config: NasgemNetworkConfig) -> list[str]:
    """The functions and classes of the file, in order."""
    cell = wiring(graph)
    classes = [_cell(cell), _network(cell, config)]
    separable = [parts.DW_SEP_CONV] if "dw_sep_conv(" in "".join(classes) else []
    return [parts.CONV_NORM_RELU, *separable, *classes]


def _operation(name: str, in_channels: str, out_channels: str, stride: int = 1) -> str:
    step = f", stride={stride}" if stride > 1 else ""
    if name == "dw_sep_conv_3x3":
        return f"dw_sep_conv({in_channels}, {out_channels}{step})"
    return f"conv_norm_relu({in_channels}, {out_channels}, 1{step})"


def _cell(cell: Wiring) -> str:
    """The class of a cell."""
    nodes, maps = [], []
    for k, (op, inputs) in enumerate(zip(cell.ops, cell.inputs, strict=True)):
        width = {0: "in_channels", 1: "channels"}.get(len(inputs), f"{len(inputs)} * channels")
        nodes.append(f"{_operation(op, width, 'channels')},  # x{k}")
        read = parts.joined(f"x{source}" for source in inputs) if inputs else "x"
        maps.append(f"x{k} = self.nodes[{k}]({read})")
    output = parts.joined(f"x{node}" for node in cell.outputs)
    return f'''
class Cell(nn.Module):
    """Nodes that join what they read; the leaves are the output."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.nodes = {parts.module_list(nodes)}

    def forward(self, x: Tensor) -> Tensor:
{parts.indented(maps, 2)}        return {output}
'''


def _network(cell: Wiring, config: NasgemNetworkConfig) -> str:
    """The class of the network."""
    imagenet = config.stem == "imagenet"
    layers, width, last = [], config.channels, config.channels
    for stage in range(config.num_stages):
        width *= 2 if stage else 1
        if stage or imagenet:
            layers.append(f"{_operation('dw_sep_conv_3x3', str(last), str(width), 2)},")
            last = width
        for _ in range(config.cells_per_stage):
            layers.append(f"Cell({last}, {width}),")
            last = len(cell.outputs) * width
    step = ", stride=2" if imagenet else ""
    return f'''
class Network(nn.Module):
    """Images [B, {config.in_channels}, H, W] -> logits [B, {config.num_classes}]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_norm_relu({config.in_channels}, {config.channels}, 3{step})
        self.layers = {parts.module_list(layers)}
        self.classifier = nn.Linear({last}, {config.num_classes})

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        for layer in self.layers:
            x = layer(x)
        return self.classifier(x.mean((2, 3)))
'''
