"""``gnas bench supernet``: differentiable searches judged by a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gnas.bench.config import SupernetBench
from gnas.cli.bench_tables import Folder, Json, Out
from gnas.cli.checks import check_early
from gnas.cli.options import absolute, drop_none, field_options, parse_settings
from gnas.cli.output import (
    check_outputs,
    format_number,
    report_console,
    reporting,
    rerun_hint,
    write_outputs,
)
from gnas.data.places import check_table, table_path
from gnas.processes import MAX_PROCESSES

if TYPE_CHECKING:
    from rich.console import Console

    from gnas.bench.supernet import SupernetBenchResult


OWN = ("space", "dataset", "data_dir", "seed")
"""Settings of searches that have options of their own here."""


@field_options(
    SupernetBench,
    methods="Methods that search",
    dataset="Images to search on",
    seeds="Searches by each method",
    seed="The first search's seed",
    truth="Images of the accuracies that judge",
    table="A Parquet file or a table's name",
)
def supernet(
    *,
    space: Annotated[Literal["nasbench201"], typer.Argument(help="Search space")],
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the images")] = None,
    preset: Annotated[Literal["cpu", "paper"], typer.Option(help="Size of a search")] = "cpu",
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A field of all searches"),
    ] = None,
    table_dir: Folder = None,
    workers: Annotated[
        int, typer.Option(min=1, max=MAX_PROCESSES, help="Processes that search")
    ] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")] = "auto",
    out: Out = None,
    json: Json = None,
    **given: Any,
) -> None:
    """Search by every method and seed, and look up how good the derived cells really are.

    Searches that --out has from an earlier, perhaps stopped, run are not run again, and one that
    was under way goes on.
    """
    check_early(json=json, out=out, data_dir=data_dir, device=device)
    check_outputs(out, json, "bench supernet")
    own = drop_none(data_dir=absolute(data_dir), **given)
    config = SupernetBench(
        preset=preset,
        settings=parse_settings(setting or [], dict.fromkeys(OWN)),
        table_dir=None if table_dir is None else str(table_dir),
        **own,
    )  # fmt: skip
    config.images().check_folder()
    check_table(table_path(config.table, data_dir=table_dir), space=space)
    from gnas.bench.supernet import bench_supernet
    from gnas.training.devices import resolve_device

    rerun_hint(out)
    with reporting("searches") as progress:
        result = bench_supernet(
            config, folder=out, device=resolve_device(device), workers=workers, progress=progress
        )
    print_supernets(result, report_console(json))
    from gnas.viz.supernet import supernet_figures

    write_outputs(result, out, json, supernet_figures)


def print_supernets(result: SupernetBenchResult, console: Console) -> None:
    """Print the result of every method and explain the columns."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as Grid

    from gnas.metrics import interval_note, p_text

    facts, data = result.table, result.data
    note = f"{facts['note'].removesuffix('.')}. " if facts["note"] else ""
    console.print(
        f"Table {facts['name']}: {facts['provenance'].upper()}, {facts['rows']:,} cells, sha256 "
        f"{facts['sha256'][:12]}. {note}Searched on {data['images']:,} images of "
        f"{data['image_size']}x{data['image_size']} pixels ({data['dataset']}).",
        soft_wrap=True,
    )
    if result.config.settings:
        text = ", ".join(f"{name}={value}" for name, value in result.config.settings.items())
        console.print(f"Settings of all searches: {text}.", markup=False, soft_wrap=True)
    grid = Grid(box=SIMPLE_HEAD, padding=0, pad_edge=False)
    longest = max(len(row.method) for row in result.rows)
    grid.add_column("method", min_width=longest, no_wrap=True)
    other = facts["other"]
    for name in (
        "seeds", "test acc %", "worst", "rank", other or "", "edges", "skips", "tau", "p DARTS",
        "p random", "s each",
    ):  # fmt: skip
        if name:
            grid.add_column(name, justify="right", no_wrap=True)
    for row in result.rows:
        cells = [
            row.method,
            f"{len(row.seeds)}",
            format_number(row.test_acc, 2, scale=100),
            f"{100 * row.worst:.2f}",
            f"{row.rank:.0f}",
            *([format_number(row.other_acc, 2, scale=100)] if row.other_acc is not None else []),
            f"{row.edges:.1f}",
            f"{row.skip_share:.0%}",
            "-" if row.tau is None else f"{row.tau.mean:.2f}",
            "-" if row.p_darts is None else p_text(row.p_darts),
            "-" if row.p_random is None else p_text(row.p_random),
            f"{row.seconds:.0f}",
        ]
        grid.add_row(*cells)
    console.print(grid)
    joined = [row.method for row in result.rows if row.joined < 1]
    console.print(
        f"Judged by {facts['test_column']}: best {100 * result.best_test_acc:.2f}%, mean of all "
        f"cells {100 * result.mean_test_acc:.2f}%, median {100 * result.median_test_acc:.2f}%. "
        f"By validation ({facts['val_column']}) {result.chosen} is best. "
        f"{interval_note(result.config.seeds)} Rank: the median's among all cells; tau: of the "
        "trained supernet's accuracies of single cells; p: paired t-tests over seeds."
        + (f" Cells without a path from input to output: {', '.join(joined)}." if joined else ""),
        soft_wrap=True,
    )
