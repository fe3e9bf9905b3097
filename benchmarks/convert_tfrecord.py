"""Converts a full-size NAS-Bench-101 file: records a second, memory, and opening the result.

Writes a file in the official format from the enumerated space (423,624 cells, 3 runs at 108
epochs; the metrics are drawn at random and mean nothing), converts it with gnas, and opens the
table. Every step runs in a process of its own, so that its peak memory is its own. Seconds are
wall time; CPU seconds stand beside them, for runs on a machine that does other work too. A file
that is in the folder already is not written again (writing takes minutes: the hashes).

    python benchmarks/convert_tfrecord.py [--cells N] [--folder DIR] [--save NAME]
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from record import command_line, save_record

ALL_CELLS = 423_624
RUNS, EPOCHS = 3, 108
TARGETS = {
    "convert_records_per_s": ("at least", 20_000),
    "convert_extra_mb": ("at most", 500),
    "open_s": ("at most", 1.0),
    "open_extra_mb": ("at most", 200),
}


def write(folder: Path, cells: int) -> dict[str, float]:
    """Writes the file; the cells are spread evenly over the enumeration."""
    import numpy as np

    from gnas.data.tfrecord import write_record
    from gnas.graphs import graph_hash
    from gnas.spaces import NASBench101
    from gnas.spaces.nasbench101.tfrecord import metrics_class

    space = NASBench101()
    batch = space.enumerate()
    rows = np.linspace(0, len(batch) - 1, cells).astype(np.int64)
    rng = np.random.default_rng(0)
    partial = folder / "nasbench.tfrecord.tmp"
    message = metrics_class()()
    with partial.open("wb", buffering=1 << 20) as file:
        for row in rows.tolist():
            n = int(batch.num_nodes[row])
            digits = "".join(map(str, batch.adjacency[row, :n, :n].flatten().tolist()))
            ops = ",".join(space.ops[op] for op in batch.ops[row, :n].tolist())
            name = graph_hash(batch.data(row))
            drawn = rng.random((RUNS, 3, 4), dtype=np.float32)
            drawn[..., 3] *= 1000  # seconds
            for values in drawn.tolist():
                metrics = base64.b64encode(_metrics(message, values)).decode()
                record = json.dumps([name, EPOCHS, digits, ops, metrics])
                write_record(file, record.encode())
    partial.rename(folder / "nasbench.tfrecord")
    return {}


def _metrics(message: Any, values: list[list[float]]) -> bytes:
    message.Clear()
    message.trainable_parameters = 8_000_000
    message.total_time = 2000.0
    for part, (train, val, test, seconds) in enumerate(values):
        message.evaluation_data.add(
            current_epoch=part * EPOCHS / 2,
            training_time=seconds,
            train_accuracy=train,
            validation_accuracy=val,
            test_accuracy=test,
        )
    content: bytes = message.SerializeToString()
    return content


def convert(folder: Path, cells: int) -> dict[str, float]:
    """Converts the file as `gnas data convert nasbench101` does."""
    from gnas.data.tables import save_table
    from gnas.spaces.nasbench101.tfrecord import read_tfrecord_table

    start, cpu, before = time.perf_counter(), time.process_time(), _rss_mb()
    table = read_tfrecord_table(folder / "nasbench.tfrecord")
    read_s = time.perf_counter() - start
    save_table(table, folder / "nasbench.parquet")
    seconds = time.perf_counter() - start
    if len(table) != cells:
        raise SystemExit(f"must find {cells} cells, but found {len(table)}")
    return {
        "convert_records_per_s": cells * RUNS / seconds,
        "convert_s": seconds,
        "convert_cpu_s": time.process_time() - cpu,
        "convert_read_s": read_s,
        "convert_extra_mb": _peak_mb() - before,
    }


def open_table(folder: Path, cells: int) -> dict[str, float]:
    """Opens the table, then takes the mean test accuracy of all cells."""
    from gnas.data.tables import load_table

    start, cpu, before = time.perf_counter(), time.process_time(), _rss_mb()
    table = load_table(folder / "nasbench.parquet")
    cpu_s = time.process_time() - cpu
    open_s, open_mb = time.perf_counter() - start, _peak_mb() - before
    table.test_acc()
    return {
        "open_s": open_s,
        "open_cpu_s": cpu_s,
        "open_extra_mb": open_mb,
        "open_and_mean_test_acc_s": time.perf_counter() - start,
        "open_and_mean_test_acc_extra_mb": _peak_mb() - before,
    }


STEPS: dict[str, Callable[[Path, int], dict[str, float]]] = {
    "write": write,
    "convert": convert,
    "open": open_table,
}


def _rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run(folder: Path, cells: int) -> dict[str, float]:
    """All steps, each in its own process."""
    numbers: dict[str, float] = {"records": cells * RUNS}
    for step in STEPS:
        if step == "write" and (folder / "nasbench.tfrecord").exists():
            continue
        command = [sys.executable, "-W", "ignore", __file__, "--step", step]
        command += ["--cells", str(cells), "--folder", str(folder)]
        start = time.perf_counter()
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        numbers |= json.loads(done.stdout.splitlines()[-1])
        print(f"{step}: {time.perf_counter() - start:.1f} s with start-up", file=sys.stderr)
    for file in ("nasbench.tfrecord", "nasbench.parquet"):
        numbers[f"{file}_mb"] = (folder / file).stat().st_size / 2**20
    return numbers


def report(numbers: dict[str, float]) -> str:
    """A Markdown table of every number beside its target."""
    lines = ["| what | measured | target |", "|---|---|---|"]
    for name, value in numbers.items():
        word, target = TARGETS.get(name, ("", 0))
        lines.append(f"| {name} | {value:,.2f} | {f'{word} {target:,}' if word else ''} |")
    return "\n".join(lines)


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--cells", type=int, default=ALL_CELLS)
    parser.add_argument("--folder", type=Path, help="keep the files here")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        print(json.dumps(STEPS[options.step](options.folder, options.cells)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        numbers = run(folder, options.cells)
    print(report(numbers))
    if options.save:
        save_record(
            options.save,
            "conversion of a full-size file in the NAS-Bench-101 format, synthetic metrics",
            f"python benchmarks/convert_tfrecord.py --cells {options.cells}",
            report(numbers),
            numbers=numbers,
        )


if __name__ == "__main__":
    main()
