"""Output of commands: results on stdout, progress and logs on stderr, JSON in a file."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from gnas.command_line import command_line, shell_line
from gnas.data.files import atomic_write, link_target
from gnas.errors import ConfigError
from gnas.printable import PrintableFormatter, printable
from gnas.runs import to_json
from gnas.user_code import TERMINATED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gnas.metrics import Interval


class Experiment(Protocol):
    """The result of an experiment on a benchmark table."""

    @property
    def config(self) -> object:
        """The configuration."""
        ...

    @property
    def table(self) -> Mapping[str, Any]:
        """Name, path, sha256, rows and provenance of the table."""
        ...


Result = TypeVar("Result", bound=Experiment)

until_end = ExitStack()
"""Resources that a command holds until it ends."""
MIN_WIDTH = 5
"""Characters of the narrowest column of a `GrowingTable`."""
SEPARATOR = "  "
"""Text between the columns of a `GrowingTable`."""
LONGEST_NAME = 220
"""Bytes of the name of a file to write; file systems allow 255."""
PLAIN_WIDTH = 120
"""Columns of a table that goes to a file or a pipe."""


class PlainConsole(Console):
    """A console that takes every text as it is: no markup, no emoji codes, no escapes.

    Names of files, classes and tables can hold any of these; see `gnas.printable`.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        """See `rich.console.Console.render_str`: of texts and of cells of tables."""
        options |= {"markup": False, "emoji": False, "highlight": False}
        return super().render_str(printable(text), **options)


class _Description(TextColumn):
    """Description of a progress bar."""

    def render(self, task: Task) -> Text:
        """See `rich.progress.ProgressColumn.render`."""
        return Text(printable(task.description))


def console(*, stderr: bool = False) -> Console:
    """A console on today's stdout or stderr: plain text unless that is a terminal."""
    stream = sys.stderr if stderr else sys.stdout
    wide = not stream.isatty() and "COLUMNS" not in os.environ
    return PlainConsole(stderr=stderr, width=PLAIN_WIDTH if wide else None, highlight=False)


def report_console(json_path: str | None) -> Console:
    """Stream of the readable table: stdout, or stderr if ``--json -`` uses stdout."""
    return console(stderr=json_path == "-")


def progress_bar() -> Progress:
    """A progress bar with a time estimate on stderr; prints nothing where that is no terminal."""
    target = console(stderr=True)
    return Progress(
        _Description(""),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=target,
        disable=not target.is_terminal or target.is_dumb_terminal,
        transient=True,
    )


class GrowingTable:
    """A table that grows by a line as work goes on: columns are named once, above the first one.

    Lines are the same with and without a terminal, and hold no control characters. A running bar
    stays below them.

    Args:
        bar: The bar of the work.
        columns: Headings of the columns.
        least: Characters of the narrowest column.
    """

    def __init__(self, bar: Progress, columns: Sequence[str], least: int = MIN_WIDTH) -> None:
        self._target = console(stderr=True) if bar.disable else bar.console
        self._columns = columns
        self._widths = [max(len(name), least) for name in columns]
        self._is_begun = False

    def add(self, *cells: str) -> None:
        """Print a line: a text for every column, at its right end."""
        self._begin()
        self._print_cells(cells)

    def divide(self, text: str) -> None:
        """Print a line across all columns, with a text in it."""
        self._begin()
        width = sum(self._widths) + len(SEPARATOR) * (len(self._widths) - 1)
        self._print(f"-- {text} --".ljust(width, "-"))

    def _begin(self) -> None:
        if not self._is_begun:
            self._is_begun = True
            self._print_cells(self._columns)

    def _print_cells(self, cells: Sequence[str]) -> None:
        pairs = zip(cells, self._widths, strict=True)
        self._print(SEPARATOR.join(f"{cell:>{width}}" for cell, width in pairs).rstrip())

    def _print(self, line: str) -> None:
        self._target.print(line, markup=False, soft_wrap=True)


@contextmanager
def reporting(description: str) -> Iterator[Callable[[int, int | None], None]]:
    """A callback ``(done, total)`` for library code that knows how far it is, shown as a bar."""
    with progress_bar() as bar:
        task = bar.add_task(description, total=None)

        def report(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total)

        yield report


_stop_hints: list[Callable[[], str]] = []
"""The last one says how to go on if the command is stopped now."""


@contextmanager
def hinted_stops() -> Iterator[None]:
    """Note on a stop inside the block, by Ctrl-C or SIGTERM, how to go on with the command.

    That is what `hint_on_stop` was told last, or else the same command once more.
    """
    _stop_hints.clear()
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stop:
        is_stop = isinstance(stop, KeyboardInterrupt) or stop.code == TERMINATED
        if is_stop and os.environ.get("RANK", "0") == "0":
            stop.add_note(_stop_hints[-1]() if _stop_hints else _from_the_start())
        raise


def hint_on_stop(note: Callable[[], str]) -> None:
    """Set what is printed if the command is stopped from now on.

    Args:
        note: Makes the text, when it is needed.
    """
    _stop_hints.append(note)


def resume_hint(command: str, folder: Path) -> None:
    """Print from now on, if the command is stopped, how to resume its run.

    Args:
        command: The command that resumes it, in one line.
        folder: Folder of the run; as long as it has none, the same command starts it.
    """

    def note() -> str:
        has_begun = (folder / "config.json").exists()
        return f"go on with: {command}" if has_begun else _from_the_start()

    hint_on_stop(note)


def rerun_hint(out: Path | None) -> None:
    """Print from now on, if the experiment is stopped, whether the same command resumes it.

    Args:
        out: Where it keeps what is done.
    """
    if out is None:
        hint_on_stop(lambda: "nothing is kept; with --out DIR the same command would go on")
    else:
        hint_on_stop(lambda: f"go on with: {same_command()}")


def _from_the_start() -> str:
    return f"start it again with: {same_command()}"


def same_command() -> str:
    """Command line of this process, without passwords."""
    typed = command_line()
    assert typed is not None, "commands are recorded by `gnas.cli.Commands`"
    return typed


def print_next(target: Console, *commands: Sequence[str | Path]) -> None:
    """One line with the commands that come next, ready to be copied."""
    texts = [shell_line(["gnas", *command]) for command in commands]
    target.print(f"next: {' | '.join(texts)}", markup=False, soft_wrap=True)


def check_writable(path: str | Path | None) -> None:
    """Check before hours of work that its result can be written to ``path``.

    Args:
        path: A file to be written; missing folders are created when it is. None and ``-``
            always pass.

    Raises:
        ConfigError: the path is empty, a folder or a pipe, or is not writable.
    """
    if path is None or str(path) == "-":
        return
    if not str(path) or str(path) == ".":
        raise ConfigError("the output must be a file, but got an empty path")
    target = Path(path).absolute()
    length = len(os.fsencode(target.name))
    if length > LONGEST_NAME:
        raise ConfigError(
            f"the output's name must have at most {LONGEST_NAME} bytes, since temporary files "
            f"have it too, but has {length}"
        )
    if target.is_symlink():
        target = link_target(target)
    if target.is_dir():
        raise ConfigError(f"the output must be a file, but {target} is a folder")
    if target.is_fifo() and target.resolve().exists():  # /dev/fd/63 of a shell is no file
        raise ConfigError(
            f"the output must be a file, but {target} is a pipe, which nobody may read; "
            "write to - and pipe that"
        )
    if ".." in target.parts and not target.parent.exists():
        raise ConfigError(
            f"the output's folder must be there where its path has '..', but {target.parent} is "
            f"not; write {os.path.normpath(path)}"
        )
    nearest = target if target.exists() else next(p for p in target.parents if p.exists())
    if not os.access(nearest, os.W_OK) or (nearest != target and not nearest.is_dir()):
        raise ConfigError(f"the output must be writable, but {nearest} is not")


def check_other_file(output: str | Path | None, *others: str | Path | None) -> None:
    """Check that a file to be written is none that is read or written besides.

    Args:
        output: The file; None and ``-`` always pass.
        others: Other files, or texts that are none.

    Raises:
        ConfigError: it is one of them.
    """
    if output is None or str(output) == "-":
        return
    for other in others:
        if other is not None and os.path.realpath(other) == os.path.realpath(output):
            raise ConfigError(
                f"the output must be a file of its own, but {output} is used otherwise in this "
                "command; choose another name"
            )


def check_outputs(out: Path | None, json: str | None, command: str) -> None:
    """Check before the work that its results can be written.

    Until the command ends, ``out`` is its own.

    Args:
        out: Folder for the experiment.
        json: File for its result.
        command: The experiment's.

    Raises:
        ConfigError: a path is not writable, ``out`` has another run or experiment, or another
            process works in it.
    """
    from gnas.runs import check_new_experiment, run_folder_lock

    check_writable(json)
    if out is not None:
        check_new_experiment(out, command)
    until_end.enter_context(run_folder_lock(out))


def write_outputs(
    result: Result,
    out: Path | None,
    json: str | None,
    draw: Callable[[Result], Mapping[str, Figure]],
) -> None:
    """Write the files of an experiment that were asked for.

    Args:
        result: Has a configuration and a table.
        out: Folder for all of it.
        json: File for the result.
        draw: Its figures by name, for the folder.
    """
    if json is not None:
        write_json(json, result)
    if out is not None:
        from gnas.runs import write_run

        write_run(
            out, config=result.config, result=result, figures=draw(result), table=result.table
        )


def write_json(path: str | Path, value: object) -> None:
    """Write one JSON document, whole or not at all.

    Numbers that JSON lacks (NaN, infinities) become null; dataclasses, paths, sets, tuples and
    numpy scalars and arrays become their plain forms.

    Args:
        path: A file, replaced in one step; ``-`` prints to stdout.
        value: Value to write.

    Raises:
        ConfigError: nothing can be written there.
        DataError: writing failed; the file is as it was.
    """
    text = to_json(value)
    if str(path) == "-":
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    check_writable(path)
    with atomic_write(Path(path).absolute()) as temporary:
        temporary.write_text(text, encoding="utf-8")


class _Handler(logging.Handler):
    """Handler that writes to today's stderr, so that a running progress bar stays below."""

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`."""
        try:
            sys.stderr.write(self.format(record) + "\n")
        except Exception:
            self.handleError(record)


def set_up_logging(level: int) -> None:
    """Send gnas' log records of ``level`` and above to stderr; safe to call again."""
    logger = logging.getLogger("gnas")
    logger.setLevel(level)
    if not any(isinstance(handler, _Handler) for handler in logger.handlers):
        handler = _Handler()
        handler.setFormatter(PrintableFormatter("%(message)s"))
        logger.addHandler(handler)


def format_number(
    value: Interval | None, digits: int, *, scale: float = 1, sign: bool = False
) -> str:
    """``mean±half interval``; the mean alone with few seeds, a dash where there is nothing."""
    if value is None or value.mean != value.mean:
        return "-"
    mean = f"{scale * value.mean:{'+' if sign else ''}.{digits}f}"
    if value.high != value.high:
        return mean
    return f"{mean}±{scale * (value.high - value.mean):.{digits}f}"
