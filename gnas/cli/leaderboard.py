"""``gnas leaderboard``: results of several benches in one table."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gnas.cli.output import check_other_file, check_writable, report_console, write_json
from gnas.printable import amount

if TYPE_CHECKING:
    from gnas.bench.leaderboard import Leaderboard, LeaderboardRow, Metric

TEXTS = ("what", "file")
SHOWN, NARROW_SHOWN = 6, 2
"""Metrics beside the one that is sorted by, at most; where lines are narrow."""
WIDE = 120
"""Characters a line that leave room for `SHOWN`."""


def leaderboard(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Results, by --json")],
    metric: Annotated[
        str | None, typer.Option(help="Field to sort by: kendall_tau, global_bias, test_acc, ...")
    ] = None,
    samples: Annotated[
        int | None, typer.Option(help="Rows of so many samples; of regrets: queries (the most)")
    ] = None,
    json: Annotated[str | None, typer.Option(help="File for the table; - is stdout")] = None,
    markdown: Annotated[
        str | None, typer.Option(help="File for the table as Markdown; - is stdout")
    ] = None,
) -> None:
    """Sort the rows of several results of gnas bench, all of one protocol and table."""
    if json == markdown == "-":
        raise typer.BadParameter("only one of --json and --markdown can be -")
    check_writable(json)
    check_writable(markdown)
    check_other_file(json, markdown, *files)
    check_other_file(markdown, *files)
    from gnas.bench import leaderboard as boards

    board = boards.leaderboard([boards.read_bench(path) for path in files], metric, samples)
    print_board(board, "-" if "-" in (json, markdown) else None)
    if json is not None:
        write_json(json, board)
    if markdown == "-":
        sys.stdout.write(as_markdown(board))
    elif markdown is not None:
        from gnas.data.files import atomic_write

        with atomic_write(Path(markdown).absolute()) as temporary:
            temporary.write_text(as_markdown(board), encoding="utf-8")


def heading(board: Leaderboard) -> str:
    """Heading of the table in one line."""
    facts = board.facts
    parts = [f"{board.of} on {board.table['name']} (sha256 {board.table['sha256'][:12]})"]
    columns = [board.table.get(k) for k in ("train_column", "test_column")]
    if all(columns):
        parts.append(f"learned from {columns[0]}, ranked against {columns[1]}")
    if board.samples is not None:
        parts.append(amount(board.samples, "sample") if "budget" not in facts else
                     f"after {amount(board.samples, 'query')}")  # fmt: skip
    parts += (
        [f"{amount(facts['seeds'], 'seed')} from {facts.get('seed', 0)}"]
        if "seeds" in facts
        else []
    )
    parts += [f"budget {facts['budget']}"] if "budget" in facts else []
    parts.append(f"sorted by {board.metric}, {board.better} is better")
    return "; ".join(parts)


def table(board: Leaderboard, others: int = SHOWN) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of texts; the sorted metric with its 95% interval, and so many others."""
    names = [board.metric]
    names += [
        name
        for name in board.metrics
        if name != board.metric and any(entry.values[name] for entry in board.entries)
    ][:others]
    places = {place for entry in board.entries for place in entry.files}
    columns = ["#", "what", *(_column(board, name) for name in names)]
    columns += ["file"] if len(places) > 1 else []
    rows = [
        [
            "-" if entry.rank is None else str(entry.rank),
            entry.name,
            *(_cell(board, entry, name) for name in names),
            *([", ".join(entry.files)] if len(places) > 1 else []),
        ]
        for entry in board.entries
    ]
    return columns, rows


def print_board(board: Leaderboard, json: str | None) -> None:
    """The table, what it is of, and its protocol."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    target = report_console(json)
    target.print(heading(board), soft_wrap=True)
    columns, rows = table(board, SHOWN if target.width >= WIDE else NARROW_SHOWN)
    shown = Table(box=SIMPLE_HEAD, padding=0, pad_edge=False)
    for name in columns:
        is_text = name in TEXTS
        shown.add_column(
            name, justify="left" if is_text else "right", no_wrap=not is_text, overflow="fold"
        )
    for row in rows:
        shown.add_row(*row)
    target.print(shown)
    for name, text in board.protocol.items():
        target.print(f"{name}: {text}", soft_wrap=True)


def as_markdown(board: Leaderboard) -> str:
    """The same as a page in Markdown; names are escaped."""
    columns, rows = table(board)
    lines = [f"{_escaped(heading(board))}.", ""]
    lines.append(f"| {' | '.join(map(_escaped, columns))} |")
    marks = ["---" if name in TEXTS else "---:" for name in columns]
    lines.append(f"| {' | '.join(marks)} |")
    lines += [f"| {' | '.join(map(_escaped, row))} |" for row in rows]
    if board.protocol:
        lines += ["", *(f"- {_escaped(k)}: {_escaped(str(v))}" for k, v in board.protocol.items())]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    from gnas.printable import printable

    line = " ".join(printable(text).split())
    return re.sub(r"([\\`*_\[\]<>|#&])", r"\\\1", line)


def _column(board: Leaderboard, name: str) -> str:
    metric = board.metrics[name]
    return f"{metric.heading} %" if _is_percent(board, metric) else metric.heading


def _is_percent(board: Leaderboard, metric: Metric) -> bool:
    return metric.is_acc and board.are_accs


def _cell(board: Leaderboard, entry: LeaderboardRow, name: str) -> str:
    value = entry.values[name]
    if value is None:
        return "-"
    metric = board.metrics[name]
    scale, digits = (100, 2) if _is_percent(board, metric) else (1, metric.digits)

    def text(number: float) -> str:
        return f"{round(scale * number, digits) + 0.0:.{digits}f}"  # no -0.00

    if name != board.metric or math.isnan(value.low):
        return text(value.mean)
    return f"{text(value.mean)} [{text(value.low)}, {text(value.high)}]"
