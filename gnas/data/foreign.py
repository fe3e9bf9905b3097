"""Parquet tables that others made, read as they are; which is which shows in their columns."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch_geometric.data import Data

from gnas.data.agreement import function_agreement
from gnas.data.benchmark_table import BenchmarkTable, check_values
from gnas.data.columns import Column, Provenance
from gnas.data.parquet import ColumnReader, check_graphs, check_size, read_lists, read_texts
from gnas.errors import ConfigError, DataError, GraphError
from gnas.graphs import DenseBatch
from gnas.spaces import NASBench101, NASBench201, TopoNAS
from gnas.spaces.nasbench201 import CANDIDATES, EDGES
from gnas.spaces.registry import notations

_LOG = logging.getLogger(__name__)

NASBENCH101_COLUMNS = {
    f"{split}_acc_108_run{run}": Column(
        f"{split}_acc_108_run{run}", f"{split}_acc", "cifar10", 108, run
    )
    for split in ("val", "test")
    for run in (1, 2, 3)
} | {"num_params": Column("num_params", "num_params", "cifar10")}
"""Columns of a NAS-Bench-101 table beside hash, adjacency and ops; accuracies are fractions."""

NASBENCH201_COLUMNS = {
    column.name: column
    for column in (
        Column("cifar10_val_acc_200", "val_acc", "cifar10-valid", 200),
        Column("cifar10valid_test_acc_200", "test_acc", "cifar10-valid", 200),
        Column("cifar10_test_acc_200", "test_acc", "cifar10", 200),
        Column("cifar10_test_acc_200_seed0", "test_acc", "cifar10", 200, 777),
        Column("cifar10_test_acc_200_seed1", "test_acc", "cifar10", 200, 888),
        Column("cifar10_test_acc_200_seed2", "test_acc", "cifar10", 200, 999),
        Column("cifar10_val_acc_12", "val_acc", "cifar10-valid", 12),
        Column("cifar10_test_acc_12", "test_acc", "cifar10", 12),
        Column("cifar10_train_time_12_s", "train_time_s", "cifar10-valid", 12),
        Column("cifar100_val_acc_200", "val_acc", "cifar100", 200),
        Column("cifar100_test_acc_200", "test_acc", "cifar100", 200),
        Column("cifar100_val_acc_12", "val_acc", "cifar100", 12),
        Column("cifar100_test_acc_12", "test_acc", "cifar100", 12),
        Column("cifar10_macs_M", "macs", "cifar10"),
        Column("cifar10_num_params", "num_params", "cifar10"),
    )
}
"""Columns of a NAS-Bench-201 table beside arch_str; accuracies are percent, MACs millions.

Every ``cifar10_val`` column comes from training on half of CIFAR-10's training set, and so does
the training time; seeds 0, 1 and 2 are the benchmark's 777, 888 and 999 (compared with its own
files).
"""
DARTS_COLUMNS = {
    column.name: column
    for column in (
        Column("test_acc_600", "last_epoch_test_acc", "cifar10", 600),
        Column("test_acc_600_mean20", "test_acc", "cifar10", 600),
        Column("test_acc_100", "test_acc", "cifar10", 100),
        Column("test_acc_300", "test_acc", "cifar10", 300),
    )
}
"""Columns of a table of DARTS' cells beside genotype, percent. Those of 100 and 300 epochs are
earlier moments of the same run; test_acc is the mean of its last 20 epochs."""
_ACCURACY = re.compile(
    r"(cifar100|cifar10[-_]?valid|imagenet(?:16(?:[-_]?120)?)?)_((?:val|test)_acc)_(12|200)"
    r"(?:_seed([012]))?"
)
MOST_CELLS = max(NASBench101.size, NASBench201.size)
"""Rows of the largest foreign table: every cell occurs once."""
ARCHITECTURES = "arch"
"""The column of architectures in a foreign notation."""
_SEEDS = (777, 888, 999)
_NUM_SEEDS = "cifar10_test_num_seeds"
MAY_MISS = ("cifar10_test_acc_200_seed1", "cifar10_test_acc_200_seed2")
"""Second and third runs, which not every NAS-Bench-201 cell has."""
COMPLETE = {*NASBENCH101_COLUMNS, *NASBENCH201_COLUMNS} - {*MAY_MISS}
"""Columns in which a gap means damage."""


def read_foreign(path: Path, schema: pa.Schema, *, notation: str | None = None) -> BenchmarkTable:
    """Opens a table of NAS-Bench-101, NAS-Bench-201 or DARTS' cells in a known foreign layout.

    Warns where cells that compute the same function differ so much that the encoding may be
    another one than was read: see `gnas.data.agreement`.

    Args:
        path: The file.
        schema: Its schema.
        notation: The notation of its architectures, if not the layout's own: a key of
            `gnas.spaces.notations`. They are in the column `ARCHITECTURES`, or in the only
            column of texts or lists.

    Raises:
        ConfigError: unknown notation.
        DataError: the layout is unknown, or the content breaks a rule.
    """
    table = _read(path, schema, notation)
    agreement = function_agreement(table)
    if agreement is not None and agreement.is_suspicious:
        _LOG.warning("%s: %s", path, agreement)
    return table


def _read(path: Path, schema: pa.Schema, notation: str | None) -> BenchmarkTable:
    check_size(path, schema.names, most_rows=MOST_CELLS)
    if notation is not None:
        return _read_notation(path, schema, notation)
    if {"hash", "adjacency", "ops"} <= set(schema.names):
        return _read_nasbench101(path, schema)
    if "arch_str" in schema.names:
        return _read_nasbench201(path, schema)
    if "genotype" in schema.names:
        return _read_darts(path, schema)
    raise DataError(
        f"{path} must be a table of gnas, or have the columns hash, adjacency and ops "
        "(NAS-Bench-101), arch_str (NAS-Bench-201) or genotype (DARTS), but has "
        f"{schema.names[:8]}"
    )


def _read_nasbench101(path: Path, schema: pa.Schema) -> BenchmarkTable:
    names = _present(path, schema, NASBENCH101_COLUMNS)
    digests = _digests(read_texts(path, "hash"), path)
    graphs = cells_from_text(read_texts(path, "adjacency"), read_texts(path, "ops"), str(path))
    check_graphs(graphs, "nasbench101", digests, str(path))
    complete = len(graphs) == NASBench101.size
    provenance = Provenance(
        name=path.stem,
        space="nasbench101",
        source="NAS-Bench-101 (Ying et al., ICML 2019), through a Parquet table of others",
        kind="official" if complete else "partial",
        note=""
        if complete
        else f"{len(graphs)} of the {NASBench101.size} cells, not drawn "
        "at random; 108 epochs only",
        licence="Apache-2.0",
        path=str(path),
    )
    columns = [NASBENCH101_COLUMNS[name] for name in names]
    values = _read_values(path, columns, {})
    return BenchmarkTable(graphs, columns, provenance, values, digests=digests)


def _read_nasbench201(path: Path, schema: pa.Schema) -> BenchmarkTable:
    known = {**NASBENCH201_COLUMNS, **_other_scores(schema)}
    names = _present(path, schema, known)
    texts = read_texts(path, "arch_str")
    graphs = cells_from_strings(texts, str(path))
    check_graphs(graphs, "nasbench201", None, str(path))
    complete = len(graphs) == NASBench201.size
    provenance = Provenance(
        name=path.stem,
        space="nasbench201",
        source="NAS-Bench-201 (Dong and Yang, ICLR 2020), through a Parquet table of others",
        kind="official" if complete else "partial",
        note="CIFAR-10 and CIFAR-100 only; parameters and MACs by formula"
        + ("" if complete else f"; {len(graphs)} of the {NASBench201.size} cells"),
        licence="MIT",
        path=str(path),
    )
    columns = [known[name] for name in names]
    scales = {column.name: 0.01 for column in columns if column.is_accuracy}
    scales["cifar10_macs_M"] = 1e6
    return BenchmarkTable(graphs, columns, provenance, _read_values(path, columns, scales))


def _read_darts(path: Path, schema: pa.Schema) -> BenchmarkTable:
    """A table of pairs of cells as DARTS' code writes them."""
    space = TopoNAS.darts()
    batch = _cells(path, "genotype", read_texts(path, "genotype"), space.from_str)
    check_graphs(batch, space.name, None, str(path))
    columns = [DARTS_COLUMNS[name] for name in schema.names if name in DARTS_COLUMNS]
    if not columns:
        raise DataError(f"{path} must have one of {[*DARTS_COLUMNS]}, but has {schema.names[:8]}")
    _check_numbers(path, schema, [column.name for column in columns])
    provenance = Provenance(
        name=path.stem,
        space=space.name,
        source="Yang, Esperanca and Carlucci, NAS evaluation is frustratingly hard, ICLR 2020, "
        "through a Parquet table of others",
        kind="partial",
        note=f"{len(batch)} random pairs of DARTS' cells, one run each: too few, and too much "
        "alike beside the noise of one run, for more than coarse conclusions",
        licence="GPL-3.0",
        path=str(path),
    )
    scales = {column.name: 0.01 for column in columns}
    return BenchmarkTable(batch, columns, provenance, _read_values(path, columns, scales))


def _read_notation(path: Path, schema: pa.Schema, name: str) -> BenchmarkTable:
    """A table whose architectures are in a foreign notation.

    Accuracies are the columns that NAS-Bench-201's tables have, in percent; all other columns of
    numbers are kept as they are.
    """
    known = notations()
    if name not in known:
        raise ConfigError(f"unknown notation '{name}'; choose from {sorted(known)}")
    space, notation = known[name]
    column = _architectures(path, schema)
    is_list = pa.types.is_list(schema.field(column).type)
    cells = read_lists(path, column) if is_list else read_texts(path, column)
    batch = _cells(path, column, cells, notation.read).pad_to(space().max_nodes)
    check_graphs(batch, space.name, None, str(path))
    scores = {**NASBENCH201_COLUMNS, **_other_scores(schema)}
    columns = [scores[name] for name in schema.names if name in scores]
    if not columns:
        raise DataError(f"{path} must have a column of numbers, but has {schema.names[:8]}")
    _check_numbers(path, schema, [column.name for column in columns])
    percent = {c.name: 0.01 for c in columns if c.is_accuracy and c.epochs is not None}
    provenance = Provenance(
        name=path.stem,
        space=space.name,
        source=f"a Parquet table of others, architectures in the notation {name}",
        kind="partial",
        note=f"{len(batch)} architectures; values as they stood in the file",
        path=str(path),
    )
    return BenchmarkTable(batch, columns, provenance, _read_values(path, columns, percent))


def _cells(
    path: Path, column: str, texts: Sequence[str], read: Callable[[str], Data]
) -> DenseBatch:
    """The architectures of a column of texts, read one by one."""
    graphs = []
    for row, text in enumerate(texts):
        try:
            graphs.append(read(text))
        except GraphError as error:
            raise DataError(f"{path}: row {row} of column '{column}': {error}") from None
    if not graphs:
        raise DataError(f"{path} must have at least one row, but is empty")
    return DenseBatch.from_data(graphs)


def _architectures(path: Path, schema: pa.Schema) -> str:
    """The column of architectures."""
    if ARCHITECTURES in schema.names:
        return ARCHITECTURES
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_list)
    found = [field.name for field in schema if any(is_kind(field.type) for is_kind in kinds)]
    if len(found) != 1:
        raise DataError(
            f"{path} must have its architectures in a column '{ARCHITECTURES}', or in its only "
            f"column of texts or lists, but such columns are {found[:8]}"
        )
    return str(found[0])


def _other_scores(schema: pa.Schema) -> dict[str, Column]:
    """Columns of numbers that `NASBENCH201_COLUMNS` lacks; accuracies by their name.

    A name such as ``imagenet16-120_val_acc_200`` or ``cifar100_test_acc_200_seed0`` says what it
    is. Any other column of numbers is its own quantity and kept as it is.
    """
    found = {}
    for field in schema:
        number = pa.types.is_floating(field.type) or pa.types.is_integer(field.type)
        if number and field.name not in (*NASBENCH201_COLUMNS, "index", _NUM_SEEDS):
            found[field.name] = _by_name(field.name)
    return found


def _by_name(name: str) -> Column:
    match = _ACCURACY.fullmatch(name)
    if match is None:
        return Column(name, name)
    images, quantity, epochs, seed = match.groups()
    if images.startswith("imagenet"):
        images = "ImageNet16-120"
    elif images in ("cifar10valid", "cifar10_valid"):
        images = "cifar10-valid"
    run = None if seed is None else _SEEDS[int(seed)]
    return Column(name, quantity, images, int(epochs), run)


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


def cells_from_strings(texts: Sequence[str], where: str) -> DenseBatch:
    """NAS-Bench-201 cells from the benchmark's own strings, all at once.

    Args:
        texts: N strings, see `NASBench201.to_str`.
        where: The file, for messages.

    Raises:
        DataError: a string is not a cell.
    """
    codes = [{f"{op}~{i}": code for code, op in enumerate(CANDIDATES)} for i, _ in EDGES]
    choices = np.empty((len(texts), len(EDGES)), dtype=np.uint8)
    for row, text in enumerate(texts):
        parts = text.split("|")  # ['', e0, '+', e1, e2, '+', e3, e4, e5, '']
        try:
            if len(parts) != 10 or parts[::9] != ["", ""] or parts[2:6:3] != ["+", "+"]:
                raise KeyError(text)
            entries = [parts[1], *parts[3:5], *parts[6:9]]
            choices[row] = [code[part] for code, part in zip(codes, entries, strict=True)]
        except KeyError:
            raise DataError(
                f"{where}: row {row} must be a cell like '|op~0|+|op~0|op~1|+|op~0|op~1|op~2|' "
                f"with operations {list(CANDIDATES)}, but got {text[:120]!r}"
            ) from None
    index = choices @ len(CANDIDATES) ** np.arange(len(EDGES))[::-1]
    return NASBench201().enumerate()[torch.from_numpy(index)]


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


def _present(path: Path, schema: pa.Schema, known: dict[str, Column]) -> list[str]:
    names = [name for name in known if name in schema.names]
    quantities = {known[name].quantity for name in names}
    missing = {"val_acc", "test_acc"} - quantities
    if len(missing) == 1 or not names:  # a table of other measures may have no accuracy
        wanted = [name for name, column in known.items() if column.quantity in missing]
        raise DataError(f"{path} must have at least one of the columns {wanted}, but has none")
    _check_numbers(path, schema, names)
    return names


def _check_numbers(path: Path, schema: pa.Schema, names: Sequence[str]) -> None:
    for name in names:
        kind = schema.field(name).type
        if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
            raise DataError(f"column '{name}' of {path} must be numbers, but is {kind}")


def _read_values(
    path: Path, columns: Sequence[Column], scales: dict[str, float]
) -> dict[str, NDArray[np.float64]]:
    read = ColumnReader(path)
    values: dict[str, NDArray[np.float64]] = {}
    for column in columns:
        raw: NDArray[Any] = read(column.name).astype(np.float64)
        if column.name in COMPLETE and np.isnan(raw).any():
            row = int(np.isnan(raw).argmax())
            raise DataError(
                f"{path}: column '{column.name}' must be complete, but row {row} is NaN"
            )
        if column.is_accuracy and column.name in scales and np.nanmax(raw, initial=0) <= 1:
            raise DataError(f"{path}: column '{column.name}' must be percent, but is all below 1")
        values[column.name] = raw * scales.get(column.name, 1.0)
        try:
            check_values(column, values[column.name])
        except DataError as error:
            raise DataError(f"{path}: {error}") from None
    return values


def _digests(hashes: Sequence[str], path: Path) -> NDArray[np.uint8]:
    for row, text in enumerate(hashes):
        if len(text) != 32:
            raise DataError(f"{path}: hash must be 32 hex digits, but row {row} has {text[:64]!r}")
    try:
        return np.frombuffer(bytes.fromhex("".join(hashes)), dtype=np.uint8).reshape(-1, 16)
    except ValueError:
        raise DataError(f"{path}: hashes must be hexadecimal, but one is not") from None
