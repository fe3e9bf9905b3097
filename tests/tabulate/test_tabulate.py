from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from shutil import copy
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from gnas.cli import app
from gnas.data import BenchmarkTable, load_table, verify_table
from gnas.data.places import SHIPPED
from gnas.errors import ConfigError, DataError, GnasError, UnsupportedError
from gnas.evaluate import EvaluationJob
from gnas.models import NASBench101NetworkConfig, nasbench101_network, num_macs, num_params
from gnas.search import Evaluation, read_result
from gnas.spaces import SPACES, NASBench101
from gnas.studies import CandidateStudy, work
from gnas.tabulate import TabulateConfig, tabulate
from gnas.tabulate.build import evaluator_of, write_table
from gnas.tabulate.config import tabulated_config
from gnas.training.recipe import ProxyRecipe
from gnas.training.short import fresh_network, train_proxy

TINY = TabulateConfig(
    cells=2,
    seeds=2,
    num_train=64,
    num_val=50,
    num_test=50,
    network={"stem_channels": 4, "num_stacks": 2},
    recipe=ProxyRecipe(epochs=1, batch_size=32),
)


def changed(**fields: Any) -> TabulateConfig:
    return TabulateConfig(**{**TINY.__dict__, **fields})


def job_of(config: TabulateConfig) -> EvaluationJob:
    space, evaluator = config.opened_space(), evaluator_of(config)
    evaluator.images_sha256 = config.images().sha256
    return EvaluationJob(space, evaluator, ("val_acc",))


def candidates(config: TabulateConfig) -> list[dict[str, Any]]:
    seeds = range(1, config.seeds + 1)
    return [{"architecture": cell, "seed": seed} for cell in config.plan() for seed in seeds]


def scores(table: BenchmarkTable) -> np.ndarray:
    return np.asarray(table.runs("val_acc"))


def test_plan_is_a_prefix_of_a_larger_plan() -> None:
    small, large = changed(cells=5).plan(), changed(cells=50).plan()
    assert large[:5] == small and len(set(large)) == 50
    for cell in large:
        NASBench101().from_str(cell)


def test_every_cell_is_trained_with_every_seed_as_one_network(tmp_path: Path) -> None:
    """The table's numbers are those of plain trainings, one after the other."""
    done: list[tuple[int, int]] = []
    out = tabulate(TINY, tmp_path / "own.parquet", report=lambda *now: done.append(now))
    assert done == [(0, 4), (2, 4), (4, 4)]
    table, images = load_table(out), TINY.images()
    assert [NASBench101().to_str(cell) for cell in table.graphs] == TINY.plan()
    size = NASBench101NetworkConfig(
        in_channels=1, num_classes=10, stem_channels=4, num_stacks=2, cells_per_stack=1
    )
    for row, cell in enumerate(table.graphs):
        for run in (0, 1):
            network = fresh_network(partial(nasbench101_network, cell, size), run + 1)
            trained = train_proxy(network, images, TINY.recipe, seed=run + 1)
            for name in ("val_acc", "test_acc", "val_loss"):
                assert table.runs(name)[row, run] == getattr(trained, name), name
        assert table.values("macs")[row] == num_macs(network, (1, 8, 8))
        assert table.values("num_params")[row] == num_params(network)
    assert table.provenance.kind == "self-made" and table.provenance.recipe is not None
    assert TabulateConfig.like(table, dataset="digits") == TINY


def test_older_tables_name_the_sizes_of_networks_beside_the_rest() -> None:
    like = TabulateConfig.like(load_table("nasbench101-mini"), dataset="digits", num_train=None)
    assert like.network == {"stem_channels": 32, "num_stacks": 3, "cells_per_stack": 1}
    assert like.space == "nasbench101" and like.image_size == 8


def test_a_recipe_of_another_version_is_refused() -> None:
    table = load_table("nasbench101-mini")
    recipe = {**(table.provenance.recipe or {}), "recipe": {"epochs": 1, "dropout": 0.5}}
    table.provenance = replace(table.provenance, recipe=recipe)
    with pytest.raises(ConfigError, match=r"one of this version of gnas, but is .*'dropout'"):
        TabulateConfig.like(table)


def test_several_processes_train_each_cell_once(tmp_path: Path) -> None:
    two = load_table(tabulate(TINY, tmp_path / "two.parquet", workers=2))
    study = CandidateStudy.join("table", tmp_path / "two.parquet.study.db")
    assert study.progress().done == study.progress().total == 4
    alone = CandidateStudy.open(job_of(TINY), name="table", storage=tmp_path / "alone.db")
    alone.plan(candidates(TINY))
    assert work(alone, job_of(TINY), wait=False) == 4
    found = [one.result["val_acc"] for one in alone.results() if one.result is not None]
    assert scores(two).ravel().tolist() == found, "it depends on who trained"
    here = tabulate(TINY, tmp_path / "here.parquet", workers=None)
    assert scores(load_table(here)).ravel().tolist() == found
    assert not list(tmp_path.glob("here.parquet.study.db*"))


def test_a_study_elsewhere_trains_the_same(tmp_path: Path) -> None:
    shared = tmp_path / "shared.db"
    tabulate(TINY, tmp_path / "a.parquet", storage=shared, study="tiny")
    joined = CandidateStudy.join("tiny", shared)
    job = EvaluationJob.from_metadata(joined.facts)
    assert job.metadata() == joined.facts and joined.kind == EvaluationJob.kind
    again = tabulate(TINY, tmp_path / "b.parquet", storage=shared, study="tiny", workers=0)
    assert (scores(load_table(again)) == scores(load_table(tmp_path / "a.parquet"))).all()


def test_a_worker_refuses_other_images() -> None:
    job = job_of(TINY)
    job.evaluator.images_sha256 = "of others"  # type: ignore[attr-defined]
    with pytest.raises(DataError, match="the images must be those that the search was begun with"):
        job.open()


@pytest.mark.parametrize("space", sorted(SPACES))
def test_a_table_of_any_space(space: str, tmp_path: Path) -> None:
    config = tabulated_config(
        {"space": space, "cells": 2, "seeds": 1},
        {"epochs": 1, "num_train": 64, "num_val": 40, "num_test": 40, "batch_size": 32},
        None,
    )
    table = load_table(tabulate(config, tmp_path / "own.parquet"))
    own = SPACES[space]()
    assert table.provenance.space == space and table.provenance.recipe is not None
    assert [own.to_str(cell) for cell in table.graphs] == config.plan()
    assert ((scores(table) >= 0) & (scores(table) <= 1)).all() and (table.values("macs") > 0).all()
    assert TabulateConfig.like(table, dataset="digits") == config


def test_a_table_of_a_space_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from torch import nn\n\nfrom gnas.spaces import NASGEM\n\n\n"
        "class Small(NASGEM):\n    name = 'small'\n    networks = None\n\n"
        "    def __init__(self):\n        super().__init__(4)\n\n\n"
        "class Built(Small):\n"
        "    networks = property(lambda self: __import__('gnas').spaces.Networks.of(self.build))\n"
        "    def build(self, graph, *, in_channels=3, num_classes=10, width=4):\n"
        "        return nn.Sequential(nn.Flatten(), nn.Linear(64 * in_channels, num_classes))\n"
    )
    with pytest.raises(UnsupportedError, match="must have a `build` method to make networks"):
        TabulateConfig(space=f"{file}:Small")
    config = changed(space=f"{file}:Built", network={"width": 5}, cells=3, seeds=1)
    table = load_table(tabulate(config, tmp_path / "own.parquet", workers=1))
    assert len(table) == 3 and (table.values("num_params") == 650).all()
    assert table.provenance.space == "mine.py:Built"
    verify_table(table)
    words = [
        "search",
        "random",
        "--space",
        f"{file}:Built",
        "--table",
        str(tmp_path / "own.parquet"),
    ]
    done = CliRunner().invoke(app, [*words, "--budget", "3", "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    best = read_result(tmp_path / "run").metrics["val_acc"]
    assert best == pytest.approx(table.val_acc().max())


def test_a_larger_plan_extends_the_study(tmp_path: Path) -> None:
    out = tmp_path / "own.parquet"
    first = load_table(tabulate(TINY, out))
    before, times = scores(first), first.runs("train_time_s")
    more = load_table(tabulate(changed(cells=3, seeds=3), out))
    study = CandidateStudy.join("table", tmp_path / "own.parquet.study.db")
    assert study.progress().total == 9
    assert (scores(more)[:2, :2] == before).all()
    assert (more.runs("train_time_s")[:2, :2] == times).all()  # not again


def test_another_config_on_the_same_file_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "own.parquet"
    tabulate(changed(cells=1, seeds=1), out)
    for other, message in (
        ({"network": {"stem_channels": 8}}, r"network\.stem_channels=4, but now"),
        ({"num_test": 40}, r"evaluator\.images\.num_test=50, but now"),
        ({"recipe": replace(TINY.recipe, epochs=2)}, r"evaluator\.recipe\.epochs=1, but now"),
    ):
        with pytest.raises(ConfigError, match=f"was begun with .*{message}"):
            tabulate(changed(cells=1, seeds=1, **other), out)


def test_tables_of_others_are_kept(tmp_path: Path) -> None:
    out = tmp_path / "own.parquet"
    tabulate(changed(cells=1, seeds=1), out, workers=None)
    tabulate(changed(cells=2, seeds=1), out, workers=None)  # the same trainings, and more
    assert len(load_table(out)) == 2
    with pytest.raises(ConfigError, match="of other trainings: num_test was 50 and is now 40"):
        tabulate(changed(num_test=40), out, workers=None)
    copy(SHIPPED / "nasgem-mini.parquet", out)
    before = out.read_bytes()
    with pytest.raises(ConfigError, match=r"own\.parquet must be a new file, but is a table of"):
        tabulate(TINY, out)
    assert out.read_bytes() == before
    out.write_bytes(b"notes")
    with pytest.raises(DataError, match="must be an intact Parquet file"):
        tabulate(TINY, out)
    assert out.read_bytes() == b"notes"


def test_impossible_configs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cells must be at least 1"):
        changed(cells=0)
    with pytest.raises(ConfigError, match="networks of 'nasbench101' have no 'layers'"):
        changed(network={"layers": 3})
    with pytest.raises(ConfigError, match="unknown setting 'epoch'; did you mean epochs"):
        TINY.with_settings({"epoch": 2})
    with pytest.raises(ConfigError, match="cells must be at most 423624"):
        tabulate(changed(cells=423_625), tmp_path / "own.parquet")
    with pytest.raises(ConfigError, match="at least 1 without a storage for workers"):
        tabulate(TINY, tmp_path / "own.parquet", workers=0)
    with pytest.raises(ConfigError, match="a storage is for workers, but workers is None"):
        tabulate(TINY, tmp_path / "own.parquet", workers=None, storage=tmp_path / "s.db")
    assert os.listdir(tmp_path) == [], "an impossible plan leaves a file"
    for evaluations, message in (
        ([], "but none ended"), ([Evaluation(0, "x", None, "no memory")], "most so: no memory"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=f"at least one finished cell, .*{message}"):
            write_table(evaluations, TINY, TINY.images(), tmp_path / "own")
    assert not (tmp_path / "own").exists()


def test_an_unwritable_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(GnasError, match=r"must be writable, but .*file: it is a file"):
        tabulate(TINY, tmp_path / "file" / "own.parquet")
