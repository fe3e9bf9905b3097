"""NATS-Bench's own files: a folder of bz2 pickles, one for every architecture.

A pickle is a program. These are opened by an unpickler that builds plain containers, numbers and
strings and refuses everything else. Nothing heavy is imported, so that commands can look first.
"""

from __future__ import annotations

import bz2
import io
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gnas.data.files import check_regular
from gnas.errors import DataError, MissingDataError

MAX_FILE_BYTES = 64 << 20
"""Larger contents are refused; a real file has 0.4 MB."""

_FILE_NAME = re.compile(r"(\d{6})\.pickle\.pbz2")


def nats_files(folder: Path) -> list[tuple[int, Path]]:
    """Number and file of every architecture in a ``NATS-tss-*-simple`` folder, ascending.

    Raises:
        MissingDataError: the folder does not exist or holds no such file.
    """
    files = sorted(
        (int(match[1]), path)
        for path in (folder.iterdir() if folder.is_dir() else ())
        if (match := _FILE_NAME.fullmatch(path.name))
    )
    if not files:
        found = "has none" if folder.is_dir() else "is no folder"
        raise MissingDataError(
            f"{folder} must be a NATS-tss 'simple' folder with files like 000000.pickle.pbz2, "
            f"but {found}"
        )
    return files


def check_nats_folder(folder: Path) -> None:
    """Check that a folder holds files of architectures, and that the first one can be read.

    Raises:
        MissingDataError: the folder does not exist or holds no such file.
        DataError: the first file is damaged or unsafe.
    """
    load_plain_pickle(nats_files(folder)[0][1])


def load_plain_pickle(path: Path) -> Any:
    """The content of a bz2 pickle of plain containers, numbers and strings.

    Raises:
        DataError: the file is damaged, too large, or its pickle asks for anything else.
    """
    check_regular(path, "an intact bz2 file")
    try:
        with bz2.open(path) as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except (OSError, EOFError) as error:
        raise DataError(f"{path} must be an intact bz2 file, but is not: {error}") from error
    if len(content) > MAX_FILE_BYTES:
        raise DataError(f"{path} must unpack to at most {MAX_FILE_BYTES} bytes, but has more")
    try:
        return _PlainUnpickler(io.BytesIO(content)).load()
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except Exception as error:  # damaged opcodes can end in any exception
        raise DataError(
            f"{path} must hold an intact pickle, but reading it failed: "
            f"{type(error).__name__}: {str(error)[:200]}"
        ) from error


class _Dtype:
    """Stand-in for ``numpy.dtype`` in a pickle: only little-endian numbers."""

    def __init__(self, code: str, *_: object) -> None:
        if not isinstance(code, str) or not re.fullmatch(r"[fiu][1248]", code):
            raise DataError(f"the pickle must hold plain numbers, but has dtype {code!r:.40}")
        self.code = code

    def __setstate__(self, state: tuple[object, ...]) -> None:
        if len(state) < 2 or state[1] not in ("<", "|"):
            raise DataError(f"numbers must be little-endian, but the pickle says {state!r:.60}")


def _scalar(dtype: _Dtype, content: bytes) -> float | int:
    """Stand-in for numpy's reconstruction of a scalar."""
    return np.frombuffer(content, dtype=f"<{dtype.code}", count=1)[0].item()  # type: ignore[no-any-return]


class _PlainUnpickler(pickle.Unpickler):
    """Unpickler of ordered dictionaries and numpy's numbers; refuses all else."""

    _allowed: Mapping[tuple[str, str], Callable[..., object]] = {
        ("collections", "OrderedDict"): OrderedDict,
        ("numpy", "dtype"): _Dtype,
        ("numpy.core.multiarray", "scalar"): _scalar,
        ("numpy._core.multiarray", "scalar"): _scalar,
    }

    def find_class(self, module: str, name: str) -> Any:
        """Called by pickle for every global that the file names."""
        try:
            return self._allowed[module, name]
        except KeyError:
            raise DataError(
                "the pickle must hold plain containers, numbers and strings, but asks for "
                f"{module}.{name}; it was not executed"
            ) from None
