"""Batch sizes that suit the number of images."""

from __future__ import annotations

from gnas.errors import ConfigError

FEWER = "batches of %d images instead of %d, so that a pass has four (--set batch_size=N)"
"""Notice of commands when `fitting_batch` lowers the default batch size."""
STEPS_A_PASS = 4
"""Fewest batches of a pass where nobody chose the batch size."""


def fitting_batch(wanted: int, count: int, *, accumulate: int = 1, processes: int = 1) -> int:
    """A batch size for ``count`` images: ``wanted``, or less so that a pass has four batches.

    Choice: of few images the largest power of two that a quarter of them fills, in whole pieces of
    at least two images.

    Args:
        wanted: For as many images as one likes.
        count: Images that are there.
        accumulate: Pieces of each process's share of a batch.
        processes: Processes that share it.

    Examples:
        >>> fitting_batch(96, 50_000), fitting_batch(96, 100), fitting_batch(96, 3)
        (96, 16, 2)
    """
    if count >= STEPS_A_PASS * wanted:
        return wanted
    pieces = accumulate * processes
    most = max(2, count // STEPS_A_PASS)
    power = 1 << (most.bit_length() - 1)
    return min(wanted, max(power // pieces, 2) * pieces)


def suited_batch(
    batch_size: int, count: int, *, accumulate: int = 1, processes: int = 1, chosen: bool
) -> int:
    """A batch size that suits the images, checked by `check_batch`.

    Args:
        batch_size: As configured.
        count: Images of the smallest part.
        accumulate: Pieces of each process's share of a batch.
        processes: Processes that share it.
        chosen: Whether a person chose it; otherwise it may be lowered by `fitting_batch`.

    Raises:
        ConfigError: names what does not hold.
    """
    if not chosen:
        batch_size = fitting_batch(batch_size, count, accumulate=accumulate, processes=processes)
    check_batch(batch_size, count, accumulate=accumulate, processes=processes)
    return batch_size


def check_batch(batch_size: int, count: int, *, accumulate: int = 1, processes: int = 1) -> None:
    """Check, before anything is written, that batches can be made and shared out.

    Args:
        batch_size: Images a step, of all processes together.
        count: Images of the smallest part.
        accumulate: Pieces of each process's share of a batch.
        processes: Processes that share it.

    Raises:
        ConfigError: names what does not hold.
    """
    check_shares(batch_size, count, processes)
    share = batch_size // processes
    if share % accumulate:
        raise ConfigError(
            f"each process's share of a batch must be a multiple of accumulate, but got {share} "
            f"images and accumulate={accumulate}; change either (--set batch_size=N, accumulate=N)"
        )
    if share // accumulate < 2:
        raise ConfigError(
            f"batch norm needs at least 2 images at a time, but gets {share // accumulate} with "
            f"batch_size={batch_size}, {processes} process(es) and accumulate={accumulate}; "
            "raise batch_size (--set batch_size=N) or lower accumulate"
        )


def check_shares(batch_size: int, count: int, processes: int) -> None:
    """Check that there are full batches, which the processes can share.

    Args:
        batch_size: Images a step, of all processes together.
        count: Images of the smallest part.
        processes: Processes that share it.

    Raises:
        ConfigError: names what does not hold.
    """
    if not 1 <= batch_size <= count:
        raise ConfigError(
            f"batch_size must be between 1 and the {count} images of the smallest part, "
            f"but got {batch_size}; lower it (--set batch_size=N), or take more images"
        )
    if batch_size % processes:
        raise ConfigError(
            f"batch_size must be a multiple of the {processes} processes, but got {batch_size}"
        )
