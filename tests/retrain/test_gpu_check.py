from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests import commands
from tests.conftest import ROOT


@pytest.mark.slow
def test_the_check_of_gpus_runs_on_a_cpu(
    script: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # of the two processes
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    plain = subprocess.run

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[Any]:
        return (commands.run if command[0] == sys.executable else plain)(command, **options)

    monkeypatch.setattr(subprocess, "run", run)  # torchrun starts at once
    options = ["--device", "cpu", "--steps", "1", "--only", "bfloat16", "two processes"]
    shown = script("gpu_check.py", *options)
    rows = [line.split("|") for line in shown.splitlines() if line.startswith("| ")][1:]
    assert [(row[1].strip(), row[2].strip(), row[-2].strip()) for row in rows] == [
        (kind, variant, "ok")
        for kind in ("search", "retrain")
        for variant in ("bfloat16", "two processes")
    ]
    assert float(rows[0][7]) > 0  # bfloat16 was in use
