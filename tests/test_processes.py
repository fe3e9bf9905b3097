from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from gnas import processes
from gnas.errors import ConfigError, ProcessError
from tests import commands


def test_children_have_the_environment_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the one that their server was started in."""
    monkeypatch.setenv("GNAS_FIRST", "old")
    monkeypatch.setenv("GNAS_GONE", "old")
    seen = []
    for value in ("1", "2"):
        monkeypatch.setenv("GNAS_FIRST", value)
        context, start = processes.worker_context(), ({**os.environ},)
        with ProcessPoolExecutor(
            1, context, initializer=processes.inherit_environment, initargs=start
        ) as pool:
            seen.append(pool.submit(os.getenv, "GNAS_FIRST").result())
            assert pool.submit(os.getenv, "GNAS_GONE").result() == os.getenv("GNAS_GONE")
        monkeypatch.delenv("GNAS_GONE", raising=False)
    assert seen == ["1", "2"]


def test_what_was_prepared_is_there(tmp_path: Path) -> None:
    """Imported once by the server, and before it is asked for."""
    (tmp_path / "counted.py").write_text("import sys\nsys.stderr.write('imported ')\n")
    script = (
        "from gnas import processes\n"
        "processes.preload('counted')\n"
        "context = processes.worker_context('json')\n"
        "for _ in range(3):\n"
        "    child = context.Process(target=__import__, args=('counted',))\n"
        "    child.start()\n"
        "    child.join()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert ended.stderr == "imported "


@pytest.mark.parametrize("wait_s", [0.3, 1.5])
def test_ctrl_c_while_processes_are_prepared_is_one_line(wait_s: float, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gnas", "search", "nasgem", "--out", str(tmp_path / "out")]
    with subprocess.Popen(
        [*command, "--workers", "2"], stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as running:
        assert running.stderr is not None
        while not _has_child(running.pid):
            assert running.poll() is None
            time.sleep(0.01)
        time.sleep(wait_s)
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does
        said = running.stderr.read()
    *_, last = said.splitlines()
    assert last.startswith("error: interrupted; start it again with: gnas search nasgem --out ")
    assert "Traceback" not in said
    # shells call both 130; Python ends itself by the signal if it came inside an exec
    assert running.returncode in (130, -signal.SIGINT)


def _has_child(pid: int) -> bool:
    return bool(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


class Counting:
    """Returns its argument's square, and how often this copy was called before."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, number: int, fate: str) -> tuple[int, int]:
        if fate == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if fate == "wrong":
            raise ConfigError("number must be right")
        self.calls += 1
        return number**2, self.calls


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_calls_are_spread_and_keep_their_function(workers: int) -> None:
    calls = [(number, "well") for number in range(6)]
    results = dict(processes.run_parallel(Counting(), calls, workers, __name__))
    assert [results[k][0] for k in range(6)] == [0, 1, 4, 9, 16, 25]
    assert max(count for _, count in results.values()) >= 6 / workers


@pytest.mark.parametrize("workers", [1, 2])
def test_errors_of_calls_arrive(workers: int) -> None:
    with pytest.raises(ConfigError, match="number must be right"):
        list(processes.run_parallel(Counting(), [(1, "well"), (2, "wrong")], workers, __name__))


def test_a_killed_process_is_one_line() -> None:
    calls = [(number, "killed") for number in range(4)]
    with pytest.raises(ProcessError, match="one was killed; is there too little memory"):
        list(processes.run_parallel(Counting(), calls, 2, __name__))


@pytest.mark.skipif(sys.platform != "linux", reason="the system tells a server on Linux alone")
def test_a_server_that_is_importing_ends_with_its_maker(tmp_path: Path) -> None:
    """The server is in the middle of an import that takes a minute."""
    slow, started = tmp_path / "slow_module.py", tmp_path / "pid"
    slow.write_text(
        "import os, time\n"
        f"with open({str(started)!r}, 'a') as file:\n"
        "    file.write(f'{os.getpid()}\\n')\n"
        "time.sleep(60)\n"
    )
    code = "from gnas import processes; processes.preload('slow_module'); import slow_module"
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path) as maker:
        server = _first_pid(started, other_than=maker.pid)
        maker.kill()
    deadline = time.monotonic() + 10
    while _is_running(server):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _first_pid(file: Path, *, other_than: int) -> int:
    """The first process, but that one, that wrote its number into the file."""
    while True:
        numbers = [int(line) for line in file.read_text().split()] if file.exists() else []
        others = [number for number in numbers if number != other_than]
        if others:
            return others[0]
        time.sleep(0.01)


def _is_running(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


SEARCH = """\
from gnas import processes, run_search
from gnas.spaces import NASBench201
def edges(graph, *, seed):
    return float(graph.num_edges)
run_search(NASBench201(), "random", edges, budget=4, workers=1, out="run")
"""


GUARD = 'must do that below `if __name__ == "__main__":`; move what starts them there'


def _run_program(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    (folder / "mine.py").write_text(text)
    return commands.run(
        [sys.executable, "mine.py"], capture_output=True, text=True, cwd=folder, timeout=120
    )


def test_a_program_without_a_guard_starts_nothing(tmp_path: Path) -> None:
    """One error, before anything is written: the same program goes well with a guard."""
    *lines, search = SEARCH.splitlines(keepends=True)
    ended = _run_program(tmp_path, SEARCH)
    assert ended.returncode == 1 and ended.stderr.count("Traceback") == 1
    assert GUARD in ended.stderr.splitlines()[-1]
    assert not (tmp_path / "run").exists()
    start = "processes.preload()"  # a fork must come before the study's file is open
    main = f"if __name__ == '__main__':\n    {start}\n    {search}"
    ended = _run_program(tmp_path, "".join([*lines, main]))
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "run" / "result.json").exists()


GUARDS = """\
import multiprocessing, sys
from gnas.errors import ConfigError
from gnas.processes import check_can_start
def guarded():
    check_can_start()
    print("guarded")
    return True
def refused():
    try:
        check_can_start()
    except ConfigError:
        print("refused")
if __name__ == "__main__":
    guarded()
__name__ == "__main__" and guarded()
guarded() if __name__ == "__main__" else None
is_main = __name__ == "__main__"
if is_main:
    guarded()
match __name__:
    case "__main__":
        guarded()
if multiprocessing.parent_process() is None:
    guarded()
refused()
if len(sys.argv) == 1:
    refused()
if __name__ != "__main__":
    sys.exit()
refused()
"""


def test_what_guards_a_program(tmp_path: Path) -> None:
    ended = _run_program(tmp_path, GUARDS)
    assert ended.stdout.split() == ["guarded"] * 6 + ["refused"] * 3, ended.stderr


def test_workers_do_not_start_workers(tmp_path: Path) -> None:
    """Where the program cannot be seen to lack a guard, its workers are told."""
    *lines, search = SEARCH.splitlines()
    ended = _run_program(tmp_path, "\n".join([*lines, f"exec({search!r})"]))
    assert ended.returncode == 1 and GUARD in ended.stderr
    assert "one ended with exit code 1 (above is why)" in ended.stderr


def test_what_workers_cannot_import_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    """As in a notebook, whose functions are those of a module without a file."""
    ended = commands.run(
        [sys.executable, "-c", SEARCH], capture_output=True, text=True, cwd=tmp_path, timeout=120
    )
    last = ended.stderr.splitlines()[-1]
    assert last.startswith(
        "gnas.errors.ConfigError: workers must be able to load the evaluation and its space, but "
        "a part is defined in a notebook or an interactive session"
    )
    assert not (tmp_path / "run").exists()
    with pytest.raises(
        ConfigError, match=r"workers must be able to load the thing, but: .*lambda"
    ):
        processes.check_can_send(lambda: 0, "the thing")
