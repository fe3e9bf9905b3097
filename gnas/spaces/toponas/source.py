"""The Python text of networks of DARTS-like cells."""

from __future__ import annotations

from collections.abc import Iterator

from torch_geometric.data import Data

from gnas.spaces import parts
from gnas.spaces.toponas.config import DartsNetworkConfig
from gnas.spaces.toponas.genotype import CellEntries, Genotype
from gnas.spaces.toponas.network import live_edges, needed_cells
from gnas.spaces.toponas.primitives import reduction_cells

LiveEdges = list[tuple[int, int, str]]
_ROOM = 99 - 8
"""Characters of a line in a method."""
_NAMES = {False: "NormalCell", True: "ReductionCell"}


def darts_blocks(graph: Data, config: DartsNetworkConfig) -> list[str]:
    """The functions and classes of the file, in order."""
    genotype = Genotype.from_graph(graph)
    needed = needed_cells(genotype, config)
    kinds = {k in reduction_cells(config.num_cells) for k in needed}
    classes = [_cell(kind, *_entries(genotype, kind)) for kind in sorted(kinds)]
    classes.append(_network(genotype, config, needed))
    text = "".join(classes)
    uses = {
        parts.SEPARABLE: ("sep_conv(", "dil_conv("),
        parts.SEP_CONV: ("sep_conv(",),
        parts.DIL_CONV: ("dil_conv(",),
        parts.RELU_CONV_NORM: ("relu_conv_norm",),
        parts.FACTORIZED_REDUCE: ("FactorizedReduce",),
        parts.UNREAD: ("Unread()",),
    }
    blocks = [block for block, signs in uses.items() if any(sign in text for sign in signs)]
    return [*blocks, *classes]


def _entries(genotype: Genotype, reduction: bool) -> tuple[CellEntries, tuple[int, ...]]:
    if reduction:
        return genotype.reduce, genotype.reduce_concat
    return genotype.normal, genotype.normal_concat


def _cell(reduction: bool, entries: CellEntries, concat: tuple[int, ...]) -> str:
    """The class of a cell."""
    live = live_edges(entries, concat)
    read = {source for source, _, _ in live}
    preprocess, inputs = [], []
    if 0 in read:
        preprocess += [
            "fit = FactorizedReduce if shrunk else relu_conv_norm",
            "self.before = fit(before_channels, channels)",
        ]
        inputs.append("x0 = self.before(before)")
    if 1 in read:
        preprocess.append("self.last = relu_conv_norm(last_channels, channels)")
        inputs.append("x1 = self.last(last)")
    ops = [
        f"{_operation(op, reduction and source < 2)},  # x{source} -> x{target}"
        for source, target, op in live
    ]
    output = parts.joined(f"x{node}" for node in sorted(concat))
    kind = "halves height and width" if reduction else "keeps the size"
    return f'''
class {_NAMES[reduction]}(nn.Module):
    """A cell that {kind}; x0 and x1 are its inputs, x2 and so on its nodes.

    ``shrunk`` says that the last cell halved the size, so that the two inputs differ.
    """

    def __init__(
        self, before_channels: int, last_channels: int, channels: int, shrunk: bool = False
    ) -> None:
        super().__init__()
{parts.indented(preprocess, 2)}        self.ops = {parts.module_list(ops)}

    def forward(self, before: Tensor, last: Tensor) -> Tensor:
{parts.indented([*inputs, *_sums(live)], 2)}        return {output}
'''


def _sums(live: LiveEdges) -> Iterator[str]:
    """One line for every node: the sum of what enters it."""
    for target in sorted({target for _, target, _ in live}):
        terms = [
            f"self.ops[{k}](x{source})"
            for k, (source, node, _) in enumerate(live)
            if node == target
        ]
        total = " + ".join(terms)
        if len(f"x{target} = {total}") <= _ROOM:
            yield f"x{target} = {total}"
            continue
        rows = [total] if len(total) + 4 <= _ROOM else [terms[0], *(f"+ {t}" for t in terms[1:])]
        yield f"x{target} = ("
        yield from (f"    {row}" for row in rows)
        yield ")"


def _operation(name: str, halves: bool) -> str:
    """The expression that makes an operation."""
    stride = ", stride=2" if halves else ""
    if name == "max_pool_3x3":
        return f"nn.MaxPool2d(3, stride={2 if halves else 1}, padding=1)"
    if name == "avg_pool_3x3":
        return f"nn.AvgPool2d(3, stride={2 if halves else 1}, padding=1, count_include_pad=False)"
    if name == "skip_connect":
        return "FactorizedReduce(channels, channels)" if halves else "nn.Identity()"
    return f"{name[:8]}(channels, {name[-1]}{stride})"


def _network(genotype: Genotype, config: DartsNetworkConfig, needed: set[int]) -> str:
    """The class of the network."""
    imagenet = config.stem == "imagenet"
    stem, last = _stem(config)
    before, channels, shrunk, cells = last, config.channels, imagenet, []
    for k in range(config.num_cells):
        reduction = k in reduction_cells(config.num_cells)
        channels *= 2 if reduction else 1
        flag = ", shrunk=True" if shrunk else ""
        cell = f"{_NAMES[reduction]}({before}, {last}, {channels}{flag}),"
        cells.append(cell if k in needed else "Unread(),")
        before, last = last, len(_entries(genotype, reduction)[1]) * channels
        shrunk = reduction
    first = ["before = x = self.stem[0](images)"]
    if imagenet:
        first = ["before = self.stem[0](images)", "x = self.stem[1](before)"]
    return f'''
class Network(nn.Module):
    """Images [B, {config.in_channels}, H, W] -> logits [B, {config.num_classes}]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = {parts.module_list(stem)}
        self.cells = {parts.module_list(cells)}
        self.classifier = nn.Linear({last}, {config.num_classes})

    def forward(self, images: Tensor) -> Tensor:
{parts.indented(first, 2)}        for cell in self.cells:
            before, x = x, cell(before, x)
        return self.classifier(x.mean((2, 3)))
'''


def _stem(config: DartsNetworkConfig) -> tuple[list[str], int]:
    """Lines of the stem's parts, and the channels that leave it."""
    width = config.channels

    def conv(c_in: int, c_out: int, stride: int) -> list[str]:
        step = f", stride={stride}" if stride > 1 else ""
        return [
            f"    nn.Conv2d({c_in}, {c_out}, 3{step}, padding=1, bias=False),",
            f"    nn.BatchNorm2d({c_out}),",
        ]

    if config.stem == "cifar":
        width *= config.stem_multiplier
        return ["nn.Sequential(", *conv(config.in_channels, width, 1), "),"], width
    half = width // 2
    first = [*conv(config.in_channels, half, 2), "    nn.ReLU(),", *conv(half, width, 2)]
    second = ["    nn.ReLU(),", *conv(width, width, 2)]
    return ["nn.Sequential(", *first, "),", "nn.Sequential(", *second, "),"], width
