"""Small tables, and the official file formats written without any of the library's code."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from gnas.data import BenchmarkTable, Column, Provenance
from gnas.graphs import DenseBatch, graph_hash
from gnas.spaces import SPACES, NASBench101

WriteTFRecord = Callable[..., Path]


def make_table(
    space_name: str = "nasbench101",
    rows: int = 40,
    runs: int = 3,
    budgets: tuple[int, ...] = (12, 108),
    **changes: object,
) -> BenchmarkTable:
    """A table of different architectures with drawn values; run 2 misses some."""
    rng = np.random.default_rng(1)
    space = SPACES[space_name]()
    if space.size is None:
        graphs = space.sample_batch(rows, rng)
    else:
        index = rng.choice(space.size, size=rows, replace=False)
        graphs = space.enumerate()[torch.from_numpy(index)]
    columns = [
        Column.of(quantity, dataset="cifar10", epochs=epochs, run=run)
        for quantity in ("val_acc", "test_acc")
        for epochs in budgets
        for run in range(1, runs + 1)
    ]
    columns.append(Column.of("num_params"))
    values = {c.name: rng.random(rows, dtype=np.float32).astype(np.float64) for c in columns}
    values["num_params"] = rng.integers(10**5, 10**8, rows).astype(np.float64)
    values["test_acc_cifar10_108_run2"][::3] = np.nan
    facts: dict[str, object] = {
        "name": "small",
        "space": space_name,
        "source": "drawn at random",
        "kind": "self-made",
        "note": "means nothing",
        "licence": "none",
        "recipe": {"epochs": 108, "seeds": [1, 2]},
    }
    return BenchmarkTable(graphs, columns, Provenance(**(facts | changes)), values)  # type: ignore[arg-type]


@pytest.fixture
def small_table() -> BenchmarkTable:
    return make_table()


def crc32c(data: bytes) -> int:
    """The Castagnoli checksum bit by bit, from its polynomial."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def frame(data: bytes) -> bytes:
    """One TFRecord."""

    def masked(part: bytes) -> bytes:
        crc = crc32c(part)
        return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)

    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


def metrics(evaluations: list[list[float]], num_params: int, extra: bytes = b"") -> str:
    """The protobuf message on the wire, in base64; ``extra`` bytes are further fields."""
    content = b""
    for values in evaluations:
        part = b"".join(
            bytes([(number << 3) | 1]) + struct.pack("<d", value)
            for number, value in enumerate(values, start=1)
        )
        content += b"\x0a" + bytes([len(part)]) + part
    digits, rest = b"", num_params
    while rest > 127:
        digits, rest = digits + bytes([rest & 127 | 128]), rest >> 7
    return base64.b64encode(content + b"\x10" + digits + bytes([rest]) + extra).decode()


def record(
    graphs: DenseBatch, row: int, epochs: int, evaluations: list[list[float]], extra: bytes = b""
) -> bytes:
    """The JSON of one training of architecture ``row``."""
    n = int(graphs.num_nodes[row])
    digits = "".join(str(x) for x in graphs.adjacency[row, :n, :n].flatten().tolist())
    ops = ",".join(NASBench101().vocabulary.ops[op] for op in graphs.ops[row, :n].tolist())
    content = metrics(evaluations, 1000 + row, extra)
    return json.dumps([graph_hash(graphs.data(row)), epochs, digits, ops, content]).encode()


def drawn_records(rows: int = 12, epochs: tuple[int, ...] = (4, 108)) -> list[bytes]:
    """Three runs of every cell at every budget, in mixed order."""
    rng = np.random.default_rng(2)
    graphs = NASBench101().enumerate()[torch.arange(rows) * 1000]
    order = [(row, budget) for _ in range(3) for budget in epochs for row in range(rows)]
    return [
        record(graphs, row, budget, rng.random((3, 5), dtype=np.float32).astype(float).tolist())
        for row, budget in order
    ]


@pytest.fixture
def tfrecord(tmp_path: Path) -> Path:
    """A small file in the official format."""
    path = tmp_path / "nasbench.tfrecord"
    path.write_bytes(b"".join(frame(content) for content in drawn_records()))
    return path
