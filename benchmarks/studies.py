"""Times studies: new trials beside 10,000 finished ones, and one worker against two.

The first part takes and finishes candidates that need no time, in an empty study and in one with
finished trials. The second has one and two workers train NAS-Bench-101 cells on the digits,
multiply matrices that fit a core's cache, and sleep. Trainings slow each other down, since cores
share their memory; multiplications do less so, and sleeping needs no core, so that what two
workers lose there is the queue's. The overhead is the share of the time that workers spend outside
their candidates' evaluation. Run it on an otherwise idle machine, from the repository's root:

    python benchmarks/studies.py --storage postgresql+psycopg://USER@HOST/DATABASE

The default is a file.
"""

from __future__ import annotations

import os
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, ClassVar

import numpy as np
import optuna
from record import command_line, save_record

from gnas.evaluate import EvaluationJob
from gnas.studies import CandidateStudy, local_workers
from gnas.tabulate import TabulateConfig
from gnas.tabulate.build import evaluator_of

ROUNDS = 50
"""Candidates whose taking and finishing is timed."""
WORK = {
    "train": "training cells on digits",
    "compute": "multiplying matrices in cache",
    "sleep": "sleeping",
}
"""What candidates can be evaluated by."""
SLEEP_S = 1.0
SIDE, PRODUCTS = 64, 130_000
"""Matrices of 32 kB, and how many products of them take about as long as a training."""


def multiply() -> None:
    """Multiplies matrices that fit the first cache of a core."""
    a = np.full((SIDE, SIDE), 1 / SIDE)
    b = a.copy()
    for _ in range(PRODUCTS):
        a.dot(b)


@dataclass(frozen=True)
class Timed(EvaluationJob):
    """Trains cells, computes or sleeps, and says when."""

    kind: ClassVar[str] = "timed"
    work: str = "train"
    """A key of `WORK`."""

    def metadata(self) -> dict[str, Any]:
        """See `Job.metadata`."""
        return {**super().metadata(), "work": self.work}

    def open(self) -> Callable[[dict[str, Any]], dict[str, Any]]:
        """See `Job.open`."""
        train = super().open()

        def evaluate(candidate: dict[str, Any]) -> dict[str, Any]:
            began = time.time()
            result = {"score": 0.0}
            if self.work == "train":
                result = train(candidate)
            elif self.work == "compute":
                multiply()
            else:
                time.sleep(SLEEP_S)
            return {**result, "began": began, "ended": time.time(), "pid": os.getpid()}

        return evaluate


def add_finished(storage: str, name: str, candidates: list[dict[str, Any]]) -> None:
    """Fills a study with trials that were finished elsewhere."""
    url = storage if "://" in storage else f"sqlite:///{storage}"
    study = optuna.load_study(study_name=name, storage=url)
    for candidate in candidates:
        result = {"score": 0.5, "val_acc": 0.5}
        study.add_trial(
            optuna.trial.create_trial(
                value=0.5,
                user_attrs={**candidate, **result, "result": result},
                system_attrs={"candidate": candidate},
            )
        )


def new_trial(study: CandidateStudy, architecture: str) -> list[float]:
    """Milliseconds of planning, taking and finishing one candidate; medians."""
    took: list[list[float]] = []
    for k in range(ROUNDS):
        times = [time.perf_counter()]
        study.plan([{"architecture": architecture, "seed": k}])
        times.append(time.perf_counter())
        claim = study.claim()
        assert claim is not None
        times.append(time.perf_counter())
        study.succeed(claim, dict.fromkeys(("score", "val_acc", "test_acc", "val_loss"), 0.5))
        times.append(time.perf_counter())
        took.append([1000 * (b - a) for a, b in pairwise(times)])
    return [median(column) for column in zip(*took, strict=True)]


def throughput(study: CandidateStudy, job: Timed, workers: int) -> dict[str, float]:
    """Trials a minute, and the share of the time outside their training."""
    with local_workers(study, job, workers) as wait:
        wait(lambda progress: None)
    results = [found.result for found in study.results() if found.result is not None]
    by_worker: dict[int, list[dict[str, Any]]] = {}
    for result in sorted(results, key=lambda r: float(r["began"])):
        by_worker.setdefault(result["pid"], []).append(result)
    # From a worker's first candidate to its last: starting up and the rest at the end left out.
    spans = [(own[0]["began"], own[-1]["ended"], len(own)) for own in by_worker.values()]
    training = sum(result["ended"] - result["began"] for result in results)
    whole = sum(end - start for start, end, _ in spans)
    return {
        "workers": workers,
        "candidates": len(results),
        "trials_a_minute": sum(60 * count / (end - start) for start, end, count in spans),
        "seconds_each": training / len(results),
        "overhead": 1 - training / whole,
    }


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--storage", help="a file or the URL of a database")
    parser.add_argument("--finished", type=int, default=10_000, help="finished trials")
    parser.add_argument("--candidates", type=int, default=24, help="trainings a worker")
    parser.add_argument(
        "--work", nargs="+", choices=[*WORK], default=[*WORK], help="what candidates take time by"
    )
    options = parser.parse_args()
    storage = options.storage or str(Path(tempfile.mkdtemp()) / "studies.db")
    where = "PostgreSQL" if "://" in storage else "SQLite file"
    config = TabulateConfig(cells=options.candidates, seeds=2)
    space = config.opened_space()
    job = Timed(space, evaluator_of(config), ("val_acc",))
    planned = [{"architecture": cell, "seed": k} for cell in config.plan() for k in (1, 2)]
    name = uuid.uuid4().hex[:8]

    study = CandidateStudy.open(job, name=f"{name}-new", storage=storage)
    rows = ["| finished trials | plan | take | finish | (ms) |", "|---|---|---|---|---|"]
    empty: list[float] = []
    for finished in (0, options.finished):
        many = [{"architecture": "old", "seed": k} for k in range(finished)]
        add_finished(storage, f"{name}-new", many)
        times = new_trial(study, f"beside {finished}")
        empty = empty or times
        rows.append("| " + " | ".join([f"{finished:,}", *(f"{t:.1f}" for t in times), ""]) + "|")
    later = sum(times) - sum(empty)
    rows += ["", f"A new trial takes {later:.1f} ms more in the larger study (target 50 ms).", ""]

    found: dict[str, list[dict[str, float]]] = {}
    rows += [
        "| candidates | workers | evaluations | s each | a minute | overhead |",
        "|---|---|---|---|---|---|",
    ]
    for work in options.work:
        for workers in (1, 2):
            timed = replace(job, work=work)
            study = CandidateStudy.open(timed, name=f"{name}-{work}-{workers}", storage=storage)
            study.plan(planned[: workers * options.candidates])
            found.setdefault(work, []).append(throughput(study, timed, workers))
            rows.append(
                "| {what} | {workers} | {candidates} | {seconds_each:.2f} | {trials_a_minute:.1f} "
                "| {overhead:.2%} |".format(what=WORK[work], **found[work][-1])
            )
    gains = {}
    for work, (one, two) in found.items():
        gains[work] = two["trials_a_minute"] / one["trials_a_minute"]
        slower = two["seconds_each"] / one["seconds_each"] - 1
        rows += [
            "",
            f"Two workers, {WORK[work]}: {gains[work]:.2f} times the trials a minute of one "
            f"(target 1.85). An evaluation takes {slower:.1%} longer beside another one; two "
            f"workers spend {two['overhead']:.1%} of their time outside evaluations, one "
            f"{one['overhead']:.1%}.",
        ]
    text = "\n".join(rows)
    print(f"{where}\n\n{text}")
    if options.save:
        save_record(
            options.save, f"Studies in a {where}", "python benchmarks/studies.py", text,
            new_trial_slower_ms=later, throughput=found, gain=gains,
        )  # fmt: skip


if __name__ == "__main__":
    main()
