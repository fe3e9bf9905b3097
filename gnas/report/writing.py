"""Reports of runs, written once or again and again while they go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from gnas import __version__
from gnas.config import checked
from gnas.data.files import atomic_write
from gnas.errors import ConfigError, MissingDataError
from gnas.report.circumstances import TIME
from gnas.report.comparison import compare
from gnas.report.gallery import MAX_DRAWN
from gnas.report.html import render
from gnas.report.page import Page
from gnas.report.reading import read_report
from gnas.spaces import Space

MIN_DRAWN = 6
"""Candidates of each of many runs that get a drawing."""
MAX_NAMED = 6
"""Runs that the head of a page names."""
EVERY_S = 2.0
"""Seconds between two looks at the files of runs that go on."""
WATCHED = ("*.json", "*.jsonl", "*/metrics.jsonl", "*/result.json", "*/*/metrics.jsonl")
"""Files that change as a run goes on."""


@checked
def write_report(
    paths: Sequence[Path], out: Path, *, space: Space | None = None, live: bool = False
) -> Page:
    """Write the report of runs as one HTML file, whole or not at all.

    Args:
        paths: Runs' folders, results or tables; see `gnas.report.read_report`.
        out: The file.
        space: See `gnas.report.read_report`.
        live: Whether the page loads itself again as long as a run goes on.

    Returns:
        What was written.

    Raises:
        GnasError: a run cannot be read, or the file cannot be written.

    Examples:
        >>> import tempfile
        >>> from gnas.search import run_search
        >>> from gnas.spaces import NASBench201
        >>> def edges(graph, *, seed):
        ...     return float(graph.num_edges)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run, out = Path(folder) / "edges", Path(folder) / "edges.html"
        ...     _ = run_search(NASBench201(), "random", edges, budget=1, out=run)
        ...     write_report([run], out).title, out.read_text(encoding="utf-8")[:15]
        ('edges', '<!doctype html>')
    """
    if not paths:
        raise ConfigError("a report needs at least one path, but got none")
    drawings = max(MIN_DRAWN, MAX_DRAWN // len(paths))
    runs = tuple(read_report(path, space, drawings) for path in paths)
    page = Page(
        title=runs[0].name if len(runs) == 1 else f"{len(runs)} runs",
        subtitle=runs[0].command if len(runs) == 1 else _named([run.name for run in runs]),
        live=live and not all(run.ended for run in runs),
        runs=runs,
        comparison=compare(runs) if len(runs) > 1 else (),
        facts={"version": __version__, "written": time.strftime(TIME, time.gmtime())},
    )
    with atomic_write(out) as temporary:
        temporary.write_text(render(page), encoding="utf-8")
    return page


@checked
def watch_report(
    paths: Sequence[Path],
    out: Path,
    *,
    space: Space | None = None,
    every_s: float = EVERY_S,
    report: Callable[[str], None] = lambda text: None,
) -> Page:
    """Write the report anew whenever files of a run change, until all runs have ended.

    A run that has not come far enough to be told is waited for.

    Args:
        paths: See `write_report`.
        out: The file.
        space: See `write_report`.
        every_s: Seconds between two looks.
        report: Called with a line for every version that was written.

    Returns:
        The last version, of which all runs have ended.

    Raises:
        GnasError: see `write_report`; files that are not there yet are waited for.

    Examples:
        >>> import tempfile
        >>> from gnas.search import run_search
        >>> from gnas.spaces import NASBench201
        >>> def edges(graph, *, seed):
        ...     return float(graph.num_edges)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run, out = Path(folder) / "edges", Path(folder) / "edges.html"
        ...     _ = run_search(NASBench201(), "random", edges, budget=1, out=run)
        ...     watch_report([run], out).live  # the run has ended, so there is nothing to wait for
        False
    """
    before: object = None
    page: Page | None = None
    is_waiting = False
    while True:
        now = [_state(path) for path in paths]
        if now != before:
            before = now
            try:
                page = write_report(paths, out, space=space, live=True)
            except MissingDataError as error:
                if page is None and not is_waiting:
                    report(f"waiting: {error}")
                    is_waiting = True
            else:
                report(f"written at {time.strftime('%H:%M:%S')}: {out}")
        if page is not None and not page.live and now == before:
            return page
        time.sleep(every_s)


def _named(names: Sequence[str]) -> str:
    left = len(names) - MAX_NAMED
    return ", ".join(names[:MAX_NAMED]) + (f" and {left} more" if left > 0 else "")


def _state(path: Path) -> tuple[tuple[str, int, int], ...]:
    """Sizes and times of the files that a report is made of."""
    found = []
    files = [path] if not path.is_dir() else [f for p in WATCHED for f in path.glob(p)]
    for file in sorted(files):
        try:
            stat = file.stat()
        except FileNotFoundError:  # replaced at this moment
            continue
        found.append((str(file), stat.st_mtime_ns, stat.st_size))
    return tuple(found)
