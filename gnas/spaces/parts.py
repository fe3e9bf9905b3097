"""Pieces of Python text that the plain networks are put together from."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

FACTORIZED_REDUCE = '''
class FactorizedReduce(nn.Module):
    """Halves height and width: two 1x1 convolutions, one pixel apart."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        half = out_channels // 2
        self.conv_1 = nn.Conv2d(in_channels, half, 1, stride=2, bias=False)
        self.conv_2 = nn.Conv2d(in_channels, out_channels - half, 1, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(x)
        shifted = nn.functional.pad(x, (-1, 1, -1, 1))
        return self.norm(torch.cat([self.conv_1(x), self.conv_2(shifted)], dim=1))
'''
RELU_CONV_NORM = """
def relu_conv_norm(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(in_channels, out_channels, 1, bias=False),
        nn.BatchNorm2d(out_channels),
    )
"""
SEPARABLE = '''
def separable(channels: int, kernel: int, stride: int = 1, dilation: int = 1) -> list[nn.Module]:
    """ReLU, depthwise and pointwise convolution, batch norm."""
    padding = dilation * (kernel // 2)
    return [
        nn.ReLU(),
        nn.Conv2d(
            channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False
        ),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
    ]
'''
SEP_CONV = """
def sep_conv(channels: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(*separable(channels, kernel, stride), *separable(channels, kernel))
"""
DIL_CONV = """
def dil_conv(channels: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(*separable(channels, kernel, stride, dilation=2))
"""
NOR_CONV = """
def nor_conv(channels: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels, channels, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(channels),
    )
"""
CONV_NORM_RELU = """
def conv_norm_relu(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    )
"""
DW_SEP_CONV = """
def dw_sep_conv(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, in_channels, 3, stride, 1, groups=in_channels, bias=False),
        nn.Conv2d(in_channels, out_channels, 1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    )
"""
RESIDUAL_REDUCTION = '''
class ResidualReduction(nn.Module):
    """A ResNet block that halves height and width."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2, stride=2, ceil_mode=True),
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.block(x)
'''
UNREAD = '''
class Unread(nn.Module):
    """Stands where the output of a cell would be read by nothing."""

    def forward(self, before: Tensor, last: Tensor) -> Tensor:
        return last
'''

LOAD = '''
def load(weights: str) -> Network:
    """The network with the weights of a .safetensors file, ready to predict."""
    from safetensors.torch import load_file

    network = Network()
    network.load_state_dict(load_file(weights))
    return network.eval()
'''


class Ends(Protocol):
    """First- and last-layer settings of a network's config."""

    @property
    def in_channels(self) -> int:
        """Channels of an image."""
        ...

    @property
    def num_classes(self) -> int:
        """Width of the classifier."""
        ...


def indented(lines: Iterable[str], depth: int) -> str:
    """The lines, each with an end and ``depth`` levels further in."""
    return "".join(f"{'    ' * depth}{line}\n" for line in lines)


def module_list(lines: Sequence[str]) -> str:
    """The expression of an ``nn.ModuleList``, of one entry a line, for a constructor."""
    return _container("nn.ModuleList", "[", lines, "]")


def module_dict(lines: Sequence[str]) -> str:
    """The expression of an ``nn.ModuleDict``, likewise."""
    return _container("nn.ModuleDict", "{", lines, "}")


def _container(kind: str, opening: str, lines: Sequence[str], closing: str) -> str:
    if not lines:
        return f"{kind}({opening}{closing})"
    inner = indented(lines, 4)
    return f"{kind}(\n{' ' * 12}{opening}\n{inner}{' ' * 12}{closing}\n{' ' * 8})"


def joined(names: Iterable[str]) -> str:
    """The expression that joins feature maps along their channels."""
    listed = list(names)
    return listed[0] if len(listed) == 1 else f"torch.cat([{', '.join(listed)}], dim=1)"


LINE = 99
"""Longest line of a file."""
CONSTANTS = {
    "MEAN": ("tuple[float, ...]", "Subtracted from every channel of an image in [0, 1], if any."),
    "STD": ("tuple[float, ...]", "By which every channel is divided then."),
    "IMAGE_SIZE": ("int", "Height and width of the images that it was made for."),
    "CLASSES": ("tuple[str, ...]", "Names of the classes in the order of the logits, if known."),
}
"""Type and meaning of the constants of a file."""


def module(
    architecture: str, version: str, blocks: Iterable[str], constants: Mapping[str, object]
) -> str:
    """A file of its own: what it is, imports, and the blocks with two lines between them.

    Args:
        architecture: Text of the architecture.
        version: Version of gnas.
        blocks: Functions and classes.
        constants: Values of `CONSTANTS`.
    """
    body = "\n\n".join(block.strip("\n") + "\n" for block in (*blocks, LOAD))
    known = "".join(
        f'{_assigned(name, value)}"""{CONSTANTS[name][1]}"""\n'
        for name, value in constants.items()
    )
    spaced = re.sub(r",\s*", ", ", architecture)
    text = "\n".join(textwrap.wrap(spaced, 96))
    imports = "from torch import Tensor, nn\n"
    if "torch." in body.replace("safetensors.torch", ""):
        imports = f"import torch\n{imports}"
    return f'''"""A network that was found by neural architecture search, in plain PyTorch.

{text}

Written by gnas {version}, which it does not need. What only training uses (drop-path, an
auxiliary head) is left out.
"""

from __future__ import annotations

{imports}
{known}

{body}'''


def _assigned(name: str, value: object) -> str:
    """The line that gives a constant its value, or several lines where it is long."""
    start = f"{name}: {CONSTANTS[name][0]} = "
    if not isinstance(value, tuple):
        return f"{start}{value!a}\n"
    items = [_quoted(item) if isinstance(item, str) else repr(item) for item in value]
    line = start + "(" + ", ".join(items) + ("," if len(items) == 1 else "") + ")\n"
    if len(line) <= LINE + 1:
        return line
    return start + "(\n" + indented((f"{item}," for item in items), 1) + ")\n"


def _quoted(text: str) -> str:
    """The text as a literal of ASCII characters, in the quotes that need fewer escapes."""
    literal = ascii(text)
    body = literal[1:-1].replace("\\'", "'") if literal[0] == "'" else literal[1:-1]
    quote = "'" if text.count('"') > text.count("'") else '"'
    return quote + body.replace(quote, f"\\{quote}") + quote


def layered_network(
    name: str,
    layers: list[str],
    width: int,
    config: Ends,
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
{stem}        self.{name} = {module_list(layers)}
{last}        self.classifier = nn.Linear({width}, {config.num_classes})

    def forward(self, images: Tensor) -> Tensor:
        {first}
        for layer in self.{name}:
            x = layer(x)
        return self.classifier({end}.mean((2, 3)))
'''
