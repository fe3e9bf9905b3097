"""File locks between processes, released when their process ends.

A lock is a file that names its holder (host, process, start of both), and on which the system's
`flock` is held. On one machine the second is exact: the system gives it back however the process
ends, so that neither a kill nor a process number that is used again leaves anything behind; forked
children do not keep it. It is `flock`, not `lockf`, because the latter is lost as soon as the
process closes the file anywhere, and does not keep two threads apart. On network drives that pass
`flock` on (Linux' NFS does) it holds between machines too. Where they do not, the record decides:
its holder touches the file every `BEAT_S`, and another machine takes over after `SILENT_S` of
silence by the drive's own clock, which is longer than NFS keeps attributes cached. (The `filelock`
package keeps no record: it empties the file when it looks, and has no answer for other machines.)
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnas.errors import ConfigError, DataError
from gnas.process_ids import current_process, has_ended

logger = logging.getLogger(__name__)

BEAT_S = 20.0
"""Seconds between heartbeats."""
SILENT_S = 120.0
"""Seconds without a heartbeat after which a holder on another machine counts as dead."""
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""Errors of file systems without `flock`."""
_MAX_RECORD = 4096


@dataclass
class _Held:
    thread: int
    file: int
    depth: int = 0


_held: dict[Path, _Held] = {}
_guard = threading.Lock()


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file ``path`` inside the block and remove it at the end.

    The lock is reentrant within a thread.

    Args:
        path: The lock file, in a folder that exists.
        what: Description for messages, for example "the run's folder runs/a".

    Raises:
        ConfigError: another process or thread holds it.
        DataError: the file cannot be written.
    """
    key, me = path.parent.resolve() / path.name, threading.get_ident()
    with _guard:
        held = _held.get(key)
        if held is None:
            held = _held[key] = _Held(me, _acquire(key, what))
        elif held.thread != me:
            raise _busy(what, current_process())
        held.depth += 1
    pid = os.getpid()
    try:
        if held.depth > 1:
            yield
        else:
            with _beating(held.file):
                yield
    finally:
        if os.getpid() == pid:  # a forked child holds nothing
            with _guard:
                held.depth -= 1
                if held.depth == 0:
                    del _held[key]
                    _release(key, held.file)


def _acquire(path: Path, what: str) -> int:
    """Acquire the lock; return its file descriptor."""
    try:
        while True:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
            try:
                if _take(path, file, what):
                    return file
            except BaseException:
                os.close(file)
                raise
            os.close(file)
    except OSError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{what} must be writable, but {path.name} is not: {error.strerror}"
        ) from error


def _take(path: Path, file: int, what: str) -> bool:
    """Try to acquire the lock; return False if the file was removed meanwhile.

    Raises:
        ConfigError: another process has it.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_exact = True
    except BlockingIOError:
        raise _busy(what, _read(file)) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        is_exact = False
    if not _is_there(path, file):
        return False
    _check_stale(path, file, what, is_exact)
    try:
        os.ftruncate(file, 0)
        os.pwrite(file, json.dumps(current_process()).encode(), 0)
    except OSError:  # a full disk
        path.unlink(missing_ok=True)
        raise
    return True


def _check_stale(path: Path, file: int, what: str, is_exact: bool) -> None:
    """Check that the process recorded in the file has ended.

    Raises:
        ConfigError: it may still be running.
    """
    other = _read(file)
    if not other:
        return
    is_here = other.get("boot") == current_process()["boot"] != ""
    dead = True if is_exact and is_here else has_ended(other, one_machine=True)
    if dead is None:
        silence = _now(path.parent) - os.fstat(file).st_mtime
        dead = silence > SILENT_S
        if not dead:
            raise _busy(
                what,
                other,
                f"; its last sign of life was {max(0.0, silence):.0f} s ago: if it has ended, try "
                f"again in {SILENT_S - silence:.0f} s",
            )
    if not dead:
        raise _busy(what, other)
    logger.info("%s was left by %s, which has ended", what, _name(other))


def _release(path: Path, file: int) -> None:
    with suppress(OSError):
        if _is_there(path, file):
            path.unlink()
    with suppress(OSError):
        os.close(file)


def _is_there(path: Path, file: int) -> bool:
    """Whether the open file is the one under this name."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(file))
    except FileNotFoundError:
        return False


def _read(file: int) -> dict[str, Any]:
    """Process recorded in the file; empty without a valid record."""
    try:
        found = json.loads(os.pread(file, _MAX_RECORD, 0))
        return {**found, "pid": int(found["pid"]), "host": str(found["host"])}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return {}


def _now(folder: Path) -> float:
    """Current time by the clock of the file system."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return os.fstat(file.fileno()).st_mtime


def _busy(what: str, other: dict[str, Any], more: str = "") -> ConfigError:
    return ConfigError(
        f"{what} must be used by one process at a time, but {_name(other)} is using it; wait for "
        f"its end, or choose another{more}"
    )


def _name(other: dict[str, Any]) -> str:
    return f"process {other['pid']} on {other['host']}" if other else "another process"


@contextmanager
def _beating(file: int) -> Iterator[None]:
    """Touch the file regularly from a background thread."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(BEAT_S):
            with suppress(OSError):
                os.utime(file)

    thread = threading.Thread(target=beat, name="gnas-lock", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _forget() -> None:
    """Drop the parent's locks in a forked child."""
    global _guard
    _guard = threading.Lock()
    for held in _held.values():
        with suppress(OSError):
            os.close(held.file)
    _held.clear()


os.register_at_fork(after_in_child=_forget)
