"""Accuracy and speed of a trained network."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gnas.config import Precision
from gnas.data.images.loading import Batch
from gnas.errors import DataError
from gnas.training.devices import device_name, own_generator
from gnas.training.distributed import SINGLE_PROCESS, DistributedContext
from gnas.training.step import autocast

TOP = 5
"""Largest logits among which the second accuracy looks for the class."""
EVAL_BATCH = 256
"""Images a batch when measuring."""


@dataclass(frozen=True)
class EvalResult:
    """Results of a network on images that it was not trained on."""

    count: int
    """Images."""
    loss: float
    """Mean cross-entropy in nats."""
    acc: float
    """Share of the images whose class has the largest logit."""
    top5: float | None
    """Share of those whose class is among the 5 largest; None for 5 classes or fewer."""
    confusion: Tensor
    """int64 [classes, classes]: images of class i that were taken for class j."""
    unreadable: int
    """Files that could not be decoded, which count nowhere."""

    def metrics(self, part: str) -> dict[str, float | int | None]:
        """The numbers by name, each with the name of the ``part`` before it."""
        return {
            f"{part}_acc": self.acc,
            f"{part}_top5": self.top5,
            f"{part}_loss": self.loss,
            f"{part}_images": self.count,
        }


@contextmanager
def eval_mode(network: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards every part is in its own mode again."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def evaluate(
    network: nn.Module,
    batches: Iterable[Batch],
    num_classes: int,
    *,
    device: str = "cpu",
    precision: Precision = "float32",
    channels_last: bool = False,
    context: DistributedContext = SINGLE_PROCESS,
) -> EvalResult:
    """Accuracy and loss of a network, which is left in the mode in which it was.

    Args:
        network: Maps images to logits, on ``device``.
        batches: This process's share of the images, each once; label -1 is left out.
        num_classes: Width of the classifier.
        device: Torch device.
        precision: Precision of `autocast`.
        channels_last: Memory format of the images.
        context: This process among all that share the images.

    Raises:
        DataError: there are no images.
    """
    form = torch.channels_last if channels_last else torch.contiguous_format
    confusion = torch.zeros(num_classes**2, dtype=torch.int64, device=device)
    sums = torch.zeros(3, dtype=torch.float64, device=device)  # loss, in the top 5, unreadable
    with eval_mode(network), torch.inference_mode():
        for x, y in batches:  # [B, C, H, W] and [B]
            sums[2] += (y < 0).sum()
            x, y = x[y >= 0].to(memory_format=form), y[y >= 0]
            with autocast(device, precision):
                logits = network(x)  # [B, classes]
            logits = logits.float()
            sums[0] += nn.functional.cross_entropy(logits, y, reduction="sum").double()
            if num_classes > TOP:
                sums[1] += (logits.topk(TOP, 1).indices == y[:, None]).sum()
            cells = y * num_classes + logits.argmax(1)  # [B], places in the matrix
            confusion += torch.bincount(cells, minlength=num_classes**2)
    confusion, sums = context.total(confusion), context.total(sums)
    matrix = confusion.view(num_classes, num_classes).cpu()  # [true class, taken for]
    count = int(matrix.sum())
    if count == 0:
        raise DataError("there must be images to measure on, but there is none that can be read")
    loss, top5, unreadable = sums.tolist()
    return EvalResult(
        count=count,
        loss=loss / count,
        acc=int(matrix.diagonal().sum()) / count,
        top5=top5 / count if num_classes > TOP else None,
        confusion=matrix,
        unreadable=int(unreadable),
    )


def latency(
    network: nn.Module,
    input_shape: tuple[int, int, int],
    *,
    device: str = "cpu",
    batch_size: int = 1,
    repeats: int = 50,
    warmup: int = 10,
) -> dict[str, Any]:
    """Median time of a forward pass in milliseconds, its quartiles, and where it was taken.

    Args:
        network: In evaluation mode, on ``device``.
        input_shape: [C, H, W] of an image.
        device: Torch device.
        batch_size: Images a pass.
        repeats: Passes that count.
        warmup: Passes before those.
    """
    x = torch.randn(batch_size, *input_shape, generator=torch.Generator().manual_seed(0))
    x = x.to(device)  # [B, C, H, W]
    times = []
    with own_generator(), torch.inference_mode():
        for k in range(warmup + repeats):
            start = time.perf_counter()
            network(x)
            if device.startswith("cuda"):
                torch.cuda.synchronize(device)
            if k >= warmup:
                times.append(1000 * (time.perf_counter() - start))
    low, median, high = statistics.quantiles(times, n=4)
    return {
        "median_ms": median,
        "quartiles_ms": [low, high],
        "batch_size": batch_size,
        "repeats": repeats,
        "device": device_name(device),
        "threads": torch.get_num_threads(),
    }
