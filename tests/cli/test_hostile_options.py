"""Impossible values of options: one line, no traceback, no heavy import where none is due."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

from gnas import cli

ROOT = Path(__file__).resolve().parents[2]
GENOTYPE = (
    "Genotype(normal=[('skip_connect', 0), ('skip_connect', 1)], normal_concat=[2], "
    "reduce=[('skip_connect', 0), ('skip_connect', 1)], reduce_concat=[2])"
)
STOPS = ["--set", "nonsense=1"]
"""What ends a command before any work, after its paths were looked at."""
COMMANDS = {
    "data list": [],
    "data fetch": ["no-such-table"],
    "data convert": ["no-such-table"],
    "data verify": ["no-such-table"],
    "data subset": ["nowhere", "--out", "list.txt"],
    "show": [GENOTYPE],
    "export": [GENOTYPE, "--to", "python", "--out", "x.py", *STOPS],
    "evaluate": ["nowhere"],
    "retrain": [GENOTYPE, *STOPS],
    "search toponas": STOPS,
    "search nasgem": STOPS,
    "search random": STOPS,
    "bench nasbench101": ["--samples", "1"],
    "bench nasbench201": ["--samples", "1"],
    "bench search": ["nasbench201", "--searchers", "nonsense"],
    "bench topology": ["--table", "nowhere"],
    "encoder train": ["nonsense", "--out", "x.safetensors"],
    "encoder embed": ["nonsense", "--out", "x.npy"],
    "tabulate": ["nasbench101", "--out", "x.parquet", "--like", "nowhere", "--workers", "0"],
    "worker": ["--study", "s", "--storage", "nowhere/x"],
}
VALUES = [
    "", "file", "folder", "/dev/full", "/dev/null", "file/below", "fifo/x", "/proc/x", "a\0b",
    "x" * 300, "y/" * 3000, "\udcff.json", "--", "[/]", "\x1b[31m", "$x$", "..", "/",
    "~nobody/x", "nan", "-1", "1e400", "9" * 5000, "null", "[" * 5000,
]  # fmt: skip
SHARE = 12
"""Every option takes one value of so many, each option other ones; 1 takes all."""


def options_of(command: str) -> list[str]:
    """The options of a command that take a value."""
    found = typer.main.get_command(cli.app)
    for word in command.split():
        found = getattr(found, "commands", {})[word]
    return [
        option.opts[0]
        for option in found.params
        if option.opts[0].startswith("--") and not getattr(option, "is_flag", False)
    ]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.filterwarnings("ignore")
def test_no_value_of_an_option_is_a_traceback(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    for i, option in enumerate(options_of(command)):
        for value in VALUES[i % SHARE :: SHARE]:
            args = [*command.split(), *COMMANDS[command], option, value]
            result = CliRunner().invoke(cli.app, args)
            where = f"{option} {value[:40]!r}: {result.exception!r}"
            assert result.exception is None or isinstance(result.exception, SystemExit), where
            assert result.exit_code in (0, 1, 2), where
            if result.exit_code == 1:
                last = result.stderr.splitlines()[-1]
                assert last.startswith("error: ") and len(last) > len("error: "), where
            assert "\x1b[31m" not in result.output, where


EARLY = {
    "search toponas --resume nowhere": "a run's folder must have a config.json, but nowhere",
    "search toponas --out file": "a run's folder must be writable, but file: it is a file",
    "search toponas --json folder": "the output must be a file",
    "search toponas --set epochs": "--set must be NAME=VALUE",
    "search toponas --dataset cifar10 --data-dir nowhere": "there is none at nowhere",
    "search nasgem --resume nowhere": "a run's folder must have a config.json, but nowhere",
    "search nasgem --json folder": "the output must be a file",
    "search random --resume nowhere": "a run's folder must have a config.json, but nowhere",
    "retrain --resume nowhere": "a run's folder must have a config.json, but nowhere",
    "retrain file --json folder": "the output must be a file",
    "evaluate file --data-dir nowhere": "there is none at nowhere",
    "export file --to onnx --out x --json folder": "the output must be a file",
    "bench nasbench101 --json folder": "the output must be a file",
}


@pytest.mark.parametrize("command", EARLY)
def test_wrong_paths_are_said_before_anything_heavy_is_imported(
    command: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "gnas", *command.split()],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        check=False,
    )
    assert done.returncode in (1, 2)
    assert EARLY[command] in done.stderr
    loaded = {line.split("|")[-1].strip() for line in done.stderr.splitlines() if "|" in line}
    assert "gnas.cli" in loaded and not loaded & {"torch", "optuna", "sklearn", "matplotlib"}
