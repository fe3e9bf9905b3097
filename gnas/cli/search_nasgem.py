"""``gnas search nasgem``: train random cells, predict the score of many, choose."""

from __future__ import annotations

import math
from collections.abc import Mapping
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
from gnas.cli.output import print_next, report_console, resume_hint, write_json
from gnas.cli.report import PageOption, write_page
from gnas.cli.searching import (
    check_workers,
    next_commands,
    preload_workers,
    progress_reporter,
    resume_command,
    storage_location,
    workers_hint,
)
from gnas.printable import amount
from gnas.processes import MAX_PROCESSES
from gnas.runs import new_run_folder
from gnas.search.nasgem.config import NasgemConfig

if TYPE_CHECKING:
    from rich.console import Console

    from gnas.search.nasgem import NasgemResult
    from gnas.search.nasgem.plan import NasgemPlan

SEARCH_PANEL = "How to search"
STORAGE_PANEL = "Where candidates are kept"

NoEmbedding = Annotated[
    bool,
    typer.Option(
        "--no-embedding", help="Perceptron on raw adjacency", rich_help_panel=SEARCH_PANEL
    ),
]
Storage = Annotated[
    str | None,
    typer.Option(
        help="A file (SQLite) or postgresql+psycopg://...", rich_help_panel=STORAGE_PANEL
    ),
]
Study = Annotated[
    str | None,
    typer.Option(help="Its name there (the folder's name)", rich_help_panel=STORAGE_PANEL),
]


def _refuse_budget(budget: int | None) -> None:
    """Say what NASGEM has instead of the budget of other searches."""
    if budget is not None:
        raise typer.BadParameter(
            "other searchers have one; this one trains --iterations random cells "
            "and then the best predicted ones, as many as --set top=... says"
        )


NoBudget = Annotated[int | None, typer.Option(hidden=True, callback=_refuse_budget)]


@field_options(
    NasgemConfig,
    panel=SEARCH_PANEL,
    encoder="Encoder of the perceptron and of the surface's figure: shipped, or a file",
    predictor="The paper's perceptron (mlp), or gnas' own without embedding",
    prior="Random graphs that cells are drawn from",
    iterations="Cells to train for the predictor",
    lambda_="Weight of ln(MACs) in the score",
)
@field_options(NasgemConfig, seed="Seed of cells, weights, split, pool")
def nasgem(
    *,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Images: digits, cifar10 or a folder (digits); with --table: its images",
            show_default=False,
        ),
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the images")] = None,
    space: Annotated[
        str | None, typer.Option(help="Cells of another space, or FILE.py:NAME (nasgem)")
    ] = None,
    table: Annotated[
        list[str] | None, typer.Option(help="Look up in a table instead of training")
    ] = None,
    evaluate: Annotated[
        str | None,
        typer.Option(metavar="FILE.py:FUNCTION", help="Call a function instead of training"),
    ] = None,
    objective: Annotated[
        str | None, typer.Option(help="Measure to maximise (the efficiency score)")
    ] = None,
    workers: Annotated[
        int, typer.Option(min=0, max=MAX_PROCESSES, help="Processes that train here, a core each")
    ] = 1,
    out: Annotated[Path | None, typer.Option(help="The run's folder (runs/...)")] = None,
    resume: Annotated[Path | None, typer.Option(help="Resume the run in this folder")] = None,
    json: Annotated[str | None, typer.Option(help="File for the result; - is stdout")] = None,
    log: LogOption = None,
    page: PageOption = False,
    no_embedding: NoEmbedding = False,
    budget: NoBudget = None,
    storage: Storage = None,
    study: Study = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other field of the config"),
    ] = None,
    **given: Any,
) -> None:
    """Search cells by a predictor of their efficiency score (NASGEM, Cheng et al. 2021)."""
    from gnas.search.nasgem.plan import check_options, plan_nasgem, resumed_plan

    if no_embedding and "encoder" in given:
        raise typer.BadParameter("--no-embedding reads no encoder; leave one of them out")
    if no_embedding or "encoder" in given:
        given["encoder"] = "none" if no_embedding else encoder_name(given["encoder"])
    if resume is not None and (out is not None or study is not None):
        raise typer.BadParameter("--resume goes on in its own folder and study")
    check_early(
        json=json, out=out, resume=resume, data_dir=data_dir, tables=table or (), space=space,
        evaluate=evaluate, table_space=(space or "nasgem") if resume is None else None,
        command="search nasgem",
    )  # fmt: skip
    loggers = chosen_loggers(log, resume)
    named = given | drop_none(
        data_dir=absolute(data_dir), space=space, table=tuple(table or ()) or None,
        evaluate=evaluate, objective=objective, dataset=dataset,
    )  # fmt: skip
    changes = named | parse_settings(setting or [], named)
    if resume is not None:
        plan, folder = resumed_plan(resume, changes, storage=storage_location(storage)), resume
    else:
        plan = plan_nasgem(storage=storage_location(storage), study=study, **changes)
        check_options(plan, changes)
        folder = out or new_run_folder("nasgem", Path(dataset or space or "digits").stem)
    check_workers(workers, plan.table)
    plan.images.check_folder()
    if workers > 0 and not plan.table:
        preload_workers()
    from gnas.search.nasgem import run_nasgem
    from gnas.viz.nasgem import result_figures, surface_figure

    again = resume_command("nasgem", folder, workers, plan.storage)
    resume_hint(again, folder)
    workers_hint(
        workers, folder, storage=plan.storage, study=plan.study, space=plan.space,
        evaluate=plan.evaluate,
    )  # fmt: skip
    with progress_reporter({plan.config.iterations: _finals(plan)}) as report:
        result = run_nasgem(
            plan, out=folder, workers=workers, resume=resume is not None, report=report,
            figures=result_figures, surface_figure=surface_figure, loggers=loggers,
        )  # fmt: skip
    print_search(result, folder, report_console(json))
    write_page(page, folder, report_console(json), plan.space)
    print_next(
        report_console(json),
        *next_commands(folder, plan.space, evaluate=plan.evaluate, table=plan.table),
    )
    if json is not None:
        write_json(json, result)


def encoder_name(encoder: str) -> str:
    """A shipped encoder's name, or the path of a file from the root."""
    if not encoder.endswith(".safetensors"):
        return encoder
    return str(Path(encoder).absolute())


def _finals(plan: NasgemPlan) -> str:
    """Heading of the evaluations of the best predicted cells."""
    config, cells = plan.config, amount(plan.config.top, "best predicted cell")
    if plan.table or plan.evaluate is not None or config.final_epochs == config.epochs:
        return cells
    return f"{cells}, epochs of training: {config.final_epochs} instead of {config.epochs}"


def print_search(result: NasgemResult, folder: Path, target: Console) -> None:
    """The cell and how it came about."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    target.print(result.architecture, markup=False, soft_wrap=True)
    how = "evaluated" if result.data is None else "trained"
    finals = sum(one.score is not None for one in result.finals)
    title = (
        f"{amount(result.trained, 'random cell')} and {finals} best predicted {how}, "
        f"{result.pool:,} scored"
    )
    if result.network is not None and result.data is not None:
        size = result.network
        title += (
            f"; params and MACs as trained here: {amount(size['num_stages'], 'stage')} of "
            f"{amount(size['cells_per_stage'], 'cell')}, {amount(size['channels'], 'channel')}"
        )
        title += f", {result.data['image_size']} pixels"
    target.print(title, soft_wrap=True)
    table = Table(box=SIMPLE_HEAD, padding=0, pad_edge=False)
    names = ("cell", "predicted", "score", "val acc %", "test acc %", "params", "MACs M")
    lines = [
        (
            name,
            _number(row.predicted_score, ".3f"),
            "failed" if row.score is None else _number(row.score, ".3f"),
            _number(row.val_acc, ".1f", 100),
            _number(row.test_acc, ".1f", 100),
            _number(row.params, ",.0f"),
            _number(row.macs, ".2f", 1e-6),
        )
        for name, row in {
            "chosen by its training" if result.data else "chosen": result.chosen,
            "best predicted (argmax)": result.argmax,
            "best trained (shorter)" if result.data else "best random": result.best_trained,
        }.items()
    ]
    columns = zip(names, *lines, strict=True)
    known = [column for column in columns if any(text != "-" for text in column[1:])]
    for name, *_ in known:
        table.add_column(name, justify="left" if name == "cell" else "right", no_wrap=True)
    for line in list(zip(*known, strict=True))[1:]:
        table.add_row(*line)
    target.print(table)
    if result.failed:
        some = f"{result.failed} candidate{'s' * (result.failed != 1)}"
        target.print(f"{some} failed; metrics.jsonl says why")
    for name, numbers in result.surface.items():
        target.print(
            f"{name}, how well the mean of a cell's neighbours tells its score (R2, at most 1): "
            f"{local_r2_line(numbers)}",
            soft_wrap=True,
        )
    target.print(f"{result.seconds:.0f} s; run: {folder}", markup=False, soft_wrap=True)


def local_r2_line(numbers: Mapping[str, float]) -> str:
    """How well neighbours tell scores, in words.

    Args:
        numbers: `Surface.numbers`, NaN where undefined.
    """
    told, is_defined = [], True
    for kind, what in (("predicted", "predicted scores"), ("trained", "evaluated ones")):
        plane, full = (numbers[f"{kind}_r2_{part}"] for part in ("plane", "full"))
        if math.isfinite(plane + full):
            told.append(
                f"{what} {plane:.2f} in the plane of the figure and {full:.2f} in all coordinates"
            )
        else:
            told.append(f"{what} undefined")
            is_defined = False
    hint = "" if is_defined else ": it takes 3 scores that are not all equal"
    return f"{', '.join(told)}{hint}"


def _number(value: float | None, form: str, times: float = 1.0) -> str:
    return "-" if value is None else f"{value * times:{form}}"
