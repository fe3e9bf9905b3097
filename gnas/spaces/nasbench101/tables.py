"""NAS-Bench-101 tables of others: Parquet files with the columns hash, adjacency and ops."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from gnas.data.benchmark_table import BenchmarkTable
from gnas.data.columns import Column
from gnas.data.parquet import read_texts
from gnas.data.third_party import TableLayout, present_columns, read_values, third_party_table
from gnas.errors import DataError
from gnas.graphs import DenseBatch
from gnas.spaces.nasbench101 import NASBench101

COLUMNS = {
    f"{split}_acc_108_run{run}": Column(
        f"{split}_acc_108_run{run}", f"{split}_acc", "cifar10", 108, run
    )
    for split in ("val", "test")
    for run in (1, 2, 3)
} | {"num_params": Column("num_params", "num_params", "cifar10")}
"""Columns beside hash, adjacency and ops; accuracies are fractions."""


def read_table(path: Path, schema: pa.Schema) -> BenchmarkTable:
    """Open a table of cells by hash, adjacency and ops.

    Args:
        path: The file.
        schema: Its schema.

    Raises:
        DataError: the content breaks a rule.
    """
    columns = present_columns(path, schema, COLUMNS)
    digests = _digests(read_texts(path, "hash"), path)
    graphs = cells_from_text(read_texts(path, "adjacency"), read_texts(path, "ops"), str(path))
    complete = len(graphs) == NASBench101.size
    return third_party_table(
        path,
        NASBench101(),
        graphs,
        read_values(path, columns, {}, COLUMNS),
        columns,
        digests=digests,
        official=complete,
        source="NAS-Bench-101 (Ying et al., ICML 2019), through a Parquet table of others",
        note=""
        if complete
        else f"{len(graphs)} of the {NASBench101.size} cells, not drawn "
        "at random; 108 epochs only",
        licence="Apache-2.0",
    )


def cells_from_text(adjacency: Sequence[str], ops: Sequence[str], where: str) -> DenseBatch:
    """NAS-Bench-101 cells from row-major 0/1 strings and comma-separated operation names.

    Args:
        adjacency: N strings of n * n characters.
        ops: N strings of n names.
        where: The file, for messages.

    Raises:
        DataError: an unknown operation, too many vertices, or lengths that do not fit.
    """
    codes: dict[str, NDArray[np.int8]] = {}
    width = NASBench101().vocabulary.max_nodes
    sizes = np.empty(len(ops), dtype=np.int64)
    op_rows = np.full((len(ops), width), -1, dtype=np.int8)
    for row, text in enumerate(ops):
        if text not in codes:
            codes[text] = _op_codes(text, row, where)
        sizes[row] = len(codes[text])
        op_rows[row, : sizes[row]] = codes[text]
    lengths = np.fromiter(map(len, adjacency), dtype=np.int64, count=len(adjacency))
    if (lengths != sizes**2).any():
        row = int((lengths != sizes**2).argmax())
        raise DataError(
            f"{where}: adjacency must have {sizes[row] ** 2} digits for {sizes[row]} ops, but "
            f"row {row} has {lengths[row]}"
        )
    matrices = np.zeros((len(ops), width, width), dtype=np.uint8)
    for n in np.unique(sizes).tolist():
        rows = np.flatnonzero(sizes == n)
        text = "".join(adjacency[row] for row in rows.tolist())
        digits = np.frombuffer(text.encode("utf-8", "replace"), dtype=np.uint8)
        if len(digits) != len(text) or ((digits & 0xFE) != 48).any():  # ASCII 0 and 1
            raise DataError(f"{where}: adjacency must hold the digits 0 and 1 only")
        matrices[rows, :n, :n] = digits.reshape(-1, n, n) - 48
    return DenseBatch(
        torch.from_numpy(matrices),
        torch.from_numpy(op_rows),
        torch.from_numpy(sizes),
        len(NASBench101().vocabulary.ops),
    )


def _op_codes(text: str, row: int, where: str) -> NDArray[np.int8]:
    names = text.split(",")
    space = NASBench101().vocabulary
    unknown = sorted(set(names) - set(space.ops))
    if unknown or len(names) > space.max_nodes:
        raise DataError(
            f"{where}: ops must be at most {space.max_nodes} of {list(space.ops)}, "
            f"but row {row} has {text[:120]!r}"
        )
    return np.array([space.ops.index(name) for name in names], dtype=np.int8)


def _digests(hashes: Sequence[str], path: Path) -> NDArray[np.uint8]:
    for row, text in enumerate(hashes):
        if len(text) != 32:
            raise DataError(f"{path}: hash must be 32 hex digits, but row {row} has {text[:64]!r}")
    try:
        return np.frombuffer(bytes.fromhex("".join(hashes)), dtype=np.uint8).reshape(-1, 16)
    except ValueError:
        raise DataError(f"{path}: hashes must be hexadecimal, but one is not") from None


LAYOUT = TableLayout("NAS-Bench-101", ("hash", "adjacency", "ops"), read_table, COLUMNS)
"""See `gnas.data.third_party.layouts`."""
