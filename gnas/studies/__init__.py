"""Studies: candidates that any number of workers evaluate, on one machine or on many.

A *job* says how a candidate is evaluated. A *study* holds the planned candidates and what came
out, as trials of an Optuna study in an SQLite file or a PostgreSQL database. *Workers* take
candidates from it. A worker may be killed at any moment: its candidate is evaluated by another
one, and none counts twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnas.lazy import on_first_use

if TYPE_CHECKING:
    from gnas.studies.job import Job as Job
    from gnas.studies.places import shown as shown
    from gnas.studies.study import CandidateRecord as CandidateRecord
    from gnas.studies.study import CandidateStudy as CandidateStudy
    from gnas.studies.study import StudyProgress as StudyProgress
    from gnas.studies.study import candidate_key as candidate_key
    from gnas.studies.workers import local_workers as local_workers
    from gnas.studies.workers import work as work

_HOME = {
    "CandidateStudy": "gnas.studies.study",
    "CandidateRecord": "gnas.studies.study",
    "Job": "gnas.studies.job",
    "StudyProgress": "gnas.studies.study",
    "candidate_key": "gnas.studies.study",
    "local_workers": "gnas.studies.workers",
    "shown": "gnas.studies.places",
    "work": "gnas.studies.workers",
}
__all__ = [
    "CandidateRecord",
    "CandidateStudy",
    "Job",
    "StudyProgress",
    "candidate_key",
    "local_workers",
    "shown",
    "work",
]
__getattr__, __dir__ = on_first_use(__name__, _HOME)
