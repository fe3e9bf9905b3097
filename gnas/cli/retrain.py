"""``gnas retrain``: train a found architecture from new weights."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gnas.cli.architectures import Notation, SpaceOption, read_architecture, run_folder
from gnas.cli.checks import check_architecture, check_early
from gnas.cli.options import (
    LogOption,
    absolute,
    chosen_loggers,
    drop_none,
    field_options,
    parse_settings,
    split_list,
    wait_passively,
)
from gnas.cli.output import (
    GrowingTable,
    print_next,
    progress_bar,
    report_console,
    resume_hint,
    write_json,
)
from gnas.cli.report import name_old_page
from gnas.command_line import shell_line
from gnas.data.images.names import TrainDataset as Dataset
from gnas.processes import MAX_PROCESSES
from gnas.retrain.config import RetrainConfig
from gnas.runs import NOTICE, new_run_folder
from gnas.spaces.names import is_own_space, own_space_option

if TYPE_CHECKING:
    from rich.console import Console

    from gnas.cli.architectures import ArchitectureArgument
    from gnas.retrain.plan import RetrainPlan
    from gnas.training.recording import Progress


@field_options(
    RetrainConfig,
    defaults=False,  # which depend on the images
    epochs="Passes over the training images",
    channels="Channels of the first cells",
)
@field_options(RetrainConfig, seed="Seed of weights, order, augmentation")
def retrain(
    *,
    genotype: Annotated[
        str | None,
        typer.Argument(
            metavar="GENOTYPE",
            help="A search's folder, a file, or a text: Genotype(normal=...), or of other spaces",
        ),
    ] = None,
    space: SpaceOption = None,
    dataset: Annotated[
        Dataset | None, typer.Option(help="Dataset (of the search, or digits)")
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the images")] = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder (runs/...)")] = None,
    resume: Annotated[Path | None, typer.Option(help="Resume the run in this folder")] = None,
    layers: Annotated[
        str | None, typer.Option(help="Cells of the network, or several: 8,10,12")
    ] = None,
    params: Annotated[
        float | None,
        typer.Option(help="Parameters of the network, as 3.3e6, in place of --channels"),
    ] = None,
    repeats: Annotated[
        int | None, typer.Option(help="Trainings of each size, with seeds from --seed on (1)")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")] = "auto",
    threads: Annotated[
        int | None,
        typer.Option(
            min=1, max=MAX_PROCESSES, help="CPU threads (1 if networks are small, or torch's)"
        ),
    ] = None,
    json: Annotated[str | None, typer.Option(help="File for the result; - is stdout")] = None,
    log: LogOption = None,
    member: Annotated[
        int | None, typer.Option(help="Member of the Pareto front, from 0 (its best)")
    ] = None,
    epoch: Annotated[
        int | None, typer.Option(help="Epoch of a supernet search, from 1 (the last)")
    ] = None,
    notation: Notation = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other field of the recipe"),
    ] = None,
    **given: Any,
) -> None:
    """Train a found architecture by the paper's recipe, and test it.

    With several --layers or --repeats: one table, with means and standard deviations.
    """
    wait_passively()
    from gnas.retrain.trainings import resumed_trainings

    if resume is not None and out is not None:
        raise typer.BadParameter("--resume goes on in its own folder")
    about = drop_none(member=member, epoch=epoch, space=space, notation=notation)
    _check_options(genotype, resume, about)
    wanted = _num_params(params, given.get("channels"), resume)
    check_early(
        json=json, out=out, resume=resume, data_dir=data_dir, device=device, command="retrain",
        inputs=[genotype],
    )  # fmt: skip
    loggers = chosen_loggers(log, resume)
    if genotype is not None:
        check_architecture(genotype, space, notation)
    named = given | drop_none(
        data_dir=absolute(data_dir), repeats=repeats, num_params=wanted,
        layers=None if layers is None else split_list(layers, int, "--layers"),
    )  # fmt: skip
    changes = named | parse_settings(setting or [], {**named, "dataset": dataset})
    if resume is not None:
        changes |= drop_none(dataset=dataset)
        resumed_trainings(resume, changes).images.check_folder()
    else:
        assert genotype is not None
        dataset, changes = _new_training(genotype, space, dataset, changes, wanted)
    from gnas.retrain.plan import threads_for
    from gnas.retrain.run import run_retrain
    from gnas.training.devices import resolve_device, use_threads
    from gnas.training.distributed import init_distributed

    where, found = resolve_device(device), None
    if genotype is not None:
        found = read_architecture(genotype, space, notation, member=member, epoch=epoch)
    plan = _planned(resume, found, dataset, changes)
    use_threads(threads_for(plan) if threads is None and where == "cpu" else threads)
    folder = resume or out or new_run_folder("retrain", plan.images.dataset)
    resume_hint(shell_line(["gnas", "retrain", "--resume", folder]), folder)
    with (
        init_distributed(where) as (context, own_device),
        progress_reporter(context.is_main, measured_parts(plan)) as report,
    ):
        if context.is_main and found is not None and found.note:
            logging.getLogger("gnas").log(NOTICE, "%s", found.note)
        result = run_retrain(
            plan, device=own_device, context=context, out=folder, resume=resume is not None,
            report=report, loggers=loggers,
        )  # fmt: skip
    if context.is_main:
        _tell(result, plan, folder, space, json)


def _planned(
    resume: Path | None,
    found: ArchitectureArgument | None,
    dataset: Dataset | None,
    changes: Mapping[str, Any],
) -> RetrainPlan:
    """The plan of the trainings, or of the run that is resumed.

    Args:
        resume: The run's folder.
        found: GENOTYPE, which a resumed run need not be given.
        dataset: Data set of a new run.
        changes: Settings.
    """
    from gnas.retrain.plan import plan_retrain, resumed_plan

    if resume is not None:
        return resumed_plan(resume, found and (found.space, found.text), changes)
    assert found is not None and dataset is not None
    return plan_retrain(found.space, found.text, dataset, **changes)


def _tell(
    result: dict[str, Any],
    plan: RetrainPlan,
    folder: Path,
    space: str | None,
    json: str | None,
) -> None:
    """Print the result, and what comes next."""
    from gnas.spaces.registry import own_space_text, space_record

    target = report_console(json)
    print_retrain(result, folder, target)
    name_old_page(folder, target)
    one = folder / next(iter(plan.trainings()))
    own = own_space_option(space or own_space_text(space_record(plan.space)))
    print_next(
        target, ["show", folder], ["evaluate", one, *own],
        ["export", one, *own, "--to", "onnx", "--out", "model.onnx"],
    )  # fmt: skip
    if json is not None:
        write_json(json, result)


def _new_training(
    genotype: str,
    space: str | None,
    dataset: Dataset | None,
    changes: Mapping[str, Any],
    num_params: int | None,
) -> tuple[Dataset, dict[str, Any]]:
    """The data set and the settings of a new training, checked.

    Those of the run that the architecture is from are taken over where it has the same data set.
    Options of the networks of a space that is not built in are checked when it is loaded.

    Args:
        genotype: As it was given: perhaps a run's folder.
        space: As it was named.
        dataset: As it was given.
        changes: Settings that were given.
        num_params: Parameters that the network shall have, whatever channels the run had.
    """
    from gnas.retrain.source import run_source
    from gnas.retrain.trainings import check_options, of_networks, plan_trainings

    path = run_folder(genotype)
    source = None if path is None else run_source(path)
    if source is not None and dataset not in (None, source.dataset):
        source = None
    taken = {} if source is None else source.settings()
    if num_params is not None:
        taken.pop("channels", None)
    dataset = dataset or ("digits" if source is None else source.dataset)
    settings = {**taken, **changes}
    if is_own_space(space or ""):
        settings = of_networks(settings, options=settings)
    trainings = plan_trainings(dataset, **settings)
    check_options(trainings, changes)
    if source is not None:
        logging.getLogger("gnas").log(NOTICE, "%s", source.line(trainings.images))
    trainings.images.check_folder()
    return dataset, settings


def _check_options(genotype: str | None, resume: Path | None, options: Mapping[str, Any]) -> None:
    """Check the options that say which architecture GENOTYPE is."""
    if resume is None and genotype is None:
        raise typer.BadParameter("GENOTYPE is needed, unless a run is resumed")
    if {"member", "epoch"} <= set(options):
        raise typer.BadParameter("--member and --epoch are of different kinds of searches")
    if genotype is None and options:
        raise typer.BadParameter(f"--{next(iter(options))} is about GENOTYPE; give that too")


def _num_params(params: float | None, *others: object) -> int | None:
    """``--params`` as a whole number; ``others`` are options that it does not go with."""
    if params is None:
        return None
    if any(one is not None for one in others):
        raise typer.BadParameter("--params decides the channels of a new run: give it alone")
    if not math.isfinite(params):
        raise typer.BadParameter(f"--params must be a number of parameters, not {params}")
    return round(params)


@contextmanager
def progress_reporter(
    wanted: bool, parts: Sequence[str]
) -> Iterator[Callable[[str, Progress], None]]:
    """A callback that shows a bar of steps, and a line at the end of every epoch, on stderr.

    Args:
        wanted: Whether it does.
        parts: See `measured_parts`.
    """
    if not wanted:
        yield lambda name, progress: None
        return
    with progress_bar() as bar:
        task = bar.add_task("training", total=None)
        table: GrowingTable | None = None

        def report(name: str, progress: Progress) -> None:
            nonlocal table
            bar.update(
                task,
                description=f"training {name}".strip(),
                completed=progress.step,
                total=progress.total,
            )
            if progress.metrics.get("step") == progress.step:  # an epoch ended
                cells = epoch_cells(name, progress.metrics, parts)
                table = table or GrowingTable(bar, list(cells))
                table.add(*cells.values())

        yield report


def measured_parts(plan: RetrainPlan) -> list[str]:
    """The parts of the images that some epoch of a plan's trainings measures."""
    is_measured = {
        "train": True,
        "val": plan.images.val_share > 0,
        "test": 0 < plan.config.test_every <= plan.config.epochs,
    }
    return [part for part, measured in is_measured.items() if measured]


def epoch_cells(name: str, metrics: Mapping[str, Any], parts: Sequence[str]) -> dict[str, str]:
    """Table cells of a training epoch by column; "-" where it did not measure a part."""
    found = {"training": name} if name else {}
    found |= {"epoch": str(metrics["epoch"]), "train loss": f"{metrics['train_loss']:.3f}"}
    for part in parts:
        acc = metrics.get(f"{part}_acc")
        found[f"{part} acc %"] = "-" if acc is None else f"{100 * acc:.1f}"
    return found


def print_retrain(result: dict[str, Any], folder: Path, target: Console) -> None:
    """One line for each size: what it is and what it does."""
    from rich.table import Table

    from gnas.report.formats import format_number

    rows = result["rows"]
    best = any("best_test_acc" in row for row in rows)
    spread = "; ± is one standard deviation" if any(row["repeats"] > 1 for row in rows) else ""
    table = Table(
        title=f"test images, {result['data']['dataset']}; sizes of the networks as trained{spread}"
    )
    names = ["layers", "channels", "parameters", "MACs", "repeats", "error", "top-5 error"]
    for name in [*names, "error at the best validation epoch"] if best else names:
        table.add_column(name, justify="right")
    for row in rows:
        cells = [
            *(str(row[name]) if row[name] is not None else "-" for name in ("layers", "channels")),
            *(format_number(row[name], "count", digits=3) for name in ("params", "macs")),
            str(row["repeats"]),
            *(_error(row.get(name)) for name in ("test_acc", "test_top5")),
        ]
        table.add_row(*cells, *([_error(row.get("best_test_acc"))] if best else []))
    target.print(table)
    target.print(f"{result['seconds']:.0f} s; run: {folder}", markup=False, soft_wrap=True)


def _error(share: dict[str, Any] | None) -> str:
    """Error in percent, with its standard deviation if there are several."""
    if share is None:
        return "-"
    spread = "" if share["std"] is None else f" ± {share['std']:.2%}".rstrip("%")
    return f"{1 - share['mean']:.2%}".rstrip("%") + spread + " %"
