"""``gnas show``: pictures of cells and of searches."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gnas.cli.architectures import Notation, SpaceOption, is_text, read_architecture
from gnas.cli.checks import check_architecture, check_folder
from gnas.cli.output import console
from gnas.data.files import FORMAT_ERRORS
from gnas.errors import ConfigError, DataError, GnasError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
    space: SpaceOption = None,
    notation: Notation = None,
) -> None:
    """Draw the cells of a genotype, or of a search and how it got to them, or a training."""
    from gnas.runs import write_figures

    check_folder(out)
    check_architecture(what, space, notation)
    figures, text, folder = _drawn(what, space, notation)
    paths = write_figures(out or folder, figures)
    target = console()
    target.print(text, markup=False, soft_wrap=True)
    for path in paths:
        target.print(str(path), markup=False, soft_wrap=True)


def _drawn(
    what: str, space: str | None, notation: str | None
) -> tuple[Mapping[str, Figure], str, Path]:
    """Figures by name, the architecture's text, and where pictures go by default."""
    if notation is None and not is_text(what) and Path(what).is_dir():
        try:
            return _drawn_run(Path(what), space)
        except GnasError:
            raise
        except FORMAT_ERRORS as error:  # what was recorded has a sound form, but cannot be drawn
            raise DataError(f"{what} must be a whole run, but: {error!r:.200}") from error
    found = read_architecture(what, space, notation)
    text = f"{found.text}\n{found.note}".strip()
    return found.space.draw(found.graph), text, Path("figures")


def _drawn_run(folder: Path, space: str | None) -> tuple[Mapping[str, Figure], str, Path]:
    """As `_drawn`, of a run's folder."""
    from gnas.runs import kind_of_run

    kind = kind_of_run(folder)
    if kind == "nasgem search":
        from gnas.search.nasgem.trace import read_trace as read_nasgem
        from gnas.spaces import load_space
        from gnas.viz.nasgem import nasgem_figures

        search = read_nasgem(folder, None if space is None else load_space(space))
        return nasgem_figures(search), search.result.architecture, folder / "figures"
    if kind == "search":
        from gnas.search.result import read_result
        from gnas.spaces import SPACES, load_space, space_of_record
        from gnas.viz import search_result_figures

        found = read_result(folder)
        figures = dict(search_result_figures(found))
        if space is not None or found.space["name"] in SPACES:  # no file is run unasked
            own = space_of_record(found.space, None if space is None else load_space(space))
            figures |= own.draw(own.from_str(found.architecture))
        return figures, found.architecture, folder / "figures"
    if kind == "retrain":
        return _drawn_trainings(folder)
    if kind == "other":
        raise ConfigError(
            f"gnas show draws architectures, searches and trainings, but {folder} is of an "
            f"experiment, whose pictures are in {folder / 'figures'}; `gnas report` makes a page "
            "of it"
        )
    from gnas.search.toponas.selection import chosen_search
    from gnas.search.toponas.trace import read_trace
    from gnas.viz import search_figures

    trace = read_trace(chosen_search(folder) if kind == "selection" else folder)
    return search_figures(trace), trace.text, folder / "figures"


def _drawn_trainings(folder: Path) -> tuple[Mapping[str, Figure], str, Path]:
    """As `_drawn`, of trainings: their curves, and the cells."""
    from gnas.retrain.trace import read_trainings
    from gnas.viz import training_figures

    plan, trainings = read_trainings(folder)
    figures = training_figures(trainings) | plan.space.draw(plan.space.from_str(plan.architecture))
    return figures, plan.architecture, folder / "figures"
