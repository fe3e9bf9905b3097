"""The benchmark tables as PyG datasets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from gnas.data.benchmark_table import BenchmarkTable
from gnas.data.tables import load_table
from gnas.geometric import Data, InMemoryDataset
from gnas.graphs import DenseBatch

Transform = Callable[[Data], Data]


class TableDataset(InMemoryDataset):  # type: ignore[misc]
    """A benchmark table whose architectures are PyG graphs.

    Every graph has ``x``, ``edge_index`` (and ``edge_op`` in edge-op spaces) as `gnas.graphs`
    says, ``y`` float32 [1, 2] (mean validation and test accuracy, fractions) and ``row`` int64
    [1], its row in ``dataset.table``, which knows everything else. There is no processed file
    and nothing is pickled: the table is the only file.

    Args:
        root: The table's file, or a folder to look for ``NAME.parquet`` in before the places
            where `load_table` looks.
        transform: Applied to every graph when it is accessed.
        name: Table to look for.
        val_dataset: Dataset of the validation accuracy, where the table has several.
        test_dataset: Dataset of the test accuracy.
        epochs: Length of the trainings; the longest by default.

    Raises:
        MissingDataError: there is no such table.
        DataError: the file is damaged.
        ConfigError: the dataset or budget does not exist.
    """

    def __init__(
        self,
        root: str | Path | None,
        transform: Transform | None,
        *,
        name: str,
        val_dataset: str | None = None,
        test_dataset: str | None = None,
        epochs: int | None = None,
    ) -> None:
        super().__init__(None, transform)
        is_file = root is not None and Path(root).is_file()
        table = load_table(Path(str(root))) if is_file else load_table(name, data_dir=root)
        self.table: BenchmarkTable = table
        val = table.val_acc(dataset=val_dataset, epochs=epochs)
        test = table.test_acc(dataset=test_dataset, epochs=epochs)
        y = torch.stack([torch.tensor(val), torch.tensor(test)], dim=1).float()
        self._data, self.slices = collate(table.graphs, y)


class NASBench101Dataset(TableDataset):
    """NAS-Bench-101 as a PyG dataset; see `TableDataset`.

    ``NASBench101Dataset("data")`` opens ``data/nasbench101.parquet``, made by
    ``gnas data convert nasbench101 FILE --data-dir data``.

    Args:
        root: See `TableDataset`.
        transform: See `TableDataset`.
        epochs: Schedule of the accuracies: 4, 12, 36 or 108; needed where a table has several.
        name: See `TableDataset`.

    Examples:
        >>> dataset = NASBench101Dataset(name="nasbench101-mini")
        >>> len(dataset), dataset[0].y.shape
        (2000, torch.Size([1, 2]))
    """

    def __init__(
        self,
        root: str | Path | None = None,
        transform: Transform | None = None,
        *,
        epochs: int | None = None,
        name: str = "nasbench101",
    ) -> None:
        super().__init__(root, transform, name=name, epochs=epochs)


class NASBench201Dataset(TableDataset):
    """NAS-Bench-201 (NATS-Bench's topology space) as a PyG dataset; see `TableDataset`.

    With ``dataset="cifar10"`` the test accuracy comes from training on all of CIFAR-10 and the
    validation accuracy from "cifar10-valid" (training on half of it), the only one there is.

    Args:
        root: See `TableDataset`.
        transform: See `TableDataset`.
        dataset: Images of the accuracies: "cifar10", "cifar100" or "ImageNet16-120".
        epochs: Schedule of the accuracies: 12 or 200; needed where a table has several.
        name: See `TableDataset`.

    Examples:
        >>> import tempfile
        >>> from gnas.data import Column, Provenance, save_table
        >>> from gnas.spaces import NASBench201
        >>> cells = NASBench201().enumerate()[:2]
        >>> facts = Provenance.of(NASBench201(), "mine", source="a draw", kind="self-made")
        >>> val, test = (Column.of(name, dataset="cifar100") for name in ("val_acc", "test_acc"))
        >>> values = {val.name: [0.5, 0.75], test.name: [0.25, 0.5]}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     table = BenchmarkTable(cells, [val, test], facts, values)
        ...     save_table(table, f"{folder}/mine.parquet")
        ...     dataset = NASBench201Dataset(folder, dataset="cifar100", name="mine")
        >>> dataset[1].y
        tensor([[0.7500, 0.5000]])
    """

    def __init__(
        self,
        root: str | Path | None = None,
        transform: Transform | None = None,
        *,
        dataset: str = "cifar10",
        epochs: int | None = None,
        name: str = "nasbench201",
    ) -> None:
        val_dataset = "cifar10-valid" if dataset == "cifar10" else dataset
        super().__init__(
            root,
            transform,
            name=name,
            val_dataset=val_dataset,
            test_dataset=dataset,
            epochs=epochs,
        )


def collate(graphs: DenseBatch, y: Tensor) -> tuple[Data, dict[str, Tensor]]:
    """All graphs collated in one ``Data``, and their slices, as in ``InMemoryDataset``.

    Args:
        graphs: N architectures.
        y: Targets [N, t].

    Shapes:
        M nodes and E edges in all -> x [M, num_ops], edge_index [2, E], every slice [N + 1].
    """
    graph, source, target = graphs.adjacency.nonzero().unbind(1)
    rows = torch.arange(len(graphs))
    edge_index = torch.stack([source, target])
    ops = graphs.ops[graphs.ops >= 0].long()
    x = torch.nn.functional.one_hot(ops, graphs.num_ops).float()
    data = Data(x=x, edge_index=edge_index, y=y, row=rows)
    each = torch.arange(len(graphs) + 1)
    edges = _starts(torch.bincount(graph, minlength=len(graphs)))
    slices = {"x": _starts(graphs.num_nodes), "edge_index": edges, "y": each, "row": each}
    if graphs.has_edge_ops:
        data.edge_op = graphs.adjacency[graph, source, target].long() - 1
        slices["edge_op"] = edges
    return data, slices


def _starts(counts: Tensor) -> Tensor:
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])
