from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gnas.data import BenchmarkTable, load_table, save_table, verify_table
from gnas.errors import DataError, GnasError
from gnas.graphs import graph_hash
from tests.data.conftest import make_table


@pytest.fixture
def file(tmp_path: Path, small_table: BenchmarkTable) -> Path:
    path = tmp_path / "small.parquet"
    save_table(small_table, path)
    return path


def content(table: BenchmarkTable) -> list[object]:
    facts = table.provenance
    values = [table.values(column.name).tobytes() for column in table.columns]
    return [table.columns, table.hashes, values, facts.note, facts.kind, facts.recipe]


def rewrite(path: Path, change: dict[str, pa.Array | None], **facts: object) -> None:
    """Replaces columns (None: drops them) and facts behind the library's back."""
    table = pq.read_table(path)
    for name, array in change.items():
        at = table.schema.get_field_index(name)
        field = table.schema.field(at)
        table = table.remove_column(at)
        if array is not None:
            table = table.add_column(at, field.with_type(array.type), array)
    metadata = dict(table.schema.metadata)
    metadata[b"gnas"] = json.dumps(json.loads(metadata[b"gnas"]) | facts).encode()
    from gnas.data.parquet import _checksum

    metadata[b"gnas.crc32"] = _checksum(metadata[b"gnas"], table.schema)
    pq.write_table(table.replace_schema_metadata(metadata), path)


def test_the_layout_is_as_documented(file: Path, small_table: BenchmarkTable) -> None:
    """Decodes a file by its description, bit by bit."""
    rows = pq.read_table(file).to_pylist()
    n = small_table.graphs.max_nodes
    for row in (0, 11, 39):
        bits = "".join(f"{byte:08b}" for byte in rows[row]["adjacency"])
        pairs = [(i, j) for i in range(n) for j in range(i + 1, n)]
        edges = [pair for pair, bit in zip(pairs, bits, strict=False) if bit == "1"]
        assert edges == [tuple(e) for e in small_table[row].edge_index.t().tolist()]
        assert list(rows[row]["ops"]) == [op % 256 for op in small_table.graphs.ops[row].tolist()]
        assert rows[row]["hash"].hex() == graph_hash(small_table[row])
        missing = np.isnan(small_table.test_acc(2)[row])
        assert (rows[row]["test_acc_cifar10_108_run2"] is None) == missing


def test_every_flipped_bit_is_noticed_or_harmless(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    table, file = make_table(rows=3, budgets=(108,), runs=2), tmp_path / "tiny.parquet"
    save_table(table, file)
    whole, expected = file.read_bytes(), content(table)
    noticed = 0
    for position in rng.integers(len(whole), size=120).tolist():
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(rng.integers(8))
        file.write_bytes(damaged)
        try:
            assert content(load_table(file)) == expected, f"byte {position}"
        except GnasError as error:
            assert "\n" not in str(error)
            noticed += 1
    assert noticed > 60


@pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.999])
def test_truncated_files(file: Path, part: float) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(DataError, match=r"small.parquet must be an intact Parquet file"):
        load_table(file)


def test_an_unreadable_file(file: Path, unreadable: Callable[[Path], Path]) -> None:
    load_table(file)  # now every module is imported
    closed = unreadable(file)
    with pytest.raises(DataError, match="must be readable, but got: Permission denied"):
        load_table(closed)


@pytest.mark.parametrize("junk", [b"hello", b"PAR1" * 100, b"\x80\x04K*."])
def test_files_of_another_type(tmp_path: Path, junk: bytes) -> None:
    path = tmp_path / "other.parquet"
    path.write_bytes(junk)
    with pytest.raises(DataError, match="must be an intact Parquet file"):
        load_table(path)


def test_missing_and_wrong_columns(file: Path) -> None:
    whole = file.read_bytes()
    for name in ("adjacency", "ops", "hash", "num_nodes"):
        rewrite(file, {name: None})
        with pytest.raises(DataError, match=f"must have a column '{name}'"):
            load_table(file)
        file.write_bytes(whole)
    rewrite(file, {"hash": pa.array(["x"] * 40)})
    with pytest.raises(DataError, match=r"column 'hash' .* wrong type string"):
        load_table(file)
    file.write_bytes(whole)
    rewrite(file, {"num_params": pa.array(["x"] * 40)})
    with pytest.raises(DataError, match=r"column 'num_params' .* must be floats"):
        load_table(file)
    file.write_bytes(whole)
    rewrite(file, {"ops": pa.array([b"12345"] * 40, pa.binary(5))})
    with pytest.raises(DataError, match="must take 3 and 7 bytes, but take 3 and 5"):
        load_table(file)


def test_facts_that_cannot_be(file: Path) -> None:
    whole = file.read_bytes()
    for facts, message in (
        ({"format_version": 99}, "must have format version 1, but has 99; convert it again"),
        ({"space": "mars"}, "unknown space 'mars'"),
        ({"space": "nasbench201"}, "must take"),
        ({"max_nodes": 6}, "6-node graphs must take"),
    ):
        rewrite(file, {}, **facts)
        with pytest.raises(DataError, match=message):
            load_table(file)
        file.write_bytes(whole)
    table = pq.read_table(file)
    pq.write_table(table.replace_schema_metadata({b"gnas": b"{"}), file)
    with pytest.raises(DataError, match="metadata must match its checksum"):
        load_table(file)


def test_hashes_that_are_not_the_graphs(file: Path, small_table: BenchmarkTable) -> None:
    digests = [bytes(row) for row in small_table.digests]
    swapped = [digests[1], digests[0], *digests[2:]]
    rewrite(file, {"hash": pa.array(swapped, pa.binary(16))})
    with pytest.raises(DataError, match="hash of row 0 must be its graph's"):
        load_table(file)  # row 0 is always among the rows that opening checks
    deep = [*digests[:3], digests[4], digests[3], *digests[5:]]
    rewrite(file, {"hash": pa.array(deep, pa.binary(16))})
    loaded = load_table(file)
    with pytest.raises(DataError, match="hash of row 3 must be its graph's"):
        verify_table(loaded)


def test_graphs_of_no_space(file: Path, small_table: BenchmarkTable) -> None:
    ops = small_table.graphs.ops.numpy().view(np.uint8).copy()
    ops[0, 1] = 9
    rewrite(file, {"ops": pa.array([bytes(row) for row in ops], pa.binary(7))})
    with pytest.raises(DataError, match=r"ops must be in \[0, 5\), but graph 0"):
        load_table(file)


def test_a_table_without_rows(file: Path) -> None:
    pq.write_table(pq.read_table(file).slice(0, 0), file)
    with pytest.raises(DataError, match=r"small\.parquet must have a row .*, but has none$"):
        load_table(file)


def test_percent_in_a_fraction_column(file: Path) -> None:
    rewrite(file, {"test_acc_cifar10_108_run1": pa.array([94.2] * 40, pa.float32())})
    loaded = load_table(file)
    with pytest.raises(DataError, match=r"small.parquet: accuracies must be fractions.*percent"):
        loaded.test_acc()


def test_a_file_replaced_while_in_use(file: Path) -> None:
    loaded = load_table(file)
    save_table(make_table(rows=30), file)
    with pytest.raises(DataError, match="must not change while in use"):
        loaded.val_acc()
    file.unlink()
    with pytest.raises(DataError, match="must stay readable"):
        loaded.val_acc()


def test_values_are_read_when_used(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[list[str]] = []
    original = pq.ParquetFile.read

    def spy(self: pq.ParquetFile, columns: list[str]) -> pa.Table:
        read.append(columns)
        return original(self, columns=columns)

    monkeypatch.setattr(pq.ParquetFile, "read", spy)
    table = load_table(file)
    assert read == [["num_nodes", "adjacency", "ops", "hash"]]
    table.val_acc(1)
    table.val_acc(1)
    assert read[1:] == [["val_acc_cifar10_108_run1"]]


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs the device /dev/full")
def test_a_full_device_stays_where_it_is(tmp_path: Path, small_table: BenchmarkTable) -> None:
    """pyarrow removes the path that it fails to write to: as root, the device itself."""
    link = tmp_path / "full.parquet"
    link.symlink_to("/dev/full")
    with pytest.raises(DataError, match=r"writing failed: .*No space left on device"):
        save_table(small_table, link)
    assert link.is_symlink() and link.is_char_device()
