"""What the trials of an Optuna study mean to a searcher."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from optuna import Study
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from torch_geometric.data import Data

from gnas.errors import ConfigError, GraphError
from gnas.graphs import DenseBatch
from gnas.search.samplers.base import Scored, Searcher

ARCHITECTURE = "architecture"
"""The user attribute of a trial that holds its architecture as text."""


@dataclass
class Past:
    """The architectures of a study's trials, as `Searcher.restore` takes them."""

    told: list[Scored] = field(default_factory=list)
    pending: set[int] = field(default_factory=set)
    dropped: set[int] = field(default_factory=set)


class History:
    """Reads the trials of one study; every text is understood once.

    Finished trials count in the order of their completion (then of their numbers). Those that
    failed or were pruned, or whose value is infinite, are dropped; all others are pending.
    Trials without an architecture are passed over.

    Args:
        searcher: Says what is an architecture and which are the same.
    """

    def __init__(self, searcher: Searcher) -> None:
        self._searcher = searcher
        self._known: dict[str, tuple[Data, int]] = {}
        self._scored: dict[int, tuple[str, float, Scored]] = {}

    def read(self, study: Study, *, besides: int) -> Past:
        """The study's past as it is now, without the trial of number ``besides``.

        Raises:
            ConfigError: an architecture is not of the searcher's space.
        """
        trials = self._trials(study, besides)
        sign = 1.0 if study.direction == StudyDirection.MAXIMIZE else -1.0
        finished, past = [], Past()
        for trial in trials:
            key = self._known[trial.user_attrs[ARCHITECTURE]][1]
            if trial.state == TrialState.COMPLETE and math.isfinite(trial.values[0]):
                finished.append(trial)
            elif trial.state.is_finished():
                past.dropped.add(key)
            else:
                past.pending.add(key)
        finished.sort(key=_age)
        past.told = [self._score(trial, sign) for trial in finished]
        return past

    def holders(self, study: Study, key: int, *, besides: int) -> list[int]:
        """Numbers of the trials, but for ``besides``, whose architecture has this key.

        Raises:
            ConfigError: as for `read`.
        """
        trials = self._trials(study, besides)
        return [t.number for t in trials if self._known[t.user_attrs[ARCHITECTURE]][1] == key]

    def _trials(self, study: Study, besides: int) -> list[FrozenTrial]:
        """The trials with an architecture, all of which are then in ``_known``."""
        # not `study.get_trials`: pruners may show a sampler only a part of the study
        every = study._storage.get_all_trials(study._study_id, deepcopy=False)
        trials = [t for t in every if ARCHITECTURE in t.user_attrs and t.number != besides]
        self._understand(study, trials)
        return trials

    def _understand(self, study: Study, trials: Sequence[FrozenTrial]) -> None:
        graphs: dict[str, Data] = {}
        for trial in trials:
            text = trial.user_attrs[ARCHITECTURE]
            if text not in self._known and text not in graphs:
                graphs[text] = self.parse(text, f"trial {trial.number} of '{study.study_name}'")
        if graphs:
            keys = self._searcher.keys(DenseBatch.from_data(list(graphs.values())))
            for (text, graph), key in zip(graphs.items(), keys, strict=True):
                self._known[text] = graph, key

    def parse(self, text: str, where: str) -> Data:
        """The architecture in a trial's attribute.

        Raises:
            ConfigError: it is not of the searcher's space.
        """
        space = self._searcher.space
        try:
            return space.from_str(text)
        except (GraphError, AttributeError) as error:  # the latter: it is no text
            reason = str(error).partition("\n")[0]
            raise ConfigError(
                f"{where} must hold an architecture of this sampler's space '{space.name}', but "
                f"has {str(text)[:60]!r} ({reason}); use another study name"
            ) from None

    def _score(self, trial: FrozenTrial, sign: float) -> Scored:
        """The same object for the same trial every time: searchers compare identities."""
        text, score = trial.user_attrs[ARCHITECTURE], sign * trial.values[0]
        found = self._scored.get(trial.number)
        if found is None or found[:2] != (text, score):
            found = self._scored[trial.number] = text, score, Scored(*self._known[text], score)
        return found[2]


def _age(trial: FrozenTrial) -> tuple[float, int]:
    assert trial.datetime_complete is not None
    return trial.datetime_complete.timestamp(), trial.number
