"""Studies: candidates that any number of workers evaluate, on one machine or on many.

A *job* says how a candidate is evaluated. A *study* holds the planned candidates and what came
out, as trials of an Optuna study in an SQLite file or a PostgreSQL database. *Workers* take
candidates from it. A worker may be killed at any moment: its candidate is evaluated by another
one, and none counts twice.
"""

from gnas.studies.job import Job
from gnas.studies.storage import shown
from gnas.studies.study import CandidateStudy, Evaluated, Progress, candidate_key
from gnas.studies.workers import local_workers, work

__all__ = [
    "CandidateStudy",
    "Evaluated",
    "Job",
    "Progress",
    "candidate_key",
    "local_workers",
    "shown",
    "work",
]
