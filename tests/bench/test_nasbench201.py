from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from gnas.bench.config import NASBench201Bench
from gnas.bench.experiment import run_fits
from gnas.bench.nasbench201 import bench_nasbench201, has_dead_part, make_task, scores
from gnas.bench.result import BenchResult
from gnas.bench.setups import predictor_setups
from gnas.cli import app
from gnas.cli.bench import print_result
from gnas.data import BenchmarkTable, Column, Provenance, load_table, save_table
from gnas.errors import ConfigError, MissingDataError
from gnas.graphs import graph_keys
from gnas.metrics import agreement_between_runs, kendall_tau
from gnas.models import nasbench201_num_params
from gnas.predictors import NumParams, OneHot
from gnas.spaces import NASBench101, NASBench201
from gnas.viz import predictor_figures

ROWS = 300


def make_table() -> BenchmarkTable:
    """Cells whose accuracies follow from their graphs, on three data sets."""
    rng = np.random.default_rng(4)
    cells = NASBench201().enumerate()
    graphs = cells[torch.from_numpy(rng.choice(len(cells), ROWS, replace=False))]
    forms = NASBench201().functional_form(graphs)
    true = 0.5 + 0.03 * ((forms.ops == 4) + 2 * (forms.ops == 5)).sum(1).double().numpy()
    columns, values = [], {}
    kinds = [
        ("val_acc", "cifar10-valid", None), ("val_acc", "cifar100", 777),
        ("val_acc", "cifar100", 888), ("test_acc", "cifar10", 777), ("test_acc", "cifar10", 888),
    ]  # fmt: skip
    for quantity, images, run in kinds:
        column = Column.of(quantity, dataset=images, epochs=200, run=run)
        columns.append(column)
        values[column.name] = np.clip(true + rng.normal(0, 0.01, ROWS), 0, 1)
    for name, value in (("constant", 0.5), ("gaps", np.nan)):
        columns.append(Column(name, name))
        values[name] = np.full(ROWS, value)
    values["gaps"][3] = 0.7
    facts = Provenance("small", "nasbench201", "drawn", "self-made", "means nothing", "none")
    return BenchmarkTable(graphs, columns, facts, values)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    file: Path = tmp_path_factory.mktemp("tables") / "small.parquet"
    save_table(make_table(), file)
    return str(file)


@pytest.fixture(scope="module")
def result(path: str) -> BenchResult:
    return bench_nasbench201(NASBench201Bench(samples=(30, 60), seeds=2, table=path))


def test_rows_of_both_protocols_follow_from_the_table(result: BenchResult, path: str) -> None:
    table = load_table(path)
    acc = table.val_acc(dataset="cifar10-valid")
    keys = graph_keys(NASBench201().functional_form(table.graphs))
    params = nasbench201_num_params(table.graphs)
    taus, without = [], []
    for repetition in range(2):
        order = np.random.default_rng([0, 1, repetition]).permutation(ROWS)
        rest = np.sort(order[30:])
        new = rest[~np.isin(keys[rest], keys[order[:30]])]
        assert len(new) < len(rest)
        taus.append(kendall_tau(params[rest], acc[rest]))
        without.append(kendall_tau(params[new], acc[new]))
    row = next(r for r in result.rows if r.encoder == "number of parameters")
    assert row.kendall_tau is not None and row.kendall_tau_no_twins is not None
    assert row.kendall_tau.mean == pytest.approx(np.mean(taus))
    assert row.kendall_tau_no_twins.mean == pytest.approx(np.mean(without))
    assert result.best_score == acc.max()


def test_trivial_rows_are_always_there(result: BenchResult) -> None:
    names = [(row.predictor, row.encoder) for row in result.rows if row.samples == 30]
    assert names[0] == ("MLP", "adjacency + ops")
    assert ("random forest", "adjacency + ops + op counts") in names
    assert ("GP", "adjacency + ops") in names
    sees = {encoder for _, encoder in names}
    assert {"number of parameters", "best of the samples", "random pick"} <= sees
    ours = {
        (r.samples, r.predictor): r.kendall_tau
        for r in result.rows
        if r.predictor == "default" or r.encoder.startswith("adjacency")
    }
    for n in (30, 60):
        best = ours[n, "default"]
        assert best and best.mean > 0.7
        for other in ("MLP", "random forest", "GP"):
            tau = ours[n, other]
            assert tau and best.mean > tau.mean


def test_columns_of_a_table_of_ones_own_name_no_images(path: str) -> None:
    table = load_table(path)
    column = Column.of("val_acc", epochs=2, run=1)
    known = {column.name: table.val_acc(dataset="cifar10-valid")}
    own = BenchmarkTable(table.graphs, [column], table.provenance, known)
    name, quantity, values = scores(own, "cifar10", None)
    assert (name, quantity) == (column.name, "val_acc") and (values == known[name]).all()
    with pytest.raises(ConfigError, match=r"'small' name no images.*'cifar100'; leave it out"):
        scores(own, "cifar100", None)


def test_ceiling_and_agreement(result: BenchResult, path: str) -> None:
    table = load_table(path)
    acc = table.val_acc(dataset="cifar10-valid")
    keys = graph_keys(NASBench201().functional_form(table.graphs))
    mean = np.array([acc[keys == key].mean() for key in keys])
    assert result.ceiling == pytest.approx(kendall_tau(mean, acc))
    runs = table.runs("test_acc", dataset="cifar10")
    assert result.agreement_between_runs == pytest.approx(agreement_between_runs(runs))
    one, two = "val_acc_cifar100_200_run777", "val_acc_cifar100_200_run888"
    other = bench_nasbench201(
        NASBench201Bench(samples=(30,), seeds=1, table=path, train_column=one, test_column=two)
    )
    assert other.ceiling == pytest.approx(kendall_tau(table.values(one), table.values(two)))
    assert (other.table["train_column"], other.table["test_column"]) == (one, two)
    assert other.best_score == table.values(two).max()


def test_columns_of_a_dataset_are_means_over_runs(path: str) -> None:
    table = load_table(path)
    name, quantity, values = scores(table, "cifar100", None)
    assert (name, quantity) == ("mean val_acc of 2 runs (cifar100, 200 epochs)", "val_acc")
    np.testing.assert_allclose(values, table.runs("val_acc", dataset="cifar100").mean(1))
    assert scores(table, "cifar10", None)[0] == "val_acc_cifar10-valid_200"


@pytest.mark.parametrize(
    ("column", "heading", "unit"),
    [
        (None, "val acc %", " (percentage points)"),
        ("test_acc_cifar10_200_run777", "test acc %", " (percentage points)"),
        ("num_params", "num params", ""),
    ],
)
def test_scores_are_called_what_their_column_is(
    column: str | None,
    heading: str,
    unit: str,
    path: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the table, its caption and the ceiling's line, on both axes and at the ceiling."""
    monkeypatch.setenv("COLUMNS", "400")
    table = load_table(path)
    params = Column("num_params", "num_params")
    values = {c.name: table.values(c.name) for c in table.columns}
    values["num_params"] = nasbench201_num_params(table.graphs).astype(np.float64)
    columns = [*table.columns, params]
    wider = BenchmarkTable(table.graphs, columns, table.provenance, values)
    save_table(wider, tmp_path / "wider.parquet")
    config = NASBench201Bench(
        samples=(30,), seeds=1, table=str(tmp_path / "wider.parquet"), test_column=column,
        train_column=column if column == "num_params" else None,
    )  # fmt: skip
    result = bench_nasbench201(config)
    name = column or "val_acc_cifar10-valid_200"
    printed = io.StringIO()
    print_result(result, Console(file=printed, width=400))
    text = printed.getvalue()
    headings = next(line for line in text.splitlines() if "Kendall tau" in line)
    assert [other for other in ("test acc", "val acc") if other in headings] == (
        [heading.removesuffix(" %")] if "acc" in heading else []
    )
    assert f" {heading} " in headings and ("bias %" in headings) == bool(unit)
    best = f"{100 * result.best_score:.2f}%" if unit else f"{result.best_score:.6g}"
    assert f"ranked against {name}, best {best}" in text
    learned = "val_acc_cifar10-valid_200"
    oracle = (
        f"{name}, averaged over each function, as by an oracle that knows this very column, noise "
        "included, but takes the cells of a function for one"
    )
    ceiling = f"{learned} itself" if heading == "test acc %" else oracle
    assert f"Ceiling of Kendall tau {result.ceiling:.3f}: {ceiling}" in text
    assert "Two runs' test_acc (cifar10, 200 epochs) agree" in text
    figures = predictor_figures(result)
    assert figures["kendall_tau"].axes[0].get_ylabel() == f"Kendall tau\non {name}"
    assert figures["bias"].axes[0].get_ylabel() == f"Global prediction bias{unit}\nof {name}"
    notes = [note.get_text().replace("\n", " ") for note in figures["kendall_tau"].axes[0].texts]
    assert notes == [f"ceiling: {ceiling}"]


def test_clean_cells_are_those_of_the_literature(path: str) -> None:
    space = NASBench201()
    assert (~has_dead_part(space.enumerate())).sum() == 9_445
    texts = (
        "|nor_conv_1x1~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|",
        "|none~0|+|none~0|nor_conv_1x1~1|+|nor_conv_3x3~0|none~1|none~2|",
        "|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|",
    )
    graphs = [space.from_str(text) for text in texts]
    assert has_dead_part(space.enumerate()[:0]).shape == (0,)
    assert has_dead_part(type(space.enumerate()).from_data(graphs)).tolist() == [True, True, False]
    clean = bench_nasbench201(NASBench201Bench(samples=(30,), seeds=1, table=path, cells="clean"))
    count = int((~has_dead_part(load_table(path).graphs)).sum())
    assert clean.table["usable"] == count < ROWS


def test_counts_of_edge_operations() -> None:
    cell = NASBench201().from_str("|nor_conv_1x1~0|+|none~0|none~1|+|skip_connect~0|none~1|"
                                  "nor_conv_1x1~2|")  # fmt: skip
    row = OneHot(4, 3, 4, with_counts=True)(type(NASBench201().enumerate()).from_data([cell]))[0]
    assert row[-4:].tolist() == [1, 2, 0, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": (1,)}, r"samples\[0\] must be at least 2, but got 1"),
        ({"samples": (5, 5)}, "samples must differ"),
        ({"seeds": 0}, "seeds must be at least 1, but got 0"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"dataset": "mnist"}, "dataset must be one of .*imagenet16-120, but got 'mnist'"),
        ({"cells": "some"}, "cells must be one of .*, but got 'some'"),
        ({"samples": (300,)}, "samples must be at most 290, which leaves 10 of the 300"),
        ({"train_column": "no"}, "unknown column 'no'; choose from .*'val_acc_cifar100_200_run"),
        ({"test_column": "gaps"}, "'gaps' must have a score for every cell.*299 of 300 lack one"),
        ({"train_column": "constant"}, "not all alike, but all are 0.5"),
        ({"dataset": "imagenet16-120"}, "no 'val_acc' on 'ImageNet16-120'; choose from"),
    ],
)
def test_bad_options_are_named(change: dict[str, object], message: str, path: str) -> None:
    options: dict[str, object] = {"samples": (30,), "seeds": 1, "table": path}
    with pytest.raises(ConfigError, match=message):
        bench_nasbench201(NASBench201Bench(**options | change))  # type: ignore[arg-type]


def test_the_command_names_columns_that_do_not_exist(path: str) -> None:
    for option in ("--train-column", "--test-column"):
        arguments = ["bench", "nasbench201", "--table", path, "--samples", "30", option, "nope"]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 1
        assert result.stdout == ""
        assert result.stderr.startswith("error: unknown column 'nope'; choose from")
        assert len(result.stderr.splitlines()) == 1


def test_wrong_and_missing_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GNAS_DATA", str(tmp_path))
    with pytest.raises(MissingDataError, match=r"table 'nasbench201' not found .*gnas data list"):
        bench_nasbench201(NASBench201Bench(samples=(30,)))
    cells = NASBench101().enumerate()[:60]
    column = Column.of("val_acc", dataset="drawn", epochs=1)
    facts = Provenance("other", "nasbench101", "drawn", "self-made")
    table = BenchmarkTable(cells, [column], facts, {column.name: np.linspace(0, 1, 60)})
    save_table(table, tmp_path / "nasbench201.parquet")
    with pytest.raises(ConfigError, match="must hold architectures of nasbench201, but holds"):
        bench_nasbench201(NASBench201Bench(samples=(30,)))


def test_the_command_prints_both_protocols(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "130")
    file, out = tmp_path / "result.json", tmp_path / "run"
    options = ["--samples", "30", "--seeds", "2", "--table", path]
    found = CliRunner().invoke(
        app, ["bench", "nasbench201", *options, "--json", str(file), "--out", str(out)]
    )
    assert found.exit_code == 0, found.output
    for text in (
        "no twins",
        "number of parameters",
        "val_acc_cifar10-valid_200, averaged over each function",
        "ranked against val_acc_cifar10-valid_200",
        "runs' test_acc (cifar10, 200 epochs) agree",
    ):
        assert text in found.output.replace("\n", " ").replace("  ", " ")  # fmt: skip
    record = json.loads(file.read_text())
    assert record["command"] == "bench nasbench201"
    assert set(record["rows"][0]["kendall_tau_no_twins"]) == {"mean", "low", "high"}
    assert (out / "figures" / "kendall_tau.png").is_file()


def test_ranking_of_published_cells(shared_data: Callable[[str], Path]) -> None:
    """One draw each of the sizes that papers use; the recorded means are higher or alike."""
    table = load_table(shared_data("nasbench201/nasbench201_cifar.parquet"))
    assert (nasbench201_num_params(table.graphs) == table.values("cifar10_num_params")).all()
    task = make_task(table, np.arange(len(table)), NASBench201Bench())
    params = NumParams(nasbench201_num_params)
    everyone = predictor_setups(NASBench201(), (), wiring_only=False, params=params)
    ours = [one for one in everyone if one.name == "default"]
    for one in ours:
        taus = run_fits(task, one, samples=(78, 156), seeds=1, seed=0)
        for samples, least in ((78, 0.82), (156, 0.87)):
            assert taus[samples][0]["kendall_tau"] > least
    assert ["prior" in one.encoder for one in ours] == [False, True]
