"""Metadata of exported files: expected inputs and the meaning of the outputs."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import gnas
from gnas.config import checked
from gnas.models import NetworkMetadata
from gnas.spaces import space_record


@checked
def metadata(facts: NetworkMetadata, *, dynamic_size: bool = False) -> dict[str, str]:
    """Texts by name, JSON where they are no plain texts.

    ``mean`` and ``std`` hold a number a channel, for pixels between 0 and 1, and are empty where
    pixels are taken as they are or no images are known; ``classes`` has the names in the order of
    the logits, or none; ``image_size`` is the height and width that the network was made for;
    ``num_classes``, ``space`` and ``architecture`` say what it is; ``axes`` names the axes of the
    input that may have any length, by their numbers.

    Args:
        facts: Metadata of the network.
        dynamic_size: Whether height and width may vary.

    Examples:
        >>> from gnas.spaces import NASGEM
        >>> space = NASGEM()
        >>> facts = NetworkMetadata(
        ...     space=space, architecture="conv_1x1|0", config=space.network_config(num_classes=2),
        ...     image_size=8, classes=("cat", "dog"),
        ... )
        >>> metadata(facts)["classes"]
        '["cat", "dog"]'
    """
    return {
        "gnas": gnas.__version__,
        "space": json.dumps(space_record(facts.space)),
        "architecture": facts.architecture,
        "image_size": json.dumps(facts.image_size),
        "num_classes": json.dumps(facts.config.num_classes),
        "classes": json.dumps(facts.classes),
        "mean": json.dumps(facts.mean),
        "std": json.dumps(facts.std),
        "axes": json.dumps({str(k): name for k, name in axes(dynamic_size).items()}),
    }


def for_prediction(facts: NetworkMetadata) -> NetworkMetadata:
    """The metadata of the same network without the auxiliary head that only training uses.

    Args:
        facts: Metadata of a network.
    """
    config: Any = facts.config
    if not getattr(config, "auxiliary", False):
        return facts
    return replace(facts, config=replace(config, auxiliary=False))


def axes(dynamic_size: bool) -> dict[int, str]:
    """Names of the axes of the input [batch, C, height, width] that may have any length."""
    return {0: "batch", 2: "height", 3: "width"} if dynamic_size else {0: "batch"}
