"""Several trainings of one NASGEM cell at once, as fast as matrix products on one core are.

The network of `gnas.models.nasgem_network` with ``stem="imagenet"``, trained as
`gnas.train.train_proxy` trains it, once for every seed: the same initial weights, images, flips,
steps and measurement, up to the rounding of floats (a test compares them). On maps of 4x4 pixels
PyTorch's convolutions spend their time on overhead; here all are matrix products over the seeds:
a pointwise one is a matrix, a depthwise one a matrix between positions.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.data import Data

from gnas.data.images import ImageSplits
from gnas.errors import ConfigError
from gnas.models import NasgemNetworkConfig, nasgem_network
from gnas.spaces.nasgem.network import Wiring, wiring
from gnas.train import (
    EVAL_BATCH,
    ProxyRecipe,
    ProxyResult,
    batch_sizes,
    fresh_network,
    normalised,
    rate_share,
)


@dataclass(frozen=True)
class Patches:
    """Images as the stem's 3x3 windows: no more than a matrix product is left of it.

    Shapes:
        windows [27, M, P], the images, then (for training) their mirror images; labels [M].
    """

    windows: Tensor
    labels: Tensor

    @staticmethod
    def of(x: Tensor, y: Tensor, *, mirrored: bool = False) -> Patches:
        """Windows of normalised images [M, C, H, W]."""
        both = torch.cat([x, x.flip(3)]) if mirrored else x
        windows = functional.unfold(both, 3, padding=1, stride=2)  # [M, 27, P]
        return Patches(windows.transpose(0, 1).contiguous(), y)


@dataclass(frozen=True)
class Positions:
    """What a depthwise 3x3 convolution is between positions: [9, P_in, P_out]."""

    table: Tensor

    @staticmethod
    def of(size: int, stride: int) -> Positions:
        """Zero padding of 1; maps of ``size`` pixels a side."""
        out = (size - 1) // stride + 1
        table = torch.zeros(9, size, size, out, out)
        for dy in range(3):
            for dx in range(3):
                for r in range(out):
                    for c in range(out):
                        y, x = r * stride + dy - 1, c * stride + dx - 1
                        if 0 <= y < size and 0 <= x < size:
                            table[3 * dy + dx, y, x, r, c] = 1
        return Positions(table.view(9, size * size, out * out))


class StackedCells:
    """The networks of one cell for several seeds, weights side by side.

    Args:
        graph: The cell.
        config: Form of the network; with the "imagenet" stem.
        seeds: Of the initial weights.
        image_size: Pixels a side.
    """

    def __init__(
        self, graph: Data, config: NasgemNetworkConfig, seeds: Sequence[int], image_size: int
    ) -> None:
        if config.stem != "imagenet":
            raise ConfigError(f"stem must be 'imagenet', but got {config.stem!r}")
        networks = [fresh_network(partial(nasgem_network, graph, config), seed) for seed in seeds]
        self.cell: Wiring = wiring(graph)
        self.count, self.config = len(seeds), config
        names = [name for name, _ in networks[0].named_parameters()]
        shapes = [p.shape for p in networks[0].parameters()]
        flat = [nn.utils.parameters_to_vector(network.parameters()) for network in networks]
        self.values = torch.stack(flat).detach()  # [S, D]
        self.weights: dict[str, Tensor] = {}
        start = 0
        for name, shape in zip(names, shapes, strict=True):
            part = slice(start, start + math.prod(shape))
            self.weights[name] = self.values[:, part].view(self.count, *shape).requires_grad_()
            start = part.stop
        self.positions: list[tuple[Positions, Positions]] = []
        """Of every stage: halving the maps, keeping their size."""
        size = (image_size + 1) // 2
        for _ in range(config.num_stages):
            halving, size = Positions.of(size, 2), (size + 1) // 2
            self.positions.append((halving, Positions.of(size, 1)))
        self.statistics: dict[str, tuple[Tensor, Tensor]] = {}

    def gradient(self, loss: Tensor) -> Tensor:
        """Of a loss with respect to all weights: [S, D]."""
        parts = torch.autograd.grad(loss, list(self.weights.values()))
        return torch.cat([part.reshape(self.count, -1) for part in parts], dim=1)

    def forward(self, windows: Tensor, average: int | None = None) -> Tensor:
        """Logits of windows [S, 27, N, P]: [S, N, classes].

        Args:
            windows: Of N images for every seed.
            average: None in training; k >= 1: let the batch be the k-th of those whose statistics
                are averaged; 0: measure with the averages.
        """
        x = self._normed("stem", windows, average)
        layer = 0
        for halving, inner in self.positions:
            x = self._operation(f"layers.{layer}", "dw_sep_conv_3x3", x, halving, average)
            for _ in range(self.config.cells_per_stage):
                layer += 1
                x = self._cell(f"layers.{layer}", x, inner, average)
            layer += 1
        pooled = x.mean(3)  # [S, C, N]
        logits = torch.baddbmm(
            self.weights["classifier.bias"][:, :, None], self.weights["classifier.weight"], pooled
        )
        return logits.transpose(1, 2)

    def _cell(self, name: str, x: Tensor, positions: Positions, average: int | None) -> Tensor:
        """One cell: [S, C, N, P] -> [S, C', N, P]."""
        maps: list[Tensor] = []
        for k, (op, inputs) in enumerate(zip(self.cell.ops, self.cell.inputs, strict=True)):
            read = _joined([maps[i] for i in inputs]) if inputs else x
            maps.append(self._operation(f"{name}.nodes.{k}", op, read, positions, average))
        return _joined([maps[i] for i in self.cell.outputs])

    def _operation(
        self, name: str, op: str, x: Tensor, positions: Positions, average: int | None
    ) -> Tensor:
        """Convolution, batch norm, ReLU: [S, C, N, P] -> [S, C', N, P']."""
        first = 0
        if op == "dw_sep_conv_3x3":
            seeds, channels, images, size = x.shape
            kernels = self.weights[f"{name}.0.weight"].reshape(seeds * channels, 9)
            table = positions.table
            between = (kernels @ table.view(9, -1)).view(-1, size, table.size(2))
            x = torch.bmm(x.reshape(seeds * channels, images, size), between)
            x = x.view(seeds, channels, images, table.size(2))
            first = 1
        return self._normed(name, x, average, first)

    def _normed(self, name: str, x: Tensor, average: int | None, first: int = 0) -> Tensor:
        """Pointwise convolution (layer ``first``), batch norm and ReLU."""
        seeds, channels, images, size = x.shape
        weight = self.weights[f"{name}.{first}.weight"].reshape(seeds, -1, channels)
        norm = f"{name}.{first + 1}"
        scale = self.weights[f"{norm}.weight"].reshape(-1)
        shift = self.weights[f"{norm}.bias"].reshape(-1)
        y = torch.bmm(weight, x.reshape(seeds, channels, images * size))
        mean, var = None, None
        if average is not None:
            if norm not in self.statistics:
                self.statistics[norm] = (torch.zeros_like(scale), torch.ones_like(scale))
            mean, var = self.statistics[norm]
        y = functional.batch_norm(
            y.view(1, scale.numel(), images * size),
            mean,
            var,
            scale,
            shift,
            training=average != 0,
            momentum=1 / average if average else 0.0,
        )
        return functional.relu_(y).view(seeds, -1, images, size)


def train_stacked(
    graph: Data,
    config: NasgemNetworkConfig,
    images: dict[str, Patches],
    image_size: int,
    recipe: ProxyRecipe,
    seeds: Sequence[int],
) -> list[ProxyResult]:
    """What `gnas.train.train_proxy` returns, for every seed; the time is the share of each.

    Args:
        graph: The cell.
        config: As for `StackedCells`.
        images: "train" (with mirror images if the recipe flips), "val" and "test".
        image_size: Pixels a side.
        recipe: How to train.
        seeds: Of the initial weights, the orders of the images and the flips.
    """
    start = time.perf_counter()
    cells = StackedCells(graph, config, seeds, image_size)
    train = images["train"]
    count = len(train.labels)
    sizes = batch_sizes(count, recipe.batch_size)
    steps = recipe.epochs * len(sizes)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    velocity = torch.zeros_like(cells.values)
    losses = torch.zeros(len(seeds))
    step = 0
    for _ in range(recipe.epochs):
        losses.zero_()
        orders = [torch.randperm(count, generator=generator) for generator in generators]
        for k, size in enumerate(sizes):
            rows = [order[k * recipe.batch_size :][:size] for order in orders]
            seen = [_flipped(r, count, recipe, g) for r, g in zip(rows, generators, strict=True)]
            logits = cells.forward(_gathered(train.windows, seen))
            labels = torch.stack([train.labels[r] for r in rows])
            loss = functional.cross_entropy(
                logits.reshape(-1, logits.size(2)),
                labels.reshape(-1),
                reduction="none",
                label_smoothing=recipe.label_smoothing,
            ).view(len(seeds), -1)
            gradient = cells.gradient(loss.mean(1).sum())
            losses += loss.detach().sum(1)
            _update(cells, gradient, velocity, recipe, recipe.lr * rate_share(recipe, step, steps))
            step += 1
    with torch.no_grad():
        orders = [torch.randperm(count, generator=generator) for generator in generators]
        for k, size in enumerate(batch_sizes(count, EVAL_BATCH)[: recipe.recalibrate]):
            rows = [order[k * EVAL_BATCH :][:size] for order in orders]
            cells.forward(_gathered(train.windows, rows), average=k + 1)
    seconds = (time.perf_counter() - start) / len(seeds)
    val_acc, val_loss = _measured(cells, images["val"])
    test_acc, _ = _measured(cells, images["test"])
    return [
        ProxyResult(val_acc[s], test_acc[s], val_loss[s], float(losses[s]) / sum(sizes), seconds)
        for s in range(len(seeds))
    ]


def _update(
    cells: StackedCells, gradient: Tensor, velocity: Tensor, recipe: ProxyRecipe, rate: float
) -> None:
    """One step of SGD with Nesterov momentum, each seed's gradient clipped by itself."""
    norms = gradient.norm(dim=1, keepdim=True)
    gradient.mul_((recipe.gradient_clip / (norms + 1e-6)).clamp_(max=1.0))
    with torch.no_grad():
        gradient.add_(cells.values, alpha=recipe.weight_decay)
        velocity.mul_(recipe.momentum).add_(gradient)
        change = gradient.add(velocity, alpha=recipe.momentum) if recipe.momentum else gradient
        cells.values.sub_(change, alpha=rate)


def _measured(cells: StackedCells, images: Patches) -> tuple[list[float], list[float]]:
    """Accuracy (a fraction) and mean cross-entropy (nats) of every seed."""
    correct, loss = torch.zeros(cells.count), torch.zeros(cells.count)
    with torch.inference_mode():
        for first in range(0, len(images.labels), EVAL_BATCH):
            part = slice(first, first + EVAL_BATCH)
            windows = images.windows[:, part].expand(cells.count, -1, -1, -1)
            logits, labels = cells.forward(windows, average=0), images.labels[part]
            correct += (logits.argmax(2) == labels).sum(1)
            target = labels.expand(cells.count, -1).reshape(-1)
            flat = functional.cross_entropy(
                logits.reshape(-1, logits.size(2)), target, reduction="none"
            )
            loss += flat.view(cells.count, -1).sum(1)
    count = len(images.labels)
    return [int(c) / count for c in correct], [float(value) / count for value in loss]


def _flipped(rows: Tensor, count: int, recipe: ProxyRecipe, generator: torch.Generator) -> Tensor:
    """Where the images, or with probability 1/2 their mirror images, stand among the windows."""
    if not recipe.flip:
        return rows
    return rows + count * (torch.rand(len(rows), generator=generator) < 0.5)


def _gathered(windows: Tensor, rows: list[Tensor]) -> Tensor:
    """Other images for every seed: [S, 27, N, P]."""
    return torch.stack([windows[:, r] for r in rows])


def _joined(maps: list[Tensor]) -> Tensor:
    return maps[0] if len(maps) == 1 else torch.cat(maps, dim=1)


def prepared(images: ImageSplits, recipe: ProxyRecipe) -> dict[str, Patches]:
    """The windows of all images, normalised as `gnas.train` does."""
    parts = normalised(images)
    return {
        name: Patches.of(
            x.contiguous(memory_format=torch.contiguous_format),
            y,
            mirrored=recipe.flip and name == "train",
        )
        for name, (x, y) in parts.items()
    }
