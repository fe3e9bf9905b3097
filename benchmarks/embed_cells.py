"""Speed of embedding cells, and of embedding and scoring them with a two-layer network.

Run from the repository's root: python benchmarks/embed_cells.py [--save NAME]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path

import numpy as np
import torch

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
    space = NASBench101() if encoder.config.num_nodes == 7 else NASGEM(30)
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
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--save", metavar="NAME", help="write benchmarks/results/NAME.*")
    options = parser.parse_args()
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
        record = {
            "what": "embedding and scoring cells from a dense batch",
            "command": "python benchmarks/embed_cells.py",
            "cpus": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "load_average": os.getloadavg()[0],
            "python": platform.python_version(),
            "rows": rows,
        }
        results = Path(__file__).parent / "results"
        (results / f"{options.save}.json").write_text(json.dumps(record, indent=2) + "\n")
        header = f"# {record['what']}\n\n`{record['command']}`\n\n"
        (results / f"{options.save}.md").write_text(header + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
