"""``gnas search``: find an architecture."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gnas.cli.checks import check_early
from gnas.cli.options import (
    LogOption,
    absolute,
    chosen_loggers,
    drop_none,
    field_options,
    parse_settings,
    wait_passively,
)
from gnas.cli.output import (
    GrowingTable,
    console,
    print_next,
    progress_bar,
    report_console,
    resume_hint,
    write_json,
)
from gnas.cli.report import PageOption, write_page
from gnas.cli.search_any import register
from gnas.cli.search_nasgem import nasgem
from gnas.command_line import shell_line
from gnas.data.images.names import SearchDataset as Dataset
from gnas.processes import MAX_PROCESSES
from gnas.runs import new_run_folder
from gnas.search.toponas.config import ToponasConfig
from gnas.search.toponas.plan import Selection
from gnas.spaces.names import own_space_option

if TYPE_CHECKING:
    from rich.console import Console

    from gnas.loggers import RunLogger
    from gnas.search.toponas.plan import ToponasPlan
    from gnas.search.toponas.run import ToponasResult
    from gnas.search.toponas.selection import Accuracies
    from gnas.training.recording import Progress

app = typer.Typer(help="Search architectures.", no_args_is_help=True)

SEARCH_PANEL = "How to search (tables 3 to 9 of the paper)"
PROTOCOL_PANEL = "The paper's protocol: several searches, one choice"


Baseline = Annotated[
    Literal[
        "darts", "darts-outputs", "milenas", "snas", "gdas", "drnas", "pc-darts", "beta-darts",
        "darts-es",
    ]
    | None,
    typer.Option(
        help="A published method without topology variables", rich_help_panel=SEARCH_PANEL
    ),
]  # fmt: skip
Select = Annotated[
    bool,
    typer.Option(
        "--select",
        help="Search --seeds times; retrain and keep the best",
        rich_help_panel=PROTOCOL_PANEL,
    ),
]
Recipe = Annotated[
    list[str] | None,
    typer.Option(
        "--retrain",
        metavar="NAME=VALUE",
        help="A field of the trainings: epochs=9",
        rich_help_panel=PROTOCOL_PANEL,
    ),
]


@app.callback()
def search() -> None:
    """Search architectures."""


register(app)
app.command()(nasgem)


@app.command()
@field_options(
    ToponasConfig,
    panel=SEARCH_PANEL,
    method="Losses of alpha and beta",
    topology="Sets to choose from",
    k="Edges a node, unless arbitrary",
    mode="Edges that nodes choose",
    num_nodes="Nodes of a cell, 4 to 14; the paper: 7 to 11",
    update="Batches of alpha and beta",
    order="1, or 2 for unrolled steps",
    regulariser="Weight against invalid cells",
    relaxation="Relaxation of alpha",
)
@field_options(
    Selection,
    panel=PROTOCOL_PANEL,
    seeds="Searches to choose from",
    repeats="Trainings of the best",
    random="Random cells beside it",
)
@field_options(ToponasConfig, seed="Seed of split, weights, order")
@field_options(ToponasConfig, defaults=False, epochs="Passes over the training part")
def toponas(
    *,
    dataset: Annotated[Dataset | None, typer.Option(help="Images to search on (digits)")] = None,
    space: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE.py:NAME", help="darts, nasbench201, or your own (darts)"),
    ] = None,
    preset: Annotated[
        Literal["cpu", "paper"] | None, typer.Option(help="Size of a nasbench201 search (cpu)")
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the images")] = None,
    images: Annotated[
        Path | None, typer.Option(help="Image list made by gnas data subset")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder (runs/...)")] = None,
    resume: Annotated[Path | None, typer.Option(help="Resume the run in this folder")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")] = "auto",
    threads: Annotated[
        int | None,
        typer.Option(
            min=1, max=MAX_PROCESSES, help="CPU threads (1 if networks are small, or torch's)"
        ),
    ] = None,
    json: Annotated[str | None, typer.Option(help="File for the result; - is stdout")] = None,
    log: LogOption = None,
    page: PageOption = False,
    baseline: Baseline = None,
    select: Select = False,
    recipe: Recipe = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other field of the config"),
    ] = None,
    **given: Any,
) -> None:
    """Learn operations and topology of a cell in a supernet (TopoNAS, Huang et al. 2020)."""
    if resume is not None and any(one is not None for one in (out, baseline, space, preset)):
        raise typer.BadParameter("--resume goes on in its own folder and as it began")
    check_early(
        json=json, out=out, resume=resume, data_dir=data_dir, images=images, device=device,
        command="search toponas --select" if select else "search toponas",
        space=None if space == "darts" else space,
    )  # fmt: skip
    loggers = chosen_loggers(log, resume)
    chosen = {k: given.pop(k) for k in [*given] if k in ("seeds", "repeats", "random")}
    named = given | drop_none(data_dir=absolute(data_dir), images=absolute(images))
    start = {"dataset": dataset, "space": space, "size": preset, "baseline": baseline}
    changes = named | parse_settings(setting or [], {**named, **start})
    if recipe:
        chosen["recipe"] = parse_settings(recipe, option="--retrain")
    if chosen and not select:
        option = next(iter(chosen)).replace("recipe", "retrain")
        raise typer.BadParameter(f"--{option} needs --select")
    plan, protocol = _planned(resume, drop_none(**start), changes, chosen if select else None)
    plan.images.check_folder()
    folder = resume or out or new_run_folder("toponas", plan.images.dataset)
    wait_passively()
    from gnas.search.toponas import init_distributed
    from gnas.search.toponas.run import run_search
    from gnas.training.devices import resolve_device, suited_threads, use_threads
    from gnas.viz import search_figures

    where, config = resolve_device(device), plan.config
    if threads is None and where == "cpu":
        threads = suited_threads(config.batch_size, config.channels, plan.images.size)
    use_threads(threads)
    if protocol is not None:
        _select(plan, protocol, folder, resume is not None, where, json, loggers)
        write_page(page, folder, report_console(json))
        return
    resume_hint(shell_line(["gnas", "search", "toponas", "--resume", folder]), folder)
    with (
        init_distributed(where) as (context, own_device),
        progress_reporter(context.is_main) as report,
    ):
        result = run_search(
            plan, device=own_device, context=context, out=folder, resume=resume is not None,
            report=report, figures=search_figures, loggers=loggers,
        )  # fmt: skip
    if context.is_main:
        print_search(result, folder, report_console(json))
        write_page(page, folder, report_console(json))
        own = own_space_option(plan.config.space)
        print_next(report_console(json), ["show", folder], ["retrain", folder, *own])
        if json is not None:
            write_json(json, result)


def _planned(
    resume: Path | None,
    own: Mapping[str, Any],
    changes: Mapping[str, Any],
    chosen: dict[str, Any] | None,
) -> tuple[ToponasPlan, Selection | None]:
    """The plan of a search or of the run that is resumed; with ``chosen``, the protocol too.

    Args:
        resume: The run's folder.
        own: Arguments of `plan_search`; a resumed run uses only ``dataset``.
        changes: Settings.
        chosen: Fields of the protocol of several searches, None without it.
    """
    from gnas.search.toponas.plan import (
        check_options,
        check_recipe,
        plan_search,
        resumed_plan,
        resumed_selection,
    )

    if resume is None:
        plan = plan_search(**own, **changes)
        check_options(plan, changes, own.get("baseline"))
        if chosen is None:
            return plan, None
        protocol = Selection(**chosen)
        check_recipe(plan, protocol)
        return plan, protocol
    asked = {**changes, **own}
    if chosen is None:
        return resumed_plan(resume, asked), None
    return resumed_selection(resume, asked, chosen)


def _select(
    plan: ToponasPlan,
    protocol: Selection,
    folder: Path,
    resume: bool,
    device: str,
    json: str | None,
    loggers: Sequence[RunLogger],
) -> None:
    """The protocol of several searches: runs it and prints what came out."""
    from gnas.metrics import p_text
    from gnas.search.toponas.selection import final_training, select

    target = console(stderr=True)
    again = shell_line(["gnas", "search", "toponas", "--select", "--resume", folder])
    resume_hint(again, folder)
    result = select(
        plan, protocol, out=folder, device=device, resume=resume, loggers=loggers,
        report=lambda line: target.print(line, markup=False, soft_wrap=True),
    )  # fmt: skip
    shown = report_console(json)
    shown.print(result.architecture, markup=False, soft_wrap=True)
    acc, others = result.test_acc, result.random
    line = f"chosen by validation: search {result.chosen_seed}; test accuracy {_share(acc)}"
    if others is not None:
        count = len(others.architectures)
        line += f"; {count} random cell{'s' * (count != 1)} {_share(others.test_acc)}"
        line += "" if result.p_random is None else f", p = {p_text(result.p_random)} (Welch)"
    line += "; ± is one deviation" if "±" in line else ""
    shown.print(line, soft_wrap=True)
    shown.print(f"run: {folder}", markup=False, soft_wrap=True)
    own = own_space_option(plan.config.space)
    print_next(shown, ["show", folder], ["evaluate", final_training(folder), *own])
    if json is not None:
        write_json(json, result)


def _share(facts: Accuracies) -> str:
    """Mean and deviation in percent."""
    spread = "" if facts.std is None else f" ± {100 * facts.std:.2f}"
    return f"{100 * facts.mean:.2f}{spread}% (n = {len(facts.values)})"


@contextmanager
def progress_reporter(wanted: bool) -> Iterator[Callable[[Progress], None]]:
    """A callback that shows a bar of steps, and a line of a table at the end of every epoch."""
    if not wanted:
        yield lambda progress: None
        return
    with progress_bar() as bar:
        task = bar.add_task("searching", total=None)
        table: GrowingTable | None = None

        def report(progress: Progress) -> None:
            nonlocal table
            bar.update(task, completed=progress.step, total=progress.total)
            if progress.metrics.get("step") == progress.step:  # an epoch ended
                cells = epoch_cells(progress.metrics)
                table = table or GrowingTable(bar, list(cells))
                table.add(*cells.values())

        yield report


def epoch_cells(metrics: Mapping[str, Any]) -> dict[str, str]:
    """Table cells of an epoch by column; entropies are means over cell types."""

    def mean(start: str) -> float:
        found: list[float] = [v for name, v in metrics.items() if name.startswith(start)]
        return sum(found) / len(found)

    cells = {
        "epoch": str(metrics["epoch"]),
        "train loss": f"{metrics['train_loss']:.3f}",
        "val loss": f"{metrics['val_loss']:.3f}",
        "train acc %": f"{100 * metrics['train_acc']:.1f}",
        "val acc %": f"{100 * metrics['val_acc']:.1f}",
        "ops entropy": f"{mean('alpha_entropy_'):.2f}",
    }
    if any(name.startswith("beta_entropy_") for name in metrics):
        cells["edges entropy"] = f"{mean('beta_entropy_'):.2f}"
        cells["invalid %"] = f"{100 * mean('invalid_mass_'):.1f}"
    cells["skips %"] = f"{100 * mean('skip_share_'):.0f}"
    if "eigenvalue" in metrics:
        cells["eigenvalue"] = f"{metrics['eigenvalue']:.3g}"
    cells["s"] = f"{metrics['seconds']:.0f}"
    return cells


def print_search(result: ToponasResult, folder: Path, target: Console) -> None:
    """The genotype and how it came about."""
    from gnas.report.formats import format_number
    from gnas.search.toponas.stopping import cell_text

    metrics, derived = result.metrics, result.derived
    notes = [f"{cell_text(cell)}: {how}" for cell, how in derived.items() if how != "argmax"]
    target.print(result.architecture, markup=False, soft_wrap=True)
    edges = " + ".join(str(metrics[f"edges_{cell}"]) for cell in derived)
    skips = " + ".join(f"{metrics[f'skip_share_{cell}']:.0%}" for cell in derived)
    target.print(
        f"edges {edges}, skip connections {skips}, supernet accuracy {metrics['val_acc']:.1%} "
        f"(validation), {result.seconds:.0f} s"
    )
    if notes:
        target.print(f"the most probable edges left a node without input; {', '.join(notes)}")
    if result.undecided:
        shares = result.undecided.items()
        told = " and ".join(f"of {name} is {share:.0%}" for name, share in shares)
        target.print(
            f"undecided: the entropy {told} of that of a uniform choice, so this cell is hardly "
            "better founded than a random one; search longer, or raise arch_lr",
            soft_wrap=True,
        )
    if result.stopped:
        target.print(f"stopped early: {result.stopped}", markup=False)

    def sizes(one: Any) -> str:
        params, macs = (format_number(n, "count", digits=3) for n in (one.params, one.macs))
        return f"{params} parameters, {macs} multiply-adds"

    size = result.data["image_size"]
    network = ", ".join(
        f"{name} {value}"
        for name, value in dataclasses.asdict(result.network).items()
        if name in ("num_cells", "cells_per_stage", "channels")
    )
    target.print(
        f"as gnas retrain and gnas export build it from this run: {network}, "
        f"{sizes(result)} at {size}x{size}",
        soft_wrap=True,
    )
    target.print(
        f"a random cell of the same space, in the same network: {sizes(result.random)}",
        soft_wrap=True,
    )
    target.print(f"run: {folder}", markup=False, soft_wrap=True)
