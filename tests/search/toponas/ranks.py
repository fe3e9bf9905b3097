"""Searches with two processes: python -m tests.search.toponas.ranks FOLDER.

Writes what each ended with: FOLDER/<experiment>-<rank>.safetensors, FOLDER/error-<rank>.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from gnas.distributed import ALONE
from gnas.errors import GnasError
from gnas.models.supernet import SupernetConfig
from gnas.search.toponas import RunRecord, SearchResult, World, joined
from tests.models.plain_supernet import PlainSupernet
from tests.search.toponas.conftest import make_loaders, search, tiny

CONFIGS = {
    "per_image": tiny(order=2, method="milenas"),
    "pieces": tiny(accumulate=2),
    "batch_norm": tiny(),
    "resumed": tiny(epochs=4),
}


class Cells(nn.Module):
    """The plain supernet in float64, so that only real differences are seen."""

    def __init__(self, config: SupernetConfig) -> None:
        super().__init__()
        self.inner = PlainSupernet(config).double()

    def forward(self, images: Tensor, normal: Any, reduce: Any) -> Tensor:
        logits: Tensor = self.inner(images.double(), normal, reduce)
        return logits


def run(name: str, world: World = ALONE, **options: Any) -> SearchResult:
    config = CONFIGS[name]
    loaders = make_loaders(config, rank=world.rank, world=world.size)
    if name in ("pieces", "batch_norm"):
        options["build"] = Cells
    return search(config, loaders=loaders, world=world, **options)


class Stop(Exception):
    pass


def stop(progress: Any) -> None:
    if progress.step == 5:
        raise Stop


def resumed(world: World, folder: Path) -> SearchResult:
    """Stopped in the middle of an epoch, then resumed."""
    facts = {"config": CONFIGS["resumed"], "data": {}}

    def record(resume: bool) -> RunRecord | None:
        if not (world.is_main or resume):
            return None
        return RunRecord(folder / "run", facts, resume=resume, every_s=0)

    try:
        run("resumed", world, record=record(False), report=stop)
    except Stop:
        torch.distributed.barrier()
    return run("resumed", world, record=record(True))


def differing(world: World, folder: Path) -> None:
    """What the processes should share differs."""
    world.check_identical([torch.zeros(2)], "zeros")
    try:
        world.check_identical([torch.tensor([1.0, float(world.rank)])], "alpha")
    except GnasError as error:
        (folder / f"error-{world.rank}").write_text(str(error))


def everything(folder: Path, world: World) -> None:
    for name in CONFIGS:
        result = resumed(world, folder) if name == "resumed" else run(name, world)
        save_file(result.history, folder / f"{name}-{world.rank}.safetensors")
    differing(world, folder)


def process(rank: int, port: int, work: Callable[[World], None]) -> int:
    """Forks a process that torchrun might have started; returns its id."""
    child = os.fork()
    if child:
        return child
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ.update({**address, **place, "GLOO_SOCKET_IFNAME": "lo"})
    with joined("cpu") as (world, _):
        work(world)
    os._exit(0)


def fork_two(work: Callable[[World], None]) -> None:
    """Has two processes do the work together."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.set_num_threads(1)
    children = [process(rank, port, work) for rank in (0, 1)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    if any(codes):
        sys.exit(f"exit codes {codes}")


if __name__ == "__main__":
    fork_two(lambda world: everything(Path(sys.argv[1]), world))
