"""Makes the reports in docs/reports/: small real runs on the digits and on a shipped table.

``python docs/example_reports.py`` takes a quarter of an hour on two cores. With names of examples
it makes these alone; ``--keep FOLDER`` keeps the runs, and goes on with those that it has.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

REPORTS = Path(__file__).resolve().parent / "reports"
TABLE = "--space nasbench101 --table nasbench101-mini"
EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "nasgem": (
        ("nasgem-digits",
         "search nasgem --workers 2 --iterations 20 --set update_every=4 --out nasgem-digits"),
    ),
    "toponas": (
        ("toponas-digits",
         "search toponas --num-nodes 6 --epochs 12 --out toponas-digits"),
    ),
    "pareto": (
        ("pareto-mini",
         f"search predictor {TABLE} --objective val_acc --objective macs --budget 80 "
         "--out pareto-mini"),
    ),
    "bench": (
        ("bench-mini.json",
         "bench nasbench101 --table nasbench101-mini --samples 25,50,100,200 --seeds 5 "
         "--json bench-mini.json"),
    ),
    "retraining": (
        ("toponas-digits",
         "search toponas --num-nodes 6 --epochs 12 --out toponas-digits"),
        ("retrained-digits",
         "retrain toponas-digits --epochs 10 --repeats 2 --out retrained-digits"),
    ),
    "several": tuple(
        (f"{searcher}-{seed}",
         f"search {searcher} {TABLE} --budget 40 --seed {seed} --out {searcher}-{seed}")
        for searcher in ("random", "predictor")
        for seed in range(5)
    ),
}  # fmt: skip
"""Runs by the name of the report, and the commands that make them."""
ELSEWHERE = ("machine", "git_commit")
"""What the examples leave out of their runs' records: it says nothing to a reader."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(EXAMPLES))
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the runs here")
    parser.add_argument("--prefix", default="", help="a command that starts all others")
    options = parser.parse_args()
    unknown = set(options.names) - EXAMPLES.keys()
    if unknown:
        parser.error(f"unknown examples: {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as temporary:
        home = options.keep or Path(temporary)
        home.mkdir(parents=True, exist_ok=True)
        for name in options.names or EXAMPLES:
            make(name, home.resolve(), options.prefix)


def make(name: str, home: Path, prefix: str) -> None:
    for result, command in EXAMPLES[name]:
        if not (home / result).exists():
            run(command, home, prefix)
        config = home / result / "config.json"
        if config.exists():
            record = json.loads(config.read_text())
            for key in ELSEWHERE:
                record.pop(key, None)
            config.write_text(json.dumps(record, indent=2) + "\n")
    results = [result for result, _ in EXAMPLES[name]]
    shown = results if name == "several" else results[-1:]
    REPORTS.mkdir(exist_ok=True)
    run(f"report {shlex.join(shown)} --out {shlex.quote(str(REPORTS / name))}.html", home, "")


def run(command: str, home: Path, prefix: str) -> None:
    start = [*shlex.split(prefix), sys.executable, "-m", "gnas", *shlex.split(command)]
    subprocess.run(start, cwd=home, check=True, env={"OMP_NUM_THREADS": "1", **os.environ})


if __name__ == "__main__":
    main()
