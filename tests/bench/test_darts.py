"""Predictors on a table of DARTS' cells in the layout that others published."""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import kendalltau
from typer.testing import CliRunner

from gnas.bench import darts
from gnas.bench.config import DARTSBench
from gnas.bench.darts import attainable_tau, bench_darts
from gnas.bench.setups import KnownValues
from gnas.cli import app
from gnas.data import load_table
from gnas.errors import ConfigError, DataError
from gnas.graphs import DenseBatch
from gnas.proxies import ProxyConfig, ProxyStore, compute_proxies
from gnas.spaces import Space, TopoNAS

COUNT = 30


def write(path: Path, **changes: list[object]) -> Path:
    """A table of random cells, the less accurate the more skip connections they have."""
    rng = np.random.default_rng(5)
    space = TopoNAS.darts()
    texts = [space.to_str(cell) for cell in space.sample_batch(COUNT, rng)]
    acc = [97 - 0.05 * text.count("skip") + rng.normal(0, 0.02) for text in texts]
    columns: dict[str, object] = {
        "genotype": texts,
        "test_acc_600": [value - 0.01 for value in acc],
        "test_acc_600_mean20": acc,
        "test_acc_100": [value - 6 + rng.normal(0, 0.1) for value in acc],
    }
    pq.write_table(pa.table(columns | changes), path)
    return path


@pytest.fixture(autouse=True)
def measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def compute(space: Space, graphs: DenseBatch, config: ProxyConfig) -> NDArray[np.float64]:
        return compute_proxies(space, graphs, config, store=_store(str(config)))

    monkeypatch.setattr(darts, "compute_proxies", compute)


@cache
def _store(config: str) -> ProxyStore:
    """What any experiment has measured with these settings."""
    return ProxyStore()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write(tmp_path_factory.mktemp("darts") / "cells.parquet"))


def test_cells_and_accuracies_are_those_of_the_file(path: str) -> None:
    table, rows = load_table(path), pq.read_table(path).to_pylist()
    assert table.provenance.space == "toponas" and table.provenance.kind == "partial"
    space = TopoNAS.darts()
    assert [space.to_str(table[k]) for k in range(COUNT)] == [row["genotype"] for row in rows]
    assert table.test_acc() == pytest.approx([row["test_acc_600_mean20"] / 100 for row in rows])
    early = table.metric("test_acc", epochs=100)
    assert early == pytest.approx([row["test_acc_100"] / 100 for row in rows])


def test_named_predictors_come_without_proxies(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def counted(space: Space, graphs: DenseBatch, config: ProxyConfig) -> NDArray[np.float64]:
        asked.append(config.proxies)
        return compute_proxies(space, graphs, config)

    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(darts, "compute_proxies", counted)
    config = DARTSBench(table=path, samples=(12,), seeds=1, encoders=(), predictors=("forest",))
    rows = bench_darts(config).rows
    assert asked == [("params",)]
    alone = {row.encoder for row in rows if row.predictor == "none"}
    assert {"number of parameters", "fewest skip connections"} <= alone
    assert not alone & {"synflow", "naswot"}


def test_rows_follow_from_the_table(path: str) -> None:
    config = DARTSBench(table=path, samples=(12,), seeds=2, encoders=("nasgem-toponas",))
    result = bench_darts(config)
    rows = {(row.predictor, row.encoder): row for row in result.rows}
    names = {"adjacency + ops", "nasgem-toponas"}
    assert names <= {encoder for predictor, encoder in rows if predictor == "MLP"}
    alone = {"number of parameters", "synflow", "naswot", "its own test_acc_100"}
    assert alone <= {encoder for predictor, encoder in rows if predictor == "none"}
    table, taus = load_table(path), []
    skips = [-table.graphs.data(k).edge_op.eq(2).sum() for k in range(COUNT)]
    for repetition in range(2):
        order = np.random.default_rng([0, 1, repetition]).permutation(COUNT)[12:]
        taus.append(kendalltau(np.array(skips)[order], table.test_acc()[order])[0])
    found = rows["none", "fewest skip connections"].kendall_tau
    assert found is not None and found.mean == pytest.approx(np.mean(taus)) and found.mean > 0.5
    assert result.ceiling == attainable_tau(table.test_acc(), 0.0009)


def test_what_is_known_of_isomorphic_cells_is_their_mean(path: str) -> None:
    cells = load_table(path).graphs
    rows = torch.tensor([3, 5, 3])
    column = KnownValues(cells[rows], np.array([1, 7, 2]), "drawn")
    assert column(cells[torch.tensor([5, 3])]).tolist() == [[7.0], [1.5]]


def test_the_ceiling_is_that_of_noisy_normal_scores() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(0.97, 0.002, 4000)
    measured = truth + rng.normal(0, 0.001, 4000)
    assert attainable_tau(measured, 0.001) == pytest.approx(
        kendalltau(truth, measured)[0], abs=0.02
    )
    assert attainable_tau(np.ones(9), 0.0) == 0  # nothing to rank
    assert attainable_tau(measured, 1.0) == 0 and math.isclose(attainable_tau(measured, 0.0), 1)


def test_the_command(path: str, tmp_path: Path) -> None:
    words = ["bench", "darts", "--table", path, "--samples", "12", "--seeds", "1"]
    done = CliRunner().invoke(app, [*words, "--encoders", "none", "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    assert f"PARTIAL, {COUNT} cells" in done.stdout and "Ceiling of Kendall tau" in done.stdout
    record = json.loads((tmp_path / "run" / "result.json").read_text())
    assert record["command"] == "bench darts" and record["config"]["encoders"] == []
    assert (tmp_path / "run" / "figures" / "kendall_tau.png").exists()


def test_impossible_tables(path: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="run_deviation must be at least 0"):
        DARTSBench(table=path, run_deviation=-1.0)
    with pytest.raises(ConfigError, match="must hold architectures of toponas"):
        bench_darts(DARTSBench(table="nasbench101-mini"))
    texts = list(pq.read_table(path)["genotype"].to_pylist())
    bad = write(tmp_path / "bad.parquet", genotype=[*texts[:-1], "Genotype(normal=[[('x', 1)]])"])
    with pytest.raises(DataError, match=f"row {COUNT - 1} of column 'genotype'"):
        load_table(bad)
    twice = write(tmp_path / "twice.parquet", genotype=[*texts[:-1], texts[0]])
    with pytest.raises(DataError, match="must occur once"):
        load_table(twice)
    large = write(tmp_path / "large.parquet", test_acc_600_mean20=[971.0] * COUNT)
    with pytest.raises(DataError, match="test_acc_600_mean20"):
        load_table(large)
    pq.write_table(pa.table({"genotype": texts}), tmp_path / "none.parquet")
    with pytest.raises(DataError, match="must have one of"):
        load_table(tmp_path / "none.parquet")
