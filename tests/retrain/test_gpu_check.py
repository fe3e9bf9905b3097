from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.slow
def test_the_check_of_gpus_runs_on_a_cpu() -> None:
    command = [sys.executable, "benchmarks/gpu_check.py", "--device", "cpu", "--steps", "1"]
    done = subprocess.run(
        [*command, "--only", "bfloat16", "two processes"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=500,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split("|") for line in done.stdout.splitlines() if line.startswith("| ")][1:]
    assert [(row[1].strip(), row[2].strip(), row[-2].strip()) for row in rows] == [
        (kind, variant, "ok")
        for kind in ("search", "retrain")
        for variant in ("bfloat16", "two processes")
    ]
    assert float(rows[0][7]) > 0  # bfloat16 was in use
