"""Real runs with one file mutated: every command that reads them ends in one line, or as usual.

``GNAS_FUZZ_ROUNDS=100 pytest tests/hostile`` tries a hundred times as many.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import typer.main
from markupsafe import Markup
from matplotlib.figure import Figure

from gnas.cli import app
from tests.hostile.mutations import ROUNDS, command, dumped, flipped, mutated

CELL = "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|"
FAST = ("--set", "batch_size=400", "--set", "image_size=8", "--set", "channels=2")
BENCH = ("bench", "search", "nasbench101", "--table", "nasbench101-mini", "--searchers", "random",
         "--seeds", "2", "--budget", "10", "--out", "run")  # fmt: skip
MADE = {
    "toponas": ("search", "toponas", "--space", "nasbench201", "--epochs", "1", *FAST,
                "--out", "run"),
    "random": ("search", "random", "--space", "nasbench101", "--table", "nasbench101-mini",
               "--budget", "5", "--out", "run"),
    "retrain": ("retrain", CELL, "--epochs", "1", "--layers", "1", "--channels", "2", "--set",
                "batch_size=400", "--out", "run"),
    "bench": BENCH,
}  # fmt: skip
SHOW = ("show", "run", "--out", "pictures")
EXPORT = ("export", "run", "--to", "python", "--out", "x.py")
REPORT = ("report", "run", "--out", "x.html")
STOPPED = ("retrain", "run", "--set", "nonsense=1")
READ = {
    "toponas": (SHOW, REPORT, EXPORT, STOPPED, ("evaluate", "run"), (*STOPPED, "--epoch", "1"),
                ("search", "toponas", "--resume", "run"), ("retrain", "run", "--epochs", "0")),
    "random": (SHOW, REPORT, EXPORT, STOPPED, (*STOPPED, "--member", "0"),
               ("search", "random", "--resume", "run")),
    "retrain": (SHOW, REPORT, EXPORT, STOPPED, ("evaluate", "run"),
                ("retrain", "--resume", "run")),
    "bench": (BENCH, ("show", "run"), REPORT),
}  # fmt: skip
MUTATED = {".json", ".jsonl", ".safetensors"}
SECONDS = 5.0
"""Processor time after which a command has found nothing wrong: it searches or trains."""


class WorkingError(BaseException):
    """A command that works on."""


@contextmanager
def limited() -> Iterator[None]:
    """Ends what takes `SECONDS` of processor time, as Ctrl-C would."""

    def stop(*_: object) -> None:
        raise WorkingError

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        yield
    except WorkingError:
        pass
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@pytest.fixture(scope="module")
def no_drawing() -> Iterator[None]:
    """Pictures are composed, which reads all that a run has recorded, but not drawn."""
    tree = typer.main.get_command(app)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", lambda *args, **options: None)
        for module in ("gallery", "supernets"):
            patch.setattr(f"gnas.report.{module}.inline_svg", lambda *args: Markup("<svg></svg>"))
        patch.setattr("typer.testing._get_command", lambda app: tree)  # not made for each call
        yield


@pytest.fixture(scope="module", params=MADE)
def run(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, no_drawing: None
) -> tuple[str, Path]:
    """The name of a sound run, and the folder that it is in."""
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert command(*MADE[request.param]) == 0
    return request.param, folder


def mutate(path: Path, rng: np.random.Generator) -> None:
    """Puts something else in place of a file, or into it."""
    content, chance = path.read_bytes(), rng.random()
    if chance < 0.05:
        path.unlink()
        kinds = (path.mkdir, lambda: os.mkfifo(path), path.touch, lambda: path.symlink_to(path))
        kinds[int(rng.integers(len(kinds)))]()
    elif chance < 0.2:
        path.write_bytes(flipped(content, rng))
    elif path.suffix == ".json":
        path.write_text(dumped(mutated(json.loads(content), rng)))
    elif path.suffix == ".jsonl":
        lines = content.decode().splitlines()
        k = int(rng.integers(len(lines)))
        lines[k] = dumped(mutated(json.loads(lines[k]), rng))
        path.write_text("\n".join([*lines, ""]))
    else:
        length = int.from_bytes(content[:8], "little")
        head = dumped(mutated(json.loads(content[8 : 8 + length]), rng)).encode()
        path.write_bytes(len(head).to_bytes(8, "little") + head + content[8 + length :])


@pytest.mark.filterwarnings("ignore")
def test_commands_on_a_run_with_one_file_mutated(
    run: tuple[str, Path], tmp_path: Path, rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    name, sound = run
    files = sorted(p.relative_to(sound) for p in sound.rglob("*") if p.suffix in MUTATED)
    codes = []
    for k in range(20 * ROUNDS):
        folder = tmp_path / str(k)
        shutil.copytree(sound, folder)
        monkeypatch.chdir(folder)
        mutate(folder / files[int(rng.integers(len(files)))], rng)
        with limited():
            codes.append(command(*READ[name][k % len(READ[name])]))
        monkeypatch.chdir(tmp_path)
        shutil.rmtree(folder)
    assert codes.count(1) > 2
