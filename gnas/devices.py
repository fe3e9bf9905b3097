"""Names of devices."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from gnas.errors import ConfigError


def resolve_device(name: str) -> str:
    """The device that ``name`` means: "auto" is a GPU where there is one, else the CPU.

    Raises:
        ConfigError: no such device here.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise _unknown(name) from error
    if device.type not in ("cpu", "cuda"):
        raise _unknown(name)
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    if (device.index or 0) >= count:
        raise ConfigError(
            f"device {name} must exist, but this machine has {count} usable GPUs; use --device cpu"
        )
    return name


@contextmanager
def explaining_memory(advice: str) -> Iterator[None]:
    """Turns running out of memory into an error that says which setting to change.

    Raises:
        ConfigError: "out of memory: " and ``advice``.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error)
        known = (
            "out of memory", "can't allocate memory", "Cannot allocate memory",
            "size calculation overflowed",
        )  # fmt: skip
        if not isinstance(error, MemoryError) and not any(part in text for part in known):
            raise
        raise ConfigError(f"out of memory: {advice}") from error


def _unknown(name: str) -> ConfigError:
    return ConfigError(f"device must be auto, cpu, cuda or cuda:N, but got {name!r}")
