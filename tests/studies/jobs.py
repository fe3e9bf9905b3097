"""Jobs for tests of studies, importable by the workers that they start."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from gnas.errors import ConfigError, DataError
from gnas.studies import Job


@dataclass(frozen=True)
class Doubling(Job):
    """Doubles a number after a while; the candidate may ask for trouble instead."""

    kind: ClassVar[str] = "doubling"
    seconds: float = 0.02
    factor: int = 2
    log: str | None = None
    """A file to which every evaluation adds a line, so that they can be counted."""

    def metadata(self) -> dict[str, Any]:
        return {"factor": self.factor, "seconds": self.seconds, "log": self.log}

    @classmethod
    def from_metadata(cls, facts: dict[str, Any], *, data_dir: Path | None = None) -> Self:
        try:
            return cls(**facts)
        except TypeError as error:
            raise DataError("these are no facts of a doubling") from error

    def open(self) -> Callable[[dict[str, Any]], dict[str, Any]]:
        if self.factor == 0:
            raise ConfigError("the factor must not be 0")
        return self._evaluate

    def _evaluate(self, candidate: dict[str, Any]) -> dict[str, Any]:
        if self.log is not None:
            with open(self.log, "a") as file:
                file.write(f"{os.getpid()} {candidate['x']}\n")
        trouble = candidate.get("trouble")
        if trouble == "error":
            raise RuntimeError("not enough memory: you tried to allocate 9 GB\nat line 3")
        if trouble == "memory":
            raise MemoryError
        if trouble == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if trouble == "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(candidate.get("seconds", self.seconds))
        score = float("nan") if trouble == "nan" else self.factor * candidate["x"]
        return {"score": score, "loss": float("inf"), "shape": [1, 2]}
