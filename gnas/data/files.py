"""Files that are written whole or not at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gnas.errors import DataError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends well.

    Whatever ends the block otherwise (an error, Ctrl-C) removes the temporary file and leaves
    ``path`` as it was. A device or a pipe (``/dev/null``) is written to, not replaced.

    Raises:
        DataError: the folder cannot be written, or the disk is full.
    """
    is_device = path.exists() and not path.is_file() and not path.is_dir()
    temporary = path if is_device else path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if not is_device:
            _flush(temporary)
            temporary.replace(path)
    except OSError as error:
        if isinstance(error, DataError):
            raise
        reason = error.strerror or str(error).splitlines()[0]
        raise DataError(f"{path} must be writable, but writing failed: {reason}") from error
    finally:
        if not is_device:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} must be readable, but got: {error.strerror}") from error


def _flush(path: Path) -> None:
    """Puts the content on the disk before the rename makes it visible."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
