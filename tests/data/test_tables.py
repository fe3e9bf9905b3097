from __future__ import annotations

import logging
import pickle
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gnas.data import BenchmarkTable, Column, Provenance, load_table, save_table, verify_table
from gnas.data import places as places_module
from gnas.data.tables import find_table
from gnas.errors import ConfigError, DataError, GnasError, GraphError, MissingDataError
from gnas.geometric import Batch
from gnas.graphs import graph_hash
from gnas.spaces import NASBench101
from tests.data.conftest import make_table


@pytest.mark.parametrize("space", ["nasbench101", "nasbench201", "nasgem"])
def test_a_saved_table_comes_back_the_same(space: str, tmp_path: Path) -> None:
    table = make_table(space)
    path = tmp_path / "new" / "small.parquet"
    save_table(table, path)
    loaded = load_table(path)
    for field in ("adjacency", "ops", "num_nodes"):
        assert torch.equal(getattr(loaded.graphs, field), getattr(table.graphs, field))
    assert loaded.columns == table.columns
    assert loaded.hashes == [graph_hash(graph) for graph in table.graphs]
    for column in table.columns:
        np.testing.assert_array_equal(loaded.values(column.name), table.values(column.name))
    assert loaded.provenance.recipe == {"epochs": 108, "seeds": [1, 2]}
    assert (loaded.provenance.rows, loaded.provenance.path) == (40, str(path))
    assert len(loaded.provenance.sha256) == 64
    assert list(path.parent.iterdir()) == [path]
    verify_table(loaded)


def test_float64_values_lose_nothing(tmp_path: Path, small_table: BenchmarkTable) -> None:
    column = Column.of("val_acc", dataset="cifar10", epochs=1, run=1)
    values = {column.name: np.full(40, 0.1)}  # not a float32
    table = BenchmarkTable(small_table.graphs, [column], small_table.provenance, values)
    save_table(table, tmp_path / "t.parquet")
    assert (load_table(tmp_path / "t.parquet").val_acc() == 0.1).all()


def test_means_and_runs(small_table: BenchmarkTable) -> None:
    runs = small_table.runs("test_acc")
    assert runs.shape == (40, 3)
    assert np.isnan(runs[:, 1]).sum() == 14
    by_hand = [np.mean([x for x in row if not np.isnan(x)]) for row in runs.tolist()]
    np.testing.assert_allclose(small_table.test_acc(), by_hand, rtol=1e-15)
    np.testing.assert_array_equal(small_table.test_acc(2), runs[:, 1])
    short = small_table.values("val_acc_cifar10_12_run3")
    np.testing.assert_array_equal(small_table.val_acc(3, epochs=12), short)


def test_a_stored_mean_is_the_mean(small_table: BenchmarkTable) -> None:
    mean = Column.of("val_acc", dataset="a", epochs=5)
    run = Column.of("val_acc", dataset="a", epochs=5, run=7)
    values = {mean.name: np.full(40, 0.5), run.name: np.full(40, 0.25)}
    table = BenchmarkTable(small_table.graphs, [mean, run], small_table.provenance, values)
    assert table.val_acc()[0] == 0.5
    assert table.val_acc(7)[0] == 0.25
    with pytest.raises(ConfigError, match=r"no run 1 of 'val_acc'; choose from \[7\]"):
        table.val_acc(1)


def test_choices_are_explicit(small_table: BenchmarkTable) -> None:
    with pytest.raises(ConfigError, match=r"epochs=36; choose from \[12, 108\]"):
        small_table.val_acc(epochs=36)
    with pytest.raises(ConfigError, match=r"on 'mnist'; choose from \['cifar10'\]"):
        small_table.val_acc(dataset="mnist")
    with pytest.raises(ConfigError, match="no 'latency_s'; choose from"):
        small_table.metric("latency_s")
    with pytest.raises(ConfigError, match="unknown column 'x'"):
        small_table.values("x")
    with pytest.raises(ConfigError, match="must have single runs"):
        small_table.runs("num_params")
    two = [Column.of("val_acc", dataset=name, run=1) for name in ("a", "b")]
    values = {column.name: np.full(40, 0.5) for column in two}
    table = BenchmarkTable(small_table.graphs, two, small_table.provenance, values)
    with pytest.raises(ConfigError, match=r"dataset must be chosen.*\['a', 'b'\]"):
        table.val_acc()


def test_columns_of_one_meaning_are_no_choice(small_table: BenchmarkTable) -> None:
    columns = [
        Column("a", "val_acc"), Column("b", "val_acc"), Column("c", "val_acc", "x"),
        Column("d", "test_acc", run=1), Column("e", "test_acc", run=1),
    ]  # fmt: skip
    values = {column.name: np.full(40, 0.5) for column in columns}
    table = BenchmarkTable(small_table.graphs, columns, small_table.provenance, values)
    with pytest.raises(DataError, match="columns 'a' and 'b' must differ in quantity"):
        table.val_acc(dataset="")
    with pytest.raises(DataError, match="columns 'd' and 'e' must differ"):
        table.runs("test_acc")
    with pytest.raises(DataError, match="columns 'a' and 'b' must differ"):
        verify_table(table)
    assert table.val_acc(dataset="x")[0] == 0.5


def test_lookup_by_graph_and_hash(small_table: BenchmarkTable) -> None:
    for row in (0, 7, 39):
        assert small_table.index_of(small_table[row]) == row
        assert small_table.index_of(small_table.hashes[row]) == row
    absent = next(g for g in NASBench101().enumerate() if graph_hash(g) not in small_table.hashes)
    with pytest.raises(MissingDataError, match=r"'small'.*has none with hash"):
        small_table.index_of(absent)
    with pytest.raises(GraphError, match="32 hexadecimal digits"):
        small_table.index_of("xyz")
    with pytest.raises(GraphError, match="one architecture, but got a Batch of 1"):
        small_table.index_of(Batch.from_data_list([small_table[0]]))
    with pytest.raises(GraphError, match="must be a PyG Data"):
        small_table.index_of([small_table[0]])
    with pytest.raises(IndexError, match="must be in"):
        small_table[40]


def test_isomorphic_rows_are_told_apart() -> None:
    """In NAS-Bench-201 the two middle nodes can change places; both rows are in the table."""
    table = make_table("nasbench201", rows=15_625, runs=2).subset(np.arange(3000))
    hashes = table.hashes
    repeated = [row for row in range(3000) if hashes.count(hashes[row]) > 1][:4]
    assert repeated
    for row in repeated:
        assert table.index_of(table[row]) == row


def test_subset_keeps_rows_together(small_table: BenchmarkTable) -> None:
    part = small_table.subset([5, 2, 39])
    assert part.hashes == [small_table.hashes[row] for row in (5, 2, 39)]
    np.testing.assert_array_equal(part.val_acc(), small_table.val_acc()[[5, 2, 39]])
    assert part.provenance.rows == len(part) == 3
    mask = small_table.val_acc() > 0.5
    assert len(small_table.subset(mask)) == mask.sum()
    again = pickle.loads(pickle.dumps(part))  # for worker processes
    np.testing.assert_array_equal(again.val_acc(), part.val_acc())


def changed(table: BenchmarkTable, name: str, row: int, value: float) -> BenchmarkTable:
    values = {column.name: table.values(column.name).copy() for column in table.columns}
    values[name][row] = value
    return BenchmarkTable(table.graphs, table.columns, table.provenance, values)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (94.3, r"fractions in \[0, 1\].*94.3 in row 3; they look like percent: divide by 100"),
        (1.2, r"fractions in \[0, 1\].*1.2 in row 3$"),
        (-0.1, r"fractions in \[0, 1\]"),
        (np.inf, "must be finite, but row 3"),
    ],
)
def test_values_that_are_no_accuracies(
    small_table: BenchmarkTable, tmp_path: Path, value: float, message: str
) -> None:
    table = changed(small_table, "val_acc_cifar10_108_run1", 3, value)
    with pytest.raises(DataError, match=message):
        table.val_acc()
    with pytest.raises(DataError, match=message):
        save_table(table, tmp_path / "bad.parquet")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("quantity", ["num_params", "macs", "train_time_s", "latency_s"])
def test_sizes_and_times_below_zero(
    small_table: BenchmarkTable, tmp_path: Path, quantity: str
) -> None:
    """Others write -1 for a latency that failed: a search for the fastest one would choose it."""
    values = np.array([3.0, np.nan, -1.0, 0.0])
    column = Column.of(quantity, dataset="cifar10")
    facts = Provenance("mine", "nasbench101", source="a draw", kind="self-made")
    table = BenchmarkTable(
        small_table.graphs[[0, 1, 2, 3]], [column], facts, {column.name: values}
    )
    message = f"'{column.name}' must not be negative, but row 2 is -1; leave out what is missing"
    with pytest.raises(DataError, match=message):
        table.values(column.name)
    with pytest.raises(DataError, match=message):
        save_table(table, tmp_path / "bad.parquet")


def test_an_architecture_without_any_value(small_table: BenchmarkTable) -> None:
    table = small_table
    for run in (1, 2, 3):
        table = changed(table, f"test_acc_cifar10_108_run{run}", 4, np.nan)
    with pytest.raises(DataError, match=r"must have a 'test_acc', but 1 of 40.*first row 4"):
        table.test_acc()


@pytest.mark.parametrize(
    ("values", "first"),
    [
        (np.ma.masked_array([0.25, *[0.5] * 39], mask=[True, *[False] * 39]), np.nan),
        ([None, *[0.5] * 39], np.nan),
        ([Decimal("0.25"), *[0.5] * 39], 0.25),
        (torch.full((40,), 0.25, requires_grad=True), 0.25),
        (torch.full((40,), 0.25, dtype=torch.bfloat16), 0.25),
        (np.full(40, 0.25, np.float16), 0.25),
    ],
    ids=["masked", "None", "Decimal", "tensor", "bfloat16", "float16"],
)
def test_values_of_other_types(
    small_table: BenchmarkTable, tmp_path: Path, values: Any, first: float
) -> None:
    columns = [Column.of("val_acc")]
    table = BenchmarkTable(
        small_table.graphs, columns, small_table.provenance, {"val_acc": values}
    )
    save_table(table, tmp_path / "t.parquet")
    for one in (table, load_table(tmp_path / "t.parquet")):
        np.testing.assert_equal(one.values("val_acc")[0], first)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        *[(Column(name, "val_acc"), "a name of its own") for name in ("hash", "ops", "num_nodes")],
        (Column.of("val_acc", epochs=-3), "must say what it means"),
    ],
)
def test_what_could_not_be_read_is_not_written(
    small_table: BenchmarkTable, tmp_path: Path, column: Column, message: str
) -> None:
    values = {column.name: np.full(40, 0.5)}
    table = BenchmarkTable(small_table.graphs, [column], small_table.provenance, values)
    with pytest.raises(DataError, match=message):
        save_table(table, tmp_path / "t.parquet")
    assert not list(tmp_path.iterdir())


def test_tables_that_cannot_be(small_table: BenchmarkTable, tmp_path: Path) -> None:
    column, facts = Column.of("val_acc"), small_table.provenance
    with pytest.raises(DataError, match="must have its own name"):
        BenchmarkTable(small_table.graphs, [column, column], facts, {"val_acc": np.ones(40)})
    with pytest.raises(DataError, match=r"must have shape \(40,\), but got \(3,\)"):
        BenchmarkTable(small_table.graphs, [column], facts, {"val_acc": np.ones(3)})
    with pytest.raises(DataError, match="must have values, but 'val_acc' has none"):
        BenchmarkTable(small_table.graphs, [column], facts, {"test_acc": np.ones(40)})
    with pytest.raises(ConfigError, match="of column 'val_acc' must be numbers"):
        BenchmarkTable(small_table.graphs, [column], facts, {"val_acc": ["0.5"] * 40})
    twice = small_table.subset([0, 1, 2, 1])
    with pytest.raises(DataError, match=r"must occur once, but 1 repeat.*rows \[1, 3\]"):
        save_table(twice, tmp_path / "twice.parquet")
    with pytest.raises(DataError, match="at least one row"):
        save_table(small_table.subset(np.zeros(40, bool)), tmp_path / "empty.parquet")
    with pytest.raises(DataError, match="'nasbench201' must have"):
        save_table(make_table("nasbench101", space="nasbench201"), tmp_path / "wrong.parquet")
    assert not list(tmp_path.iterdir())


def test_where_tables_are_found(
    small_table: BenchmarkTable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    env, given, shipped = (tmp_path / name for name in ("env", "given", "shipped"))
    monkeypatch.setenv("GNAS_DATA", str(env))
    monkeypatch.setattr(places_module, "SHIPPED", shipped)
    with pytest.raises(MissingDataError, match=f"'nasbench101' not found in {env}"):
        find_table("nasbench101")
    with pytest.raises(MissingDataError, match="must be a Parquet file"):
        find_table(tmp_path / "none.parquet")
    save_table(small_table, shipped / "nasbench101-mini.parquet")
    with caplog.at_level(logging.WARNING):
        assert find_table("nasbench101") == shipped / "nasbench101-mini.parquet"
    assert f"not found in {env}; using the self-made 'nasbench101-mini'" in caplog.text
    save_table(small_table, env / "nasbench101.parquet")
    assert find_table("nasbench101") == env / "nasbench101.parquet"
    save_table(small_table, given / "nasbench101.parquet")
    assert load_table("nasbench101", data_dir=given).provenance.path.startswith(str(given))


def test_errors_are_the_packages_own() -> None:
    assert issubclass(MissingDataError, GnasError)
    assert Provenance("a", "b", "c", "partial").sha256 == ""
