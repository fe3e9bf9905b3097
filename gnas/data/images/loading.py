"""Endless batches of labelled images, any of which can be made again from its number alone.

The order of every pass and the augmentation of every image are functions of (seed, stream, batch
number), never of a running generator: a search that is resumed in the middle of a pass sees the
same images as one that never stopped. With several processes each gets its slice of a batch.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gnas.config import check_seed
from gnas.data.images.batch_size import check_shares
from gnas.data.images.config import Augmentation
from gnas.data.images.decoding import UnreadableImageError, read_rgb
from gnas.data.images.folders import MAX_UNREADABLE
from gnas.data.images.listing import ImageList
from gnas.errors import DataError, ProcessError
from gnas.processes import worker_context

logger = logging.getLogger(__name__)

MAX_ASPECT = 16
"""Test images that are longer than this, relative to their short side, lose their ends first."""
RESIZE_SHARE = 256 / 224
"""Test images of files are brought to this multiple of the size before the centre is cut out."""

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
        """A generator for one use (0 order, 1 crops, 2 cutout) of one pass or batch."""
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

    @staticmethod
    def in_float32(x: Tensor) -> Normalization:
        """The same with the rounding that published accuracies of candidates have."""
        pixels = x.float()
        std = pixels.std((0, 2, 3)).clamp_min(1.0)
        return Normalization(tuple(pixels.mean((0, 2, 3)).tolist()), tuple(std.tolist()))

    def __call__(self, x: Tensor) -> Tensor:
        """uint8 [B, C, H, W] -> float32 with mean 0 and deviation 1."""
        mean = torch.tensor(self.mean, device=x.device)[:, None, None]
        std = torch.tensor(self.std, device=x.device)[:, None, None]
        return (x.float() - mean) / std


IMAGENET = Normalization((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
"""The usual statistics of ImageNet."""


def random_crop_flip(
    x: Tensor, padding: int, flip: bool, order: BatchSchedule, number: int
) -> Tensor:
    """Random crops of the black-padded images, mirrored with probability 1/2 if ``flip``.

    Args:
        x: Images [B, C, H, W] of this process.
        padding: Pixels of black padding on each side; 0 without ``flip`` changes nothing.
        flip: Whether to mirror images at random.
        order: Schedule of the batches.
        number: Index of the batch.

    Shapes:
        [B, C, H, W] -> [B, C, H, W], of any type, on x's device.
    """
    if not (padding or flip):
        return x
    b, c, h, w = x.shape
    # drawn for the images of all processes, so that a batch does not depend on their number
    generator, total = order.generator(1, number), order.batch_size
    draws = torch.randint(0, 2 * padding + 1, (total, 2), generator=generator)
    mirrored = torch.rand(total, generator=generator) < (0.5 if flip else 0.0)
    draws, mirrored = draws[order.local_slice], mirrored[order.local_slice]
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
    draws = torch.rand(order.batch_size, 2, generator=order.generator(2, number))
    corners = (draws[order.local_slice] * torch.tensor([h, w])).long() - length // 2  # [B, 2]
    rows = torch.arange(h) - corners[:, :1]  # [B, H], from 0 to length inside
    columns = torch.arange(w) - corners[:, 1:]  # [B, W]
    in_rows, in_columns = ((k >= 0) & (k < length) for k in (rows, columns))
    inside = in_rows[:, None, :, None] & in_columns[:, None, None, :]  # [B, 1, H, W]
    return x.masked_fill(inside.to(x.device, non_blocking=True), 0.0)


class MemoryBatches:
    """Batches of images that are held whole on the device, and augmented there.

    Args:
        x: Pixels, uint8 [N, C, H, W].
        y: Labels, int64 [N].
        order: Schedule of the batches.
        augmentation: All but the jitter of colours.
        normalization: Normalization of the pixels.
        device: Device of the batches.
    """

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        order: BatchSchedule,
        augmentation: Augmentation,
        *,
        normalization: Normalization,
        device: str = "cpu",
    ) -> None:
        self._x, self._y, self._order = x.to(device), y.to(device), order
        self._augmentation, self._normalization = augmentation, normalization

    @property
    def batches_per_epoch(self) -> int:
        """See `Batches`."""
        return self._order.batches_per_epoch

    def iter_from(self, start: int) -> Iterator[Batch]:
        """See `Batches`."""
        order, how = self._order, self._augmentation
        for number, rows in order.batches(start):
            own = rows[order.local_slice].to(self._x.device)
            x = random_crop_flip(self._x[own], how.padding, how.flip, order, number)
            yield cutout(self._normalization(x), how.cutout, order, number), self._y[own]


class FileBatches:
    """Batches of images that worker processes read and crop at random.

    An image that cannot be decoded is named in a warning and replaced by the next one.

    Args:
        images: The files; none is read yet.
        order: Schedule of the batches.
        augmentation: All but the padding. ``jitter`` is of brightness, contrast and saturation;
            the hue changes by up to half of it (0.4 and 0.2 in DARTS).
        image_size: Height and width of the random crops.
        workers: Processes that read ahead; 0 reads in this one.
        device: Device of the batches.
    """

    def __init__(
        self,
        images: ImageList,
        order: BatchSchedule,
        augmentation: Augmentation,
        *,
        image_size: int,
        workers: int = 4,
        device: str = "cpu",
    ) -> None:
        self._images, self._order, self._cutout = images, order, augmentation.cutout
        self._crops = _Crops(images, image_size, augmentation)
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
            ProcessError: a process that reads images was killed.
        """
        read = _read(
            self._crops,
            self._workers,
            self._device,
            batch_sampler=_Sampler(self._order, start),
        )
        for number, (x, y, failed) in enumerate(read, start):
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


def centre_batches(
    images: ImageList, image_size: int, batch_size: int, *, workers: int, device: str
) -> Iterator[Batch]:
    """The centre of every image once: uint8 [B, 3, S, S], and labels, -1 if it is unreadable.

    Args:
        images: The files.
        image_size: Height and width S of the centres.
        batch_size: Images a batch.
        workers: Processes that read ahead; 0 reads in this one.
        device: Device that the batches go to.
    """
    centres = _Centres(images, image_size)
    yield from _read(centres, workers, device, batch_size=batch_size)


def _read(images: Dataset[Any], workers: int, device: str, **batching: Any) -> Iterator[Any]:
    """Batches by PyTorch's data loader, the errors of whose processes are several lines long."""
    loader = DataLoader(
        images,
        num_workers=workers,
        pin_memory=device.startswith("cuda"),
        generator=torch.Generator(),  # or it would draw from the global one
        multiprocessing_context=worker_context(__name__) if workers else None,
        **batching,
    )
    try:
        yield from loader
    except DataError as error:
        raise DataError(str(error).strip().rpartition(f"{DataError.__name__}: ")[2]) from error
    except (ConnectionError, EOFError, RuntimeError) as error:
        is_killed = not isinstance(error, RuntimeError) or _KILLED.match(str(error))
        if not workers or not is_killed:
            raise
        raise ProcessError(
            f"each of the {workers} processes that read images must live to the end, but one was "
            "killed; is there too little memory? Go on (--resume) with a smaller setting workers"
        ) from error


_KILLED = re.compile(r"DataLoader worker \(pid.*(killed by signal|exited unexpectedly)")
"""PyTorch's words for that, where it finds out before a read fails."""


class _Sampler:
    """Lists of (row, seed) for the data loader; the seed makes the crop repeatable."""

    def __init__(self, order: BatchSchedule, start: int) -> None:
        self._order, self._start = order, start

    def __iter__(self) -> Iterator[Sequence[tuple[int, int]]]:
        own = self._order.local_slice
        for number, rows in self._order.batches(self._start):
            generator = self._order.generator(1, number)
            seeds = torch.randint(0, 2**62, (len(rows),), generator=generator)
            yield list(zip(rows[own].tolist(), seeds[own].tolist(), strict=True))


class _Crops(Dataset[tuple[Tensor, int, int]]):
    """Random crop of one image: uint8 [3, S, S], its label, and the row that failed or -1."""

    def __init__(self, images: ImageList, size: int, augmentation: Augmentation) -> None:
        from torchvision.transforms import v2

        steps = [v2.PILToTensor(), v2.RandomResizedCrop(size, antialias=True)]
        if augmentation.flip:
            steps.append(v2.RandomHorizontalFlip())
        if jitter := augmentation.jitter:
            steps.append(v2.ColorJitter(jitter, jitter, jitter, jitter / 2))
        self._images, self._transform = images, v2.Compose(steps)

    def __getitem__(self, wanted: tuple[int, int]) -> tuple[Tensor, int, int]:
        first, seed = wanted
        count = len(self._images.names)
        for row in (*range(first, count), *range(first)):
            try:
                rgb = read_rgb(self._images.path(row))
            except UnreadableImageError:
                continue
            with torch.random.fork_rng(devices=[]):  # trainings have it for themselves
                torch.default_generator.manual_seed(seed)  # torch.manual_seed seeds GPUs too
                crop: Tensor = self._transform(rgb)
            return crop, self._images.labels[row], first if row != first else -1
        raise DataError(f"none of the {count} images can be read")


class _Centres(Dataset[tuple[Tensor, int]]):
    """Centre of one image: uint8 [3, S, S], and its label, -1 if it cannot be decoded."""

    def __init__(self, images: ImageList, size: int) -> None:
        from torchvision.transforms import v2

        self._images, self._size = images, size
        resize = v2.Resize(round(size * RESIZE_SHARE), antialias=True)
        self._transform = v2.Compose([v2.PILToTensor(), resize, v2.CenterCrop(size)])

    def __len__(self) -> int:
        return len(self._images.names)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        try:
            rgb = read_rgb(self._images.path(row))
        except UnreadableImageError:
            return torch.zeros(3, self._size, self._size, dtype=torch.uint8), -1
        centre: Tensor = self._transform(_shortened(rgb))
        return centre, self._images.labels[row]


def _shortened(image: Image.Image) -> Image.Image:
    """The middle of a very long image: resized whole, a line of pixels would fill the memory."""
    short, (width, height) = min(image.size), image.size
    if max(image.size) <= MAX_ASPECT * short:
        return image
    cut_x, cut_y = (max(0, side - MAX_ASPECT * short) // 2 for side in (width, height))
    return image.crop((cut_x, cut_y, width - cut_x, height - cut_y))
