"""Tables of pairs of DARTS cells: Parquet files with DARTS' genotypes in a column genotype."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from gnas.data.benchmark_table import BenchmarkTable
from gnas.data.columns import Column
from gnas.data.parquet import read_texts
from gnas.data.third_party import (
    TableLayout,
    check_numbers,
    read_cells,
    read_values,
    third_party_table,
)
from gnas.errors import DataError
from gnas.spaces.toponas import TopoNAS

COLUMNS = {
    column.name: column
    for column in (
        Column("test_acc_600", "last_epoch_test_acc", "cifar10", 600),
        Column("test_acc_600_mean20", "test_acc", "cifar10", 600),
        Column("test_acc_100", "test_acc", "cifar10", 100),
        Column("test_acc_300", "test_acc", "cifar10", 300),
    )
}
"""Columns beside genotype, percent. Those of 100 and 300 epochs are
earlier moments of the same run; test_acc is the mean of its last 20 epochs."""


def read_table(path: Path, schema: pa.Schema) -> BenchmarkTable:
    """Open a table of pairs of cells as DARTS' code writes them.

    Args:
        path: The file.
        schema: Its schema.

    Raises:
        DataError: the content breaks a rule.
    """
    space = TopoNAS.darts()
    batch = read_cells(path, "genotype", read_texts(path, "genotype"), space.from_str)
    columns = [COLUMNS[name] for name in schema.names if name in COLUMNS]
    if not columns:
        raise DataError(f"{path} must have one of {[*COLUMNS]}, but has {schema.names[:8]}")
    check_numbers(path, schema, columns)
    return third_party_table(
        path,
        space,
        batch,
        read_values(path, columns, {column.name: 0.01 for column in columns}),
        columns,
        source="Yang, Esperanca and Carlucci, NAS evaluation is frustratingly hard, ICLR 2020, "
        "through a Parquet table of others",
        note=f"{len(batch)} random pairs of DARTS' cells, one run each: too few, and too much "
        "alike beside the noise of one run, for more than coarse conclusions",
        licence="GPL-3.0",
    )


LAYOUT = TableLayout("DARTS", ("genotype",), read_table)
"""See `gnas.data.third_party.layouts`."""
