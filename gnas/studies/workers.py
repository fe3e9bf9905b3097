"""The processes that evaluate the candidates of a study."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol

from gnas import processes
from gnas.errors import ConfigError, DataError, GnasError
from gnas.studies.job import FAILURES, Evaluate, Job, reason
from gnas.studies.study import CandidateStudy, Claim, Progress

logger = logging.getLogger(__name__)

PAUSES_S = (0.02, 0.5)
"""Shortest and longest time between two looks for what others have done."""
TAKE_BACK_S = 1.0
"""Seconds between two looks for workers that died."""
MAX_RESTARTS = 3
"""Workers that may be killed one after the other without any candidate getting done."""
GIVE_BACK_S = 10.0
"""Longest time that a worker takes to give back its candidate when its parent is gone."""
JOIN_PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Pauses between the attempts of a local worker to join the study that its parent has open."""

Report = Callable[[Progress], None]


class Wait(Protocol):
    """Waits for candidates; see `local_workers`."""

    def __call__(self, report: Report, until: Callable[[], bool] = ...) -> None:
        """See `local_workers`."""
        ...


def work(
    study: CandidateStudy,
    job: Job,
    *,
    wait: bool,
    report: Callable[[str], None] = lambda line: None,
) -> int:
    """Evaluates waiting candidates, one after the other; returns how many.

    Args:
        study: Where they wait.
        job: How they are evaluated.
        wait: Wait for more until the study is finished; otherwise end when none waits.
        report: Told in one line what was read, what is begun, what came out, and that there is
            nothing to do.
    """
    evaluate = job.open()
    if (line := job.read()) is not None:
        report(line)
    return Worker(study, report).run(evaluate, wait=wait)


class Worker:
    """Evaluates candidates in this process, and says now and then that it is alive."""

    def __init__(
        self, study: CandidateStudy, report: Callable[[str], None] = lambda line: None
    ) -> None:
        self._study, self._report = study, report
        self._claim: Claim | None = None

    def run(self, evaluate: Evaluate, *, wait: bool) -> int:
        """See `work`; asked to end, it gives back what it is evaluating."""
        try:
            return self._run(evaluate, wait)
        except (KeyboardInterrupt, SystemExit):
            self.give_back()
            raise

    def give_back(self) -> None:
        """Puts what is being evaluated back into the queue; any thread may ask for it."""
        if self._claim is not None:
            self._study.hurry()
            self._study.give_back(self._claim)

    def _run(self, evaluate: Evaluate, wait: bool) -> int:
        pause, count, is_idle = _Pause(), 0, False
        while True:
            self._claim = self._study.claim()
            if self._claim is not None:
                is_idle = False
                self._evaluate(evaluate, self._claim)
                pause, count = _Pause(), count + 1
            elif not (pause.is_time_to_take_back() and self._study.take_back()):
                if not wait or self._study.finished:
                    return count
                if not is_idle:
                    self._report("no candidate waits now; waiting for more")
                is_idle = True
                pause.sleep()

    def _evaluate(self, evaluate: Evaluate, claim: Claim) -> None:
        name, start = f"candidate {claim.number}", time.monotonic()
        self._report(f"{name}: {_told(claim.candidate)}")
        try:
            with _beating(self._study, claim):
                result = evaluate(claim.candidate)
        except FAILURES as error:
            self._study.fail(claim, reason(error))
            self._report(f"{name} failed")
        else:
            self._study.succeed(claim, result)
            seconds = time.monotonic() - start
            self._report(f"{name}: score {result.get('score'):.4g} after {seconds:.0f} s")
        self._claim = None


def _told(candidate: Mapping[str, Any]) -> str:
    """A candidate in one line."""
    return ", ".join(f"{name} {value}" for name, value in candidate.items())


class _Pause:
    """Waits that grow, so that long ones cost nothing and short ones are short."""

    def __init__(self) -> None:
        self._next_s, self._took_back = PAUSES_S[0], 0.0

    def sleep(self) -> None:
        time.sleep(self._next_s)
        self._next_s = min(1.5 * self._next_s, PAUSES_S[1])

    def is_time_to_take_back(self) -> bool:
        now = time.monotonic()
        if now - self._took_back < TAKE_BACK_S:
            return False
        self._took_back = now
        return True


@contextmanager
def _beating(study: CandidateStudy, claim: Claim) -> Iterator[None]:
    """Sends heartbeats from a thread of its own inside, where the study needs them."""
    if not study.needs_heartbeats:
        yield
        return
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(study.heartbeat_s):
            study.beat(claim)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def local_workers(study: CandidateStudy, job: Job, count: int) -> Iterator[Wait]:
    """Runs worker processes on this machine; none outlives the block or this process.

    Args:
        study: Where the candidates are.
        job: How they are evaluated; its class must be importable by the workers.
        count: Processes; 0 leaves the work to others.

    Yields:
        ``wait(report, until)``: returns when every planned candidate is evaluated or has failed,
        or when ``until``, which is asked after every ``report``, is true; calls ``report`` with
        the progress now and then.

    Raises:
        ConfigError: ``count`` is negative.
        DataError: a worker ended with an error, which it has logged; or workers are killed again
            and again.
    """
    if count < 0:
        raise ConfigError(f"workers must be at least 0, but got {count}")
    pool = _Pool(study, job, count)
    try:
        pool.start()
        yield pool.wait
    except BaseException:
        study.hurry()
        raise
    finally:
        pool.stop()


class _Pool:
    def __init__(self, study: CandidateStudy, job: Job, count: int) -> None:
        self._study, self._job, self._count = study, job, count
        self._processes: list[BaseProcess] = []
        self._killed = 0
        self._ended = 0

    def start(self) -> None:
        """Starts as many as are missing."""
        while len(self._processes) < self._count:
            context = processes.context(type(self._job).__module__)
            arguments = (self._study.name, self._study.where, self._job, {**os.environ})
            process = context.Process(target=_worker_main, args=arguments, daemon=True)
            process.start()
            self._processes.append(process)

    def wait(self, report: Report, until: Callable[[], bool] = lambda: False) -> None:
        """See `local_workers`."""
        pause = _Pause()
        while True:
            progress = self._study.progress()
            report(progress)
            if until():
                return
            if progress.is_over and not self._study.repair() and self._study.progress().is_over:
                return  # nothing was being put back when it looked as if all were done
            ended = progress.done + progress.failed
            if ended > self._ended:
                self._ended, self._killed = ended, 0
            self._study.top_up()
            if self._lost_any() or pause.is_time_to_take_back():
                self._study.take_back()
            pause.sleep()

    def stop(self) -> None:
        """Ends all; what they were evaluating waits again."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join()
        if self._processes:
            self._study.take_back(forgiven=[p.pid for p in self._processes if p.pid is not None])

    def _lost_any(self) -> bool:
        """Replaces killed processes.

        Raises:
            DataError: one ended with an error, or too many were killed.
        """
        codes = [p.exitcode for p in self._processes if p.exitcode is not None]
        if not codes:
            return False
        if any(code > 0 for code in codes):
            raise DataError(
                f"every worker must go on to the end, but one ended with exit code {max(codes)}; "
                "start the command again to go on"
            )
        self._processes = [p for p in self._processes if p.exitcode is None]
        killed = [-code for code in codes if code < 0]  # the others went home
        self._killed += len(killed)
        if self._killed > MAX_RESTARTS * self._count:
            raise DataError(
                f"workers must live for at least one candidate, but {self._killed} were killed "
                f"in a row, the last by signal {killed[-1]}; is there too little memory?"
            )
        for number in killed:
            logger.warning("a worker was killed by signal %d; another takes its place", number)
        self.start()
        return True


def _worker_main(name: str, where: str | Path, job: Job, environment: Mapping[str, str]) -> None:
    processes.adopt(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process stops its workers
    try:
        workers: list[Worker] = []
        processes.end_with_parent(lambda: _give_back(workers), within_s=GIVE_BACK_S)
        workers.append(Worker(_joined(name, where)))
        workers[0].run(job.open(), wait=True)
    except (GnasError, OSError) as error:  # e.g. a full disk
        logger.error("a worker stopped: %s", error)
        raise SystemExit(1) from None


def _joined(name: str, where: str | Path) -> CandidateStudy:
    """The study, which was there a moment ago; a database may be restarting just now."""
    for pause_s in JOIN_PAUSES_S:
        try:
            return CandidateStudy.join(name, where)
        except DataError:
            time.sleep(pause_s)
    return CandidateStudy.join(name, where)


def _give_back(workers: list[Worker]) -> None:
    for worker in workers:
        worker.give_back()
