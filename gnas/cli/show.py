"""``gnas show``: pictures of cells and of searches."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gnas.cli.architectures import read_architecture
from gnas.cli.output import console

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gnas.spaces.genotype import Genotype


def show(
    what: Annotated[
        str,
        typer.Argument(
            metavar="GENOTYPE|RUN",
            help="A run's folder, a file with a genotype, or its text: Genotype(normal=...)",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the pictures [RUN/figures, or figures]")
    ] = None,
) -> None:
    """Draw the cells of a genotype, or of a search and how it got to them."""
    from gnas.runs import write_figures

    figures, genotype, folder = _drawn(what)
    paths = write_figures(out or folder, figures)
    target = console()
    target.print(str(genotype), markup=False, soft_wrap=True)
    for path in paths:
        target.print(str(path), markup=False, soft_wrap=True)


def _drawn(what: str) -> tuple[Mapping[str, Figure], Genotype, Path]:
    """Figures by name, the genotype, and where pictures go by default."""
    from gnas.search.toponas.trace import read_trace
    from gnas.viz import cell_figures, search_figures

    if "(" not in what and "{" not in what and Path(what).is_dir():
        trace = read_trace(Path(what))
        return search_figures(trace), trace.genotype, Path(what) / "figures"
    genotype = read_genotype(what)
    return cell_figures(genotype), genotype, Path("figures")


def read_genotype(what: str) -> Genotype:
    """The genotype in a file (its text, JSON, or a run's ``result.json``), or in ``what`` itself.

    Raises:
        MissingDataError: neither a file nor a genotype.
        GraphError: the text is malformed.
        DataError: the file cannot be read.
    """
    from gnas.spaces.genotype import Genotype

    return Genotype.parse(read_architecture(what))
