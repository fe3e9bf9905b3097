"""What the tests of NASGEM searches share: tiny ones, with workers in threads or processes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnas.errors import GnasError
from gnas.evaluate import EvaluationJob
from gnas.runs import to_jsonable
from gnas.search.nasgem import NasgemPlan, NasgemResult, plan_nasgem, run_nasgem
from gnas.search.queues import STUDY
from gnas.studies import CandidateStudy, work

TINY: dict[str, Any] = {
    "num_nodes": 8, "iterations": 6, "top": 2, "pool": 300, "epochs": 1, "final_epochs": 2,
    "channels": 2, "num_stages": 2, "batch_size": 256, "update_every": 2, "percent": 50,
}  # fmt: skip


def tiny(**changes: Any) -> NasgemPlan:
    return plan_nasgem("digits", **{**TINY, **changes})


@dataclass(frozen=True)
class Failing(EvaluationJob):
    """Fails on every third candidate of the search."""

    def open(self) -> Callable[[dict[str, Any]], dict[str, Any]]:
        evaluate, seen = super().open(), []

        def sometimes(candidate: dict[str, Any]) -> dict[str, Any]:
            seen.append(candidate)
            if "stage" not in candidate and len(seen) % 3 == 1:
                raise RuntimeError("not enough memory: you tried to allocate 99 GB")
            return evaluate(candidate)

        return sometimes


@contextmanager
def thread_worker(
    name: str, where: Path, kind: type[EvaluationJob] = EvaluationJob
) -> Iterator[threading.Thread]:
    """A worker in this process, which takes no time to start."""
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(0.02):
            try:
                study = CandidateStudy.join(name, where)
            except GnasError:  # not there yet, or not whole
                continue
            # of a finished study it comes back at once, until a search goes on with that
            work(study, kind.from_metadata(study.facts), wait=True)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        stop.set()
        thread.join(timeout=60)


def search(
    plan: NasgemPlan, out: Path, *, kind: type[EvaluationJob] = EvaluationJob, **options: Any
) -> NasgemResult:
    """Runs a search with one worker, a process; of another kind of job, a thread.

    A thread shares torch's random numbers with what the search computes meanwhile, so its
    trainings are not the same every time.
    """
    if kind is EvaluationJob:
        return run_nasgem(plan, out=out, workers=1, **options)
    with thread_worker(out.name, out / STUDY, kind):
        return run_nasgem(plan, out=out, workers=0, **options)


def lasting(result: NasgemResult) -> dict[str, Any]:
    """What of a result does not depend on clock and place."""
    record = to_jsonable(result)
    for name in ("plan", "study"):
        record["config"].pop(name)
    for one in record["evaluations"]:
        (one["measures"] or {}).pop("train_time_s", None)
    return {key: value for key, value in record.items() if not key.endswith("seconds")}
