"""Python commands in processes of their own that start at once.

`Popen` and `run` are those of `subprocess`, for commands of this Python that are a module
(``-m``), a program (``-c``) or a file. A new process takes seconds to import torch; these are
forked from the server of the tests' own workers (`gnas.processes`), which has imported
`tests.warm`. In all other respects they are what was asked for: processes with their own number,
pipes, folder, environment, signals, workers and exit code. A command's own fork server is a fork
of the command.

How commands really start is tested in tests/cli/test_main.py and tests/test_processes.py.
"""

from __future__ import annotations

import atexit
import itertools
import logging
import multiprocessing as mp
import os
import runpy
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from io import TextIOWrapper
from multiprocessing import forkserver, process, reduction, util
from types import ModuleType
from typing import Any

from gnas import processes

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PRELOADED = "tests.warm"
_mp: Any = mp
_forkserver: Any = forkserver
_process: Any = process
_util: Any = util
_threading: Any = threading
_MainProcess: Any = type(mp.current_process())
"""Of the server, which imports this, as of every process that multiprocessing did not make."""
_set_preload, _spawn = mp.set_forkserver_preload, _util.spawnv_passfds


def install() -> None:
    """Have the fork server of this process import all that any test needs."""
    _mp.set_forkserver_preload = lambda names: _set_preload([*names, PRELOADED])
    _util.spawnv_passfds = _spawn_from_root


def _spawn_from_root(path: Any, args: Any, fds: Any) -> int:
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([ROOT, *([before] if before else [])])
    try:
        return int(_spawn(path, args, fds))
    finally:
        del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before


class _Fd:
    """A file descriptor that goes along to the other process."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, (reduction.DupFd(self.fd),)


def _received(fd: Any) -> int:
    return int(fd.detach())


class Popen(subprocess.Popen[Any]):
    """A forked Python command; ``preexec_fn`` must be a function that can be pickled."""

    def _execute_child(
        self, args: Sequence[str], executable: Any, preexec_fn: Callable[[], object] | None,
        close_fds: bool, pass_fds: Any, cwd: Any, env: Mapping[str, str] | None, startupinfo: Any,
        creationflags: Any, shell: bool, *others: Any,
    ) -> None:  # fmt: skip
        pipes, start_new_session = others[:6], others[11]
        assert args[0] == sys.executable and (args[1] in ("-m", "-c") or args[1].endswith(".py"))
        assert not (pass_fds or executable or shell), "such processes are not for forks"
        fds = [_Fd(fd if fd != -1 else k) for k, fd in enumerate((pipes[0], pipes[3], pipes[5]))]
        self._forked: Any = processes.worker_context().Process(
            target=_become,
            args=(
                [os.fspath(arg) for arg in args[1:]],
                os.fspath(cwd or os.getcwd()),
                {**(os.environ if env is None else env)},
                fds,
                preexec_fn,
                start_new_session,
            ),
            daemon=True,
        )
        self._forked.start()
        self.pid = self._forked.pid or 0
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]

    def _internal_poll(self, *_: Any, **__: Any) -> Any:
        if self.returncode is None:
            self.returncode = self._forked.exitcode
        return self.returncode

    def _wait(self, timeout: float | None) -> int:
        self._forked.join(timeout)
        if self._internal_poll() is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.returncode


def run(
    command: Sequence[str], *, check: bool = False, timeout: float | None = None, **options: Any
) -> subprocess.CompletedProcess[Any]:
    """`subprocess.run` of a forked command."""
    if options.pop("capture_output", False):
        options.update(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with Popen(command, **options) as forked:
        try:
            output, errors = forked.communicate(timeout=timeout)
        except BaseException:
            forked.kill()
            raise
    ended = subprocess.CompletedProcess(command, forked.returncode, output, errors)
    if check:
        ended.check_returncode()
    return ended


def _become(
    words: list[str],
    folder: str,
    environment: dict[str, str],
    fds: list[int],
    first: Callable[[], object] | None,
    is_session: bool,
) -> None:
    """Turn this fresh fork into the command."""
    code = 1
    try:
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        for k, fd in enumerate(fds):
            os.dup2(fd, k)
            os.close(fd)
        if is_session:
            os.setsid()
        _forget_the_server()
        _fresh_state(
            words[1:] if words[0] == "-m" else words[:1] + words[2 if words[0] == "-c" else 1 :]
        )
        if first is not None:
            first()
        initial = {*sys.modules}
        _util.spawnv_passfds = lambda path, args, fds: _fork_or_spawn(path, args, fds, initial)
        code = _exit_code(words)
    except BaseException:
        traceback.print_exc()
    finally:
        _end(code)


def _forget_the_server() -> None:
    """Be a process that no other one of multiprocessing made."""
    _process._current_process, _process._parent_process = _MainProcess(), None
    _process.ORIGINAL_DIR = os.getcwd()  # where workers look for the program
    _process._children, _process._process_counter = set(), itertools.count(1)
    _mp.context._default_context._actual_context = None
    server = _forkserver._forkserver
    if server._forkserver_alive_fd is not None:
        os.close(server._forkserver_alive_fd)
    server._forkserver_address = server._forkserver_alive_fd = server._forkserver_pid = None
    server._inherited_fds, server._preload_modules = None, ["__main__"]
    _mp.set_forkserver_preload = _set_preload


def _fresh_state(arguments: list[str]) -> None:
    """What a new Python process has."""
    sys.argv = arguments
    sys.path.insert(0, os.getcwd())
    sys.modules["__main__"] = ModuleType("__main__")
    for name in ("gnas.fork_server", "__mp_main__"):
        sys.modules.pop(name, None)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    sys.stdin = open(0, closefd=False)
    for fd, name in ((1, "stdout"), (2, "stderr")):
        stream = TextIOWrapper(
            open(fd, "wb", closefd=False), encoding="utf-8", line_buffering=fd == 2,
            errors="backslashreplace" if fd == 2 else "strict",
        )  # fmt: skip
        setattr(sys, name, stream)
    logging.getLogger("gnas").handlers.clear()
    logging.getLogger("gnas").setLevel(logging.NOTSET)


def _exit_code(words: list[str]) -> int:
    """Exit code of the command; as Python's, what it raises is told."""
    try:
        if words[0] == "-m":
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        elif words[0] == "-c":
            exec(compile(words[1], "<string>", "exec"), vars(sys.modules["__main__"]))
        else:
            runpy.run_path(words[0], run_name="__main__")
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return (end.code or 0) & 0xFF
        print(end.code, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        traceback.print_exc()
        return -signal.SIGINT
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _end(code: int) -> None:
    """End this process as Python does, but for taking everything apart."""
    try:
        _threading._shutdown()
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except BrokenPipeError:
        code = 120
    finally:
        if code < 0:
            signal.signal(-code, signal.SIG_DFL)
            os.kill(os.getpid(), -code)
        os._exit(code)


def _fork_or_spawn(path: Any, args: Any, fds: Any, initial: set[str]) -> int:
    """Have the command's own fork server, if that is what starts, be a fork of this process."""
    if "multiprocessing.forkserver" not in args[-1]:
        return int(_spawn(path, args, fds))
    if pid := os.fork():
        return pid
    try:
        for fd in map(int, os.listdir("/proc/self/fd")):
            if fd > 2 and fd not in fds:
                try:
                    os.close(fd)
                except OSError:  # the folder's own
                    pass
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        for name in {*sys.modules} - initial:
            del sys.modules[name]
        _forkserver._forkserver._forkserver_alive_fd = None
        _mp.resource_tracker._resource_tracker._fd = None
        _forget_the_server()
        _fresh_state(["-c"])
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        exec(args[-1], {})
    except SystemExit:
        pass
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)
