"""Several processes that train together: the rank of this one, and what they exchange."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from gnas.errors import ConfigError, GnasError
from gnas.runs import to_jsonable


@dataclass(frozen=True)
class DistributedContext:
    """Rank of this process among all that train together, and their collective operations.

    With one process every operation is the identity.

    Examples:
        >>> SINGLE_PROCESS.is_main, SINGLE_PROCESS.size
        (True, 1)
    """

    rank: int = 0
    """Number of this process, from 0."""
    size: int = 1
    """Number of processes."""

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    def average(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The means over all processes, the same bits on each of them."""
        if self.size == 1:
            return list(tensors)
        flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
        dist.all_reduce(flat)
        flat /= self.size
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        return [p.view_as(like).to(like.dtype) for p, like in zip(parts, tensors, strict=True)]

    def total(self, tensor: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.size > 1:
            tensor = tensor.clone()
            dist.all_reduce(tensor)
        return tensor

    def broadcast(self, tensors: Sequence[Tensor]) -> None:
        """Give every process the main one's values, in place."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor.detach(), src=0)

    def check_identical(self, tensors: Sequence[Tensor], what: str) -> None:
        """Check that every process has the same bits.

        Raises:
            GnasError: on every process, if one of them differs.
        """
        if self.size == 1:
            return
        own = torch.cat([tensor.detach().flatten() for tensor in tensors])
        first = own.clone()
        dist.broadcast(first, src=0)
        count = ((first != own) & ~(first.isnan() & own.isnan())).any().to(own.dtype)
        dist.all_reduce(count)
        if count:
            raise GnasError(
                f"{what} must have the same bits in all {self.size} processes, "
                f"but {int(count)} differ from the first"
            )

    def check_agreed(self, facts: object, device: str) -> None:
        """Check that every process was started with the same settings, and has the same data.

        Args:
            facts: Both, as a record that can be JSON.
            device: Device of this process.

        Raises:
            ConfigError: on every process, if one of them differs.
        """
        if self.size == 1:
            return
        text = json.dumps(to_jsonable(facts), sort_keys=True)
        digest = hashlib.sha256(text.encode()).digest()
        own = torch.tensor([*digest], dtype=torch.int64, device=device)
        try:
            self.check_identical([own], "settings and images")
        except GnasError as error:
            raise ConfigError(
                f"all {self.size} processes must have the same settings and images, but process "
                "0 and another differ; start every process by the same command"
            ) from error


SINGLE_PROCESS = DistributedContext()
"""Context of a process that trains by itself."""


@contextmanager
def init_distributed(device: str) -> Iterator[tuple[DistributedContext, str]]:
    """Join the processes that torchrun started, and leave them at the end.

    Without torchrun this is one process alone.

    Args:
        device: "cpu" or "cuda"; of several GPUs each process takes its own.

    Yields:
        Context of this process, and its device.

    Raises:
        ConfigError: torchrun's environment is incomplete, or a process has no GPU of its own.

    Examples:
        >>> with init_distributed("cpu") as (context, device):  # not under torchrun
        ...     context.size, context.is_main, device
        (1, True, 'cpu')
    """
    size = os.environ.get("WORLD_SIZE", "1")
    if size == "1":
        yield SINGLE_PROCESS, device
        return
    try:
        count, rank, local = (
            int(os.environ[name]) for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK")
        )
    except (KeyError, ValueError) as error:
        raise ConfigError(
            f"WORLD_SIZE is {size!r}, so it, RANK and LOCAL_RANK must be numbers: start with "
            "torchrun, or unset WORLD_SIZE for one process"
        ) from error
    if device.startswith("cuda"):
        if local >= torch.cuda.device_count():
            raise ConfigError(
                f"every process needs a GPU of its own, but process {local} of this machine "
                f"finds {torch.cuda.device_count()}; lower --nproc-per-node"
            )
        device = f"cuda:{local}"
        torch.cuda.set_device(local)
    try:
        dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"{count} processes must meet as torchrun has them do, but: {reason:.200}"
        ) from error
    try:
        yield DistributedContext(rank, count), device
    finally:
        dist.destroy_process_group()
