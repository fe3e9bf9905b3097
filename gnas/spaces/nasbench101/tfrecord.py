"""The official NAS-Bench-101 file, read without TensorFlow.

Every record of the file is one training of one cell: a JSON list of the cell's hash, the epochs,
the adjacency matrix as 0/1 digits, the operations, and the metrics as a base64 protobuf message.
"""

from __future__ import annotations

import binascii
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from gnas.data.benchmark_table import BenchmarkTable
from gnas.data.columns import Column, Kind, Provenance
from gnas.data.files import FORMAT_ERRORS
from gnas.data.parquet import check_graphs
from gnas.data.tfrecord import read_records
from gnas.errors import DataError
from gnas.processes import ProgressCallback
from gnas.spaces.nasbench101 import NASBench101
from gnas.spaces.nasbench101.tables import cells_from_text

BEST_TEST_ACC = 0.9432
"""Best mean test accuracy at 108 epochs of the published benchmark, in four digits (Ying et al.,
ICML 2019, section 3.3): what tells the official values from others in the same format."""
RUNS = 3
MAX_EPOCHS, MAX_BUDGETS = 1_000_000, 16
"""Longer trainings, or more different lengths, are damage: every length takes memory."""

_FIELDS = ("train_acc", "val_acc", "test_acc", "train_time_s")
_QUANTITIES = (*_FIELDS, *(f"halfway_{name}" for name in _FIELDS))
_FLUSH_EVERY = 20_000  # records; more costs memory and saves no time
_ABSENT: tuple[float, ...] = (float("nan"),) * len(_FIELDS)
_LOG = logging.getLogger(__name__)


def read_tfrecord_table(path: Path, *, progress: ProgressCallback | None = None) -> BenchmarkTable:
    """The table of a NAS-Bench-101 TFRecord file: every run at every budget.

    Columns are the training, validation and test accuracy and the training time at the end and
    half-way, of every run (numbered in file order from 1), and the number of parameters. Values
    are kept as float32, which holds the official ones exactly.

    Args:
        path: ``nasbench_only108.tfrecord``, ``nasbench_full.tfrecord``, or any file like them.
        progress: Told how far reading has come.

    Raises:
        MissingDataError: there is no such file.
        DataError: a record is damaged, malformed or not of the space; says which.
    """
    collector = _Collector(path)
    for number, record in enumerate(read_records(path, progress)):
        try:
            collector.add(record)
        except DataError as error:
            raise DataError(f"record {number} of {path}: {error}") from None
    return collector.table()


class _Collector:
    """Records gathered row by row: a row a cell, an array for every budget and run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[bytes, int] = {}
        self.adjacency: list[str] = []
        self.ops: list[str] = []
        self.num_params: list[int] = []
        self.values: dict[tuple[int, int], NDArray[np.float32]] = {}
        self.rounded = 0
        self._names: dict[str, str] = {}
        self._num_runs: dict[int, bytearray] = {}
        self._pending: dict[tuple[int, int], tuple[list[int], list[float]]] = {}
        self._num_pending = 0
        self._parse = metrics_class().FromString  # a new message each: an old one keeps memory

    def add(self, record: bytes) -> None:
        """Take one record.

        Raises:
            DataError: it is not what the format says.
        """
        try:
            module_hash, epochs, adjacency, ops, metrics = json.loads(record)
            digest = bytes.fromhex(module_hash)
            message = self._parse(binascii.a2b_base64(metrics))
        except (*FORMAT_ERRORS, DecodeError) as error:
            raise DataError(
                "must be a JSON list of hash, epochs, adjacency, ops and base64 metrics, "
                f"but got {record[:80]!r} ({str(error)[:80]})"
            ) from None
        if type(epochs) is not int or not 1 <= epochs <= MAX_EPOCHS:
            raise DataError(
                f"epochs must be a positive integer of at most {MAX_EPOCHS}, "
                f"but got {epochs!r:.60}"
            )
        row = self.rows.get(digest)
        if row is None:
            row = self._new_row(digest, adjacency, ops, message.trainable_parameters)
        counts = self._num_runs.get(epochs)
        if counts is None and len(self._num_runs) == MAX_BUDGETS:
            raise DataError(f"a file must have at most {MAX_BUDGETS} lengths of trainings")
        if counts is None:
            counts = self._num_runs[epochs] = bytearray(NASBench101.size)
        if counts[row] == 255:
            raise DataError(f"a cell must have at most 255 runs, but {module_hash} has more")
        counts[row] += 1
        key = (epochs, counts[row])
        if key not in self._pending:
            self._pending[key] = ([], [])
        rows, numbers = self._pending[key]
        rows.append(row)
        numbers += _evaluations(message)
        self._num_pending += 1
        if self._num_pending >= _FLUSH_EVERY:
            self._flush()

    def _new_row(self, digest: bytes, adjacency: object, ops: object, num_params: int) -> int:
        row = len(self.rows)
        if len(digest) != 16 or not isinstance(adjacency, str) or not isinstance(ops, str):
            raise DataError(
                "hash, adjacency and ops must be texts, the hash 32 hexadecimal digits, but got "
                f"{digest.hex():.40}, {adjacency!r:.80}, {ops!r:.80}"
            )
        if row >= NASBench101.size:
            raise DataError(f"the file must hold at most {NASBench101.size} different cells")
        self.rows[digest] = row
        self.adjacency.append(adjacency)
        self.ops.append(self._names.setdefault(ops, ops))
        self.num_params.append(num_params)
        return row

    def _flush(self) -> None:
        for key, (rows, numbers) in self._pending.items():
            if key not in self.values:
                shape = (len(_QUANTITIES), NASBench101.size)
                self.values[key] = np.full(shape, np.nan, dtype=np.float32)
            exact = np.array(numbers).reshape(len(rows), -1)
            self.values[key][:, rows] = exact.T
            self.rounded += int((exact.astype(np.float32) != exact)[:, :4].sum())
        self._pending.clear()
        self._num_pending = 0

    def table(self) -> BenchmarkTable:
        """Everything taken so far.

        Raises:
            DataError: the cells break the rules of the space.
        """
        self._flush()
        if self.rounded:
            _LOG.warning("%d values of %s were rounded to float32", self.rounded, self.path)
        graphs = cells_from_text(self.adjacency, self.ops, str(self.path))
        digests = np.frombuffer(b"".join(self.rows), dtype=np.uint8).reshape(-1, 16)
        check_graphs(graphs, NASBench101(), digests, str(self.path))
        columns, values = self._columns()
        provenance = self._provenance()
        table = BenchmarkTable(graphs, columns, provenance, values, digests=digests)
        for column in columns:
            table.raw(column.name)
        return table

    def _columns(self) -> tuple[list[Column], dict[str, NDArray[Any]]]:
        columns = [Column.of("num_params")]
        values: dict[str, NDArray[Any]] = {"num_params": np.array(self.num_params, np.float64)}
        for (epochs, run), numbers in sorted(self.values.items()):
            for quantity, row in zip(_QUANTITIES, numbers, strict=True):
                if np.isnan(row).all():
                    continue
                column = Column.of(quantity, dataset="cifar10", epochs=epochs, run=run)
                columns.append(column)
                values[column.name] = row[: len(self.rows)]
        return columns, values

    def _provenance(self) -> Provenance:
        official = self._is_official()
        budgets = sorted({epochs for epochs, _ in self.values})
        kind: Kind = "official" if official else "self-made"
        note = (
            f"all {len(self.rows)} cells, {RUNS} runs at {budgets} epochs"
            if official
            else f"{len(self.rows)} cells at {budgets} epochs; not the official values: their "
            f"number of cells, runs or best mean test accuracy ({BEST_TEST_ACC:.4f}) differs"
        )
        return Provenance.of(
            NASBench101(),
            NASBench101.name,
            source="NAS-Bench-101 (Ying et al., ICML 2019)"
            if official
            else f"trainings in the NAS-Bench-101 format, {self.path.name}",
            kind=kind,
            note=note,
            licence="Apache-2.0" if official else "",
        )

    def _is_official(self) -> bool:
        """Whether cells, runs and the best cell are those of the publication."""
        runs = {run for epochs, run in self.values if epochs == 108}
        if len(self.rows) != NASBench101.size or runs != set(range(1, RUNS + 1)):
            return False
        test = _QUANTITIES.index("test_acc")
        mean = sum(self.values[108, run][test].astype(np.float64) for run in runs) / RUNS
        return abs(float(np.max(mean)) - BEST_TEST_ACC) < 5e-5


def _evaluations(message: Any) -> tuple[float, ...]:
    """The values of one training in the order of `_QUANTITIES`."""
    evaluations = message.evaluation_data
    if len(evaluations) == 0:
        raise DataError("the metrics must hold at least one evaluation, but have none")
    final = _numbers(evaluations[-1])
    if len(evaluations) < 3:  # start, half-way, end
        return final + _ABSENT
    return final + _numbers(evaluations[1])


def _numbers(evaluation: Any) -> tuple[float, ...]:
    return (
        evaluation.train_accuracy,
        evaluation.validation_accuracy,
        evaluation.test_accuracy,
        evaluation.training_time,
    )


def metrics_class() -> Any:
    """The message class of a record's metrics, from descriptors made here.

    Unknown fields are skipped by protobuf itself.
    """
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="gnas/nasbench101_metrics.proto", package="gnas.nasbench101", syntax="proto2"
    )
    evaluation = file.message_type.add(name="EvaluationData")
    names = ("current_epoch", "training_time", "train_accuracy", "validation_accuracy")
    for number, name in enumerate((*names, "test_accuracy"), start=1):
        evaluation.field.add(
            name=name, number=number, type=field.TYPE_DOUBLE, label=field.LABEL_OPTIONAL
        )
    evaluation.field.add(
        name="checkpoint_path", number=6, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL
    )
    metrics = file.message_type.add(name="ModelMetrics")
    metrics.field.add(
        name="evaluation_data",
        number=1,
        type=field.TYPE_MESSAGE,
        type_name=".gnas.nasbench101.EvaluationData",
        label=field.LABEL_REPEATED,
    )
    metrics.field.add(
        name="trainable_parameters", number=2, type=field.TYPE_INT32, label=field.LABEL_OPTIONAL
    )
    metrics.field.add(
        name="total_time", number=3, type=field.TYPE_DOUBLE, label=field.LABEL_OPTIONAL
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    descriptor = pool.FindMessageTypeByName("gnas.nasbench101.ModelMetrics")
    return message_factory.GetMessageClass(descriptor)
