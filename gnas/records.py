"""Lines of results that are kept as they come."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

from gnas.config import differences
from gnas.data.files import MISFITS, check_regular, replacing
from gnas.errors import ConfigError, DataError

T = TypeVar("T")


class LineLog(Generic[T]):
    """Records that are kept as they come: a line of JSON each, below one of what they depend on.

    Whoever opens the file again has all of them; a last line that a killed process left half
    written is cut off. One process at a time may write.

    Args:
        path: The file; made if it is not there, with its folder.
        facts: What all records depend on.
        what: What they are, for messages.
        read: Makes a record of its JSON; raises ValueError, TypeError or KeyError if it is none.

    Raises:
        ConfigError: the file's records depend on something else; says what.
        DataError: the file cannot be read or written, or holds something else, which stays there.
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
        except MISFITS as error:
            reason = str(error)[:200]
            raise DataError(f"{path} must hold {what}, but is damaged: {reason}") from error
        changed = differences(before, json.loads(head))
        if changed:
            name, (was, now) = next(iter(changed.items()))
            raise ConfigError(
                f"{what} can only be added to those of the same experiment, but in {path} {name} "
                f"was {was} and is now {now}; choose another place"
            )
        if len(whole) < len(lines):
            with self._reporting():
                os.truncate(path, sum(map(len, whole)))

    def rewrite(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Replaces all records in one step; DataError if the file cannot be written."""
        lines = [self._head, *(json.dumps(record) for record in records)]
        with replacing(self._path) as temporary:
            temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def add(self, record: Mapping[str, Any]) -> None:
        """Keeps a record; DataError if the file cannot be written."""
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
