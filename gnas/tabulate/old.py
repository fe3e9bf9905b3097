"""Journals that gnas wrote before its studies were what they are now."""

from __future__ import annotations

from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from gnas.config import differences
from gnas.errors import ConfigError
from gnas.studies import CandidateStudy

NAME = "tabulate"
"""Of the study in an old journal."""


def add_old_results(study: CandidateStudy, journal: Path) -> None:
    """Adds the trainings that an older gnas finished in the same journal.

    Raises:
        ConfigError: they were made with another config.
    """
    storage = JournalStorage(JournalFileBackend(str(journal)))
    if NAME not in optuna.get_all_study_names(storage):
        return
    old = optuna.load_study(study_name=NAME, storage=storage)
    for name, (was, now) in differences(old.user_attrs["config"], study.facts).items():
        raise ConfigError(
            f"{journal} was begun with {name}={was!r}, but now {name} is {now!r}; "
            "use the same settings or another output"
        )
    results = []
    for trial in old.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        facts = trial.user_attrs
        candidate = {"architecture": facts["cell"], "seed": facts["seed"]}
        results.append((candidate, {**facts["result"], "score": trial.value}))
    study.add(results)
