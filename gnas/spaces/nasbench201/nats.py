"""NATS-Bench's own files: a folder of bz2 pickles, one for every architecture.

A pickle is a program. These are opened by an unpickler that builds plain containers, numbers and
strings and refuses everything else.
"""

from __future__ import annotations

import bz2
import io
import pickle
import re
import statistics
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnas.data.benchmark_table import BenchmarkTable
from gnas.data.columns import Column, Provenance
from gnas.data.files import FORMAT_ERRORS, check_regular
from gnas.data.parquet import check_graphs
from gnas.errors import DataError, MissingDataError
from gnas.processes import ProgressCallback
from gnas.spaces.nasbench201 import NASBench201
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
MAX_FILE_BYTES = 64 << 20
"""Larger contents are refused; a real file has 0.4 MB."""
MAX_SEED = 2**32 - 1

_FILE_NAME = re.compile(r"(\d{6})\.pickle\.pbz2")


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
    files = sorted(
        (int(match[1]), path)
        for path in (folder.iterdir() if folder.is_dir() else ())
        if (match := _FILE_NAME.fullmatch(path.name))
    )
    if not files:
        raise MissingDataError(
            f"{folder} must be a NATS-tss 'simple' folder with files like 000000.pickle.pbz2, "
            "but has none"
        )
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


def load_plain_pickle(path: Path) -> Any:
    """The content of a bz2 pickle of plain containers, numbers and strings.

    Raises:
        DataError: the file is damaged, too large, or its pickle asks for anything else.
    """
    check_regular(path, "an intact bz2 file")
    try:
        with bz2.open(path) as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except (OSError, EOFError) as error:
        raise DataError(f"{path} must be an intact bz2 file, but is not: {error}") from error
    if len(content) > MAX_FILE_BYTES:
        raise DataError(f"{path} must unpack to at most {MAX_FILE_BYTES} bytes, but has more")
    try:
        return _PlainUnpickler(io.BytesIO(content)).load()
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except Exception as error:  # damaged opcodes can end in any exception
        raise DataError(
            f"{path} must hold an intact pickle, but reading it failed: "
            f"{type(error).__name__}: {str(error)[:200]}"
        ) from error


class _Dtype:
    """Stand-in for ``numpy.dtype`` in a pickle: only little-endian numbers."""

    def __init__(self, code: str, *_: object) -> None:
        if not isinstance(code, str) or not re.fullmatch(r"[fiu][1248]", code):
            raise DataError(f"the pickle must hold plain numbers, but has dtype {code!r:.40}")
        self.code = code

    def __setstate__(self, state: tuple[object, ...]) -> None:
        if len(state) < 2 or state[1] not in ("<", "|"):
            raise DataError(f"numbers must be little-endian, but the pickle says {state!r:.60}")


def _scalar(dtype: _Dtype, content: bytes) -> float | int:
    """Stand-in for numpy's reconstruction of a scalar."""
    return np.frombuffer(content, dtype=f"<{dtype.code}", count=1)[0].item()  # type: ignore[no-any-return]


class _PlainUnpickler(pickle.Unpickler):
    """Unpickler of ordered dictionaries and numpy's numbers; refuses all else."""

    _allowed: Mapping[tuple[str, str], Callable[..., object]] = {
        ("collections", "OrderedDict"): OrderedDict,
        ("numpy", "dtype"): _Dtype,
        ("numpy.core.multiarray", "scalar"): _scalar,
        ("numpy._core.multiarray", "scalar"): _scalar,
    }

    def find_class(self, module: str, name: str) -> Any:
        """Called by pickle for every global that the file names."""
        try:
            return self._allowed[module, name]
        except KeyError:
            raise DataError(
                "the pickle must hold plain containers, numbers and strings, but asks for "
                f"{module}.{name}; it was not executed"
            ) from None


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
