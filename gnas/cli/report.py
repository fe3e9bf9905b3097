"""``gnas report``: one page that tells a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gnas.cli.architectures import SpaceOption
from gnas.cli.output import check_writable, console
from gnas.command_line import shell_line
from gnas.errors import ConfigError, MissingDataError
from gnas.spaces.names import check_space, is_own_space, own_space_option

if TYPE_CHECKING:
    from rich.console import Console

NAME = "report.html"
PageOption = Annotated[
    bool, typer.Option("--report", help=f"Write {NAME} into the run's folder at the end")
]
"""Commands whose runs can be reported."""


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...",
            help="Folders of runs, files by --json of gnas bench, or tables (.parquet)",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="The HTML file (report.html, in a single run)"),
    ] = None,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Rewrite it while runs go on; the page reloads itself"),
    ] = False,
    space: SpaceOption = None,
) -> None:
    """Write one HTML page about a run, or several beside each other, to look at and to send."""
    file = out if out is not None else default_file(runs)
    if file.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"the report must be an .html file, but got {file}")
    check_writable(file)
    if space is not None:
        check_space(space)
    for path in runs:
        check_run(path)
    from gnas.report import watch_report, write_report
    from gnas.spaces import load_space

    own = None if space is None else load_space(space)
    if not watch:
        write_report(runs, file, space=own)
        console().print(str(file), markup=False, soft_wrap=True)
        return
    target = console(stderr=True)
    watch_report(
        runs, file, space=own,
        report=lambda line: target.print(line, markup=False, soft_wrap=True),
    )  # fmt: skip
    console().print(str(file), markup=False, soft_wrap=True)


def write_page(wanted: bool, folder: Path, target: Console, space: str | None = None) -> None:
    """Write the page of a run that has ended into its folder, and print where it is.

    Args:
        wanted: Whether to write it; if not, a page that a resumed run had before is named as such.
        folder: The run's.
        target: Console for the results.
        space: The run's space as it was named, which may be ``FILE.py:NAME``.
    """
    if not wanted:
        name_old_page(folder, target, space)
        return
    from gnas.report import write_report
    from gnas.spaces import load_space

    own = load_space(space) if space is not None and is_own_space(space) else None
    write_report([folder], folder / NAME, space=own)
    target.print(f"report: {folder / NAME}", markup=False, soft_wrap=True)


def name_old_page(folder: Path, target: Console, space: str | None = None) -> None:
    """Say of a page that a run had before it was resumed how to write it again.

    Args:
        folder: The run's.
        target: Console for the results.
        space: See `write_page`.
    """
    page = folder / NAME
    if not page.exists() or page.stat().st_mtime >= (folder / "result.json").stat().st_mtime:
        return
    again = shell_line(["gnas", "report", folder, *own_space_option(space)])
    target.print(
        f"{page} is older than this result; write it again: {again}",
        markup=False, soft_wrap=True,
    )  # fmt: skip


def check_run(path: Path) -> None:
    """Check, before anything heavy is imported, that there is something to report.

    Raises:
        MissingDataError: there is nothing, or a folder without a run or a table.
        DataError: the run's ``config.json`` is damaged.
    """
    if not path.exists():
        raise MissingDataError(
            f"RUN must be a run's folder, a result or a table, but there is no {path}"
        )
    if path.is_dir() and not any(path.glob("*.parquet")):
        from gnas.runs import open_run_config

        with open_run_config(path):
            pass


def default_file(runs: list[Path]) -> Path:
    """Output path of the report; that of a single run lies in its folder."""
    if len(runs) == 1 and runs[0].is_dir():
        return runs[0] / NAME
    return Path(NAME)
