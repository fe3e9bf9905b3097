"""Worker processes and parallel function calls.

Workers are forked from a server, a fresh Python process with the required modules imported. They
start quickly and inherit neither threads nor CUDA state of this process.
"""

from __future__ import annotations

import ast
import logging
import multiprocessing as mp
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.spawn import get_preparation_data
from pathlib import Path
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

from gnas.errors import ConfigError, ProcessError
from gnas.printable import PrintableFormatter
from gnas.user_code import described

Result = TypeVar("Result")
ProgressCallback = Callable[[int, int | None], None]
"""Called with the number of steps done and, where it is known, of steps in all."""

OPTIMISERS = "torch._dynamo"
"""What PyTorch's optimisers import on first use; see `preload`, for processes that will train."""
MAX_PROCESSES = 1024
"""Choice: limit of processes, and of threads, that a command starts."""
GC_THRESHOLDS = (100_000, 50, 50)
"""For `gc.set_threshold`: torch and torch-geometric make a million objects that stay, and to look
through them again and again while they are imported takes as long as a fifth of the import."""
_GUARDS = ("__name__", "parent_process", "current_process")
"""What a condition names that keeps workers from a program's own lines."""
_HAS_SERVER = "forkserver" in mp.get_all_start_methods()


def preload(*modules: str) -> None:
    """Start the fork server and import modules there, in the background.

    Call it before other slow imports if workers will be needed. Only the first call starts a
    server; each worker imports further modules itself.
    """
    if _HAS_SERVER:
        from multiprocessing import forkserver, resource_tracker

        # The system ends the server with the thread that starts it, so that must be the main one.
        is_main = threading.current_thread() is threading.main_thread()
        mp.set_forkserver_preload([*(["gnas.fork_server"] if is_main else []), *modules])
        resource_tracker.ensure_running()  # lets signals through again, so it must go first
        with _uninterrupted():
            forkserver.ensure_running()


def worker_context(*modules: str) -> ForkServerContext | SpawnContext:
    """Multiprocessing context of workers, which should call `inherit_environment` first.

    Platforms without fork servers (Windows) spawn every process from scratch.

    Args:
        modules: Modules that the processes need; see `preload`.

    Raises:
        ConfigError: see `check_can_start`.
    """
    check_can_start()
    preload(*modules)
    return mp.get_context("forkserver") if _HAS_SERVER else mp.get_context("spawn")


def check_can_start() -> None:
    """Check that this process may start others.

    Raises:
        ConfigError: workers would start workers: the program, which they import, does that
            outside ``if __name__ == "__main__":``, or this process is such a worker.
    """
    if getattr(mp.current_process(), "_inheriting", False) or _is_unguarded():
        raise ConfigError(
            "worker processes import the program that starts them, so it must do that below "
            '`if __name__ == "__main__":`; move what starts them there'
        )


def _is_unguarded() -> bool:
    """Whether the main program's own lines, which workers run again, have led here.

    An early exit (``if __name__ != "__main__": sys.exit()``) is no guard: it ends workers too.
    """
    if not _imports_main():
        return False
    main, frame = vars(sys.modules["__main__"]), sys._getframe()
    while frame.f_globals is not main or frame.f_code.co_name != "<module>":
        if frame.f_back is None:
            return False
        frame = frame.f_back
    try:
        tree = ast.parse(Path(frame.f_code.co_filename).read_bytes())
    except (OSError, SyntaxError, ValueError):  # such as lines given to exec
        return False
    line = frame.f_lineno
    return not any(
        node.lineno <= line <= (node.end_lineno or line) and _names_guard(condition, tree)
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt | ast.expr) and (condition := _condition(node)) is not None
    )


def _condition(node: ast.AST) -> ast.expr | None:
    """The condition that a statement or an expression puts on a part of itself."""
    match node:
        case ast.If() | ast.IfExp() | ast.While():
            return node.test
        case ast.BoolOp():
            return node.values[0]
        case ast.Match():
            return node.subject
    return None


def _names_guard(condition: ast.expr, tree: ast.Module) -> bool:
    """Whether a condition tells the program from its import, perhaps by a variable of it."""
    names = {node.id for node in ast.walk(condition) if isinstance(node, ast.Name)}
    values = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and names & {ast.unparse(target) for target in node.targets}
    ]
    return any(part in ast.unparse(one) for one in (condition, *values) for part in _GUARDS)


def _imports_main() -> bool:
    """Whether workers import the main program: not one of a notebook or interactive session."""
    return bool({"init_main_from_name", "init_main_from_path"} & {*get_preparation_data("")})


def check_can_send(value: object, what: str) -> None:
    """Check that worker processes will be able to load an object.

    Args:
        value: The object, which is pickled.
        what: Name of the object, for messages.

    Raises:
        ConfigError: it cannot be pickled, is defined where there is nothing to import (a notebook,
            an interactive session), or see `check_can_start`.
    """
    check_can_start()
    remedy = "define it in a file that can be imported, or do without workers"
    try:
        sent = pickle.dumps(value)
    except Exception as error:  # of many kinds: the object may be a user's
        raise ConfigError(
            f"workers must be able to load {what}, but: {described(error)}; {remedy}"
        ) from error
    if b"__main__" in sent and not _imports_main():
        raise ConfigError(
            f"workers must be able to load {what}, but a part is defined in a notebook or an "
            f"interactive session, which they cannot import; {remedy}"
        )


def usable_cores() -> int:
    """Number of cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_parallel(
    function: Callable[..., Result], calls: Sequence[tuple[Any, ...]], workers: int, *modules: str
) -> Iterator[tuple[int, Result]]:
    """Call a function with many arguments, by several processes of one thread each.

    Each has one thread, since small matrices gain nothing from more, and threads that wait for
    each other on busy cores cost several times what they bring. Results are the same for any
    number of processes.

    Args:
        function: Pickled once per process, so it may carry data and cache results.
        calls: Arguments, one tuple per call.
        workers: Number of processes; 1 runs in this process.
        modules: Modules that the processes need; see `preload`.

    Yields:
        Index in ``calls`` and result of a call, in the order of completion.

    Raises:
        ProcessError: a process was killed.
    """
    if workers == 1 or len(calls) < 2:
        with threadpool_limits(1):
            yield from ((k, function(*call)) for k, call in enumerate(calls))
        return
    with ProcessPoolExecutor(
        min(workers, len(calls)),
        worker_context(*modules),
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
"""In a worker of `run_parallel`: the function to call."""


def _start(environment: Mapping[str, str], function: Callable[..., Any]) -> None:
    global _function
    inherit_environment(environment)
    end_with_parent()
    _function = function


def _call(*arguments: Any) -> Any:
    with threadpool_limits(1):
        return _function(*arguments)


def inherit_environment(environment: Mapping[str, str]) -> None:
    """Use the environment variables of the parent process instead of the fork server's.

    Log records go to stderr with foreign text escaped, as in a command.
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
    """End this process as soon as its parent has ended, even if it was killed.

    A thread waits for a pipe held by the parent to close. (``PR_SET_PDEATHSIG`` would report the
    end of the fork server instead.)

    Args:
        before: Called first, in that thread.
        within_s: Time limit of ``before`` in seconds.
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
    """Block SIGINT in processes started inside the block; their parent ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
