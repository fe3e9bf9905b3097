"""Short training of one network on images in memory: the cheap judgement of a candidate."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gnas.config import check_seed
from gnas.data.images.parts import ImageParts
from gnas.training.batching import batch_sizes, shuffled_batches
from gnas.training.devices import own_generator
from gnas.training.evaluation import EVAL_BATCH, evaluate
from gnas.training.recipe import ProxyRecipe
from gnas.training.step import minimize, momentum_sgd


@dataclass(frozen=True)
class ProxyResult:
    """Measurements of one short training; accuracies are fractions."""

    val_acc: float
    test_acc: float
    val_loss: float
    """Mean cross-entropy in nats on the validation images."""
    train_loss: float
    """Mean training loss of the last epoch in nats; not finite if the training diverged."""
    train_time_s: float
    """Wall-clock seconds of the training itself, without measuring."""


def fresh_network(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Network that ``build`` makes with the global generators at ``seed``.

    They are left as found.
    """
    with own_generator(check_seed(seed)):
        return build()


def train_proxy(
    network: nn.Module, images: ImageParts, recipe: ProxyRecipe, *, seed: int
) -> ProxyResult:
    """Train a network by ``recipe``, in place and on the CPU, and measure it.

    Args:
        network: The candidate with its initial weights, see `fresh_network`.
        images: Training, validation and test images.
        recipe: The training recipe.
        seed: Seed of the order of the images, the flips and what the network draws. The same
            seed and number of threads give the same bits.
    """
    network.to(memory_format=torch.channels_last)
    data, seed = normalised(images), check_seed(seed)
    with own_generator(seed):  # a user's network may have dropout
        start = time.perf_counter()
        train_loss = _fit(network, data["train"], recipe, seed)
        train_time_s = time.perf_counter() - start
        network.eval()
        val, test = (
            evaluate(
                network,
                zip(*(torch.split(part, EVAL_BATCH) for part in data[name]), strict=True),
                images.num_classes,
                channels_last=True,
            )
            for name in ("val", "test")
        )
    return ProxyResult(val.acc, test.acc, val.loss, train_loss, train_time_s)


def _fit(
    network: nn.Module, train: tuple[Tensor, Tensor], recipe: ProxyRecipe, seed: int
) -> float:
    """Run the recipe; return the mean loss of the last epoch."""
    x, y = train  # [N, C, H, W] and [N]
    sizes = batch_sizes(len(y), recipe.batch_size)
    steps = recipe.epochs * len(sizes)
    optimizer = momentum_sgd(
        network,
        lr=recipe.lr,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.momentum > 0,
    )
    loss_function = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
    generator = torch.Generator().manual_seed(seed)
    losses: list[float] = []
    network.train()
    minimize(
        shuffled_batches(
            len(y), recipe.batch_size, generator, epochs=recipe.epochs, keep_rest=True
        ),
        lambda rows: loss_function(network(_augment(x[rows], recipe, generator)), y[rows]),
        optimizer,
        clip_norm=recipe.gradient_clip,
        scheduler=torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: recipe.lr_factor(step, steps)
        ),
        report=lambda _, loss: losses.append(loss),
    )
    _recalibrate(network, x, recipe, generator)
    weighted = zip(losses[-len(sizes) :], sizes, strict=True)
    return sum((loss * size for loss, size in weighted), 0.0) / sum(sizes)


def _augment(x: Tensor, recipe: ProxyRecipe, generator: torch.Generator) -> Tensor:
    if not recipe.flip:
        return x
    mirrored = torch.rand(len(x), generator=generator).to(x.device) < 0.5  # [B]
    return torch.where(mirrored[:, None, None, None], x.flip(3), x)


def _recalibrate(
    network: nn.Module, x: Tensor, recipe: ProxyRecipe, generator: torch.Generator
) -> None:
    """Replace the running batch-norm statistics by plain means over a few batches."""
    if recipe.recalibrate == 0:
        return
    norms = [m for m in network.modules() if isinstance(m, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative mean
    with torch.no_grad():
        for k, rows in enumerate(shuffled_batches(len(x), EVAL_BATCH, generator, keep_rest=True)):
            if k == recipe.recalibrate:
                break
            network(x[rows])
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def normalised(images: ImageParts) -> dict[str, tuple[Tensor, Tensor]]:
    """Images as float32 with the training set's channel means 0 and deviations 1."""
    parts = {name: images.normalised(name) for name in ("train", "val", "test")}
    return {name: (x.to(memory_format=torch.channels_last), y) for name, (x, y) in parts.items()}
