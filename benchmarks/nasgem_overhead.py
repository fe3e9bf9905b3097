"""Time of a whole NASGEM search on the digits, beside that of its evaluations.

Runs `gnas search nasgem` as a command, from Enter to prompt, and adds up what its workers spent in
evaluations: training a cell, then testing it on the validation and the test images. The overhead
is what the command takes beyond its evaluations: start-up, the queue, predictors, scoring the pool
and figures. It is given twice: beyond the evaluations divided by the number of workers, which no
order of them reaches where five last cells meet two workers, and beyond the shortest schedule of
the same evaluations, in which the last stage begins when the first has ended. Run it on an
otherwise idle machine, from the repository's root:

    python benchmarks/nasgem_overhead.py [--workers 2] [--save NAME] [-- --iterations 80 ...]
"""

from __future__ import annotations

import itertools
import json
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
        lines = (run / "metrics.jsonl").read_text().splitlines()
    stages = [json.loads(line)["stage"] for line in lines]
    seconds_of = [end - start for start, end in trials]
    stages_of = {name: [s for s, n in zip(seconds_of, stages, strict=True) if n == name]
                 for name in dict.fromkeys(stages)}  # fmt: skip
    share = sum(seconds_of) / arguments.workers
    schedule = sum(shortest(part, arguments.workers) for part in stages_of.values())
    first, last = min(start for start, _ in trials), max(end for _, end in trials)
    rows = {
        "from Enter to prompt": ended - began,
        f"{len(trials)} evaluations, divided by {arguments.workers} workers": share,
        "their shortest schedule": schedule,
        "before the first evaluation": first - began,
        "between evaluations, beyond the shortest schedule": last - first - schedule,
        "after the last evaluation": ended - last,
    }
    overheads = {
        "of divided evaluations": (ended - began) / share - 1,
        "of the shortest schedule": (ended - began) / schedule - 1,
    }
    text = "\n".join(
        [
            "| part | seconds |",
            "|---|---|",
            *(f"| {name} | {seconds:.1f} |" for name, seconds in rows.items()),
            "",
            "The search takes "
            + " and ".join(f"{part:.1%} {what}" for what, part in overheads.items())
            + " beyond them (target 5%).",
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
            overheads=overheads,
        )


def shortest(durations: list[float], workers: int) -> float:
    """The shortest time in which workers get through evaluations, in any order and division.

    Exact for a few evaluations; for many, the bound that all workers end at once.
    """
    if len(durations) > 10:
        return max(max(durations), sum(durations) / workers)
    return min(
        max(sum(d for d, w in zip(durations, who, strict=True) if w == k) for k in range(workers))
        for who in itertools.product(range(workers), repeat=len(durations))
    )


def evaluations(study: Path) -> list[tuple[float, float]]:
    """Start and end of each evaluation in a run's study, in seconds since the epoch."""
    database = sqlite3.connect(study)
    try:
        found = database.execute(
            "SELECT datetime_start, datetime_complete FROM trials ORDER BY number"
        ).fetchall()
    finally:
        database.close()
    return [(seconds(start), seconds(end)) for start, end in found]


def seconds(text: str) -> float:
    """Seconds since the epoch of a local time as Optuna stores it."""
    return datetime.fromisoformat(text).timestamp()


if __name__ == "__main__":
    main()
