"""A search's folder while it goes on: a line for every trained cell and every update."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gnas.data.files import replacing
from gnas.errors import DataError
from gnas.records import METRICS, EventFile
from gnas.runs import plain
from gnas.search.nasgem.learning import Learner
from gnas.studies import Evaluated


class SearchRecord:
    """Takes results in the order of the plan, whatever order workers end in, and writes them.

    What it writes of a search follows from the study: a resumed search writes all of it anew.

    Args:
        folder: The run's.
        candidates: The plan of Algorithm 1.
        learner: Told every score.
    """

    def __init__(
        self, folder: Path, candidates: Sequence[Mapping[str, Any]], learner: Learner
    ) -> None:
        self.folder, self.learner = folder, learner
        self.lines: list[dict[str, Any]] = []
        self._candidates = candidates
        self._next = 0
        for path in folder.glob("events.out.tfevents.*"):  # all that follows is written again
            path.unlink(missing_ok=True)
        with replacing(folder / METRICS) as temporary:
            temporary.write_text("", encoding="utf-8")
        self._writer = EventFile(folder)

    def take(self, results: Mapping[str, Evaluated]) -> None:
        """Writes what is new, up to the first candidate that is not evaluated yet.

        Args:
            results: Of any candidates, by `key_of`.
        """
        while self._next < len(self._candidates):
            candidate = self._candidates[self._next]
            found = results.get(key_of(candidate))
            if found is None or (found.result is None and found.error is None):
                return
            line = {"event": "trained", "trial": self._next, **_told(found)}
            news = None
            if found.result is not None:
                line["predicted"], news = self.learner.add(self._next, found.result["score"])
            self._write(line, self._next)
            if news is not None:
                self._write({"event": "updated", **news}, news["seen"])
            self._next += 1

    def add(self, event: str, facts: Mapping[str, Any], step: int) -> None:
        """Writes a line of another kind."""
        self._write({"event": event, **facts}, step)

    def close(self) -> None:
        """Ends the event file."""
        self._writer.close()

    def _write(self, line: dict[str, Any], step: int) -> None:
        self.lines.append(plain(line))
        try:
            with (self.folder / METRICS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(plain(line)) + "\n")
            for name, value in line.items():
                if isinstance(value, int | float) and name not in ("trial", "seen", "rank"):
                    self._writer.add_scalar(f"{line['event']}/{name}", value, step)
        except OSError as error:
            raise DataError(
                f"{self.folder / METRICS} must be writable, but: {error.strerror}"
            ) from error


def key_of(candidate: Mapping[str, Any]) -> str:
    """A candidate's identity."""
    return json.dumps(plain(candidate), sort_keys=True)


def _told(found: Evaluated) -> dict[str, Any]:
    """What a line says of a candidate."""
    facts = {"architecture": found.candidate["architecture"]}
    return {**facts, **found.result} if found.result is not None else {
        **facts, "error": found.error
    }  # fmt: skip
