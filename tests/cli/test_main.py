from __future__ import annotations

import errno
import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import gnas
from gnas import cli
from gnas.cli.output import check_writable, report_console, write_json
from gnas.errors import ConfigError, DataError, GraphError, MissingDataError
from gnas.user_code import Source

DEMO = """
import sys, time, typer
from gnas import cli
from gnas.cli.output import console, progress_bar, reporting
root = typer.Typer(cls=cli.Commands, pretty_exceptions_enable=False)
root.callback()(cli.options)
@root.command()
def wait():
    console().print("ready")
    sys.stdout.flush()
    time.sleep(30)
@root.command()
def work():
    with reporting("training") as report:
        for i in range(3):
            report(i, 3)
            time.sleep(0.15)
    console().print("done")
@root.command()
def many():
    for i in range(100_000):
        typer.echo(i)
root(prog_name="demo")
"""


def _raising(error: BaseException) -> typer.Typer:
    root = typer.Typer(cls=cli.Commands, pretty_exceptions_enable=False)
    root.callback()(cli.options)

    @root.command()
    def fail() -> None:
        raise error

    return root


def _demo(command: str) -> list[str]:
    return [sys.executable, "-c", DEMO, command]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (GraphError("num_nodes must be in [2, 7], got 9"), "num_nodes must be in [2, 7], got 9"),
        (MissingDataError("not found;\n  fetch it"), "not found; fetch it"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "x.json"), "No space left on device: x"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), "Permission denied: /x"),
        (MemoryError(), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "out of memory"),
    ],
)
def test_errors_are_one_line_and_exit_code_1(error: Exception, line: str) -> None:
    result = CliRunner().invoke(_raising(error), ["fail"])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith(f"error: {line}")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("args", [["--debug", "fail"], ["fail", "--debug"]])
def test_debug_shows_the_traceback_wherever_it_stands(args: list[str]) -> None:
    result = CliRunner().invoke(_raising(ConfigError("no")), args)
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert result.stderr.endswith("error: no\n")


@pytest.mark.parametrize("bug", [ZeroDivisionError(), RuntimeError("shapes differ")])
def test_a_bug_is_not_hidden(bug: Exception) -> None:
    assert CliRunner().invoke(_raising(bug), ["fail"]).exception is bug


@pytest.mark.parametrize("code", ["0", "'no data'", ""])
def test_a_users_code_does_not_end_a_command_in_silence(tmp_path: Path, code: str) -> None:
    file = tmp_path / "own.py"
    file.write_text(f"import sys\n\ndef fail():\n    sys.exit({code})\n")
    root = typer.Typer(cls=cli.Commands, pretty_exceptions_enable=False)
    root.callback()(cli.options)
    root.command()(Source.parse(f"{file}:fail").load())
    result = CliRunner().invoke(root, ["fail"])
    assert result.exit_code == 1 and result.stderr.count("\n") == 1
    assert result.stderr.startswith(f"error: {file}, line 4: ends the program itself; mend your")


def test_usage_errors_exit_with_2() -> None:
    for args in (["no-such-verb"], ["--no-such-option"]):
        assert CliRunner().invoke(cli.app, args).exit_code == 2


def test_version() -> None:
    result = CliRunner().invoke(cli.app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"gnas {gnas.__version__}\n")


def test_python_m_gnas_is_the_command() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "gnas", "--help"], capture_output=True, text=True, check=True
    )
    assert "Usage: gnas" in result.stdout
    assert "\x1b" not in result.stdout


def test_a_width_of_0_hides_nothing() -> None:
    environment = os.environ | {"COLUMNS": "0"}
    command = [sys.executable, "-m", "gnas", "show"]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 2
    assert "Missing argument" in result.stderr


def test_figures_have_no_style_of_the_user(tmp_path: Path) -> None:
    """Who sets texts by LaTeX may not have it where the command runs."""
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\n")
    program = (
        "import sys; from gnas.cli import main; sys.argv[1:] = ['--version']\n"
        "try: main()\n"
        "finally: import matplotlib; print(matplotlib.rcParams['text.usetex'])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "MPLCONFIGDIR": str(tmp_path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert result.stdout.endswith("\nFalse\n")


def test_ctrl_c_is_one_line_and_exit_code_130() -> None:
    process = subprocess.Popen(
        _demo("wait"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert (process.returncode, stderr) == (
        130,
        "error: interrupted; start it again with: gnas wait\n",
    )


def test_a_reader_that_stops_early_gets_no_traceback() -> None:
    process = subprocess.Popen(_demo("many"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=20) == 1


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs the device /dev/full")
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["data", "list"]])
def test_a_full_disk_under_stdout_is_one_line(arguments: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "gnas", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert (done.returncode, done.stderr) == (1, "error: No space left on device\n")


def test_a_closed_stdout_is_no_error() -> None:
    command = f"{sys.executable} -m gnas data list >&-"
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_without_a_terminal_there_are_no_control_characters() -> None:
    result = subprocess.run(_demo("work"), capture_output=True, check=True)
    assert (result.stdout, result.stderr) == (b"done\n", b"")


def test_with_a_terminal_progress_shows_the_time_left() -> None:
    parent, child = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(_demo("work"), stdout=child, stderr=child, env=environment):
        pass
    os.close(child)
    shown = os.read(parent, 65536).decode()
    os.close(parent)
    assert "training" in shown
    assert "left" in shown
    assert "\x1b[" in shown


def test_shell_completion_knows_the_verbs() -> None:
    environment = {
        **os.environ,
        "_GNAS_COMPLETE": "complete_bash",
        "COMP_WORDS": "gnas ",
        "COMP_CWORD": "1",
    }
    result = subprocess.run(
        [sys.executable, "-m", "gnas"], env=environment, capture_output=True, text=True
    )
    assert {"bench", "data"} <= set(result.stdout.split())


def test_json_is_plain_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    value = {"tau": float("nan"), "path": tmp_path, "pair": (1, 2.5), 3: {"b", "a"}}
    write_json(path, value)
    expected = {"tau": None, "path": str(tmp_path), "pair": [1, 2.5], "3": ["a", "b"]}
    assert json.loads(path.read_text()) == expected
    with pytest.raises(RecursionError):
        endless: list[object] = []
        endless.append(endless)
        write_json(path, endless)
    assert json.loads(path.read_text()) == expected
    assert os.listdir(tmp_path) == ["r.json"]


def test_json_to_stdout_leaves_stdout_to_json(capsys: pytest.CaptureFixture[str]) -> None:
    write_json("-", {"a": 1})
    report_console("-").print("a table")
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"a": 1}
    assert captured.err == "a table\n"


def test_an_output_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="must be a file"):
        check_writable(tmp_path)
    with pytest.raises(ConfigError, match="must be writable"):
        write_json(tmp_path / "file" / "r.json", {})
    write_json(tmp_path / "new" / "r.json", {})
    for name in ("x" * 221, "ü" * 111):
        with pytest.raises(ConfigError, match="name must have at most 220 bytes, since temp"):
            check_writable(tmp_path / name)
    check_writable(tmp_path / ("x" * 220))
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(DataError, match="a link that leads to itself"):
        check_writable(tmp_path / "loop")
    (tmp_path / "link").symlink_to("no/where")
    check_writable(tmp_path / "link")
    check_writable(None)
    check_writable("-")
