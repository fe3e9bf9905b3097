from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gnas.data import load_table
from gnas.errors import ConfigError, DataError, GnasError
from gnas.spaces import NASBench101
from gnas.studies import CandidateStudy, work
from gnas.tabulate import TabulateConfig, TabulateJob, planned, tabulate, write_table
from gnas.train import ProxyRecipe

TINY = TabulateConfig(
    cells=2,
    seeds=2,
    num_train=64,
    num_val=50,
    num_test=50,
    stem_channels=4,
    num_stacks=2,
    recipe=ProxyRecipe(epochs=1, batch_size=32),
)


def changed(**fields: object) -> TabulateConfig:
    return TabulateConfig(**{**TINY.__dict__, **fields})


def job_of(config: TabulateConfig) -> TabulateJob:
    return TabulateJob(config, config.images().sha256)


def study_of(config: TabulateConfig, file: Path) -> CandidateStudy:
    study = CandidateStudy.open(job_of(config), name="table", storage=file)
    study.plan(planned(config))
    return study


def scores(study: CandidateStudy) -> dict[tuple[str, int], float]:
    return {
        (e.candidate["architecture"], e.candidate["seed"]): e.result["val_acc"]
        for e in study.results()
        if e.result is not None
    }


def test_plan_is_a_prefix_of_a_larger_plan() -> None:
    small, large = changed(cells=5).plan(), changed(cells=50).plan()
    assert large[:5] == small and len(set(large)) == 50
    for cell in large:
        NASBench101().from_str(cell)


def test_work_fills_a_table_that_reads_back(tmp_path: Path) -> None:
    out = tmp_path / "own.parquet"
    study = study_of(TINY, tmp_path / "own.db")
    assert (study.progress().done, study.progress().total) == (0, 4)
    assert work(study, job_of(TINY), wait=False) == 4
    assert (study.progress().done, study.progress().failed) == (4, 0)
    write_table(study.results(), TINY, TINY.images(), out)
    table = load_table(out)
    assert [NASBench101().to_str(cell) for cell in table.graphs] == TINY.plan()
    assert table.provenance.kind == "self-made" and table.provenance.recipe is not None
    assert np.all((table.val_acc() >= 0) & (table.val_acc() <= 1))
    assert table.runs("test_acc").shape == (2, 2)
    assert np.all(table.values("macs") > 0)
    assert TabulateConfig.like(table, dataset="digits") == TINY


def test_a_recipe_of_another_version_is_refused() -> None:
    table = load_table("nasbench101-mini")
    recipe = {**(table.provenance.recipe or {}), "recipe": {"epochs": 1, "dropout": 0.5}}
    table.provenance = replace(table.provenance, recipe=recipe)
    with pytest.raises(ConfigError, match=r"one of this version of gnas, but is .*'dropout'"):
        TabulateConfig.like(table)


def test_several_processes_train_each_cell_once(tmp_path: Path) -> None:
    out = tmp_path / "own.parquet"
    seen: list[int] = []
    tabulate(TINY, out, workers=2, report=lambda p: seen.append(p.done))
    study = study_of(TINY, tmp_path / "own.parquet.study.db")
    assert study.progress().done == 4 and seen[-1] == 4
    alone = study_of(TINY, tmp_path / "alone.db")
    work(alone, job_of(TINY), wait=False)
    assert scores(study) == scores(alone), "the accuracies depend on who trained"


def test_a_study_elsewhere_trains_the_same(tmp_path: Path) -> None:
    shared = tmp_path / "shared.db"
    tabulate(TINY, tmp_path / "a.parquet", storage=shared, study="tiny")
    joined = CandidateStudy.join("tiny", shared)
    job = TabulateJob.from_facts(joined.facts)
    assert job.facts() == joined.facts and joined.kind == TabulateJob.kind
    assert job.open()(planned(TINY)[0])["val_acc"] == scores(joined)[TINY.plan()[0], 1]
    again = tabulate(TINY, tmp_path / "b.parquet", storage=shared, study="tiny", workers=0)
    assert (load_table(again).val_acc() == load_table(tmp_path / "a.parquet").val_acc()).all()


def test_a_worker_refuses_other_images_and_other_versions() -> None:
    job = job_of(TINY)
    with pytest.raises(DataError, match="the images must be those that the study was begun with"):
        replace(job, images_sha256="of others").open()
    with pytest.raises(ConfigError, match="must be of this version of gnas"):
        TabulateJob.from_facts({**job.facts(), "momentum": 1})


def test_a_larger_plan_extends_the_study(tmp_path: Path) -> None:
    file = tmp_path / "own.db"
    assert study_of(TINY, file).progress().total == 4
    assert study_of(changed(cells=3), file).progress().total == 6
    assert study_of(changed(cells=3, seeds=3), file).progress().total == 9


def test_another_config_on_the_same_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "own.db"
    study_of(TINY, file)
    with pytest.raises(ConfigError, match="was begun with stem_channels=4, but now"):
        study_of(changed(stem_channels=8), file)
    other = replace(job_of(TINY), images_sha256="of others")
    with pytest.raises(ConfigError, match="was begun with images_sha256="):
        CandidateStudy.open(other, name="table", storage=file)


def test_impossible_configs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cells must be at least 1"):
        changed(cells=0)
    with pytest.raises(ConfigError, match="cells must be at most 423624"):
        tabulate(changed(cells=423_625), tmp_path / "own.parquet")
    with pytest.raises(ConfigError, match="workers must be at least 1"):
        tabulate(TINY, tmp_path / "own.parquet", workers=0)
    assert os.listdir(tmp_path) == [], "an impossible plan leaves a file"
    study = study_of(TINY, tmp_path / "own.db")
    with pytest.raises(DataError, match="at least one finished cell, but none ended"):
        write_table(study.results(), TINY, TINY.images(), tmp_path / "own")
    assert not (tmp_path / "own").exists()


def test_an_unwritable_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(GnasError, match=r"must be writable, but .*file: it is a file"):
        tabulate(TINY, tmp_path / "file" / "own.parquet")
