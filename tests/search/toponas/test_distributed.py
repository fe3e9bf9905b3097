from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from gnas.errors import ConfigError
from gnas.search.toponas import init_distributed
from tests import commands
from tests.conftest import ROOT
from tests.search.toponas.conftest import make_loaders, search, tiny
from tests.search.toponas.ranks import CONFIGS, Cells, run


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the searches with two gloo processes."""
    folder = tmp_path_factory.mktemp("ranks")
    done = commands.run(
        [sys.executable, "-m", "tests.search.toponas.ranks", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return folder


def of(ended: Path, name: str, rank: int = 0) -> dict[str, Tensor]:
    return load_file(ended / f"{name}-{rank}.safetensors")


def far(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    """Largest relative difference of what a search learned, in the norm of each variable."""
    return max(
        float((first[k] - second[k]).norm() / (first[k] - first[k][0]).norm()) for k in first
    )


@pytest.mark.parametrize("name", list(CONFIGS))
def test_both_processes_have_the_same_bits_after_every_epoch(ended: Path, name: str) -> None:
    first, second = of(ended, name), of(ended, name, 1)
    assert all(torch.equal(first[k], second[k]) for k in first)


def test_two_processes_equal_one_on_the_joined_batch(ended: Path) -> None:
    """Where images do not depend on each other; second order, milenas."""
    assert far(of(ended, "per_image"), run("per_image").history) < 1e-4


def test_with_batch_norm_two_processes_equal_one_that_takes_pieces(
    ended: Path,
) -> None:
    """Statistics are of one piece in one process: 2 processes are 2 pieces, and 4 are 2 x 2."""
    halves = search(replace(CONFIGS["batch_norm"], accumulate=2), build=Cells)
    quarters = search(replace(CONFIGS["batch_norm"], accumulate=4), build=Cells)
    whole = run("batch_norm")
    assert far(of(ended, "batch_norm"), halves.history) < 1e-4
    assert far(of(ended, "pieces"), quarters.history) < 1e-3  # Adam: +- noise / noise
    assert far(of(ended, "batch_norm"), whole.history) > 0.1  # it does matter


def test_a_resumed_search_of_two_processes(ended: Path) -> None:
    assert far(of(ended, "resumed"), run("resumed").history) < 1e-4
    lines = (ended / "run" / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 4


def test_a_difference_between_processes_stops_all_of_them(ended: Path) -> None:
    message = "alpha must have the same bits in all 2 processes, but 1 differ from the first"
    assert [(ended / f"error-{rank}").read_text() for rank in (0, 1)] == [message] * 2


def test_the_command_line_writes_and_reports_once(ended: Path) -> None:
    first, second = ((ended / f"command-{rank}").read_text() for rank in (0, 1))
    assert first.startswith("0\nGenotype(") and second == "0\n"
    assert json.loads((ended / "command" / "result.json").read_text())["processes"] == 2


def test_batches_that_cannot_be_shared_and_environments_that_cannot_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ConfigError, match="multiple of the 3 processes, but got 8"):
        make_loaders(tiny(), world=3)
    with pytest.raises(ConfigError, match=r"share of a batch must be a multiple of accumulate"):
        search(tiny(accumulate=4), loaders=make_loaders(tiny(batch_size=6)))
    for size in ("2", "", "many"):
        monkeypatch.setenv("WORLD_SIZE", size)
        with (
            pytest.raises(ConfigError, match="it, RANK and LOCAL_RANK must be numbers"),
            init_distributed("cpu"),
        ):
            pass
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("LOCAL_RANK", str(torch.cuda.device_count()))
    with pytest.raises(ConfigError, match="needs a GPU of its own"), init_distributed("cuda"):
        pass
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with (
        pytest.raises(ConfigError, match=r"2 processes must meet .* MASTER_ADDR expected"),
        init_distributed("cpu"),
    ):
        pass
