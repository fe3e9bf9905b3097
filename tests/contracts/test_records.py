"""Runs, trials, tables and weights keep the space of their architectures, arguments included."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn
from torch_geometric.data import Data
from typer.testing import CliRunner

from gnas.cli import app
from gnas.data import BenchmarkTable, Column, Provenance, load_table, save_table, verify_table
from gnas.data.agreement import function_agreement
from gnas.data.parquet import _checksum
from gnas.errors import ConfigError, DataError
from gnas.evaluate import TableEvaluator
from gnas.graphs import distinct
from gnas.models import load_network
from gnas.models.saved import NetworkMetadata, save_network
from gnas.proxies import ProxyConfig, ProxyStore
from gnas.search import RandomArchitectureSampler, read_result, run_search, suggest_architecture
from gnas.spaces import (
    NASGEM,
    DagSpace,
    EdgeOpSpace,
    NASBench201,
    Space,
    TopoNAS,
    load_space,
    space_of_record,
    space_record,
    space_text,
)

optuna.logging.set_verbosity(optuna.logging.WARNING)

OWN = """
from torch import nn
from gnas.spaces import DagSpace

class Blocks(DagSpace):
    name = "blocks"

    def __init__(self, nodes: int = 4) -> None:
        super().__init__(ops=("mlp", "norm"), max_nodes=nodes, learned=("mlp",))

    def build(self, graph, *, in_channels=3, num_classes=10):
        return nn.Sequential(nn.Flatten(), nn.Linear(16 * in_channels, num_classes))
"""


def linear(graph: Data, *, in_channels: int = 3, num_classes: int = 10) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(16 * in_channels, num_classes))


def edges_of(nodes: int) -> Space:
    ops = ("cut", "pass", "mix")
    return EdgeOpSpace(num_nodes=nodes, edge_ops=ops, none="cut", skip="pass", build=linear)


@pytest.fixture(params=["dag in a file", "edge-ops", "toponas"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Space, Space]:
    """A space with arguments, and one of the same class with others."""
    if request.param == "toponas":
        return TopoNAS(8), TopoNAS(8, mode="input")
    if request.param == "edge-ops":
        return edges_of(4), edges_of(5)
    (tmp_path / "own.py").write_text(OWN)
    small, large = (load_space(f"{tmp_path}/own.py:Blocks(nodes={n})") for n in (5, 6))
    return small, large


def worth(graph: Data, *, seed: int) -> float:
    return float(graph.num_edges)


def read_back(record: Any, space: Space) -> Space:
    """The space of a record: made from it, unless it has a function that only a program has."""
    if any(map(callable, space.args.values())):
        return space_of_record(record, space)
    return space_of_record(record, run=True)


def table_of(space: Space, **facts: Any) -> BenchmarkTable:
    drawn = space.sample_batch(8, np.random.default_rng(0))
    graphs = drawn[torch.from_numpy(distinct(drawn))]
    column = Column.of("val_acc")
    values = {column.name: np.linspace(0.1, 0.9, len(graphs))}
    provenance = Provenance.of(space, "made", source="a test", kind="self-made")
    return BenchmarkTable(graphs, [column], replace(provenance, **facts), values)


def test_a_run(pair: tuple[Space, Space], tmp_path: Path) -> None:
    space, _ = pair
    run_search(space, "random", worth, budget=3, out=tmp_path / "run")
    found = read_result(tmp_path / "run")
    again = read_back(json.loads(json.dumps(found.space)), space)
    assert again == space
    again.validate(again.from_str(found.architecture))


def test_a_trial(pair: tuple[Space, Space]) -> None:
    space, other = pair
    study = optuna.create_study(sampler=RandomArchitectureSampler(space, seed=0))
    study.optimize(lambda trial: worth(suggest_architecture(trial, space), seed=0), n_trials=2)
    for trial in study.trials:
        assert read_back(trial.user_attrs["space"], space) == space
        space.validate(suggest_architecture(trial, space))
        with pytest.raises(ConfigError, match=r"trial \d must hold an architecture of .* but hol"):
            suggest_architecture(trial, other)
    study.sampler = RandomArchitectureSampler(other, seed=0)
    with pytest.raises(ConfigError, match=r"but holds one of .*; use another study name"):
        study.optimize(lambda trial: worth(suggest_architecture(trial, other), seed=0), 1)


def test_a_trial_on_a_table(pair: tuple[Space, Space]) -> None:
    """The rows of a table are of the table's space, whatever a searcher walks over."""
    space, _ = pair
    table = table_of(space)
    rows = TableEvaluator.from_table(space, table, ["val_acc"]).space
    assert space_record(rows) == space_record(space)
    study = optuna.create_study(sampler=RandomArchitectureSampler(rows, seed=0))
    study.optimize(lambda trial: worth(suggest_architecture(trial, rows), seed=0), n_trials=1)
    space.validate(suggest_architecture(study.trials[0], space))


def test_a_table(pair: tuple[Space, Space], tmp_path: Path) -> None:
    space, other = pair
    table, path = table_of(space), tmp_path / "t.parquet"
    save_table(table, path)
    facts = load_table(path).provenance
    record = space_record(space)
    assert (facts.space, facts.space_args) == (record["name"], record["args"])
    assert facts.opened_space(space) is space
    with pytest.raises(ConfigError, match=r"must hold architectures of .*, but holds those of"):
        facts.opened_space(other)
    verify_table(load_table(path), space=space)
    known = facts.known_space()
    if ":" in facts.space:  # a user's file is not run
        assert known is None and function_agreement(load_table(path)) is None
        with pytest.raises(ConfigError, match=r"own.py:Blocks\(nodes=5\): name that space with"):
            facts.opened_space()
    else:
        assert known is not None and known.vocabulary == space.vocabulary
        verify_table(load_table(path))


def test_weights(pair: tuple[Space, Space], tmp_path: Path) -> None:
    space, other = pair
    text = space.to_str(space.sample(np.random.default_rng(0)))
    small = {} if space.networks is None else space.networks.small
    config = space.network_config(**small, in_channels=1, num_classes=3)
    facts = NetworkMetadata(space=space, architecture=text, config=config, image_size=4)
    save_network(tmp_path / "saved", space.network(facts.graph, config), facts)
    found = load_network(tmp_path / "saved", space)[1]
    assert found.space == space and found.graph.num_nodes == facts.graph.num_nodes
    record = json.loads((tmp_path / "saved" / "config.json").read_text())["space"]
    assert read_back(record, space) == space
    if isinstance(space, TopoNAS):
        assert load_network(tmp_path / "saved")[1].space == space
        with pytest.raises(DataError, match=r"must be toponas\(num_nodes=8\), but got"):
            load_network(tmp_path / "saved", other)


def test_measured_proxies(pair: tuple[Space, Space], tmp_path: Path) -> None:
    space, other = pair
    ProxyStore(tmp_path / "store.jsonl").open(space, ProxyConfig())
    ProxyStore(tmp_path / "store.jsonl").open(space, ProxyConfig())
    with pytest.raises(ConfigError, match="space"):
        ProxyStore(tmp_path / "store.jsonl").open(other, ProxyConfig())


def test_texts_of_spaces_are_read_again() -> None:
    for space in (NASBench201(), NASGEM(8), TopoNAS(5, topology="fixed", k=1, mode="input")):
        assert load_space(space_text(space_record(space))) == space
    assert space_text(space_record(NASBench201())) == "nasbench201"
    assert space_text(space_record(NASGEM(8))) == "nasgem(num_nodes=8)"


def gnas(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(word) for word in words])
    return done.exit_code, done.output.replace("\n", " ")


def test_commands_on_tables_of_spaces_with_arguments(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    save_table(table_of(TopoNAS.darts()), path)
    assert gnas("data", "verify", path)[0] == 0
    search = ["search", "random", "--table", path, "--budget", 2, "--out", tmp_path / "run"]
    code, text = gnas(*search, "--space", "toponas")
    assert code == 1 and "holds those of toponas(topology='fixed', mode='input')" in text
    assert gnas(*search, "--space", "toponas(topology='fixed', mode='input')")[0] == 0
    page = tmp_path / "report.html"
    assert gnas("report", path, "--out", page)[0] == 0
    assert "toponas(topology=" in page.read_text()

    unsaid = table_of(TopoNAS.darts(), space_args=None)
    save_table(unsaid, path)
    assert load_table(path).provenance.opened_space(TopoNAS.darts()) == TopoNAS.darts()
    code, text = gnas("data", "verify", path)
    assert code == 1 and "name them: --space 'toponas(num_nodes=...)'" in text
    assert (
        gnas("data", "verify", path, "--space", "toponas(topology='fixed', mode='input')")[0] == 0
    )

    (tmp_path / "own.py").write_text(OWN)
    named = f"{tmp_path}/own.py:Blocks(nodes=5)"
    save_table(table_of(load_space(named)), path)
    code, text = gnas("data", "verify", path)
    assert code == 0 and "checked as graphs only: they are of own.py:Blocks" in text
    code, text = gnas("data", "verify", path, "--space", named)
    assert code == 0 and "as graphs only" not in text
    code, text = gnas("data", "verify", path, "--space", f"{tmp_path}/own.py:Blocks")
    assert code == 1 and "but holds those of own.py:Blocks(nodes=5)" in text


@pytest.mark.parametrize(
    "args",
    [
        3,
        "num_nodes",
        [["num_nodes", 8]],
        {"num_nodes": 10**9},
        {"num_nodes": "8"},
        {"nodes": 8},
        {"num_nodes": {"a": [1]}},
        {"self": 1},
        {"build": "x"},
        {"mode": "a\nb"},
    ],
)
def test_damaged_arguments_of_a_table(args: Any, tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    save_table(table_of(TopoNAS(6)), path)
    table = pq.read_table(path)
    facts = json.loads(table.schema.metadata[b"gnas"])
    assert facts["space_args"]["num_nodes"] == 6
    content = json.dumps({**facts, "space_args": args}).encode()
    fields = list(table.schema)
    metadata = {b"gnas": content, b"gnas.crc32": _checksum(content, fields)}
    pq.write_table(table.replace_schema_metadata(metadata), path, write_page_checksum=True)
    with pytest.raises(DataError) as caught:
        load_table(path)
    assert "\n" not in str(caught.value)


def test_tables_without_recorded_arguments_are_read(tmp_path: Path) -> None:
    """Those of earlier versions have no such entry at all."""
    path = tmp_path / "t.parquet"
    save_table(table_of(NASBench201(), space_args=None), path)
    table = pq.read_table(path)
    facts = json.loads(table.schema.metadata[b"gnas"])
    del facts["space_args"]
    content = json.dumps(facts).encode()
    metadata = {b"gnas": content, b"gnas.crc32": _checksum(content, list(table.schema))}
    schema: pa.Schema = table.schema.with_metadata(metadata)
    pq.write_table(table.cast(schema), path, write_page_checksum=True)
    found = load_table(path)
    assert found.provenance.space_args is None
    assert found.provenance.opened_space() == NASBench201()
    ready = Provenance("a", "dag", "b", "self-made")
    with pytest.raises(ConfigError, match="holds architectures of dag: name that space"):
        ready.opened_space()
    whole = DagSpace(ops=("a",), max_nodes=3)
    assert ready.opened_space(whole) is whole
