"""Worker processes that evaluate the candidates of a study."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol

from gnas import processes
from gnas.errors import ConfigError, DataError, GnasError
from gnas.studies.job import FAILURES, Evaluate, Job, reason
from gnas.studies.study import CandidateStudy, Claim, StudyProgress
from gnas.user_code import INTERRUPTED

logger = logging.getLogger(__name__)

PAUSES_S = (0.02, 0.5)
"""Minimum and maximum polling interval in seconds; news ends an interval early."""
REQUEUE_CHECK_S = 1.0
"""Seconds between two checks for dead workers."""
MAX_RESTARTS = 3
"""Maximum number of consecutive kills per worker without a finished candidate."""
RELEASE_TIMEOUT_S = 10.0
"""Time limit in seconds for releasing a candidate after the parent has ended."""
END_TIMEOUT_S = 10.0
"""Time limit in seconds for the end of a worker that is asked to end."""
JOIN_PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Pauses in seconds between a local worker's attempts to join its parent's study."""

Report = Callable[[StudyProgress], None]


class Wait(Protocol):
    """A function that waits for candidates; see `local_workers`."""

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
    """Evaluate waiting candidates one after another.

    Args:
        study: The study.
        job: Evaluation of its candidates.
        wait: Whether to wait for more candidates until the study is finished.
        report: Called with one-line status messages.

    Returns:
        The number of candidates that were evaluated or failed here.

    Raises:
        GnasError: the job cannot be opened, or the storage not be used.

    Examples:
        >>> import tempfile
        >>> from gnas.evaluate import EvaluationJob, FunctionEvaluator
        >>> from gnas.spaces import NASBench201
        >>> evaluator = FunctionEvaluator(lambda graph, *, seed: graph.num_edges)
        >>> job = EvaluationJob(NASBench201(), evaluator, ("score",))
        >>> cells = [NASBench201().to_str(cell) for cell in NASBench201().enumerate()[:2]]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     study = CandidateStudy.open(job, name="edges", storage=f"{folder}/study.db")
        ...     study.plan([{"architecture": cell, "seed": 0} for cell in cells])
        ...     work(study, job, wait=False)
        2
    """
    evaluate = job.open()
    if (line := job.read()) is not None:
        report(line)
    return Worker(study, report).run(evaluate, wait=wait)


class Worker:
    """Worker that evaluates candidates in this process and sends heartbeats.

    Args:
        study: The study.
        report: See `work`.
        planner: A process that plans candidates: it is told when one has ended, and its messages
            end a pause.
    """

    def __init__(
        self,
        study: CandidateStudy,
        report: Callable[[str], None] = lambda line: None,
        planner: Connection | None = None,
    ) -> None:
        self._study, self._report = study, report
        self._planner = [] if planner is None else [planner]
        self._claim: Claim | None = None

    def run(self, evaluate: Evaluate, *, wait: bool) -> int:
        """See `work`; on interruption the current candidate is released."""
        try:
            return self._run(evaluate, wait)
        except (KeyboardInterrupt, SystemExit):
            self.release()
            raise

    def release(self) -> None:
        """Return the current candidate to the queue; may be called from any thread."""
        if self._claim is not None:
            self._study.disable_retries()
            self._study.release(self._claim)

    def _run(self, evaluate: Evaluate, wait: bool) -> int:
        pause, count, is_idle = _Pause(), 0, False
        while True:
            self._claim = self._study.claim()
            if self._claim is not None:
                is_idle = False
                self._evaluate(evaluate, self._claim)
                _send_news(self._planner)
                pause, count = _Pause(), count + 1
            elif not (pause.is_requeue_due() and self._study.requeue_stale()):
                if not wait or self._study.finished:
                    return count
                if not is_idle:
                    self._report("no candidate waits now; waiting for more")
                is_idle = True
                pause.sleep(self._planner)

    def _evaluate(self, evaluate: Evaluate, claim: Claim) -> None:
        name, start = f"candidate {claim.number}", time.monotonic()
        self._report(f"{name}: {_one_line(claim.candidate)}")
        try:
            with _heartbeats(self._study, claim):
                result = evaluate(claim.candidate)
        except FAILURES as error:
            self._study.fail(claim, reason(error))
            self._report(f"{name} failed")
        else:
            self._study.succeed(claim, result)
            seconds = time.monotonic() - start
            self._report(f"{name}: score {result.get('score'):.4g} after {seconds:.0f} s")
        self._claim = None


def _one_line(candidate: Mapping[str, Any]) -> str:
    """One-line description of a candidate."""
    return ", ".join(f"{name} {value}" for name, value in candidate.items())


class _Pause:
    """Polling pauses that grow over time and end early when there is news."""

    def __init__(self) -> None:
        self._next_s, self._last_requeue = PAUSES_S[0], 0.0

    def sleep(self, sources: Sequence[Connection]) -> None:
        _await_news(sources, self._next_s)
        self._next_s = min(1.5 * self._next_s, PAUSES_S[1])

    def is_requeue_due(self) -> bool:
        now = time.monotonic()
        if now - self._last_requeue < REQUEUE_CHECK_S:
            return False
        self._last_requeue = now
        return True


# News are empty messages through pipes. Unlike a lock or an event, a pipe cannot be left in the
# hands of a process that is killed.


def _send_news(targets: Iterable[Connection]) -> None:
    for target in targets:
        with suppress(OSError):  # it has ended
            target.send_bytes(b"")


def _await_news(sources: Sequence[Connection], within_s: float) -> None:
    """Wait until a source has news or its process has ended, at most ``within_s`` seconds."""
    if not sources:
        time.sleep(within_s)
    elif connection.wait(sources, within_s):
        for source in sources:
            with suppress(EOFError, OSError):
                while source.poll():
                    source.recv_bytes()


@contextmanager
def _heartbeats(study: CandidateStudy, claim: Claim) -> Iterator[None]:
    """Send heartbeats from a background thread, if the study needs them."""
    if not study.needs_heartbeats:
        yield
        return
    ended = threading.Event()

    def send() -> None:
        while not ended.wait(study.heartbeat_s):
            study.heartbeat(claim)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def local_workers(study: CandidateStudy, job: Job, count: int) -> Iterator[Wait]:
    """Run worker processes on this machine; none outlives the block or this process.

    Args:
        study: The study.
        job: Evaluation of the candidates; workers must be able to import its class.
        count: Number of processes; 0 leaves the work to others.

    Yields:
        ``wait(report, until)``: returns when every planned candidate is evaluated or has failed,
        or when ``until`` returns true; calls ``report`` with the progress, then ``until``, at
        every poll.

    Raises:
        ConfigError: ``count`` is negative, or workers cannot load the job.
        DataError: a worker ended with an error, which it has logged, or workers are repeatedly
            killed.
        KeyboardInterrupt: the evaluation in a worker raised it.

    Examples:
        >>> import tempfile
        >>> from gnas.evaluate import EvaluationJob, FunctionEvaluator
        >>> from gnas.spaces import NASBench201
        >>> evaluator = FunctionEvaluator(lambda graph, *, seed: graph.num_edges)
        >>> job = EvaluationJob(NASBench201(), evaluator, ("score",))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     study = CandidateStudy.open(job, name="edges", storage=f"{folder}/study.db")
        ...     with local_workers(study, job, count=0) as wait:  # 2, say, for two processes
        ...         wait(lambda progress: print(progress.done, "of", progress.total))
        0 of 0
    """
    if count < 0:
        raise ConfigError(f"workers must be at least 0, but got {count}")
    if count:
        processes.check_can_send(job, "the job")
    pool = _Pool(study, job, count)
    try:
        pool.start()
        yield pool.wait
    except BaseException:
        study.disable_retries()
        raise
    finally:
        pool.stop()


class _Pool:
    def __init__(self, study: CandidateStudy, job: Job, count: int) -> None:
        self._study, self._job, self._count = study, job, count
        self._processes: dict[BaseProcess, Connection] = {}
        self._killed = 0
        self._ended = 0
        self._planned = 0

    def start(self) -> None:
        """Start missing workers."""
        while len(self._processes) < self._count:
            context = processes.worker_context(type(self._job).__module__, processes.OPTIMISERS)
            here, there = context.Pipe()
            arguments = (self._study.name, self._study.where, self._job, {**os.environ}, there)
            process = context.Process(target=_worker_main, args=arguments, daemon=True)
            process.start()
            there.close()
            self._processes[process] = here

    def wait(self, report: Report, until: Callable[[], bool] = lambda: False) -> None:
        """See `local_workers`."""
        pause = _Pause()
        while True:
            progress = self._study.progress()
            if progress.total > self._planned:
                self._planned = progress.total
                _send_news(self._processes.values())
            report(progress)
            if until():
                return
            if (
                progress.is_over
                and not self._study.requeue_orphans()
                and self._study.progress().is_over
            ):
                return  # nothing was being put back when it looked as if all were done
            ended = progress.done + progress.failed
            if ended > self._ended:
                self._ended, self._killed = ended, 0
            self._study.top_up()
            if self._lost_any() or pause.is_requeue_due():
                self._study.requeue_stale()
                if self._study.reopen():
                    logger.warning(
                        "another command ended the study '%s', and with it idle workers of "
                        "`gnas worker`; start them again for this one",
                        self._study.name,
                    )
            pause.sleep([*self._processes.values()])

    def stop(self) -> None:
        """Terminate all workers and requeue their candidates."""
        for process in self._processes:
            process.terminate()
        deadline = time.monotonic() + END_TIMEOUT_S
        for process in self._processes:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.exitcode is None:  # what it evaluates handles or ignores SIGTERM
                process.kill()
                process.join()
        if self._processes:
            self._study.requeue_stale(
                exempt_pids=[p.pid for p in self._processes if p.pid is not None]
            )

    def _lost_any(self) -> bool:
        """Replace killed workers; return whether any was lost.

        Raises:
            DataError: one ended with an error, or too many were killed.
            KeyboardInterrupt: one was interrupted.
        """
        codes = [p.exitcode for p in self._processes if p.exitcode is not None]
        if not codes:
            return False
        if INTERRUPTED in codes:
            raise KeyboardInterrupt
        if any(code > 0 for code in codes):
            raise DataError(
                f"every worker must go on to the end, but one ended with exit code {max(codes)} "
                "(above is why); start the command again to go on"
            )
        self._processes = {p: c for p, c in self._processes.items() if p.exitcode is None}
        killed = [-code for code in codes if code < 0]  # the others exited
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


def _worker_main(
    name: str,
    where: str | Path,
    job: Job,
    environment: Mapping[str, str],
    planner: Connection,
) -> None:
    processes.inherit_environment(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process stops its workers
    try:
        workers: list[Worker] = []
        processes.end_with_parent(lambda: _release(workers), within_s=RELEASE_TIMEOUT_S)
        workers.append(Worker(_joined(name, where), planner=planner))
        workers[0].run(job.open(), wait=True)
    except KeyboardInterrupt:  # of the evaluated function itself
        raise SystemExit(INTERRUPTED) from None
    except (GnasError, OSError) as error:  # e.g. a full disk
        logger.error("a worker stopped: %s", error)
        raise SystemExit(1) from None


def _joined(name: str, where: str | Path) -> CandidateStudy:
    """Join a study known to exist, retrying while a database restarts."""
    for pause_s in JOIN_PAUSES_S:
        try:
            return CandidateStudy.join(name, where)
        except DataError:
            time.sleep(pause_s)
    return CandidateStudy.join(name, where)


def _release(workers: list[Worker]) -> None:
    for worker in workers:
        worker.release()
