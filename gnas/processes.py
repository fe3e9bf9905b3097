"""Processes that work beside this one.

They are forked from a server, a fresh Python process that has imported what they need: so they
start in no time, while what this process has begun (threads, CUDA) stays its own.
"""

from __future__ import annotations

import logging
import multiprocessing as mp
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext, SpawnContext
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

from gnas.errors import ProcessError
from gnas.printable import PrintableFormatter

Result = TypeVar("Result")

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

        mp.set_forkserver_preload(["gnas.fork_server", *modules])
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


def usable_cores() -> int:
    """Number of cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def spread(
    function: Callable[..., Result], calls: Sequence[tuple[Any, ...]], workers: int, *modules: str
) -> Iterator[tuple[int, Result]]:
    """Call a function with many arguments, by several processes of one thread each.

    One thread, because small matrices gain nothing from more, and threads that wait for each
    other on busy cores cost several times what they bring. Results are the same for any number
    of processes.

    Args:
        function: Pickled once a process, so that it may carry data and keep what it computes.
        calls: Its arguments, one tuple a call.
        workers: Number of processes; 1 is this one.
        modules: Modules that the processes need; see `prepare`.

    Yields:
        The place in ``calls`` and the result of a call, in the order in which calls end.

    Raises:
        ProcessError: a process was killed.
    """
    if workers == 1 or len(calls) < 2:
        with threadpool_limits(1):
            yield from ((k, function(*call)) for k, call in enumerate(calls))
        return
    with ProcessPoolExecutor(
        min(workers, len(calls)),
        context(*modules),
        initializer=_start,
        initargs=({**os.environ}, function),
    ) as pool:
        places = {pool.submit(_call, *call): k for k, call in enumerate(calls)}
        try:
            for end in as_completed(places):
                yield places[end], end.result()
        except BrokenProcessPool as error:
            raise ProcessError(
                "every process must live to the end, but one was killed; is there too little "
                "memory? Try again with fewer --workers"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


_function: Callable[..., Any]
"""In a process of `spread`: the function that it calls."""


def _start(environment: Mapping[str, str], function: Callable[..., Any]) -> None:
    global _function
    adopt(environment)
    end_with_parent()
    _function = function


def _call(*arguments: Any) -> Any:
    with threadpool_limits(1):
        return _function(*arguments)


def adopt(environment: Mapping[str, str]) -> None:
    """Takes the environment variables of the process that made this one, not the server's.

    What this process logs goes to stderr as that of a command does: with foreign text escaped.
    """
    if {**os.environ} != {**environment}:
        os.environ.clear()
        os.environ.update(environment)
    log = logging.getLogger("gnas")
    if not log.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(PrintableFormatter("%(message)s"))
        log.addHandler(handler)


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
