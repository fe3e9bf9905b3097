from __future__ import annotations

from gnas.studies import CandidateStudy, local_workers
from tests.studies.jobs import Doubling


def test_two_workers_share_a_study(database: str) -> None:
    study = CandidateStudy.open(Doubling(), name="a", storage=database)
    study.plan([{"x": x} for x in range(6)])
    with local_workers(study, Doubling(), 2) as wait:
        wait(lambda progress: None)
    assert [e.result and e.result["score"] for e in study.results()] == [0, 2, 4, 6, 8, 10]
