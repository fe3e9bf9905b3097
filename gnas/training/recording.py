"""Records of a run in progress: metrics, events for TensorBoard, and checkpoints."""

from __future__ import annotations

import itertools
import json
import logging
import os
import socket
import time
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from gnas.config import dict_diff
from gnas.data.files import as_data_error, atomic_write
from gnas.errors import ConfigError, DataError
from gnas.loggers import RunLog
from gnas.runs import check_folder, run_folder_lock, to_jsonable
from gnas.training.checkpoints import Checkpoints
from gnas.training.state import TrainState

logger = logging.getLogger(__name__)

CHECKPOINT_S = 60.0
"""Seconds between checkpoints."""
METRICS = "metrics.jsonl"


@dataclass(frozen=True)
class Progress:
    """Position of a run."""

    step: int
    """Steps done."""
    total: int
    """Steps in all."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """Metrics of the last whole epoch."""


State = TypeVar("State", bound=TrainState)
"""The state of a kind of run."""


def _check_record(record: dict[str, Any]) -> None:
    """Raise KeyError, TypeError or ValueError if a checkpoint's record lacks what a run's has."""
    if type(record["processes"]) is not int:
        raise ValueError("processes must be a whole number")
    if not all(isinstance(value, dict | None) for value in record["facts"].values()):
        raise ValueError("facts must be objects")


class RunRecord(Generic[State]):
    """Files of a run, by which it can be watched, and resumed after any end.

    Files in ``folder``: ``metrics.jsonl``, one line an epoch; ``checkpoint/``; TensorBoard events.

    Args:
        folder: The run's; made if need be.
        facts: What a resumed run must agree with: its config, and facts about its data.
        resume: Go on from the folder's checkpoint; otherwise it must not have one.
        every_s: Seconds between checkpoints.
        may_grow: Facts of a config that a resumed run may have more of.
        log: Told of every epoch.

    Raises:
        ConfigError: the folder cannot be written, or has a run that is not to be resumed.
    """

    def __init__(
        self,
        folder: Path,
        facts: Mapping[str, Any],
        *,
        resume: bool = False,
        every_s: float = CHECKPOINT_S,
        may_grow: Collection[str] = (),
        log: RunLog | None = None,
    ) -> None:
        check_folder(folder)
        self.folder, self.facts, self.resume = folder, to_jsonable(facts), resume
        self.checkpoints = Checkpoints(folder / "checkpoint")
        self._may_grow, self._log = may_grow, log or RunLog(None, ())
        self._every_s, self._saved_at, self._saved_step = every_s, time.monotonic(), -1
        self._writer: EventFile | None = None
        self._owned = ExitStack()
        if not resume and self.checkpoints.steps():
            raise ConfigError(
                f"a new run needs a folder of its own, but {folder} has a checkpoint; "
                f"go on with --resume {folder}, or choose another"
            )

    def restore(self, state: State) -> None:
        """Put ``state`` where the newest whole checkpoint is.

        Raises:
            MissingDataError: there is none.
            DataError: all are damaged.
            ConfigError: it is of a run with other facts; says which.
        """
        tensors, record = self.checkpoints.load(_check_record)
        for kind, before in record["facts"].items():
            changed = {
                name: (was, now)
                for name, (was, now) in dict_diff(before or {}, self.facts.get(kind) or {}).items()
                if not (name in self._may_grow and type(was) is type(now) is int and was < now)
            }
            if changed:
                name, (was, now) = next(iter(changed.items()))
                others = f", and {len(changed) - 1} more" if len(changed) > 1 else ""
                raise ConfigError(
                    f"a resumed run must be the one that {self.folder} holds, but its {kind} "
                    f"differs: {name} was {was} and is now {now}{others}"
                )
        if record["processes"] != state.processes:
            logger.warning(
                "%d processes go on with what %d did: equal up to rounding only",
                state.processes,
                record["processes"],
            )
        with as_data_error(self.checkpoints.folder, "the checkpoint of such a run"):
            state.load(tensors, record)
        self._saved_step = state.step

    def start(self, state: State) -> None:
        """Bring the files to where ``state`` is; a killed run may have written more.

        From here to `close` the folder is this process' own.

        Raises:
            ConfigError: another process works in it.
            DataError: a file cannot be written.
        """
        self._owned.enter_context(run_folder_lock(self.folder))
        try:
            self._start(state)
        except BaseException:
            self.close()
            raise

    def _start(self, state: State) -> None:
        lines = "".join(json.dumps(to_jsonable(epoch)) + "\n" for epoch in state.epochs)
        with atomic_write(self.folder / METRICS) as temporary:
            temporary.write_text(lines, encoding="utf-8")
        self._writer = EventFile(self.folder, purge_step=len(state.epochs) + 1)
        if not self.resume:
            self.save(state)
        self._log.update()

    def epoch(self, state: State) -> None:
        """Add the epoch that just ended; DataError if the disk is full."""
        try:
            self._add(state.epochs[-1])
        except OSError as error:
            raise DataError(
                f"{self.folder / METRICS} and the event file beside it must be writable, but "
                f"writing failed: {error.strerror or error}"
            ) from error
        self._log.update()

    def _add(self, metrics: Mapping[str, Any]) -> None:
        with (self.folder / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(to_jsonable(metrics)) + "\n")
        if self._writer is not None:
            for name, value in metrics.items():
                if isinstance(value, int | float):
                    self._writer.add_scalar(name, value, metrics["epoch"])
                elif isinstance(value, str):
                    self._writer.add_text(name, value, metrics["epoch"])

    def save(self, state: State, *, if_due: bool = False) -> None:
        """Write a checkpoint; with ``if_due`` only if the last one is old enough."""
        if state.step == self._saved_step:
            return
        if if_due and time.monotonic() - self._saved_at < self._every_s:
            return
        record = {"facts": self.facts, **state.record()}
        self.checkpoints.save(state.step, state.tensors(), record)
        self._saved_at, self._saved_step = time.monotonic(), state.step

    def close(self) -> None:
        """End the event file and give the folder away."""
        with self._owned:
            if self._writer is not None:
                self._writer.close()


class EventFile:
    """A file of events for TensorBoard, each written at once.

    Torch's own writer hands events to a thread, which prints a traceback when the disk is full.

    Args:
        folder: Where a new file is made.
        purge_step: Events of earlier files from this step on do not count.

    Raises:
        OSError: also of its methods: the file cannot be written.
    """

    _count = itertools.count()

    def __init__(self, folder: Path, *, purge_step: int | None = None) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        name = f"{time.time():.0f}.{socket.gethostname()}.{os.getpid()}.{next(self._count)}"
        self._file = (folder / f"events.out.tfevents.{name}").open("wb", buffering=0)
        self._event, self._records = Event, RecordWriter(self._file)
        self._write(file_version="brain.Event:2")
        if purge_step is not None:
            self._write(step=purge_step, session_log=SessionLog(status=SessionLog.START))

    def add_scalar(self, name: str, value: float, step: int) -> None:
        """Add a number."""
        from torch.utils.tensorboard.summary import scalar

        self._write(step=step, summary=scalar(name, value))  # type: ignore[no-untyped-call]

    def add_text(self, name: str, value: str, step: int) -> None:
        """Add a text."""
        from torch.utils.tensorboard.summary import text

        self._write(step=step, summary=text(name, value))  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """End the file."""
        self._file.close()

    def _write(self, **fields: Any) -> None:
        event = self._event(wall_time=time.time(), **fields)
        self._records.write(event.SerializeToString())
