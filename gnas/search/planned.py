"""Searches that a plan names, carried out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from gnas.config import unknown_name
from gnas.data.tables import BenchmarkTable, load_table
from gnas.errors import ConfigError
from gnas.evaluate import (
    Evaluator,
    FunctionEvaluator,
    TableEvaluator,
    TrainingEvaluator,
)
from gnas.evaluate.table import ALWAYS
from gnas.evaluate.training import LATENCY
from gnas.loggers import RunLogger
from gnas.runs import to_jsonable
from gnas.search.loop import Report
from gnas.search.objectives import Goal
from gnas.search.plan import SearchPlan
from gnas.search.result import SearchResult
from gnas.search.run import Draw, run_search
from gnas.spaces import Space, load_space
from gnas.studies.places import shown


def run_plan(
    plan: SearchPlan,
    *,
    out: Path,
    workers: int = 1,
    resume: bool = False,
    report: Report = lambda progress: None,
    figures: Draw | None = None,
    loggers: Sequence[RunLogger] = (),
) -> SearchResult:
    """Search by ``plan`` in a run folder; see `gnas.search.run_search`.

    Args:
        plan: Plan of the search.
        out: The run's folder.
        workers: Processes of this machine that evaluate; 0 leaves all to ``gnas worker``.
        resume: Go on with the run in ``out``.
        report: Called after every evaluation.
        figures: Draws the result.
        loggers: Trackers that show the run, see `gnas.loggers`.

    Raises:
        GnasError: see `gnas.search.run_search`.
    """
    space = load_space(plan.space)
    evaluator = open_evaluator(plan, space)
    return run_search(
        space,
        plan.searcher,
        evaluator,
        budget=plan.budget,
        objectives=plan.objectives or None,
        constraints=plan.at_most,
        settings=plan.settings,
        seed=plan.seed,
        parallel=plan.parallel,
        workers=workers,
        out=out,
        resume=resume,
        storage=plan.storage,
        study=plan.study,
        plan=to_jsonable(
            {**vars(plan), "storage": None if plan.storage is None else shown(plan.storage)}
        ),
        report=report,
        figures=figures,
        loggers=loggers,
    )


def open_evaluator(plan: SearchPlan, space: Space, *, made: Collection[str] = ()) -> Evaluator:
    """The plan's evaluator.

    Args:
        plan: Plan of the search.
        space: Space of the architectures.
        made: Measures that the caller derives from others if the table lacks them.

    Raises:
        GnasError: a file is missing or damaged, or settings are impossible.
    """
    if plan.evaluate is not None:
        return FunctionEvaluator(plan.evaluate)
    goal = Goal.of(plan.objectives or ("val_acc",), plan.at_most)
    if plan.table:
        return _open_tables(plan, space, goal, made)
    return TrainingEvaluator(
        plan.images(),
        plan.recipe(),
        network=dict(plan.training.get("network", {})) or None,
        latency=LATENCY in goal.names,
    )


def _open_tables(
    plan: SearchPlan, space: Space, goal: Goal, made: Collection[str]
) -> TableEvaluator:
    tables = [load_table(path, data_dir=plan.data_dir) for path in plan.table]
    for table in tables:
        table.provenance.opened_space(space)
    found = [{column.quantity for column in table.columns} for table in tables]
    for name in goal.names:
        if name not in made and not any(name in has for has in found):
            names = ", ".join(table.provenance.name for table in tables)
            raise ConfigError(f"{names}: {unknown_name('measure', name, set().union(*found))}")
    evaluator: TableEvaluator | None = None
    left = list(goal.names)
    for table, has in zip(tables, found, strict=True):
        own = [name for name in left if name in has]
        left = [name for name in left if name not in own]
        known = evaluator.measures if evaluator is not None else ()
        if not own and has & {*ALWAYS} <= {*known}:
            raise ConfigError(
                f"every --table must add a measure, but {table.provenance.name} adds none: of "
                f"{', '.join(sorted(has)) or 'nothing'} no new one is an objective or a bound; "
                "name one by --objective, or leave the table out"
            )
        dataset = plan.dataset or _images_of(space, table)
        new = TableEvaluator.from_table(space, table, own, dataset=dataset)
        evaluator = new if evaluator is None else evaluator.join(new)
    assert evaluator is not None
    return evaluator


def _images_of(space: Space, table: BenchmarkTable) -> str | None:
    """The first images of `Space.table_images` that a table has, if it has several."""
    datasets = {column.dataset for column in table.columns if column.quantity == "val_acc"}
    if len(datasets) < 2:
        return None
    return next((name for name, (val, _) in space.table_images.items() if val in datasets), None)
