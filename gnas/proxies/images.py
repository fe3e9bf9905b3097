"""The images that proxies look at."""

from __future__ import annotations

from torch import Tensor

from gnas.errors import ConfigError


def check_batch(images: Tensor, *, least: int = 1) -> None:
    """Check that images are a batch of enough of them.

    Raises:
        ConfigError: they are not.
    """
    if images.dim() != 4 or len(images) < least:
        raise ConfigError(
            f"images must be [B, C, H, W] with B at least {least}, but have shape "
            f"{list(images.shape)}"
        )
