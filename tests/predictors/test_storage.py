"""Fitted predictors on disk: every class comes back, and files of others are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from gnas.encoders import GraphEncoder, NASGEMEncoder, load_encoder
from gnas.errors import ConfigError, DataError, MissingDataError, UnsupportedError
from gnas.predictors import (
    MLP,
    ARDGaussianProcess,
    Average,
    Calibrated,
    ChannelStatistics,
    Embedding,
    FeatureUnion,
    Forest,
    IdentityPredictor,
    NumParams,
    OneHotOps,
    OnPackedGraphs,
    Predictor,
    Regressor,
    ZeroCost,
    default_predictor,
)
from gnas.predictors.features import FeatureMatrix
from gnas.spaces import DagSpace, NASBench101, NASBench201
from tests.predictors.test_predictors import IDS, PATHS, PREDICTORS, RAW, task

CELLS, SCORES = task(60)
EMBEDDING = Embedding(load_encoder("nasgem-nasbench101"))
MORE: list[Predictor] = [
    Regressor(RAW, make_pipeline(StandardScaler(), SVR(C=2.0))),
    OnPackedGraphs(ARDGaussianProcess(PATHS)),
    Average([MLP(RAW, epochs=2), MLP(RAW, epochs=3)], from_samples=(0, 500)),
    MLP(FeatureUnion((EMBEDDING, OneHotOps(7, 5))), epochs=2),
    Calibrated(
        Average([ARDGaussianProcess(FeatureUnion((PATHS, ChannelStatistics(NASBench101()))))] * 2)
    ),
    default_predictor(NASBench101(), networks=False),
]
ALL = [*PREDICTORS, *MORE]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "predictor.safetensors"


@pytest.mark.parametrize("predictor", ALL, ids=[*IDS, *(one.name for one in MORE)])
def test_a_loaded_predictor_predicts_the_same(predictor: Predictor, path: Path) -> None:
    first = predictor.reseeded(7).fit(CELLS[:40], SCORES[:40])
    first.save(path)
    for kind in (Predictor, type(predictor)):
        again = kind.load(path)
        assert type(again) is type(first) and again.random_state == 7
        assert again.name == first.name and again.features.name == first.features.name
        assert np.array_equal(again.predict(CELLS), first.predict(CELLS))


def test_names_need_not_be_utf8(path: Path) -> None:
    forest, other = Forest(RAW, num_trees=2), path.with_name("\udcff.safetensors")
    forest.fit(CELLS, SCORES).save(other)
    assert np.array_equal(Predictor.load(other).predict(CELLS), forest.predict(CELLS))


def test_nothing_in_the_file_is_a_pickle(path: Path) -> None:
    MLP(EMBEDDING, epochs=2).fit(CELLS, SCORES).save(path)
    with safe_open(path, framework="pt") as file:
        record = json.loads(file.metadata()["predictor"])
    assert record["class"] == "MLP" and record["params"]["epochs"] == 2
    assert {"rows", "scores", "encoder.0.layers.0.weight"} <= load_file(path).keys()


class Mine(Predictor):
    """A predictor of a user's own."""

    name = "mine"

    def __init__(self, features: Any, *, power: float = 1.0, random_state: int = 0) -> None:
        super().__init__(features, random_state=random_state)
        self.power = power

    def _fit(self, rows: FeatureMatrix, targets: FeatureMatrix) -> None:
        self._sign = np.sign(np.corrcoef(rows.sum(1), targets)[0, 1])

    def _predict(self, rows: FeatureMatrix) -> FeatureMatrix:
        found: FeatureMatrix = self._sign * rows.sum(1) ** self.power
        return found


def test_a_class_of_ones_own_reads_its_files(path: Path) -> None:
    first = Mine(RAW, power=1.5).fit(CELLS, SCORES)
    first.save(path)
    assert np.array_equal(Mine.load(path).predict(CELLS), first.predict(CELLS))
    with pytest.raises(DataError, match="its class 'Mine' is none of gnas; call `load` of the"):
        Predictor.load(path)


def test_a_space_of_ones_own_is_given_again(path: Path) -> None:
    space = DagSpace(ops=("a", "b"), max_nodes=5, learned=("a",), name="mine")
    cells = space.sample_batch(20, np.random.default_rng(0))
    first = ARDGaussianProcess(ChannelStatistics(NASBench101())).fit(CELLS, SCORES)
    first.save(path)
    assert Predictor.load(path).features == first.features
    own = default_predictor(space).fit(cells, np.arange(20.0))
    own.save(path)
    assert np.array_equal(Predictor.load(path).predict(cells), own.predict(cells))


UNSUPPORTED: list[Callable[[], Predictor]] = [
    lambda: IdentityPredictor(NumParams(lambda graphs: graphs.num_nodes.numpy())),
    lambda: Mine(RAW, power=np.float64(2), random_state=1),
]


def test_what_cannot_be_saved_says_so(path: Path) -> None:
    for make in UNSUPPORTED[:1]:
        with pytest.raises(UnsupportedError, match="must be values, spaces and classes of gnas"):
            make().fit(CELLS, SCORES).save(path)
    UNSUPPORTED[1]().fit(CELLS, SCORES).save(path)
    assert Mine.load(path).power == 2
    with pytest.raises(ConfigError, match="must be fitted first"):
        ARDGaussianProcess(PATHS).save(path)
    with pytest.raises(ConfigError, match=r"must end in \.safetensors, but got model\.pt"):
        ARDGaussianProcess(PATHS).fit(CELLS, SCORES).save("model.pt")


def test_bad_files_are_named(path: Path) -> None:
    with pytest.raises(MissingDataError, match="predictor not found"):
        Predictor.load(path)
    ARDGaussianProcess(PATHS).fit(CELLS, SCORES).save(path)
    with pytest.raises(DataError, match="it is of class ARDGaussianProcess, not Forest"):
        Forest.load(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="is damaged"):
        Predictor.load(path)


def deep(levels: int) -> Any:
    found: Any = 1
    for _ in range(levels):
        found = {"kind": "sequence", "items": [found]}
    return found


HOSTILE: list[tuple[Any, str]] = [
    ({"kind": "estimator", "class": "Popen", "params": {}}, "'Popen' is no estimator of scikit"),
    (
        {
            "kind": "estimator",
            "class": "Pipeline",
            "params": {"steps": {"kind": "sequence", "items": []}, "memory": "cache"},
        },
        "from which joblib would read pickles",
    ),
    ({"kind": "predictor", "class": "os.system", "params": {}}, "'os.system' is none of gnas"),
    ({"kind": "predictor", "class": "MLP", "params": {"x": 1}}, "unexpected keyword argument"),
    ({"kind": "predictor", "class": [], "params": {}}, "unhashable|is none of gnas"),
    ({"kind": "part", "class": "OneHot", "params": {"max_nodes": 3, "num_ops": 2}}, "OneHot, not"),
    ({"kind": "count", "name": "__loader__"}, "unknown count '__loader__'"),
    ({"kind": "nonsense"}, "unknown kind 'nonsense'"),
    ({"kind": "space", "space": {"name": "x.py:f", "args": {}}}, "which gnas does not have"),
    ({"kind": "encoder", "prefix": 3, "metadata": {}}, "must be str"),
    (3, "it is of class int, not Predictor"),
    ([1], "a list must be a sequence"),
    (deep(30), "more than 20 deep"),
]


@pytest.mark.parametrize(("record", "message"), HOSTILE)
def test_hostile_headers_are_refused(record: Any, message: str, path: Path) -> None:
    ARDGaussianProcess(PATHS).fit(CELLS, SCORES).save(path)
    header = {"format": "gnas-predictor", "predictor": json.dumps(record)}
    save_file(load_file(path), path, header)
    with pytest.raises(DataError, match=message):
        Predictor.load(path)
    for header in ({}, {"format": "x"}, {"format": "gnas-predictor", "predictor": "["}):
        save_file(load_file(path), path, header)
        with pytest.raises(DataError, match="must hold a predictor of this version"):
            Predictor.load(path)


def test_zero_cost_features_come_back(path: Path) -> None:
    space = NASBench201()
    cells = space.sample_batch(4, np.random.default_rng(0))
    first = Forest(ZeroCost(space), num_trees=3).fit(cells, np.arange(4.0))
    first.save(path)
    assert Forest.load(path).features == first.features


def test_encoders_are_read_and_written_as_pretrained_ones(tmp_path: Path) -> None:
    encoder = NASGEMEncoder.from_pretrained("nasgem-nasbench201")
    cells = NASBench201().sample_batch(5, np.random.default_rng(0))
    for place in (tmp_path / "folder", tmp_path / "one.safetensors"):
        encoder.save_pretrained(place)
        again = NASGEMEncoder.from_pretrained(place)
        assert (again.encode(cells) == encoder.encode(cells)).all()
    assert (tmp_path / "folder" / "model.safetensors").is_file()
    with pytest.raises(DataError, match="must be a GraphEncoder, but is a NASGEMEncoder"):
        GraphEncoder.from_pretrained(tmp_path / "folder")
    with pytest.raises(ConfigError, match="unknown encoder 'nasgem-202'"):
        NASGEMEncoder.from_pretrained("nasgem-202")
