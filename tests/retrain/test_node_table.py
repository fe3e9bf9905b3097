from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.mark.slow
def test_table_6_is_searched_trained_and_resumed(
    tmp_path: Path, script: Callable[..., str]
) -> None:
    small = ["channels=4", "image_size=8", "epochs=1", "batch_size=400"]
    options = ["--dataset", "digits", "--nodes", "4", "5", "--repeats", "2", "--threads", "1"]
    options += ["--runs", str(tmp_path), "--search", "num_cells=3", *small]
    options += ["--retrain", "layers=3", *small]
    first = script("toponas_nodes.py", *options)
    assert script("toponas_nodes.py", *options) == first  # all is done already
    rows = [line.split("|") for line in first.splitlines() if line.startswith("| ")][1:]
    assert [row[1].strip() for row in rows] == ["4", "5"]
    assert all("±" in row[-2] for row in rows)
    assert len((tmp_path / "nodes-4" / "metrics.jsonl").read_text().splitlines()) == 1
