"""Job of the workers of a study."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Self

from gnas.errors import GnasError
from gnas.user_code import described

Evaluate = Callable[[dict[str, Any]], dict[str, Any]]
"""From a candidate to its result, both as JSON has them; ``result["score"]`` is a finite float."""
FAILURES = (RuntimeError, MemoryError, ArithmeticError, GnasError)
"""What an evaluation may raise of a candidate that cannot be evaluated; a lack of memory, also a
GPU's, is among them. Everything else is an error of the program."""


def reason(error: BaseException) -> str:
    """Why a candidate failed, in one line.

    Example:
        >>> reason(RuntimeError("not enough memory: 9 GB")), reason(MemoryError())
        ('RuntimeError: not enough memory: 9 GB', 'MemoryError')
    """
    return described(error).splitlines()[0].rstrip(": ")


class Job(ABC):
    """How the candidates of a study are evaluated.

    Implementations are frozen dataclasses: workers on this machine get the job itself, workers
    elsewhere make it anew from the facts that the study keeps.
    """

    kind: ClassVar[str]
    """Names the class in a study."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """All that fixes what a result means, as JSON has it, and enough to make the job anew.

        A study keeps them and is continued by equal facts only; no password belongs here.
        """

    @classmethod
    @abstractmethod
    def from_facts(cls, facts: dict[str, Any], *, data_dir: Path | None = None) -> Self:
        """The job of a study.

        Args:
            facts: What `facts` returned where the study was begun.
            data_dir: Where this machine has the data, if not where the facts say.

        Raises:
            ConfigError: the facts are of another version.
        """

    @abstractmethod
    def open(self) -> Evaluate:
        """Loads what every evaluation needs, images for example; called once by every worker.

        The function that it returns may raise one of `FAILURES`: the candidate is recorded as
        failed for that reason.
        """

    def read(self) -> str | None:
        """One line on the data that `open` has read; None without data."""
        return None
