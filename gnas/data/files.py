"""Files that are written whole or not at all."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gnas.errors import DataError, MissingDataError

MAX_TEXT_BYTES = 64 << 20
"""Text files are read up to this size."""

_TEMPORARY = re.compile(r"\.(.+)\.\d+\.tmp")


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


def read_text(path: Path, what: str = "a text file", *, limit: int = MAX_TEXT_BYTES) -> str:
    """The content of a text file, without waiting for a pipe or filling the memory.

    Args:
        path: The file.
        what: What it must be, for messages.
        limit: The most bytes that it may have.

    Raises:
        MissingDataError: there is no such file.
        DataError: it is no regular file, too large, unreadable or not UTF-8.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a device or a pipe"
            raise DataError(f"{path} must be {what}, but: it is {kind}")
        with path.open("rb") as file:
            content = file.read(limit + 1)
        if len(content) > limit:
            raise DataError(f"{path} must be {what}, but: it has more than {limit:,} bytes")
        return content.decode("utf-8")
    except FileNotFoundError as error:
        if isinstance(error, DataError):
            raise
        raise MissingDataError(f"{path} must be {what}, but there is no such file") from None
    except (OSError, ValueError) as error:
        reason = "it is not text"
        if isinstance(error, OSError):
            reason = error.strerror or str(error)
        raise DataError(f"{path} must be {what}, but: {reason}") from error


def remove_temporaries(folder: Path, *, of: str | None = None) -> None:
    """Removes what processes that were killed inside `replacing` left behind.

    Args:
        folder: Looked through with its folders, except those that a process works in: they have
            a file ``.lock``.
        of: The name of the one file, directly in ``folder``, whose temporaries are meant.
    """
    for place, folders, files in os.walk(folder):
        if of is not None:
            folders.clear()
        folders[:] = [name for name in folders if not Path(place, name, ".lock").exists()]
        for name in files:
            match = _TEMPORARY.fullmatch(name)
            if match and of in (None, match[1]):
                with suppress(OSError):
                    Path(place, name).unlink()


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
