"""Checkpoints that survive being killed while they are written.

A checkpoint is two files, ``step-N.safetensors`` and ``step-N.json``. The JSON is written last and
has the digest of the other, so a pair is either whole or known not to be. The one before is kept.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from gnas.data.files import (
    as_data_error,
    atomic_write,
    check_regular,
    read_json,
    sha256_of,
    utf8_path,
)
from gnas.errors import DataError, MissingDataError

logger = logging.getLogger(__name__)

_NAME = re.compile(r"step-(\d+)\.json")
_OWN = re.compile(r"step-\d+\.(json|safetensors)|\.step-\d+\..*\.tmp")
"""Files that this module makes; others in the folder are their owners'."""


class Checkpoints:
    """The checkpoints of one run, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._good: list[int] = []
        """Steps of the whole checkpoints that this process wrote or read, the newest last."""

    def save(self, step: int, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
        """Write a checkpoint, and remove all but it and the good one before.

        Args:
            step: Its number.
            tensors: Everything that is a tensor.
            record: Everything else, as JSON has it.

        Raises:
            DataError: writing failed; what was there is as it was.
        """
        weights, facts = self._paths(step)
        contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
        with atomic_write(weights) as temporary:
            save_file(contiguous, temporary)
        text = json.dumps({"step": step, "sha256": sha256_of(weights), **record}, allow_nan=False)
        with atomic_write(facts) as temporary:
            temporary.write_text(text, encoding="utf-8")
        self._good = [*(s for s in self._good if s != step), step][-2:]
        self._prune()

    def load(
        self, check: Callable[[dict[str, Any]], None] = lambda record: None
    ) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The newest whole checkpoint; warns of every newer one that is damaged.

        Args:
            check: Raises KeyError, TypeError or ValueError for a record that is not such a run's;
                its checkpoint counts as damaged.

        Raises:
            MissingDataError: there is none at all.
            DataError: all are damaged.
        """
        steps = self.steps()
        if not steps:
            raise MissingDataError(
                f"a run to be resumed must have a checkpoint, but {self.folder} has none"
            )
        reasons = []
        for step in reversed(steps):
            try:
                found = self._read(step, check)
            except DataError as error:
                reasons.append(str(error))
                continue
            for reason in reasons:
                logger.warning("%s; going on from step %d", reason, step)
            self._good = [step]
            return found
        raise DataError(f"a run must have a whole checkpoint, but: {'; '.join(reasons)}")

    def steps(self) -> list[int]:
        """Steps of all checkpoints that were written to the end, ascending."""
        if not self.folder.is_dir():
            return []
        matches = (_NAME.fullmatch(path.name) for path in self.folder.iterdir())
        return sorted(int(match[1]) for match in matches if match)

    def _read(
        self, step: int, check: Callable[[dict[str, Any]], None]
    ) -> tuple[dict[str, Tensor], dict[str, Any]]:
        weights, facts = self._paths(step)
        what = "the record of a checkpoint"
        record = read_json(facts, what)
        with as_data_error(facts, what):
            expected = record["sha256"]
            if record["step"] != step:
                raise ValueError("step must be that of its name")
            check(record)
        check_regular(weights, "the tensors of a checkpoint")
        if sha256_of(weights) != expected:
            raise DataError(f"checkpoint {weights} must have its sha256, but is damaged")
        try:
            with utf8_path(weights) as readable:
                return load_file(readable), record
        except (SafetensorError, OSError) as error:
            raise DataError(f"checkpoint {weights} must be sound, but: {error}") from error

    def _prune(self) -> None:
        keep = {path for step in self._good for path in self._paths(step)}
        old = [
            path
            for path in self.folder.iterdir()
            if _OWN.fullmatch(path.name) and path not in keep and not path.is_dir()
        ]
        for path in sorted(old, key=lambda path: path.suffix != ".json"):  # records first
            path.unlink(missing_ok=True)

    def _paths(self, step: int) -> tuple[Path, Path]:
        stem = f"step-{step:09d}"
        return self.folder / f"{stem}.safetensors", self.folder / f"{stem}.json"
