from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from gnas.data import load_table, save_table, verify_table
from gnas.errors import DataError
from gnas.graphs import graph_hash
from gnas.spaces import NASBench101
from gnas.spaces.nasbench101.tfrecord import read_tfrecord_table
from tests.data.conftest import drawn_records, frame, record

NUMBERS = [[0.0, 0.0, 0.1, 0.1, 0.1], [54.0, 9.0, 0.5, 0.25, 0.75], [108.0, 20.0, 1.0, 0.5, 0.5]]


def write(path: Path, records: list[bytes]) -> Path:
    path.write_bytes(b"".join(frame(content) for content in records))
    return path


def test_a_real_file(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    """Seven cells, three runs at four epochs; values read off the file by hand."""
    table = read_tfrecord_table(shared_data("nasbench101/epochs_4_spec_3V9E.tfrecord"))
    assert len(table) == 7
    assert table.hashes[0] == "d32d0b26d534203b48d866facd98cc3e"
    assert [graph_hash(graph) for graph in table.graphs] == table.hashes
    assert table.runs("test_acc").shape == (7, 3)
    assert table.test_acc(1)[0] == 0.5062099099159241
    assert table.val_acc(2)[0] == 0.7097355723381042
    assert table.metric("train_acc", 1)[0] == 0.5097155570983887
    assert table.metric("halfway_test_acc", 1)[0] == 0.10036057978868484
    assert table.metric("train_time_s", 1)[0] == 76.44700622558594
    assert table.values("num_params")[0] == 11051402
    assert table.provenance.kind == "self-made"
    save_table(table, tmp_path / "t.parquet")
    verify_table(load_table(tmp_path / "t.parquet"))


def test_all_runs_and_budgets(tfrecord: Path) -> None:
    table = read_tfrecord_table(tfrecord)
    assert (len(table), len(table.columns)) == (12, 1 + 2 * 3 * 8)
    for epochs in (4, 108):
        assert np.isfinite(table.runs("test_acc", epochs=epochs)).all()
    run: dict[tuple[str, int], int] = {}
    for content in drawn_records():
        name, epochs, _, _, text = json.loads(content)
        run[name, epochs] = run.get((name, epochs), 0) + 1
        last = struct.unpack("<d", base64.b64decode(text)[-11:-3])[0]  # before num_params
        found = table.test_acc(run[name, epochs], epochs=epochs)[table.index_of(name)]
        assert found == last
    assert set(run.values()) == {3}


def test_values_land_in_their_columns(tmp_path: Path) -> None:
    graphs = NASBench101().enumerate()[torch.tensor([50, 200_000])]
    late = [NUMBERS[0], NUMBERS[1], [108.0, 40.0, 0.75, 0.125, 0.25]]
    records = [record(graphs, 0, 108, NUMBERS), record(graphs, 1, 108, late)]
    records += [record(graphs, 0, 108, late), record(graphs, 0, 4, NUMBERS[:1])]
    table = read_tfrecord_table(write(tmp_path / "f", records))
    np.testing.assert_array_equal(table.runs("test_acc"), [[0.5, 0.25], [0.25, np.nan]])
    np.testing.assert_array_equal(table.runs("train_time_s"), [[20, 40], [40, np.nan]])
    np.testing.assert_array_equal(table.runs("halfway_val_acc")[0], [0.25, 0.25])
    np.testing.assert_array_equal(table.val_acc(1, epochs=4), [np.float32(0.1), np.nan])
    assert table.values("num_params").tolist() == [1000, 1001]
    assert torch.equal(table.graphs.adjacency, graphs.adjacency)


def test_unknown_fields_are_skipped(tmp_path: Path) -> None:
    graphs = NASBench101().enumerate()[torch.tensor([9])]
    extra = b"\x7a\x03abc" + b"\x80\x01\x05"  # field 15, three bytes; field 16, a number
    plain = write(tmp_path / "a", [record(graphs, 0, 108, NUMBERS)])
    more = write(tmp_path / "b", [record(graphs, 0, 108, NUMBERS, extra)])
    assert plain.read_bytes() != more.read_bytes()
    assert read_tfrecord_table(more).test_acc() == read_tfrecord_table(plain).test_acc() == 0.5


def test_only_the_published_values_count_as_official(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole test is in small: a space of two cells whose best cell is known."""
    monkeypatch.setattr(NASBench101, "size", 2)
    graphs = NASBench101().enumerate()[torch.tensor([50, 200_000])]

    def kind(best: float, runs: int = 3) -> str:
        numbers = [*NUMBERS[:2], [108.0, 20.0, 1.0, 0.5, best]]
        records = [
            record(graphs, row, 108, numbers if row else NUMBERS)
            for row in (0, 1)
            for _ in range(runs)
        ]
        return read_tfrecord_table(write(tmp_path / "f", records)).provenance.kind

    assert kind(0.94318) == "official"
    assert kind(0.9440) == "self-made"
    assert kind(0.94318, runs=2) == "self-made"


GOOD = drawn_records(rows=1, epochs=(108,))[0]


def edited(**changes: object) -> bytes:
    fields = dict(
        zip(("hash", "epochs", "adjacency", "ops", "metrics"), json.loads(GOOD), strict=True)
    )
    return json.dumps(list((fields | changes).values())).encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not json", "record 1 of .*must be a JSON list"),
        (b"\xff\xfe", "record 1 of .*must be a JSON list"),
        (b"[1, 2]", "record 1 of .*must be a JSON list"),
        (b"{}", "record 1 of .*must be a JSON list"),
        (edited(hash="xyz"), "record 1 of .*must be a JSON list"),
        (edited(hash="abcd"), "the hash 32 hexadecimal digits"),
        (edited(hash=7), "must be a JSON list"),
        (edited(hash="0" * 32, adjacency=5), "must be texts"),
        (edited(hash="0" * 32), "hash of row 1 must be its graph's"),
        (edited(hash="0" * 32, ops="input,sigmoid"), "row 1 has 'input,sigmoid'"),
        (edited(epochs=0), "epochs must be a positive integer of at most 1000000, but got 0"),
        (edited(epochs="108"), "epochs must be a positive integer"),
        (edited(metrics="%%%"), "at least one evaluation"),
        (edited(metrics="Cg=="), "must be a JSON list"),
        (edited(metrics=None), "must be a JSON list"),
        (edited(metrics=""), "at least one evaluation"),
    ],
)
def test_malformed_records(tmp_path: Path, content: bytes, message: str) -> None:
    path = write(tmp_path / "bad.tfrecord", [GOOD, content])
    with pytest.raises(DataError, match=message) as caught:
        read_tfrecord_table(path)
    assert "\n" not in str(caught.value)


def test_files_without_sense(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least one record, but is empty"):
        read_tfrecord_table(write(tmp_path / "empty", []))
    graphs = NASBench101().enumerate()[torch.tensor([9])]
    percent = [*NUMBERS[:2], [108.0, 20.0, 100.0, 93.0, 94.0]]
    with pytest.raises(DataError, match=r"must be fractions.*percent"):
        read_tfrecord_table(write(tmp_path / "percent", [record(graphs, 0, 108, percent)]))
