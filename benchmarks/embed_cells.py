"""Speed of embedding cells, and of embedding and scoring them with a two-layer network.

Run from the repository's root: python benchmarks/embed_cells.py [--save NAME]
"""

from __future__ import annotations

import os
import time

import numpy as np
import torch
from record import command_line, save_record

from gnas.encoders import load_encoder
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


def measure(name: str, count: int) -> tuple[float, float]:
    """Seconds and processor seconds to embed and score ``count`` cells, least of three runs."""
    encoder = load_encoder(name)
    space = NASBench101() if encoder.max_nodes == 7 else NASGEM(30)
    part = space.sample_batch(min(count, 50_000), np.random.default_rng(0))
    batch = DenseBatch.concat([part] * (count // len(part)))
    score = torch.nn.Sequential(
        torch.nn.Linear(encoder.dim, 128), torch.nn.ReLU(), torch.nn.Linear(128, 1)
    )
    encoder.encode(part[:4096])
    times = []
    for _ in range(3):
        start, used = time.perf_counter(), time.process_time()
        with torch.inference_mode():
            score(encoder.encode(batch))
        times.append((time.perf_counter() - start, time.process_time() - used))
    return min(times)


def main() -> None:
    options = command_line(__doc__).parse_args()
    torch.set_num_threads(min(2, os.cpu_count() or 1))
    rows = []
    lines = [
        "| encoder | cells | seconds | of processors | target | cells a second |",
        "|---|---|---|---|---|---|",
    ]
    for name, count, target in CASES:
        seconds, used = measure(name, count)
        rows.append(
            {
                "encoder": name,
                "cells": count,
                "seconds": seconds,
                "processor_seconds": used,
                "target_s": target,
            }
        )
        lines.append(
            f"| {name} | {count:,} | {seconds:.2f} | {used:.2f} | {target:g} | "
            f"{count / seconds:,.0f} |"
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
