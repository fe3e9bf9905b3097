"""The compiled kernels: `kernels.c` turned into a shared library, once per machine."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
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
COMPILE_LIMIT_S = 300


@cache
def library(dtype: torch.dtype) -> ctypes.CDLL:
    """The kernels for float32 or float64, compiled by the system's C compiler on first use.

    The library is kept in ``$XDG_CACHE_HOME/gnas/native`` (``~/.cache/gnas/native``), under a
    name that depends on the source, the compiler and the processor.

    Raises:
        UnsupportedError: there is no working C compiler.
    """
    compiler = _compiler()
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False)
    key = "\n".join([SOURCE.read_text(), version.stdout, *FLAGS, *REALS[dtype], _processor()])
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    path = _folder() / f"kernels-{str(dtype).removeprefix('torch.')}-{digest}.so"
    if not path.exists():
        _compile([compiler, *FLAGS, *REALS[dtype]], path)
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise UnsupportedError(
            f"the compiled kernels must load, but {path} does not: {error}; "
            "remove the file, or use kernels='torch'"
        ) from error


@cache
def unavailable(dtype: torch.dtype) -> str | None:
    """Why there is no `library` for ``dtype`` here, in one line; None if there is."""
    try:
        library(dtype)
    except UnsupportedError as error:
        return str(error)
    return None


def _compiler() -> str:
    name = os.environ.get("CC", "cc")
    path = shutil.which(name)
    if path is None:
        raise UnsupportedError(
            f"the native kernels need a C compiler, but {name!r} is not on the PATH; install gcc "
            "or clang, or use kernels='torch'"
        )
    return path


def _folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "gnas" / "native"


def _processor() -> str:
    """What -march=native depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags"))}))


def _compile(command: list[str], path: Path) -> None:
    """Compiles to a temporary file that then takes the place of ``path``.

    Without OpenMP, where the compiler has none, the kernels run on one core.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    reason = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for extra in (["-fopenmp"], []):
            done = subprocess.run(
                [*command, *extra, str(SOURCE), "-o", str(temporary)],
                capture_output=True,
                text=True,
                check=False,
                timeout=COMPILE_LIMIT_S,
            )
            if done.returncode == 0:
                if not extra:
                    logger.warning("%s has no OpenMP: kernels use one core", command[0])
                temporary.replace(path)
                return
            reason = next((line for line in done.stderr.splitlines() if "error" in line), "")
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = str(error)
    finally:
        temporary.unlink(missing_ok=True)
    raise UnsupportedError(
        f"the native kernels must compile, but {command[0]} failed: {reason.strip()}; "
        "use kernels='torch'"
    )
