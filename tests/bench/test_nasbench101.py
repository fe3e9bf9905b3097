from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from gnas.bench.config import NASBench101Bench
from gnas.bench.experiment import draw_rows
from gnas.bench.nasbench101 import (
    ENCODERS,
    bench_nasbench101,
    hide_operations,
    make_task,
    one_operation_list,
    usable_rows,
)
from gnas.bench.result import BenchResult
from gnas.cli.bench import best_sample_note
from gnas.data import BenchmarkTable, load_table, save_table
from gnas.data.columns import Column, Provenance
from gnas.errors import ConfigError, MissingDataError
from gnas.graphs import DenseBatch, graph_hash
from gnas.metrics import Interval, kendall_tau
from gnas.models import nasbench101_num_params
from gnas.predictors import Forest, OneHot
from gnas.runs import to_jsonable
from gnas.spaces import NASBench101, NASBench201


@pytest.fixture(scope="module")
def result(table_path: str) -> BenchResult:
    config = NASBench101Bench(samples=(40, 48), seeds=2, encoders=(), table=table_path)
    return bench_nasbench101(config)


def test_any_number_of_workers_finds_the_same(result: BenchResult) -> None:
    assert isinstance(result.config, NASBench101Bench)
    told: list[tuple[int, int | None]] = []
    other = bench_nasbench101(
        result.config, workers=2, progress=lambda done, total: told.append((done, total))
    )
    assert other.rows == result.rows
    fits = 2 * sum(row.kendall_tau is not None for row in result.rows)
    assert told == [(done, fits) for done in range(1, fits + 1)]
    with pytest.raises(ConfigError, match="workers must be at least 1, but got 0"):
        bench_nasbench101(result.config, workers=0)


def test_the_record_has_the_promised_shape(result: BenchResult, table_path: str) -> None:
    record = to_jsonable(result)
    top = {"command", "config", "table", "rows", "ceiling", "seconds"}
    assert top <= set(record)
    facts = {"name", "path", "sha256", "rows", "provenance", "usable", "candidates"}
    assert facts <= set(record["table"])
    assert record["table"]["provenance"] == "self-made"
    assert record["table"]["path"] == table_path
    assert record["table"]["rows"] == record["table"]["usable"] == 160
    names = {"predictor", "encoder", "samples", "seeds", "kendall_tau", "spearman", "global_bias"}
    for row in record["rows"]:
        assert names <= set(row)
        assert set(row["global_bias"]) == {"mean", "low", "high"}
    sees = [(row["samples"], row["encoder"]) for row in record["rows"]]
    for n in (40, 48):
        for name in ("number of parameters", "best of the samples", "random pick"):
            assert (n, name) in sees


def test_numbers_follow_from_the_table(result: BenchResult, table_path: str) -> None:
    """The rows without learning, recomputed from the protocol's words."""
    table = load_table(table_path)
    val_acc, test_acc = table.val_acc(), table.test_acc()
    assert result.best_score == test_acc.max()
    assert result.ceiling == pytest.approx(kendall_tau(val_acc, test_acc))
    assert result.agreement_between_runs == pytest.approx(
        kendall_tau(table.val_acc(1), table.val_acc(2))
    )
    params = nasbench101_num_params(table.graphs)
    taus, picks, best_samples = [], [], []
    for repetition in range(2):
        order = np.random.default_rng([0, 1, repetition]).permutation(160)
        rest = np.sort(order[40:])
        taus.append(kendall_tau(params[rest], test_acc[rest]))
        picks.append(test_acc[rest[params[rest].argmax()]])
        best_samples.append(test_acc[order[:40][val_acc[order[:40]].argmax()]])
    row = next(r for r in result.rows if r.encoder == "number of parameters")
    assert row.samples == 40 and row.kendall_tau is not None
    assert row.kendall_tau.mean == pytest.approx(np.mean(taus))
    assert row.picked_score.mean == pytest.approx(np.mean(picks))
    assert row.global_bias.mean == pytest.approx(test_acc.max() - np.mean(picks))
    assert np.isnan([row.kendall_tau.low, row.kendall_tau.high]).all()  # of two seeds
    row = next(r for r in result.rows if r.encoder == "best of the samples")
    assert row.picked_score.mean == pytest.approx(np.mean(best_samples))
    assert row.kendall_tau is None and row.kendall_tau_gain is None


def test_predictors_beat_chance_and_gains_are_paired(result: BenchResult) -> None:
    learned = [r for r in result.rows if r.kendall_tau and r.predictor != "none"]
    assert len(learned) == 2 * 4
    assert all(r.kendall_tau.mean > 0.5 for r in learned if r.kendall_tau)
    raw = {r.samples: r for r in learned if r.predictor == "MLP"}
    for row in learned:
        reference = raw[row.samples].kendall_tau
        if row.kendall_tau_gain is None:
            assert row is raw[row.samples]
        else:
            assert row.kendall_tau and reference
            gain = row.kendall_tau.mean - reference.mean
            assert row.kendall_tau_gain.mean == pytest.approx(gain)


def test_same_seed_same_numbers(result: BenchResult, table_path: str) -> None:
    config = NASBench101Bench(samples=(48,), seeds=2, encoders=(), table=table_path)
    again = bench_nasbench101(config)
    assert again.rows == tuple(row for row in result.rows if row.samples == 48)
    other = bench_nasbench101(replace(config, seed=1, seeds=1))
    assert {row.picked_score.mean for row in other.rows} != {
        row.picked_score.mean for row in again.rows
    }


def test_encoders_take_part_alone_and_beside_operations(table_path: str) -> None:
    calls: list[tuple[int, int | None]] = []
    config = NASBench101Bench(samples=(40,), seeds=1, encoders=ENCODERS[:1], table=table_path)
    result = bench_nasbench101(config, progress=lambda done, total: calls.append((done, total)))
    sees = [row.encoder for row in result.rows]
    assert ENCODERS[0] in sees
    assert f"{ENCODERS[0]} + ops" in sees and f"exact kernel of {ENCODERS[0]}" in sees
    assert calls == [(i, 8) for i in range(1, 9)]
    assert to_jsonable(result)["rows"][0]["kendall_tau"]["low"] is None  # one seed: no interval


def test_one_operation_list_is_the_most_frequent() -> None:
    space = NASBench101()
    a, b, c = "conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3"
    texts = [
        f"input,{a},{b},output|25",
        f"input,{b},{a},output|25",
        f"input,{a},{c},output|25",
        f"input,{a},output|5",
        f"input,{b},{a},output|35",
    ]
    batch = DenseBatch.from_data([space.from_str(text) for text in texts])
    rows = one_operation_list(batch)
    assert rows.tolist() == [0, 1, 4]
    hidden = hide_operations(batch[rows.tolist()])
    assert hidden.ops.tolist() == [[0, 1, 1, 4]] * 3
    assert torch.equal(hidden.adjacency, batch.adjacency[rows.tolist()])
    assert batch.ops[0].tolist() == [0, 1, 2, 4]  # the caller's graphs stay as they were


def test_fixed_operations_hide_them_from_predictors(table_path: str) -> None:
    config = NASBench101Bench(
        samples=(8,), seeds=2, encoders=ENCODERS[:1], table=table_path, ops="fixed"
    )
    result = bench_nasbench101(config)
    table = load_table(table_path)
    rows = usable_rows(table.graphs, fixed=True)
    assert 8 < len(rows) < len(table)
    assert result.table["usable"] == len(rows)
    lists = {tuple(sorted(ops)) for ops in table.graphs.ops[rows.tolist()].tolist()}
    assert len(lists) == 1
    assert result.best_score == table.test_acc()[rows].max()
    task = make_task(table, rows, config)
    assert torch.equal(task.graphs.ops, table.graphs.ops[rows.tolist()])
    assert set(task.visible_graphs.ops.flatten().tolist()) <= {-1, 0, 1, 4}
    assert not any("ops" in row.encoder for row in result.rows)
    keys = [graph_hash(graph) for graph in task.visible_graphs]
    mean = [np.mean([b for k, b in zip(keys, task.true_scores, strict=True) if k == key])
            for key in keys]  # fmt: skip
    assert result.ceiling == pytest.approx(kendall_tau(mean, task.true_scores))
    assert (
        f"each of the {len(set(keys))} wirings of these {len(rows)}" in result.protocol["ceiling"]
    )


def test_published_cells_have_few_wirings(shared_data: Callable[[str], Path]) -> None:
    """What the cards and the docs say of the 4,400 cells, from the file's own texts."""
    path = shared_data("nasbench101/nasbench101_partial.parquet")
    texts = pq.read_table(path, columns=["adjacency", "num_vertices"]).to_pydict()
    pairs = list(zip(texts["adjacency"], texts["num_vertices"], strict=True))
    assert len(pairs) == 4400 and len(set(pairs)) == 83
    assert all(text[i * n + i + 1] == "1" for text, n in pairs for i in range(n - 1))
    table = load_table(path)
    assert len(set(graph_hash(hide_operations(table.graphs)))) == 83
    config = NASBench101Bench(samples=(50,), seeds=1, encoders=(), table=str(path), ops="fixed")
    result = bench_nasbench101(config)
    assert result.table["usable"] == 593
    assert "each of the 60 wirings of these 593 cells" in result.protocol["ceiling"]
    assert "itself, 0.897, is out of reach" in result.protocol["ceiling"]
    assert round(result.ceiling, 3) == 0.511


def interval(mean: float) -> Interval:
    return Interval(mean, mean, mean)


@pytest.mark.parametrize(("pick", "noted"), [(0.3, True), (0.5, False)])
def test_a_best_sample_above_every_pick_is_explained(
    result: BenchResult, pick: float, noted: bool
) -> None:
    rows = [row for row in result.rows if row.samples == 40]
    ranked = [replace(row, picked_score=interval(0.2)) for row in rows if row.kendall_tau]
    ranked[-1] = replace(ranked[-1], picked_score=interval(pick))
    others = [replace(row, picked_score=interval(0.4)) for row in rows if not row.kendall_tau]
    note = best_sample_note([*ranked, *others], result)
    assert ("the samples are 25% of all cells" in note) == noted == bool(note)
    latencies = replace(result, quantity="latency_ms")
    assert not best_sample_note([*ranked, *others], latencies)  # 0.2 is below 0.4
    large = replace(result, table={**result.table, "usable": 15_625})
    assert ("are 0.26% of all cells" in best_sample_note([*ranked, *others], large)) == noted


def test_isomorphic_repetitions_count_once(caplog: pytest.LogCaptureFixture) -> None:
    cells = NASBench101().enumerate()[:50]
    rows = usable_rows(DenseBatch.concat([cells, cells[:3]]), fixed=False)
    assert rows.tolist() == list(range(50))
    assert "3 isomorphic repetitions" in caplog.text


def test_a_pool_smaller_than_the_table_bounds_the_candidates(table_path: str) -> None:
    rows = draw_rows(1000, 20, 7)
    assert len(set(rows.tolist())) == 20 and (np.diff(rows) > 0).all()
    assert (draw_rows(1000, 20, 7) == rows).all()
    assert draw_rows(30, 40, 7).tolist() == list(range(30))
    config = NASBench101Bench(samples=(30,), encoders=(), table=table_path, pool=60)
    result = bench_nasbench101(replace(config, seeds=1))
    assert result.table["candidates"] == 60
    assert result.table["usable"] == 160
    table = load_table(table_path)
    allowed = table.test_acc()[draw_rows(160, 60, 0)]
    for row in result.rows:
        if row.encoder != "best of the samples":
            assert row.picked_score.mean in allowed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": (0,)}, r"samples\[0\] must be at least 2, but got 0"),
        ({"samples": (-5,)}, r"samples\[0\] must be at least 2"),
        ({"samples": ()}, "samples must be at least one"),
        ({"samples": (5, 5)}, "samples must differ"),
        ({"seeds": 0}, "seeds must be at least 1, but got 0"),
        ({"pool": 3}, "pool must be at least 10, but got 3"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"ops": "some"}, "ops must be one of vary, fixed, but got 'some'"),
        ({"encoders": ("nasgem-31",)}, "unknown encoder 'nasgem-31'; .*choose from .*nasgem-nasb"),
    ],
)
def test_bad_options_are_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        NASBench101Bench(**change)  # type: ignore[arg-type]


@pytest.mark.parametrize(("samples", "pool"), [(1000, 500), (151, 500), (155, 30)])
def test_samples_that_leave_nothing_to_rank(samples: int, pool: int, table_path: str) -> None:
    config = NASBench101Bench(samples=(samples,), table=table_path, encoders=(), pool=pool)
    with pytest.raises(ConfigError, match=f"the 160 usable cells to rank, but got {samples}"):
        bench_nasbench101(config)


def test_wrong_tables_are_named(tmp_path: Path, table_path: str) -> None:
    with pytest.raises(MissingDataError, match="table not found"):
        bench_nasbench101(NASBench101Bench(table=str(tmp_path / "none.parquet"), encoders=()))
    space = NASBench201()
    graphs = space.enumerate()[:50]
    column = Column.of("val_acc", dataset="drawn", epochs=1, run=1)
    facts = Provenance("other", space.name, "drawn", "self-made")
    save_table(
        BenchmarkTable(graphs, [column], facts, {column.name: np.linspace(0, 1, 50)}),
        tmp_path / "other.parquet",
    )
    with pytest.raises(ConfigError, match="must hold architectures of nasbench101, but holds"):
        bench_nasbench101(NASBench101Bench(table=str(tmp_path / "other.parquet"), encoders=()))
    table = load_table(table_path)
    columns = [column for column in table.columns if column.quantity == "val_acc"]
    values = {column.name: table.values(column.name) for column in columns}
    save_table(
        BenchmarkTable(table.graphs, columns, table.provenance, values), tmp_path / "val.parquet"
    )
    with pytest.raises(ConfigError, match="no 'test_acc'"):
        bench_nasbench101(NASBench101Bench(table=str(tmp_path / "val.parquet"), encoders=()))


def test_a_fit_in_the_experiment_equals_one_by_hand(table_path: str) -> None:
    """A predictor of the experiment equals the same predictor used by hand."""
    table = load_table(table_path)
    config = NASBench101Bench(samples=(40,), seeds=1, encoders=(), table=table_path)
    row = next(r for r in bench_nasbench101(config).rows if r.predictor == "random forest")
    order = np.random.default_rng([0, 1, 0]).permutation(160)
    seed = int(np.random.SeedSequence([0, 0]).generate_state(1)[0]) % 2**31
    forest = Forest(OneHot(7, 5, with_counts=True), random_state=seed)
    forest.fit(table.graphs[order[:40].tolist()], table.val_acc()[order[:40]])
    rest = np.sort(order[40:])
    predicted = forest.predict(table.graphs[rest.tolist()])
    assert row.kendall_tau
    assert row.kendall_tau.mean == pytest.approx(kendall_tau(predicted, table.test_acc()[rest]))
    assert len({graph_hash(table[i]) for i in range(160)}) == 160
