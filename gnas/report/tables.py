"""Reports of benchmark tables, those of ``gnas tabulate`` among them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gnas.bench.tables import scores_name
from gnas.data.columns import Column
from gnas.data.tables import BenchmarkTable, load_table
from gnas.errors import ConfigError
from gnas.metrics import kendall_tau
from gnas.report.circumstances import next_commands, table_facts
from gnas.report.formats import axis, cell, format_measure, format_number, name_of, settings
from gnas.report.gallery import MAX_DRAWN, Gallery
from gnas.report.page import (
    Axis,
    Block,
    Cell,
    Chart,
    Facts,
    RunReport,
    Section,
    Series,
    Table,
    Text,
    Tile,
)
from gnas.search.objectives import known_direction
from gnas.spaces import Space, space_record, space_text
from gnas.spaces.registry import own_space_text

BINS = 30
"""Number of bins of a histogram."""
MAX_POINTS = 2_000
"""Points of the largest scatter plot: rows at even distances in the order of accuracy."""
MAX_ROWS = 500
"""Architectures of the longest list."""
_SHOWN = ("val_acc", "test_acc", "num_params", "macs", "train_time_s")


def table_report(path: Path, own: Space | None = None, drawings: int = MAX_DRAWN) -> RunReport:
    """The report of a benchmark table.

    Args:
        path: Its file.
        own: Its space, where that is of a user's own file.
        drawings: Architectures that get a drawing, the best first.

    Raises:
        GnasError: it is no table, or is damaged.
    """
    table = load_table(path)
    facts = table.provenance
    space = facts.known_space() if own is None else facts.opened_space(own)
    columns = {name: _mean(table, name) for name in _SHOWN}
    known = {name: values for name, values in columns.items() if values is not None}
    of = {name: scores_name(_columns(table, name)) for name in known}
    first = next((n for n in ("val_acc", "test_acc") if n in known), next(iter(known), None))
    gallery = Gallery(space, drawings)
    blocks: list[Block] = []
    tiles = [Tile("architectures", f"{len(table):,}"), Tile("columns", str(len(table.columns)))]
    sections: list[Section] = []
    if first is not None:
        values = known[first]
        worth = -values if known_direction(first) == "min" else values
        best = int(np.nanargmax(worth))
        tiles += [
            Tile(f"best {name_of(first)}", format_measure(first, float(values[best])), of[first]),
            Tile(f"mean {name_of(first)}", format_measure(first, float(np.nanmean(values)))),
        ]
        blocks.append(Facts(tuple((name_of(name), column) for name, column in of.items())))
        order = [int(k) for k in np.argsort(-worth, kind="stable") if np.isfinite(values[k])]
        blocks += _charts(known, first, order)
        agreement = _agreement(table, first)
        if agreement is not None:
            tiles.append(Tile("Kendall's tau between runs", format_number(agreement, digits=3)))
        sections.append(Section("Measures", tuple(blocks)))
        if space is not None:
            shown = _rows(table, space, gallery, known, order)
            sections.append(Section("Architectures", (shown,)))
        else:
            sections.append(
                Section("Architectures", (Text(f"They are of {facts.space}; --space names it."),))
            )
    sections.append(_about(table))
    if space is not None:
        named = own_space_text(space_record(space))
        commands = [["search", "predictor", "--space", named, "--table", str(path)]]
        sections.append(next_commands(*commands))
    drawn = gallery.drawn() if space is not None else ()
    return RunReport(
        name=facts.name,
        command="tabulate" if facts.kind == "self-made" else "table",
        about=facts.note or facts.source,
        ended=True,
        tiles=tuple(tiles),
        sections=tuple(sections),
        cells=drawn,
    )


def _mean(table: BenchmarkTable, quantity: str) -> NDArray[np.float64] | None:
    """A quantity's mean over the runs, of the first images where there are several."""
    columns = _columns(table, quantity)
    if not columns:
        return None
    values: NDArray[np.float64] = np.asarray(
        table.metric(quantity, dataset=columns[0].dataset), dtype=np.float64
    )
    return values if np.isfinite(values).any() else None


def _columns(table: BenchmarkTable, quantity: str) -> list[Column]:
    """The columns that `_mean` is of; none where the table has no such quantity."""
    datasets = sorted({c.dataset or "" for c in table.columns if c.quantity == quantity})
    return table.select(quantity, dataset=datasets[0] or None) if datasets else []


def _agreement(table: BenchmarkTable, quantity: str) -> float | None:
    from gnas.metrics import agreement_between_runs

    datasets = sorted({c.dataset or "" for c in table.columns if c.quantity == quantity})
    try:
        runs = table.runs(quantity, dataset=datasets[0] or None)
    except ConfigError:
        return None
    return agreement_between_runs(runs) if len(runs) > 1 and np.isfinite(runs).all() else None


def _charts(known: Mapping[str, NDArray[np.float64]], first: str, order: list[int]) -> list[Block]:
    values = known[first][order]
    counts, edges = np.histogram(values, bins=BINS)
    found: list[Block] = [
        Chart(
            f"Distribution of {name_of(first)}",
            axis(first),
            Axis("architectures"),
            (
                Series(
                    "architectures",
                    "bars",
                    ((edges[:-1] + edges[1:]) / 2).tolist(),
                    counts.tolist(),
                    colour=2,
                    low=edges[:-1].tolist(),
                    high=edges[1:].tolist(),
                ),
            ),
        )
    ]
    for other in ("test_acc", "num_params", "macs"):
        if other in known and other != first:
            x, y = (first, other) if other == "test_acc" else (other, first)
            both = [k for k in order if np.isfinite(known[x][k] + known[y][k])]
            tau = kendall_tau(known[x][both], known[y][both])
            some = both[:: max(1, -(-len(both) // MAX_POINTS))]
            dots = Series(
                "architectures", "dots", known[x][some].tolist(), known[y][some].tolist(), colour=4
            )
            title = f"{name_of(y)} against {name_of(x)}"
            drawn = "" if len(some) == len(both) else f", {len(some):,} of them drawn"
            said = (
                f"Kendall's tau {format_number(tau, digits=3)} over {len(both):,} architectures"
                f"{drawn}."
            )
            found.append(Chart(title, axis(x), axis(y), (dots,), said))
    return found


def _rows(
    table: BenchmarkTable,
    space: Space,
    gallery: Gallery,
    known: Mapping[str, NDArray[np.float64]],
    order: list[int],
) -> Table:
    rows = []
    for row in order[:MAX_ROWS]:
        text = space.to_str(table[row])
        rows.append(
            (
                Cell(str(row), float(row)),
                Cell(text, None, gallery.add(text)),
                *(cell(name, float(values[row])) for name, values in known.items()),
            )
        )
    left = len(order) - len(rows)
    caption = f"The {left:,} worst are left out." if left else ""
    return Table(("row", "architecture", *map(name_of, known)), tuple(rows), caption)


def _about(table: BenchmarkTable) -> Section:
    facts = table.provenance
    named = space_text({"name": facts.space, "args": facts.space_args or {}})
    items = [*table_facts(facts.summary()), ("Space", named)]
    items += [("Licence", facts.licence)] if facts.licence else []
    blocks: list[Block] = [Facts(tuple(items))]
    columns = ", ".join(column.name for column in table.columns)
    blocks.append(Facts((("Columns", columns),)))
    if facts.recipe:
        recipe = tuple(settings(facts.recipe))
        blocks.append(Facts(recipe, title="How it was measured", folded=True))
    return Section("What it is", tuple(blocks))
