"""Choice of the kernels for given images."""

from __future__ import annotations

import logging
from functools import cache
from typing import Literal

from torch import Tensor

from gnas.errors import UnsupportedError
from gnas.fused import native, plain
from gnas.fused.features import Kernels

logger = logging.getLogger(__name__)


def kernels_for(images: Tensor, choice: Literal["auto", "native", "torch"] = "auto") -> Kernels:
    """The kernels for images of this device and number type.

    Args:
        images: A batch.
        choice: "native" (C), "torch", or "auto": C where it can run.

    Raises:
        UnsupportedError: ``choice`` is "native", but they cannot run here (no C compiler, another
            device or number type).

    Examples:
        >>> import torch
        >>> images = torch.rand(2, 4, 8, 8)
        >>> highest, average = kernels_for(images, "torch").pools(images, stride=2)
        >>> highest.value.shape
        torch.Size([2, 4, 4, 4])
    """
    if choice == "torch":
        return plain
    problem = native.native_problem(images)
    if problem is None:
        return native
    if choice == "native":
        raise UnsupportedError(problem)
    if images.device.type == "cpu":
        _warn_once(problem)
    return plain


@cache
def _warn_once(problem: str) -> None:
    logger.warning("%s; the supernet falls back to plain PyTorch, which is slower", problem)
