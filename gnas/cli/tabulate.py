"""``gnas tabulate``: build a tabular benchmark of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from gnas.cli.checks import check_early
from gnas.cli.options import parse_settings
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
from gnas.config import field_names, from_record, unknown_name
from gnas.data.files import check_utf8
from gnas.data.images.config import LARGEST
from gnas.data.images.listing import check_images
from gnas.errors import ConfigError, MissingDataError
from gnas.printable import amount
from gnas.spaces.names import SPACE_HOMES, check_space, is_own_space, network_config
from gnas.studies.places import check_study_name
from gnas.training.recipe import ProxyRecipe

DRAWS = ("draw_seed", "num_train", "num_val", "num_test")
"""Settings of cells and images."""
FROM_IMAGES = ("in_channels", "num_classes")
"""Sizes of networks that follow from the images."""


def tabulate(
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
    cells: Annotated[int, typer.Option(min=1, help="Cells, drawn at random")] = 100,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each cell")] = 2,
    image_size: Annotated[
        int | None,
        typer.Option(min=4, max=LARGEST, help="Reduce the images to this height and width"),
    ] = None,
    like: Annotated[
        str | None, typer.Option(help="Train exactly as this self-made table was")
    ] = None,
    cells_from: Annotated[
        str | None, typer.Option(help="Draw the cells from this table, not the whole space")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, max=1024, help="Processes, one core each")] = 1,
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
) -> None:
    """Train cells of a space and write their accuracies as a table.

    Interrupt it whenever you like: the same command goes on where it was.
    """
    check_early(tables=[like, cells_from], table_space=space)
    check_writable(out)
    check_other_file(out, like, cells_from)
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
    from gnas.tabulate.config import tabulated_config

    given: dict[str, Any] = dict(
        space=space, cells=cells, seeds=seeds, dataset=dataset, cells_from=cells_from
    )
    if image_size is not None:
        given["image_size"] = image_size
    config = tabulated_config(given, changes, load_table(like) if like is not None else None)
    hint_on_stop(lambda: f"go on with: {same_command()}")
    with reporting("trainings") as report:
        build(config, out, workers=workers, storage=storage, study=study, report=report)
    num_cells = len(load_table(out))
    console().print(
        f"{out}: {amount(num_cells, 'cell')}, {amount(seeds, 'training')} each", soft_wrap=True
    )
    benches = {
        command.callback.__name__ for command in app.registered_commands if command.callback
    }
    half = num_cells // 2
    following: list[str | Path]
    if space in benches and half >= MIN_CANDIDATES:
        following = ["bench", space, "--table", out, "--samples", str(half)]
    else:
        following = ["data", "verify", out]
        following += ["--space", space] if is_own_space(space) else []
    print_next(console(), following)


def check_settings(space: str, changes: Mapping[str, Any]) -> None:
    """Check settings of a built-in space's table; those of other spaces when it is loaded.

    Args:
        space: The space.
        changes: Values of ``--set``.

    Raises:
        ConfigError: there is no such setting, or it cannot have this value.
    """
    network = network_config(space)
    if network is None:
        return
    recipe, sizes = field_names(ProxyRecipe), field_names(network) - {*FROM_IMAGES}
    known = {*DRAWS} | recipe | sizes
    for name in changes:
        if name not in known:
            raise ConfigError(unknown_name("setting", name, known))
    from_record(ProxyRecipe, {k: v for k, v in changes.items() if k in recipe})
    from_record(network, {k: v for k, v in changes.items() if k in sizes})
