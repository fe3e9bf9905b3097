"""Base class of jobs: how workers evaluate candidates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Self

from gnas.errors import GnasError
from gnas.user_code import described

Evaluate = Callable[[dict[str, Any]], dict[str, Any]]
"""Maps a candidate to its result, both JSON objects; ``result["score"]`` is a finite float."""
FAILURES = (RuntimeError, MemoryError, ArithmeticError, GnasError)
"""Exceptions that mark a candidate as failed, including a lack of memory or GPU memory. All others
are program errors."""


def reason(error: BaseException) -> str:
    """Reason of a failure in one line.

    Examples:
        >>> reason(RuntimeError("not enough memory: 9 GB")), reason(MemoryError())
        ('RuntimeError: not enough memory: 9 GB', 'MemoryError')
    """
    return described(error).splitlines()[0].rstrip(": ")


class Job(ABC):
    """Evaluation of the candidates of a study.

    Implementations are frozen dataclasses. Workers on this machine receive the job itself;
    workers elsewhere restore it from the facts stored in the study.

    Examples:
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True)
        ... class Square(Job):
        ...     kind = "square"
        ...     shift: float = 0.0
        ...     def metadata(self):
        ...         return {"shift": self.shift}
        ...     @classmethod
        ...     def from_metadata(cls, facts, *, data_dir=None):
        ...         return cls(**facts)
        ...     def open(self):
        ...         return lambda candidate: {"score": (candidate["x"] - self.shift) ** 2}
        >>> Square(shift=1.0).open()({"x": 3.0})
        {'score': 4.0}
    """

    kind: ClassVar[str]
    """Name of the class in a study."""

    @abstractmethod
    def metadata(self) -> dict[str, Any]:
        """Settings that define a result, as a JSON object from which the job can be restored.

        They are stored in the study, which only equal settings may continue. No passwords.
        """

    @classmethod
    @abstractmethod
    def from_metadata(cls, facts: dict[str, Any], *, data_dir: Path | None = None) -> Self:
        """Restore the job of a study.

        Args:
            facts: Settings returned by `metadata` when the study was created.
            data_dir: Data folder on this machine, if it differs from that in ``metadata``.

        Raises:
            ConfigError: the facts are of another version.
        """

    @abstractmethod
    def open(self) -> Evaluate:
        """Load shared data, such as images, and return the function that evaluates candidates.

        Each worker calls this once. If the function raises one of `FAILURES`, the candidate is
        recorded as failed for that reason.
        """

    def read(self) -> str | None:
        """One-line summary of the data read by `open`; None without data."""
        return None
