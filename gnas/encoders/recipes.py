"""From a preset's name to a trained encoder on disk, with its measured quality."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from gnas.encoders.config import PRESETS, EncoderConfig, check_encoder_path, encoder_config
from gnas.encoders.graph import GraphEncoder
from gnas.encoders.graph_config import GRAPH_PRESETS, GraphEncoderConfig, graph_preset
from gnas.encoders.nasgem import NASGEMEncoder
from gnas.encoders.pretraining import GraphEncoderQuality, pool_of, pretrain
from gnas.encoders.storage import list_encoders, save_encoder
from gnas.encoders.training import EncoderQuality, encoder_quality, fit_encoder
from gnas.errors import ConfigError
from gnas.runs import file_lock
from gnas.spaces import Space

HELD_OUT_SEED = 2_000_003
"""Seed of the pairs that encoders are judged on; no training uses it."""
HELD_OUT_PAIRS = 8192

Config = TypeVar("Config", EncoderConfig, GraphEncoderConfig)
AnyEncoder = NASGEMEncoder | GraphEncoder
Quality = EncoderQuality | GraphEncoderQuality
StepProgress = Callable[[int, float], None]
"""Called after every step with steps done and its loss."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedEncoder:
    """Result of a training."""

    name: str
    path: Path
    config: EncoderConfig | GraphEncoderConfig
    quality: Quality
    train_time_s: float

    def summary(self) -> str:
        """Two lines for a person."""
        first = f"{self.path}: {self.name}, trained in {self.train_time_s:.0f} s"
        return f"{first}\n{self.quality.summary()}"


def train_preset(
    name: str,
    path: Path,
    *,
    steps: int | None = None,
    seed: int | None = None,
    command: str = "",
    report: Callable[[int, int | None], None] | None = None,
) -> TrainedEncoder:
    """Train the encoder of a preset, evaluate it on held-out pairs and save it.

    Args:
        name: Name in `gnas.encoders.list_encoders`.
        path: The ``.safetensors`` file to write.
        steps: Optimiser steps instead of the recipe's.
        seed: Seed instead of the recipe's.
        command: Command that reproduces the file, stored in its header.
        report: Called after every step with steps done and steps in all.

    Raises:
        ConfigError: the preset is unknown, or an option is out of range.
        DataError: the file cannot be written.
    """
    if name not in list_encoders():
        raise ConfigError(f"unknown encoder '{name}'; choose from {list_encoders()}")
    changes = _changes(steps, seed)
    if name in GRAPH_PRESETS:
        graph_config = replace(graph_preset(name), **changes)
        return _trained(name, path, graph_config, _train_graph_network, command, report)
    config = replace(PRESETS[name](), **changes)
    return _trained(name, path, config, _train_nasgem, command, report)


def train_for_space(
    space: Space,
    path: Path,
    *,
    steps: int | None = None,
    seed: int | None = None,
    command: str = "",
    report: Callable[[int, int | None], None] | None = None,
) -> TrainedEncoder:
    """Train a NASGEM encoder for any space by `encoder_config`, evaluate it and save it.

    It has the name of its file.

    Args:
        space: Whose architectures it is to read.
        path: See `train_preset`.
        steps: See `train_preset`.
        seed: See `train_preset`.
        command: See `train_preset`.
        report: See `train_preset`.

    Raises:
        ConfigError: an option is out of range.
        DataError: the file cannot be written.
    """
    config = encoder_config(space, **_changes(steps, seed))
    train = partial(_train_nasgem, space=space)
    return _trained(path.stem, path, config, train, command, report)


def _changes(steps: int | None, seed: int | None) -> dict[str, Any]:
    """The fields of a recipe that were asked for."""
    return {k: v for k, v in (("steps", steps), ("seed", seed)) if v is not None}


def _trained(
    name: str,
    path: Path,
    config: Config,
    train: Callable[[Config, str, StepProgress], tuple[AnyEncoder, Quality]],
    command: str,
    report: Callable[[int, int | None], None] | None,
) -> TrainedEncoder:
    """Train, evaluate and save an encoder; its file's name is checked first."""
    check_encoder_path(path)
    start = time.perf_counter()

    def progress(step: int, loss: float) -> None:
        if report is not None:
            report(step, config.steps)
        if step % 250 == 0:
            _log.info("step %d of %d: loss %.6f", step, config.steps, loss)

    with file_lock(path):
        encoder, quality = train(config, name, progress)
        seconds = time.perf_counter() - start
        save_encoder(encoder, path, quality=quality, command=command)
    return TrainedEncoder(name, path, config, quality, seconds)


def _train_nasgem(
    config: EncoderConfig, name: str, progress: StepProgress, *, space: Space | None = None
) -> tuple[NASGEMEncoder, EncoderQuality]:
    encoder = fit_encoder(config, name, space=space, progress=progress)
    rng = np.random.default_rng(HELD_OUT_SEED)
    return encoder, encoder_quality(encoder, config, rng, HELD_OUT_PAIRS, space=space)


def _train_graph_network(
    config: GraphEncoderConfig, name: str, progress: StepProgress
) -> tuple[GraphEncoder, GraphEncoderQuality]:
    encoder = GraphEncoder(config, name)
    return encoder, pretrain(encoder, pool_of(config), progress=progress)
