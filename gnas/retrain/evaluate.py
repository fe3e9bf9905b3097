"""Testing saved networks."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import nn

from gnas.config import check_count
from gnas.data.images.config import TrainImagesConfig
from gnas.data.images.loading import Normalization
from gnas.data.images.parts import ImageParts, open_train_images
from gnas.errors import DataError
from gnas.models.counting import num_macs, num_params
from gnas.models.saved import NetworkMetadata
from gnas.retrain.config import MAX_TIMED
from gnas.runs import NOTICE, environment
from gnas.training.devices import gpus_of, own_generator
from gnas.training.evaluation import EVAL_BATCH, evaluate, latency

logger = logging.getLogger(__name__)

COMMAND = "evaluate"


def evaluate_network(
    network: nn.Module,
    facts: NetworkMetadata,
    images: TrainImagesConfig,
    *,
    device: str = "cpu",
    batch_size: int = 1,
) -> dict[str, Any]:
    """Accuracy of a saved network on test images, its size and its speed.

    Pixels are normalised as in its training.

    Args:
        network: As `load_network` returns it.
        facts: As well.
        images: Whose test part.
        device: Torch device.
        batch_size: Images a pass when it is timed, at most `MAX_TIMED`.

    Returns:
        What ``--json`` writes.

    Raises:
        ConfigError: ``batch_size`` is out of its range.
        DataError: the images are not of the classes or channels of the network.
        MissingDataError: there are no images.
    """
    check_count(batch_size, "batch_size", 1, MAX_TIMED)
    normalization = Normalization(
        tuple(255 * value for value in facts.mean or (0.0,) * facts.config.in_channels),
        tuple(255 * value for value in facts.std or (1 / 255,) * facts.config.in_channels),
    )
    opened = open_train_images(images, normalization=normalization, only_test=True)
    logger.log(NOTICE, "%s", opened.line("test"))
    _check_fit(facts, opened)
    network = network.to(device).eval()
    shape = (opened.in_channels, images.size, images.size)
    with own_generator(0, gpus_of(device)):
        found = evaluate(
            network,
            opened.eval_batches("test", EVAL_BATCH, device=device),
            opened.num_classes,
            device=device,
        )
    return {
        "command": COMMAND,
        "architecture": facts.architecture,
        "data": {**opened.metadata(), "read": opened.line("test")},
        "classes": facts.classes or opened.classes,
        "metrics": found.metrics("test"),
        "confusion": found.confusion,
        "unreadable_test_images": found.unreadable,
        "params": num_params(network),
        "macs": num_macs(network, shape),
        "latency": latency(network, shape, device=device, batch_size=batch_size),
        **environment(device),
        "threads": torch.get_num_threads(),
    }


def _check_fit(facts: NetworkMetadata, images: ImageParts) -> None:
    wanted = facts.config
    if images.num_classes != wanted.num_classes:
        raise DataError(
            f"images must have the {wanted.num_classes} classes of the weights, "
            f"but have {images.num_classes}"
        )
    if images.in_channels != wanted.in_channels:
        raise DataError(
            f"images must have the {wanted.in_channels} channels of the weights, "
            f"but have {images.in_channels}"
        )
    named = [
        names for names in (facts.classes, images.classes) if not all(map(str.isdigit, names))
    ]
    if len(named) == 2:
        for label, (ours, theirs) in enumerate(zip(*named, strict=True)):
            if ours != theirs:
                raise DataError(
                    f"images must have the classes of the weights in their order, but class "
                    f"{label} is {ours!r} there and {theirs!r} here"
                )
