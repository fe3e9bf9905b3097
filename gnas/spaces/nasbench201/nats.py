"""The table of NATS-Bench's own files."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnas.data.benchmark_table import BenchmarkTable
from gnas.data.columns import Column, Provenance
from gnas.data.files import FORMAT_ERRORS
from gnas.data.parquet import check_graphs
from gnas.errors import DataError
from gnas.processes import ProgressCallback
from gnas.spaces.nasbench201 import NASBench201
from gnas.spaces.nasbench201.pickles import load_plain_pickle, nats_files
from gnas.spaces.nasbench201.tables import cells_from_strings

SPLITS: Mapping[str, Mapping[str, str]] = {
    "cifar10-valid": {"val_acc": "x-valid", "test_acc": "ori-test"},
    "cifar10": {"test_acc": "ori-test"},
    "cifar100": {"val_acc": "x-valid", "test_acc": "x-test"},
    "ImageNet16-120": {"val_acc": "x-valid", "test_acc": "x-test"},
}
"""Dataset -> quantity -> the benchmark's name of the images that it was measured on.

"cifar10-valid" trains on half of CIFAR-10's training set and validates on the other half;
"cifar10" trains on all of it. On the other two, validation and test are halves of their test set.
"""
BUDGETS = (12, 200)
MAX_SEED = 2**32 - 1


def read_nats_folder(folder: Path, *, progress: ProgressCallback | None = None) -> BenchmarkTable:
    """The table of a ``NATS-tss-*-simple`` folder, of the architectures that are there.

    Columns are training, validation and test accuracy and training time of every dataset and
    seed (the number of the run) after 12 and 200 epochs, and for every dataset parameters,
    multiply-accumulates and latency. Runs that an architecture lacks are NaN.

    Args:
        folder: Holds ``000000.pickle.pbz2`` and so on.
        progress: Told how many files of how many are read.

    Raises:
        MissingDataError: the folder does not exist or holds no such file.
        DataError: a file is damaged, unsafe, or laid out otherwise.

    Source: Dong et al., NATS-Bench, TPAMI 2021; https://github.com/D-X-Y/NATS-Bench.
    """
    files = nats_files(folder)
    texts: list[str] = []
    values: dict[Column, NDArray[np.float64]] = {}
    for row, (index, path) in enumerate(files):
        content = load_plain_pickle(path)
        try:
            text, measured = _architecture(content, index)
        except FORMAT_ERRORS as error:
            raise DataError(
                f"{path} must be laid out like a NATS-Bench 'simple' file, but is not: "
                f"{type(error).__name__}: {str(error)[:200]}"
            ) from error
        texts.append(text)
        for column, value in measured:
            if column not in values:
                values[column] = np.full(len(files), np.nan)
            values[column][row] = value
        if progress is not None:
            progress(row + 1, len(files))
    return _table(folder, texts, values)


def _architecture(content: Any, index: int) -> tuple[str, list[tuple[Column, float]]]:
    """The string and all values of one file."""
    measured: list[tuple[Column, float]] = []
    texts = set()
    for epochs in BUDGETS:
        if str(epochs) not in content:
            continue
        part = content[str(epochs)]
        if not isinstance(part["arch_str"], str):
            raise TypeError("arch_str must be a text")
        texts.add(part["arch_str"])
        if type(part["arch_index"]) is not int or part["arch_index"] != index:
            raise ValueError(f"arch_index must be {index}, but is {_short(part['arch_index'])}")
        for (dataset, seed), result in part["all_results"].items():
            if dataset in SPLITS:
                measured += _run(result, dataset, epochs, _seed(seed))
    if len(texts) != 1:
        raise ValueError(f"there must be one arch_str, but found {sorted(texts)}")
    return texts.pop(), measured


def _seed(value: Any) -> int:
    seed = int(value)
    if not 0 <= seed <= MAX_SEED:
        raise ValueError(f"seeds must be in [0, {MAX_SEED}], but one is {_short(value)}")
    return seed


def _short(value: object) -> str:
    """A number or text as it may stand in a message; of anything else its type."""
    if isinstance(value, int | float | str):
        return f"{value!r:.60}"
    return type(value).__name__


def _run(result: Any, dataset: str, epochs: int, seed: int) -> Iterator[tuple[Column, float]]:
    """The values of one training, percent as fractions, millions as numbers."""
    if result["epochs"] != epochs:
        raise ValueError(f"epochs must be {epochs}, but got {_short(result['epochs'])}")
    last = epochs - 1

    def column(quantity: str) -> Column:
        return Column.of(quantity, dataset=dataset, epochs=epochs, run=seed)

    yield column("train_acc"), float(result["train_acc1es"][last]) / 100
    for quantity, images in SPLITS[dataset].items():
        yield column(quantity), float(result["eval_acc1es"][f"{images}@{last}"]) / 100
    yield column("train_time_s"), float(sum(result["train_times"].values()))
    yield Column.of("num_params", dataset=dataset), round(float(result["params"]) * 1e6)
    yield Column.of("macs", dataset=dataset), round(float(result["flop"]) * 1e6)
    if result["latency"]:
        yield (
            Column.of("latency_s", dataset=dataset),
            statistics.fmean(map(float, result["latency"])),
        )


def _table(
    folder: Path, texts: list[str], values: dict[Column, NDArray[np.float64]]
) -> BenchmarkTable:
    graphs = cells_from_strings(texts, str(folder))
    check_graphs(graphs, NASBench201(), None, str(folder))
    complete = len(texts) == NASBench201.size
    provenance = Provenance.of(
        NASBench201(),
        NASBench201.name,
        source=f"NATS-Bench topology space (Dong et al., TPAMI 2021), {folder.name}",
        kind="official" if complete else "partial",
        note="" if complete else f"{len(texts)} of the {NASBench201.size} cells",
        licence="MIT",
    )
    order = sorted(values, key=lambda c: (c.dataset or "", c.epochs or 0, c.quantity, c.run or 0))
    arrays = {column.name: values[column] for column in order}
    table = BenchmarkTable(graphs, order, provenance, arrays)
    for column in order:
        table.raw(column.name)
    return table
