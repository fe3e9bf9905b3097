"""From a preset's name to a trained encoder on disk, with its measured quality."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from gnas.encoders.config import PRESETS, EncoderConfig, encoder_config
from gnas.encoders.graph import GraphEncoder
from gnas.encoders.graph_config import GRAPH_PRESETS, GraphEncoderConfig, graph_preset
from gnas.encoders.nasgem import NASGEMEncoder
from gnas.encoders.pretraining import GraphEncoderQuality, pool_of, pretrain
from gnas.encoders.storage import list_encoders, save_encoder
from gnas.encoders.training import EncoderQuality, encoder_quality, fit_encoder
from gnas.errors import ConfigError
from gnas.runs import working_on
from gnas.spaces import Space

HELD_OUT_SEED = 2_000_003
"""Seed of the pairs that encoders are judged on; no training uses it."""
HELD_OUT_PAIRS = 8192

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedEncoder:
    """What a training gave."""

    name: str
    path: Path
    config: EncoderConfig | GraphEncoderConfig
    quality: EncoderQuality | GraphEncoderQuality
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
    """Trains the encoder of a preset, judges it on held-out pairs and writes it.

    Args:
        name: Of `gnas.encoders.list_encoders`.
        path: The ``.safetensors`` file to write.
        steps: Optimiser steps instead of the recipe's.
        seed: Seed instead of the recipe's.
        command: What reproduces the file; kept in its header.
        report: Called after every step with steps done and steps in all.

    Raises:
        ConfigError: the preset is unknown, or an option is out of range.
        DataError: the file cannot be written.
    """
    if name not in list_encoders():
        raise ConfigError(f"unknown encoder '{name}'; choose from {list_encoders()}")
    if path.suffix != ".safetensors":
        raise ConfigError(f"an encoder's file must end in .safetensors, but got {path}")
    train = _train_graph_network if name in GRAPH_PRESETS else _train_nasgem
    start = time.perf_counter()

    def progress(total: int, step: int, loss: float) -> None:
        if report is not None:
            report(step, total)
        if step % 250 == 0:
            _log.info("step %d of %d: loss %.6f", step, total, loss)

    with working_on(path):
        changes = {"steps": steps, "seed": seed}
        encoder, quality = train(
            name, {key: value for key, value in changes.items() if value is not None}, progress
        )
        seconds = time.perf_counter() - start
        save_encoder(encoder, path, quality=quality, command=command)
    return TrainedEncoder(name, path, encoder.config, quality, seconds)


def train_for_space(
    space: Space,
    path: Path,
    *,
    steps: int | None = None,
    seed: int | None = None,
    command: str = "",
    report: Callable[[int, int | None], None] | None = None,
) -> TrainedEncoder:
    """Trains a NASGEM encoder for any space by `encoder_config`, judges it and writes it.

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
    changes = {"steps": steps, "seed": seed}
    config = encoder_config(space, **{k: v for k, v in changes.items() if v is not None})
    start, name = time.perf_counter(), f"nasgem-{space.name}"

    def progress(step: int, loss: float) -> None:
        if report is not None:
            report(step, config.steps)

    with working_on(path):
        encoder = fit_encoder(config, name, space=space, progress=progress)
        rng = np.random.default_rng(HELD_OUT_SEED)
        quality = encoder_quality(encoder, config, rng, HELD_OUT_PAIRS, space=space)
        seconds = time.perf_counter() - start
        save_encoder(encoder, path, quality=quality, command=command)
    return TrainedEncoder(name, path, config, quality, seconds)


def _train_nasgem(
    name: str, changes: dict[str, int], progress: Callable[[int, int, float], None]
) -> tuple[NASGEMEncoder, EncoderQuality]:
    config: EncoderConfig = replace(PRESETS[name](), **changes)  # type: ignore[arg-type]
    encoder = fit_encoder(config, name, progress=partial(progress, config.steps))
    rng = np.random.default_rng(HELD_OUT_SEED)
    return encoder, encoder_quality(encoder, config, rng, HELD_OUT_PAIRS)


def _train_graph_network(
    name: str, changes: dict[str, int], progress: Callable[[int, int, float], None]
) -> tuple[GraphEncoder, GraphEncoderQuality]:
    config: GraphEncoderConfig = replace(graph_preset(name), **changes)  # type: ignore[arg-type]
    encoder = GraphEncoder(config, name)
    return encoder, pretrain(encoder, pool_of(config), progress=partial(progress, config.steps))
