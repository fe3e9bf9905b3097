"""Time of a whole NASGEM search on the digits, beside that of its evaluations.

Runs `gnas search nasgem` as a command, from Enter to prompt, and adds up what its workers spent in
evaluations: training a cell, then testing it on the validation and the test images. The overhead
is what the command takes beyond its evaluations divided among its workers: start-up, the queue,
predictors, scoring the pool, figures, and workers that have no cell left to train. Run it on an
otherwise idle machine, from the repository's root:

    python benchmarks/nasgem_overhead.py [--workers 2] [--save NAME] [-- --iterations 80 ...]
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

from record import command_line, save_record


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("options", nargs="*", help="of the search, after --")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = ["search", "nasgem", "--dataset", "digits", "--out", str(run)]
        command += ["--workers", str(arguments.workers), *arguments.options]
        began = time.time()
        subprocess.run([sys.executable, "-m", "gnas", *command], check=True)
        ended = time.time()
        trials = evaluations(run / "study.db")
    share = sum(end - start for start, end in trials) / arguments.workers
    first, last = min(start for start, _ in trials), max(end for _, end in trials)
    rows = {
        "from Enter to prompt": ended - began,
        f"{len(trials)} evaluations, divided among {arguments.workers} workers": share,
        "before the first evaluation": first - began,
        "between evaluations, and workers without one": last - first - share,
        "after the last evaluation": ended - last,
    }
    overhead = (ended - began) / share - 1
    text = "\n".join(
        [
            "| part | seconds |",
            "|---|---|",
            *(f"| {name} | {seconds:.1f} |" for name, seconds in rows.items()),
            "",
            f"Beyond its evaluations the search takes {overhead:.1%} (target 5%).",
        ]
    )
    print(text)
    if arguments.save:
        save_record(
            arguments.save,
            "A whole NASGEM search on the digits and its evaluations",
            f"python benchmarks/nasgem_overhead.py --workers {arguments.workers}",
            text,
            seconds=rows,
            overhead=overhead,
        )


def evaluations(study: Path) -> list[tuple[float, float]]:
    """Start and end of each evaluation in a run's study, in seconds since the epoch."""
    database = sqlite3.connect(study)
    try:
        found = database.execute("SELECT datetime_start, datetime_complete FROM trials").fetchall()
    finally:
        database.close()
    return [(seconds(start), seconds(end)) for start, end in found]


def seconds(text: str) -> float:
    """Seconds since the epoch of a local time as Optuna stores it."""
    return datetime.fromisoformat(text).timestamp()


if __name__ == "__main__":
    main()
