"""Runs a search twice: python -m tests.search.toponas.killed FOLDER.

In FOLDER/whole undisturbed, in FOLDER/killed with a process that is killed again and again and one
that goes on from what it left. Prints how each process ended and the steps it left.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import gnas.training.checkpoints
from gnas.search.toponas import SearchRecord, SupernetSearchResult, ToponasConfig
from gnas.training.checkpoints import Checkpoints
from tests.search.toponas.conftest import search, tiny

module: Any = gnas.training.checkpoints
CONFIG: ToponasConfig = tiny(epochs=40, order=2, method="milenas", arch_lr=0.02)
FACTS = {"config": CONFIG, "data": {"sha256": "ab"}}


def attempt(folder: Path, *, resume: bool) -> SupernetSearchResult:
    """One run of the search with a checkpoint after every step."""
    torch.set_num_threads(1)
    record = SearchRecord(folder, FACTS, resume=resume, every_s=0)
    return search(CONFIG, record=record)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_in_the_middle_of_the_weights() -> None:
    save, count = module.save_file, 0

    def half(tensors: Any, path: Path) -> None:
        nonlocal count
        count += 1
        save(tensors, path)
        if count == 5:
            os.truncate(path, path.stat().st_size // 2)
            die()

    module.save_file = half


def die_between_weights_and_record() -> None:
    digest, count = module.sha256_of, 0

    def last(path: Path) -> str:
        nonlocal count
        count += 1
        if count == 9:  # the weights of this step are there under their name
            die()
        return str(digest(path))

    module.sha256_of = last


def die_before_the_old_one_is_removed() -> None:
    count = 0

    def prune(self: object) -> None:
        nonlocal count
        count += 1
        if count == 7:
            die()

    Checkpoints._prune = prune  # type: ignore[method-assign]


Attempt = Callable[..., Any]
"""Called with a folder and ``resume``."""


def run(
    attempt: Attempt, folder: Path, sabotage: Callable[[], None] | None, *, resume: bool
) -> int:
    """Runs an attempt in a process of its own that ``sabotage`` or a random moment ends."""
    checkpoints = Checkpoints(folder / "checkpoint")
    last = max(checkpoints.steps(), default=0) + random.randint(2, 6)
    child = os.fork()
    if child == 0:
        if sabotage is not None:
            sabotage()
        attempt(folder, resume=resume)
        os._exit(0)
    if sabotage is None:
        while max(checkpoints.steps(), default=0) < last:
            time.sleep(0.002)
        time.sleep(random.uniform(0, 0.03))
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(attempt: Attempt = attempt) -> None:
    whole, killed = (Path(sys.argv[1]) / name for name in ("whole", "killed"))
    ends = [
        die_in_the_middle_of_the_weights,
        None,
        die_between_weights_and_record,
        None,
        die_before_the_old_one_is_removed,
        None,
    ]
    for k, end in enumerate(ends):
        report(killed, run(attempt, killed, end, resume=k > 0))
    report(killed, run(attempt, killed, lambda: None, resume=True))
    report(whole, run(attempt, whole, lambda: None, resume=False))


def report(folder: Path, code: int) -> None:
    print(code, *Checkpoints(folder / "checkpoint").steps(), flush=True)


if __name__ == "__main__":
    main()
