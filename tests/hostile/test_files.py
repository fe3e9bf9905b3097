"""Hostile tables and texts: each is refused by a `GnasError` of one line, or harmless.

``GNAS_FUZZ_ROUNDS=100 pytest tests/hostile`` tries a hundred times as many.
"""

from __future__ import annotations

import bz2
import json
import os
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gnas.data import BenchmarkTable, Column, load_table, save_table, verify_table
from gnas.data.fetch import verify
from gnas.data.parquet import MAX_BYTES, _checksum, read_schema
from gnas.data.places import check_table
from gnas.data.third_party import read_third_party
from gnas.errors import DataError
from gnas.graphs import graph_hash
from gnas.spaces import NASBench101, NASBench201, in_notation, notations, space_of_text
from gnas.spaces.nasbench101.tfrecord import read_tfrecord_table
from gnas.spaces.nasbench201.nats import read_nats_folder
from tests.data.conftest import drawn_records, frame, make_table
from tests.data.test_nats import architecture
from tests.data.test_third_party import cells101
from tests.hostile.mutations import (
    ROUNDS,
    VALUES,
    command,
    dumped,
    flipped,
    mutated,
    refused,
    scrambled,
)

GENOTYPE = (
    "Genotype(normal=[('skip_connect', 0), ('sep_conv_3x3', 1)], normal_concat=[2], "
    "reduce=[('max_pool_3x3', 0), ('dil_conv_5x5', 1)], reduce_concat=range(2, 3))"
)
JSON_GENOTYPE = {
    "normal": [[["skip_connect", 0], ["sep_conv_3x3", 1]]],
    "normal_concat": [2],
    "reduce": [[["max_pool_3x3", 0], ["dil_conv_5x5", 1]]],
    "reduce_concat": [2],
}
JSON_CELL = {"matrix": [[0, 1, 1], [0, 0, 1], [0, 0, 0]], "ops": ["input", "maxpool3x3", "output"]}
CELL = "|nor_conv_1x1~0|+|skip_connect~0|none~1|+|avg_pool_3x3~0|nor_conv_3x3~1|skip_connect~2|"


@pytest.fixture
def own_table(tmp_path: Path) -> Path:
    path = tmp_path / "own.parquet"
    save_table(make_table(rows=6, budgets=(108,), runs=2), path)
    return path


def opened(path: Path) -> None:
    """Everything that a reader of a table may touch."""
    table = load_table(path)
    for column in table.columns:
        table.values(column.name)
    verify_table(table)
    table.provenance.summary()
    repr(table)


def rewritten(path: Path, facts: bytes, fields: dict[str, bytes]) -> None:
    """Another table's and other columns' metadata, with a valid checksum."""
    table = pq.read_table(path)
    metadata = {name: {b"gnas": text} for name, text in fields.items()}
    table = table.cast(
        pa.schema([f.with_metadata(metadata.get(f.name, f.metadata)) for f in table.schema])
    )
    checksum = _checksum(facts, table.schema)
    pq.write_table(table.replace_schema_metadata({b"gnas": facts, b"gnas.crc32": checksum}), path)


def test_metadata_of_tables(own_table: Path, rng: np.random.Generator) -> None:
    schema = pq.read_schema(own_table)
    facts = json.loads(schema.metadata[b"gnas"])
    columns = {f.name: json.loads(f.metadata[b"gnas"]) for f in schema if f.metadata}
    whole = own_table.read_bytes()
    assert not refused(lambda: opened(own_table))
    count = 0
    for _ in range(60 * ROUNDS):
        own_table.write_bytes(whole)
        if rng.random() < 0.6:
            rewritten(own_table, dumped(mutated(facts, rng)).encode(), {})
        else:
            name = [*columns][int(rng.integers(len(columns)))]
            other = dumped(mutated(columns[name], rng)).encode()
            rewritten(own_table, json.dumps(facts).encode(), {name: other})
        count += refused(lambda: opened(own_table))
    assert count > 20 * ROUNDS


@pytest.mark.parametrize("k", range(len(VALUES)))
def test_every_fact_of_a_table_may_be_anything(own_table: Path, k: int) -> None:
    facts = json.loads(pq.read_schema(own_table).metadata[b"gnas"])
    whole = own_table.read_bytes()
    count = 0
    for key in facts:
        own_table.write_bytes(whole)
        rewritten(own_table, dumped({**facts, key: VALUES[k]}).encode(), {})
        count += refused(lambda: opened(own_table))
    assert count >= 3  # space, max_nodes and format_version at least


def test_bytes_of_tables(own_table: Path, rng: np.random.Generator) -> None:
    whole = own_table.read_bytes()
    count = 0
    for _ in range(60 * ROUNDS):
        own_table.write_bytes(flipped(whole, rng))
        count += refused(lambda: opened(own_table))
        refused(lambda: check_table(own_table, columns=["val_acc_108"], space="nasbench101"))
    assert count > 20 * ROUNDS


def test_names_of_columns_that_are_no_text(own_table: Path) -> None:
    sound = own_table.read_bytes()
    assert not refused(lambda: check_table(own_table))
    own_table.write_bytes(sound.replace(b"num_params", b"num\xffparams"))
    for work in (check_table, load_table):
        with pytest.raises(DataError, match="must be an intact Parquet file, but reading it"):
            work(own_table)


def foreign_columns() -> dict[str, dict[str, list[Any]]]:
    space, naslib = NASBench201(), notations()["naslib-nasbench201"][1]
    cells = list(space.enumerate()[[5, 777, 9999]])
    accuracies: dict[str, list[Any]] = {
        "cifar10_val_acc_200": [80.0, 85.0, 90.0],
        "cifar10_test_acc_200": [81.0, 86.0, 91.0],
    }
    return {
        "101": dict(cells101(4)),
        "201": {"arch_str": [space.to_str(cell) for cell in cells], **accuracies},
        "naslib": {"arch": [naslib.write(cell) for cell in cells], **accuracies},
    }


@pytest.mark.parametrize("kind", ["101", "201", "naslib"])
def test_foreign_tables(kind: str, tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "foreign.parquet"
    notation = "naslib-nasbench201" if kind == "naslib" else None
    columns = foreign_columns()[kind]

    def read() -> None:
        verify_table(read_third_party(path, read_schema(path), notation=notation))

    pq.write_table(pa.table(columns), path)
    assert not refused(read)
    count = tried = 0
    while tried < 20 * ROUNDS:
        changed = {name: [*column] for name, column in columns.items()}
        name = [*columns][int(rng.integers(len(columns)))]
        row = int(rng.integers(len(changed[name])))
        if rng.random() < 0.5 and isinstance(changed[name][row], str):
            changed[name][row] = scrambled(changed[name][row], rng)
        elif rng.random() < 0.5:
            changed[name] = [VALUES[int(rng.integers(len(VALUES)))]] * len(changed[name])
        else:
            changed[name][row] = VALUES[int(rng.integers(len(VALUES)))]
        try:
            pq.write_table(pa.table(changed), path)
        except (pa.ArrowException, OverflowError, TypeError, RecursionError, ValueError):
            continue  # no column can hold it
        tried += 1
        count += refused(read)
    assert count > 6 * ROUNDS


def test_tfrecords(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "x.tfrecord"
    records = [json.loads(record) for record in drawn_records(rows=3, epochs=(4,))]
    whole = b"".join(frame(record) for record in drawn_records(rows=3, epochs=(4,)))
    count = 0
    for _ in range(60 * ROUNDS):
        if rng.random() < 0.4:
            path.write_bytes(flipped(whole, rng))
        else:
            changed = mutated(records, rng)
            items = changed if isinstance(changed, list) else [changed]
            path.write_bytes(b"".join(frame(dumped(item).encode()) for item in items))
        count += refused(lambda: read_tfrecord_table(path))
    assert count > 30 * ROUNDS


def as_tree(content: Any) -> Any:
    """A NATS-Bench file with its keys as lists of pairs, so that `mutated` reaches all."""
    if isinstance(content, dict):
        return {"pairs": [[list(k) if isinstance(k, tuple) else k, as_tree(v)]
                          for k, v in content.items()]}  # fmt: skip
    return [as_tree(item) for item in content] if isinstance(content, list) else content


def from_tree(tree: Any) -> Any:
    """What `as_tree` was made of, as far as it can still be."""
    if isinstance(tree, dict) and isinstance(tree.get("pairs"), list):
        found = {}
        for pair in tree["pairs"]:
            if isinstance(pair, list) and len(pair) == 2:
                key = tuple(pair[0]) if isinstance(pair[0], list) else pair[0]
                try:
                    found[key] = from_tree(pair[1])
                except TypeError:  # no key
                    continue
        return found
    if isinstance(tree, list) and tree and not isinstance(tree[0], list):
        return [from_tree(item) for item in tree]
    return tree


def test_nats_files(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "000000.pickle.pbz2"
    content = architecture(0)
    tree = as_tree(content)
    path.write_bytes(bz2.compress(pickle.dumps(from_tree(tree))))
    assert not refused(lambda: read_nats_folder(tmp_path))
    count = 0
    for _ in range(80 * ROUNDS):
        if rng.random() < 0.3:
            data = flipped(pickle.dumps(content), rng)
        else:
            try:
                data = pickle.dumps(from_tree(mutated(tree, rng)))
            except RecursionError:
                data = b"]" * 100_000 + b"."
        path.write_bytes(bz2.compress(data, 1))
        count += refused(lambda: read_nats_folder(tmp_path))
    assert count > 20 * ROUNDS


@pytest.mark.parametrize("field", ["params", "flop", "latency", "train_times", "epochs",
                                   "train_acc1es", "eval_acc1es"])  # fmt: skip
def test_every_number_of_a_nats_file_may_be_anything(tmp_path: Path, field: str) -> None:
    path = tmp_path / "000000.pickle.pbz2"
    count = 0
    for value in VALUES[:-1]:
        for nested in (value, {199: value}, {"ori-test@199": value}, [value, value]):
            content = architecture(0)
            content["200"]["all_results"]["cifar10", 777][field] = nested
            path.write_bytes(bz2.compress(pickle.dumps(content), 1))
            count += refused(lambda: read_nats_folder(tmp_path))
    assert count > 0


def test_texts_of_architectures(rng: np.random.Generator) -> None:
    sound = [
        GENOTYPE,
        f"epoch 1 {GENOTYPE} acc 1\n epoch 2 {GENOTYPE[:-1]}, connectN=None)",
        json.dumps(JSON_GENOTYPE),
        json.dumps(JSON_CELL),
        CELL,
        f"Structure(4 nodes with {CELL}) {CELL}",
        "input,conv3x3-bn-relu,maxpool3x3,output|3b",
        "conv3x3_conv1x1,dwconv3x3_conv1x1|1",
    ]
    count = 0
    for _ in range(60 * ROUNDS):
        for text in sound:
            changed = scrambled(text, rng)
            count += refused(lambda changed=changed: space_of_text(changed).from_str(changed))  # type: ignore[misc]
    assert count > 200 * ROUNDS
    for content in (JSON_GENOTYPE, JSON_CELL):
        for _ in range(60 * ROUNDS):
            changed = dumped(mutated(content, rng))
            refused(lambda changed=changed: space_of_text(changed).from_str(changed))  # type: ignore[misc]


@pytest.mark.parametrize("name", sorted(notations()))
def test_texts_of_notations(name: str, rng: np.random.Generator) -> None:
    space, notation = notations()[name]
    if name == "nasbench101-json":
        sound = json.dumps(JSON_CELL)
    else:
        sound = notation.write(space().from_str(CELL.replace("avg_pool_3x3", "none")))
    assert not refused(lambda: in_notation(sound, name))
    count = 0
    for _ in range(120 * ROUNDS):
        changed = scrambled(sound, rng)
        count += refused(lambda changed=changed: in_notation(changed, name))  # type: ignore[misc]
    assert count > 40 * ROUNDS


# Sizes and kinds of files: bounded before time or memory is spent.


def bomb(path: Path, rows: int, nodes: int) -> None:
    """A table of gnas whose columns are a thousand times as large as their file."""
    pairs = nodes * (nodes - 1) // 2
    facts = json.dumps(
        {"name": "x", "space": "nasgem", "source": "x", "kind": "self-made", "note": "",
         "licence": "", "recipe": None, "format_version": 1, "max_nodes": nodes}
    ).encode()  # fmt: skip

    def repeated(value: bytes) -> pa.Array:
        kind = pa.binary(len(value))
        return pa.DictionaryArray.from_arrays(
            pa.array(np.zeros(rows, np.int32)), pa.array([value], kind)
        ).cast(kind)

    arrays = [
        pa.array(np.full(rows, nodes, np.uint8)),
        repeated(bytes((pairs + 7) // 8)),
        repeated(bytes(nodes)),
        repeated(bytes(16)),
    ]
    names = ("num_nodes", "adjacency", "ops", "hash")
    fields = [pa.field(n, a.type, nullable=False) for n, a in zip(names, arrays, strict=True)]
    schema = pa.schema(fields, {b"gnas": facts, b"gnas.crc32": _checksum(facts, fields)})
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), path, compression="zstd")


def test_compression_bombs(tmp_path: Path) -> None:
    path = tmp_path / "bomb.parquet"
    rows, nodes = 60_000, 127
    bomb(path, rows, nodes)
    assert path.stat().st_size < 100_000 < MAX_BYTES < rows * nodes**2
    start = time.process_time()
    with pytest.raises(DataError, match=r"must have at most 33,286 rows.* but has 60,000 rows"):
        load_table(path)
    assert time.process_time() - start < 2


def test_bombs_of_texts_and_rows(tmp_path: Path) -> None:
    path = tmp_path / "bomb.parquet"
    for text, rows, message in (
        ("x" * 20_000, 15_000, "at most 10000 characters, but one has 20,000"),
        ("x", 500_000, "at most 423,624 rows"),
    ):
        texts = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), [text])
        zeros = pa.array(np.zeros(rows))
        columns = {"arch_str": texts, "cifar10_val_acc_200": zeros, "cifar10_test_acc_200": zeros}
        pq.write_table(pa.table(columns), path)
        assert path.stat().st_size < 200_000
        with pytest.raises(DataError, match=message):
            load_table(path)


def test_bombs_of_columns(tmp_path: Path) -> None:
    """Columns are read one by one, each by opening the file: 20,000 of them took ten minutes."""
    path = tmp_path / "bomb.parquet"
    pq.write_table(pa.table({"arch_str": [CELL], **{f"m{k}": [0.5] for k in range(1000)}}), path)
    with pytest.raises(DataError, match="at most 1,000 columns, but has 1,001"):
        load_table(path)
    own = make_table(rows=2)
    columns = [Column.of(f"m{k}") for k in range(1000)]
    values = {column.name: np.zeros(2) for column in columns}
    with pytest.raises(DataError, match="at most 1,000 columns, but has 1,004"):
        save_table(BenchmarkTable(own.graphs, columns, own.provenance, values), path)


def test_absurd_lengths_of_trainings(tmp_path: Path) -> None:
    """Each would take an array of all 423,624 cells."""
    path = tmp_path / "x.tfrecord"
    record = json.loads(drawn_records(rows=1, epochs=(4,))[0])
    lines = [json.dumps([record[0], epochs, *record[2:]]).encode() for epochs in range(1, 100)]
    path.write_bytes(b"".join(map(frame, lines)))
    with pytest.raises(DataError, match="at most 16 lengths of trainings"):
        read_tfrecord_table(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_are_refused_not_waited_for(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("x.parquet", "x.tfrecord", "000000.pickle.pbz2", "genotype.txt"):
        os.mkfifo(tmp_path / name)
    for name in ("config.json", "result.json", "model.safetensors"):
        os.mkfifo(folder / name)
    tries: list[Callable[[], object]] = [
        lambda: verify(tmp_path / "x.parquet"),
        lambda: verify(tmp_path / "x.tfrecord"),
        lambda: read_nats_folder(tmp_path),
    ]
    for work in tries:
        assert refused(work)
    for arguments in (
        (
            "data",
            "convert",
            "nasbench201",
            tmp_path / "x.parquet",
            "--out",
            tmp_path / "y.parquet",
        ),
        ("data", "convert", "nasbench101", tmp_path / "x.tfrecord", "--out", tmp_path / "y.x"),
        ("show", tmp_path / "genotype.txt"),
        ("show", folder),
        ("retrain", tmp_path / "genotype.txt"),
        ("export", folder, "--to", "python", "--out", tmp_path / "x.py"),
        ("evaluate", folder),
    ):
        assert command(*arguments) == 1


def test_hashes_of_foreign_cells_are_their_own() -> None:
    """The sound content that the tests above change is what they say."""
    columns = foreign_columns()["101"]
    cells = NASBench101().enumerate()[list(range(100, 104))]
    assert columns["hash"] == [graph_hash(cell) for cell in cells]
