"""Supernet searches judged by a table: looked up rightly, resumed, and tested by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import ttest_rel
from typer.testing import CliRunner

from gnas.bench import supernet
from gnas.bench.config import METHODS, SupernetBench
from gnas.bench.supernet import (
    LOG,
    Judge,
    SupernetSearch,
    bench_supernet,
    is_joined,
)
from gnas.cli import app
from gnas.data.images.parts import open_search_images, search_loaders
from gnas.data.tables import BenchmarkTable, Column, Provenance, save_table
from gnas.errors import ConfigError, DataError
from gnas.metrics import kendall_tau
from gnas.search.toponas import BASELINES, search_toponas
from gnas.spaces import NASBench201
from gnas.viz.supernet import supernet_figures
from tests.search.toponas.conftest import make_images

SPACE = NASBench201()
CELLS = SPACE.enumerate()
FAST: dict[str, Any] = {
    "batch_size": 400, "image_size": 8, "epochs": 2, "channels": 4, "num_cells": 1,
}  # fmt: skip
"""Of searches of a second."""


@pytest.fixture(autouse=True)
def few_cells_are_ranked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supernet, "ONE_SHOT_CELLS", 8)


def make_table(rows: int = 5**6) -> BenchmarkTable:
    """All cells, in another order, with accuracies that mean nothing."""
    rng = np.random.default_rng(0)
    order = torch.from_numpy(rng.permutation(5**6)[:rows])
    columns, values = [], {}
    for quantity, images in (
        ("val_acc", "cifar10-valid"), ("test_acc", "cifar10"),
        ("val_acc", "cifar100"), ("test_acc", "cifar100"),
    ):  # fmt: skip
        column = Column.of(quantity, dataset=images, epochs=200)
        columns.append(column)
        values[column.name] = rng.permutation(rows) / rows
    facts = Provenance("made", "nasbench201", "drawn", "self-made", "means nothing", "none")
    return BenchmarkTable(CELLS[order], columns, facts, values)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("tables") / "made.parquet"
    save_table(make_table(), path)
    return str(path)


def made(method: str, seed: int, index: int, **changes: Any) -> SupernetSearch:
    cell = SPACE.to_str(CELLS.data(index))
    search = SupernetSearch(method, seed, cell, (cell,), 0.5, (), None, 1.0)
    return replace(search, **changes)


def test_cells_are_looked_up_whatever_their_order(table: str) -> None:
    judge, truth = Judge(SupernetBench(table=table)), make_table()
    for index in (0, 7, 5000, 15624):
        row = judge.row_of(SPACE.to_str(CELLS.data(index)))
        assert SPACE.to_str(truth.graphs.data(row)) == SPACE.to_str(CELLS.data(index))
        better = (judge.test > judge.test[row]).sum()
        assert judge.ranks[row] == better + 1


def test_numbers_of_a_method_follow_from_the_table(table: str) -> None:
    judge = Judge(SupernetBench(table=table))
    acc = {k: float(judge.test[judge.row_of(SPACE.to_str(CELLS.data(k)))]) for k in range(40)}
    searches = [made("darts", s, s) for s in range(3)] + [
        made("random", s, 9 + s, epochs=()) for s in range(3)
    ]
    longer = (searches[0].architecture, searches[1].architecture)
    searches += [made("topo-arbitrary", s, 20 + s, epochs=longer) for s in range(3)]
    result = judge.result(searches, {}, 0.0)
    rows = {row.method: row for row in result.rows}
    topo = rows["topo-arbitrary"]
    mine = [acc[20], acc[21], acc[22]]
    assert topo.test_acc.mean == pytest.approx(np.mean(mine)) and topo.worst == min(mine)
    assert topo.regret.mean == pytest.approx(1 - 1 / 5**6 - np.mean(mine))
    assert topo.above_mean.mean == pytest.approx(np.mean(mine) - judge.test.mean())
    darts = [acc[k] for k in range(3)]
    assert topo.p_darts == pytest.approx(ttest_rel(mine, darts).pvalue)
    assert topo.p_random == pytest.approx(ttest_rel(mine, [acc[k] for k in (9, 10, 11)]).pvalue)
    assert rows["darts"].p_darts is None and rows["random"].p_random is None
    assert topo.curve == pytest.approx((acc[0], acc[1]))
    assert result.chosen == max(result.rows, key=lambda row: row.val_acc.mean).method
    assert topo.other_acc is not None and result.table["other"] == "cifar100"
    assert topo.curves == pytest.approx(np.array([(acc[0], acc[1])] * 3))
    assert rows["random"].curve == ()
    cells = [CELLS.data(20 + s) for s in range(3)]
    skips = [SPACE.to_str(cell).count("skip") / cell.num_edges for cell in cells]
    assert topo.skip_share == pytest.approx(np.mean(skips)) and topo.skip_share > 0
    elsewhere = replace(result, config=SupernetBench(table="nowhere.parquet"))
    assert supernet_figures(elsewhere).keys() == {"supernets"}  # all is in the result


def test_a_cell_without_a_path_is_told() -> None:
    none = "|none~0|+|none~0|none~1|+|none~0|nor_conv_3x3~1|skip_connect~2|"
    assert not is_joined(SPACE.from_str(none))
    assert is_joined(SPACE.from_str(none.replace("|none~0|nor", "|avg_pool_3x3~0|nor")))


def test_searches_are_kept_and_judged_again(table: str, tmp_path: Path) -> None:
    methods = ("darts", "topo-arbitrary", "random", "pc-darts")
    settings = {**FAST, "channels": 8}  # of which PC-DARTS takes a quarter
    config = SupernetBench(methods=methods, seeds=1, settings=settings, table=table)
    seen: list[tuple[int, int | None]] = []
    result = bench_supernet(
        config, folder=tmp_path, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(k, 4) for k in range(5)]
    two = bench_supernet(config, workers=2)
    assert [replace(s, seconds=0) for s in two.searches] == [
        replace(s, seconds=0) for s in result.searches
    ]
    assert not [p for p in tmp_path.iterdir() if p.is_dir()]  # no search is left under way
    by_method = {search.method: search for search in result.searches}
    darts = by_method["darts"]
    assert len(darts.epochs) == 2 and darts.epochs[-1] == darts.architecture
    assert len(darts.one_shot) == supernet.ONE_SHOT_CELLS and len(set(darts.one_shot)) > 3
    judge = Judge(config)
    cells = supernet.one_shot_cells(SPACE)
    truth = [float(judge.test[judge.row_of(SPACE.to_str(cell))]) for cell in cells]
    row = next(row for row in result.rows if row.method == "darts")
    assert row.tau is not None
    assert row.tau.mean == pytest.approx(kendall_tau(darts.one_shot, truth))
    assert by_method["random"].one_shot == ()
    more = replace(config, seeds=2, truth="cifar100", methods=("darts", "random"))
    before = (tmp_path / LOG).read_text()
    again = bench_supernet(more, folder=tmp_path)
    assert (tmp_path / LOG).read_text().startswith(before)
    assert [s.seed for s in again.searches] == [0, 0, 1, 1] and again.searches[0] == darts
    with pytest.raises(ConfigError, match=f"{LOG} epochs is 2, not 3; choose another place"):
        bench_supernet(replace(config, settings={**settings, "epochs": 3}), folder=tmp_path)


def test_a_killed_search_goes_on(
    table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**FAST, "batch_size": 160}  # three steps an epoch
    config = SupernetBench(methods=("topo-gumbel",), seeds=1, settings=settings, table=table)
    whole = bench_supernet(config).searches[0]
    checkpoint = tmp_path / "topo-gumbel-0" / "checkpoint"
    checkpoint.mkdir(parents=True)  # an earlier process was killed before any was whole
    steps = 0
    inner = search_toponas

    def killed(*args: Any, **options: Any) -> Any:
        nonlocal steps

        def count(progress: Any) -> None:
            nonlocal steps
            steps += 1
            if steps == 5:
                raise KeyboardInterrupt

        options["record"]._every_s = 0
        return inner(*args, **options, report=count)

    with monkeypatch.context() as patch:
        patch.setattr(supernet, "search_toponas", killed)
        with pytest.raises(KeyboardInterrupt):
            bench_supernet(config, folder=tmp_path)
    assert list(checkpoint.glob("step-*.json"))
    resumed = bench_supernet(config, folder=tmp_path).searches[0]
    assert replace(resumed, seconds=0) == replace(whole, seconds=0)


@pytest.mark.parametrize("name", ["darts", "topo-arbitrary"])
def test_cells_are_ranked_by_the_same_images_whatever_the_split(name: str) -> None:
    plan = SupernetBench(settings={"batch_size": 20, "channels": 4, "epochs": 1}).plan(name, 0)
    images = make_images(240, num_parts=plan.config.num_parts)
    labels = images.source.train.y
    rows = supernet.one_shot_rows(labels, 0)
    for parts in (2, 3):
        other = make_images(240, num_parts=parts)
        assert not torch.isin(rows, other.rows["train"]).any()
    assert len(set(rows.tolist())) == 80 and labels[rows].bincount().tolist() == [20] * 4
    loaders = search_loaders(images, 20, joint=plan.config.update == "joint")
    result = search_toponas(SPACE, loaders, plan.config)
    seen: list[torch.Tensor] = []
    result.bilevel.supernet.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    cells = [CELLS.data(k) for k in (0, 15624)]
    found = supernet.one_shot_accuracies(result, images, cells)
    assert found == supernet.one_shot_accuracies(result, images, cells)
    x = images.pixels(rows).x.float()
    mean, std = (torch.tensor(v)[:, None, None] for v in
                 (images.normalization.mean, images.normalization.std))  # fmt: skip
    assert [len(batch) for batch in seen[:4]] == [20] * 4
    torch.testing.assert_close(torch.cat(seen[:4]), (x - mean) / std)


def test_a_search_of_the_bench_is_the_same_search_alone(table: str) -> None:
    """Its seed decides the split too, as it does for one search from the command line."""
    config = SupernetBench(
        methods=("topo-arbitrary", "darts"), seed=3, seeds=2, settings=FAST, table=table
    )
    searches = bench_supernet(config).searches
    assert [(one.seed, one.method) for one in searches] == [
        (seed, method) for seed in (3, 4) for method in config.methods
    ]
    for one in searches[-2:]:
        plan = config.plan(one.method, one.seed)
        images = open_search_images(plan.images, num_parts=plan.config.num_parts)
        loaders = search_loaders(images, plan.config.batch_size, seed=one.seed)
        alone = search_toponas(SPACE, loaders, plan.config)
        assert one.supernet_acc == alone.metrics["val_acc"]
        assert one.epochs == tuple(epoch["genotype"] for epoch in alone.epochs)


def test_every_method_is_a_plan() -> None:
    for name in METHODS:
        plan = SupernetBench(methods=(name,)).plan(name, 3)
        assert plan.config.seed == 3 and plan.config.space == "nasbench201"
        assert plan.config.learns_topology == (name == "random" or name.startswith("topo"))
        for field, value in BASELINES.get(name, {}).items():
            assert getattr(plan.config, field) == value


def test_impossible_experiments(table: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="methods must be different ones of"):
        SupernetBench(methods=("darts", "darts"))
    with pytest.raises(ConfigError, match="truth must be one of"):
        SupernetBench(truth="mnist")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="seeds must be at least 1"):
        SupernetBench(seeds=0)
    for name in ("space", "data_dir", "dataset", "seed", "baseline", "size", "epoch"):
        with pytest.raises(ConfigError, match=f"unknown setting '{name}'"):
            SupernetBench(settings={name: 1})
    save_table(make_table(100), tmp_path / "few.parquet")
    with pytest.raises(DataError, match="must hold all 15,625 cells"):
        Judge(SupernetBench(table=str(tmp_path / "few.parquet")))


@pytest.mark.parametrize(
    ("method", "name", "value"),
    [
        ("gdas", "relaxation", "softmax"), ("topo-arbitrary", "topology", "fixed"),
        ("darts", "method", "milenas"),
        ("beta-darts", "alpha_penalty", 1.0), ("snas", "temperature", (2.0, 1.0)),
    ],
)  # fmt: skip
def test_no_setting_makes_a_method_another_one(method: str, name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"{name} is what makes the method '{method}'"):
        SupernetBench(methods=(method,), settings={name: value})


def test_a_setting_that_the_methods_leave_open_is_taken() -> None:
    bench = SupernetBench(methods=("topo-arbitrary",), settings={"alpha_penalty": 0.5})
    assert bench.plan("topo-arbitrary", 0).config.alpha_penalty == 0.5


def test_the_command(table: str, tmp_path: Path) -> None:
    options = [word for name, value in FAST.items() for word in ("--set", f"{name}={value}")]
    done = CliRunner().invoke(
        app,
        [
            "bench", "supernet", "nasbench201", "--table", table, "--methods", "darts,random",
            "--seeds", "1", *options, "--out", str(tmp_path / "run"),
        ],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "collapses" not in done.output
    assert "darts" in done.stdout and "mean of all cells" in done.stdout
    assert "Settings of all searches: batch_size=400, image_size=8, epochs=2" in done.stdout
    assert "means nothing. Searched on" in done.stdout
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["command"] == "bench supernet" and len(result["rows"]) == 2
    assert (tmp_path / "run" / "figures" / "supernets.png").exists()
    words = ["bench", "supernet", "nasbench201", "--table", table]
    missing = CliRunner().invoke(app, [*words[:-1], "nowhere"])
    assert missing.exit_code == 1 and "table 'nowhere' not found" in missing.output
    bad = CliRunner().invoke(app, [*words, "--methods", "x"])
    assert bad.exit_code == 1 and "methods must be different ones" in bad.output
    for setting, code, told in (
        ("seed=3", 2, "by its own option alone"),
        ("space=darts", 2, "by its own option alone"),
        ("data-dir=x", 2, "by its own option alone"),
        ("baseline=darts", 1, "unknown setting 'baseline'"),
        ("size=cpu", 1, "unknown setting 'size'"),
    ):
        wrong = CliRunner().invoke(app, [*words, "--set", setting])
        assert wrong.exit_code == code and told in " ".join(wrong.output.split()), wrong.output
