"""Predictors that an experiment is told to compare, by name or from a user's file."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from gnas.bench.config import NASBench101Bench, NASBench201Bench
from gnas.bench.nasbench101 import bench_nasbench101
from gnas.bench.nasbench201 import bench_nasbench201
from gnas.bench.setups import PredictorSetup, predictor_setups
from gnas.cli import app
from gnas.data import BenchmarkTable, save_table
from gnas.data.columns import Column, Provenance
from gnas.errors import ConfigError, DataError, GnasError, MissingDataError
from gnas.predictors import (
    PREDICTOR_NAMES,
    PREDICTORS,
    Forest,
    GraphNetwork,
    NumParams,
    Predictor,
    make_predictor,
)
from gnas.spaces import SPACES, NASBench101, NASBench201, Space

MINE = """
import numpy as np
from gnas.predictors import Forest, OneHot, Predictor

small = Forest(OneHot(7, 5), num_trees=5)
number, text = 3, "forest"


class Edges(Predictor):
    name = "edges"

    def _fit(self, rows, targets):
        self.sign = np.sign(np.corrcoef(rows.sum(1), targets)[0, 1])

    def _predict(self, rows):
        return self.sign * rows.sum(1)


class Broken(Edges):
    def _predict(self, rows):
        return rows.nonsense


def edges(space):
    return Edges(OneHot(space.max_nodes, len(space.ops)))


def broken(space):
    return Broken(OneHot(space.max_nodes, len(space.ops)))


def failing(space):
    return 1 / 0
"""


@pytest.fixture
def mine(tmp_path: Path) -> str:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return str(path)


def labels(found: list[PredictorSetup]) -> list[tuple[str, str]]:
    return [(one.name, one.encoder) for one in found]


def compared(
    space: Space, *predictors: str, encoders: tuple[str, ...] = (), wiring_only: bool = False
) -> list[PredictorSetup]:
    params = NumParams(lambda graphs: graphs.num_nodes.numpy())
    return predictor_setups(
        space,
        encoders,
        wiring_only=wiring_only,
        params=params,
        predictors=predictors or None,
    )


def test_every_name_makes_a_predictor_that_learns() -> None:
    assert PREDICTORS.keys() == PREDICTOR_NAMES.keys()
    space = NASBench101()
    cells = space.sample_batch(40, np.random.default_rng(0))
    scores = cells.adjacency.sum((1, 2)).double().numpy()
    for name in PREDICTORS.keys() - {"default-prior", "default-networks"}:
        predictor = make_predictor(name, space, random_state=5)
        assert isinstance(predictor, Predictor) and predictor.random_state == 5
        if name != "graph-network":  # trained for seconds, and tested on its own
            assert predictor.fit(cells, scores).score(cells, scores) > 0.3, name


@pytest.mark.parametrize("space", sorted(SPACES))
def test_a_predictor_that_does_not_suit_a_space_says_so(space: str) -> None:
    refused = set()
    for name in PREDICTORS:
        try:
            make_predictor(name, SPACES[space]())
        except GnasError as error:
            refused.add(name)
            assert SPACES[space].name in str(error)
    on_edges = bool(SPACES[space]().edge_ops)
    assert refused == ({"mlp-walks", "gp-walks"} if on_edges else {"default-prior"})


def test_names_choose_the_rows_and_their_order() -> None:
    space, paths = NASBench101(), "path statistics + channel statistics"
    params = ("none", "number of parameters")
    assert labels(compared(space, "forest", "default", "ard-gp")) == [
        ("random forest", "adjacency + ops + op counts"),
        ("default", paths),
        ("ARD GP", paths),
        params,
    ]
    usual = labels(compared(space, encoders=("nasgem-nasbench101",)))
    named = compared(space, "mlp", "default", "forest", "gp", encoders=("nasgem-nasbench101",))
    assert labels(named) == usual and len(usual) == 8
    hidden = labels(compared(space, "mlp", "forest", "ard-gp", wiring_only=True))
    assert hidden[:3] == [("MLP", "adjacency"), ("random forest", "adjacency"), ("ARD GP", paths)]
    on_edges = [name for name, _ in labels(compared(NASBench201()))]
    assert on_edges == ["MLP", "default", "default", "ARD GP", "WL GP", "random forest", "GP",
                        "none"]  # fmt: skip


def test_graph_encoders_stand_beside_those_of_the_perceptron() -> None:
    names = ("nasgem-nasbench201", "dag-nasbench201")
    found = compared(NASBench201(), "mlp", "graph-network", encoders=names)
    assert labels(found)[1:-1] == [
        ("MLP", names[0]),
        ("MLP", f"exact kernel of {names[0]}"),
        ("MLP", names[1]),
        ("dag network x 2, bce", names[1]),
    ]
    network = found[-2].predictor
    assert isinstance(network, GraphNetwork) and len(network.encoders) == 1
    alone = compared(NASBench201(), "graph-network")[0]
    assert alone.encoder == "graphs"


def test_a_predictor_of_a_users_file(mine: str, table_path: str) -> None:
    space = NASBench101()
    assert isinstance(make_predictor(f"{mine}:small", space, random_state=4), Forest)
    assert make_predictor(f"{mine}:small", space, random_state=4).random_state == 4
    config = NASBench101Bench(
        samples=(40,), seeds=2, table=table_path, predictors=(f"{mine}:edges", "forest")
    )
    results = [bench_nasbench101(config, workers=workers) for workers in (1, 2)]
    assert results[0].rows == results[1].rows
    first, second = results[0].rows[:2]
    assert (first.predictor, first.encoder) == ("edges", "adjacency + ops")
    assert first.kendall_tau_gain is None and second.kendall_tau_gain is not None
    assert results[0].protocol["own predictors"].startswith("mine.py:edges (sha256 ")
    again = pickle.loads(pickle.dumps(compared(space, f"{mine}:edges")[0]))
    assert type(again.predictor).__name__ == "Edges" and again.space == space


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("failing", "must be a function of a space that returns a Predictor, but: ZeroDivision"),
        ("number", "returns a Predictor, but: TypeError: 'int' object is not callable"),
        ("absent", "must define 'absent', but does not"),
        ("np", "must be a function of a space that returns a Predictor, but: TypeError"),
    ],
)
def test_files_that_make_no_predictor_are_named(mine: str, name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_predictor(f"{mine}:{name}", NASBench101())


def test_an_error_in_a_users_predictor_is_one_line(mine: str, table_path: str) -> None:
    config = NASBench101Bench(
        samples=(40,), seeds=1, table=table_path, predictors=(f"{mine}:broken",)
    )
    with pytest.raises(DataError, match=r"mine.py:broken: AttributeError: .*nonsense"):
        bench_nasbench101(config)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"predictors": ("forrest",)}, ConfigError, "unknown predictor 'forrest'; did you mean "
         "forest\\? choose from ard-gp, .*, or name your own FILE.py:NAME"),
        ({"predictors": ()}, ConfigError, "predictors must be at least one"),
        ({"predictors": ("gp", "gp")}, ConfigError, "predictors must differ"),
        ({"predictors": ("none.py:x",)}, MissingDataError, "none.py must be a Python file"),
        ({"predictors": ("mine:x",)}, ConfigError, "must be named FILE.py:NAME, but got 'mine:x'"),
        ({"predictors": ("gp",), "networks": True}, ConfigError, "name 'default-networks' among"),
    ],
)  # fmt: skip
def test_bad_names_are_told(change: dict[str, Any], error: type, message: str) -> None:
    for config in (NASBench101Bench, NASBench201Bench):
        with pytest.raises(error, match=message):
            config(**change)


def test_encoders_of_ones_choice_on_nasbench201(tmp_path: Path) -> None:
    graphs = NASBench201().enumerate()[torch.arange(0, 15625, 130)]
    column = Column.of("val_acc", dataset="cifar10-valid", epochs=200, run=1)
    facts = Provenance("some", "nasbench201", "drawn", "self-made")
    values = graphs.adjacency.double().sum((1, 2)).numpy() + np.arange(len(graphs)) / 1000
    path = tmp_path / "some.parquet"
    save_table(BenchmarkTable(graphs, [column], facts, {column.name: values / 100}), path)
    config = NASBench201Bench(
        table=str(path), samples=(30,), seeds=1, encoders=("gin-nasbench201",), predictors=("mlp",)
    )
    rows = bench_nasbench201(config).rows
    assert [row.encoder for row in rows[:2]] == ["adjacency + ops", "gin-nasbench201"]
    assert len(rows) == 5


def test_the_command_line(mine: str, table_path: str, tmp_path: Path) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        fixed = ["bench", "nasbench101", "--table", table_path, "--samples", "40", "--seeds", "1"]
        done = CliRunner().invoke(app, [*fixed, *arguments])
        return done.exit_code, done.stderr

    file = tmp_path / "result.json"
    code, err = run("--predictors", f"forest,{mine}:edges", "--json", str(file))
    assert code == 0, err
    rows = json.loads(file.read_text())["rows"]
    assert [row["predictor"] for row in rows] == ["random forest", "edges", *["none"] * 3]
    code, err = run("--predictors", "forrest")
    assert code == 1 and err.count("\n") == 1 and "did you mean forest?" in err
    code, err = run("--predictors", "gp", "--encoders", "nasgem-nasbench101")
    assert code == 1 and "--encoders must go with a predictor that reads them" in err
