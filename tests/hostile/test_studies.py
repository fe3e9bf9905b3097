"""Hostile studies: refused by a `GnasError` of one line, or harmless."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gnas.data.images.config import ProxyImagesConfig
from gnas.errors import DataError
from gnas.evaluate import EvaluationJob, TrainingEvaluator
from gnas.runs import to_jsonable
from gnas.spaces import NASBench201
from gnas.studies import CandidateStudy
from gnas.training.recipe import ProxyRecipe
from tests.hostile.mutations import ROUNDS, any_value, dumped, flipped, mutated, refused
from tests.studies.jobs import Doubling


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with candidates that ended well, failed, are being evaluated and wait."""
    path = tmp_path_factory.mktemp("study") / "study.db"
    study = CandidateStudy.open(Doubling(), name="s", storage=path)
    study.plan([{"x": k} for k in range(4)])
    done, failed = study.claim(), study.claim()
    assert done is not None and failed is not None and study.claim() is not None
    study.succeed(done, {"score": 1.0, "shape": [1, 2]})
    study.fail(failed, "too large")
    with sqlite3.connect(path) as database:
        database.execute("pragma wal_checkpoint(truncate)")
    database.close()
    return path


def opened(path: Path) -> None:
    """Everything that a command or a worker may do with a study."""
    study = CandidateStudy.join("s", path)
    Doubling.from_metadata(study.facts)
    study.progress()
    study.results()
    study.requeue_stale()
    study.requeue_orphans()
    claim = study.claim()
    if claim is not None:
        study.succeed(claim, {"score": 2.0})
    study.finish()


def mutate_database(path: Path, rng: np.random.Generator) -> None:
    """Changes a value of a study's tables, or removes a row."""

    def one_of(items: list[Any]) -> Any:
        return items[int(rng.integers(len(items)))]

    with sqlite3.connect(path) as study:
        names = [row[0] for row in study.execute("select name from sqlite_master")]
        tables = [name for name in names if not name.startswith(("sqlite_", "ix_"))]
        table = one_of([t for t in tables if study.execute(f"select 1 from {t}").fetchone()])
        column = one_of([row[1] for row in study.execute(f"pragma table_info({table})")])
        row, was = one_of(study.execute(f"select rowid, {column} from {table}").fetchall())
        if rng.random() < 0.15:
            study.execute(f"delete from {table} where rowid = ?", (row,))
            return
        value = any_value(rng)
        if isinstance(was, str) and was[:1] in "[{" and rng.random() < 0.7:
            value = mutated(json.loads(was), rng)
        if not isinstance(value, str | float | None):
            value = dumped(value)
        try:
            study.execute(f"update {table} set {column} = ? where rowid = ?", (value, row))
        except sqlite3.IntegrityError:
            pass  # the database refuses it itself
    study.close()


@pytest.mark.filterwarnings("ignore")
def test_studies(sound: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    count = 0
    for k in range(60 * ROUNDS):
        path = tmp_path / f"{k}.db"
        shutil.copy(sound, path)
        if k == 0:
            assert not refused(lambda path=path: opened(path))  # type: ignore[misc]
            continue
        if rng.random() < 0.2:
            path.write_bytes(flipped(sound.read_bytes(), rng))
        else:
            mutate_database(path, rng)
        count += refused(lambda path=path: opened(path))  # type: ignore[misc]
    assert count > 6 * ROUNDS


@pytest.mark.parametrize("name", ["facts", "heartbeat_s"])
def test_facts_of_another_type(name: str, sound: Path, tmp_path: Path) -> None:
    """Both by those who join, and by those who go on with what they began."""
    path = tmp_path / "study.db"
    for value in ("3", '"x"', "[]", "null"):
        shutil.copy(sound, path)
        with sqlite3.connect(path) as study:
            command = "update study_user_attributes set value_json = ? where key = ?"
            assert study.execute(command, (value, name)).rowcount == 1
        study.close()
        if (name, value) == ("heartbeat_s", "3"):
            continue  # a number
        with pytest.raises(DataError, match="study 's' must hold the facts of a job"):
            CandidateStudy.join("s", path)
        with pytest.raises(DataError, match="study 's' must hold the facts of a job"):
            CandidateStudy.open(Doubling(), name="s", storage=path)


def test_facts_of_searches(rng: np.random.Generator) -> None:
    """As a worker on another machine reads them."""
    space = NASBench201()
    trained = TrainingEvaluator(ProxyImagesConfig(), ProxyRecipe())
    facts = to_jsonable(EvaluationJob(space, trained, ("val_acc",)).metadata())
    assert not refused(lambda: EvaluationJob.from_metadata(facts))
    count = 0
    for _ in range(120 * ROUNDS):
        changed = mutated(facts, rng)
        count += refused(lambda changed=changed: EvaluationJob.from_metadata(changed))  # type: ignore[misc]
    assert count > 20 * ROUNDS
