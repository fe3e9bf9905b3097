"""Files that are written whole or not at all."""

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

from gnas.errors import DataError, MissingDataError

MISFITS = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    AssertionError,
)
"""What code raises that meets content of another type, size or depth than it was written for."""
MAX_TEXT_BYTES = 64 << 20
"""Text files are read up to this size."""

_TEMPORARY = re.compile(r"\.(.+)\.\d+\.tmp")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends well.

    Whatever ends the block otherwise (an error, Ctrl-C) removes the temporary file and leaves
    ``path`` as it was. A device or a shell's pipe (``/dev/null``) is written to, not replaced.

    Raises:
        DataError: the folder cannot be written, the disk is full, or there is a named pipe that
            nobody reads, for which writing would wait.
    """
    with _held_open(path):
        yield from _replacing(path)


@contextmanager
def _held_open(path: Path) -> Iterator[None]:
    """A named pipe has a writer inside, so that its reader does not see an end before the text."""
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


def _replacing(path: Path) -> Iterator[Path]:
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
def decoding(path: Path, what: str) -> Iterator[None]:
    """Inside, content of another type or form than the code expects is damage of the file.

    Args:
        path: The file, or the folder of a run.
        what: What it must be, for the message.

    Raises:
        MissingDataError: as it was raised inside.
        DataError: it is not that; says the reason in one line.
    """
    try:
        yield
    except DataError:
        raise
    except MISFITS as error:
        text = str(error) or "its content is of another form"
        text = f"{text} is missing" if isinstance(error, KeyError) else text
        raise DataError(f"{path} must be {what}, but: {text.splitlines()[0][:300]}") from error


def read_json(path: Path, what: str) -> Any:
    """The content of a JSON file; see `read_text`.

    Raises:
        MissingDataError: there is no such file.
        DataError: it cannot be read, or is no JSON.
    """
    text = read_text(path, what)
    with decoding(path, what):
        return json.loads(text)


def read_json_lines(path: Path, what: str) -> list[dict[str, Any]]:
    """The JSON objects of a file that has one on every line; see `read_text`.

    A last line below others that a killed process, or one that is writing now, has left without
    its end does not count.

    Raises:
        MissingDataError: there is no such file.
        DataError: it cannot be read, or a line is no JSON object.
    """
    text = read_text(path, what)
    end = text.rfind("\n") + 1
    text = text[:end] or text
    with decoding(path, what):
        lines = [json.loads(line) for line in text.splitlines() if line]
        if not all(isinstance(line, dict) for line in lines):
            raise ValueError("every line must be an object")
        return lines


def check_regular(path: Path, what: str) -> None:
    """Checks that a path that exists is a file, not a pipe that a reader would wait for.

    Raises:
        DataError: it is not.
    """
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "a device or a pipe"
        raise DataError(f"{path} must be {what}, but: it is {kind}")


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
