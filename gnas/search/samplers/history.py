"""Trials of an Optuna study in the form of a searcher's history."""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna import Study
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from gnas.errors import ConfigError, GraphError
from gnas.geometric import Data
from gnas.graphs import DenseBatch
from gnas.search.samplers.base import Scored, Searcher
from gnas.spaces import Space, space_record, space_text
from gnas.spaces.registry import is_recorded_as

ARCHITECTURE = "architecture"
"""User attribute of a trial with its architecture as text."""
SPACE = "space"
"""User attribute with the name and arguments of the architecture's space."""


@dataclass(frozen=True)
class HistorySnapshot:
    """Architectures of a study's trials, as passed to `Searcher.restore`."""

    told: list[Scored]
    pending: set[int]
    dropped: set[int]


def check_recorded(attributes: Mapping[str, Any], space: Space, where: str) -> None:
    """Check that a trial's recorded space, if any, is the given one.

    Args:
        attributes: User attributes of the trial.
        space: The expected space.
        where: Description of the trial, for messages.

    Raises:
        ConfigError: it is recorded as one of another space.
    """
    record = attributes.get(SPACE)
    if record is None:
        return
    is_record = isinstance(record, dict) and isinstance(record.get("args"), dict)
    if not is_record or "name" not in record or not is_recorded_as(space, record):
        found = space_text(record) if is_record and "name" in record else f"{record!r:.80}"
        raise ConfigError(
            f"{where} must hold an architecture of {space_text(space_record(space))}, but holds "
            f"one of {found}; use another study name"
        )


class StudyHistory:
    """The trials of one study; finished ones are parsed once.

    Finished trials count in the order of their completion (then of their numbers). Those that
    failed or were pruned, or whose value is infinite, are dropped; all others are pending.
    Trials without an architecture are passed over.

    Args:
        searcher: Supplies the space and the keys of architectures.
    """

    def __init__(self, searcher: Searcher) -> None:
        self._searcher = searcher
        self._record = space_record(searcher.space)
        self._known: dict[str, tuple[Data, int]] = {}
        self._study: Study | None = None
        self._forget()

    def _forget(self) -> None:
        self._finished: set[int] = set()  # numbers of trials
        self._ages: list[tuple[float, int]] = []
        self._told: list[Scored] = []  # in the order of their ages
        self._dropped: set[int] = set()
        self._trials_by_key: dict[int, list[int]] = {}  # finished trials by key

    def read(self, study: Study, *, exclude: int) -> HistorySnapshot:
        """Current snapshot of the study, without trial ``exclude``.

        Args:
            study: The study.
            exclude: Number of a trial to leave out.

        Raises:
            ConfigError: an architecture is not of the searcher's space.
        """
        pending = set(self._unfinished(study, exclude).values())
        return HistorySnapshot(list(self._told), pending, set(self._dropped))

    def trials_with_key(self, study: Study, key: int, *, exclude: int) -> list[int]:
        """Numbers of the trials with this architecture key, except ``exclude``.

        Args:
            study: The study.
            key: Key of an architecture.
            exclude: Number of a trial to leave out.

        Raises:
            ConfigError: as for `read`.
        """
        open_ = [n for n, found in self._unfinished(study, exclude).items() if found == key]
        return open_ + self._trials_by_key.get(key, [])

    def cache(self, text: str, graph: Data, key: int) -> None:
        """Cache the parsed form of a text."""
        self._known[text] = graph, key

    def parse(self, attributes: Mapping[str, Any], where: str) -> Data:
        """Parse the architecture in a trial's attributes.

        Raises:
            ConfigError: it is not of the searcher's space.
        """
        space, text = self._searcher.space, attributes[ARCHITECTURE]
        if attributes.get(SPACE) != self._record:
            check_recorded(attributes, space, where)
        try:
            return space.from_str(text)
        except (GraphError, AttributeError, TypeError) as error:  # the last two: no text
            reason = str(error).partition("\n")[0]
            raise ConfigError(
                f"{where} must hold an architecture of this sampler's space '{space.name}', but "
                f"has {str(text)[:60]!r} ({reason}); use another study name"
            ) from None

    def _unfinished(self, study: Study, exclude: int) -> dict[int, int]:
        """Read new trials; return the keys of unfinished ones by number."""
        if self._study is not study:
            self._study = study
            self._forget()
        every = study.get_trials(deepcopy=False)
        new = [trial for trial in every if trial.number not in self._finished]
        self._understand(study, [trial for trial in new if ARCHITECTURE in trial.user_attrs])
        unfinished = {}
        for trial in new:
            if trial.state.is_finished():
                self._add(study, trial)
            elif ARCHITECTURE in trial.user_attrs and trial.number != exclude:
                unfinished[trial.number] = self._known[trial.user_attrs[ARCHITECTURE]][1]
        return unfinished

    def _understand(self, study: Study, trials: Sequence[FrozenTrial]) -> None:
        graphs: dict[str, Data] = {}
        for trial in trials:
            text = trial.user_attrs[ARCHITECTURE]
            if text not in self._known and text not in graphs:
                where = f"trial {trial.number} of '{study.study_name}'"
                graphs[text] = self.parse(trial.user_attrs, where)
        if graphs:
            keys = self._searcher.keys(DenseBatch.from_data(list(graphs.values())))
            for (text, graph), key in zip(graphs.items(), keys, strict=True):
                self.cache(text, graph, key)

    def _add(self, study: Study, trial: FrozenTrial) -> None:
        """Add a finished trial, which never changes again."""
        self._finished.add(trial.number)
        text = trial.user_attrs.get(ARCHITECTURE)
        if text is None:
            return
        graph, key = self._known[text]
        self._trials_by_key.setdefault(key, []).append(trial.number)
        if trial.state != TrialState.COMPLETE or not all(map(math.isfinite, trial.values)):
            self._dropped.add(key)
            return
        assert trial.datetime_complete is not None
        age = trial.datetime_complete.timestamp(), trial.number
        place = bisect(self._ages, age)
        signs = [1.0 if d == StudyDirection.MAXIMIZE else -1.0 for d in study.directions]
        values = tuple(sign * v for sign, v in zip(signs, trial.values, strict=True))
        self._ages.insert(place, age)
        self._told.insert(place, Scored(graph, key, values))
