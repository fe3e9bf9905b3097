"""``gnas data``: benchmark tables and lists of images."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from gnas.cli.architectures import SpaceOption
from gnas.cli.checks import check_early
from gnas.cli.output import (
    check_other_file,
    check_writable,
    console,
    report_console,
    reporting,
    write_json,
)
from gnas.config import check_seed
from gnas.data.images.listing import SUFFIXES
from gnas.errors import ConfigError, MissingDataError
from gnas.printable import amount
from gnas.spaces.names import check_space

app = typer.Typer(
    help="Benchmark tables: list, fetch, convert, verify. Images: draw a subset.",
    no_args_is_help=True,
)

NOT_CHECKED = (
    "the encoding was not checked: it has no scores, or too few cells compute what another one "
    "computes"
)
AS_GRAPHS = "graphs were checked as graphs only: they are of {}, which --space names"
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Folder of the tables [$GNAS_DATA, ~/.cache/gnas]"),
]
Json = Annotated[
    str | None,
    typer.Option("--json", help="Write everything printed as one JSON object (- stdout)"),
]


def check_data_dir(data_dir: Path | None) -> None:
    """Check that a folder of tables is one, or can be made.

    Raises:
        ConfigError: it is something else.
    """
    if data_dir is not None and data_dir.exists() and not data_dir.is_dir():
        raise ConfigError(f"--data-dir must be a folder, but {data_dir} is a file")


@app.command("list")
def list_command(data_dir: DataDir = None, json: Json = None) -> None:
    """List the known tables, and which of them are on this machine."""
    from rich.table import Table

    from gnas.data.fetch import list_tables

    check_early(json=json, data_dir=data_dir)
    listings = list_tables(data_dir)
    table = Table()
    for name in ("name", "content", "state", "where", "licence"):
        table.add_column(name, overflow="fold")
    for line in listings:
        table.add_row(line.name, line.content, line.state, line.path, line.licence)
    report_console(json).print(table)
    if json is not None:
        write_json(json, {"command": "data list", "rows": listings})


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="nasbench101, nasbench101-full or nasbench201")],
    data_dir: DataDir = None,
) -> None:
    """Download a published benchmark file."""
    from gnas.data.fetch import fetch as fetch_file

    check_data_dir(data_dir)
    path = fetch_file(name, data_dir=data_dir, progress_bar=sys.stderr.isatty())
    console().print(f"{path}\nnext: gnas data convert {name}", soft_wrap=True)


@app.command()
def convert(
    name: Annotated[str, typer.Argument(help="nasbench101, nasbench101-full or nasbench201")],
    source: Annotated[Path | None, typer.Argument(help="The fetched file by default")] = None,
    out: Annotated[Path | None, typer.Option(help="The table to write")] = None,
    data_dir: DataDir = None,
    notation: Annotated[
        str | None,
        typer.Option(help="Notation of a Parquet table: naslib-nasbench201, transnas-micro"),
    ] = None,
    json: Json = None,
) -> None:
    """Convert a published benchmark file to a Parquet table."""
    from gnas.data.fetch import convert as convert_file

    check_data_dir(data_dir)
    if out is not None and out.suffix != ".parquet":
        raise ConfigError(f"the table's file must end in .parquet, but got {out}")
    check_writable(out)
    check_writable(json)
    check_other_file(json, source, out)
    check_other_file(out, source)
    with reporting("converting") as progress:
        path, table = convert_file(
            name, source, out=out, data_dir=data_dir, notation=notation, progress=progress
        )
    facts = table.provenance
    report_console(json).print(
        f"{path}: {amount(facts.rows, 'cell')}, {facts.kind}; {facts.note}", soft_wrap=True
    )
    if json is not None:
        write_json(json, {"command": "data convert", "table": facts.summary()})


@app.command()
def verify(
    table: Annotated[str, typer.Argument(help="A table's name or file, or a file to convert")],
    space: SpaceOption = None,
    data_dir: DataDir = None,
    json: Json = None,
) -> None:
    """Check every graph, hash and value of a table, and how far equal functions agree."""
    check_early(json=json, data_dir=data_dir, inputs=[table])
    if space is not None:
        check_space(space)
    from gnas.data.fetch import verify as verify_file

    own = None
    if space is not None:
        from gnas.spaces import load_space

        own = load_space(space)
    with reporting("verifying") as progress:
        checked = verify_file(table, data_dir=data_dir, space=own, progress=progress)
    from gnas.data.agreement import function_agreement

    facts = checked.provenance
    agreement = function_agreement(checked, own)
    is_known = own is not None or facts.known_space() is not None
    console = report_console(json)
    rows = amount(facts.rows, "cell")
    text = f"{facts.name}: {rows}, {facts.kind}; every graph, hash and value is sound"
    console.print(text, soft_wrap=True)
    unchecked = NOT_CHECKED if is_known else AS_GRAPHS.format(facts.space)
    console.print(str(agreement or unchecked), soft_wrap=True)
    if facts.path:
        console.print(f"sha256 {facts.sha256}", soft_wrap=True)
    if json is not None:
        found = None
        if agreement is not None:
            found = {**vars(agreement), "is_suspicious": agreement.is_suspicious}
        table_facts = facts.summary()
        write_json(json, {"command": "data verify", "table": table_facts, "agreement": found})


@app.command()
def subset(
    folder: Annotated[Path, typer.Argument(help="<folder>/train/<class>/* or <folder>/<class>/*")],
    out: Annotated[Path, typer.Option(help="The list to write (.txt)")],
    percent: Annotated[float, typer.Option(help="Share of every class")] = 3.0,
    seed: Annotated[int, typer.Option(help="Seed of the list")] = 0,
    json: Json = None,
) -> None:
    """Draw a class-balanced share of an image folder and write it as a list."""
    check_writable(out)
    check_writable(json)
    check_other_file(json, out)
    if out.suffix.lower() in SUFFIXES:
        raise ConfigError(f"the list must be a text file, but {out} is named as an image")
    if not folder.is_dir():
        raise MissingDataError(f"a folder of images must exist, but found no folder {folder}")
    if not 0 < percent <= 100:
        raise ConfigError(f"percent must be in (0, 100], but got {percent}")
    check_seed(seed)
    from gnas.data.images.subsets import make_subset, write_subset

    images = make_subset(folder, percent, seed)
    digest = write_subset(images, out)
    report_console(json).print(
        f"{out}: {amount(len(images.names), 'image')} in "
        f"{amount(len(images.classes), 'class')}\nsha256 {digest}",
        soft_wrap=True,
    )
    if json is not None:
        counts = {"images": len(images.names), "classes": len(images.classes)}
        facts = {"folder": folder, "percent": percent, "seed": seed, "list": out, **counts}
        write_json(json, {"command": "data subset", **facts, "sha256": digest})
