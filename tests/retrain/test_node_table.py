from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.mark.slow
def test_table_6_is_searched_trained_and_resumed(tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/toponas_nodes.py", "--dataset", "digits"]
    small = ["channels=4", "image_size=8", "epochs=1"]
    command += ["--nodes", "4", "5", "--repeats", "2", "--runs", str(tmp_path), "--threads", "1"]
    command += ["--search", "num_cells=3", *small, "--retrain", "layers=3", *small]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    tables = []
    for _ in range(2):  # the second time all is done already
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=500, env=environment
        )
        assert done.returncode == 0, done.stdout + done.stderr
        tables.append(done.stdout)
    assert tables[0] == tables[1]
    rows = [line.split("|") for line in tables[0].splitlines() if line.startswith("| ")][1:]
    assert [row[1].strip() for row in rows] == ["4", "5"]
    assert all("±" in row[-2] for row in rows)
    assert len((tmp_path / "nodes-4" / "metrics.jsonl").read_text().splitlines()) == 1
