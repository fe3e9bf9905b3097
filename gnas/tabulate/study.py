"""The Optuna study behind a table: the plan, who trains what, what is left."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.trial import FrozenTrial, TrialState

from gnas.errors import ConfigError, DataError
from gnas.tabulate.config import TabulateConfig

STUDY = "tabulate"


@dataclass(frozen=True)
class Progress:
    """How far a study is, in trainings."""

    done: int
    failed: int
    total: int


def open_study(config: TabulateConfig, journal: Path, images_sha256: str) -> optuna.Study:
    """The study in ``journal``, created or continued, with every training of the plan in it.

    Trials of processes of this host that no longer run are put back into the queue. A larger
    ``config.cells`` or ``config.seeds`` extends the plan.

    Raises:
        ConfigError: the plan is impossible, or the journal was written with another config or
            other images.
    """
    cells = config.plan()  # an impossible one leaves no journal behind
    journal.parent.mkdir(parents=True, exist_ok=True)
    with _exclusive(journal):
        study = load_study(journal)
        _check_same(study, {**asdict(config), "images_sha256": images_sha256}, journal)
        _requeue_dead(study)
        planned = latest_trials(study)
        for cell in cells:
            for seed in range(1, config.seeds + 1):
                if (cell, seed) not in planned:
                    study.enqueue_trial({}, user_attrs={"cell": cell, "seed": seed})
    return study


def progress(study: optuna.Study) -> Progress:
    """Counts of trainings in the study."""
    latest = latest_trials(study).values()
    states = [trial.state for trial in latest]
    return Progress(states.count(TrialState.COMPLETE), states.count(TrialState.FAIL), len(states))


def latest_trials(study: optuna.Study) -> dict[tuple[str, int], FrozenTrial]:
    """The newest trial of every (cell, seed): an older one died and was put back."""
    return {
        (trial.user_attrs["cell"], trial.user_attrs["seed"]): trial
        for trial in study.get_trials(deepcopy=False)
        if "cell" in trial.user_attrs
    }


def claimed(study: optuna.Study) -> Iterator[optuna.Trial]:
    """Waiting trials of the study, each taken by one process only, until none is left."""
    while study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        trial = study.ask()
        if "cell" not in trial.user_attrs:  # another process took the last one in between
            study.tell(trial, state=TrialState.FAIL)
            continue
        trial.set_user_attr("owner", {"host": socket.gethostname(), "pid": os.getpid()})
        yield trial


def load_study(journal: Path) -> optuna.Study:
    """The study in ``journal``, created if there is none.

    Raises:
        DataError: the file is not an Optuna journal.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    _cut_partial_line(journal)
    try:
        storage = JournalStorage(JournalFileBackend(str(journal)))
        return optuna.create_study(
            storage=storage,
            study_name=STUDY,
            sampler=optuna.samplers.RandomSampler(),
            direction="maximize",
            load_if_exists=True,
        )
    except (ValueError, KeyError) as error:
        raise DataError(
            f"{journal} must be an Optuna journal, but cannot be read: {error}; "
            "move it away to start anew"
        ) from error


def _cut_partial_line(journal: Path) -> None:
    """Removes the unfinished last line that a crash in the middle of a write leaves behind."""
    if not journal.exists():
        return
    lock = JournalFileSymlinkLock(str(journal))  # the one under which Optuna appends
    lock.acquire()
    try:
        content = journal.read_bytes()
        if content and not content.endswith(b"\n"):
            os.truncate(journal, content.rfind(b"\n") + 1)
    finally:
        lock.release()


@contextmanager
def _exclusive(journal: Path) -> Iterator[None]:
    """One process at a time plans; the lock ends with its process.

    It is the journal's own: Optuna, which locks by a link beside it, does not notice.
    """
    with journal.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _check_same(study: optuna.Study, config: dict[str, Any], journal: Path) -> None:
    """Stores ``config`` in a new study; compares it, but for the plan's size, with an old one."""
    fixed = {k: v for k, v in config.items() if k not in ("cells", "seeds")}
    stored = study.user_attrs.get("config")
    if stored is None:
        study.set_user_attr("config", fixed)
        return
    fixed = json.loads(json.dumps(fixed))
    differing = [k for k in fixed if stored.get(k) != fixed[k]]
    if differing:
        name = differing[0]
        raise ConfigError(
            f"{journal} was begun with {name}={stored.get(name)!r}, but now {name} is "
            f"{fixed[name]!r}; use the same settings or another output"
        )


def _requeue_dead(study: optuna.Study) -> None:
    """Puts trials whose process on this host has died back into the queue."""
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        owner = trial.user_attrs.get("owner", {"host": socket.gethostname(), "pid": -1})
        if owner["host"] != socket.gethostname() or _is_alive(owner["pid"]):
            continue
        study.tell(trial.number, state=TrialState.FAIL)
        if "cell" in trial.user_attrs:
            kept = {name: trial.user_attrs[name] for name in ("cell", "seed")}
            study.enqueue_trial({}, user_attrs=kept)


def _is_alive(pid: int) -> bool:
    if pid < 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
