"""One process at a time in a run's folder, whatever happened to the one before."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gnas import locks, process_ids
from gnas.data.files import atomic_write, remove_temporaries
from gnas.errors import ConfigError, DataError
from gnas.runs import LOCK, file_lock, run_folder_lock

HOLD = """
import sys, time
from pathlib import Path
from gnas.runs import run_folder_lock
with run_folder_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def holder(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that works in the folder."""
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "a"
    with holder(folder) as process:
        with pytest.raises(ConfigError, match=f"but process {process.pid} on .* is using it"):
            with run_folder_lock(folder):
                raise AssertionError
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (folder / LOCK).exists()  # killed: nobody removed it
    with run_folder_lock(folder):
        assert json.loads((folder / LOCK).read_text())["pid"] == os.getpid()
    assert not (folder / LOCK).exists()


def test_a_lock_is_taken_again_by_its_thread_only(tmp_path: Path) -> None:
    refused = []

    def enter() -> None:
        try:
            with run_folder_lock(tmp_path):
                pass
        except ConfigError as error:
            refused.append(str(error))

    with run_folder_lock(tmp_path), run_folder_lock(tmp_path / "." / "seed-1" / ".."):
        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
    assert len(refused) == 1 and str(os.getpid()) in refused[0]
    enter()
    assert len(refused) == 1


def test_forked_children_keep_no_lock(tmp_path: Path) -> None:
    """Such as those that load images: they may outlive a killed parent by seconds."""
    read, write = os.pipe()
    with run_folder_lock(tmp_path):
        child = os.fork()
        if child == 0:
            os.read(read, 1)
            os._exit(0)
    assert os.waitpid(child, os.WNOHANG) == (0, 0)  # lives
    assert_free(tmp_path)
    os.write(write, b"x")
    os.waitpid(child, 0)


def assert_free(folder: Path) -> None:
    """This process can take the lock, and is then its recorded owner."""
    with run_folder_lock(folder):
        assert json.loads((folder / LOCK).read_text())["pid"] == os.getpid()
    assert not (folder / LOCK).exists()


def record(folder: Path, **changes: object) -> Path:
    """A lock file as a process with these facts would have left it."""
    path = folder / LOCK
    path.write_text(json.dumps({**process_ids.current_process(), **changes}))
    return path


def test_a_number_that_is_used_again_is_no_owner(tmp_path: Path) -> None:
    record(tmp_path, started=1)  # this process' number, but it started later
    assert_free(tmp_path)


def test_a_rebooted_machine_has_ended_all(tmp_path: Path) -> None:
    record(tmp_path, boot="another")
    assert_free(tmp_path)


def test_other_machines_are_believed_while_they_are_heard_of(tmp_path: Path) -> None:
    path = record(tmp_path, boot="another", host="elsewhere", pid=7)
    with pytest.raises(ConfigError, match=r"process 7 on elsewhere .* try again in 1[12]\d s"):
        with run_folder_lock(tmp_path):
            pass
    assert json.loads(path.read_text())["host"] == "elsewhere"
    long_ago = path.stat().st_mtime - locks.SILENT_S - 1
    os.utime(path, (long_ago, long_ago))
    with run_folder_lock(tmp_path):
        pass


def test_the_holder_is_heard_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "BEAT_S", 0.01)
    with run_folder_lock(tmp_path):
        os.utime(tmp_path / LOCK, (0, 0))
        ended = threading.Event()
        for _ in range(500):
            if (tmp_path / LOCK).stat().st_mtime > 0:
                break
            ended.wait(0.01)
        assert (tmp_path / LOCK).stat().st_mtime > 0


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}', "[" * 3000, "\0" * 9000])
def test_what_is_no_record_names_nobody(tmp_path: Path, text: str) -> None:
    (tmp_path / LOCK).write_text(text)
    assert_free(tmp_path)


def test_drives_without_locks_have_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(file: int, how: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", flock)
    record(tmp_path, pid=os.getppid(), started=process_ids._started(os.getppid()))
    with pytest.raises(ConfigError, match=f"process {os.getppid()} on"), run_folder_lock(tmp_path):
        pass
    record(tmp_path, started=1)
    with run_folder_lock(tmp_path):
        pass


def test_a_lock_that_is_no_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / LOCK).mkdir()
    with pytest.raises(DataError, match=r"must be writable, but \.lock is not: Is a directory"):
        with run_folder_lock(tmp_path):
            pass
    (tmp_path / LOCK).rmdir()
    (tmp_path / "elsewhere").write_text("precious")
    (tmp_path / LOCK).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="must be writable"), run_folder_lock(tmp_path):
        pass
    assert (tmp_path / "elsewhere").read_text() == "precious"


def test_a_folder_that_was_made_for_nothing_goes(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), run_folder_lock(tmp_path / "a" / "b"):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
    with run_folder_lock(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "x").touch()
    assert (tmp_path / "a" / "b" / "x").exists()


def killed_while_writing(path: Path) -> Path:
    """The temporary file of a process that was killed inside `atomic_write`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.touch()
        left = temporary.with_name(temporary.name.replace(str(os.getpid()), "12345"))
        left.write_text("half")
    return left


def test_temporaries_of_the_killed_go_at_the_next_start(tmp_path: Path) -> None:
    names = ("result.json", "figures/a.png", "checkpoint/step-3.safetensors", "seed-1/config.json")
    left = [killed_while_writing(tmp_path / name) for name in names]
    (tmp_path / "seed-2" / LOCK).parent.mkdir()
    (tmp_path / "seed-2" / LOCK).touch()  # somebody works there
    in_use = killed_while_writing(tmp_path / "seed-2" / "config.json")
    foreign = tmp_path / ".notes.tmp"
    foreign.touch()
    with run_folder_lock(tmp_path):
        assert not [path for path in left if path.exists()]
        assert in_use.exists() and foreign.exists()
        assert all((tmp_path / name).exists() for name in names)


def test_a_file_is_worked_on_by_one(tmp_path: Path) -> None:
    mine = killed_while_writing(tmp_path / "t.parquet")
    others = killed_while_writing(tmp_path / "u.parquet")
    record(tmp_path)
    with file_lock(tmp_path / "t.parquet"):
        assert not mine.exists() and others.exists()
        owner = json.loads((tmp_path / ".t.parquet.lock").read_text())
        assert owner["pid"] == os.getpid()
    assert not (tmp_path / ".t.parquet.lock").exists()
    remove_temporaries(tmp_path)
    assert not others.exists()


def test_nobody_removes_a_lock_that_is_not_his(tmp_path: Path) -> None:
    """A race: the file that was opened is removed before it is locked."""
    find: Callable[[Path, int], bool] = locks._is_there
    path = tmp_path / LOCK
    file = os.open(path, os.O_RDWR | os.O_CREAT)
    path.unlink()
    assert not find(path, file)
    path.touch()
    locks._release(path, file)
    assert path.exists()
