"""What a run's folder says of its search, ended or under way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from safetensors.torch import load_file, save_file

from gnas.errors import DataError, MissingDataError
from gnas.search.toponas import search, toponas_space
from gnas.search.toponas.config import EIGENVALUE_WINDOW
from gnas.search.toponas.plan import plan_search
from gnas.search.toponas.run import run_search
from gnas.search.toponas.state import HISTORY
from gnas.search.toponas.trace import read_trace
from gnas.spaces.toponas.figure import cell_figures
from gnas.spaces.toponas.genotype import Genotype
from gnas.topology import TopologyDistribution
from gnas.viz import search_figures

FAST: dict[str, Any] = {
    "channels": 2, "num_cells": 3, "num_nodes": 5, "batch_size": 400, "image_size": 8,
}  # fmt: skip


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search that went back to its first epoch, as the eigenvalue doubles in every one."""
    out: Path = tmp_path_factory.mktemp("stopped")
    plan = plan_search(**FAST, epochs=9, arch_lr=1.0, stop_eigenvalue=0.75)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "alpha_eigenvalue", lambda bilevel, batch: 2.0**bilevel.epoch)
        run_search(plan, out=out)
    return out


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_a_search_that_went_back_shows_the_cell_that_it_derived(stopped: Path) -> None:
    result = json.loads((stopped / "result.json").read_text())
    trace = read_trace(stopped)
    assert trace.ended and len(trace.epochs) == EIGENVALUE_WINDOW + 1
    assert trace.epoch == result["metrics"]["epoch"] == 1
    assert trace.text == result["architecture"] == trace.epochs[0]["genotype"]
    assert trace.text != trace.epochs[-1]["genotype"]
    codes = toponas_space(trace.config).codes
    distribution = TopologyDistribution(codes.num_nodes, space=codes.space).requires_grad_(False)
    for cell in ("normal", "reduce"):
        distribution.logits.copy_(trace.history[f"beta.{cell}"][1])
        shown = cell_figures(
            Genotype.from_graph(trace.architecture), {cell: distribution.edge_probabilities()}
        )
        assert texts(search_figures(trace)[cell]) == texts(shown[cell])


def test_a_search_under_way_shows_its_last_whole_epoch(stopped: Path, tmp_path: Path) -> None:
    for name in ("config.json", "metrics.jsonl", HISTORY):
        (tmp_path / name).write_bytes((stopped / name).read_bytes())
    trace = read_trace(tmp_path)
    assert not trace.ended and trace.epoch == len(trace.epochs) == EIGENVALUE_WINDOW + 1
    history = load_file(tmp_path / HISTORY)
    for epochs in (3, 1):  # killed between the line of metrics and the history
        save_file({k: v[: epochs + 1].clone() for k, v in history.items()}, tmp_path / HISTORY)
        trace = read_trace(tmp_path)
        assert trace.epoch == len(trace.epochs) == epochs
        assert trace.text == trace.epochs[-1]["genotype"]
    (tmp_path / HISTORY).write_bytes((stopped / HISTORY).read_bytes())
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "metrics.jsonl").write_text("".join(lines[:2]))  # resumed from before
    trace = read_trace(tmp_path)
    assert trace.epoch == 2 and {len(values) for values in trace.history.values()} == {3}
    save_file({k: v[:1].clone() for k, v in history.items()}, tmp_path / HISTORY)
    with pytest.raises(MissingDataError, match="must have finished an epoch"):
        read_trace(tmp_path)


@pytest.mark.parametrize("epoch", [0, 7, 1.0, None, "1"])
def test_a_result_of_an_epoch_that_there_was_not(
    stopped: Path, tmp_path: Path, epoch: Any
) -> None:
    for name in ("config.json", "metrics.jsonl", HISTORY):
        (tmp_path / name).write_bytes((stopped / name).read_bytes())
    (tmp_path / "result.json").write_text(json.dumps({"metrics": {"epoch": epoch}}))
    with pytest.raises(DataError, match="the epoch derived must be one of 6, but is"):
        read_trace(tmp_path)


def test_variables_of_another_search(stopped: Path, tmp_path: Path) -> None:
    for name in ("config.json", "metrics.jsonl"):
        (tmp_path / name).write_bytes((stopped / name).read_bytes())
    history = load_file(stopped / HISTORY)
    wider = {name: values.repeat_interleave(2, 1) for name, values in history.items()}
    without = {name: values for name, values in history.items() if name != "beta.reduce"}
    whole = {name: values.long() for name, values in history.items()}
    for other in (wider, without, whole):
        save_file(other, tmp_path / HISTORY)
        with pytest.raises(DataError, match="must hold this search's variables"):
            read_trace(tmp_path)
