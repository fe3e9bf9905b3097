"""``gnas tabulate``: build a tabular benchmark of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gnas.cli.checks import check_early
from gnas.cli.options import field_options, parse_settings
from gnas.cli.output import (
    check_other_file,
    check_writable,
    console,
    hint_on_stop,
    print_next,
    reporting,
    same_command,
)
from gnas.cli.searching import preload_workers
from gnas.data.files import check_utf8
from gnas.data.images.listing import check_images
from gnas.errors import ConfigError, MissingDataError
from gnas.printable import amount
from gnas.processes import MAX_PROCESSES
from gnas.spaces.names import SPACE_HOMES, check_space, own_space_option
from gnas.studies.places import check_study_name
from gnas.tabulate.config import TabulateConfig, check_settings, tabulated_config


@field_options(
    TabulateConfig,
    cells="Cells, drawn at random",
    seeds="Trainings of each cell",
    image_size="Reduce the images to this height and width",
    cells_from="Draw the cells from this table, not the whole space",
)
def tabulate(
    *,
    space: Annotated[
        str,
        typer.Argument(
            metavar="SPACE",
            help=f"{', '.join(SPACE_HOMES)}, or FILE.py:NAME with a `build`",
        ),
    ],
    out: Annotated[Path, typer.Option(help="The table to write (.parquet)")],
    dataset: Annotated[
        str, typer.Option(help="digits, a folder of .npy arrays, or a folder of images")
    ] = "digits",
    like: Annotated[
        str | None, typer.Option(help="Train exactly as this self-made table was")
    ] = None,
    workers: Annotated[
        int, typer.Option(min=0, max=MAX_PROCESSES, help="Processes, one core each")
    ] = 1,
    storage: Annotated[
        str | None,
        typer.Option(
            envvar="GNAS_STORAGE",
            help="Storage of the study, for workers elsewhere (OUT.study.db)",
        ),
    ] = None,
    study: Annotated[
        str | None, typer.Option(help="The study's name (table; with --storage OUT's)")
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Setting of recipe, networks or images"),
    ] = None,
    **given: Any,
) -> None:
    """Train cells of a space and write their accuracies as a table.

    Interrupt it whenever you like: the same command goes on where it was.
    """
    check_early(tables=[like, given.get("cells_from")], table_space=space)
    check_writable(out)
    check_other_file(out, like, given.get("cells_from"))
    check_utf8(out, "a table")
    check_space(space)
    if out.suffix != ".parquet":
        raise ConfigError(f"the table's file must end in .parquet, but got {out}")
    if dataset != "digits" and not Path(dataset).is_dir():
        raise MissingDataError(f"--dataset must be digits or a folder, but there is no {dataset}")
    check_images("digits" if dataset == "digits" else "folder", Path(dataset))
    check_study_name(study)
    changes = parse_settings(setting or [])
    check_settings(space, changes)
    if workers > 0:
        preload_workers()
    from gnas.bench.config import MIN_CANDIDATES
    from gnas.cli.bench import app
    from gnas.data import load_table
    from gnas.tabulate import tabulate as build

    named = {"space": space, "dataset": dataset, **given}
    config = tabulated_config(named, changes, load_table(like) if like is not None else None)
    hint_on_stop(lambda: f"go on with: {same_command()}")
    with reporting("trainings") as report:
        build(config, out, workers=workers, storage=storage, study=study, report=report)
    num_cells = len(load_table(out))
    console().print(
        f"{out}: {amount(num_cells, 'cell')}, {amount(config.seeds, 'training')} each",
        soft_wrap=True,
    )
    benches = {
        command.callback.__name__ for command in app.registered_commands if command.callback
    }
    half = num_cells // 2
    words = [space] if space in benches else ["predictors", space]
    following: list[str | Path] = ["bench", *words, "--table", out, "--samples", str(half)]
    if half < MIN_CANDIDATES:
        following = ["data", "verify", out, *own_space_option(space)]
    print_next(console(), following)
