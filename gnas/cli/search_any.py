"""``gnas search random|evolution|local|predictor|bayes``: any searcher, space and evaluator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gnas.cli.checks import check_early
from gnas.cli.options import (
    LogOption,
    absolute,
    chosen_loggers,
    drop_none,
    field_options,
    parse_settings,
)
from gnas.cli.output import (
    print_next,
    report_console,
    resume_hint,
    write_json,
)
from gnas.cli.report import PageOption, write_page
from gnas.cli.searching import (
    check_workers,
    measure_texts,
    next_commands,
    preload_workers,
    progress_reporter,
    resume_command,
    storage_location,
    workers_hint,
)
from gnas.processes import MAX_PROCESSES
from gnas.runs import new_run_folder
from gnas.search.plan import SearchPlan, plan_search, resumed_plan

if TYPE_CHECKING:
    from rich.console import Console

    from gnas.loggers import RunLogger
    from gnas.search.result import SearchResult

HELP = {
    "random": "Evaluate random architectures (the baseline of every search).",
    "evolution": "Mutate the best of a population (regularized evolution, Real et al. 2019).",
    "local": "Climb from neighbour to better neighbour (local search, White et al. 2021).",
    "predictor": "Evaluate what a predictor, refitted as results arrive, ranks highest.",
    "bayes": "Bayesian optimisation by a Gaussian process with the WL kernel (Ru et al. 2021).",
}
EVALUATION = "Evaluation: one of the first three"
AIM = "What to search for"
STORAGE_PANEL = "Where candidates are kept"


def register(app: typer.Typer) -> None:
    """Add one command a searcher."""
    for name, text in HELP.items():
        app.command(name, help=text)(_command(name))


def _command(searcher: str) -> Callable[..., None]:
    @field_options(
        SearchPlan,
        budget="Architectures to evaluate",
        seed="Seed of searcher, split and evaluations",
    )
    def search(
        *,
        space: Annotated[
            str | None, typer.Option(help="A space of gnas, or FILE.py:NAME", show_default=False)
        ] = None,
        dataset: Annotated[
            str | None,
            typer.Option(
                help="Train briefly on digits, cifar10 or a folder; with --table: its images",
                rich_help_panel=EVALUATION,
            ),
        ] = None,
        table: Annotated[
            list[str] | None,
            typer.Option(
                help="Look up in a table, or in several of the same architectures",
                rich_help_panel=EVALUATION,
            ),
        ] = None,
        evaluate: Annotated[
            str | None,
            typer.Option(
                metavar="FILE.py:FUNCTION",
                help="Call function(graph, *, seed) of a file, which is run",
                rich_help_panel=EVALUATION,
            ),
        ] = None,
        data_dir: Annotated[
            Path | None,
            typer.Option(help="Folder of images or tables", rich_help_panel=EVALUATION),
        ] = None,
        objective: Annotated[
            list[str] | None,
            typer.Option(
                metavar="NAME[:min|:max]",
                help="Measure to improve; several give a Pareto front (val_acc, or score)",
                rich_help_panel=AIM,
            ),
        ] = None,
        at_most: Annotated[
            list[str] | None,
            typer.Option(metavar="NAME=NUMBER", help="Bound of a measure", rich_help_panel=AIM),
        ] = None,
        workers: Annotated[
            int, typer.Option(min=0, max=MAX_PROCESSES, help="Processes that evaluate here")
        ] = 1,
        out: Annotated[Path | None, typer.Option(help="The run's folder (runs/...)")] = None,
        resume: Annotated[Path | None, typer.Option(help="Resume the run in this folder")] = None,
        json: Annotated[str | None, typer.Option(help="File for the result; - is stdout")] = None,
        log: LogOption = None,
        page: PageOption = False,
        storage: Annotated[
            str | None,
            typer.Option(help="A file or postgresql+psycopg://...", rich_help_panel=STORAGE_PANEL),
        ] = None,
        study: Annotated[
            str | None,
            typer.Option(help="The study's name (the folder's)", rich_help_panel=STORAGE_PANEL),
        ] = None,
        setting: Annotated[
            list[str] | None,
            typer.Option("--set", metavar="NAME=VALUE", help="Setting of searcher or training"),
        ] = None,
        **given: Any,
    ) -> None:
        if resume is not None and (out is not None or study is not None):
            raise typer.BadParameter("--resume goes on in its own folder and study")
        if resume is None and space is None:
            raise typer.BadParameter("--space must be given: a space of gnas, or FILE.py:NAME")
        check_early(
            json=json, out=out, resume=resume, data_dir=data_dir, command=f"search {searcher}"
        )
        loggers = chosen_loggers(log, resume)
        named = given | drop_none(
            space=space, dataset=dataset, table=tuple(table or ()) or None, evaluate=evaluate,
            data_dir=absolute(data_dir),
            objectives=tuple(objective or ()) or None,
            at_most=tuple(at_most or ()) or None,
        )  # fmt: skip
        options = named | parse_settings(setting or [], named)
        if resume is not None:
            plan, folder = (
                resumed_plan(resume, searcher, options, storage=storage_location(storage)),
                resume,
            )
        else:
            assert space is not None
            plan = plan_search(searcher, **options, storage=storage_location(storage), study=study)
            folder = out or new_run_folder(searcher, Path(space).stem)
        _run(plan, folder, workers, resume is not None, json, loggers, page)

    return search


def _run(
    plan: SearchPlan,
    folder: Path,
    workers: int,
    resumed: bool,
    json: str | None,
    loggers: Sequence[RunLogger],
    page: bool,
) -> None:
    """Search by a plan, and print what came out."""
    check_workers(workers, plan.table)
    plan.warn_of_chance()
    if workers > 0 and not plan.table:
        preload_workers()
    from gnas.search.planned import run_plan
    from gnas.viz import search_result_figures

    again = resume_command(plan.searcher, folder, workers, plan.storage)
    resume_hint(again, folder)
    workers_hint(
        workers, folder, storage=plan.storage, study=plan.study, space=plan.space,
        evaluate=plan.evaluate,
    )  # fmt: skip
    with progress_reporter() as report:
        result = run_plan(
            plan, out=folder, workers=workers, resume=resumed, report=report,
            figures=search_result_figures, loggers=loggers,
        )  # fmt: skip
    print_result(result, folder, report_console(json))
    write_page(page, folder, report_console(json), plan.space)
    print_next(
        report_console(json),
        *next_commands(folder, plan.space, evaluate=plan.evaluate, table=plan.table),
    )
    if json is not None:
        write_json(json, result)


def print_result(result: SearchResult, folder: Path, target: Console) -> None:
    """The best architecture, and the front where there are several objectives."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    target.print(result.architecture, markup=False, soft_wrap=True)
    goals = ", ".join(result.objectives)
    bounds = f"; at most {', '.join(result.bounds)}" if result.bounds else ""
    target.print(
        f"{result.evaluated} evaluated in space {result.space['name']}: {goals}{bounds}",
        markup=False,
    )
    table = Table(box=SIMPLE_HEAD, padding=0, pad_edge=False)
    names = [objective.name for objective in result.goal.objectives]
    names += [name for name in result.metrics if name not in names]
    table.add_column("member" if len(result.objectives) > 1 else "evaluation")
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for k, number in enumerate(result.front):
        measures = result.evaluations[number].measures or {}
        place = str(k if len(result.objectives) > 1 else number)
        table.add_row(place, *measure_texts(measures, names))
    target.print(table)
    network = result.config["evaluator"].get("network")
    if network:
        size = ", ".join(f"{name} {value}" for name, value in network.items())
        target.print(
            f"as trained here, and as gnas retrain and gnas export build it from this run: {size}",
            soft_wrap=True,
        )
    if not result.feasible:
        target.print("no architecture keeps all bounds; this one breaks them least")
    if result.failed:
        some = f"{result.failed} architecture{'s' * (result.failed != 1)}"
        target.print(f"{some} failed; metrics.jsonl says why")
    if result.stopped:
        target.print(f"stopped early: {result.stopped}", markup=False)
    target.print(f"{result.seconds:.0f} s; run: {folder}", markup=False, soft_wrap=True)
