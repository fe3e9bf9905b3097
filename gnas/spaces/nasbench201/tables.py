"""NAS-Bench-201 tables of others: Parquet files with the cells' strings in a column arch_str."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from gnas.data.benchmark_table import BenchmarkTable
from gnas.data.columns import Column
from gnas.data.parquet import read_texts
from gnas.data.third_party import (
    TableLayout,
    numeric_columns,
    present_columns,
    read_values,
    third_party_table,
)
from gnas.errors import DataError
from gnas.graphs import DenseBatch
from gnas.printable import amount
from gnas.spaces.nasbench201 import CANDIDATES, EDGES, NASBench201

COLUMNS = {
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
"""Columns beside arch_str; accuracies are percent, MACs millions.

Every ``cifar10_val`` column comes from training on half of CIFAR-10's training set, and so does
the training time; seeds 0, 1 and 2 are the benchmark's 777, 888 and 999 (compared with its own
files).
"""
_ACCURACY = re.compile(
    r"(cifar100|cifar10(?:[-_]?valid)?|imagenet(?:16(?:[-_]?120)?)?)_((?:val|test)_acc)_(12|200)"
    r"(?:_seed([012]))?"
)
_SEEDS = (777, 888, 999)
_NUM_SEEDS = "cifar10_test_num_seeds"
COMPLETE = {*COLUMNS} - {"cifar10_test_acc_200_seed1", "cifar10_test_acc_200_seed2"}
"""Columns in which a gap means damage; not every cell has a second and a third run."""


def read_table(path: Path, schema: pa.Schema) -> BenchmarkTable:
    """Open a table of cells by their strings.

    Args:
        path: The file.
        schema: Its schema.

    Raises:
        DataError: the content breaks a rule.
    """
    columns = present_columns(path, schema, scores(schema))
    texts = read_texts(path, "arch_str")
    graphs = cells_from_strings(texts, str(path))
    complete = len(graphs) == NASBench201.size
    scales = {column.name: 0.01 for column in columns if column.is_accuracy}
    scales["cifar10_macs_M"] = 1e6
    source, note, licence = _origin(columns, len(graphs))
    return third_party_table(
        path,
        NASBench201(),
        graphs,
        read_values(path, columns, scales, COMPLETE),
        columns,
        official=complete and bool(licence),
        source=source,
        note=note,
        licence=licence,
    )


def _origin(columns: Sequence[Column], count: int) -> tuple[str, str, str]:
    """Source, note and licence; no licence where no column has a name of the benchmark's."""
    images = {column.dataset for column in columns}
    names = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "ImageNet16-120": "ImageNet16-120"}
    found = [title for name, title in names.items() if images & {name, f"{name}-valid"}]
    if not found:
        source = "a Parquet table of others, architectures in the strings of NAS-Bench-201"
        return source, f"{amount(count, 'architecture')}; accuracies were percent in the file", ""
    notes = [f"{' and '.join(found)} only"] if len(found) < len(names) else []
    if {column.quantity for column in columns if column.name in COLUMNS} & {"macs", "num_params"}:
        notes.append("parameters and MACs by formula")
    if count < NASBench201.size:
        notes.append(f"{count} of the {NASBench201.size} cells")
    source = "NAS-Bench-201 (Dong and Yang, ICLR 2020), through a Parquet table of others"
    return source, "; ".join(notes), "MIT"


def scores(schema: pa.Schema) -> dict[str, Column]:
    """`COLUMNS`, and further columns of numbers; accuracies by their name.

    A name such as ``ImageNet16-120_val_acc_200`` or ``cifar100_test_acc_200_seed0``, in capital or
    small letters, says what it is. Any other column of numbers is its own quantity and kept as it
    is.

    Args:
        schema: Schema of the file.
    """
    others = {*numeric_columns(schema)} - {*COLUMNS, "index", _NUM_SEEDS}
    return COLUMNS | {name: _by_name(name) for name in schema.names if name in others}


def _by_name(name: str) -> Column:
    match = _ACCURACY.fullmatch(name.lower())
    if match is None:
        return Column(name, name)
    images, quantity, epochs, seed = match.groups()
    if images.startswith("imagenet"):
        images = "ImageNet16-120"
    elif images.endswith("valid") or (images, quantity) == ("cifar10", "val_acc"):
        images = "cifar10-valid"
    run = None if seed is None else _SEEDS[int(seed)]
    return Column(name, quantity, images, int(epochs), run)


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


LAYOUT = TableLayout("NAS-Bench-201", ("arch_str",), read_table, COMPLETE, scores)
"""See `gnas.data.third_party.layouts`."""
