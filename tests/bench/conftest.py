"""A small table of NAS-Bench-101 cells whose accuracies follow from their graphs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from gnas.data import BenchmarkTable, Column, Provenance, save_table
from gnas.spaces import NASBench101


def make_table(rows: int = 160, space: str = "nasbench101") -> BenchmarkTable:
    rng = np.random.default_rng(4)
    cells = NASBench101().enumerate()[:2500]  # at most 5 vertices
    graphs = cells[torch.from_numpy(rng.choice(2500, rows, replace=False))]
    true = 0.8 + 0.02 * (graphs.ops == 1).sum(1).double().numpy()
    true += 0.005 * graphs.adjacency.sum((1, 2)).double().numpy()
    columns, values = [], {}
    for quantity in ("val_acc", "test_acc"):
        for run in (1, 2):
            column = Column.of(quantity, dataset="drawn", epochs=1, run=run)
            columns.append(column)
            values[column.name] = np.clip(true + rng.normal(0, 0.004, rows), 0, 1)
    facts = Provenance("small", space, "drawn in a test", "self-made", "means nothing", "none")
    return BenchmarkTable(graphs, columns, facts, values)


@pytest.fixture(scope="session")
def table_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("tables") / "small.parquet"
    save_table(make_table(), path)
    return str(path)
