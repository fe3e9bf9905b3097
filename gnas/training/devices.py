"""Devices, threads, and what a process has one of: a default type and generators.

A program may use gnas from several threads at once.
"""

from __future__ import annotations

import os
import random
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import ThreadpoolController

from gnas.errors import ConfigError

MAX_THREADS = 1024
"""More would be a mistake."""
SMALL_MAP = 2**18
"""Numbers in the largest map of features up to which two threads gain less than they cost."""


def resolve_device(name: str) -> str:
    """The device that ``name`` means: "auto" is a GPU where there is one, else the CPU.

    Raises:
        ConfigError: no such device here.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise _unknown(name) from error
    if device.type not in ("cpu", "cuda"):
        raise _unknown(name)
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    if (device.index or 0) >= count:
        raise ConfigError(
            f"device {name} must exist, but this machine has {count} usable GPUs; use --device cpu"
        )
    return name


def device_name(device: str) -> str:
    """The device's own name: of a GPU its model, of a CPU what the system says."""
    if device.startswith("cuda"):
        return str(torch.cuda.get_device_name(device))
    import platform

    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if "model name" in line]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


class _Float32:
    """float32 as the default type of this process while any of its threads is inside."""

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0
        self._before = torch.float32

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before = torch.get_default_dtype()
                torch.set_default_dtype(torch.float32)
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                torch.set_default_dtype(self._before)


class _OneThread:
    """One thread for BLAS, OpenMP and torch while any thread of this process is inside.

    OpenMP's numbers are of the thread that sets them. Those of BLAS and torch are of the process:
    they change when the first thread enters and when the last one leaves.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside: list[int] = []  # a thread's number for every time that it entered
        self._blas: dict[ThreadpoolController, Callable[[], None]] = {}
        self._torch = 1

    @contextmanager
    def __call__(self) -> Iterator[None]:
        blas, openmp = _controllers(len(sys.modules))
        thread = threading.get_ident()
        with self._lock:
            found = torch.get_num_threads()
            limit = openmp.limit(limits=1)
            if not self._inside:
                self._torch = found
                torch.set_num_threads(1)
            if blas not in self._blas:  # libraries may have been loaded since
                self._blas[blas] = blas.limit(limits=1).restore_original_limits
            # A thread that is new to torch finds the 1 that the others have set.
            is_new = found == 1 and thread not in self._inside
            self._inside.append(thread)
        try:
            yield
        finally:
            with self._lock:
                self._inside.remove(thread)
                if not self._inside:
                    torch.set_num_threads(self._torch)
                    for libraries, restore in reversed(self._blas.items()):
                        _set_by_any_thread(libraries)
                        restore()
                        _set_by_any_thread(libraries)
                    self._blas.clear()
                limit.restore_original_limits()
                for library in openmp.lib_controllers if is_new else []:
                    if "torch" in Path(library.filepath).parts and library.num_threads == 1:
                        library.set_num_threads(self._torch)


_float32, _generator, _one_thread = _Float32(), threading.RLock(), _OneThread()


def _forget() -> None:
    """Let a forked child go on, whatever other threads of its parent were inside of."""
    global _float32, _generator, _one_thread
    _float32, _generator, _one_thread = _Float32(), threading.RLock(), _OneThread()


os.register_at_fork(after_in_child=_forget)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread inside: BLAS, OpenMP and torch.

    Small work gains little from more, and loses much where another process wants the cores:
    threads that wait for each other in a loop then cost several times as much as one.
    """
    with _one_thread():
        yield


@contextmanager
def own_settings() -> Iterator[None]:
    """Default type, gradients and handling of underflow inside as in a new process.

    What a program sets for its own computations, float64 for example, changes no result then.
    """
    with (
        _float32,
        torch.inference_mode(False),
        torch.enable_grad(),
        np.errstate(all="warn", under="ignore"),
        ExitStack() as stack,
    ):
        # Only where need be: in any context of autocast, an autocast of a user's network would
        # keep the weights that it has cast until that context ends.
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield


@contextmanager
def own_generator(seed: int | None = None, gpus: Sequence[torch.device] = ()) -> Iterator[None]:
    """The global generators for what is inside alone; afterwards they are as they were.

    Those of PyTorch, NumPy and Python: a user's network may draw from any. Other threads that
    want them wait.

    Args:
        seed: Seed of the generators; None starts them where the program has them.
        gpus: GPUs of which the same holds. Generators of others are not touched.
    """
    with _generator, torch.random.fork_rng(devices=list(gpus)):
        of_python = random.getstate()
        of_numpy = np.random.get_state()  # noqa: NPY002
        try:
            if seed is not None:
                seed_generators(seed, gpus)
            yield
        finally:
            np.random.set_state(of_numpy)  # noqa: NPY002
            random.setstate(of_python)


def seed_generators(seed: int, gpus: Sequence[torch.device] = ()) -> None:
    """Seed the generators of the CPU and of ``gpus``; `torch.manual_seed` seeds all GPUs."""
    seed_numpy_and_python(seed)
    torch.default_generator.manual_seed(seed)
    for gpu in gpus:
        with torch.cuda.device(gpu):
            torch.cuda.manual_seed(seed)


def seed_numpy_and_python(seed: int) -> None:
    """Seed the global generators of NumPy and Python."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  # it takes no larger one


def step_seed(seed: int, step: int, rank: int = 0) -> int:
    """Seed of what a step of a training draws in one of its processes."""
    mixed = np.random.SeedSequence([seed, step, rank])
    return int(mixed.generate_state(1, np.uint64)[0] >> 1)


def gpus_of(device: str) -> list[torch.device]:
    """The GPU that a device is, if it is one."""
    return [torch.device(device)] if device.startswith("cuda") else []


@lru_cache(maxsize=1)
def _controllers(num_modules: int) -> tuple[ThreadpoolController, ThreadpoolController]:
    """Of BLAS and of OpenMP; libraries are looked for again after imports: it takes long."""
    every = ThreadpoolController()
    return every.select(user_api="blas"), every.select(user_api="openmp")


def _set_by_any_thread(blas: ThreadpoolController) -> None:
    """Let this thread set the numbers, since threadpoolctl 3.8 lets only the first that did."""
    for library in blas.lib_controllers:
        if hasattr(library, "clear_controlling_thread"):
            library.clear_controlling_thread(force=True)


def use_threads(count: int | None) -> None:
    """Have this process compute on so many threads; None leaves what torch chose.

    Raises:
        ConfigError: the count is not in [1, `MAX_THREADS`].
    """
    if count is None:
        return
    if not 1 <= count <= MAX_THREADS:
        raise ConfigError(f"threads must be in [1, {MAX_THREADS}], but got {count}")
    torch.set_num_threads(count)


def suited_threads(batch_size: int, channels: int, image_size: int) -> int | None:
    """Number of threads for a network on a CPU: 1 for small maps; None leaves what torch chose.

    Args:
        batch_size: Images that are computed at once.
        channels: Channels of the largest maps.
        image_size: Height and width of the largest maps, in pixels.

    Examples:
        >>> suited_threads(32, 8, 16)
        1
        >>> suited_threads(128, 16, 32) is None
        True
    """
    return 1 if batch_size * channels * image_size**2 <= SMALL_MAP else None


@contextmanager
def oom_hint(advice: str) -> Iterator[None]:
    """Turn running out of memory into an error that says which setting to change.

    Raises:
        ConfigError: "out of memory: " and ``advice``.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error)
        known = (
            "out of memory", "can't allocate memory", "Cannot allocate memory",
            "size calculation overflowed",
        )  # fmt: skip
        if not isinstance(error, MemoryError) and not any(part in text for part in known):
            raise
        raise ConfigError(f"out of memory: {advice}") from error


def _unknown(name: str) -> ConfigError:
    return ConfigError(f"device must be auto, cpu, cuda or cuda:N, but got {name!r}")
