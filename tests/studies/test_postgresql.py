from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from gnas import process_ids
from gnas.errors import ConfigError, DataError, MissingDataError
from gnas.studies import CandidateStudy, StudyProgress, local_workers, work
from tests import commands
from tests.studies.conftest import PASSWORD, QUOTED, USER, Server
from tests.studies.jobs import Doubling

JOB = Doubling(seconds=0.0)
BEAT_S = 0.5
ELSEWHERE = (
    "import sys; from tests.studies.jobs import Doubling; from gnas import process_ids;"
    "from gnas.studies import CandidateStudy, work;"
    "process_ids._system = lambda: {'boot': 'of another machine', 'pids': ''};"
    "study = CandidateStudy.join('numbers', sys.argv[1]);"
    "work(study, Doubling.from_metadata(study.facts), wait=True)"
)
"""A worker whose process nobody else can see."""


def opened(
    database: str, count: int = 0, job: Doubling = JOB, beat_s: float = BEAT_S
) -> CandidateStudy:
    study = CandidateStudy.open(job, name="numbers", storage=database, heartbeat_s=beat_s)
    study.plan([{"x": x} for x in range(count)])
    return study


def scores(study: CandidateStudy) -> list[float | None]:
    return [e.result["score"] if e.result else None for e in study.results()]


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def elsewhere(database: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", ELSEWHERE, database]
    with commands.Popen(command, stderr=subprocess.PIPE, text=True) as worker:
        try:
            yield worker
        except BaseException:  # a suspended one would never end
            worker.kill()
            raise


def evaluations(path: Path) -> Counter[int]:
    return Counter(int(line.split()[1]) for line in path.read_text().splitlines())


def test_a_worker_killed_in_the_middle_loses_nothing(database: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    job = replace(JOB, seconds=0.05, log=str(log))
    study = opened(database, 0, job)
    study.plan([{"x": 100, "seconds": 1.5}, *({"x": x} for x in range(9))])
    with elsewhere(database) as killed:
        wait_for(log.exists)  # it has the long one
        with elsewhere(database) as other:
            killed.send_signal(signal.SIGKILL)
            with local_workers(study, job, 0) as wait:  # others do all the work
                wait(lambda progress: None)
            study.finish()
            assert other.wait(30) == 0
    assert study.progress() == StudyProgress(done=10, failed=0, total=10)
    assert scores(study) == [200, *range(0, 18, 2)]
    assert evaluations(log) == {100: 2, **dict.fromkeys(range(9), 1)}


def test_the_database_may_restart_in_the_middle(
    server: Server, database: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = tmp_path / "log"
    job = replace(JOB, seconds=0.3, log=str(log))
    study, restarts = opened(database, 8, job), list[threading.Thread]()

    def restart() -> None:
        server.stop(signal.SIGQUIT)  # as a crash does
        time.sleep(0.5)
        server.start()

    def report(progress: StudyProgress) -> None:
        if progress.done >= 2 and not restarts:
            restarts.append(threading.Thread(target=restart))
            restarts[0].start()

    with local_workers(study, job, 2) as wait:
        wait(report)
    restarts[0].join()
    assert scores(study) == [0, 2, 4, 6, 8, 10, 12, 14]
    assert study.progress() == StudyProgress(done=8, failed=0, total=8)
    assert evaluations(log) == dict.fromkeys(range(8), 1), "the trainings were lost"
    assert PASSWORD not in caplog.text and QUOTED not in caplog.text


def test_workers_may_start_while_the_database_does(server: Server, database: str) -> None:
    study = opened(database, 2)
    server.stop()
    starter = threading.Timer(3.0, server.start)
    starter.start()
    with local_workers(study, JOB, 1) as wait:
        wait(lambda progress: None)
    starter.join()
    assert scores(study) == [0, 2]


def test_two_searches_in_one_database_do_not_mix(database: str) -> None:
    first, second = opened(database, 4), CandidateStudy.open(
        replace(JOB, factor=3), name="b", storage=database
    )  # fmt: skip
    second.plan([{"x": x} for x in range(4)])
    threads = [
        threading.Thread(target=work, args=(study, job), kwargs={"wait": False})
        for study, job in ((first, JOB), (second, replace(JOB, factor=3)))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert scores(first) == [0, 2, 4, 6] and scores(second) == [0, 3, 6, 9]
    assert first.progress().total == second.progress().total == 4


def test_a_worker_that_was_only_suspended_is_not_counted(database: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    study = opened(database, 0, replace(JOB, log=str(log)))
    study.plan([{"x": 5, "seconds": 0.5}])
    with elsewhere(database) as sleeper:
        wait_for(log.exists)
        sleeper.send_signal(signal.SIGSTOP)
        wait_for(study.requeue_stale)
        claim = study.claim()
        assert claim is not None
        study.succeed(claim, {"score": 1.0})
        sleeper.send_signal(signal.SIGCONT)
        study.plan([{"x": 6}])
        wait_for(lambda: study.progress().done == 2)
        study.finish()
        assert "was given to another worker" in sleeper.communicate(timeout=30)[1]
    assert study.progress() == StudyProgress(done=2, failed=0, total=2) and scores(study) == [
        1.0,
        12,
    ]


def test_heartbeats_keep_a_long_training(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    study = opened(database)
    study.plan([{"x": 5, "seconds": 10 * BEAT_S}])
    with monkeypatch.context() as patch:
        patch.setattr(process_ids, "_system", lambda: {"boot": "of another machine", "pids": ""})
        worker = threading.Thread(target=work, args=(study, JOB), kwargs={"wait": False})
        worker.start()
        wait_for(lambda: study._trials(TrialState.RUNNING))
    watcher = opened(database)
    while worker.is_alive():
        assert not watcher.requeue_stale()
        time.sleep(BEAT_S / 2)
    assert scores(watcher) == [10]


def test_a_wrong_clock_changes_nothing(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    study = opened(database, 2, beat_s=60)
    claim = study.claim()
    assert claim is not None
    right = time.time

    class Tomorrow(optuna.storages._rdb.storage.datetime):  # type: ignore[misc, name-defined]
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return super().now(tz) + timedelta(days=1)

    monkeypatch.setattr(process_ids, "_system", lambda: {"boot": "of another machine", "pids": ""})
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: right() + 86_400)
        patch.setattr(optuna.storages._rdb.storage, "datetime", Tomorrow)
        assert not opened(database).requeue_stale()
        assert work(opened(database), JOB, wait=False) == 1
    assert not opened(database).requeue_stale()
    study.succeed(claim, {"score": 0.5})
    assert scores(study) == [0.5, 2]


def test_many_workers_take_every_candidate_once(database: str) -> None:
    study, taken = opened(database, 20), list[int]()

    def take() -> None:
        own = CandidateStudy.join("numbers", database)
        while claim := own.claim():
            taken.append(claim.candidate["x"])
            own.succeed(claim, {"score": 1.0})

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(20)) and study.progress().done == 20


def test_processes_that_begin_together_make_one_study(database: str) -> None:
    studies = list[CandidateStudy]()
    threads = [
        threading.Thread(target=lambda: studies.append(opened(database, 3))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(studies) == 3 and studies[0].progress().total == 3


def test_what_failed_is_recorded(database: str) -> None:
    study = opened(database)
    study.plan([{"x": 1, "trouble": "memory"}, {"x": 1, "trouble": "nan"}])
    work(study, JOB, wait=False)
    assert study.progress() == StudyProgress(done=0, failed=2, total=2)
    assert study.results()[0].error == "MemoryError"


def test_an_url_s_secrets_stay_in_the_url(
    server: Server, database: str, caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    caplog.set_level(logging.INFO)
    study = opened(database, 2)
    with local_workers(study, JOB, 1) as wait:
        wait(lambda progress: None)
    dump = [
        server.run_sql(f"SELECT CAST({table} AS text) FROM {table}", database.rpartition("/")[2])
        for table in (
            "studies", "study_user_attributes", "study_system_attributes",
            "trial_user_attributes", "trial_system_attributes",
        )
    ]  # fmt: skip
    wrong = database.replace(QUOTED, "not-it")
    with pytest.raises(DataError, match="but: password authentication failed for user") as caught:
        CandidateStudy.join("numbers", wrong)
    texts = [caplog.text, *capfd.readouterr(), repr(study), str(dump), str(caught.value)]
    for secret in (PASSWORD, QUOTED, USER, "not-it"):
        assert not any(secret in text for text in texts)
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


def test_databases_that_cannot_be_used_are_one_line(server: Server, database: str) -> None:
    port = str(server.port)
    for url, reason in (
        (database.replace(port, "1"), "must be reachable and usable, but: Connection refused"),
        (server.url("nowhere"), 'but: database "nowhere" does not exist'),
        (database.replace("127.0.0.1", "nowhere.invalid"), "but: .*nowhere.invalid"),
    ):
        with pytest.raises(DataError, match=reason) as caught:
            CandidateStudy.open(JOB, name="numbers", storage=url)
        assert "\n" not in str(caught.value) and QUOTED not in str(caught.value)


def test_tables_of_others_are_refused(server: Server) -> None:
    url = server.new_database()
    opened(url)
    server.run_sql("UPDATE alembic_version SET version_num = 'v99'", url.rpartition("/")[2])
    with pytest.raises(DataError, match=r"must have the tables of Optuna .*of another version"):
        CandidateStudy.join("numbers", url)
    url = server.new_database()
    server.run_sql("CREATE TABLE studies (name text)", url.rpartition("/")[2])
    with pytest.raises(DataError, match="has a table 'studies' of something else"):
        opened(url)


def test_studies_that_are_not_there(database: str) -> None:
    with pytest.raises(MissingDataError, match=r"study must exist, but .* has none"):
        CandidateStudy.join("numbers", database)
    opened(database)
    with pytest.raises(MissingDataError, match="has 'numbers', not 'letters'"):
        CandidateStudy.join("letters", database)
    with pytest.raises(ConfigError, match="was begun with factor=2, but now factor is 3"):
        opened(database, 0, replace(JOB, factor=3))


def test_a_database_that_stays_away_is_given_up(
    server: Server, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    study = opened(database, 1)
    server.stop()
    try:
        study._storage.patience_s = 1.0
        with pytest.raises(DataError, match="must be reachable and usable, but: ") as caught:
            study.claim()
        assert "\n" not in str(caught.value)
        assert caplog.text.count("cannot be reached; trying for") == 1
    finally:
        server.start()
    assert work(study, JOB, wait=False) == 1


def test_a_worker_that_joins_while_the_study_is_being_made(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its creation and the writing of what it is about, it waits."""
    joined: list[str | None] = []
    threads: list[threading.Thread] = []
    begin = CandidateStudy._begin

    def slow(self: CandidateStudy, *arguments: Any) -> None:
        thread = threading.Thread(
            target=lambda: joined.append(CandidateStudy.join("numbers", database).kind)
        )
        thread.start()
        threads.append(thread)
        thread.join(0.5)
        assert not joined  # it must not have given up, nor know anything yet
        begin(self, *arguments)

    monkeypatch.setattr(CandidateStudy, "_begin", slow)
    opened(database)
    threads[0].join(20)
    assert joined == ["doubling"]
