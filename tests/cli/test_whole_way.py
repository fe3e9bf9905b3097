"""README's way from a search to files without gnas, with small settings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gnas.cli import app

SMALL = (
    "--num-nodes 4 --set num_cells=3 --set channels=2 --epochs 1 --set image_size=8 "
    "--set batch_size=400"
)
STEPS = (
    f"search toponas --out runs/found {SMALL}",
    "show runs/found",
    "retrain runs/found --out runs/trained --layers 3 --channels 2 --epochs 1 --set image_size=8 "
    "--set batch_size=400",
    "evaluate runs/trained --json measured.json",
    "export runs/trained --to python --out net.py",
    "export runs/trained --to onnx --out net.onnx",
    "export runs/trained --to pt2 --out net.pt2",
    "export runs/trained --to safetensors --out net",
)


@pytest.mark.pictures
@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
def test_from_a_search_to_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime", reason="needs the extra 'export'")
    monkeypatch.chdir(tmp_path)
    for step in STEPS:
        words = step.split()
        device = ["--device", "cpu"] if words[0] in ("search", "retrain", "evaluate") else []
        done = CliRunner().invoke(app, [*words, *device])
        assert done.exit_code == 0, f"{step}: {done.stderr}"
    found = json.loads(Path("runs/found/result.json").read_text())
    measured = json.loads(Path("measured.json").read_text())
    card = json.loads(Path("net/config.json").read_text())
    assert 0 <= measured["metrics"]["test_acc"] <= 1
    assert card["architecture"] == found["architecture"]
    for name in ("net.py", "net.onnx", "net.pt2", "net/model.safetensors"):
        assert Path(name).stat().st_size > 1000
