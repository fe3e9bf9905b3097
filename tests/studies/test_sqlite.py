from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from gnas import process_ids
from gnas.errors import ConfigError, DataError, GnasError, MissingDataError
from gnas.studies import (
    CandidateRecord,
    CandidateStudy,
    StudyProgress,
    local_workers,
    work,
    workers,
)
from gnas.studies import study as study_module
from gnas.studies.places import shown
from gnas.studies.study import MAX_DEATHS, candidate_key
from gnas.studies.workers import Worker
from tests import commands
from tests.studies.jobs import Doubling

JOB = Doubling(seconds=0.0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "study.db"


def opened(file: Path, count: int = 0, job: Doubling = JOB) -> CandidateStudy:
    study = CandidateStudy.open(job, name="numbers", storage=file)
    study.plan([{"x": x} for x in range(count)])
    return study


def scores(study: CandidateStudy) -> list[float | None]:
    return [e.result["score"] if e.result else None for e in study.results()]


def wait_for(
    condition: Callable[[], object], process: subprocess.Popen[bytes] | None = None
) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None
        time.sleep(0.02)


def worker_process(file: Path, job: Doubling) -> subprocess.Popen[bytes]:
    """A worker that waits for more."""
    script = (
        "import sys; from tests.studies.jobs import Doubling;"
        "from gnas.studies import CandidateStudy, work;"
        "study = CandidateStudy.join('numbers', sys.argv[1]);"
        "work(study, Doubling.from_metadata(study.facts), wait=True)"
    )
    return commands.Popen([sys.executable, "-c", script, str(file)], stderr=subprocess.PIPE)


def test_candidates_are_planned_once_and_kept_in_order(file: Path) -> None:
    study = opened(file)
    study.plan([{"x": 3, "seed": 1}, {"x": 1, "seed": 1}])
    study.plan([{"x": 5, "seed": 1}, {"seed": 1, "x": 3}, {"x": 3, "seed": 2}])
    assert study.progress() == StudyProgress(done=0, failed=0, total=4)
    assert work(study, JOB, wait=False) == 4
    assert study.progress() == StudyProgress(done=4, failed=0, total=4)
    found = study.results()
    assert [e.candidate["x"] for e in found] == [3, 1, 5, 3] and scores(study) == [6, 2, 10, 6]
    assert found[0] == CandidateRecord({"x": 3, "seed": 1}, found[0].result, None, 0)
    again = opened(file)
    assert again.results() == found and work(again, JOB, wait=False) == 0


def test_what_has_ended_is_read_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    def evaluated(trial: FrozenTrial) -> CandidateRecord:
        read.append(trial.number)
        return made(trial)

    made = study_module._evaluated
    monkeypatch.setattr(study_module, "_evaluated", evaluated)
    study, known = opened(file), dict[str, CandidateRecord]()
    for count in range(1, 6):
        study.plan([{"x": count}, {"x": -count, "trouble": "error"}])
        assert study.ended(known) == {}  # they wait
        work(study, JOB, wait=False)
        new = study.ended(known)
        assert [one.candidate["x"] for one in new.values()] == [count, -count]
        assert [*new] == [candidate_key(one.candidate) for one in new.values()]
        known |= new
    assert study.ended({}) == known
    assert sum(number == 0 for number in read) == 2  # not each time that another one ended


def test_what_failed_is_recorded_with_its_reason_and_the_rest_goes_on(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    study = opened(file)
    troubles = ("error", "memory", "nan")
    study.plan([*({"x": 1, "trouble": t} for t in troubles), {"x": 2}])
    work(study, JOB, wait=False)
    assert study.progress() == StudyProgress(done=1, failed=3, total=4)
    assert [e.error for e in study.results()] == [
        "RuntimeError: not enough memory: you tried to allocate 9 GB",
        "MemoryError",
        "the score must be a finite number, but got nan",
        None,
    ]
    assert all("\n" not in record.getMessage() for record in caplog.records)
    assert "candidate 0 failed: RuntimeError: not enough memory" in caplog.text


def test_trials_have_flat_columns(file: Path) -> None:
    study = opened(file)
    study.plan([{"x": 2, "seed": 7}, {"x": 1, "trouble": "memory"}])
    work(study, JOB, wait=False)
    done, failed = optuna.load_study(
        study_name="numbers", storage=f"sqlite:///{file}"
    ).get_trials()
    columns = {k: v for k, v in done.user_attrs.items() if not isinstance(v, dict)}
    assert columns == {"x": 2, "seed": 7, "score": 4} and done.value == 4.0
    assert done.user_attrs["owner"]["host"] == os.uname().nodename
    assert failed.state == TrialState.FAIL and failed.user_attrs["error"] == "MemoryError"


def test_local_workers_survive_candidates_that_kill(
    file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job = replace(JOB, seconds=0.01, log=str(tmp_path / "log"))
    study = opened(file, 8, job)
    study.plan([{"x": 99, "trouble": "kill"}])
    reports: list[StudyProgress] = []
    with local_workers(study, job, 2) as wait:
        wait(reports.append)
        assert study.progress() == reports[-1] == StudyProgress(done=8, failed=1, total=9)
        study.plan([{"x": 100}])  # the same workers wait for more
        wait(reports.append)
    assert scores(study) == [0, 2, 4, 6, 8, 10, 12, 14, None, 200]
    assert study.results()[8].error == "its worker was killed 3 times before there was a result"
    lines = (tmp_path / "log").read_text().splitlines()
    assert Counter(line.split()[1] for line in lines) == {
        **{str(x): 1 for x in (*range(8), 100)}, "99": MAX_DEATHS
    }  # fmt: skip
    assert caplog.text.count("a worker was killed by signal 9") == MAX_DEATHS


def test_a_worker_that_cannot_start_ends_the_wait(file: Path) -> None:
    """In a process of its own, as workers write to where their first maker wrote."""
    script = (
        "import sys; from tests.studies.jobs import Doubling;"
        "from gnas.processes import preload\n"
        "from gnas.studies import CandidateStudy, local_workers\n"
        "preload()\n"  # as commands do: no fork may inherit an open SQLite file
        "job = Doubling(factor=0)\n"
        "study = CandidateStudy.open(job, name='numbers', storage=sys.argv[1])\n"
        "study.plan([{'x': 1}])\n"
        "with local_workers(study, job, 1) as wait: wait(print)"
    )
    command = [sys.executable, "-c", script, str(file)]
    ended = commands.run(command, capture_output=True, text=True, check=False)
    assert "a worker stopped: the factor must not be 0" in ended.stderr
    assert "DataError: every worker must go on to the end, but one ended with" in ended.stderr


@pytest.fixture
def endless_pauses(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pauses of this process that only news can end; a minute without it is a failure."""

    def fail(*_: object) -> None:
        raise AssertionError("no news within a minute")

    monkeypatch.setattr(workers, "PAUSES_S", (1e5, 1e5))
    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("endless_pauses")
def test_the_end_of_a_candidate_is_news(file: Path) -> None:
    study = opened(file, 3)
    with local_workers(study, JOB, 2) as wait:
        wait(lambda progress: None)
    assert scores(study) == [0, 2, 4]


@pytest.mark.usefixtures("endless_pauses")
def test_new_candidates_are_news_to_an_idle_worker(file: Path) -> None:
    study = opened(file)
    here, there = multiprocessing.Pipe()
    is_idle = threading.Event()
    worker = Worker(CandidateStudy.join("numbers", file), lambda _: is_idle.set(), there)
    run = partial(worker.run, JOB.open(), wait=True)
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    is_idle.wait()
    study.plan([{"x": 1}])
    here.send_bytes(b"")
    assert here.recv_bytes() == b"" and scores(study) == [2]
    study.finish()
    here.send_bytes(b"")
    thread.join()


def test_workers_whose_work_ignores_signals_end_too(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "END_TIMEOUT_S", 0.05)
    study = opened(file)
    study.plan([{"x": 2, "trouble": "deaf"}])
    with local_workers(study, JOB, 1) as wait:
        wait(lambda progress: None)
        study.plan([{"x": 3, "seconds": 1000.0}])
        time.sleep(0.3)
    assert scores(study)[0] == 4.0


def test_a_negative_number_of_workers(file: Path) -> None:
    study = opened(file)
    with pytest.raises(ConfigError, match="at least 0"), local_workers(study, JOB, -1):
        pass


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_what_a_stopped_worker_evaluated_is_evaluated_by_another(
    file: Path, number: signal.Signals
) -> None:
    job = replace(JOB, seconds=0.0)
    study = opened(file, 2, job)
    study.plan([{"x": 7, "seconds": 60}])
    with worker_process(file, job) as process:
        wait_for(lambda: study.progress().done == 2, process)
        wait_for(lambda: study._trials(TrialState.RUNNING), process)
        process.send_signal(number)
        process.communicate()
    again = opened(file)
    assert again.progress() == StudyProgress(done=2, failed=0, total=3)
    assert not again._trials(TrialState.RUNNING)
    claim = again.claim()
    assert claim is not None and claim.candidate == {"x": 7, "seconds": 60}
    again.succeed(claim, {"score": 1.0})
    assert scores(again) == [0, 2, 1.0] and again.claim() is None


def test_workers_of_a_killed_command_give_their_candidates_back(
    file: Path, tmp_path: Path
) -> None:
    script = (
        "import sys; from tests.studies.jobs import Doubling;"
        "from gnas.processes import preload\n"
        "from gnas.studies import CandidateStudy, local_workers\n"
        "if __name__ == '__main__':\n"
        "    preload()\n"
        "    study = CandidateStudy.join('numbers', sys.argv[1])\n"
        "    with local_workers(study, Doubling.from_metadata(study.facts), 1) as wait:\n"
        "        wait(lambda progress: None)\n"
    )
    log = tmp_path / "log"
    study = opened(file, 0, replace(JOB, log=str(log)))
    study.plan([{"x": 7, "seconds": 60}])
    with commands.Popen([sys.executable, "-c", script, str(file)]) as process:
        wait_for(log.exists, process)
        process.kill()
    wait_for(lambda: study.claim())
    (trial,) = study._trials(TrialState.RUNNING)
    assert trial.system_attrs["deaths"] == 0, "the candidate is blamed"


def test_a_waiting_worker_goes_home_when_the_study_is_finished(file: Path) -> None:
    study = opened(file, 1)
    with worker_process(file, JOB) as process:
        wait_for(lambda: study.progress().done == 1, process)
        study.plan([{"x": 9}])
        wait_for(lambda: study.progress().done == 2, process)
        study.finish()
        assert process.wait(30) == 0
    assert not opened(file).finished, "a study that goes on has work for workers"


def test_a_study_goes_on_while_anybody_waits_for_it(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Workers that are started after another search of the same study has ended stay."""
    study = opened(file, 1)
    CandidateStudy.join("numbers", file).finish()
    with local_workers(study, JOB, 0) as wait:
        polls = iter(range(9))
        wait(lambda progress: None, lambda: next(polls) == 1)
    assert not study.finished
    assert "another command ended the study 'numbers', and with it idle workers" in caplog.text


def test_nobody_takes_what_a_living_process_evaluates(file: Path) -> None:
    study = opened(file, 1)
    claim = study.claim()
    assert claim is not None
    assert not opened(file).requeue_stale() and opened(file).claim() is None
    study.succeed(claim, {"score": 3.0})
    assert scores(opened(file)) == [3.0]


def test_a_process_number_that_is_used_again_is_another_process() -> None:
    own = process_ids.current_process()
    assert process_ids.has_ended(own, one_machine=True) is False
    assert process_ids.has_ended({**own, "started": own["started"] - 1}, one_machine=True) is True
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        gone = {**own, "pid": child.pid, "started": process_ids._started(child.pid)}
        child.wait()
    assert process_ids.has_ended(gone, one_machine=False) is True
    rebooted, elsewhere = {**own, "boot": "x"}, {**own, "boot": "x", "host": "y"}
    assert process_ids.has_ended(rebooted, one_machine=True) is True
    assert process_ids.has_ended(rebooted, one_machine=False) is None
    assert process_ids.has_ended(elsewhere, one_machine=True) is None
    assert process_ids.has_ended({**own, "pids": "pid:[1]"}, one_machine=True) is None


def test_where_there_is_no_proc_numbers_must_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_ids, "PROC", tmp_path)
    process_ids._system.cache_clear()
    try:
        own = process_ids.current_process()
        assert own["started"] is None and process_ids.has_ended(own, one_machine=True) is False
        with subprocess.Popen([sys.executable, "-c", ""]) as child:
            child.wait()
        assert process_ids.has_ended({**own, "pid": child.pid}, one_machine=True) is True
        assert process_ids.has_ended({**own, "host": "elsewhere"}, one_machine=True) is None
    finally:
        process_ids._system.cache_clear()


def test_a_worker_killed_while_putting_back_loses_nothing(file: Path) -> None:
    study = opened(file, 1)
    claim = study.claim()
    assert claim is not None
    study._end(claim.number, TrialState.FAIL)  # and no more
    again = opened(file)
    assert again.progress() == StudyProgress(done=0, failed=0, total=1)
    assert work(again, JOB, wait=False) == 1 and scores(again) == [0]


def test_late_results_are_discarded(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    study = opened(file, 1)
    late = study.claim()
    assert late is not None
    study.release(late)
    assert work(opened(file), JOB, wait=False) == 1
    study.succeed(late, {"score": 99.0})
    study.fail(late, "too late")
    assert scores(study) == [0] and study.progress() == StudyProgress(done=1, failed=0, total=1)
    assert caplog.text.count("what came out here is discarded") == 2


def test_two_studies_in_one_file_do_not_mix(file: Path) -> None:
    first, second = opened(file, 3), CandidateStudy.open(JOB, name="b", storage=file)
    second.plan([{"x": 50}])
    assert work(second, JOB, wait=False) == 1 and scores(second) == [100]
    assert first.progress() == StudyProgress(done=0, failed=0, total=3)


def test_a_study_of_something_else_is_refused(file: Path) -> None:
    opened(file, 1)
    with pytest.raises(ConfigError, match="was begun with factor=2, but now factor is 3"):
        opened(file, 0, replace(JOB, factor=3))

    class Other(Doubling):
        kind = "other"

    with pytest.raises(ConfigError, match=r"'numbers' in .* is of kind doubling, not other"):
        opened(file, 0, Other())
    foreign = optuna.create_study(storage=f"sqlite:///{file}", study_name="foreign")
    with pytest.raises(DataError, match="must be one of gnas, but 'foreign' was made by others"):
        CandidateStudy.join("foreign", file)
    for empty in ("foreign", "pareto"):
        if empty == "pareto":
            optuna.create_study(
                storage=f"sqlite:///{file}", study_name=empty, directions=["minimize", "maximize"]
            )
        with pytest.raises(ConfigError, match=f"has a study '{empty}' that was made by others"):
            CandidateStudy.open(JOB, name=empty, storage=file)
    for name in ("", "x" * 513):
        with pytest.raises(ConfigError, match="name must have 1 to 512 characters, but has"):
            CandidateStudy.open(JOB, name=name, storage=file)
    foreign.enqueue_trial({})
    with pytest.raises(ConfigError, match="has a study 'foreign' that was made by others"):
        CandidateStudy.open(JOB, name="foreign", storage=file)


def test_a_missing_study_is_answered_with_those_there_are(file: Path) -> None:
    with pytest.raises(MissingDataError, match=r"file must exist, but .*study.db does"):
        CandidateStudy.join("numbers", file)
    assert not file.parent.exists()
    opened(file)
    with pytest.raises(MissingDataError, match="has 'numbers', not 'letters'"):
        CandidateStudy.join("letters", file)


@pytest.mark.parametrize(
    "content",
    [
        b"h",
        b"hello\nworld\n",
        b"\x00\xff no line",
        b'{"x": 1}\n',
        b"SQLite format 3\0" + bytes(99),
    ],
)
def test_a_file_that_is_no_study_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "precious"
    path.write_bytes(content)
    with pytest.raises(DataError, match="must be a study that gnas or Optuna made"):
        opened(path)
    assert path.read_bytes() == content


def test_unusable_places_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place, message in (
        (tmp_path, "must be a file, but .* is a folder"),
        (tmp_path / "file" / "study", "must be writable, but got: "),
        (Path(), "must be a file, but '.' is a folder"),
    ):
        with pytest.raises(GnasError, match=message) as caught:
            opened(place)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["mysql", "sqlite", "postgresql", "postgresql+psycopg2"])
def test_other_databases_are_refused_without_their_password(kind: str) -> None:
    pytest.importorskip("psycopg", reason="needs psycopg (pip install 'gnas[postgresql]')")
    url = f"{kind}://bob:secret@host/db"
    with pytest.raises(GnasError, match=f"but got a {kind.replace('+', '.')} URL") as caught:
        CandidateStudy.join("numbers", url)
    assert "secret" not in str(caught.value) and "bob" not in str(caught.value)


def test_a_missing_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(GnasError, match=r"install it: pip install 'gnas\[postgresql\]'"):
        CandidateStudy.join("numbers", "postgresql+psycopg://bob:secret@host/db")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("bob:secret@host:5433/db?sslmode=require", "host:5433/db"),
        ("bob:se/cr?et@host/db", "host/db"),
        ("bob:x@secret@host/db", "host/db"),
        ("host/db?user=bob&password=secret", "host/db"),
        ("/db?host=secret", "/db"),
    ],
)
def test_what_is_shown_of_an_url(url: str, expected: str) -> None:
    assert shown(f"postgresql+psycopg://{url}") == f"postgresql+psycopg://{expected}"
    assert shown(Path("a/b.db")) == "a/b.db"


def test_nothing_is_left_beside_a_file_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "table.parquet").write_bytes(b"PAR1" * 200)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "empty").touch()
    before = {path.name for path in tmp_path.iterdir()}
    for name, message in (
        ("table.parquet", "but is another kind of file"), ("pipe", "but is another kind of file"),
        ("loop", "a link that leads to itself"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=message):
            opened(tmp_path / name)
    with pytest.raises(MissingDataError, match=r"the study must exist, but .*empty has none"):
        CandidateStudy.join("numbers", tmp_path / "empty")
    assert {path.name for path in tmp_path.iterdir()} == before


def test_a_study_stays_where_it_is_when_the_working_folder_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    study = opened(Path("study.db"), 1)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert work(study, JOB, wait=False) == 1 and scores(study) == [0]
    assert not [*Path().iterdir()]


def test_a_link_to_a_study(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("real/study.db")
    opened(tmp_path / "link", 2)
    assert opened(tmp_path / "real" / "study.db").progress().total == 2


def test_opening_a_study_again_keeps_the_locks_of_this_process(file: Path) -> None:
    """Without them another process takes itself for the last, and unlinks the write-ahead log."""
    first = opened(file, 2)
    again = opened(file)
    log = file.with_name(f"{file.name}-wal")
    inode = log.stat().st_ino
    child = (
        f"import sqlite3; connection = sqlite3.connect({str(file)!r}); "
        "connection.execute('SELECT * FROM trials').fetchall(); connection.close()"
    )
    subprocess.run([sys.executable, "-c", child], check=True)
    assert log.stat().st_ino == inode
    assert work(opened(file), JOB, wait=False) == 2
    assert first.progress() == again.progress() == StudyProgress(2, 0, 2)


@pytest.mark.parametrize("count", [1, 2, 7, 12, 13])
def test_tables_that_a_killed_process_had_begun_are_completed(count: int, tmp_path: Path) -> None:
    """SQLite makes them one by one; the last, of Alembic, gets its row after that."""
    CandidateStudy.open(JOB, name="numbers", storage=tmp_path / "whole.db")
    with closing(sqlite3.connect(tmp_path / "whole.db")) as whole:
        rows = whole.execute("SELECT sql FROM sqlite_master WHERE type = 'table' ORDER BY rowid")
        tables = [sql for (sql,) in rows if "sqlite_" not in sql]
    assert len(tables) == 13
    half = tmp_path / "half.db"
    with closing(sqlite3.connect(half)) as begun:
        for sql in tables[:count]:
            begun.execute(sql)
    with pytest.raises(MissingDataError, match="must"):
        CandidateStudy.join("numbers", half)
    study = CandidateStudy.open(JOB, name="numbers", storage=half)
    study.plan([{"x": 2}])
    assert work(study, JOB, wait=False) == 1 and scores(study) == [4]
