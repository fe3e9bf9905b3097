"""The compiled kernels: `kernels.c` turned into a shared library, once per machine and user.

A shared library runs its code when it is loaded, so one is loaded from the cache only if nobody
but this user can have written it and its bytes are those that were compiled.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shlex
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch

from gnas.errors import UnsupportedError

logger = logging.getLogger(__name__)

SOURCE = Path(__file__).with_name("kernels.c")
REALS = {
    torch.float32: ("-DREAL=float", "-DINTEGER=int32_t"),
    torch.float64: ("-DREAL=double", "-DINTEGER=int64_t"),
}
FLAGS = ("-O3", "-march=native", "-shared", "-fPIC")
FUNCTIONS = (
    "separable_forward",
    "separable_backward",
    "pools_forward",
    "pools_backward",
    "moments",
    "weighted_sum",
    "weighted_sum_dots",
    "combine",
)
VECTORS = (64, 32)
"""Bytes of the kernels' vectors."""
COMPILE_LIMIT_S = 300
_UNFINISHED = ".compiling-"
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


@cache
def library(dtype: torch.dtype, vector: int = VECTORS[0]) -> ctypes.CDLL:
    """The kernels for float32 or float64, compiled by the system's C compiler on first use.

    The library is kept in ``$XDG_CACHE_HOME/gnas/native`` (``~/.cache/gnas/native``) under a name
    that depends on the source, the compiler and the processor, and that ends with the SHA-256 of
    its content. A library there is loaded only if folder and file belong to this user, nobody
    else may write them, and the content has that digest; otherwise it is compiled anew. Where
    nothing can be kept, it is compiled for this process alone, with a warning.

    Args:
        dtype: ``torch.float32`` or ``torch.float64``.
        vector: Bytes of a vector, one of `VECTORS`; results are the same bits.

    Raises:
        UnsupportedError: there is no working C compiler, or what it makes does not load.
    """
    compiler, flags = _compiler(), (*FLAGS, *REALS[dtype], f"-DVECTOR={vector}")
    stem = f"kernels-{str(dtype).removeprefix('torch.')}-{_key(compiler, flags)}"
    folder, reason = _own_folder()
    if folder is not None:
        for path in sorted(folder.glob(f"{stem}-*.so")):
            found = _kept(path)
            if found is not None:
                return found
        try:
            return _compiled([*compiler, *flags], folder, stem)
        except OSError as error:  # a full disk, a folder that forbids to execute
            reason = f"{folder}: {error.strerror or error}"
    logger.warning(
        "the compiled kernels cannot be kept, and are compiled anew by every process: %s", reason
    )
    try:
        with tempfile.TemporaryDirectory(prefix="gnas-native-") as temporary:
            return _compiled([*compiler, *flags], Path(temporary), stem)
    except OSError as error:
        raise UnsupportedError(
            f"the native kernels must compile in a temporary folder, but: "
            f"{error.strerror or error}; set TMPDIR to a folder that can be written, or use "
            "kernels='torch'"
        ) from error


@cache
def unavailable(dtype: torch.dtype) -> str | None:
    """Reason in one line why `library` is unavailable for ``dtype``; None if it is available."""
    try:
        library(dtype)
    except UnsupportedError as error:
        return str(error)
    return None


def _compiler() -> list[str]:
    """The command in ``$CC``, arguments included, or ``cc``; its program by its whole path.

    Raises:
        UnsupportedError: there is no such program.
    """
    text = os.environ.get("CC", "").strip() or "cc"
    try:
        name, *arguments = shlex.split(text)
    except ValueError as error:
        raise UnsupportedError(
            f"CC must be a command as a shell reads it, but {text!r} has: {error}"
        ) from error
    path = shutil.which(name)
    if path is None:
        raise UnsupportedError(
            f"the native kernels need a C compiler, but {name!r} is not on the PATH; install gcc "
            "or clang, or use kernels='torch'"
        )
    return [path, *arguments]


def _key(compiler: list[str], flags: Sequence[str]) -> str:
    """Digest of everything a library depends on: 16 characters.

    Raises:
        UnsupportedError: the compiler does not run.
    """
    try:
        done = subprocess.run(
            [*compiler, "--version"],
            capture_output=True,
            check=False,
            timeout=COMPILE_LIMIT_S,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnsupportedError(
            f"the native kernels need a C compiler, but {compiler[0]} does not run: {error}"
        ) from error
    parts = [SOURCE.read_bytes(), done.stdout]
    parts += [part.encode() for part in (*compiler, *flags, _processor())]
    return hashlib.sha256(b"\n".join(parts)).hexdigest()[:16]


def _own_folder() -> tuple[Path | None, str]:
    """The cache's folder, made if need be, if only this user can write it; else None and why.

    A folder of one's own that others can write is closed to them, and emptied of libraries: they
    may be anybody's.
    """
    try:
        base = os.environ.get("XDG_CACHE_HOME", "")
        root = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
        folder = root / "gnas" / "native"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
        if found.st_uid != os.geteuid():
            return None, f"{folder} belongs to another user"
        if found.st_mode & _OTHERS_WRITE:
            logger.warning(
                "%s could be written by other users: closing it, and compiling the kernels anew",
                folder,
            )
            folder.chmod(0o700)
            for path in folder.glob("kernels-*.so"):
                path.unlink()
        if not os.access(folder, os.W_OK | os.X_OK):
            return None, f"{folder} cannot be written"
    except OSError as error:
        return None, f"{error.filename}: {error.strerror}"
    except RuntimeError as error:  # there is no home
        return None, str(error)
    return folder, ""


def _kept(path: Path) -> ctypes.CDLL | None:
    """The library in a file of the cache; None, and no file, if anything about it is off."""
    try:
        return _loaded(path)
    except (OSError, AttributeError) as error:
        logger.warning("compiling the kernels anew in place of %s: %s", path, error)
    try:
        path.unlink()
    except OSError:
        logger.warning("%s cannot be removed", path)
    return None


def _loaded(path: Path) -> ctypes.CDLL:
    """The library in a file that only this user can have written, if it is what its name says.

    The file stays open and is loaded by its descriptor: what runs is what was checked, whatever
    its name has come to mean.

    Raises:
        OSError: it may be another's or has another content, or it does not load.
        AttributeError: it lacks one of `FUNCTIONS`.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError("it is no file")
        if found.st_uid != os.geteuid() or found.st_mode & _OTHERS_WRITE:
            raise OSError("other users could have written it")
        with open(descriptor, "rb", closefd=False) as file:
            digest = hashlib.sha256(file.read()).hexdigest()
        if not path.stem.endswith(f"-{digest}"):
            raise OSError("it is damaged")
        open_file = f"/proc/self/fd/{descriptor}"
        loaded = ctypes.CDLL(open_file if os.path.exists(open_file) else str(path))
    except OSError:
        os.close(descriptor)
        raise
    # the descriptor stays open: the system's loader takes what has one name for one library
    for name in FUNCTIONS:
        getattr(loaded, name)
    return loaded


def _compiled(command: list[str], folder: Path, stem: str) -> ctypes.CDLL:
    """A library that is compiled now and kept in ``folder``.

    Several processes may do so at once: each writes a file of its own, which then takes its place
    under the name that its content gives it.

    Raises:
        UnsupportedError: the compiler fails, or what it makes is no such library.
        OSError: nothing can be written in ``folder``.
    """
    _remove_left_over(folder)
    with tempfile.TemporaryDirectory(dir=folder, prefix=_UNFINISHED) as temporary:
        made = Path(temporary) / "kernels.so"
        _compile(command, made)
        made.chmod(0o700)
        path = folder / f"{stem}-{hashlib.sha256(made.read_bytes()).hexdigest()}.so"
        made.replace(path)
    try:
        return _loaded(path)
    except (OSError, AttributeError) as error:
        path.unlink(missing_ok=True)
        raise UnsupportedError(
            f"the compiled kernels must load, but what {command[0]} makes does not: {error}; "
            "use kernels='torch'"
        ) from error


def _remove_left_over(folder: Path) -> None:
    """Remove what killed processes left in the cache."""
    for path in folder.glob(f"{_UNFINISHED}*"):
        if time.time() - path.stat().st_mtime > 3 * COMPILE_LIMIT_S:
            shutil.rmtree(path, ignore_errors=True)


def _processor() -> str:
    """CPU properties that -march=native depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags"))}))


def _compile(command: list[str], path: Path) -> None:
    """Compile to ``path``; without OpenMP, where the compiler has none: on one core.

    Raises:
        UnsupportedError: the compiler fails.
    """
    reason = ""
    for extra in (["-fopenmp"], []):
        try:
            done = subprocess.run(
                [*command, *extra, str(SOURCE), "-o", str(path)],
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=COMPILE_LIMIT_S,
                stdin=subprocess.DEVNULL,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            reason = str(error)
            break
        if done.returncode == 0 and path.is_file():
            if not extra:
                logger.warning("%s has no OpenMP: kernels use one core", command[0])
            return
        reason = next((line for line in done.stderr.splitlines() if "error" in line), reason)
    raise UnsupportedError(
        f"the native kernels must compile, but {command[0]} failed: {reason.strip()}; "
        "use kernels='torch'"
    )
