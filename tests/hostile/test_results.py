"""Hostile results, trackers' records, encoders and predictors: refused in one line, or harmless.

``GNAS_FUZZ_ROUNDS=100 pytest tests/hostile`` tries a hundred times as many.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from sklearn.ensemble import RandomForestRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gnas.bench.leaderboard import leaderboard, read_bench
from gnas.encoders import PRESETS, NASGEMEncoder, load_encoder, save_encoder
from gnas.errors import DataError
from gnas.loggers import STATE, logged_by
from gnas.predictors import MLP, ARDGaussianProcess, Embedding, Predictor, Regressor
from gnas.report.reading import read_report
from tests.hostile.mutations import ROUNDS, VALUES, command, dumped, flipped, mutated, refused
from tests.predictors.test_predictors import PATHS, RAW, task

RECORDS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"
BENCHES = [
    "darts_2core-cpu_202611.json",
    "nasbench201_search_cifar10_202611.json",
    "nasbench201_topology_cifar10_202611.json",
    "supernets_nasbench201_2core-cpu_202611.json",
]
CELLS, SCORES = task(24)


def shortened(name: str) -> Any:
    """The record of a bench with few rows, so that mutations reach all parts of it."""
    record = json.loads((RECORDS / name).read_text())
    return {
        **record,
        **{part: record[part][:4] for part in ("rows", "searches") if part in record},
    }


@pytest.mark.parametrize("name", BENCHES)
def test_results_of_benches(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    record, path = shortened(name), tmp_path / "result.json"
    sound = tmp_path / "sound.json"
    sound.write_text(json.dumps(record))

    def joined() -> None:
        leaderboard([read_bench(sound), read_bench(path)])

    tries: list[Callable[[], object]] = [joined, lambda: read_report(path)]
    path.write_text(json.dumps(record))
    assert not any(map(refused, tries))
    count = 0
    for _ in range(40 * ROUNDS):
        if rng.random() < 0.1:
            path.write_bytes(flipped(sound.read_bytes(), rng))
        else:
            path.write_text(dumped(mutated(record, rng)))
        count += sum(map(refused, tries))
    assert count > 20 * ROUNDS


def test_results_that_are_something_else(tmp_path: Path) -> None:
    path, out = tmp_path / "x.json", tmp_path / "x.html"
    for value in VALUES[::4]:
        for content in (value, {"command": value}, {"command": "bench darts", "rows": value}):
            path.write_text(dumped(content))
            assert command("leaderboard", path) == 1
            assert command("report", path, "--out", out) == 1
    assert not out.exists()


def test_what_trackers_know_of_a_run(tmp_path: Path, rng: np.random.Generator) -> None:
    path, known = tmp_path / STATE, {"wandb": {"run": "abc", "logged": 3, "status": "failed"}}
    path.write_text(json.dumps(known))
    assert logged_by(tmp_path) == ["wandb"]
    count = 0
    for _ in range(80 * ROUNDS):
        path.write_text(dumped(mutated(known, rng)))
        count += refused(lambda: logged_by(tmp_path))
    assert count > 20 * ROUNDS


def with_header(path: Path, whole: Path, key: str, content: Any) -> None:
    """The weights of a file under another header, in which one JSON text is another."""
    with safe_open(whole, framework="pt") as file:
        header = dict(file.metadata())
    save_file(load_file(whole), path, {**header, key: dumped(content)})


def header_of(path: Path, key: str) -> Any:
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()[key])


def test_encoders(tmp_path: Path, rng: np.random.Generator) -> None:
    config = replace(PRESETS["nasgem-nasbench101-paper"](), hidden=(8,), dim=4)
    whole, path = tmp_path / "whole.safetensors", tmp_path / "x.safetensors"
    save_encoder(NASGEMEncoder(config, "mine"), whole)
    assert not refused(lambda: load_encoder(whole))
    recipe, content = header_of(whole, "config"), whole.read_bytes()
    count = 0
    for _ in range(60 * ROUNDS):
        if rng.random() < 0.3:
            path.write_bytes(flipped(content, rng))
        else:
            with_header(path, whole, "config", mutated(recipe, rng))
        count += refused(lambda: load_encoder(path))
    assert count > 20 * ROUNDS


def test_every_field_of_an_encoder_may_be_anything(tmp_path: Path) -> None:
    config = replace(PRESETS["nasgem-nasbench101-paper"](), hidden=(8,), dim=4)
    whole, path = tmp_path / "whole.safetensors", tmp_path / "x.safetensors"
    save_encoder(NASGEMEncoder(config, "mine"), whole)
    recipe = header_of(whole, "config")
    count = 0
    for name in recipe:
        for value in VALUES:
            with_header(path, whole, "config", {**recipe, name: value})
            count += refused(lambda: load_encoder(path))
    assert count > 200


PREDICTORS: dict[str, Callable[[], Predictor]] = {
    "process": lambda: ARDGaussianProcess(PATHS),
    "embedding": lambda: MLP(Embedding(load_encoder("nasgem-nasbench101")), epochs=1),
    "estimator": lambda: Regressor(
        RAW, make_pipeline(StandardScaler(), RandomForestRegressor(n_estimators=3))
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PREDICTORS)
def test_predictors(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    whole, path = tmp_path / "whole.safetensors", tmp_path / "x.safetensors"
    PREDICTORS[name]().fit(CELLS, SCORES).save(whole)
    assert not refused(lambda: Predictor.load(whole))
    record, content = header_of(whole, "predictor"), whole.read_bytes()
    count = 0
    for _ in range(40 * ROUNDS):
        if rng.random() < 0.2:
            path.write_bytes(flipped(content, rng))
        else:
            with_header(path, whole, "predictor", mutated(record, rng))
        count += refused(lambda: Predictor.load(path))
    assert count > 20 * ROUNDS


def test_predictors_that_would_train_for_ever(tmp_path: Path) -> None:
    whole, path = tmp_path / "whole.safetensors", tmp_path / "x.safetensors"
    PREDICTORS["estimator"]().fit(CELLS, SCORES).save(whole)
    text = json.dumps(header_of(whole, "predictor"))
    text = text.replace('"n_estimators": 3', '"n_estimators": 1000000000')
    with_header(path, whole, "predictor", json.loads(text))
    with pytest.raises(DataError, match="n_estimators must be at most 100000"):
        Predictor.load(path)
