from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import alembic.util
import numpy as np
import pytest
import typer.main
import typer.testing

from gnas.processes import GC_THRESHOLDS
from tests import commands

# A shell that starts the tests in the background has them ignore Ctrl-C, and what they start too.
signal.signal(signal.SIGINT, signal.default_int_handler)

gc.set_threshold(*GC_THRESHOLDS)
commands.install()
# slow: every new study loads Optuna's migrations
alembic.util.load_python_file = cache(alembic.util.load_python_file)  # type: ignore[assignment]
typer.testing._get_command = cache(typer.main.get_command)  # type: ignore[attr-defined]  # slow


def pytest_collection_finish() -> None:
    gc.freeze()  # what is imported need not be looked through again


ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], Path]]:
    """Takes away the right to read a file, from root too; returns its path from its folder."""
    euid = os.geteuid()

    def close(path: Path) -> Path:
        monkeypatch.chdir(path.parent)
        path.parent.chmod(0o755)
        path.chmod(0)
        if euid == 0:
            os.seteuid(65534)  # nobody
        return Path(path.name)

    yield close
    os.seteuid(euid)


@pytest.fixture
def shared_data() -> Callable[[str], Path]:
    """Finds real benchmark files beside the repository (or under $GNAS_TEST_DATA), or skips."""
    folder = Path(os.environ.get("GNAS_TEST_DATA", ROOT.parent / "shared" / "data"))

    def find(name: str) -> Path:
        path = folder / name
        if not path.exists():
            pytest.skip(f"needs the real file {name}, which is not in {folder.name}/")
        return path

    return find
