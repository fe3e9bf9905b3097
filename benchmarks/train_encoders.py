"""Trains the encoders that ship: ``python benchmarks/train_encoders.py [NAME...]``.

One thread and fixed seeds; about two to five minutes each on a free core.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from gnas.encoders import PRESETS, encoder_quality, fit_encoder, save_encoder
from gnas.encoders.storage import WEIGHTS

QUALITY_SEED = 2_000_003
"""Held-out pairs; no training uses this seed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(PRESETS), help="presets to train")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="folder to write to")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.names:
        config = PRESETS[name]()
        start = time.perf_counter()
        encoder = fit_encoder(config, name, progress=_show)
        seconds = time.perf_counter() - start
        quality = encoder_quality(encoder, config, np.random.default_rng(QUALITY_SEED), 8192)
        command = f"python benchmarks/train_encoders.py {name}"
        save_encoder(
            encoder, arguments.out / f"{name}.safetensors", quality=quality, command=command
        )
        print(f"{name}: {seconds:.0f} s, {quality}", flush=True)


def _show(step: int, loss: float) -> None:
    if step % 250 == 0:
        print(f"  step {step}: loss {loss:.6f}", flush=True)


if __name__ == "__main__":
    main()
