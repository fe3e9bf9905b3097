"""From a preset's name to a trained encoder on disk, with its measured quality."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gnas.encoders.config import PRESETS, EncoderConfig
from gnas.encoders.storage import save_encoder
from gnas.encoders.training import EncoderQuality, encoder_quality, fit_encoder
from gnas.errors import ConfigError

HELD_OUT_SEED = 2_000_003
"""Seed of the pairs that encoders are judged on; no training uses it."""
HELD_OUT_PAIRS = 8192

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedEncoder:
    """What a training gave."""

    name: str
    path: Path
    config: EncoderConfig
    quality: EncoderQuality
    train_time_s: float

    def summary(self) -> str:
        """Two lines for a person."""
        independent, near = self.quality.independent, self.quality.near
        return (
            f"{self.path}: {self.name}, trained in {self.train_time_s:.0f} s\n"
            f"R2 against the constant predictor: independent pairs {independent.r2:.3f} "
            f"(loss {independent.loss:.5f}, correlation {independent.correlation:.3f}), "
            f"near pairs {near.r2:.3f} (loss {near.loss:.5f}, correlation {near.correlation:.3f})"
        )


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
        name: Key in `PRESETS`.
        path: The ``.safetensors`` file to write.
        steps: Optimiser steps instead of the recipe's.
        seed: Seed instead of the recipe's.
        command: What reproduces the file; kept in its header.
        report: Called after every step with steps done and steps in all.

    Raises:
        ConfigError: the preset is unknown, or an option is out of range.
        DataError: the file cannot be written.
    """
    if name not in PRESETS:
        raise ConfigError(f"unknown encoder '{name}'; choose from {sorted(PRESETS)}")
    if path.suffix != ".safetensors":
        raise ConfigError(f"an encoder's file must end in .safetensors, but got {path}")
    config = PRESETS[name]()
    config = replace(
        config,
        steps=config.steps if steps is None else steps,
        seed=config.seed if seed is None else seed,
    )
    start = time.perf_counter()

    def progress(step: int, loss: float) -> None:
        if report is not None:
            report(step, config.steps)
        if step % 250 == 0:
            _log.info("step %d of %d: loss %.6f", step, config.steps, loss)

    encoder = fit_encoder(config, name, progress=progress)
    seconds = time.perf_counter() - start
    rng = np.random.default_rng(HELD_OUT_SEED)
    quality = encoder_quality(encoder, config, rng, HELD_OUT_PAIRS)
    save_encoder(encoder, path, quality=quality, command=command)
    return TrainedEncoder(name, path, config, quality, seconds)
