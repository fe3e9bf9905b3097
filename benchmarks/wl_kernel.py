"""Weisfeiler-Lehman features of 2,000 random 30-node DAGs: gnas against GraKeL, in one run.

Both sides get their graphs ready-made (a dense batch; GraKeL's own dictionaries) and run on one
thread; times are CPU seconds, so other work on the machine hardly matters.
Run from the repository's root: python benchmarks/wl_kernel.py [--save NAME]
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from grakel.kernels import WeisfeilerLehman
from record import command_line, save_record

from gnas.kernels import grakel_inputs, wl_features, wl_kernel, wl_pairs
from gnas.spaces import NASGEM

GRAPHS, N_ITER, TARGET = 2000, 3, 30


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Best of ``repeats``."""
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def measure(directed: bool) -> dict[str, float]:
    batch = NASGEM(30).sample_batch(GRAPHS, np.random.default_rng(0))
    graphs = list(batch)
    inputs = grakel_inputs(batch, directed=directed)
    pairs = np.arange(GRAPHS).reshape(-1, 2)

    def reference() -> WeisfeilerLehman:
        return WeisfeilerLehman(n_iter=N_ITER, normalize=True)

    fast = {
        "features_s": lambda: wl_features(batch, N_ITER, directed=directed),
        "features_from_data_s": lambda: wl_features(graphs, N_ITER, directed=directed),
        "gram_s": lambda: wl_kernel(batch, N_ITER, directed=directed),
        "pairs_1000_s": lambda: wl_pairs(batch, pairs, N_ITER, directed=directed),
    }
    numbers = {name: seconds(work, 5) for name, work in fast.items()}
    numbers["grakel_features_s"] = seconds(lambda: reference().fit(inputs), 3)
    start = time.process_time()
    expected = reference().fit_transform(inputs)
    numbers["grakel_gram_s"] = time.process_time() - start
    numbers["features_ratio"] = numbers["grakel_features_s"] / numbers["features_s"]
    numbers["features_from_data_ratio"] = (
        numbers["grakel_features_s"] / numbers["features_from_data_s"]
    )
    numbers["gram_ratio"] = numbers["grakel_gram_s"] / numbers["gram_s"]
    ours = wl_kernel(batch, N_ITER, directed=directed).numpy()
    numbers["largest_difference"] = float(abs(ours - expected).max())
    return numbers


def main() -> None:
    options = command_line(__doc__).parse_args()
    torch.set_num_threads(1)
    columns = {"out-neighbours": measure(True), "symmetric": measure(False)}
    lines = [f"| what | {' | '.join(columns)} |", "|---|---|---|"]
    for name in columns["symmetric"]:
        lines.append(
            f"| {name} | " + " | ".join(f"{c[name]:.4g}" for c in columns.values()) + " |"
        )
    lines.append(f"\nTarget: features_ratio at least {TARGET}, largest_difference at most 1e-12.")
    print("\n".join(lines))
    if options.save:
        save_record(
            options.save,
            f"WL features (h = {N_ITER}) of {GRAPHS} random 30-node DAGs, degree labels",
            "python benchmarks/wl_kernel.py",
            "\n".join(lines),
            threads=1,
            numbers=columns,
        )


if __name__ == "__main__":
    main()
