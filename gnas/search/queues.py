"""Where the evaluations of a search run: in this process, or in workers through a study."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from gnas.errors import GnasError
from gnas.evaluate import EvaluationJob, Evaluator
from gnas.runs import to_jsonable
from gnas.studies import CandidateStudy, candidate_key, local_workers
from gnas.studies.job import FAILURES, Evaluate, reason
from gnas.studies.workers import Wait

logger = logging.getLogger(__name__)

STUDY = "study.db"
"""The study of a search that was given no storage, in the run's folder."""
Found = tuple[dict[str, float] | None, str | None]
"""Measures of an architecture; or None, and why it could not be evaluated."""


def evaluation_storage(
    evaluator: Evaluator, workers: int | None, storage: str | None, out: Path | None
) -> str | None:
    """Storage of the study by which workers evaluate; None if this process does."""
    if workers is None or evaluator.instant:
        return None
    return storage or str((out or Path()) / STUDY)


class EvaluationQueue(Protocol):
    """Executor of evaluations, in the order of their numbers or otherwise."""

    def put(self, candidates: Sequence[Mapping[str, Any]]) -> None:
        """Have architectures evaluated, sooner or later."""
        ...

    def get(self, candidate: Mapping[str, Any]) -> Found:
        """Wait for one evaluation to finish or fail; return its measures or its error."""
        ...


class _LocalQueue:
    def __init__(self, evaluate: Evaluate) -> None:
        self._evaluate = evaluate

    def put(self, candidates: Sequence[Mapping[str, Any]]) -> None:
        """See `EvaluationQueue`; each is evaluated when it is waited for."""

    def get(self, candidate: Mapping[str, Any]) -> Found:
        """See `EvaluationQueue`."""
        try:
            return self._evaluate(dict(candidate))["measures"], None
        except FAILURES as error:
            logger.warning("an architecture failed: %s", reason(error))
            return None, reason(error)


@contextmanager
def local_queue(job: EvaluationJob) -> Iterator[EvaluationQueue]:
    """Evaluation in this process, when an architecture is waited for.

    Args:
        job: The evaluation.
    """
    yield _LocalQueue(job.evaluation())


class _StudyQueue:
    def __init__(self, study: CandidateStudy, wait: Wait) -> None:
        self._study, self._wait = study, wait
        self._ended: dict[str, Found] = {}
        self._count = -1

    def put(self, candidates: Sequence[Mapping[str, Any]]) -> None:
        """See `EvaluationQueue`."""
        self._study.plan(candidates)

    def get(self, candidate: Mapping[str, Any]) -> Found:
        """See `EvaluationQueue`."""
        key = candidate_key(to_jsonable(candidate))
        if key not in self._ended:
            self._wait(
                lambda progress: self._watch(progress.done + progress.failed),
                lambda: key in self._ended,
            )
        if key not in self._ended:
            self._look()
        return self._ended[key]

    def _watch(self, count: int) -> None:
        if count != self._count:  # reading all results is worth it only then
            self._look()
            self._count = count

    def _look(self) -> None:
        for key, one in self._study.ended(self._ended).items():
            self._ended[key] = None if one.result is None else one.result["measures"], one.error


@contextmanager
def study_queue(
    job: EvaluationJob, storage: str, study_name: str, workers: int
) -> Iterator[EvaluationQueue]:
    """Evaluation by workers, which begin as soon as an architecture is asked for.

    Args:
        job: The evaluation.
        storage: Storage of the study.
        study_name: Its name there.
        workers: Processes that evaluate here.

    Raises:
        ConfigError: the study is another one's.
        DataError: the storage cannot be opened.
    """
    study = CandidateStudy.open(job, name=study_name, storage=storage)
    try:
        with local_workers(study, job, workers) as wait:
            yield _StudyQueue(study, wait)
    except GnasError:
        with suppress(GnasError):
            study.finish()  # nobody needs to wait for more
        raise
    study.finish()
