"""What is said when a command is stopped, and commands that are shown to be typed again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
import typer
from typer.testing import CliRunner

from gnas import cli
from gnas.cli.output import print_next, rerun_hint, resume_hint, same_command
from gnas.command_line import override_command_line, shell_line
from gnas.errors import ConfigError
from gnas.printable import printable
from tests import commands

WORDS = [
    "a b", "a  b", "a\nb", "it's\n", "\x1b[31mx", "\udcff0", "e\u202e1", "$x$", "`x`", "", "-x",
    "back\\slash\t1", "é\n", "\U0001f600\u200d", "x\x7f\x80",
]  # fmt: skip


def stopped_by(stop: Callable[[], NoReturn], *words: str) -> tuple[int, str]:
    """Exit code and errors of a command that is stopped while it works."""
    root = typer.Typer(cls=cli.Commands, pretty_exceptions_enable=False)
    root.callback()(cli.options)

    @root.command()
    def work(
        out: Path | None = None, storage: str = "", hinted: bool = True,
        resumable: Path | None = None,
    ) -> None:  # fmt: skip
        if resumable is not None:
            resume_hint("gnas more", resumable)
        elif hinted:
            rerun_hint(out)
        stop()

    done = CliRunner().invoke(root, ["work", *words])
    return done.exit_code, done.stderr


def interrupt() -> NoReturn:
    raise KeyboardInterrupt


@pytest.mark.parametrize("word", WORDS)
def test_shells_read_a_shown_command_as_it_was_typed(word: str) -> None:
    line = shell_line(["printf", "%s", word])
    assert printable(line) == line and "\n" not in line
    done = subprocess.run(["bash", "-c", line], capture_output=True, check=True)
    assert done.stdout == os.fsencode(word)


def test_the_next_command_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    from gnas.cli.output import console

    odd = Path("my\nrun\x1b[31m")
    print_next(console(), ["show", odd], ["retrain", "a b"], ["show", Path("-x"), "--out", "-"])
    assert capsys.readouterr().out == (
        "next: gnas show $'my\\x0arun\\x1b[31m' | gnas retrain 'a b' | gnas show ./-x --out -\n"
    )


def test_stopped_experiments_say_what_is_kept() -> None:
    code, said = stopped_by(interrupt)
    assert code == 130
    assert said == (
        "error: interrupted; nothing is kept; with --out DIR the same command would go on\n"
    )
    code, said = stopped_by(interrupt, "--out", "my  run\n")
    assert said == r"error: interrupted; go on with: gnas work --out $'my  run\x0a'" + "\n"
    code, said = stopped_by(lambda: sys.exit(143), "--out", "a")
    assert code == 143 and said == "error: asked to end; go on with: gnas work --out a\n"


def test_what_was_not_begun_is_started_again(tmp_path: Path) -> None:
    code, said = stopped_by(lambda: sys.exit(143), "--no-hinted")
    assert code == 143
    assert said == "error: asked to end; start it again with: gnas work --no-hinted\n"
    words = ("--resumable", str(tmp_path))
    again = f"start it again with: gnas work --resumable {tmp_path}\n"
    assert stopped_by(interrupt, *words) == (130, f"error: interrupted; {again}")
    (tmp_path / "config.json").touch()
    assert stopped_by(interrupt, *words) == (130, "error: interrupted; go on with: gnas more\n")
    assert stopped_by(lambda: sys.exit(3), "--no-hinted") == (3, "")


def test_how_to_go_on_has_no_password() -> None:
    url = "postgresql+psycopg://me:secret@host/db"
    _, said = stopped_by(interrupt, "--out", "a", "--storage", url)
    assert said.endswith("gnas work --out a --storage postgresql+psycopg://host/db\n")
    with override_command_line(["tabulate", "--storage", url]):
        assert "secret" not in same_command()


def test_names_in_errors_keep_their_spaces() -> None:
    def fail() -> NoReturn:
        raise ConfigError("there is no my  run\n  here")

    assert stopped_by(fail) == (1, "error: there is no my  run here\n")


STARTED = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "gnas.cli":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
from gnas.__main__ import main
main()
"""
LEAVING = """
import os, signal, sys, atexit
signal.signal(signal.SIGINT, signal.default_int_handler)
import gnas.cli
@atexit.register
def slow():
    os.kill(os.getpid(), signal.SIGINT)
    print("still here")
sys.argv = ["gnas", "--version"]
gnas.cli.main()
"""


SWALLOWED = """
import os, signal, sys, time
import typer
from gnas import cli

class Closing:
    def __del__(self):
        os.kill(os.getpid(), signal.{0})
        for _ in range(100):  # the exception is raised in here, where nobody can catch it
            pass

@cli.app.command()
def wait():
    Closing()
    time.sleep(20)
    print("still here")

sys.argv = ["gnas", "wait"]
cli.main()
"""


@pytest.mark.parametrize(("number", "stopped"), [("SIGINT", "interrupted"),
                                                 ("SIGTERM", "asked to end")])  # fmt: skip
def test_a_stop_is_not_lost_in_a_destructor(number: str, stopped: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SWALLOWED.format(number)], capture_output=True, text=True,
        check=False, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert done.returncode == 128 + getattr(signal, number) and done.stdout == ""
    assert done.stderr == f"error: {stopped}; start it again with: gnas wait\n"


IMPORTING = """
import sys, time, types
from gnas import cli

TORCH = '''
import os, signal
os.kill(os.getpid(), signal.SIGINT)
for _ in range(100):
    pass
print("imported")
'''

@cli.app.command()
def wait():
    exec(compile(TORCH, "torch", "exec"), vars(types.ModuleType("torch")))
    time.sleep(20)
    print("still here")

sys.argv = ["gnas", "wait"]
cli.main()
"""


def test_ctrl_c_waits_for_the_end_of_the_import_of_torch() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTING], capture_output=True, text=True, check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (130, "imported\n")
    assert done.stderr == "error: interrupted; start it again with: gnas wait\n"


@pytest.mark.parametrize("program", [STARTED, LEAVING])
def test_ctrl_c_before_and_after_a_command_is_no_traceback(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert done.returncode == 130, done.stderr
    assert done.stderr == "" and "still here" not in done.stdout


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_interrupt_in_a_worker_is_one_of_the_command(workers: str, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("def stop(graph, *, seed):\n    raise KeyboardInterrupt\n")
    words = ["--space", "nasbench201", "--evaluate", "own.py:stop", "--out", "run"]
    done = commands.run(
        [sys.executable, "-m", "gnas", "search", "random", *words, "--workers", workers],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    option = f" --workers {workers}" if workers != "1" else ""
    again = f"go on with: gnas search random --resume run{option}\n"
    assert (done.returncode, done.stderr) == (130, f"error: interrupted; {again}")
