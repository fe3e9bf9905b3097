"""Processes that work beside this one.

They are forked from a server, a fresh Python process that has imported what they need: so they
start in no time, while what this process has begun (threads, CUDA) stays its own.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext, SpawnContext

QUIET = "ignore:`torch.jit:FutureWarning"
"""The one warning that such processes do not print: torch-geometric's, while it is imported."""
_HAS_SERVER = "forkserver" in mp.get_all_start_methods()


def prepare(*modules: str) -> None:
    """Begins to import modules for the processes to come, beside this process.

    Whoever knows early that it will need processes calls this before its own imports. Only the
    first call starts a server: what that has not imported, every process imports by itself.
    """
    if _HAS_SERVER:
        from multiprocessing import forkserver, resource_tracker

        mp.set_forkserver_preload([*modules])
        resource_tracker.ensure_running()  # lets signals through again, so it must go first
        with _uninterrupted(), _quiet():
            forkserver.ensure_running()


def context(*modules: str) -> ForkServerContext | SpawnContext:
    """Makes processes, each of which should `adopt` its maker's environment first.

    Where there are no fork servers (Windows), every process starts from nothing.

    Args:
        modules: What the processes need; see `prepare`.
    """
    prepare(*modules)
    return mp.get_context("forkserver") if _HAS_SERVER else mp.get_context("spawn")


def adopt(environment: Mapping[str, str]) -> None:
    """Takes the environment variables of the process that made this one, not the server's."""
    if {**os.environ} != {**environment}:
        os.environ.clear()
        os.environ.update(environment)


def end_with_parent(before: Callable[[], None] = lambda: None, *, within_s: float = 0.0) -> None:
    """Has this process end as soon as the one that made it is gone, killed for example.

    A thread waits for the end of a pipe that the parent holds: it notices at once. (The system's
    own signal, ``PR_SET_PDEATHSIG``, would come from the server that forked this process.)

    Args:
        before: Called first, from that thread.
        within_s: Longest time that it takes.
    """
    parent = mp.parent_process()
    assert parent is not None, "only processes that another one made have a parent"

    def watch() -> None:
        parent.join()
        try:
            if within_s:
                timer = threading.Timer(within_s, os._exit, (1,))
                timer.daemon = True
                timer.start()
                before()
        finally:
            os._exit(1)

    threading.Thread(target=watch, name="gnas-parent", daemon=True).start()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Processes started inside hear no Ctrl-C: who made them ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Python processes started inside do not repeat that torch-geometric uses `torch.jit`.

    They import it before any line of theirs could ask for silence.
    """
    before = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = ",".join([*([before] if before else []), QUIET])
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONWARNINGS"]
        else:
            os.environ["PYTHONWARNINGS"] = before
