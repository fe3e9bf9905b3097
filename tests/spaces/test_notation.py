from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from torch_geometric.data import Data
from typer.testing import CliRunner

from gnas.cli import app
from gnas.data import load_table
from gnas.errors import ConfigError, GraphError
from gnas.spaces import (
    SPACES,
    NASBench101,
    NASBench201,
    in_notation,
    notations,
    space_of_text,
)
from gnas.spaces.toponas.genotype import Genotype

CELL = "|nor_conv_1x1~0|+|skip_connect~0|none~1|+|avg_pool_3x3~0|nor_conv_3x3~1|skip_connect~2|"
GENOTYPE = (
    "Genotype(normal=[('skip_connect', 0), ('sep_conv_3x3', 1)], normal_concat=[2], "
    "reduce=[('max_pool_3x3', 0), ('dil_conv_5x5', 1)], reduce_concat=range(2, 3))"
)


def from_text(text: str) -> Data:
    return space_of_text(text).from_str(text)


def test_naslib_by_hand() -> None:
    """0 skip, 1 none, 2 conv 3x3, 3 conv 1x1, 4 pool; edges 01 02 03 12 13 23."""
    space, graph = in_notation("(3, 0, 4, 1, 2, 0)", "naslib-nasbench201")
    assert (space.name, space.to_str(graph)) == ("nasbench201", CELL)


@pytest.mark.parametrize("text", ["64-41414-2_10_013", "2_10_013", "(2, 1, 0, 0, 1, 3)"])
def test_transnas_by_hand(text: str) -> None:
    """0 none, 1 skip, 2 conv 1x1, 3 conv 3x3; edges 01, 02 12, 03 13 23."""
    expected = "|nor_conv_1x1~0|+|skip_connect~0|none~1|+|none~0|skip_connect~1|nor_conv_3x3~2|"
    space, graph = in_notation(text, "transnas-micro")
    assert space.to_str(graph) == expected


def test_matrix_and_ops_by_hand() -> None:
    """A dead vertex (2) is cut away, as the benchmark's own code does."""
    ops = ["input", "conv3x3-bn-relu", "maxpool3x3", "output"]
    matrix = [[0, 1, 1, 1], [0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
    for names in (("matrix", "ops"), ("module_adjacency", "module_operations")):
        text = json.dumps(dict(zip(names, (matrix, ops), strict=True)))
        for graph in (from_text(text), in_notation(text, "nasbench101-json")[1]):
            assert NASBench101().to_str(graph) == "input,conv3x3-bn-relu,output|7"


def test_two_names_of_one_thing_are_refused() -> None:
    cell = {"matrix": [[0, 1], [0, 0]], "ops": ["input", "output"]}
    with pytest.raises(GraphError, match="matrix or module_adjacency, but has both"):
        from_text(json.dumps({**cell, "module_adjacency": [[0, 0], [0, 0]]}))


@pytest.mark.parametrize("name", sorted(notations()))
def test_round_trips(name: str, rng: np.random.Generator) -> None:
    kind, notation = notations()[name]
    space, read = kind(), 0
    for graph in space.sample_batch(300, rng):
        try:
            text = notation.write(graph)
        except GraphError as error:
            assert "pool" in str(error) and name == "transnas-micro"
            continue
        read += 1
        again = notation.read(text)
        assert space.to_str(again) == space.to_str(graph)
        assert notation.write(again) == text
    assert read > 50


def test_names_are_unique_and_notations_say_what_they_are() -> None:
    every = [notation for space in SPACES.values() for notation in space.notations]
    assert len({notation.name for notation in every}) == len(every) == len(notations())
    assert all(len(notation.about) > 40 for notation in every)


@pytest.mark.parametrize(
    "text",
    [
        CELL,
        f"  {CELL}\n",
        f"4 nodes with {CELL}",
        f"Structure(4 nodes with {CELL})",
        f"[000012] arch: '{CELL}', valid 91.5\n---",
        CELL.replace("+", " + ").replace("|", "| ")[:-1],
        f"{CELL.replace('skip_connect', 'none')}\nthen\n{CELL}",
    ],
)
def test_decorated_strings(text: str) -> None:
    assert NASBench201().to_str(from_text(text)) == CELL


def test_the_number_of_cells_in_a_text_is_said(caplog: pytest.LogCaptureFixture) -> None:
    from_text(f"a {CELL} b {CELL} c {CELL}")
    from_text(f"one {GENOTYPE}\ntwo {GENOTYPE} acc")
    assert [record.getMessage() for record in caplog.records] == [
        "took the last of 3 cells of 'nasbench201' in the text",
        "took the last of 2 genotypes in the text",
    ]
    assert all(record.levelno == logging.WARNING for record in caplog.records)


@pytest.mark.parametrize(
    "text",
    [
        f"{GENOTYPE[:-1]}, connectN=None)",
        f"{GENOTYPE[:-1]}, connectN=None, connects=None,\n)",
        f"01/02 03:04 AM genotype = {GENOTYPE} valid_acc 88.1 (best)",
        f"1 {GENOTYPE.replace('skip_connect', 'avg_pool_3x3')} ok\n2 {GENOTYPE}\nend (50)",
        f"from genotypes import Genotype\nFOUND = {GENOTYPE}\nprint(FOUND)",
    ],
)
def test_genotypes_inside_logs(text: str) -> None:
    assert Genotype.parse(text) == Genotype.parse(GENOTYPE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{GENOTYPE[:-1]}, connectN=3)", "must have exactly"),
        (f"{GENOTYPE} {GENOTYPE[:90]}", "must be written"),
        ("(0, 1, 2, 3, 4, 0)", "the notation must be named"),
        ("1_02_333", "the notation must be named"),
        ('{"matrix": [[0, 1], [0, 0]], "ops": ["input"]}', "ops must be a list of 2 to 7"),
        ('{"matrix": [[0, 2], [0, 0]], "ops": ["input", "output"]}', "2 lists of 2 numbers"),
        ('{"matrix": [[0, 1.5], [0, 0]], "ops": ["input", "output"]}', "2 lists of 2 numbers"),
        ('{"matrix": [[0, 1], [1, 0]], "ops": ["input", "output"]}', "0 on and below the diag"),
        ('{"matrix": [[0, 0], [0, 0]], "ops": ["input", "output"]}', "path from input to output"),
        ('{"matrix": 3, "ops": ["input", "output"]}', "2 lists of 2 numbers"),
        ('{"matrix": ' + "[" * 9000, "must be a JSON object"),
    ],
)
def test_bad_texts(text: str, message: str) -> None:
    with pytest.raises(GraphError, match=message) as caught:
        from_text(text)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("(0, 1, 2)", "naslib-nasbench201", r"6 numbers in \[0, 5\)"),
        ("(0, 1, 2, 3, 4, 5)", "naslib-nasbench201", "6 numbers"),
        ("(0, 1, 2, 3, 4, True)", "naslib-nasbench201", "6 numbers"),
        ("__import__('os')", "naslib-nasbench201", "6 numbers"),
        ("(" * 3000, "naslib-nasbench201", "6 numbers"),
        ("(0, 1, 2, 3, 4, 0)", "transnas-micro", r"6 numbers in \[0, 4\)"),
        ("1_02_334", "transnas-micro", "with digits 0 to 3"),
        ("[]", "nasbench101-json", "must be a JSON object"),
    ],
)
def test_bad_texts_of_a_named_notation(text: str, name: str, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        in_notation(text, name)


def test_unknown_notations() -> None:
    with pytest.raises(ConfigError, match=r"unknown notation 'darts'; choose from \['nasbench101"):
        in_notation("x", "darts")


def run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, [*arguments])
    return done.exit_code, done.stdout, done.stderr


def test_commands_take_a_notation(tmp_path: Path) -> None:
    """The same network as from the benchmark's own string; a file, or the text itself."""
    file = tmp_path / "cell.txt"
    file.write_text("(3, 0, 4, 1, 2, 0)\n")
    options = ["--to", "python", "--channels", "4", "--layers", "1"]
    written = []
    for k, given in enumerate(
        [
            [CELL],
            ["(3, 0, 4, 1, 2, 0)", "--notation", "naslib-nasbench201"],
            [str(file), "--notation", "naslib-nasbench201"],
        ]
    ):
        out = tmp_path / f"{k}.py"
        code, _, err = run("export", *given, *options, "--out", str(out))
        assert code == 0, err
        written.append(out.read_text())
    assert written[0] == written[1] == written[2]
    for command in (["export", *options, "--out", "x.py"], ["retrain"], ["show"]):
        code, out_text, err = run(*command, "1_02_9", "--notation", "transnas-micro")
        assert (code, out_text) == (1, "")
        assert err.startswith("error: a TransNAS-Bench-101 micro cell must be written")
        assert err.count("\n") == 1


def test_tables_are_converted_from_a_notation(tmp_path: Path) -> None:
    space = NASBench201()
    cells = list(space.enumerate()[list(range(0, 15_625, 250))])
    _, notation = notations()["naslib-nasbench201"]
    texts = [notation.write(cell) for cell in cells]
    accuracies = np.linspace(50, 90, len(cells))
    columns = {"cifar10_val_acc_200": accuracies, "top1": accuracies}
    lists = [json.loads(text.replace("(", "[").replace(")", "]")) for text in texts]
    for nets in (
        texts,
        pa.array(texts).dictionary_encode(),  # a column of categories in pandas
        pa.array(texts, pa.string_view()),
        lists,
        pa.array(lists, pa.large_list(pa.int64())),  # Polars
        pa.array(lists, pa.list_(pa.int8(), 6)),  # rows of a NumPy array
    ):
        pq.write_table(pa.table({**columns, "net": nets}), tmp_path / "others.parquet")
        code, out, err = run(
            "data", "convert", "nasbench201", str(tmp_path / "others.parquet"),
            "--notation", "naslib-nasbench201", "--out", str(tmp_path / "own.parquet"),
        )  # fmt: skip
        assert code == 0, err
        assert f"{len(cells)} cells, partial" in out
        table = load_table(tmp_path / "own.parquet")
        assert [space.to_str(g) for g in table.graphs] == [space.to_str(g) for g in cells]
        np.testing.assert_allclose(table.val_acc(), accuracies / 100)
        np.testing.assert_allclose(table.values("top1"), accuracies)
        assert "naslib-nasbench201" in table.provenance.source


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"net": ["(0, 1)"], "a": [1.0]}, "row 0 of column 'net': a NASLib cell"),
        ({"net": [None], "a": [1.0]}, "must be text without gaps"),
        ({"net": ["x"], "other": ["y"], "a": [1.0]}, "such columns are"),
        ({"a": [1.0]}, "such columns are"),
        ({"net": ["(0, 1, 2, 3, 4, 0)"]}, "must have a column of numbers"),
        ({"net": ["(0, 1, 2, 3, 4, 0)"] * 2, "a": [1.0, 2.0]}, "must occur once"),
    ],
)
def test_tables_that_cannot_be_converted(
    tmp_path: Path, columns: dict[str, list[object]], message: str
) -> None:
    if columns.get("net") == [None]:
        columns = {**columns, "net": pa.array([None], pa.string())}
    pq.write_table(pa.table(columns), tmp_path / "others.parquet")
    code, out, err = run(
        "data", "convert", "nasbench201", str(tmp_path / "others.parquet"),
        "--notation", "naslib-nasbench201", "--out", str(tmp_path / "own.parquet"),
    )  # fmt: skip
    assert (code, out) == (1, "")
    assert message in err and err.count("\n") == 1
    assert not (tmp_path / "own.parquet").exists()


def test_a_cell_of_nasbench101_needs_no_name() -> None:
    cell = NASBench101().enumerate().data(200)
    text = notations()["nasbench101-json"][1].write(cell)
    assert NASBench101().to_str(from_text(text)) == NASBench101().to_str(cell)
