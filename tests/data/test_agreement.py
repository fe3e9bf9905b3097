from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from numpy.typing import NDArray
from typer.testing import CliRunner

from gnas.cli import app
from gnas.data import BenchmarkTable, Column, Provenance, load_table, save_table
from gnas.data.agreement import SUSPICIOUS_SHARE, FunctionAgreement, function_agreement
from gnas.graphs import graph_hash
from gnas.spaces import NASBench201
from gnas.spaces.nasbench201 import CANDIDATES, EDGES

Codes = NDArray[np.int64]
Misread = Callable[[Codes], Codes]
NUM_CELLS = 15_625

MISREADINGS: dict[str, Misread] = {
    **{f"operations shifted by {k}": lambda c, k=k: (c + k) % 5 for k in range(1, 5)},  # type: ignore[misc]
    "none and skip exchanged": lambda c: np.array([1, 0, 2, 3, 4])[c],
    "NASLib's numbers of operations": lambda c: np.array([1, 0, 3, 2, 4])[c],
    "skip and a convolution exchanged": lambda c: np.array([0, 2, 1, 3, 4])[c],
    "NASLib's order of edges": lambda c: c[:, [0, 1, 3, 2, 4, 5]],
    "edges from the last to the first": lambda c: c[:, ::-1],
    **{
        f"edges in the order {order}": lambda c, order=order: c[:, list(order)]  # type: ignore[misc]
        for order in list(itertools.permutations(range(6)))[1::179]
    },
}


def table_of(
    codes: Codes, scores: NDArray[np.float64], quantity: str = "val_acc"
) -> BenchmarkTable:
    """The cells of operation codes [N, 6] with one column."""
    rows = codes @ len(CANDIDATES) ** np.arange(len(EDGES))[::-1]
    column = Column.of(quantity, dataset="cifar10", epochs=200, run=1)
    facts = Provenance("drawn", "nasbench201", "drawn", "self-made")
    graphs = NASBench201().enumerate()[torch.from_numpy(rows)]
    return BenchmarkTable(graphs, [column], facts, {column.name: scores})


def all_codes() -> Codes:
    return np.arange(NUM_CELLS)[:, None] // 5 ** np.arange(6)[::-1] % 5


def codes_of(table: BenchmarkTable) -> Codes:
    """The operation codes [N, 6] of a table's cells."""
    adjacency = table.graphs.adjacency.numpy().astype(np.int64)
    return np.stack([adjacency[:, i, j] for i, j in EDGES], axis=1)


def naive(table: BenchmarkTable, column: str) -> float:
    """The share by its words: one pass over groups of equal functions, tied ranks by counting."""
    forms = NASBench201().functional_form(table.graphs)
    groups: dict[str, list[float]] = {}
    for row, score in enumerate(table.values(column)):
        groups.setdefault(graph_hash(forms.data(row)), []).append(float(score))
    shared = [scores for scores in groups.values() if len(scores) > 1]
    every = [score for scores in shared for score in scores]
    rank = {
        x: sum(y < x for y in every) + (1 + sum(y == x for y in every)) / 2 for x in set(every)
    }
    within = sum(
        (rank[x] - np.mean([rank[y] for y in scores])) ** 2 for scores in shared for x in scores
    )
    freedom = len(every) - len(shared)
    return float(within / freedom / np.var([rank[x] for x in every], ddof=1))


def test_the_share_by_its_definition() -> None:
    rng = np.random.default_rng(3)
    codes = all_codes()[rng.choice(NUM_CELLS, 400, replace=False)]
    table = table_of(codes, rng.integers(0, 40, 400) / 40)
    found = function_agreement(table)
    assert found is not None
    assert found.share == pytest.approx(naive(table, table.columns[0].name))
    assert found.least_share < found.share
    assert found.is_suspicious  # scores that follow from nothing


@pytest.fixture
def published(shared_data: Callable[[str], Path]) -> BenchmarkTable:
    path = shared_data("nasbench201/nasbench201_cifar.parquet")
    return opened_once(path)


@cache
def opened_once(path: Path) -> BenchmarkTable:
    return load_table(path)


def test_published_accuracies_agree(published: BenchmarkTable) -> None:
    """Every accuracy by itself: means and single runs, 12 and 200 epochs, all cells and few."""
    rng = np.random.default_rng(0)
    codes = codes_of(published)
    shares = []
    for column in published.columns:
        if column.is_accuracy:
            values = published.values(column.name)
            known = np.flatnonzero(~np.isnan(values))
            for count in (len(known), 2000, 500):
                rows = rng.permutation(known)[:count]
                found = function_agreement(table_of(codes[rows], values[rows]))
                assert found is not None and not found.is_suspicious, (column.name, count, found)
                if count == len(known):
                    shares.append(found.share)
    assert 0.004 < min(shares) and max(shares) < 0.017 < SUSPICIOUS_SHARE


@pytest.mark.parametrize("name", MISREADINGS)
def test_misread_tables_are_noticed(name: str, published: BenchmarkTable) -> None:
    scores = published.val_acc(dataset="cifar10-valid")
    misread = MISREADINGS[name](codes_of(published))
    rows = np.random.default_rng(1).permutation(NUM_CELLS)
    nearly_right = name == "skip and a convolution exchanged"  # .066, and .049 of 2,000 cells
    for count in (NUM_CELLS,) if nearly_right else (2000, 300):
        part = rows[:count]
        found = function_agreement(table_of(misread[part], scores[part]))
        assert found is not None and found.is_suspicious, found
        assert "suspicious" in str(found)


@pytest.mark.parametrize(
    "misread",
    [
        lambda c: np.array([0, 1, 3, 2, 4])[c],
        lambda c: np.array([0, 1, 4, 3, 2])[c],
        lambda c: c[:, [5, 4, 2, 3, 1, 0]],
    ],
    ids=["convolutions exchanged", "convolution and pooling exchanged", "output to input"],
)
def test_what_keeps_equal_functions_equal_cannot_be_noticed(
    misread: Misread, published: BenchmarkTable
) -> None:
    """As the docstring says; a test, so that nobody promises more."""
    found = function_agreement(
        table_of(misread(codes_of(published)), published.val_acc(dataset="cifar10-valid"))
    )
    assert found is not None and not found.is_suspicious


def test_nothing_is_said_of_too_few_cells(published: BenchmarkTable) -> None:
    assert function_agreement(published.subset(range(30))) is None
    assert function_agreement(load_table("nasbench101-mini")) is None
    constant = table_of(all_codes()[:2000], np.full(2000, 0.5))
    assert function_agreement(constant) is None
    times = table_of(all_codes()[:2000], np.arange(2000.0), "train_time_s")
    assert function_agreement(times) is None


def test_scores_that_are_called_otherwise_are_used_where_there_are_no_accuracies() -> None:
    forms = NASBench201().functional_form(NASBench201().enumerate())
    scores = forms.adjacency.double().sum((1, 2)).numpy()
    found = function_agreement(table_of(all_codes(), scores, "jigsaw_top1"))
    assert found is not None and found.share == 0 and found.column.startswith("jigsaw_top1")


@pytest.fixture
def misread_file(published: BenchmarkTable, tmp_path: Path) -> Path:
    space = NASBench201()
    shifted = (codes_of(published) + 1) % 5 @ 5 ** np.arange(6)[::-1]
    rows = range(0, NUM_CELLS, 25)
    columns = {
        "arch_str": [space.to_str(space.enumerate().data(int(shifted[row]))) for row in rows],
        "cifar10_val_acc_200": 100 * published.val_acc(dataset="cifar10-valid")[list(rows)],
        "cifar10_test_acc_200": 100 * published.test_acc(dataset="cifar10")[list(rows)],
    }
    pq.write_table(pa.table(columns), tmp_path / "shifted.parquet")
    return tmp_path / "shifted.parquet"


def test_opening_a_misread_table_warns(
    misread_file: Path, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    table = load_table(misread_file)
    assert len(caplog.records) == 1
    assert "shifted.parquet: " in caplog.text and "suspicious" in caplog.text
    save_table(table, tmp_path / "own.parquet")
    for path in (misread_file, tmp_path / "own.parquet"):
        done = CliRunner().invoke(app, ["data", "verify", str(path), "--json", "-"])
        assert done.exit_code == 0
        assert json.loads(done.stdout)["agreement"]["is_suspicious"] is True
        assert "of the variance of the ranks of" in done.stderr
        assert "suspicious" in done.stderr


def test_verify_prints_the_share_of_a_sound_table(
    published: BenchmarkTable, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    of_all = "11,379 cells share 1,179 functions; within these lies 0.6% of"
    assert of_all in str(function_agreement(published))
    part = published.subset(range(0, NUM_CELLS, 15))
    save_table(part, tmp_path / "part.parquet")
    done = CliRunner().invoke(app, ["data", "verify", str(tmp_path / "part.parquet")])
    assert str(function_agreement(part)) in done.stdout.replace("\n", " ")
    assert "suspicious" not in done.output and not caplog.records


def test_a_record_says_what_it_found() -> None:
    found = FunctionAgreement("val_acc", 3, 40, 0.4, 0.2)
    assert found.is_suspicious
    assert "40 cells share 3 functions; within these lies 40.0% of" in str(found)


@pytest.mark.parametrize("name", ["edgegpu_latency_ms", "num_flops", "train_seconds"])
def test_costs_are_no_scores(name: str) -> None:
    """Cells of one function may well differ in them."""
    rng = np.random.default_rng(3)
    codes = all_codes()[rng.choice(NUM_CELLS, 400, replace=False)]
    assert function_agreement(table_of(codes, rng.random(400), name)) is None
    assert function_agreement(table_of(codes, rng.random(400), "top1")) is not None
