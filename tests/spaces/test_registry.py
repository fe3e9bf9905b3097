from __future__ import annotations

import inspect
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gnas.encoders.paths import PathStatistics
from gnas.errors import ConfigError, GnasError, MissingDataError
from gnas.predictors import Average, ChannelStatistics, Forest, WLLabels
from gnas.spaces import (
    NASGEM,
    READY_MADE,
    SPACES,
    NASBench101,
    NASBench201,
    RandomWiring,
    Space,
    TopoNAS,
    load_space,
    space_of_record,
    space_record,
)
from gnas.spaces.names import READY_MADE_HOMES, SPACE_HOMES, arguments

EVERY: list[Space] = [
    *(make() for make in SPACES.values()),
    NASGEM(8),
    NASGEM(8, (0.1, 0.2)),
    RandomWiring(12, "barabasi-albert", spread=True),
    TopoNAS(5, topology="fixed", k=1, mode="input", concat="some"),
]
OWN = """
from gnas.spaces import NASGEM

class Small(NASGEM):
    name = "small"

    def __init__(self, nodes: int = 5) -> None:
        super().__init__(nodes)

nine = Small(9)

def ten():
    return Small(10)

number = 3

def broken():
    raise RuntimeError("no")
"""


@pytest.mark.parametrize("space", EVERY, ids=repr)
def test_a_space_is_its_class_and_arguments(space: Space) -> None:
    copies = [type(space)(**space.args), pickle.loads(pickle.dumps(space))]
    copies.append(space_of_record(space_record(space)))
    for copy in copies:
        assert copy == space and hash(copy) == hash(space) and repr(copy) == repr(space)
        assert copy.vocabulary == space.vocabulary
        assert PathStatistics(copy) == PathStatistics(space)
        assert WLLabels(copy) == WLLabels(space)
    assert sum(space == other for other in EVERY) == 1
    assert len(set(EVERY)) == len(EVERY)


def test_features_of_equal_spaces_can_be_averaged() -> None:
    members = [Forest(PathStatistics(NASBench101()), num_trees=2) for _ in range(2)]
    assert Average(members).features == PathStatistics(NASBench101())
    assert ChannelStatistics(NASBench101()) == ChannelStatistics(NASBench101())
    assert PathStatistics(NASBench101()) != PathStatistics(NASBench201())


def test_arguments_that_do_not_exist() -> None:
    with pytest.raises(TypeError, match="too many positional arguments"):
        NASBench201(3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword argument 'size'"):
        NASGEM(size=3)  # type: ignore[call-arg]


def test_spaces_by_name(tmp_path: Path, rng: np.random.Generator) -> None:
    assert load_space("nasbench201") == NASBench201()
    assert load_space(" nasgem(num_nodes=8, densities=(0.1, 0.2)) ") == NASGEM(8, (0.1, 0.2))
    path = tmp_path / "own.py"
    path.write_text(OWN)
    small = load_space(f"{path}:Small(nodes=6)")
    assert (small.name, small.max_nodes) == ("small", 6)
    assert load_space(f"{path}:nine").max_nodes == 9
    assert load_space(f"{path}:ten").max_nodes == 10
    for name in ("Small(nodes=6)", "nine", "ten"):
        space = load_space(f"{path}:{name}")
        record = space_record(space)
        assert record["name"] == f"own.py:{name.partition('(')[0]}" and record["file"] == str(path)
        assert space_of_record(record, run=True) == space
        assert space_of_record(record, space) is space
        with pytest.raises(ConfigError, match=r"gnas does not have; give it with .--space"):
            space_of_record(record)  # a record alone runs no file
    path.write_text(OWN + "\n")
    with pytest.raises(ConfigError, match="must be the file of the record"):
        space_of_record(record, run=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nasbench301", r"unknown space 'nasbench301'; choose from \['dag"),
        ("nasgem(8)", "must be named NAME or NAME"),
        ("nasgem(num_nodes=__import__('os'))", "must be named NAME or NAME"),
        ("nasgem(num_nodes=8", "must be named NAME or NAME"),
        ("nasgem(num_nodes=0)", "num_nodes must be at least 1, but got 0"),
        ("nasgem(num_nodes='8')", "num_nodes must be a whole number, but got '8'"),
        ("nasgem(nodes=8)", "unknown nasgem argument 'nodes'; did you mean num_nodes"),
        ("nasgem(num_nodes=8, num_nodes=9)", "must be named NAME or NAME"),
        ("nasgem(**{'num_nodes': 8})", "must be named NAME or NAME"),
        ("nasgem(num_nodes=8)(8)", "must be named NAME or NAME"),
        ("dag(ops=('a',))", r"dag must be given its max_nodes, as dag\(max_nodes=...\), but got"),
        ("toponas(concat='none')", "concat must be one of all, some"),
        ("own.py:number", "must be a gnas.spaces.Space, but is int"),
        ("own.py:broken", "must take its arguments, but {} gives: no"),
        ("own.py:missing", "must define 'missing', but does not"),
        ("own.py:nine(nodes=3)", "is a space already, so it takes no arguments"),
        ("syntax.py:nine", "must be a Python program, but: SyntaxError"),
        ("nowhere.py:nine", "nowhere.py must be a Python file, but: No such file"),
        ("own.txt:nine", "must be named FILE.py:NAME"),
        ("own.py:a b", "must be named FILE.py:NAME"),
    ],
)
def test_names_of_no_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(OWN)
    Path("syntax.py").write_text("def")
    with pytest.raises((ConfigError, MissingDataError), match=message) as caught:
        load_space(text)
    assert "\n" not in str(caught.value)


def test_a_folder_may_have_brackets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "copy (1)").mkdir()
    (tmp_path / "copy (1)" / "own.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    assert load_space("copy (1)/own.py:Small(nodes=7)").max_nodes == 7
    assert load_space("copy (1)/own.py:nine").max_nodes == 9


@pytest.mark.parametrize("name", SPACES | READY_MADE)
def test_arguments_are_known_without_importing_their_class(name: str) -> None:
    every, required = arguments((SPACE_HOMES | READY_MADE_HOMES)[name])
    signature = inspect.signature((SPACES | READY_MADE)[name])
    assert every == [*signature.parameters]
    assert required == [p.name for p in signature.parameters.values() if p.default is p.empty]


@pytest.mark.parametrize(
    "record",
    [
        None,
        3,
        "nasgem",
        [],
        {},
        {"name": "nasgem"},
        {"name": 3, "args": {}},
        {"name": "nasgem", "args": []},
        {"name": "nasgem", "args": {"num_nodes": 10**9}},
        {"name": "nasgem", "args": {"num_nodes": None}},
        {"name": "nasgem", "args": {"x": 1}},
        {"name": "nasgem", "args": {"densities": ["a", "b"]}},
        {"name": "toponas", "args": {"num_nodes": 10**6}},
        {"name": "random-wiring", "args": {"generator": [[]]}},
        {"name": "/etc/passwd:x", "args": {}},
    ],
)
def test_damaged_records(record: Any) -> None:
    for run in (False, True):
        with pytest.raises(GnasError) as caught:
            space_of_record(record, run=run)
        assert "\n" not in str(caught.value)


def test_another_space_than_the_record_says() -> None:
    record = space_record(NASGEM(8))
    with pytest.raises(ConfigError, match=r"must be nasgem\(num_nodes=8.*but got nasgem\(num_no"):
        space_of_record(record, NASGEM(9))
    assert space_of_record(record, NASGEM(8)) == NASGEM(8)


def test_a_space_of_ones_own_with_other_arguments_is_another(tmp_path: Path) -> None:
    """Or networks of one activation would be given the weights of another."""
    file = tmp_path / "own.py"
    file.write_text(
        "from gnas.spaces import DagSpace\n\n\n"
        "def cells(act='relu'):\n"
        "    def build(graph, *, in_channels=3, num_classes=10):\n        return act\n\n"
        "    return DagSpace(ops=('a', 'b'), max_nodes=4, build=build)\n"
    )
    record = space_record(load_space(f"{file}:cells(act='gelu')"))
    same = load_space(f"{file}:cells(act='gelu')")
    assert space_of_record(record, same) is same
    with pytest.raises(ConfigError, match=r"must be own.py:cells\(act='gelu'\), but got own"):
        space_of_record(record, load_space(f"{file}:cells"))
    usual = space_record(load_space(f"{file}:cells"))
    file.write_text(file.read_text() + "# changed\n")
    written_out = load_space(f"{file}:cells(act='relu')")
    assert space_of_record(usual, written_out) is written_out
