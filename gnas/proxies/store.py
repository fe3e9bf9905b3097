"""What was measured, in memory and if wanted in a file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from gnas.config import differences
from gnas.errors import ConfigError, DataError
from gnas.runs import plain


class ProxyStore:
    """Values of architectures by their text; `gnas.proxies.measure` fills it.

    With a path every value is also written as it is found, one line of JSON an architecture below
    a line that says what was measured. A measurement that was killed goes on from there; a last
    line that is incomplete is measured again. One process at a time may write.

    Args:
        path: The file; made if it is not there. None keeps values in memory only.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self._path = None if path is None else Path(path)
        self._values: dict[str, tuple[float, ...]] = {}
        self._facts: dict[str, Any] | None = None

    def open(self, space: str, config: object) -> None:
        """Says what is measured from now on, and reads the file.

        Raises:
            ConfigError: something else was measured before.
            DataError: the file cannot be read or written, or is not of this class.
        """
        facts = {"space": space, **plain(config)}
        if self._facts is None and self._path is not None:
            self._facts = self._read(self._path, facts)
        changed = differences(self._facts or facts, facts)
        if changed:
            name, (was, now) = next(iter(changed.items()))
            raise ConfigError(
                f"a store must hold one measurement, but {self._path or 'this one'} was made with "
                f"{name} = {was}, not {now}; take another"
            )
        self._facts = facts

    def __contains__(self, text: str) -> bool:
        return text in self._values

    def __getitem__(self, text: str) -> tuple[float, ...]:
        return self._values[text]

    def __len__(self) -> int:
        return len(self._values)

    def add(self, text: str, values: tuple[float, ...]) -> None:
        """Remembers the values of an architecture.

        Raises:
            DataError: the file cannot be written.
        """
        self._values[text] = values
        if self._path is not None:
            self._append(self._path, {"architecture": text, "values": values})

    def _read(self, path: Path, facts: dict[str, Any]) -> dict[str, Any]:
        """What the file was made with; ``facts``, which a new file begins with."""
        try:
            lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
            if not lines:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._append(path, facts)
                return facts
            head, *records = (json.loads(line) for line in lines if line.endswith(b"\n"))
            found = {one["architecture"]: tuple(map(float, one["values"])) for one in records}
            if not isinstance(head, dict) or "proxies" not in head:
                raise ValueError(f"it begins with {head!r:.60}")
            if len(lines) > 1 + len(records):  # a killed process was writing
                os.truncate(path, sum(map(len, lines[:-1])))
        except OSError as error:
            raise DataError(f"{path} must be a file to write to, but: {error.strerror}") from error
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"{path} must be a file of proxies, but is damaged: {error}") from None
        self._values = found
        return head

    def _append(self, path: Path, record: dict[str, Any]) -> None:
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise DataError(f"{path} must be a file to write to, but: {error.strerror}") from error
