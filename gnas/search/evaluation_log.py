"""The record of a search's evaluations, written as they end."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from gnas.data.files import as_data_error, atomic_write, check_regular
from gnas.errors import DataError
from gnas.loggers import RunLog
from gnas.runs import to_jsonable
from gnas.search.result import Evaluation
from gnas.training.recording import EventFile

EVENTS = "events.out.tfevents.*"


class EvaluationLog:
    """The evaluations of a run: a line each in ``metrics.jsonl``, and TensorBoard's events.

    Args:
        path: The file of lines; None keeps nothing.
        log: Told that there is more to show.
        start: When the search began, by this process's monotonic clock.
        events: Whether to write TensorBoard's events too.
    """

    def __init__(self, path: Path | None, log: RunLog, start: float, *, events: bool) -> None:
        self.path, self._log, self._events = path, log, events
        self._start = start  # earlier by what it took before, where it is resumed
        self._writer: EventFile | None = None

    def begin(self, stages: Collection[str], *, resume: bool) -> list[Evaluation]:
        """Start, or resume after a killed process; return its evaluations.

        A last line that it left half written is cut off.

        Args:
            stages: Stages that the evaluations may have.
            resume: Whether to go on with what there is.

        Raises:
            DataError: the file is damaged, or cannot be read or written.
        """
        if self.path is None:
            return []
        found: list[Evaluation] = []
        check_regular(self.path, "the evaluations of a search")
        try:
            content = self.path.read_bytes() if resume and self.path.exists() else b""
            whole = content[: content.rfind(b"\n") + 1]
            with as_data_error(self.path, "the evaluations of a search"):
                records = [json.loads(line) for line in whole.splitlines()]
                found = Evaluation.from_records(records)
                self._start -= _seconds(records[-1]) if records else 0.0
                if not {one.stage for one in found} <= {"", *stages}:
                    raise ValueError("it has stages that the evaluator has not")
        except OSError as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{self.path} must be readable, but: {error.strerror}") from error
        with atomic_write(self.path) as temporary:
            temporary.write_bytes(whole)
        if self._events:
            for path in self.path.parent.glob(EVENTS):  # written again
                path.unlink(missing_ok=True)
            self._writer = EventFile(self.path.parent)
            for one in found:
                self._write_events(one)
        self._log.update()
        return found

    def add(self, found: Evaluation) -> None:
        """Add a line; raises DataError if it cannot be written."""
        if self.path is None:
            return
        try:
            with self.path.open("a", encoding="utf-8") as file:
                line = {**to_jsonable(found), "seconds": self.seconds()}
                file.write(json.dumps(line) + "\n")
            self._write_events(found)
        except OSError as error:
            raise DataError(f"{self.path} must be writable, but: {error.strerror}") from error
        self._log.update()

    def seconds(self) -> float:
        """Seconds that the search has taken, with those before it was resumed."""
        return time.monotonic() - self._start

    def close(self) -> None:
        """End the file of events."""
        if self._writer is not None:
            self._writer.close()

    def _write_events(self, found: Evaluation) -> None:
        if self._writer is not None:
            for name, value in {**(found.measures or {}), "expected": found.expected}.items():
                if value is not None:
                    self._writer.add_scalar(
                        f"{found.stage or 'search'}/{name}", value, found.number
                    )


def _seconds(record: Mapping[str, Any]) -> float:
    """Seconds that a search had taken when it wrote a line."""
    seconds = float(record["seconds"])
    if not 0 <= seconds < math.inf:
        raise ValueError(f"seconds must be a time, but are {seconds}")
    return seconds
