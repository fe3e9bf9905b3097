from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch_geometric.data import InMemoryDataset
from torch_geometric.loader import DataLoader

from gnas.data import (
    BenchmarkTable,
    Column,
    NASBench101Dataset,
    NASBench201Dataset,
    save_table,
)
from gnas.errors import ConfigError, MissingDataError
from gnas.graphs import EdgeOpsToNodeOps, validate
from tests.data.conftest import make_table


@pytest.fixture
def root(tmp_path: Path, small_table: BenchmarkTable) -> Path:
    save_table(small_table, tmp_path / "nasbench101.parquet")
    return tmp_path


def test_every_graph_is_the_tables(root: Path, small_table: BenchmarkTable) -> None:
    dataset = NASBench101Dataset(root)
    assert isinstance(dataset, InMemoryDataset)
    assert (len(dataset), dataset.num_node_features) == (40, 5)
    assert "NASBench101Dataset(40)" in repr(dataset)
    for row, data in enumerate(dataset):
        validate(data, num_ops=5)
        assert torch.equal(data.x, small_table[row].x)
        assert torch.equal(data.edge_index, small_table[row].edge_index)
        expected = [small_table.val_acc()[row], small_table.test_acc()[row]]
        assert data.y.tolist() == [pytest.approx(expected, rel=1e-6)]
        assert data.row.tolist() == [row]


def test_edge_operations(tmp_path: Path) -> None:
    table = make_table("nasbench201")
    columns = [
        Column.of(q, dataset=d) for q, d in (("val_acc", "cifar10-valid"), ("test_acc", "cifar10"))
    ]
    values = {c.name: np.full(40, 0.5 + k / 4) for k, c in enumerate(columns)}
    path = tmp_path / "own.parquet"
    save_table(BenchmarkTable(table.graphs, columns, table.provenance, values), path)
    dataset = NASBench201Dataset(path)
    for row, data in enumerate(dataset):
        assert torch.equal(data.edge_op, table[row].edge_op)
        assert data.y.tolist() == [[0.5, 0.75]]
    nodes = NASBench201Dataset(path, EdgeOpsToNodeOps(4))
    assert nodes[3].x.size(1) == 7
    with pytest.raises(ConfigError, match="no 'val_acc' on 'cifar100'"):
        NASBench201Dataset(path, dataset="cifar100")


def test_it_is_a_dataset_like_any_other(root: Path) -> None:
    dataset = NASBench101Dataset(root, epochs=12)
    batch = next(iter(DataLoader(dataset, batch_size=16)))
    assert batch.num_graphs == 16
    assert batch.y.shape == (16, 2)
    assert int(batch.batch.max()) == 15
    part = dataset[[4, 8, 2]]
    assert [data.row.item() for data in part] == [4, 8, 2]
    assert dataset.table.columns == part.table.columns
    torch.manual_seed(0)
    shuffled, order = dataset.shuffle(return_perm=True)
    assert [data.row.item() for data in shuffled] == order.tolist()
    assert dataset.y.shape == (40, 2)
    assert part.copy().y.shape == (3, 2)


def test_a_folder_without_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GNAS_DATA", str(tmp_path / "none"))
    with pytest.raises(MissingDataError, match="'nasbench201' not found in"):
        NASBench201Dataset(tmp_path)


def test_nothing_is_written(root: Path) -> None:
    NASBench101Dataset(root)
    assert [path.name for path in root.iterdir()] == ["nasbench101.parquet"]
