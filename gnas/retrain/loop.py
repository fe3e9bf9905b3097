"""Training from new weights: epochs, their metrics, and the result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from gnas.data.images.parts import ImageParts
from gnas.errors import ConfigError
from gnas.geometric import Data
from gnas.retrain.config import RetrainConfig
from gnas.retrain.state import RetrainState
from gnas.spaces import Space
from gnas.spaces.networks import NetworkConfig
from gnas.training.distributed import SINGLE_PROCESS, DistributedContext
from gnas.training.evaluation import EVAL_BATCH, EvalResult, evaluate
from gnas.training.loop import run_epochs, seeded
from gnas.training.recording import Progress, RunRecord

SYNC_EVERY = 20
"""Steps between looks at the losses on a GPU, which would wait for each one otherwise."""


@dataclass(frozen=True)
class RetrainResult:
    """A trained network and what it does.

    Examples:
        >>> from gnas.data.images import open_train_images
        >>> from gnas.retrain import plan_retrain, retrain
        >>> from gnas.spaces import NASGEM
        >>> space = NASGEM()
        >>> plan = plan_retrain(
        ...     space, "conv_1x1|0", "digits", epochs=1, channels=4, num_stages=1,
        ...     batch_size=512, image_size=8, auxiliary_weight=0, drop_path=0,
        ... )
        >>> network = space.network_config(in_channels=1, channels=4, num_stages=1)
        >>> images = open_train_images(plan.images)
        >>> found = retrain(space, space.from_str("conv_1x1|0"), network, images, plan.config)
        >>> found.network.training, found.best is None  # no images chose an epoch
        (False, True)
    """

    network: nn.Module
    """Network with the weights after the last epoch, in evaluation mode."""
    best: nn.Module | None
    """Network with the weights after the epoch that was best on the validation part, if any."""
    best_epoch: int | None
    """Its number."""
    test: EvalResult
    """Accuracy and loss of ``network`` on the test images."""
    best_test: EvalResult | None
    """Accuracy and loss of ``best`` on the test images."""
    raised_after: list[int]
    """Epochs that it was to have at first, and each time when they were raised afterwards."""
    epochs: list[dict[str, Any]]
    """Metrics of every epoch."""
    seconds: float
    """Time spent on it."""


def retrain(
    space: Space,
    graph: Data,
    network_config: NetworkConfig,
    images: ImageParts,
    config: RetrainConfig,
    *,
    device: str = "cpu",
    context: DistributedContext = SINGLE_PROCESS,
    record: RunRecord[RetrainState] | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
) -> RetrainResult:
    """Train the network of an architecture and test it.

    On the CPU the same config, images and number of threads and processes give the same bits,
    whether the training was interrupted or not. The global generator is left as found.

    Args:
        space: The architecture's.
        graph: The architecture.
        network_config: Size and form of the network.
        images: To train and test on.
        config: The configuration.
        device: Torch device.
        context: This process among all that train together.
        record: Where the main process writes what happens, and a resumed training starts from.
        report: Called after every step (on a GPU every `SYNC_EVERY`).

    Returns:
        The trained network, and its accuracy on the test images.

    Raises:
        ConfigError: images and config do not fit together, the record is of another training,
            or the memory does not suffice.
        GnasError: a loss is not finite.

    Examples:
        >>> from gnas.data.images import open_train_images
        >>> from gnas.retrain import plan_retrain
        >>> from gnas.spaces import NASGEM
        >>> space = NASGEM()
        >>> plan = plan_retrain(
        ...     space, "conv_1x1|0", "digits", epochs=1, channels=4, num_stages=1,
        ...     batch_size=512, image_size=8, auxiliary_weight=0, drop_path=0,
        ... )
        >>> network = space.network_config(in_channels=1, channels=4, num_stages=1)
        >>> images = open_train_images(plan.images)
        >>> found = retrain(space, space.from_str("conv_1x1|0"), network, images, plan.config)
        >>> len(found.epochs), found.test.confusion.shape
        (1, torch.Size([10, 10]))
    """
    wanted = (images.in_channels, images.num_classes)
    if (network_config.in_channels, network_config.num_classes) != wanted:
        raise ConfigError(
            f"the network must have in_channels={wanted[0]} and num_classes={wanted[1]}, as the "
            f"images have, but has {network_config.in_channels} and {network_config.num_classes}"
        )
    advice = (
        f"raise accumulate (now {config.accumulate}: pieces that a batch of {config.batch_size} "
        "is taken in), or lower batch_size, channels or the image size"
    )
    with seeded(config.seed, device, advice):
        network = space.network(graph, network_config).to(device)
        training = RetrainState(network, config, device, context)
        loader = images.batches(
            "train",
            config.batch_size,
            config.augmentation,
            seed=config.seed,
            device=device,
            rank=context.rank,
            world=context.size,
        )
        run_epochs(
            training,
            epochs=config.epochs,
            steps_per_epoch=loader.batches_per_epoch,
            batches=loader.iter_from,
            step=training.learn,
            end_epoch=lambda _, epoch: _end_epoch(
                training, images, epoch, loader.batches_per_epoch
            ),
            record=record,
            report=report,
            report_every=SYNC_EVERY if device.startswith("cuda") else 1,
        )
        return _result(space, graph, network_config, training, images)


def _end_epoch(training: RetrainState, images: ImageParts, epoch: int, per_epoch: int) -> None:
    config, context = training.config, training.context
    metrics: dict[str, Any] = {
        "epoch": epoch + 1,
        "step": training.step,
        "lr": config.lr_at(epoch),
        "drop_path": config.drop_path_at(epoch),
        **training.take_means(per_epoch),
    }
    context.check_identical(training.parameters, "weights")
    context.broadcast(list(training.network.buffers()))  # the running statistics of the main one
    if len(images.rows["val"]):
        metrics |= evaluate_part(training, training.network, images, "val").metrics("val")
        earlier = [old["val_acc"] for old in training.epochs]
        if metrics["val_acc"] > max(earlier, default=-1.0):
            training.keep_best()
    if config.test_every and (epoch + 1) % config.test_every == 0:
        metrics |= evaluate_part(training, training.network, images, "test").metrics("test")
    metrics["seconds"] = training.seconds
    training.epochs.append(metrics)


def evaluate_part(
    training: RetrainState, network: nn.Module, images: ImageParts, part: str
) -> EvalResult:
    """Measure a network on a part of the images, all processes together."""
    config, context = training.config, training.context
    return evaluate(
        network,
        images.eval_batches(
            part, EVAL_BATCH, device=training.device, rank=context.rank, world=context.size
        ),
        images.num_classes,
        device=training.device,
        precision=config.precision,
        channels_last=config.channels_last,
        context=context,
    )


def _result(
    space: Space,
    graph: Data,
    network_config: NetworkConfig,
    training: RetrainState,
    images: ImageParts,
) -> RetrainResult:
    seconds = training.seconds
    best, best_epoch, best_test = None, None, None
    if training.best:
        shares = [epoch["val_acc"] for epoch in training.epochs]
        best_epoch = 1 + shares.index(max(shares))
        best = space.network(graph, network_config).to(training.device)
        best.load_state_dict(training.best)
        best_test = evaluate_part(training, best.eval(), images, "test")
    return RetrainResult(
        network=training.network.eval(),
        best=best,
        best_epoch=best_epoch,
        test=evaluate_part(training, training.network, images, "test"),
        best_test=best_test,
        raised_after=training.raised_after,
        epochs=training.epochs,
        seconds=seconds,
    )
