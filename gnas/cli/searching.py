"""Shared parts of the commands of ask-and-tell searches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gnas.cli.options import absolute
from gnas.cli.output import GrowingTable, console, progress_bar
from gnas.command_line import shell_line
from gnas.errors import ConfigError
from gnas.processes import OPTIMISERS, preload
from gnas.spaces.names import is_own_space, own_space_option
from gnas.studies.places import check_place

if TYPE_CHECKING:
    from gnas.search.loop import SearchProgress

NUMBER_WIDTH = 11
"""Characters of a number such as 1.23457e-05."""
LARGEST_COUNT = 10 ** (NUMBER_WIDTH - 1)
"""Whole numbers from here on are shown with six digits."""
MAX_LINES = 500
"""Evaluations of the longest search of which each has a line."""


def resume_command(searcher: str, folder: Path, workers: int, storage: str | None) -> str:
    """The command that goes on with an interrupted search."""
    again: list[str | Path] = ["gnas", "search", searcher, "--resume", folder]
    again += ["--workers", str(workers)] if workers != 1 else []
    again += ["--storage", "URL"] if storage is not None and "://" in storage else []
    return shell_line(again)


def workers_hint(
    workers: int,
    folder: Path,
    *,
    storage: str | None,
    study: str | None,
    space: str | None,
    evaluate: str | None,
) -> None:
    """Print how to start workers, if a search leaves all evaluations to them.

    Args:
        workers: Value of ``--workers``.
        folder: Folder of the run.
        storage: As it was named.
        study: As it was named.
        space: As it was named; workers are given the file of a user's own.
        evaluate: As the evaluation was named, where it is a function.
    """
    if workers > 0:
        return
    place: str | Path = folder / "study.db" if storage is None else storage
    if "://" in str(place):
        place = "URL"
    command: list[str | Path] = ["gnas", "worker", "--study", study or folder.resolve().name]
    command += ["--storage", place]
    command += ["--space", str(space)] if is_own_space(space or "") else []
    command += ["--evaluate", evaluate] if evaluate is not None else []
    console(stderr=True).print(
        f"waiting for workers; start one with: {shell_line(command)}",
        markup=False, soft_wrap=True, highlight=False,
    )  # fmt: skip


def next_commands(
    folder: Path, space: str | None, *, evaluate: str | None, table: Sequence[str]
) -> list[list[str | Path]]:
    """The commands that come after a search: what can be trained can be retrained.

    Args:
        folder: The run's.
        space: As it was named.
        evaluate: As the evaluation was named, where it is a function.
        table: Tables that architectures were looked up in.
    """
    own = own_space_option(space)
    commands: list[list[str | Path]] = [["show", folder, *own]]
    if evaluate is None and not (table and own):
        commands.append(["retrain", folder, *own])
    return commands


def preload_workers() -> None:
    """Start the server of workers that evaluate candidates, with all that they will import.

    The last two modules are those that Optuna's storage imports when it is opened.
    """
    modules = ("gnas.evaluate.job", "gnas.studies.study", "sqlalchemy.orm", "alembic.command")
    preload(*modules, OPTIMISERS)


def check_workers(workers: int, tables: Sequence[str]) -> None:
    """Check that processes have something to do.

    Args:
        workers: Value of ``--workers``.
        tables: Tables that architectures are looked up in.

    Raises:
        ConfigError: architectures are looked up, which this process does.
    """
    if tables and workers != 1:
        raise ConfigError(
            f"--workers {workers} does nothing in this search: a --table is read by one process; "
            "leave one of the two out"
        )


def storage_location(storage: str | None) -> str | None:
    """A URL as it is, the path of a file from the root."""
    if storage is not None:
        check_place(storage)
    return storage if storage is None or "://" in storage else absolute(Path(storage))


@contextmanager
def progress_reporter(
    parts: Mapping[int, str] | None = None,
) -> Iterator[Callable[[SearchProgress], None]]:
    """A callback that shows a bar of evaluations, and a line of a table for every one.

    What the searcher has to say is a line across the table. Of more than `MAX_LINES`, lines are
    of those that are better than all before.

    Args:
        parts: Lines across the table by the number of the evaluation that they are above.
    """
    above = dict(parts or {})
    with progress_bar() as bar:
        task = bar.add_task("search", total=None)
        table: GrowingTable | None = None
        names: list[str] = []

        def report(progress: SearchProgress) -> None:
            bar.update(task, completed=progress.done, total=progress.total)
            target = console(stderr=True) if bar.disable else bar.console
            one = progress.last
            if one is not None and one.measures is None:
                target.print(f"evaluation {one.number} failed: {one.error}", soft_wrap=True)
            elif one is not None and (progress.total <= MAX_LINES or progress.is_better):
                add(one.number, one.measures or {}, progress.is_better)
            for text in progress.notes:
                if table is None:
                    target.print(text, soft_wrap=True)
                else:
                    table.divide(text)

        def add(number: int, measures: Mapping[str, float], is_better: bool) -> None:
            nonlocal table
            names.extend(measures if table is None else ())
            table = table or GrowingTable(bar, ["evaluation", *names, "best"], NUMBER_WIDTH)
            for text in [above.pop(first) for first in sorted(above) if first <= number][-1:]:
                table.divide(text)
            table.add(str(number), *measure_texts(measures, names), "*" if is_better else "")

        yield report


def measure_texts(measures: Mapping[str, float], names: Iterable[str]) -> list[str]:
    """Measures in a table: counts whole, other numbers with six digits, a dash for an absent one.

    Args:
        measures: Those of an architecture.
        names: The columns.

    Examples:
        >>> measure_texts({"macs": 1629440.0, "val_acc": 0.91234567}, ["macs", "val_acc", "loss"])
        ['1629440', '0.912346', '-']
    """
    return [_measure_text(measures[name]) if name in measures else "-" for name in names]


def _measure_text(value: float) -> str:
    is_count = float(value).is_integer() and abs(value) < LARGEST_COUNT
    return f"{value:.0f}" if is_count else f"{value:.6g}"
