"""Speed of embedding cells, and of embedding and scoring them with a two-layer network.

Run from the repository's root: python benchmarks/embed_cells.py [--save NAME]
"""

from __future__ import annotations

import os
import time

import numpy as np
import torch
from record import command_line, save_record

from gnas.encoders import load
from gnas.graphs import DenseBatch
from gnas.spaces import NASGEM, NASBench101

CASES = (
    ("nasgem-nasbench101", 50_000, 1.0),
    ("nasgem-nasbench101-paper", 50_000, 1.0),
    ("nasgem-30", 50_000, 2.0),
    ("nasgem-30-paper", 50_000, 2.0),
    ("nasgem-30", 1_000_000, 20.0),
)
"""Encoder, number of cells, target in seconds."""


def measure(name: str, count: int) -> float:
    """Seconds to embed and score ``count`` random cells, the best of up to three runs."""
    encoder = load(name)
    space = NASBench101() if encoder.max_nodes == 7 else NASGEM(30)
    part = space.sample_batch(min(count, 50_000), np.random.default_rng(0))
    batch = DenseBatch.concat([part] * (count // len(part)))
    score = torch.nn.Sequential(
        torch.nn.Linear(encoder.dim, 128), torch.nn.ReLU(), torch.nn.Linear(128, 1)
    )
    encoder.encode(part[:4096])
    times = []
    for _ in range(3 if count <= 50_000 else 1):
        start = time.perf_counter()
        with torch.inference_mode():
            score(encoder.encode(batch))
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    options = command_line(__doc__).parse_args()
    torch.set_num_threads(min(2, os.cpu_count() or 1))
    rows = []
    lines = ["| encoder | cells | seconds | target | cells a second |", "|---|---|---|---|---|"]
    for name, count, target in CASES:
        seconds = measure(name, count)
        rows.append({"encoder": name, "cells": count, "seconds": seconds, "target_s": target})
        lines.append(
            f"| {name} | {count:,} | {seconds:.2f} | {target:g} | {count / seconds:,.0f} |"
        )
    print("\n".join(lines))
    if options.save:
        save_record(
            options.save,
            "embedding and scoring cells from a dense batch",
            "python benchmarks/embed_cells.py",
            "\n".join(lines),
            threads=torch.get_num_threads(),
            rows=rows,
        )


if __name__ == "__main__":
    main()
