"""Proxies of batches: rows, duplicates, files, and bad input."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gnas.errors import ConfigError, DataError, GraphError
from gnas.graphs import DenseBatch, graph_keys
from gnas.metrics import kendall_tau
from gnas.models import NASBench101NetworkConfig, num_macs, num_params
from gnas.predictors import ARDGaussianProcess, FeatureUnion, PathStatistics, ZeroCost
from gnas.proxies import (
    PROXIES,
    ProxyConfig,
    ProxyStore,
    compute_proxies,
    naswot,
    small_network,
    synflow,
)
from gnas.spaces import NASGEM, SPACES, NASBench101, NASBench201

SPACE = NASBench201()
SIZES = ProxyConfig(proxies=("params",))


def network_of(text: str) -> torch.nn.Module:
    graph = SPACE.from_str(text)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return SPACE.network(graph, small_network(SPACE))


@pytest.mark.parametrize("name", sorted(SPACES))
def test_rows_are_finite_and_those_of_each_alone(name: str, rng: np.random.Generator) -> None:
    space = SPACES[name]()
    batch = space.sample_batch(4, rng)
    before = torch.get_rng_state()
    rows = compute_proxies(space, batch)
    assert rows.shape == (4, len(PROXIES))
    assert np.isfinite(rows).all()
    assert rows.std(0).min() > 0
    assert (compute_proxies(space, batch[[2]]) == rows[2]).all()
    assert (compute_proxies(space, batch.pad_to(space.max_nodes)) == rows).all()
    assert torch.equal(torch.get_rng_state(), before)


def test_columns_are_the_proxies_of_the_cells_network() -> None:
    text = "|nor_conv_3x3~0|+|skip_connect~0|none~1|+|avg_pool_3x3~0|nor_conv_1x1~1|none~2|"
    (row,) = compute_proxies(SPACE, DenseBatch.from_data([SPACE.from_str(text)]))
    network = network_of(SPACE.to_str(SPACE.representative(batch_of(text)).data(0)))
    images = torch.randn(32, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert row[0] == synflow(network, images)
    assert row[1] == naswot(network, images)
    assert math.exp(row[2]) == pytest.approx(num_params(network))
    assert math.exp(row[3]) == pytest.approx(num_macs(network, (3, 8, 8)))


def batch_of(*texts: str) -> DenseBatch:
    return DenseBatch.from_data([SPACE.from_str(text) for text in texts])


def test_cells_of_one_function_are_measured_once() -> None:
    steps: list[tuple[int, int | None]] = []
    dead = "|none~0|+|nor_conv_3x3~0|nor_conv_1x1~1|+|none~0|none~1|nor_conv_1x1~2|"
    skip = "|skip_connect~0|+|none~0|nor_conv_3x3~1|+|none~0|none~1|nor_conv_1x1~2|"
    other = "|skip_connect~0|+|none~0|nor_conv_3x3~1|+|none~0|none~1|nor_conv_3x3~2|"
    rows = compute_proxies(
        SPACE, batch_of(dead, skip, other, dead), progress=lambda *step: steps.append(step)
    )
    assert steps == [(1, 2), (2, 2)]
    assert (rows[0] == rows[1]).all() and (rows[0] == rows[3]).all()
    assert (rows[0] != rows[2]).all()


def test_representatives_of_nasbench201_compute_the_same_without_dead_operations() -> None:
    cells = SPACE.enumerate()
    chosen = SPACE.representative(cells)
    keys = graph_keys(SPACE.functional_form(cells))
    assert (graph_keys(SPACE.functional_form(chosen)) == keys).all()
    convolutions = [((b.adjacency == 2) | (b.adjacency == 3)).sum((1, 2)) for b in (chosen, cells)]
    assert (convolutions[0] <= convolutions[1]).all()
    rows = chosen.adjacency.flatten(1).long() @ 5 ** torch.arange(16)
    assert len(np.unique(rows.numpy())) == len(np.unique(keys)) == 5_425


def test_isomorphic_cells_of_nasbench101_share_a_row() -> None:
    space = NASBench101()
    inner = ("conv3x3-bn-relu", "maxpool3x3")  # side by side
    twins = [space.from_str(f"input,{a},{b},output|33") for a, b in (inner, inner[::-1])]
    rows = compute_proxies(space, DenseBatch.from_data(twins))
    assert (rows[0] == rows[1]).all()


def test_a_file_remembers_and_a_stopped_measurement_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "new" / "proxies.jsonl"
    cells = SPACE.enumerate()[[3_400, 10_000, 12_345, 15_001]]
    plain = compute_proxies(SPACE, cells, SIZES)
    store = ProxyStore(path)
    assert (compute_proxies(SPACE, cells[[0, 2]], SIZES, store=store) == plain[[0, 2]]).all()
    text = path.read_text()
    assert len(text.splitlines()) == 3
    path.write_text(text + '{"architecture": "|none~0|+|no')  # killed while it wrote
    again = ProxyStore(path)
    assert (compute_proxies(SPACE, cells, SIZES, store=again) == plain).all()
    assert len(again) == 4
    first, *records = [json.loads(line) for line in path.read_text().splitlines()]
    assert first["space"] == SPACE.name
    assert len(records) == 4


def test_a_store_of_something_else_is_named(tmp_path: Path) -> None:
    path = tmp_path / "proxies.jsonl"
    compute_proxies(SPACE, SPACE.enumerate()[[7]], SIZES, store=ProxyStore(path))
    other = ProxyConfig(proxies=("params",), seed=1)
    with pytest.raises(
        ConfigError,
        match=r"in .*proxies.jsonl seed is 0, not 1",
    ):
        compute_proxies(SPACE, SPACE.enumerate()[[7]], other, store=ProxyStore(path))
    with pytest.raises(ConfigError, match=r"space is .nasbench201., not .nasbench101."):
        cells = NASBench101().sample_batch(1, np.random.default_rng(0))
        compute_proxies(NASBench101(), cells, SIZES, store=ProxyStore(path))
    first = path.read_text().splitlines(keepends=True)[0]
    for text in ("3", "3\n", "notes\n", '{"a": 1}\n', first + "{}\n"):
        path.write_text(text)
        with pytest.raises(DataError, match="must hold proxies, but is damaged: "):
            compute_proxies(SPACE, SPACE.enumerate()[[7]], SIZES, store=ProxyStore(path))
        assert path.read_text() == text  # whatever it was, it is as it was
    with pytest.raises(DataError, match="must be a file to read and write, but: Is a directory"):
        compute_proxies(SPACE, SPACE.enumerate()[[7]], SIZES, store=ProxyStore(tmp_path))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"proxies": ("grasp",)}, r"proxies must be some of \['synflow', .*but got \('grasp',\)"),
        ({"proxies": ()}, r"proxies must be some of .*but got \(\)"),
        ({"image_size": 2}, "image_size must be at least 4, but got 2"),
        ({"num_images": 1}, "num_images must be at least 2, but got 1"),
    ],
)
def test_bad_options_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ProxyConfig(**options)  # type: ignore[arg-type]


def test_graphs_and_networks_of_another_space_are_named(rng: np.random.Generator) -> None:
    cells = NASGEM(5).sample_batch(2, rng)
    with pytest.raises(GraphError, match="3 node ops and some edge ops, but got 2"):
        ZeroCost(SPACE)(cells)
    with pytest.raises(GraphError, match="num_edge_ops must be 0 exactly where"):
        compute_proxies(SPACE, cells)
    wrong = ProxyConfig(network=NASBench101NetworkConfig())
    with pytest.raises(ConfigError, match="'nasbench201' must have a NASBench201NetworkConfig"):
        compute_proxies(SPACE, SPACE.enumerate()[[7]], wrong)
    roles = SPACE.enumerate()[[7, 12_345]]
    roles.ops[1, 1] = 2
    with pytest.raises(GraphError, match="graphs must be cells of 'nasbench201', but graph 1 is"):
        compute_proxies(SPACE, roles)


def test_predictors_take_proxies_alone_and_beside_counts(rng: np.random.Generator) -> None:
    cells = SPACE.sample_batch(60, rng)
    alone = ZeroCost(SPACE, ProxyConfig(proxies=("params", "synflow")))
    assert alone.name == "params, synflow"
    assert alone == ZeroCost(SPACE, alone.config)
    assert alone(cells[:0]).shape == (0, 2)
    assert alone(cells).shape == (60, 2)
    measured, scores = len(alone.store), alone(cells).sum(1)
    both = FeatureUnion((PathStatistics(SPACE), alone))
    predictor = ARDGaussianProcess(both).fit(cells[:40], scores[:40])
    assert kendall_tau(predictor.predict(cells[40:]), scores[40:]) > 0.8
    assert len(alone.store) == measured  # no network was built again


@pytest.mark.parametrize("name", sorted(SPACES))
@pytest.mark.parametrize(
    "measure",
    [naswot, synflow, lambda network, images: num_macs(network, tuple(images.shape[1:]))],
    ids=["naswot", "synflow", "num_macs"],
)
def test_images_of_other_channels(
    name: str, measure: Callable[[nn.Module, Tensor], float], rng: np.random.Generator
) -> None:
    space = SPACES[name]()
    network = space.network(space.sample(rng), small_network(space))
    with pytest.raises(
        ConfigError, match=r"must have 3 channels, as the .* takes .*, but have 1$"
    ):
        measure(network, torch.zeros(4, 1, 32, 32))
    assert network.training
    inner = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(3, 4, 3))  # cannot be mended so
    with pytest.raises(RuntimeError, match=r"\[., 4, 30, 30\] to have 3 channels"):
        measure(inner, torch.zeros(4, 1, 32, 32))
