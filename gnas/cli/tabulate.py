"""``gnas tabulate``: build a tabular benchmark of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gnas.processes import prepare

app = typer.Typer(help="Build a tabular benchmark of your own.", no_args_is_help=True)


@app.command()
def nasbench101(
    out: Annotated[Path, typer.Option(help="The table to write (.parquet).")],
    dataset: Annotated[
        str, typer.Option(help="digits, a folder of .npy arrays, or a folder of images.")
    ] = "digits",
    cells: Annotated[int, typer.Option(min=1, help="Cells, drawn uniformly.")] = 100,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each cell.")] = 2,
    image_size: Annotated[
        int | None, typer.Option(help="Reduce the images to this height and width.")
    ] = None,
    like: Annotated[
        str | None, typer.Option(help="Train exactly as this self-made table was.")
    ] = None,
    cells_from: Annotated[
        str | None, typer.Option(help="Draw the cells from this table, not the whole space.")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes, one core each.")] = 1,
    storage: Annotated[
        str | None,
        typer.Option(
            envvar="GNAS_STORAGE",
            help="Where the study is kept, for workers elsewhere [OUT.study.db].",
        ),
    ] = None,
    study: Annotated[str | None, typer.Option(help="The study's name [OUT's].")] = None,
) -> None:
    """Train cells of NAS-Bench-101 and write their accuracies as a table.

    Interrupt it whenever you like: the same command goes on where it was.
    """
    if workers > 0:
        prepare("gnas.tabulate")
    from gnas.cli.output import (
        check_writable,
        console,
        going_on,
        print_next,
        reporting,
        same_command,
    )
    from gnas.data import load_table
    from gnas.tabulate import TabulateConfig, tabulate

    check_writable(out)
    given: dict[str, Any] = dict(cells=cells, seeds=seeds, dataset=dataset, cells_from=cells_from)
    if image_size is not None:
        given["image_size"] = image_size
    config = TabulateConfig.like(load_table(like), **given) if like else TabulateConfig(**given)
    with going_on(same_command()), reporting("trainings") as report:
        tabulate(
            config, out, workers=workers, storage=storage, study=study,
            report=lambda p: report(p.done + p.failed, p.total),
        )  # fmt: skip
    console().print(load_table(out))
    print_next(console(), ["bench", "nasbench101", "--table", out])
