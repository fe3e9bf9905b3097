"""Predictors on tables of any space."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gnas.bench.config import NASGEMBench, PredictorsBench
from gnas.bench.nasgem import bench_nasgem
from gnas.bench.predictors import bench_predictors
from gnas.bench.result import Row
from gnas.bench.tables import smaller_is_better
from gnas.data import BenchmarkTable, Column, Provenance, load_table, save_table
from gnas.errors import ConfigError
from gnas.graphs import graph_keys
from gnas.spaces import load_space

OWN = """
from gnas.spaces import DagSpace, EdgeOpSpace

dag = DagSpace(ops=("conv", "pool"), max_nodes=6)
edges = EdgeOpSpace(num_nodes=4, edge_ops=("no", "skip", "conv", "pool"), none="no", skip="skip")
"""


def own_table(folder: Path, name: str, *quantities: str) -> PredictorsBench:
    """A table of a space of one's own, whose scores are numbers of edges and noise."""
    (folder / "own.py").write_text(OWN)
    space = load_space(f"{folder / 'own.py'}:{name}")
    graphs, rng = space.enumerate(), np.random.default_rng(0)
    rows = np.unique(graph_keys(graphs), return_index=True)[1]
    graphs = graphs[torch.from_numpy(rng.choice(rows, 60, replace=False))]
    worth = (graphs.adjacency > 0).sum((1, 2)).numpy() / 40
    columns = [Column.of(quantity) for quantity in quantities]
    values = {column.name: worth + rng.normal(0, 0.002, 60) for column in columns}
    facts = Provenance.of(space, name, source="these tests", kind="self-made", note="made up")
    save_table(BenchmarkTable(graphs, columns, facts, values), folder / f"{name}.parquet")
    return PredictorsBench(
        space=f"{folder / 'own.py'}:{name}", table=str(folder / f"{name}.parquet"), samples=(30,),
        seeds=2, predictors=("mlp", "forest"),
    )  # fmt: skip


def by_label(rows: tuple[Row, ...]) -> dict[str, Row]:
    return {row.label: row for row in rows}


@pytest.mark.parametrize("name", ["dag", "edges"])
def test_a_table_of_ones_own_space(name: str, tmp_path: Path) -> None:
    config = own_table(tmp_path, name, "val_acc", "test_acc")
    result = bench_predictors(config)
    assert (result.command, result.quantity) == ("bench predictors", "test_acc")
    assert result.table["train_column"] == "val_acc" and result.table["test_column"] == "test_acc"
    rows = by_label(result.rows)
    size, forest = rows["number of edges"], rows["random forest: adjacency + ops + op counts"]
    assert size.kendall_tau is not None and size.kendall_tau.mean > 0.8
    assert forest.kendall_tau is not None and forest.kendall_tau.mean > 0.2
    has_twins = name == "edges"
    assert (forest.kendall_tau_no_twins is not None) == has_twins
    assert bench_predictors(config, workers=2).rows == result.rows


def test_rows_are_those_of_the_experiment_of_a_built_in_space() -> None:
    options = dict(table="nasgem-mini", samples=(50,), seeds=2, predictors=("forest",))
    ours = bench_predictors(PredictorsBench(space="nasgem", **options))  # type: ignore[arg-type]
    theirs = bench_nasgem(NASGEMBench(encoders=(), **options))  # type: ignore[arg-type]
    expected = by_label(theirs.rows)
    for label, row in by_label(ours.rows).items():
        gain = row.kendall_tau_gain and expected[label].kendall_tau_gain
        assert replace(row, kendall_tau_gain=gain) == replace(
            expected[label], neighbours_r2=None, kendall_tau_gain=gain
        )
    assert (ours.ceiling, ours.best_score) == (theirs.ceiling, theirs.best_score)


def test_one_kind_of_accuracy_is_learned_and_ranked_by(tmp_path: Path) -> None:
    config = own_table(tmp_path, "dag", "val_acc")
    result = bench_predictors(replace(config, predictors=("forest",)))
    assert result.table["train_column"] == result.table["test_column"] == "val_acc"
    assert result.ceiling == 1.0


def test_the_best_latency_is_the_smallest(tmp_path: Path) -> None:
    config = own_table(tmp_path, "dag", "latency_ms", "quality")
    named = replace(config, predictors=("forest",), train_column="latency_ms")
    result = bench_predictors(replace(named, test_column="latency_ms"))
    table = load_table(config.table)
    latency = table.values("latency_ms")
    size = (table.graphs.adjacency > 0).sum((1, 2)).numpy()
    fastest, ranks, samples = [], [], []
    for repetition in range(2):
        draw = np.random.default_rng([config.seed, 1, repetition]).permutation(60)
        rest = np.sort(draw[30:])
        chosen = sorted(rest, key=lambda row: size[row])[:10]  # by the least edges
        fastest.append(latency[chosen[0]])
        ranks.append(1 + int((latency[rest] < latency[chosen].min()).sum()))
        samples.append(latency[draw[:30]].min())
    rows = by_label(result.rows)
    edges = rows["number of edges"]
    assert edges.kendall_tau is not None and edges.kendall_tau.mean > 0.8
    assert edges.n_at_10 is not None and edges.n_at_10.mean == np.mean(ranks)
    assert edges.picked_score.mean == pytest.approx(np.mean(fastest))
    assert edges.global_bias.mean == pytest.approx(np.mean(fastest) - latency.min())
    assert rows["best of the samples"].picked_score.mean == pytest.approx(np.mean(samples))
    assert (result.best_score, result.smaller_is_better) == (latency.min(), True)
    # nothing says which way a measure of another name is better: the largest is, as of a score
    other = bench_predictors(replace(named, train_column="quality", test_column="quality"))
    assert (other.best_score, other.smaller_is_better) == (table.values("quality").max(), False)


def test_columns_must_agree_on_what_is_better(tmp_path: Path) -> None:
    config = own_table(tmp_path, "dag", "latency_ms", "val_acc")
    with pytest.raises(ConfigError, match=r"the largest val_acc and the smallest latency_ms is"):
        bench_predictors(replace(config, train_column="val_acc", test_column="latency_ms"))
    for train, test in (("val_loss", "quality"), ("test_acc", "val_error")):
        with pytest.raises(ConfigError, match=f" {train} and the .* {test} is the best"):
            smaller_is_better(train, test)
    assert smaller_is_better("mse", "latency_ms") and not smaller_is_better("mse", "quality")


def test_what_a_table_must_have(tmp_path: Path) -> None:
    config = own_table(tmp_path, "dag", "latency_ms")
    with pytest.raises(
        ConfigError, match=r"must have a val_acc or a test_acc, but has.*latency_ms"
    ):
        bench_predictors(config)
    named = replace(config, train_column="latency_ms", test_column="latency_ms")
    assert bench_predictors(replace(named, predictors=("forest",))).quantity == "latency_ms"
    with pytest.raises(ConfigError, match="must hold architectures of"):
        bench_predictors(replace(config, space="nasgem"))
    assert load_table(config.table).provenance.name == "dag"
