from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest

from gnas.data import load_table
from gnas.errors import ConfigError, DataError
from gnas.spaces import NASBench101
from gnas.tabulate import TabulateConfig, build, open_study, progress, tabulate, work, write_table
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


def study_of(config: TabulateConfig, journal: Path) -> optuna.Study:
    return open_study(config, journal, config.images().sha256)


def test_plan_is_a_prefix_of_a_larger_plan() -> None:
    small, large = changed(cells=5).plan(), changed(cells=50).plan()
    assert large[:5] == small and len(set(large)) == 50
    for cell in large:
        NASBench101().from_str(cell)


def test_work_fills_a_table_that_reads_back(tmp_path: Path) -> None:
    out = tmp_path / "own.parquet"
    journal = tmp_path / "own.parquet.journal"
    study = study_of(TINY, journal)
    assert (progress(study).done, progress(study).total) == (0, 4)
    work(TINY, journal)
    assert (progress(study).done, progress(study).failed) == (4, 0)
    write_table(study, TINY, TINY.images(), out)
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
    study = study_of(TINY, tmp_path / "own.parquet.journal")
    done = [t for t in study.get_trials() if t.state == optuna.trial.TrialState.COMPLETE]
    assert len(done) == 4 and seen[-1] == 4
    alone = study_of(TINY, tmp_path / "alone.journal")
    work(TINY, tmp_path / "alone.journal")
    results = [
        {
            (t.user_attrs["cell"], t.user_attrs["seed"]): t.value
            for t in some.get_trials()
            if t.value is not None
        }
        for some in (study, alone)
    ]
    assert results[0] == results[1], "the accuracies depend on who trained"


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    config = changed(cells=12, seeds=1)
    journal = tmp_path / "own.parquet.journal"
    study = study_of(config, journal)
    script = (
        "from pathlib import Path; import sys; sys.path.insert(0, sys.argv[2]);"
        "from test_tabulate import changed; from gnas.tabulate import work;"
        "work(changed(cells=12, seeds=1), Path(sys.argv[1]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", script, str(journal), str(Path(__file__).parent)]
    )
    deadline = time.monotonic() + 120
    while progress(study).done < 2:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with journal.open("ab") as file:
        file.write(b'{"op_code": 5, "trial')  # killed in the middle of a write
    before = progress(study).done
    again = study_of(config, journal)
    assert progress(again).total == 12 and before <= progress(again).done < 12
    running = again.get_trials(states=(optuna.trial.TrialState.RUNNING,))
    assert running == []
    work(config, journal)
    assert progress(again).done == 12


def test_a_larger_plan_extends_the_study(tmp_path: Path) -> None:
    journal = tmp_path / "own.journal"
    assert progress(study_of(TINY, journal)).total == 4
    assert progress(study_of(changed(cells=3), journal)).total == 6
    assert progress(study_of(changed(cells=3, seeds=3), journal)).total == 9


def test_another_config_on_the_same_journal_is_refused(tmp_path: Path) -> None:
    journal = tmp_path / "own.journal"
    study_of(TINY, journal)
    with pytest.raises(ConfigError, match="was begun with stem_channels=4, but now"):
        study_of(changed(stem_channels=8), journal)
    with pytest.raises(ConfigError, match="was begun with images_sha256="):
        open_study(TINY, journal, "other images")


def test_an_impossible_plan_leaves_no_journal(tmp_path: Path) -> None:
    journal = tmp_path / "own.journal"
    with pytest.raises(ConfigError, match="cells must be at most 423624"):
        study_of(changed(cells=500_000), journal)
    assert not journal.exists()


def test_a_file_that_is_no_journal_is_refused_and_kept(tmp_path: Path) -> None:
    journal = tmp_path / "own.journal"
    journal.write_bytes(b"hello\nworld\n")
    with pytest.raises(DataError, match="must be an Optuna journal"):
        study_of(TINY, journal)
    assert journal.read_bytes() == b"hello\nworld\n"


def test_impossible_configs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cells must be at least 1"):
        changed(cells=0)
    with pytest.raises(ConfigError, match="cells must be at most 423624"):
        changed(cells=423_625).plan()
    with pytest.raises(ConfigError, match="workers must be at least 1"):
        tabulate(TINY, tmp_path / "own.parquet", workers=0)
    study = study_of(TINY, tmp_path / "own.journal")
    with pytest.raises(DataError, match="at least one finished cell"):
        write_table(study, TINY, TINY.images(), tmp_path / "own")
    assert not (tmp_path / "own").exists()
    assert os.listdir(tmp_path)


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> optuna.Study:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # a write tells no path

    monkeypatch.setattr(build, "open_study", full)
    with pytest.raises(DataError, match=r"own.parquet.journal must be writable, but got: No"):
        tabulate(TINY, tmp_path / "own.parquet")
