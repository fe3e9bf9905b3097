"""The one driver of all searches that ask and tell: any searcher, any evaluator, any workers."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from gnas.config import check_count, check_seed, dict_diff, split_settings
from gnas.data.files import check_utf8
from gnas.errors import ConfigError, DataError
from gnas.evaluate import EvaluationJob, Evaluator, FunctionEvaluator
from gnas.loggers import RunLogger, logging_run
from gnas.processes import check_can_send
from gnas.runs import (
    NOTICE,
    SavableFigure,
    open_run_config,
    run_folder_lock,
    to_jsonable,
    write_config,
    write_result,
)
from gnas.search.evaluation_log import EVENTS, EvaluationLog
from gnas.search.loop import InVainError, Report, SearchLoop
from gnas.search.objectives import Bound, Goal, Objective
from gnas.search.pareto import non_dominated
from gnas.search.queues import STUDY, evaluation_storage, local_queue, study_queue
from gnas.search.result import Evaluation, SearchResult
from gnas.search.samplers import SEARCHERS, Searcher
from gnas.search.settings import SETTINGS
from gnas.spaces import Space, space_record, space_text
from gnas.spaces.base import check_is_space
from gnas.spaces.registry import is_recorded_as
from gnas.studies.places import shown
from gnas.training.recording import METRICS

logger = logging.getLogger(__name__)

PARALLEL = 8
"""Choice: architectures that may be evaluated at once, unless evaluations take no time."""
Draw = Callable[[SearchResult], Mapping[str, SavableFigure]]
Tell = Callable[[SearchResult], SearchResult]


def run_search(
    space: Space,
    searcher: str | Searcher,
    evaluator: Evaluator | Callable[..., Any],
    *,
    budget: int,
    objectives: Sequence[str | Objective] | None = None,
    constraints: Sequence[str | Bound] = (),
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    repeats: int = 1,
    parallel: int | None = None,
    workers: int | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    storage: str | None = None,
    study: str | None = None,
    plan: Mapping[str, Any] | None = None,
    until: Callable[[Evaluation], bool] | None = None,
    report: Report = lambda progress: None,
    tell: Tell = lambda result: result,
    figures: Draw | None = None,
    loggers: Sequence[RunLogger] = (),
) -> SearchResult:
    """Let a searcher choose architectures of a space and an evaluator measure them.

    The searcher is asked for architecture k when as many results are known as it needs
    (`Searcher.needs`): k - ``parallel`` + 1, and its whole random start before the first that it
    chooses; always in the order of asking. So neither the number of workers nor the order in which
    they end nor an interruption at any moment changes the result.

    Args:
        space: The architectures; the evaluator may reach a part of it only.
        searcher: A key of `gnas.search.SEARCHERS`, made with ``seed``; or a searcher that has not
            been asked yet, over ``evaluator.reachable(space)``.
        evaluator: Measures an architecture; a plain function becomes a `FunctionEvaluator`.
        budget: Architectures that are evaluated.
        objectives: Names of measures, see `Objective.parse`; None takes ``val_acc`` where the
            evaluator has it, else ``score``.
        constraints: Bounds such as ``macs=50e6``, see `Bound.parse`.
        settings: Settings of the searcher, if it is created here.
        seed: Seed of the searcher, if it is created here, and of every evaluation.
        repeats: Evaluations of each architecture, with seeds ``seed``, ``seed`` + 1, ...; its
            measures are the means over them.
        parallel: Architectures that may be evaluated at once; workers beyond that have nothing to
            do. The result depends on it. None takes 1 for evaluations that take no time, else
            `PARALLEL`.
        workers: Processes that evaluate; 0 leaves all of it to ``gnas worker`` elsewhere. None
            evaluates in this process, and so is everything that takes no time.
        out: The run's folder; None keeps nothing.
        resume: Go on with the run in ``out``; its budget may be larger than it was.
        storage: Storage of the candidates: a file, or the URL of a database; None for a
            file in ``out``. Searches that measure alike may share a study: what one of them had
            evaluated, the others find there.
        study: The study's name there; None for the name of ``out``.
        plan: Kept in ``config.json``, to make searcher and evaluator again from.
        until: Ends the search early, when it is true of an evaluation; asked in the order of
            their numbers.
        report: Called after every evaluation.
        tell: Says more of the result, in a subclass of it, before it is written and drawn.
        figures: Draws the result.
        loggers: Trackers that show the run in ``out`` while it goes on, see `gnas.loggers`.

    Returns:
        What was found.

    Raises:
        ConfigError: impossible settings; ``out`` has a run that is not to be resumed, or another
            one; the searcher cannot pursue these objectives.
        DataError: every architecture failed, the first evaluation returns other measures, or a
            file cannot be read or written.

    Examples:
        >>> from gnas.spaces import NASBench201
        >>> def worth(graph, *, seed):
        ...     return float((graph.edge_op > 1).sum())  # 3x3 convolutions and poolings
        >>> found = run_search(NASBench201(), "evolution", worth, budget=50)
        >>> len(found.evaluations), found.metrics["score"] >= 5
        (50, True)
    """
    out = _folder(out)
    start = time.monotonic()
    _check(budget, repeats, parallel, workers, out, resume, storage)
    seed = check_seed(seed)
    _check_objects(space, searcher, settings)
    _check_functions(report=report, tell=tell, until=until, figures=figures)
    evaluator = evaluator if isinstance(evaluator, Evaluator) else FunctionEvaluator(evaluator)
    aims = default_objectives(evaluator) if objectives is None else objectives
    goal = Goal.of(aims, constraints)
    _check_measures(goal, evaluator)
    if workers is not None and not evaluator.instant:
        _check_workers(space, evaluator, workers, storage or out or "")
    evaluator.open(space)
    if isinstance(searcher, str):
        if searcher not in SEARCHERS:
            raise ConfigError(f"unknown searcher '{searcher}'; choose from {sorted(SEARCHERS)}")
        make, reachable = SEARCHERS[searcher], evaluator.reachable(space)
        _check_settings(searcher, settings or {})
        name, searcher = searcher, make(reachable, seed=seed, **(settings or {}))
    else:
        name = searcher.name or type(searcher).__name__
    if searcher.asked or searcher.told:
        raise ConfigError("a search needs a searcher of its own, but this one was asked before")
    searcher.aim(goal, evaluator.count, evaluator.counted)
    if parallel is None:
        parallel = 1 if evaluator.instant else PARALLEL
    about = space_record(space)
    facts = to_jsonable(
        {
            "seed": seed,
            "objectives": [*map(str, goal.objectives)],
            "bounds": [*map(str, goal.bounds)],
            "parallel": parallel,
            **({"repeats": repeats} if repeats > 1 else {}),
            "searcher": {"name": name, **searcher.metadata()},
            "space": {k: v for k, v in about.items() if k != "file"},
            "evaluator": evaluator.metadata(),
        }
    )
    study = study or (Path(os.path.realpath(out)).name if out is not None else None)
    config = {
        "command": f"search {name}",
        "budget": budget,
        **facts,
        "storage": None if storage is None else shown(storage),
        "study": study,
        "plan": plan,
    }
    job = EvaluationJob(space, evaluator, goal.names)
    where = evaluation_storage(evaluator, workers, storage, out)
    kept = None if where is None or where != storage else f"its study '{study}' in {shown(where)}"
    with run_folder_lock(out), _emptied_if_in_vain(out, kept), logging_run(out, loggers) as log:
        if out is not None:
            _check_folder(out, facts, budget, resume)
        data = evaluator.data_facts()
        if (line := job.read()) is not None:
            logger.log(NOTICE, "%s", line)
        ended = EvaluationLog(out and out / METRICS, log, start, events=data is not None)
        name = study or str(config["command"])
        place = local_queue(job) if where is None else study_queue(job, where, name, workers or 0)
        with place as queue, closing(ended):
            if out is not None:  # when the study is known to be this search's
                write_config(out, config, data=data)
            known = ended.begin(evaluator.stages, resume=resume)
            search = SearchLoop(
                searcher, queue, evaluator.stages, budget, parallel,
                range(seed, seed + repeats), report, until, known, ended,
                evaluator.cost if where is not None else None,
            )  # fmt: skip
            search.run()
            result = tell(_result(search, goal, config, about, data, ended.seconds()))
        if out is not None:
            write_result(out, result, figures(result) if figures is not None else None)
    return result


def default_objectives(evaluator: Evaluator) -> tuple[str, ...]:
    """``val_acc`` where the evaluator has it, else ``score``."""
    return ("val_acc",) if "val_acc" in evaluator.measures else ("score",)


def _check(
    budget: int,
    repeats: int,
    parallel: int | None,
    workers: int | None,
    out: Path | None,
    resume: bool,
    storage: str | None,
) -> None:
    for name, value, least in (
        ("budget", budget, 1), ("repeats", repeats, 1), ("parallel", parallel, 1),
        ("workers", workers, 0),
    ):  # fmt: skip
        if value is not None or name in ("budget", "repeats"):
            check_count(value, name, least)
    if out is None and (resume or (workers is not None and storage is None)):
        raise ConfigError("workers, and a search that goes on, need a folder; give `out`")


def _folder(out: object) -> Path | None:
    if out is None:
        return None
    if not isinstance(out, str | Path) or "\0" in str(out):
        raise ConfigError(f"out must be the name of a folder, but is {out!r:.80}")
    return Path(out).absolute()  # an evaluation may go to another folder


def _check_objects(space: Space, searcher: object, settings: object) -> None:
    check_is_space(space)
    if not isinstance(searcher, str | Searcher):
        raise ConfigError(
            f"the searcher must be one of {sorted(SEARCHERS)} or a Searcher, but got "
            f"{searcher!r:.80}"
        )
    if isinstance(searcher, Searcher):
        _check_searcher(searcher, space)
    if settings is not None and not isinstance(settings, Mapping):
        raise ConfigError(f"settings must be values by name, but got {settings!r:.80}")


def _check_functions(**functions: object) -> None:
    for name, function in functions.items():
        if not callable(function) and (function, name) not in ((None, "until"), (None, "figures")):
            raise ConfigError(f"{name} must be a function, but is {function!r:.80}")


def _check_searcher(searcher: Searcher, space: Space) -> None:
    if not hasattr(searcher, "told"):
        raise ConfigError(
            f"`__init__` of {type(searcher).__name__} must call that of Searcher, but does not; "
            "add `super().__init__(space, seed=seed)`"
        )
    wanted, own = space_record(space), space_record(searcher.space)
    if not is_recorded_as(searcher.space, wanted):
        raise ConfigError(
            f"the searcher must be one of this search's space {space_text(wanted)}, but is one of "
            f"{space_text(own)}"
        )


def _check_settings(searcher: str, settings: Mapping[str, Any]) -> None:
    """Check settings against the searcher's declaration; a predictor is an object, not one."""
    own = SETTINGS[searcher]
    plain_ones = {k: v for k, v in settings.items() if (searcher, k) != ("predictor", "predictor")}
    own(**split_settings(plain_ones, own)[0])


def _check_measures(goal: Goal, evaluator: Evaluator) -> None:
    missing = [name for name in goal.names if name not in evaluator.measures]
    if evaluator.measures and missing:
        raise ConfigError(
            f"unknown measure '{missing[0]}'; this evaluation gives "
            f"{', '.join(evaluator.measures)}"
        )
    if any(name.startswith("test_") for name in goal.names):
        raise ConfigError(
            f"a search must not see test images, but was given {[*goal.names]}; take val_acc"
        )


def _check_workers(space: Space, evaluator: Evaluator, workers: int, study: str | Path) -> None:
    """Check what workers need before anything is written; ConfigError says what is amiss."""
    check_utf8(study, "the file or folder of a study")
    if workers:
        check_can_send((space, evaluator), "the evaluation and its space")


def _check_folder(out: Path, facts: Mapping[str, Any], budget: int, resume: bool) -> None:
    """Check that the run in ``out``, if there is one, is this one."""
    if not resume:
        if (out / "config.json").exists():
            raise ConfigError(
                f"a new run needs a folder of its own, but {out} has one; "
                f"go on with --resume {out}, or choose another"
            )
        return
    with open_run_config(out) as record:
        changed = dict_diff({name: record.get(name) for name in facts}, facts)
        before = int(record["budget"])
    if changed:
        name, (was, now) = next(iter(changed.items()))
        raise ConfigError(
            f"a resumed search must be the one that {out} holds, but its {name} was {was} and "
            f"is now {now}"
        )
    if budget < before:
        raise ConfigError(
            f"the budget of a resumed search must be at least the {before} of before, "
            f"but got {budget}"
        )


@contextmanager
def _emptied_if_in_vain(out: Path | None, kept: str | None) -> Iterator[None]:
    """Remove what a search wrote that measured nothing, so that its folder is free for another.

    Args:
        out: Folder of the run.
        kept: What is not removed, for the message: a study elsewhere, which others may use.
    """
    try:
        yield
    except InVainError as error:
        if out is None:
            raise
        for path in (
            *out.glob(f"{STUDY}*"),
            *out.glob(EVENTS),
            out / METRICS,
            out / "config.json",
        ):
            path.unlink(missing_ok=True)
        raise DataError(
            f"{error}; nothing is kept in {out}, so that a search that is mended can begin there"
            + ("" if kept is None else f"; {kept} stays: give the mended one another (--study)")
        ) from None


def _result(
    search: SearchLoop,
    goal: Goal,
    config: Mapping[str, Any],
    about: Mapping[str, Any],
    data: Mapping[str, Any] | None,
    seconds: float,
) -> SearchResult:
    ended = tuple(search.ended)
    best = search.best
    if best is None or best.measures is None:
        raise search.in_vain()
    good = [one for one in ended if one.measures is not None]
    last = [one for one in good if one.stage == best.stage]
    rows = non_dominated(
        np.array([goal.values(one.measures or {}) for one in last]),
        np.array([goal.violation(one.measures or {}) for one in last]),
    )
    return SearchResult(
        command=str(config["command"]),
        config=config,
        space=about,
        data=data,
        objectives=tuple(map(str, goal.objectives)),
        bounds=tuple(map(str, goal.bounds)),
        architecture=best.architecture,
        metrics=best.measures,
        params=best.measures.get("num_params"),
        macs=best.measures.get("macs"),
        best=best.number,
        feasible=goal.violation(best.measures) == 0,
        front=tuple(last[row].number for row in rows),
        evaluations=ended,
        evaluated=len(good),
        failed=len(ended) - len(good),
        stopped=search.stopped,
        seconds=seconds,
    )
