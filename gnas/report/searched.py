"""Searches that ask and tell, ended or under way, as their folders record them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gnas.data.files import as_data_error, read_json, read_json_lines
from gnas.errors import MissingDataError
from gnas.runs import kind_of_run, open_run_config
from gnas.search.nasgem.result import NasgemResult
from gnas.search.nasgem.trace import read_trace
from gnas.search.objectives import Goal
from gnas.search.pareto import non_dominated
from gnas.search.result import Evaluation, SearchResult, read_result
from gnas.training.recording import METRICS

EVALUATIONS = "the evaluations of a search"


@dataclass(frozen=True, kw_only=True)
class Searched:
    """A search so far."""

    config: Mapping[str, Any]
    """As in ``config.json``."""
    space: Mapping[str, Any]
    goal: Goal
    evaluations: tuple[Evaluation, ...]
    """In the order of asking."""
    best: Evaluation
    front: tuple[int, ...]
    """Numbers of those that none other dominates."""
    result: SearchResult | None
    """None while the search goes on."""

    @property
    def done(self) -> list[Evaluation]:
        """Those with measures."""
        return [one for one in self.evaluations if one.measures is not None]

    @property
    def nasgem(self) -> NasgemResult | None:
        """Additional results of a finished ``gnas search nasgem``."""
        return self.result if isinstance(self.result, NasgemResult) else None


def read_searched(folder: Path) -> Searched:
    """The search in a run's folder.

    Raises:
        MissingDataError: nothing was evaluated yet.
        DataError: a file is damaged.
    """
    with open_run_config(folder) as config:
        space, goal = config["space"], Goal.of(config["objectives"], config["bounds"])
    if (folder / "result.json").exists():
        of_command = kind_of_run(folder) == "nasgem search"
        result = read_trace(folder).result if of_command else read_result(folder)
        return Searched(
            config=config,
            space=result.space,
            goal=result.goal,
            evaluations=result.evaluations,
            best=result.evaluations[result.best],
            front=result.front,
            result=result,
        )
    path = folder / METRICS
    lines = read_json_lines(path, EVALUATIONS) if path.exists() else []
    with as_data_error(path, EVALUATIONS):
        evaluations = tuple(Evaluation.from_records(lines))
        done = [one for one in evaluations if one.measures is not None]
        if not done:
            raise MissingDataError(
                f"a search must have evaluated an architecture to be shown, but {folder} has none"
            )
        last = [one for one in done if one.stage == done[-1].stage]
        broken = np.array([goal.violation(one.measures or {}) for one in last])
        rows = non_dominated(np.array([goal.values(one.measures or {}) for one in last]), broken)
    return Searched(
        config=config,
        space=space,
        goal=goal,
        evaluations=evaluations,
        best=last[rows[0]],
        front=tuple(last[row].number for row in rows),
        result=None,
    )


def recorded(folder: Path) -> dict[str, Any]:
    """The whole ``config.json`` of a run, with versions and data.

    Raises:
        MissingDataError: there is none.
        DataError: it is damaged.
    """
    with open_run_config(folder):
        pass
    found: dict[str, Any] = read_json(folder / "config.json", "the config of such a run")
    return found
