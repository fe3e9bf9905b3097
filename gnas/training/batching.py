"""Order of the rows in a training, and pieces of a batch."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from gnas.data.images.loading import Batch
from gnas.errors import ConfigError


def batch_sizes(count: int, size: int) -> list[int]:
    """Sizes of the batches of a pass over all rows.

    Args:
        count: Rows.
        size: Rows a batch; a smaller last batch follows if it has at least two, which batch norm
            needs.

    Examples:
        >>> batch_sizes(10, 4), batch_sizes(9, 4)
        ([4, 4, 2], [4, 4])
    """
    whole, rest = divmod(count, size)
    return [size] * whole + [rest] * (rest > 1)


def shuffled_batches(
    count: int, size: int, generator: torch.Generator, *, epochs: int = 1, keep_rest: bool = False
) -> Iterator[Tensor]:
    """Passes over all rows, each in a random order of its own.

    Args:
        count: Rows.
        size: Rows a batch.
        generator: Source of the order; each pass draws when it begins.
        epochs: Number of passes.
        keep_rest: Whether a smaller last batch follows, see `batch_sizes`.

    Yields:
        Rows of a batch, int64 [B].

    Examples:
        >>> [len(rows) for rows in shuffled_batches(10, 4, torch.Generator())]
        [4, 4]
    """
    sizes = batch_sizes(count, size) if keep_rest else [size] * (count // size)
    for _ in range(epochs):
        order = torch.randperm(count, generator=generator)
        yield from torch.split(order[: sum(sizes)], sizes)


def micro_batches(batch: Batch, accumulate: int) -> list[Batch]:
    """Equal pieces of a batch, whose gradients add up to that of the batch.

    Args:
        batch: Images [B, C, H, W] and labels [B].
        accumulate: Number of pieces.

    Raises:
        ConfigError: B is no multiple of it.

    Examples:
        >>> x, y = torch.zeros(6, 3, 8, 8), torch.zeros(6, dtype=torch.int64)
        >>> [len(labels) for _, labels in micro_batches((x, y), 3)]
        [2, 2, 2]
    """
    x, y = batch
    if len(y) % accumulate:
        raise ConfigError(
            "each process's share of a batch must be a multiple of accumulate, but got "
            f"{len(y)} images and accumulate={accumulate}"
        )
    size = len(y) // accumulate
    return list(zip(torch.split(x, size), torch.split(y, size), strict=True))
