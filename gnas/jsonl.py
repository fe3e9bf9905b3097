"""Append-only logs of results in JSON Lines files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

from gnas.config import by_path, dict_diff
from gnas.data.files import FORMAT_ERRORS, atomic_write, check_regular
from gnas.errors import ConfigError, DataError

T = TypeVar("T")


class JsonlLog(Generic[T]):
    """An append-only JSON Lines file whose first line holds the settings of its records.

    Opening the file again restores its records; an incomplete last line, left by a killed
    process, is cut off. One process at a time may write.

    Args:
        path: The file; created with its folder if it does not exist.
        facts: Settings that all records depend on.
        what: Description of the records, for messages.
        read: Converts JSON to a record; raises ValueError, TypeError or KeyError if it cannot.

    Raises:
        ConfigError: the file has records of other settings.
        DataError: the file cannot be read or written, or holds other content, which is kept.
    """

    def __init__(
        self, path: Path, facts: Mapping[str, Any], *, what: str, read: Callable[[Any], T]
    ) -> None:
        self._path, self._head = path, json.dumps(facts)
        head = (json.dumps(facts) + "\n").encode()
        if not path.is_dir():
            check_regular(path, what)
        with self._reporting():
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
            if len(lines) < 2 and head.startswith(b"".join(lines)):  # new, or killed at once
                path.write_bytes(head)
                lines = [head]
        whole = [line for line in lines if line.endswith(b"\n")]
        try:
            before, *records = [json.loads(line) for line in whole]
            if not isinstance(before, dict) or set(before) != set(facts):
                raise ValueError(f"it begins with {before!r:.60}")
            self.records = [read(record) for record in records]
        except FORMAT_ERRORS as error:
            reason = str(error)[:200]
            raise DataError(f"{path} must hold {what}, but is damaged: {reason}") from error
        changed = dict_diff(by_path(before), by_path(json.loads(head)))
        if changed:
            text = ", ".join(
                f"{name.rpartition('.')[2]} is {was!r:.80}, not {now!r:.80}"
                for name, (was, now) in changed.items()
            )
            raise ConfigError(
                f"{what} can only be added to those of the same experiment, but in {path} {text}; "
                "choose another place"
            )
        if len(whole) < len(lines):
            with self._reporting():
                os.truncate(path, sum(map(len, whole)))

    def rewrite(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Replace all records atomically; raises DataError if the file cannot be written."""
        lines = [self._head, *(json.dumps(record) for record in records)]
        with atomic_write(self._path) as temporary:
            temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def add(self, record: Mapping[str, Any]) -> None:
        """Append a record; raises DataError if the file cannot be written."""
        with self._reporting(), self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DataError(
                f"{self._path} must be a file to read and write, but: {error.strerror}"
            ) from error
