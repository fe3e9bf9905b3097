"""Train one network on images held in memory: the cheap proxy that judges a candidate."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gnas.config import check_seed
from gnas.data.images import ImageSplits
from gnas.training.recipe import ProxyRecipe

EVAL_BATCH = 256
"""Images a batch when measuring; has no influence on the result."""


@dataclass(frozen=True)
class ProxyResult:
    """What one short training measured; accuracies are fractions."""

    val_acc: float
    test_acc: float
    val_loss: float
    """Mean cross-entropy in nats on the validation images."""
    train_loss: float
    """Mean training loss of the last epoch in nats; not finite if the training diverged."""
    train_time_s: float
    """Wall-clock seconds of the training itself, without measuring."""


def fresh_network(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """What ``build`` makes with torch's global generator at ``seed``; it is left as found."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(check_seed(seed))
        return build()


def train_proxy(
    network: nn.Module, images: ImageSplits, recipe: ProxyRecipe, *, seed: int
) -> ProxyResult:
    """Trains a network by ``recipe``, in place and on the CPU, and measures it.

    Args:
        network: The candidate with its initial weights, see `fresh_network`.
        images: Training, validation and test images.
        recipe: How to train.
        seed: Of the order of the images and the flips. The same seed and number of threads give
            the same bits.
    """
    network.to(memory_format=torch.channels_last)
    data = normalised(images)
    start = time.perf_counter()
    train_loss = _fit(network, data["train"], recipe, seed)
    train_time_s = time.perf_counter() - start
    val_acc, val_loss = accuracy_and_loss(network, *data["val"])
    test_acc, _ = accuracy_and_loss(network, *data["test"])
    return ProxyResult(val_acc, test_acc, val_loss, train_loss, train_time_s)


def accuracy_and_loss(network: nn.Module, x: Tensor, y: Tensor) -> tuple[float, float]:
    """Accuracy (a fraction) and mean cross-entropy (nats) of ``network`` on the images.

    Shapes:
        x [N, C, H, W], y [N].
    """
    network.eval()
    correct, loss = 0, 0.0
    with torch.inference_mode():
        for images, labels in zip(
            torch.split(x, EVAL_BATCH), torch.split(y, EVAL_BATCH), strict=True
        ):
            logits = network(images)
            correct += int((logits.argmax(1) == labels).sum())
            loss += float(nn.functional.cross_entropy(logits, labels, reduction="sum"))
    return correct / len(y), loss / len(y)


def _fit(
    network: nn.Module, train: tuple[Tensor, Tensor], recipe: ProxyRecipe, seed: int
) -> float:
    """Runs the recipe; returns the mean loss of the last epoch."""
    x, y = train
    steps = recipe.epochs * len(batch_sizes(len(y), recipe.batch_size))
    parameters = [p for p in network.parameters() if p.dim() > 0]  # no place-holder scalars
    optimizer = torch.optim.SGD(
        parameters,
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.momentum > 0,
        weight_decay=recipe.weight_decay,
        fused=True,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: rate_share(recipe, step, steps)
    )
    loss_function = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
    generator = torch.Generator().manual_seed(check_seed(seed))
    mean_loss = 0.0
    network.train()
    for _ in range(recipe.epochs):
        total = 0.0
        for rows in _batches(len(y), recipe.batch_size, generator):
            optimizer.zero_grad(set_to_none=True)
            loss = loss_function(network(_augment(x[rows], recipe, generator)), y[rows])
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, recipe.gradient_clip)
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) * len(rows)
        mean_loss = total / sum(batch_sizes(len(y), recipe.batch_size))
    _recalibrate(network, x, recipe, generator)
    return mean_loss


def rate_share(recipe: ProxyRecipe, step: int, steps: int) -> float:
    """Share of the peak rate at one of ``steps`` steps: linear from 0 to 1, then a cosine to 0."""
    warmup_steps = max(1, round(recipe.warmup * steps))
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / max(1, steps - warmup_steps)))


def batch_sizes(count: int, size: int) -> list[int]:
    """Images of every batch of a pass; a last single one is left out, batch norm needs two."""
    whole, rest = divmod(count, size)
    return [size] * whole + [rest] * (rest > 1)


def _batches(count: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    order = torch.randperm(count, generator=generator)
    sizes = batch_sizes(count, size)
    yield from torch.split(order[: sum(sizes)], sizes)


def _augment(x: Tensor, recipe: ProxyRecipe, generator: torch.Generator) -> Tensor:
    if not recipe.flip:
        return x
    mirrored = torch.rand(len(x), generator=generator).to(x.device) < 0.5
    return torch.where(mirrored[:, None, None, None], x.flip(3), x)


def _recalibrate(
    network: nn.Module, x: Tensor, recipe: ProxyRecipe, generator: torch.Generator
) -> None:
    """Replaces the running batch-norm statistics by plain means over a few batches."""
    if recipe.recalibrate == 0:
        return
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative mean
    with torch.no_grad():
        for k, rows in enumerate(_batches(len(x), EVAL_BATCH, generator)):
            if k == recipe.recalibrate:
                break
            network(x[rows])
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def normalised(images: ImageSplits) -> dict[str, tuple[Tensor, Tensor]]:
    """Images as float32 with the training set's channel means 0 and deviations 1."""
    mean, std = (values[:, None, None] for values in images.statistics)  # [C, 1, 1]

    def prepare(pixels: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return ((pixels.float() - mean) / std).to(memory_format=torch.channels_last), labels

    return {
        "train": prepare(images.x_train, images.y_train),
        "val": prepare(images.x_val, images.y_val),
        "test": prepare(images.x_test, images.y_test),
    }
