"""Searches with two processes: python -m tests.search.toponas.ranks FOLDER.

Writes what each experiment ended with, <experiment>-<rank>.safetensors and error-<rank>.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from typer.testing import CliRunner

from gnas import viz as pictures
from gnas.cli import app
from gnas.errors import GnasError
from gnas.search.toponas import (
    DistributedContext,
    SearchRecord,
    SupernetSearchResult,
    init_distributed,
)
from gnas.spaces.supernets import SupernetConfig
from gnas.training.distributed import SINGLE_PROCESS
from tests.models.plain_supernet import PlainSupernet
from tests.search.toponas.conftest import make_loaders, search, tiny

viz: Any = pictures
CONFIGS = {
    "per_image": tiny(order=2, method="milenas"),
    "pieces": tiny(num_nodes=4, accumulate=2),
    "batch_norm": tiny(num_nodes=4),
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


def run(
    name: str, context: DistributedContext = SINGLE_PROCESS, **options: Any
) -> SupernetSearchResult:
    config = CONFIGS[name]
    loaders = make_loaders(config, rank=context.rank, world=context.size)
    if name in ("pieces", "batch_norm"):
        options["build"] = Cells
    return search(config, loaders=loaders, context=context, **options)


class Stop(Exception):
    pass


def stop(progress: Any) -> None:
    if progress.step == 5:
        raise Stop


def resumed(context: DistributedContext, folder: Path) -> SupernetSearchResult:
    """Stopped in the middle of an epoch, then resumed."""
    facts = {"config": CONFIGS["resumed"], "data": {}}

    def record(resume: bool) -> SearchRecord | None:
        if not (context.is_main or resume):
            return None
        return SearchRecord(folder / "run", facts, resume=resume, every_s=0)

    try:
        run("resumed", context, record=record(False), report=stop)
    except Stop:
        torch.distributed.barrier()
    return run("resumed", context, record=record(True))


def differing(context: DistributedContext, folder: Path) -> None:
    """What the processes should share differs."""
    context.check_identical([torch.zeros(2)], "zeros")
    try:
        context.check_identical([torch.tensor([1.0, float(context.rank)])], "alpha")
    except GnasError as error:
        (folder / f"error-{context.rank}").write_text(str(error))


def everything(folder: Path, context: DistributedContext) -> None:
    for name in CONFIGS:
        result = resumed(context, folder) if name == "resumed" else run(name, context)
        save_file(result.history, folder / f"{name}-{context.rank}.safetensors")
    differing(context, folder)


def command(folder: Path) -> None:
    """The command line, as torchrun would start it."""
    viz.search_figures = lambda result: {}
    words = "--device cpu --epochs 1 --num-nodes 4 --set channels=2 --set num_cells=3".split()
    words += "--set image_size=8 --set batch_size=128 --out".split()
    rank = os.environ["RANK"]
    done = CliRunner().invoke(app, ["search", "toponas", *words, str(folder / "command")])
    (folder / f"command-{rank}").write_text(f"{done.exit_code}\n{done.stdout}")


def process(rank: int, ports: Sequence[int], works: Sequence[Callable[[], None]]) -> int:
    """Forks a process that torchrun might have started; returns its id."""
    child = os.fork()
    if child:
        return child
    place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ.update({**place, "MASTER_ADDR": "127.0.0.1", "GLOO_SOCKET_IFNAME": "lo"})
    for port, work in zip(ports, works, strict=True):
        os.environ["MASTER_PORT"] = str(port)
        work()
    os._exit(0)


def free_ports(count: int) -> list[int]:
    with ExitStack() as open_now:
        found = [open_now.enter_context(socket.socket()) for _ in range(count)]
        for port in found:
            port.bind(("127.0.0.1", 0))
        return [port.getsockname()[1] for port in found]


def fork_two(*works: Callable[[], None]) -> None:
    """Has two processes do the works, one after the other; each may join the two once."""
    ports = free_ports(len(works))
    torch.set_num_threads(1)
    children = [process(rank, ports, works) for rank in (0, 1)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    if any(codes):
        sys.exit(f"exit codes {codes}")


def main() -> None:
    folder = Path(sys.argv[1])

    def library() -> None:
        with init_distributed("cpu") as (context, _):
            everything(folder, context)

    fork_two(library, lambda: command(folder))


if __name__ == "__main__":
    main()
