"""Weisfeiler-Lehman kernel of 2,000 random 30-node DAGs: gnas against GraKeL, in one run.

The main row is what users wait for: from a list of PyG ``Data`` to the kernel matrix, while GraKeL
gets its own dictionaries ready-made (another row counts their making too). Further rows give the
parts. One thread; times are CPU seconds, so other work on the machine hardly matters.
Run from the repository's root: python benchmarks/wl_kernel.py [--save NAME]
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from grakel.kernels import WeisfeilerLehman
from record import command_line, save_record
from threadpoolctl import threadpool_limits
from torch_geometric.data import Batch

from gnas.graphs import DenseBatch
from gnas.kernel_options import Direction
from gnas.kernels import grakel_inputs, wl_features, wl_kernel, wl_pairs
from gnas.spaces import NASGEM

GRAPHS, N_ITER, TARGET = 2000, 3, 20
DIRECTIONS: tuple[Direction, ...] = ("undirected", "out", "in", "both", "joint")  # default first


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Best of ``repeats``."""
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def measure(direction: Direction) -> dict[str, float]:
    """Seconds, ratios and the largest difference of the two kernel matrices."""
    batch = NASGEM(30).sample_batch(GRAPHS, np.random.default_rng(0))
    graphs = batch.to_data_list()
    pyg_batch = Batch.from_data_list(graphs)
    pairs = np.arange(GRAPHS).reshape(-1, 2)
    ours = {
        "gnas, list of Data to kernel matrix": lambda: wl_kernel(
            graphs, N_ITER, direction=direction
        ),
        "gnas, PyG Batch to kernel matrix": lambda: wl_kernel(
            pyg_batch, N_ITER, direction=direction
        ),
        "gnas, DenseBatch to kernel matrix": lambda: wl_kernel(batch, N_ITER, direction=direction),
        "gnas, DenseBatch to features": lambda: wl_features(batch, N_ITER, direction=direction),
        "gnas, DenseBatch to 1,000 pairs": lambda: wl_pairs(
            batch, pairs, N_ITER, direction=direction
        ),
    }
    numbers = {name: seconds(work, 7) for name, work in ours.items()}
    if direction in ("both", "joint"):  # GraKeL has no such kernels
        return numbers

    def reference() -> WeisfeilerLehman:
        return WeisfeilerLehman(n_iter=N_ITER, normalize=True)

    numbers["GraKeL, making its inputs"] = seconds(
        lambda: grakel_inputs(batch, direction=direction), 2
    )
    inputs = grakel_inputs(batch, direction=direction)
    numbers["GraKeL, its inputs to features"] = seconds(lambda: reference().fit(inputs), 2)
    numbers["GraKeL, its inputs to kernel matrix"] = seconds(
        lambda: reference().fit_transform(inputs), 3
    )
    matrix, whole = "GraKeL, its inputs to kernel matrix", "gnas, list of Data to kernel matrix"
    ratios = {
        "times faster: list of Data against GraKeL's ready-made inputs": numbers[matrix]
        / numbers[whole],
        "times faster: the same with the making of GraKeL's inputs": (
            numbers[matrix] + numbers["GraKeL, making its inputs"]
        )
        / numbers[whole],
        "times faster: DenseBatch to kernel matrix": numbers[matrix]
        / numbers["gnas, DenseBatch to kernel matrix"],
        "times faster: DenseBatch to features": numbers["GraKeL, its inputs to features"]
        / numbers["gnas, DenseBatch to features"],
    }
    ours_matrix = wl_kernel(graphs, N_ITER, direction=direction).numpy()
    difference = float(abs(ours_matrix - reference().fit_transform(inputs)).max())
    return {**ratios, **numbers, "largest difference": difference}


def conversions() -> dict[str, float]:
    """Microseconds a graph between PyG's containers and a dense batch."""
    batch = NASGEM(30).sample_batch(GRAPHS, np.random.default_rng(0))
    graphs = batch.to_data_list()
    pyg_batch = Batch.from_data_list(graphs)
    works = {
        "list of Data to DenseBatch": lambda: DenseBatch.from_data(graphs),
        "PyG Batch to DenseBatch": lambda: DenseBatch.from_data(pyg_batch),
        "DenseBatch to list of Data": batch.to_data_list,
    }
    return {name: seconds(work, 9) / GRAPHS * 1e6 for name, work in works.items()}


def main() -> None:
    options = command_line(__doc__).parse_args()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        columns = {direction: measure(direction) for direction in DIRECTIONS}
        converted = conversions()
    lines = [f"| CPU seconds, unless said otherwise | {' | '.join(columns)} |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    for name in columns["undirected"]:
        cells = [f"{c[name]:.4g}" if name in c else "" for c in columns.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", "| conversion | us a graph |", "|---|---|"]
    lines += [f"| {name} | {value:.1f} |" for name, value in converted.items()]
    lines.append(
        f"\nTargets: first row at least {TARGET} for the default direction, conversions at most "
        "15 us (back: 30 us) a graph, largest difference at most 1e-12. GraKeL has neither `both` "
        "nor `joint`."
    )
    print("\n".join(lines))
    if options.save:
        save_record(
            options.save,
            f"WL kernel (h = {N_ITER}) of {GRAPHS} random 30-node DAGs, degree labels",
            "python benchmarks/wl_kernel.py",
            "\n".join(lines),
            threads=1,
            numbers=columns,
            microseconds_a_graph=converted,
        )


if __name__ == "__main__":
    main()
