"""Store of measured proxies, in memory and optionally in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gnas.config import dict_diff
from gnas.errors import ConfigError
from gnas.jsonl import JsonlLog
from gnas.runs import to_jsonable
from gnas.spaces import Space, space_record, space_text


class ProxyStore:
    """Values of architectures by their text; `gnas.proxies.compute_proxies` fills it.

    With a path every value is also written as it is found (`gnas.jsonl.JsonlLog`): a measurement
    that was killed goes on from there. One process at a time may write.

    Args:
        path: The file; made if it is not there. None keeps values in memory only.

    Examples:
        >>> import tempfile
        >>> from gnas.proxies import ProxyConfig, compute_proxies
        >>> from gnas.spaces import NASBench201
        >>> cells, config = NASBench201().enumerate()[-2:], ProxyConfig(proxies=("synflow",))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     store = ProxyStore(f"{folder}/proxies.jsonl")
        ...     _ = compute_proxies(NASBench201(), cells, config, store=store)
        ...     len(store)
        2
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self._path = None if path is None else Path(path)
        self._log: JsonlLog[tuple[str, tuple[float, ...]]] | None = None
        self._values: dict[str, tuple[float, ...]] = {}
        self._facts: dict[str, Any] | None = None

    def open(self, space: Space, config: object) -> None:
        """Set the proxies to measure and read the file.

        Args:
            space: Space of the architectures.
            config: Proxies to compute.

        Raises:
            ConfigError: something else was measured before.
            DataError: the file cannot be read or written, or is not of this class.
        """
        record = space_record(space)
        facts = {"space": space_text(record), **to_jsonable(config)}
        if "sha256" in record:  # of a user's file
            facts["space_sha256"] = record["sha256"]
        changed = dict_diff(self._facts or facts, facts)
        if changed:
            name, (was, now) = next(iter(changed.items()))
            raise ConfigError(
                f"a store must hold one measurement, but this one has {name} = {was}, not {now}; "
                "take another"
            )
        if self._log is None and self._path is not None:
            self._log = JsonlLog(self._path, facts, what="proxies", read=_values_of)
            self._values = dict(self._log.records)
        self._facts = facts

    def __contains__(self, text: str) -> bool:
        return text in self._values

    def __getitem__(self, text: str) -> tuple[float, ...]:
        return self._values[text]

    def __len__(self) -> int:
        return len(self._values)

    def add(self, text: str, values: tuple[float, ...]) -> None:
        """Remember the values of an architecture; DataError if its file cannot be written.

        Args:
            text: The architecture as text.
            values: Its values, in the order of the proxies.
        """
        self._values[text] = values
        if self._log is not None:
            self._log.add({"architecture": text, "values": values})


def _values_of(record: Any) -> tuple[str, tuple[float, ...]]:
    return record["architecture"], tuple(map(float, record["values"]))
