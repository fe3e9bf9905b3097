"""Every method searches every space that has a supernet, a stranger's included."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gnas.errors import ConfigError, GraphError, UnsupportedError
from gnas.search.toponas import (
    ArchParameters,
    SearchRecord,
    SupernetSearchResult,
    ToponasConfig,
    search_space,
    search_toponas,
    supernets_of,
)
from gnas.search.toponas.config import BASELINES, EIGENVALUE_WINDOW, SIZES
from gnas.search.toponas.plan import plan_search
from gnas.search.toponas.stopping import early_end, sharpening, smooth_eigenvalues
from gnas.spaces import SPACES, load_space
from gnas.topology import enumerate_joint
from tests.search.toponas.conftest import make_loaders, search, tiny

NB201: dict[str, Any] = {
    "space": "nasbench201", "num_nodes": 4, "channels": 8, "num_cells": 1, "epochs": 1,
}  # fmt: skip
WAYS: dict[str, dict[str, Any]] = {
    "arbitrary": {},
    "fixed": {"topology": "fixed"},
    "fixed-1": {"topology": "fixed", "k": 1},
    "input": {"topology": "fixed", "mode": "input"},
    "input-arbitrary": {"mode": "input"},
    "joint": {"update": "joint"},
    "second-order": {"order": 2},
    "milenas": {"method": "milenas"},
    "partial": {"partial": 4, "edge_norm": True},
    "gumbel": {"relaxation": "gumbel", "samples": 2},
    "snas": {"relaxation": "gumbel", "samples": 0},
    "dirichlet": {"relaxation": "dirichlet", "update": "joint"},
    "penalty": {"alpha_penalty": 1.0, "epochs": 2},
    "warm-up": {"warmup_share": 0.5, "epochs": 2},
    **{name: fields for name, fields in BASELINES.items() if name != "darts-outputs"},
    "darts-second": {**BASELINES["darts"], "order": 2},
}


def search_201(config: ToponasConfig, **options: Any) -> SupernetSearchResult:
    return search_toponas(search_space(config), make_loaders(config), config, **options)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_on_nasbench201(way: str) -> None:
    config = tiny(**{**NB201, **WAYS[way]})
    result = search_201(config)
    space = SPACES["nasbench201"]()
    space.validate(result.architecture)
    assert result.text == space.to_str(result.architecture) == result.metrics["genotype"]
    assert math.isfinite(result.metrics["train_loss"])
    assert ("beta.cell" in result.history) == config.learns_topology
    still = {"scale"} if not config.learns_topology else set()
    for name, values in result.history.items():
        assert torch.equal(values[0], values[-1]) == (name.split(".")[0] in still), name
    if config.learns_topology:
        codes = supernets_of(config).codes(config.topology, config.k, config.mode)  # type: ignore[arg-type]
        kept = result.bilevel.arch.derive()["cell"].edges
        assert any(torch.equal(kept, mask) for masks in enumerate_joint(codes) for mask in masks)
        assert bool(codes.is_valid(kept))
    with pytest.raises(GraphError):
        _ = result.genotype


@pytest.mark.parametrize("way", ["snas", "gdas", "drnas", "pc-darts", "beta-darts", "darts-es"])
def test_published_methods_on_darts_cells(way: str) -> None:
    config = tiny(**{**BASELINES[way], "channels": 8, "epochs": 2})
    with_topology = replace(config, topology="fixed", mode="output")
    for chosen in (config, with_topology):
        result, space = search(chosen), search_space(chosen)
        space.validate(result.architecture)
        assert result.text == space.to_str(result.architecture)
        assert math.isfinite(result.metrics["train_loss"])
        assert any(name.startswith("beta") for name in result.history) == chosen.learns_topology
        alphas = [values for name, values in result.history.items() if name.startswith("alpha")]
        assert alphas and not any(torch.equal(values[0], values[-1]) for values in alphas)


def test_topologies_of_a_nasbench201_cell() -> None:
    form = SPACES["nasbench201"]().supernets
    assert form is not None and form.edges == ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
    assert form.codes("arbitrary", 2, "output").sizes == (7, 3, 1)
    assert form.codes("fixed", 2, "output").sizes == (3, 2, 1)
    assert form.codes("arbitrary", 2, "input").sizes == (1, 3, 7)
    assert form.codes("arbitrary", 2, "output").num_valid == 10
    for mode in ("output", "input"):
        codes = form.codes("arbitrary", 2, mode)
        masks = torch.cat(list(enumerate_joint(codes, valid_only=True)))
        assert len(masks) == codes.num_valid


def test_without_topology_an_edge_goes_where_none_is_best() -> None:
    arch = ArchParameters(tiny(**{**NB201, **BASELINES["darts"]}))
    assert arch.alpha["cell"].shape == (6, 5)
    with torch.no_grad():
        arch.alpha["cell"].zero_()
        arch.alpha["cell"][:, 2] = 1.0  # the 3x3 convolution
        arch.alpha["cell"][3:5, 4] = 2.0  # none
        arch.alpha["cell"][5, 0] = 1.5
    cell = arch.derive()["cell"]
    assert cell.edges.tolist() == [True] * 3 + [False] * 2 + [True]
    assert cell.ops.tolist()[:3] == [2, 2, 2] and cell.ops[5] == 0
    assert cell.skip_share == 0.25
    with torch.no_grad():
        arch.alpha["cell"][:, 4] = 9.0
    empty = arch.derive()["cell"]
    assert not empty.edges.any() and empty.skip_share == 0


@pytest.mark.parametrize("way", ["gumbel", "dirichlet"])
def test_a_search_that_draws_resumes_to_the_same_bits(tmp_path: Path, way: str) -> None:
    config = tiny(**{**NB201, **WAYS[way], "epochs": 3})

    class Killed(Exception):
        pass

    def kill(progress: Any) -> None:
        if progress.step == 3:
            raise Killed

    whole = search_201(config)
    record = SearchRecord(tmp_path, {"config": config}, every_s=0)
    with pytest.raises(Killed):
        search_201(config, record=record, report=kill)
    again = search_201(config, record=SearchRecord(tmp_path, {"config": config}, resume=True))
    for name in whole.history:
        assert torch.equal(whole.history[name], again.history[name])
    for mine, theirs in zip(whole.bilevel.w, again.bilevel.w, strict=True):
        assert torch.equal(mine, theirs)


def test_the_curvature_can_end_a_search() -> None:
    epochs = [{"eigenvalue": v} for v in (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.2, 1.2)]
    assert smooth_eigenvalues(epochs)[-1] == pytest.approx(1.08)
    assert sharpening(epochs, 0.75) is None and sharpening(epochs[:5], 0.75) is None
    told = sharpening([*epochs, {"eigenvalue": 4.0}], 0.75)
    assert told is not None and "is that of epoch 4" in told
    falling = [{"eigenvalue": -v} for v in (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0)]
    assert sharpening(falling, 0.75) is None
    # whichever way it goes, an eigenvalue below nearly all of today's ends the search
    config = tiny(**{**NB201, "epochs": 8, "arch_lr": 0.5, "stop_eigenvalue": 0.999999, "seed": 2})
    result = search_201(config)
    values = smooth_eigenvalues(result.epochs)
    if result.stopped is not None:
        chosen = len(result.epochs) - EIGENVALUE_WINDOW
        assert values[chosen - 1] < values[-1] and result.metrics["epoch"] == chosen
        cell = result.bilevel.arch.snapshot()["alpha.cell"]
        assert torch.equal(cell, result.history["alpha.cell"][chosen])
        assert result.text == result.epochs[chosen - 1]["genotype"]
    else:
        assert len(result.epochs) == 8


def test_no_search_ends_by_what_happens_before_alpha_learns() -> None:
    """The weights alone sharpen the loss, and random alphas may prefer skip connections."""
    config = tiny(**{**NB201, "epochs": 20, "warmup_share": 0.35, "stop_eigenvalue": 0.75})
    epochs = [{"eigenvalue": 2.0 ** min(e, 7), "skip_share_cell": 1.0} for e in range(13)]
    ends = [early_end(config, epochs[:count], "cell") for count in range(1, 14)]
    assert ends == [(None, None)] * 13
    sharp = [*epochs, {"eigenvalue": 2.0**9, "skip_share_cell": 0.0}]
    reason, chosen = early_end(config, sharp, "cell")
    assert reason is not None and "rose from 128 to 205 in 5 epochs" in reason
    assert "is that of epoch 9" in reason and chosen == 9
    skipping = replace(config, stop_skip_share=0.9)
    assert early_end(skipping, epochs[:7], "cell") == (None, None)
    told, _ = early_end(skipping, epochs[:8], "cell")
    assert told is not None and "after epoch 8" in told


STRANGER = '''
from gnas.spaces.nasbench201 import NASBench201
from gnas.spaces.supernets import Supernets
from dataclasses import replace


class Mine(NASBench201):
    """As NAS-Bench-201, but every node keeps its strongest edges."""

    name = "mine"

    @property
    def supernets(self):
        return replace(super().supernets, prunes=True)
'''


def test_a_space_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(STRANGER)
    name = f"{tmp_path / 'mine.py'}:Mine"
    plan = plan_search(space=name, baseline="darts-outputs", channels=8, num_cells=1)
    assert plan.config.num_nodes == 4 and plan.config.space == name
    config = replace(plan.config, batch_size=8, epochs=1)
    result = search_toponas(load_space(name), make_loaders(config), config)
    assert int(result.bilevel.arch.derive()["cell"].edges.sum()) == 4


def test_what_does_not_fit() -> None:
    with pytest.raises(UnsupportedError, match="a space with a supernet, but 'nasgem' has none"):
        plan_search(space="nasgem")
    with pytest.raises(ConfigError, match="num_nodes must be 4 on 'nasbench201', but got 7"):
        plan_search(space="nasbench201", num_nodes=7)
    with pytest.raises(ConfigError, match="mode must be 'input'; choose --baseline darts"):
        plan_search(space="nasbench201", baseline="darts-outputs")
    with pytest.raises(ConfigError, match=r"preset 'cpu' .* 'darts' have none, those in nasb"):
        plan_search(size="cpu")
    with pytest.raises(ConfigError, match=r"unknown preset 'x' .* \['cpu', 'paper'\]"):
        plan_search(space="nasbench201", size="x")
    with pytest.raises(ConfigError, match="warmup_share must be below 1"):
        tiny(warmup_share=1)
    assert plan_search(space="nasbench201").config == SIZES["nasbench201"]["cpu"]()
    assert plan_search(space="nasbench201", size="paper").config.channels == 16
    pc = plan_search(space="nasbench201", baseline="pc-darts").config
    assert [pc.learns_arch(epoch) for epoch in range(20)] == [False] * 6 + [True] * 14
