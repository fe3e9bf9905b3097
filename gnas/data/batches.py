"""Endless batches of labelled images, any of which can be made again from its number alone.

The order of every pass and the augmentation of every image are functions of (seed, stream, batch
number), never of a running generator: a search that is resumed in the middle of a pass sees the
same images as one that never stopped. With several processes each gets its slice of a batch.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from gnas.config import check_seed
from gnas.data.decoding import UnreadableImageError, read_rgb
from gnas.data.fitting import check_shares
from gnas.data.folders import MAX_UNREADABLE, ImageList
from gnas.errors import DataError
from gnas.processes import worker_context

logger = logging.getLogger(__name__)

Batch = tuple[Tensor, Tensor]
"""Images float32 [B, C, H, W] and labels int64 [B], on the device."""


class Batches(Protocol):
    """Protocol of an endless, resumable source of batches."""

    @property
    def batches_per_epoch(self) -> int:
        """Full batches in one pass over the images."""
        ...

    def iter_from(self, start: int) -> Iterator[Batch]:
        """Batch number ``start`` and, without end, those after it."""
        ...


@dataclass(frozen=True, kw_only=True)
class BatchSchedule:
    """Assignment of images to batches and processes."""

    count: int
    """Images in all."""
    batch_size: int
    """Images a batch, of all processes together; an incomplete last batch is left out."""
    seed: int
    """Seed of the order and the augmentation."""
    stream: int = 0
    """Number of this part, so that parts with one seed differ."""
    rank: int = 0
    """Number of this process."""
    world: int = 1
    """Number of processes."""

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_shares(self.batch_size, self.count, self.world)

    @property
    def batches_per_epoch(self) -> int:
        """Full batches in one pass."""
        return self.count // self.batch_size

    @property
    def local_slice(self) -> slice:
        """This process's images of a batch."""
        share = self.batch_size // self.world
        return slice(self.rank * share, (self.rank + 1) * share)

    def batches(self, start: int) -> Iterator[tuple[int, Tensor]]:
        """Number and rows int64 [batch_size] of batch ``start`` and, without end, of the next."""
        number = start
        while True:
            turn, within = divmod(number, self.batches_per_epoch)
            order = torch.randperm(self.count, generator=self.generator(0, turn))
            for k in range(within, self.batches_per_epoch):
                yield number, order[k * self.batch_size : (k + 1) * self.batch_size]
                number += 1

    def generator(self, use: int, number: int) -> torch.Generator:
        """A generator for one use (0 order, 1 augmentation) of one pass or batch."""
        mixed = np.random.SeedSequence([self.seed, self.stream, use, number])
        return torch.Generator().manual_seed(int(mixed.generate_state(1, np.uint64)[0] >> 1))


@dataclass(frozen=True)
class Normalization:
    """Means and deviations per channel, in units of pixels from 0 to 255."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @staticmethod
    def of(x: Tensor) -> Normalization:
        """Statistics of images uint8 [N, C, H, W]; a constant channel has deviation 1."""
        chunks = torch.split(x, 4096)
        count = x.numel() / x.size(1)
        mean = torch.stack([c.double().sum((0, 2, 3)) for c in chunks]).sum(0) / count
        square = torch.stack([c.double().square().sum((0, 2, 3)) for c in chunks]).sum(0) / count
        std = (square - mean.square()).clamp_min(0).sqrt()
        std = torch.where(std < 1, 1.0, std)
        return Normalization(tuple(mean.tolist()), tuple(std.tolist()))

    def __call__(self, x: Tensor) -> Tensor:
        """uint8 [B, C, H, W] -> float32 with mean 0 and deviation 1."""
        mean = torch.tensor(self.mean, device=x.device)[:, None, None]
        std = torch.tensor(self.std, device=x.device)[:, None, None]
        return (x.float() - mean) / std


IMAGENET = Normalization((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
"""The usual statistics of ImageNet."""


def random_crop_flip(x: Tensor, padding: int, flip: bool, generator: torch.Generator) -> Tensor:
    """Random crops of the black-padded images, mirrored with probability 1/2 if ``flip``.

    Args:
        x: Images [B, C, H, W].
        padding: Pixels of black padding on each side.
        flip: Whether to mirror images at random.
        generator: Source of randomness.

    Shapes:
        [B, C, H, W] -> [B, C, H, W], of any type, on x's device.
    """
    b, c, h, w = x.shape
    draws = torch.randint(0, 2 * padding + 1, (b, 2), generator=generator)
    mirrored = torch.rand(b, generator=generator) < (0.5 if flip else 0.0)
    rows = draws[:, :1] + torch.arange(h)  # [B, H]
    columns = draws[:, 1:] + torch.arange(w)  # [B, W]
    columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    padded = torch.nn.functional.pad(x, (padding,) * 4)
    index = (
        torch.arange(b)[:, None, None, None],
        torch.arange(c)[None, :, None, None],
        rows[:, None, :, None],
        columns[:, None, None, :],
    )
    return padded[tuple(i.to(x.device, non_blocking=True) for i in index)]


def cutout(x: Tensor, length: int, order: BatchSchedule, number: int) -> Tensor:
    """The images of batch ``number`` with a square in each set to 0, the mean.

    Its centre is any pixel; what lies beyond the border is lost. Source: DeVries and Taylor,
    Improved Regularization of Convolutional Neural Networks with Cutout, 2017.

    Args:
        x: Normalised images [B, C, H, W] of this process.
        length: Side of the square in pixels; 0 cuts nothing out.
        order: Schedule of the batches.
        number: Index of the batch.

    Shapes:
        [B, C, H, W] -> [B, C, H, W], this process's images of the batch.
    """
    if length == 0:
        return x
    h, w = x.shape[2:]
    draws = torch.rand(order.batch_size, 2, generator=order.generator(2, number))[
        order.local_slice
    ]
    first = (draws * torch.tensor([h, w])).long() - length // 2  # [B, 2]
    rows = torch.arange(h) - first[:, :1]  # [B, H], from 0 to length inside
    columns = torch.arange(w) - first[:, 1:]
    inside = ((rows >= 0) & (rows < length))[:, :, None] & ((columns >= 0) & (columns < length))[
        :, None, :
    ]
    return x.masked_fill(inside[:, None].to(x.device, non_blocking=True), 0.0)


class MemoryBatches:
    """Batches of images that are held whole on the device."""

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        order: BatchSchedule,
        *,
        scaling: Normalization,
        padding: int = 0,
        flip: bool = False,
        cutout: int = 0,
        device: str = "cpu",
    ) -> None:
        """Move the images to the device.

        Args:
            x: uint8 [N, C, H, W].
            y: int64 [N].
            order: Schedule of the batches.
            scaling: Statistics to normalise by.
            padding: Largest shift in pixels.
            flip: Mirror every second image.
            cutout: Height and width of a square that is blanked in every image.
            device: Device of the batches.
        """
        self._x, self._y = x.to(device), y.to(device)
        self._order, self._scaling = order, scaling
        self._padding, self._flip, self._cutout = padding, flip, cutout

    @property
    def batches_per_epoch(self) -> int:
        """See `Batches`."""
        return self._order.batches_per_epoch

    def iter_from(self, start: int) -> Iterator[Batch]:
        """See `Batches`."""
        for number, rows in self._order.batches(start):
            rows = rows.to(self._x.device)
            x, y = self._x[rows], self._y[rows]
            if self._padding or self._flip:
                x = random_crop_flip(
                    x, self._padding, self._flip, self._order.generator(1, number)
                )
            x = self._scaling(x[self._order.local_slice])
            yield cutout(x, self._cutout, self._order, number), y[self._order.local_slice]


class FileBatches:
    """Batches of images that worker processes read, crop at random and mirror.

    An image that cannot be decoded is named in a warning and replaced by the next one.
    """

    def __init__(
        self,
        images: ImageList,
        order: BatchSchedule,
        *,
        image_size: int,
        flip: bool = True,
        cutout: int = 0,
        jitter: float = 0.0,
        workers: int = 4,
        device: str = "cpu",
    ) -> None:
        """Read nothing yet.

        Args:
            images: The files.
            order: Schedule of the batches.
            image_size: Height and width of the random crops.
            flip: Mirror every second image.
            cutout: Height and width of a square that is blanked in every image.
            jitter: Largest relative change of brightness, contrast and saturation; the hue
                changes by up to half of it (0.4 and 0.2 in DARTS).
            workers: Processes that read ahead; 0 reads in this one.
            device: Device of the batches.
        """
        self._images, self._order = images, order
        self._crops = _Crops(images, image_size, flip, jitter)
        self._cutout = cutout
        self._workers, self._device = workers, device
        self.unreadable: set[int] = set()
        """Rows that could not be decoded so far."""

    @property
    def batches_per_epoch(self) -> int:
        """See `Batches`."""
        return self._order.batches_per_epoch

    def iter_from(self, start: int) -> Iterator[Batch]:
        """See `Batches`.

        Raises:
            DataError: more than 1% of the images cannot be decoded.
        """
        loader: torch.utils.data.DataLoader[Any] = torch.utils.data.DataLoader(
            self._crops,
            batch_sampler=_Sampler(self._order, start),
            num_workers=self._workers,
            pin_memory=self._device.startswith("cuda"),
            generator=torch.Generator(),  # or it would draw from the global one
            multiprocessing_context=worker_context(__name__) if self._workers else None,
        )
        for number, (x, y, failed) in enumerate(loader, start):
            self._note(failed[failed >= 0].tolist())
            x = IMAGENET(x.to(self._device, non_blocking=True))
            yield (
                cutout(x, self._cutout, self._order, number),
                y.to(self._device, non_blocking=True),
            )

    def _note(self, rows: list[int]) -> None:
        new = set(rows) - self.unreadable
        self.unreadable |= new
        for row in sorted(new):
            logger.warning("left out an unreadable image: %s", self._why(row))
        if len(self.unreadable) > MAX_UNREADABLE * self._order.count:
            raise DataError(
                f"at most {MAX_UNREADABLE:.0%} of the images may be unreadable, but "
                f"{len(self.unreadable)} of {self._order.count} are, for example "
                f"{self._why(min(self.unreadable))}"
            )

    def _why(self, row: int) -> str:
        """The file of an image that could not be read, and the reason."""
        path = self._images.path(row)
        try:
            read_rgb(path)
        except UnreadableImageError as error:
            return f"{path}: {error}"
        return str(path)


class _Sampler:
    """Lists of (row, seed) for the data loader; the seed makes the crop repeatable."""

    def __init__(self, order: BatchSchedule, start: int) -> None:
        self._order, self._start = order, start

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for number, rows in self._order.batches(self._start):
            generator = self._order.generator(1, number)
            seeds = torch.randint(0, 2**62, (len(rows),), generator=generator)
            own = self._order.local_slice
            yield list(zip(rows[own].tolist(), seeds[own].tolist(), strict=True))


class _Crops(torch.utils.data.Dataset[tuple[Tensor, int, int]]):
    """Random crop of one image: uint8 [3, S, S], its label, and the row that failed or -1."""

    def __init__(self, images: ImageList, size: int, flip: bool, jitter: float = 0.0) -> None:
        from torchvision.transforms import v2

        steps = [v2.PILToTensor(), v2.RandomResizedCrop(size, antialias=True)]
        if flip:
            steps.append(v2.RandomHorizontalFlip())
        if jitter:
            steps.append(v2.ColorJitter(jitter, jitter, jitter, jitter / 2))
        self._images = images
        self._transform = v2.Compose(steps)

    def __getitem__(self, wanted: tuple[int, int]) -> tuple[Tensor, int, int]:
        first, seed = wanted
        count = len(self._images.names)
        for row in (*range(first, count), *range(first)):
            try:
                rgb = read_rgb(self._images.path(row))
            except UnreadableImageError:
                continue
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                crop: Tensor = self._transform(rgb)
            return crop, self._images.labels[row], first if row != first else -1
        raise DataError(f"none of the {count} images can be read")
