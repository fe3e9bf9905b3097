"""Checks of a supernet search before its first step, and of its batches."""

from __future__ import annotations

from gnas.data.images.loading import Batch
from gnas.data.images.parts import SearchLoaders
from gnas.errors import ConfigError, DataError
from gnas.search.toponas.config import ToponasConfig
from gnas.search.toponas.where import search_space, supernets_of
from gnas.spaces.base import Space

Batches = tuple[Batch, Batch, Batch | None]
"""A batch of w, one of alpha, and one of beta where it has its own."""
MIN_SIZE = 32
"""Smallest images that the ImageNet stem and the reductions leave something of."""


def check_search(space: Space, loaders: SearchLoaders, config: ToponasConfig) -> None:
    """Check that space, images and config fit together.

    Args:
        space: The space to derive in.
        loaders: The images of w, alpha and beta.
        config: The configuration.

    Raises:
        ConfigError: they do not.
    """
    wanted = search_space(config)
    if space != wanted:
        raise ConfigError(f"the space must be {wanted!r} as in the config, but got {space!r}")
    smallest = MIN_SIZE if config.stem == "imagenet" else supernets_of(config).smallest
    needs_beta = config.learns_topology and config.update == "alternating"
    if needs_beta != (loaders.beta is not None):
        raise ConfigError(
            f"beta must have batches of its own exactly if a topology is learned by alternating "
            f"updates, but got topology={config.topology!r}, update={config.update!r} and "
            f"{'no ' if loaders.beta is None else ''}loader of beta"
        )
    if loaders.image_size < smallest:
        raise ConfigError(
            f"images must be at least {smallest} pixels high and wide for the "
            f"{config.stem} stem, but are {loaders.image_size}"
        )


def check_batches(batches: Batches, loaders: SearchLoaders) -> None:
    """Check that batches are what the loaders say.

    Args:
        batches: One of w, one of alpha, and one of beta or None.
        loaders: Where they come from.

    Raises:
        DataError: they are not.
    """
    size = loaders.image_size
    for x, y in (batch for batch in batches if batch is not None):
        if x.shape[1:] != (loaders.in_channels, size, size) or y.shape != x.shape[:1]:
            raise DataError(
                f"batches must hold images [B, {loaders.in_channels}, {size}, {size}] and labels "
                f"[B], but got {list(x.shape)} and {list(y.shape)}"
            )


def memory_advice(config: ToponasConfig) -> str:
    """Options to change where the memory does not suffice.

    Args:
        config: The configuration.
    """
    return (
        f"raise accumulate (now {config.accumulate}: pieces that a batch of "
        f"{config.batch_size} is taken in), set recompute (now {config.recompute}), or lower "
        f"batch_size, channels (now {config.channels}) or the image size"
    )
