"""One search from its images to its run folder: what the command line calls."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gnas.data.batches import FEWER
from gnas.data.images import ImageSplits
from gnas.data.proxy import open_proxy_images
from gnas.errors import ConfigError, DataError, GnasError
from gnas.graphs import DenseBatch
from gnas.predictors import Predictor
from gnas.predictors.features import Rows
from gnas.runs import NOTICE, Figure, working_in, write_config, write_result
from gnas.search.bootstrap import Best, bootstrap
from gnas.search.nasgem.candidates import draw_candidates, draw_pool
from gnas.search.nasgem.config import LEAST_SUCCESSES, NasgemConfig
from gnas.search.nasgem.job import NasgemJob
from gnas.search.nasgem.learning import (
    Learner,
    compared_predictors,
    encoder_facts,
    new_predictor,
    scored_by,
)
from gnas.search.nasgem.plan import COMMAND, STUDY_FILE, SearchPlan, config_record
from gnas.search.nasgem.record import SearchRecord, key_of
from gnas.search.nasgem.surface import Surface, save_surfaces, surface
from gnas.search.nasgem.trace import NasgemTrace
from gnas.spaces import space_record
from gnas.studies import CandidateStudy, Evaluated, local_workers
from gnas.studies import Progress as StudyProgress

logger = logging.getLogger(__name__)

Report = Callable[["Progress"], None]


@dataclass(frozen=True)
class Progress:
    """How far a search is."""

    stage: str
    """"search", "predict" or "final"."""
    done: int
    """Candidates of this stage that are trained or have failed."""
    failed: int
    """Those of them that have failed."""
    total: int
    """Candidates of this stage."""
    lines: Sequence[Mapping[str, Any]]
    """What ``metrics.jsonl`` has so far."""


def run_search(
    plan: SearchPlan,
    *,
    out: Path,
    workers: int = 1,
    resume: bool = False,
    report: Report = lambda progress: None,
    figures: Callable[[NasgemTrace], Mapping[str, Figure]] | None = None,
) -> dict[str, Any]:
    """Searches by ``plan`` in a run folder.

    The cells to train follow from the seed, and whatever is learned from them takes them in this
    order: neither the number of workers nor an interruption changes the result.

    Args:
        plan: How, in which images, in which study.
        out: The run's folder.
        workers: Processes of this machine that train, one core each; 0 leaves all to
            ``gnas worker`` elsewhere.
        resume: Go on with the run in ``out``.
        report: Called about once a second.
        figures: Draws the result.

    Returns:
        The content of ``result.json``.

    Raises:
        ConfigError: impossible settings, or ``out`` has another run.
        DataError: too few candidates could be trained, or a file cannot be read or written.
        GnasError: see `open_proxy_images` and `CandidateStudy.open`.
    """
    if workers < 0:
        raise ConfigError(f"workers must be at least 0, but got {workers}")
    with working_in(out):
        return _run(plan, out, workers, resume, report, figures)


def _run(
    plan: SearchPlan,
    out: Path,
    workers: int,
    resume: bool,
    report: Report,
    figures: Callable[[NasgemTrace], Mapping[str, Figure]] | None,
) -> dict[str, Any]:
    start = time.monotonic()
    learns = new_predictor(plan.config)
    splits = open_proxy_images(plan.images)
    wanted = plan.config.batch_size
    plan = plan.fitted(len(splits.y_train))
    job = NasgemJob.of(plan.config, plan.images, splits)
    predictor = scored_by(learns, plan.config, job, splits.image_size)
    cells = draw_candidates(plan.config)
    if not resume:
        _check_new(out)
    name = plan.study or out.resolve().name
    data = data_facts(plan, splits)
    study = CandidateStudy.open(job, name=name, storage=plan.storage or out / STUDY_FILE)
    logger.log(NOTICE, "%s", splits.line)
    if plan.config.batch_size != wanted:
        logger.log(NOTICE, FEWER, plan.config.batch_size, wanted)
    if not resume:
        write_config(out, config_record(plan, name), data=data)
    learner = Learner(predictor, cells, plan.config.update_every)
    record = SearchRecord(out, candidates_of(plan.config, cells, "search"), learner)
    try:
        with local_workers(study, job, workers) as wait:
            found = _Search(plan, study, record, report).run(wait, cells, learner)
    except GnasError:
        study.finish()  # nobody needs to wait for more
        raise
    finally:
        record.close()
    study.finish()
    facts = {
        "command": COMMAND,
        "config": {"search": plan.config, "images": plan.images},
        "data": data,
        "space": space_record(plan.config.space()),
        **outcome(found.trained, found.best, found.finals),
        "pool": found.pool,
        "predictor": _predictor_facts(plan.config, predictor),
        "learning": [line for line in record.lines if line["event"] == "learned"],
        "surface": {name: one.numbers for name, one in found.surfaces.items()},
        "network": job.network,
        "training_seconds": _training_seconds([*found.trained, *found.finals]),
        "seconds": time.monotonic() - start,
    }
    save_surfaces(found.surfaces, out)
    trace = NasgemTrace(plan.config, record.lines, facts, found.surfaces)
    write_result(out, facts, figures(trace) if figures is not None else None)
    return facts


def _predictor_facts(config: NasgemConfig, predictor: Predictor) -> dict[str, Any]:
    return {
        "name": predictor.name,
        "features": predictor.features.name,
        "encoder": encoder_facts(config),
    }


def _check_new(out: Path) -> None:
    if (out / "config.json").exists():
        raise ConfigError(
            f"a new run needs a folder of its own, but {out} has one; "
            f"go on with --resume {out}, or choose another"
        )


@dataclass(frozen=True)
class _Found:
    trained: list[Evaluated]
    pool: int
    best: Best
    finals: list[Evaluated]
    surfaces: dict[str, Surface]


class _Search:
    """The steps of a search, on a study."""

    def __init__(
        self, plan: SearchPlan, study: CandidateStudy, record: SearchRecord, report: Report
    ) -> None:
        self.config, self.study, self.record, self.report = plan.config, study, record, report

    def run(self, wait: Callable[..., None], cells: DenseBatch, learner: Learner) -> _Found:
        """All steps. While workers train, this process computes what needs no further score."""
        self.plan("search", cells)
        pool = draw_pool(self.config)
        rows = learner.predictor.features(pool)
        trained = self.train(wait, cells)
        best = self.choose(learner, pool, rows)
        self.plan("final", best.graphs)
        surfaces = _surfaces(self.config, pool, cells, learner)
        return _Found(trained, len(pool), best, self.finish(wait, best), surfaces)

    def plan(self, stage: str, cells: DenseBatch) -> None:
        """Gives workers the cells to train."""
        self.report(Progress(stage, 0, 0, len(cells), self.record.lines))
        self.study.plan(candidates_of(self.config, cells, stage))

    def train(self, wait: Callable[..., None], cells: DenseBatch) -> list[Evaluated]:
        """Algorithm 1: waits until all candidates are trained; DataError if too few could be."""
        found = self._evaluated(wait, "search", cells)
        successes = [one for one in found if one.result is not None]
        needed = min(LEAST_SUCCESSES, len(found))
        if len(successes) < needed:
            reason, count = Counter(one.error for one in found if one.error).most_common(1)[0]
            raise DataError(
                f"at least {needed} candidates must be trained, but {len(found) - len(successes)} "
                f"of {len(found)} failed, {count} of them so: {reason}"
            )
        return found

    def choose(self, learner: Learner, pool: DenseBatch, rows: Rows) -> Best:
        """Fits the predictor and lets it choose the best of the pool, of which it reads rows."""
        self.report(Progress("predict", 0, 0, 1, self.record.lines))
        predictor = learner.finish()
        for line in learner.curve():
            self.record.add("learned", line, line["seen"])
        return bootstrap(predictor, pool, top=self.config.top, rows=rows)

    def finish(self, wait: Callable[..., None], best: Best) -> list[Evaluated]:
        """Waits until the best predicted cells are trained longer; DataError if all fail."""
        finals = self._evaluated(wait, "final", best.graphs)
        for rank, (one, predicted) in enumerate(zip(finals, best.scores, strict=True)):
            self.record.add("final", _final_facts(rank, one, float(predicted)), rank)
        if all(one.result is None for one in finals):
            raise DataError(
                f"at least one of the {len(finals)} chosen cells must be trained, but all "
                f"failed, the first so: {finals[0].error}"
            )
        return finals

    def _evaluated(
        self, wait: Callable[..., None], stage: str, cells: DenseBatch
    ) -> list[Evaluated]:
        keys = [key_of(one) for one in candidates_of(self.config, cells, stage)]

        def look(progress: StudyProgress | None = None) -> dict[str, Evaluated]:
            results = {key_of(one.candidate): one for one in self.study.results()}
            self.record.take(results)
            own = [results[key] for key in keys if key in results]
            failed = sum(one.error is not None for one in own)
            done = sum(one.result is not None for one in own) + failed
            self.report(Progress(stage, done, failed, len(keys), self.record.lines))
            return results

        counts: list[tuple[int, int]] = []

        def watch(progress: StudyProgress) -> None:
            now = (progress.done, progress.failed)
            if counts[-1:] != [now]:  # reading all results is worth it only then
                counts.append(now)
                look()

        wait(watch)
        results = look()
        return [results[key] for key in keys]


def candidates_of(config: NasgemConfig, cells: DenseBatch, stage: str) -> list[dict[str, Any]]:
    """The candidates that workers get, in the order of ``cells``."""
    space = config.space()
    return [
        {"architecture": space.to_str(cell), "seed": config.seed, "stage": stage} for cell in cells
    ]


def data_facts(plan: SearchPlan, splits: ImageSplits) -> dict[str, Any]:
    """What a run records of its images."""
    return {
        "dataset": plan.images.dataset,
        "source": splits.source,
        "image_size": splits.image_size,
        "classes": splits.num_classes,
        "train": len(splits.y_train),
        "val": len(splits.y_val),
        "test": len(splits.y_test),
        "sha256": splits.sha256,
        "read": splits.line,
    }


def outcome(
    trained: Sequence[Evaluated], best: Best, finals: Sequence[Evaluated]
) -> dict[str, Any]:
    """What was found: the cell of the best final training, and beside it the paper's choice.

    Args:
        trained: Algorithm 1's candidates.
        best: What the predictor chose, best first.
        finals: The same, trained longer.
    """
    told = [
        _final_facts(rank, one, float(predicted))
        for rank, (one, predicted) in enumerate(zip(finals, best.scores, strict=True))
    ]
    chosen = max((one for one in told if "error" not in one), key=lambda one: one["score"])
    good = [one for one in trained if one.result is not None]
    first = max(good, key=lambda one: one.result["score"] if one.result else 0.0)
    reasons = Counter(one.error for one in [*trained, *finals] if one.error is not None)
    return {
        "architecture": chosen["architecture"],
        "valid": True,
        "metrics": {
            name: chosen[name] for name in ("score", "predicted_score", "val_acc", "test_acc")
        },
        "params": chosen["params"],
        "macs": chosen["macs"],
        "chosen": chosen,
        "argmax": told[0],
        "best_trained": {"architecture": first.candidate["architecture"], **_numbers(first)},
        "finals": told,
        "trained": len(good),
        "failed": len(trained) - len(good),
        "failures": dict(reasons),
    }


def _final_facts(rank: int, one: Evaluated, predicted: float) -> dict[str, Any]:
    facts = {"rank": rank, "architecture": one.candidate["architecture"]}
    return {**facts, "predicted_score": predicted, **_numbers(one)}


def _numbers(one: Evaluated) -> dict[str, Any]:
    """What does not differ between two trainings of one candidate."""
    if one.result is None:
        return {"error": one.error}
    return {name: value for name, value in one.result.items() if not name.endswith("_s")}


def _training_seconds(candidates: Sequence[Evaluated]) -> float:
    return float(sum(one.result["train_time_s"] for one in candidates if one.result is not None))


def _surfaces(
    config: NasgemConfig, pool: DenseBatch, cells: DenseBatch, learner: Learner
) -> dict[str, Surface]:
    """Figure 3: with and without embedding, both from the same trained cells."""
    seen, scores = cells[learner.rows], np.array(learner.scores)
    return {
        name: surface(predictor.fit(seen, scores), width, pool, seen, scores)
        for name, (predictor, width) in compared_predictors(config).items()
    }
