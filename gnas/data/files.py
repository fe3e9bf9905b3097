"""Atomic writing and safe reading of files."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from gnas.errors import ConfigError, DataError, MissingDataError

FORMAT_ERRORS = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    AssertionError,
)
"""Exceptions raised by parsing code on content of unexpected type, size or depth."""
MAX_TEXT_BYTES = 64 << 20
"""Maximum size of text files."""

_TEMPORARY = re.compile(r"\.(.+)\.\d+\.tmp")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Write a file atomically: yields a temporary path that replaces ``path`` on success.

    On an exception (including Ctrl-C) the temporary file is removed and ``path`` is unchanged.
    Devices and pipes (``/dev/null``) are written to directly, and of a link the file that it
    points to is replaced.

    Raises:
        DataError: the folder cannot be written, the disk is full, or there is a named pipe that
            nobody reads, for which writing would wait.
    """
    path = link_target(path)
    with _held_open(path):
        yield from _atomic_write(path)


def link_target(path: Path) -> Path:
    """The file that a link points to in the end, which need not exist; other paths as they are.

    Raises:
        DataError: the links point to each other.
    """
    if not path.is_symlink():
        return path
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"{path} must be a file or a folder, but is a link that leads to itself"
        ) from error


@contextmanager
def _held_open(path: Path) -> Iterator[None]:
    """Keep a named pipe open for writing, so that its reader sees no early end of file."""
    if not path.is_fifo() or not path.resolve().exists():  # /dev/fd/63 of a shell is no file
        yield
        return
    try:
        held = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        raise DataError(
            f"{path} must be a file to write, but: it is a pipe that nobody reads"
        ) from error
    try:
        yield
    finally:
        os.close(held)


def _atomic_write(path: Path) -> Iterator[Path]:
    is_device = path.exists() and not path.is_file() and not path.is_dir()
    temporary = path if is_device else path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if not is_device:
            _flush(temporary)
            temporary.replace(path)
    except (OSError, SafetensorError) as error:
        if isinstance(error, DataError):
            raise
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise DataError(f"{path} must be writable, but writing failed: {reason}") from error
    finally:
        if not is_device:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


@contextmanager
def as_data_error(path: Path, what: str) -> Iterator[None]:
    """Convert parsing errors inside the block to a `DataError` about the file.

    Args:
        path: The file, or the folder of a run.
        what: Expected content, for the message.

    Raises:
        MissingDataError: as it was raised inside.
        DataError: the content is not as expected.
    """
    try:
        yield
    except DataError:
        raise
    except FORMAT_ERRORS as error:
        text = str(error) or "its content is of another form"
        text = f"{text} is missing" if isinstance(error, KeyError) else text
        raise DataError(f"{path} must be {what}, but: {text.splitlines()[0][:300]}") from error


def read_json(path: Path, what: str) -> Any:
    """Read a JSON file; see `read_text`.

    Args:
        path: The file.
        what: Expected content, for messages.

    Raises:
        MissingDataError: there is no such file.
        DataError: it cannot be read, or is no JSON.
    """
    text = read_text(path, what)
    with as_data_error(path, what):
        return json.loads(text)


def read_json_lines(path: Path, what: str) -> list[dict[str, Any]]:
    """Read a JSON Lines file of objects; see `read_text`.

    An incomplete last line after others, left by a killed or concurrent writer, is ignored.

    Args:
        path: The file.
        what: Expected content, for messages.

    Raises:
        MissingDataError: there is no such file.
        DataError: it cannot be read, or a line is no JSON object.
    """
    text = read_text(path, what)
    end = text.rfind("\n") + 1
    text = text[:end] or text
    with as_data_error(path, what):
        lines = [json.loads(line) for line in text.splitlines() if line]
        if not all(isinstance(line, dict) for line in lines):
            raise ValueError("every line must be an object")
        return lines


def check_regular(path: Path, what: str) -> None:
    """Check that an existing path is a regular file, not a pipe that would block.

    Args:
        path: The file.
        what: Expected content, for messages.

    Raises:
        DataError: it is not.
    """
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "a device or a pipe"
        raise DataError(f"{path} must be {what}, but: it is {kind}")


def check_utf8(path: str | Path, what: str) -> None:
    """Check the name of a file for a library that takes UTF-8 alone.

    Args:
        path: The file.
        what: What it holds, for messages.

    Raises:
        ConfigError: its path has other bytes.
    """
    if not _is_utf8(path):
        raise ConfigError(
            f"the path of {what} must be UTF-8, but {path} has other bytes; choose another name"
        )


@contextmanager
def utf8_path(path: Path) -> Iterator[Path]:
    """A path of an existing file for a library that takes UTF-8 alone: its own, or another one.

    Args:
        path: The file.
    """
    if _is_utf8(path):
        yield path
    else:
        with path.open("rb") as file:
            yield Path(f"/dev/fd/{file.fileno()}")


def _is_utf8(path: str | Path) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in os.fspath(path))


def read_text(path: Path, what: str = "a text file", *, limit: int = MAX_TEXT_BYTES) -> str:
    """Read a text file, without blocking on a pipe or exhausting memory.

    Args:
        path: The file.
        what: Expected content, for messages.
        limit: Maximum size in bytes.

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
        return content.decode("utf-8-sig")  # some editors begin a text with a byte order mark
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
    """Remove temporary files left by processes killed inside `atomic_write`.

    Args:
        folder: Searched recursively, except subfolders locked by a process (``.lock``).
        of: Restricts removal to the temporary files of this name directly in ``folder``.
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
    """Flush the content to disk before the rename makes it visible."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
