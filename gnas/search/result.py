"""Records of a search: every evaluation, and what came out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnas.errors import DataError, MissingDataError
from gnas.search.objectives import Bound, Goal, Objective


@dataclass(frozen=True)
class Evaluation:
    """One architecture that a searcher asked for, and its measures."""

    number: int
    """Place in the order of asking, from 0."""
    architecture: str
    """In the space's notation."""
    measures: Mapping[str, float] | None
    """By name; None if it could not be evaluated."""
    error: str | None = None
    """Why it could not be evaluated."""
    stage: str = ""
    """The evaluator's stage, a longer training for example; empty for the first."""
    expected: float | None = None
    """What the searcher foresaw of the first objective, where it does."""
    runs: tuple[Mapping[str, float], ...] = ()
    """Where each architecture is evaluated with several seeds: the measures by each."""

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> Evaluation:
        """The evaluation that a line of ``metrics.jsonl`` or a ``result.json`` holds.

        Raises:
            TypeError: it is something else.
        """
        return Evaluation(**{**record, "runs": tuple(record.get("runs", ()))})


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """Everything that a search found; field by field the content of ``result.json``."""

    command: str
    """``search SEARCHER``."""
    config: Mapping[str, Any]
    """What was searched for, how and where."""
    space: Mapping[str, Any]
    """Name of the space, and the digest of its file if it has one."""
    objectives: tuple[str, ...]
    """``NAME:max`` or ``NAME:min``."""
    bounds: tuple[str, ...]
    """``NAME=NUMBER``: at most that."""
    architecture: str
    """The best one: the first objective's among those that keep all bounds."""
    metrics: Mapping[str, float]
    """Its measures."""
    params: float | None
    """Parameters of its network, where the evaluator counts them."""
    macs: float | None
    """Multiply-accumulates of one image, where the evaluator counts them."""
    best: int
    """Its number among the evaluations."""
    feasible: bool
    """Whether it keeps all bounds; if not, it breaks them least."""
    front: tuple[int, ...]
    """Numbers of the evaluations that none other dominates, by the first objective."""
    evaluations: tuple[Evaluation, ...]
    """In the order of asking."""
    evaluated: int
    """Architectures that have measures."""
    failed: int
    """Architectures that could not be evaluated."""
    stopped: str | None
    """Why the search ended before its budget was spent."""
    seconds: float
    """Wall-clock time, of the last command if the search was resumed."""
    data: Mapping[str, Any] | None = None
    """The images that networks were trained on; None where none were."""

    @property
    def goal(self) -> Goal:
        """Objectives and bounds."""
        return Goal(
            tuple(Objective.parse(text) for text in self.objectives),
            tuple(Bound.parse(text) for text in self.bounds),
        )


def read_result(folder: Path) -> SearchResult:
    """The result of the search in a run's folder.

    Raises:
        MissingDataError: the search has not ended, or there is none.
        DataError: its ``result.json`` is damaged.
    """
    path = folder / "result.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        evaluations = tuple(map(Evaluation.from_record, record.pop("evaluations")))
        record |= {name: tuple(record[name]) for name in ("objectives", "bounds", "front")}
        return SearchResult(evaluations=evaluations, **record)
    except FileNotFoundError as error:
        raise MissingDataError(
            f"a search must have ended to be shown, but {folder} has no result; go on with "
            f"--resume {folder}"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} must be the result of a search, but: {error}") from error
