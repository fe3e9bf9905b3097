"""Trainings of NASGEM cells in C: several times as fast on one core as PyTorch's operators.

The network of `gnas.models.nasgem_network` with ``stem="imagenet"``, trained as
`gnas.training.short.train_proxy` trains it: the same initial weights, images, flips, steps and
measurement, up to the rounding of floats (a test compares them). On maps of 4x4 pixels PyTorch
spends its time on overhead; `nasgem_native.c` is compiled by the C compiler of the machine, for
its processor.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import subprocess
import tempfile
import time
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.data import Data

from gnas.data.images.parts import ImageParts
from gnas.errors import ConfigError
from gnas.models import NasgemNetworkConfig, nasgem_network
from gnas.spaces.nasgem.network import wiring
from gnas.training.batching import batch_sizes
from gnas.training.evaluation import EVAL_BATCH
from gnas.training.recipe import ProxyRecipe
from gnas.training.short import (
    ProxyResult,
    fresh_network,
    normalised,
)

SOURCE = Path(__file__).with_name("nasgem_native.c")
FLAGS = ("-O3", "-march=native", "-ffast-math", "-fno-finite-math-only", "-shared", "-fPIC")
Channels = list[tuple[int, int]]
"""What is read, channel by channel: an operation (-1: the images) and a channel of its map."""


class _Operation(ctypes.Structure):
    _fields_ = (
        ("num_inputs", ctypes.c_long),
        ("inputs", ctypes.POINTER(ctypes.c_long)),
        *(
            (name, ctypes.c_long)
            for name in (
                "out_channels", "depthwise", "stride", "size_in", "size_out", "w_depthwise",
                "w_pointwise", "w_scale", "w_shift", "keep_inputs",
            )
        ),
    )  # fmt: skip


class _Network(ctypes.Structure):
    _fields_ = (
        ("num_operations", ctypes.c_long),
        ("operations", ctypes.POINTER(_Operation)),
        ("num_outputs", ctypes.c_long),
        ("outputs", ctypes.POINTER(ctypes.c_long)),
        *(
            (name, ctypes.c_long)
            for name in ("num_classes", "num_images", "w_classifier", "w_bias")
        ),
    )


@cache
def library() -> ctypes.CDLL:
    """The compiled functions."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "nasgem_native.so"
        compiler = shlex.split(os.environ.get("CC", "")) or ["cc"]
        command = [*compiler, *FLAGS, "-o", str(path), str(SOURCE), "-lm"]
        subprocess.run(command, check=True)
        found = ctypes.CDLL(str(path))
    found.run.restype = ctypes.c_double
    pointer = ctypes.c_void_p
    found.run.argtypes = [
        ctypes.POINTER(_Network), pointer, pointer, pointer, pointer, ctypes.c_float, pointer,
        pointer, ctypes.c_long,
    ]  # fmt: skip
    found.gather.argtypes = [pointer, pointer, pointer, ctypes.c_long, ctypes.c_long]
    return found


@dataclass(frozen=True)
class Patches:
    """Images as the stem's 3x3 windows: no more than a matrix product is left of it.

    Shapes:
        windows [M, 27, P], the images, then (for training) their mirror images; labels [M].
    """

    windows: Tensor
    labels: Tensor

    @staticmethod
    def of(x: Tensor, y: Tensor, *, mirrored: bool = False) -> Patches:
        """Windows of normalised images [M, C, H, W]."""
        both = torch.cat([x, x.flip(3)]) if mirrored else x
        return Patches(functional.unfold(both, 3, padding=1, stride=2).contiguous(), y)

    def batch(self, rows: Tensor) -> Tensor:
        """The windows of some images, images last: [27, P, N]."""
        _, channels, pixels = self.windows.shape
        found = torch.empty(channels, pixels, len(rows))
        library().gather(
            self.windows.data_ptr(), rows.data_ptr(), found.data_ptr(), channels * pixels,
            len(rows),
        )  # fmt: skip
        return found


class NativeCell:
    """The network of one cell, for one seed.

    Args:
        graph: The cell.
        config: Form of the network; with the "imagenet" stem.
        seed: Of the initial weights.
        image_size: Pixels a side.

    Raises:
        ConfigError: another stem.
    """

    def __init__(
        self, graph: Data, config: NasgemNetworkConfig, seed: int, image_size: int
    ) -> None:
        if config.stem != "imagenet":
            raise ConfigError(f"stem must be 'imagenet', but got {config.stem!r}")
        network = fresh_network(partial(nasgem_network, graph, config), seed)
        self.values = nn.utils.parameters_to_vector(network.parameters()).detach().clone()
        """All weights: [D]."""
        self.num_classes = config.num_classes
        self._places: dict[str, int] = {}
        start = 0
        for name, weight in network.named_parameters():
            self._places[name] = start
            start += weight.numel()
        self._operations: list[_Operation] = []
        self._kept: list[object] = []
        """What C has pointers to."""
        size = (image_size + 1) // 2
        read: Channels = [(-1, k) for k in range(9 * config.in_channels)]
        width = config.channels
        read = self._add("stem", False, read, width, size, 1)
        cell, layer = wiring(graph), 0
        for stage in range(config.num_stages):
            width = config.channels * 2**stage
            read = self._add(f"layers.{layer}", True, read, width, size, 2)
            size, layer = (size + 1) // 2, layer + 1
            for _ in range(config.cells_per_stage):
                maps: list[Channels] = []
                for k, (op, inputs) in enumerate(zip(cell.ops, cell.inputs, strict=True)):
                    joined = [one for i in inputs for one in maps[i]] if inputs else read
                    name = f"layers.{layer}.nodes.{k}"
                    maps.append(self._add(name, op == "dw_sep_conv_3x3", joined, width, size, 1))
                read = [one for i in cell.outputs for one in maps[i]]
                layer += 1
        self._network = _Network(
            len(self._operations),
            (_Operation * len(self._operations))(*self._operations),
            len(read),
            self._longs(read),
            config.num_classes,
            0,
            self._places["classifier.weight"],
            self._places["classifier.bias"],
        )
        self.statistics = torch.zeros(sum(2 * op.out_channels for op in self._operations))

    def _longs(self, channels: Channels) -> ctypes.Array[ctypes.c_long]:
        flat = [number for one in channels for number in one]
        kept = (ctypes.c_long * len(flat))(*flat)
        self._kept.append(kept)
        return kept

    def _add(
        self, name: str, depthwise: bool, read: Channels, width: int, size: int, stride: int
    ) -> Channels:
        """Adds convolution, batch norm, ReLU; the channels that it makes."""
        first = int(depthwise)
        self._operations.append(
            _Operation(
                len(read),
                self._longs(read),
                width,
                first,
                stride,
                size,
                (size - 1) // stride + 1,
                self._places.get(f"{name}.0.weight", 0) if depthwise else 0,
                self._places[f"{name}.{first}.weight"],
                self._places[f"{name}.{first + 1}.weight"],
                self._places[f"{name}.{first + 1}.bias"],
                int(read[0][0] >= 0),
            )
        )
        return [(len(self._operations) - 1, k) for k in range(width)]

    def run(
        self,
        windows: Tensor,
        labels: Tensor | None = None,
        gradient: Tensor | None = None,
        label_smoothing: float = 0.0,
        average: int = -1,
    ) -> tuple[Tensor, float]:
        """Logits of windows [27, P, N], float32 [N, classes], and the sum of the losses.

        Args:
            windows: Of N images.
            labels: int64 [N]; None where no loss is asked for.
            gradient: [D], filled with that of the mean loss.
            label_smoothing: Of the loss.
            average: -1 in training; k >= 1: let the batch be the k-th of those whose statistics
                are averaged; 0: measure with the averages.
        """
        self._network.num_images = windows.size(2)
        logits = torch.empty(windows.size(2), self.num_classes)
        loss = library().run(
            ctypes.byref(self._network), self.values.data_ptr(), _pointer(gradient),
            windows.data_ptr(), _pointer(labels), label_smoothing, logits.data_ptr(),
            self.statistics.data_ptr(), average,
        )  # fmt: skip
        return logits, loss


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def train_native(
    graph: Data,
    config: NasgemNetworkConfig,
    images: dict[str, Patches],
    image_size: int,
    recipe: ProxyRecipe,
    seed: int,
) -> ProxyResult:
    """What `gnas.training.short.train_proxy` returns.

    Args:
        graph: The cell.
        config: As for `NativeCell`.
        images: "train" (with mirror images if the recipe flips), "val" and "test".
        image_size: Pixels a side.
        recipe: How to train.
        seed: Of the initial weights, the order of the images and the flips.
    """
    if not recipe.recalibrate:
        raise ConfigError(
            "recalibrate must be at least 1, since no running statistics are kept, but got 0"
        )
    start = time.perf_counter()
    cell = NativeCell(graph, config, seed, image_size)
    train = images["train"]
    count = len(train.labels)
    sizes = batch_sizes(count, recipe.batch_size)
    steps = recipe.epochs * len(sizes)
    generator = torch.Generator().manual_seed(seed)
    velocity, gradient = torch.zeros_like(cell.values), torch.empty_like(cell.values)
    loss, step = 0.0, 0
    for _ in range(recipe.epochs):
        loss = 0.0
        order = torch.randperm(count, generator=generator)
        for k, size in enumerate(sizes):
            rows = order[k * recipe.batch_size :][:size]
            seen = rows
            if recipe.flip:
                seen = rows + count * (torch.rand(size, generator=generator) < 0.5)
            _, sum_of_losses = cell.run(
                train.batch(seen), train.labels[rows], gradient, recipe.label_smoothing
            )
            loss += sum_of_losses
            _update(cell.values, gradient, velocity, recipe, recipe.lr_factor(step, steps))
            step += 1
    order = torch.randperm(count, generator=generator)
    for k, size in enumerate(batch_sizes(count, EVAL_BATCH)[: recipe.recalibrate]):
        cell.run(train.batch(order[k * EVAL_BATCH :][:size]), average=k + 1)
    seconds = time.perf_counter() - start
    val_acc, val_loss = _measured(cell, images["val"])
    test_acc, _ = _measured(cell, images["test"])
    return ProxyResult(val_acc, test_acc, val_loss, loss / sum(sizes), seconds)


def _update(
    values: Tensor, gradient: Tensor, velocity: Tensor, recipe: ProxyRecipe, share: float
) -> None:
    """One step of SGD with Nesterov momentum on a clipped gradient."""
    norm = float(gradient.norm())
    gradient.mul_(min(1.0, recipe.gradient_clip / (norm + 1e-6)))
    gradient.add_(values, alpha=recipe.weight_decay)
    velocity.mul_(recipe.momentum).add_(gradient)
    if recipe.momentum:
        gradient.add_(velocity, alpha=recipe.momentum)
    values.sub_(gradient, alpha=recipe.lr * share)


def _measured(cell: NativeCell, images: Patches) -> tuple[float, float]:
    """Accuracy (a fraction) and mean cross-entropy (nats)."""
    correct, loss = 0, 0.0
    for rows in torch.split(torch.arange(len(images.labels)), EVAL_BATCH):
        labels = images.labels[rows]
        logits, sum_of_losses = cell.run(images.batch(rows), labels, average=0)
        correct += int((logits.argmax(1) == labels).sum())
        loss += sum_of_losses
    return correct / len(images.labels), loss / len(images.labels)


def prepared(images: ImageParts, recipe: ProxyRecipe) -> dict[str, Patches]:
    """The windows of all images, normalised as `gnas.training.short` does."""
    parts = normalised(images)
    return {
        name: Patches.of(
            x.contiguous(memory_format=torch.contiguous_format),
            y,
            mirrored=recipe.flip and name == "train",
        )
        for name, (x, y) in parts.items()
    }
