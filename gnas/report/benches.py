"""Reports of experiments: the JSON objects that ``gnas bench`` writes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gnas.bench.result import RANDOM_PICK
from gnas.data.files import as_data_error
from gnas.metrics import Interval, interval_note
from gnas.printable import amount
from gnas.report.circumstances import ENVIRONMENT, what_was_run
from gnas.report.formats import (
    axis,
    duration,
    format_interval,
    format_number,
    format_of,
    mean_name,
    name_of,
)
from gnas.report.page import (
    Axis,
    Block,
    Cell,
    Chart,
    Facts,
    Format,
    RunReport,
    Section,
    Series,
    Table,
    Tile,
)
from gnas.style import palette_places

WHAT = "the result of gnas bench"
MIN_REGRET = 2e-5
"""Lower end of the logarithmic axis of regrets: one of 0 is drawn here."""


def bench_report(path: Path, record: Mapping[str, Any], name: str) -> RunReport:
    """The report of an experiment.

    Args:
        path: The file that holds it.
        record: Its content.
        name: Name in the report.

    Raises:
        DataError: it is no such result.
    """
    with as_data_error(path, WHAT):
        command = str(record["command"])
        if not record["rows"]:
            raise ValueError("it has no rows")
        if command == "bench search":
            tiles, sections = _searchers(record)
        elif command == "bench supernet":
            tiles, sections = _supernets(record)
        elif command == "bench topology":
            tiles, sections = _topologies(record)
        else:
            tiles, sections = _predictors(record)
        protocol = record.get("protocol") or {}
        said: list[Block] = []
        if protocol:
            labels = tuple((key.replace("_", " "), str(text)) for key, text in protocol.items())
            said = [Facts(labels)]
        told = ("command", "config", "table", "data", *ENVIRONMENT)
        run = {key: record[key] for key in record if key in told}
        return RunReport(
            name=name,
            command=command,
            about=_about(record),
            ended=True,
            tiles=(*tiles, Tile("took", duration(record.get("seconds")))),
            sections=(
                *sections,
                *([Section("Protocol", tuple(said))] if said else []),
                what_was_run(run, file=path, seconds=record.get("seconds"), hidden=()),
            ),
        )


def _about(record: Mapping[str, Any]) -> str:
    table = record["table"]
    rows = table.get("usable") or table.get("architectures") or table.get("rows")
    return f"{table['name']}, {table['provenance']}, {format_number(rows)} architectures"


def _known(record: Mapping[str, Any] | None) -> Interval | None:
    """An interval of JSON, whose missing ends are not numbers."""
    if record is None or record["mean"] is None:
        return None
    low, high = (math.nan if record[k] is None else float(record[k]) for k in ("low", "high"))
    return Interval(float(record["mean"]), low, high)


def _of(record: Mapping[str, Any] | None, form: Format = "plain", *, strong: bool = False) -> Cell:
    value = _known(record)
    if value is None:
        return Cell("–")  # noqa: RUF001
    return Cell(format_interval(value, form), value.mean, strong=strong)


def _intervals(
    name: str,
    values: Sequence[Interval | None],
    places: Sequence[float],
    *,
    across: bool = False,
    colour: int = 4,
    kind: Any = "intervals",
) -> Series:
    """Means with their intervals; ``across`` puts the values on the horizontal axis.

    An empty name says what they are.
    """
    means = [None if v is None else v.mean for v in values]
    low, high = (
        [None if v is None or math.isnan(getattr(v, end)) else getattr(v, end) for v in values]
        for end in ("low", "high")
    )
    x, y = (means, places) if across else (places, means)
    return Series(name or mean_name(low), kind, x, y, colour=colour, low=low, high=high)


def _predictors(record: Mapping[str, Any]) -> tuple[tuple[Tile, ...], tuple[Section, ...]]:
    rows, quantity = record["rows"], str(record.get("quantity", "test_acc"))
    form = format_of(quantity)
    label = name_of(quantity)
    most = max(row["samples"] for row in rows)
    learned = [row for row in rows if row["samples"] == most and _known(row["kendall_tau"])]
    ranked = sorted(learned, key=lambda row: -row["kendall_tau"]["mean"])
    pick = min(
        (row for row in rows if row["samples"] == most and row["predictor"] != "none"),
        key=lambda row: row["global_bias"]["mean"],
    )
    tiles = (
        *(  # undefined where all scores, or all predictions, are equal
            Tile(
                "best Kendall's tau",
                format_number(best["kendall_tau"]["mean"], digits=3),
                _row_name(best),
            )
            for best in ranked[:1]
        ),
        Tile(
            f"best pick: {label}",
            format_number(pick["picked_score"]["mean"], form),
            _row_name(pick),
        ),
        Tile(f"best {label} of the table", format_number(record["best_score"], form)),
        Tile("samples", f"{most:,}", amount(pick["seeds"], "seed")),
    )
    charts = (
        _by_samples(rows, record, form, label) if len({r["samples"] for r in rows}) > 1 else []
    )
    if not charts:
        picked = [
            row for row in rows if row["predictor"] != "none" or row["encoder"] != RANDOM_PICK
        ]
        picked = sorted(picked, key=lambda row: row["global_bias"]["mean"])
        charts = [
            Chart(
                "Ranking of unseen architectures",
                Axis("Kendall's tau"),
                Axis("", names=tuple(map(_row_name, ranked))),
                (
                    _intervals(
                        "",
                        [_known(r["kendall_tau"]) for r in ranked],
                        range(len(ranked)),
                        across=True,
                    ),
                    *_ceiling(record, len(ranked)),
                ),
            ),
            Chart(
                "What the pick misses of the best",
                Axis("global prediction bias", form),
                Axis("", names=tuple(map(_row_name, picked))),
                (
                    _intervals(
                        "",
                        [_known(r["global_bias"]) for r in picked],
                        range(len(picked)),
                        across=True,
                        colour=5,
                    ),
                ),
            ),
        ]
    columns = (
        "predictor",
        "sees",
        "samples",
        "Kendall's tau",
        "Spearman",
        "precision at 1 %",
        "N@10",
        f"pick: {label}",
        "bias",
    )
    lines = tuple(
        (
            Cell(row["predictor"]),
            Cell(row["encoder"]),
            Cell(f"{row['samples']:,}", float(row["samples"])),
            _of(row["kendall_tau"], strong=True),
            _of(row["spearman"]),
            _of(row.get("precision_at_1_percent"), "percent"),
            _of(row.get("n_at_10")),
            _of(row.get("picked_score", row.get("picked_acc")), form),
            _of(row["global_bias"], form),
        )
        for row in rows
    )
    said: list[Block] = [
        Table(columns, lines, f"Means. {interval_note(min(row['seeds'] for row in rows))}")
    ]
    return tiles, (Section("Results", tuple(charts)), Section("All numbers", tuple(said)))


def _ceiling(record: Mapping[str, Any], count: int) -> Iterator[Series]:
    if record.get("ceiling") is not None and count:
        ends = [float(record["ceiling"])] * 2
        yield Series("ceiling (see the protocol)", "guide", ends, [0, count - 1], colour=7)


def _row_name(row: Mapping[str, Any]) -> str:
    return (
        str(row["encoder"])
        if row["predictor"] == "none"
        else f"{row['predictor']}: {row['encoder']}"
    )


def _by_samples(
    rows: Sequence[Mapping[str, Any]], record: Mapping[str, Any], form: Format, label: str
) -> list[Chart]:
    curves: dict[str, list[Mapping[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: row["samples"]):
        curves.setdefault(_row_name(row), []).append(row)

    def series(field: str) -> Iterator[Series]:
        for place, (name, own) in enumerate(curves.items()):
            known = [row for row in own if row.get(field) is not None]
            if known and known[0]["encoder"] != RANDOM_PICK:
                values = [_known(row[field]) for row in known]
                yield _intervals(
                    name,
                    values,
                    [row["samples"] for row in known],
                    colour=(place + 1) % 8,
                    kind="line",
                )

    sizes = sorted({row["samples"] for row in rows})
    ceiling = record.get("ceiling")
    taus = list(series("kendall_tau"))
    if ceiling is not None:
        taus.append(Series("ceiling", "guide", [sizes[0], sizes[-1]], [ceiling] * 2, colour=7))
    samples = Axis("labelled samples", log=True)
    return [
        Chart(
            "Ranking of unseen architectures",
            samples,
            Axis("Kendall's tau"),
            tuple(taus),
            wide=True,
        ),
        Chart(
            f"What the pick misses of the best {label}",
            samples,
            Axis("global prediction bias", form),
            tuple(series("global_bias")),
            wide=True,
        ),
    ]


def _searchers(record: Mapping[str, Any]) -> tuple[tuple[Tile, ...], tuple[Section, ...]]:
    rows, config = record["rows"], record["config"]
    most = max(row["test_acc"]["mean"] for row in rows)
    names = [str(row["searcher"]) for row in rows if row["test_acc"]["mean"] == most]
    tiles = (
        Tile("best searcher", ", ".join(names), f"after {amount(config['budget'], 'query')}"),
        Tile("its test accuracy", format_number(most, "percent")),
        Tile("best of the table", format_number(record["best_test_acc"], "percent")),
        Tile("searches each", f"{config['seeds']:,}"),
    )

    places = palette_places(str(row["searcher"]) for row in rows)

    def curve(row: Mapping[str, Any], field: str) -> Series:
        values = [_known(one) for one in row[field]]
        spread = [one for one in row.get("test_regret_spread") or () if one is not None]
        if field == "test_regret" and len(spread) == len(values):
            low, high = (
                [max(float(one[e]), MIN_REGRET) for one in spread] for e in ("low", "high")
            )
        else:
            low, high = [], []
        steps = range(1, len(values) + 1)
        means = [None if v is None else max(v.mean, MIN_REGRET) for v in values]
        return Series(
            str(row["searcher"]),
            "band" if low else "line",
            steps,
            means,
            colour=places[str(row["searcher"])],
            low=low,
            high=high,
        )

    def found(row: Mapping[str, Any], style: int) -> Series:
        name = str(row["searcher"])
        steps = range(1, config["budget"] + 1)
        ends = [math.inf if q is None else q for q in row["queries"]]
        shares = [sum(q <= step for q in ends) / len(ends) for step in steps]
        return Series(name, "step", steps, shares, colour=places[name], style=style)

    charts: list[Block] = [
        Chart(
            "Regret",
            Axis("queries"),
            Axis("test regret", "percent", log=True),
            tuple(curve(row, "test_regret") for row in rows),
            "Lines are means over the searches; bands, where there are any, hold four fifths of "
            f"them. A regret of 0 is drawn at {100 * MIN_REGRET:g} %.",
            wide=True,
        ),
        Chart(
            "Searches that found the optimum",
            Axis("queries"),
            Axis("share", "percent"),
            tuple(found(row, k) for k, row in enumerate(rows)),
            wide=True,
        ),
    ]
    columns = (
        "searcher",
        "searches",
        "test accuracy",
        "regret at the end",
        "found the optimum",
        "median queries until then",
        "processor time a search",
    )
    lines = tuple(
        (
            Cell(str(row["searcher"])),
            Cell(f"{row['seeds']:,}", float(row["seeds"])),
            _of(row["test_acc"], "percent", strong=True),
            _of(row["test_regret"][-1], "percent"),
            Cell(format_number(row["found_optimum"], "percent"), float(row["found_optimum"])),
            Cell(format_number(row["median_queries"]), row["median_queries"]),
            Cell(duration(row["seconds"]), float(row["seconds"])),
        )
        for row in rows
    )
    table = Table(columns, lines, f"Means. {interval_note(int(config['seeds']), 'searches')}")
    return tiles, (Section("Results", tuple(charts)), Section("All numbers", (table,)))


def _supernets(record: Mapping[str, Any]) -> tuple[tuple[Tile, ...], tuple[Section, ...]]:
    rows = sorted(record["rows"], key=lambda row: -row["test_acc"]["mean"])
    tiles = (
        Tile("best method", str(rows[0]["method"])),
        Tile("its test accuracy", format_number(rows[0]["test_acc"]["mean"], "percent")),
        Tile("best cell", format_number(record["best_test_acc"], "percent")),
        Tile("mean cell", format_number(record["mean_test_acc"], "percent")),
    )
    names = tuple(str(row["method"]) for row in rows)
    places = range(len(rows))
    guides = [
        Series(label, "guide", [record[name]] * 2, [0, len(rows) - 1], colour=colour)
        for name, label, colour in (
            ("best_test_acc", "best cell", 3),
            ("median_test_acc", "median cell", 0),
            ("mean_test_acc", "mean cell", 7),
        )
    ]
    ends = [one for row in rows for one in [row["curves"]]]
    singles = [
        Series(
            "single searches" if k == 0 else "",
            "dots",
            [c[-1] for c in curves if c],
            [k] * sum(bool(c) for c in curves),
            colour=2,
        )
        for k, curves in enumerate(ends)
    ]
    charts: list[Block] = [
        Chart(
            "Test accuracy of the derived cells",
            axis("test_acc"),
            Axis("", names=names),
            (
                *singles,
                _intervals(
                    "",
                    [_known(row["test_acc"]) for row in rows],
                    places,
                    across=True,
                    colour=1,
                ),
                *guides,
            ),
            wide=True,
        ),
        Chart(
            "The cell of every epoch",
            Axis("epoch"),
            axis("test_acc"),
            tuple(
                Series(
                    str(row["method"]),
                    "line",
                    range(1, len(row["curves"][0]) + 1),
                    _mean_curve(row["curves"]),
                    colour=(k + 1) % 8,
                )
                for k, row in enumerate(rows)
                if row["curves"] and row["curves"][0]
            ),
            "Mean over the searches, as the table knows the cells.",
            wide=True,
        ),
    ]
    columns = (
        "method",
        "searches",
        "test accuracy",
        "worst",
        "median rank",
        "regret",
        "skips",
        "joined",
        "tau of the supernet",
        "p against DARTS",
        "p against random",
    )
    lines = tuple(
        (
            Cell(str(row["method"])),
            Cell(str(len(row["seeds"])), float(len(row["seeds"]))),
            _of(row["test_acc"], "percent", strong=True),
            Cell(format_number(row["worst"], "percent"), float(row["worst"])),
            Cell(format_number(row["rank"]), float(row["rank"])),
            _of(row["regret"], "percent"),
            Cell(format_number(row["skip_share"], "percent"), float(row["skip_share"])),
            Cell(format_number(row["joined"], "percent"), float(row["joined"])),
            _of(row.get("tau")),
            *(Cell(format_number(row[p], digits=2), row[p]) for p in ("p_darts", "p_random")),
        )
        for row in rows
    )
    said = "p is of a two-sided paired t-test over seeds; random is a cell drawn for each seed."
    return tiles, (
        Section("Results", tuple(charts)),
        Section("All numbers", (Table(columns, lines, said),)),
    )


def _mean_curve(curves: Sequence[Sequence[float]]) -> list[float]:
    """The mean of curves, each as long as it goes; a search that stopped keeps its last cell."""
    length = max(map(len, curves))
    whole = [[*c, *[c[-1]] * (length - len(c))] for c in curves if c]
    return [sum(column) / len(column) for column in zip(*whole, strict=True)]


def _topologies(record: Mapping[str, Any]) -> tuple[tuple[Tile, ...], tuple[Section, ...]]:
    rows = record["rows"]
    joined = [row for row in rows if row["live_edges"]]
    best = max(rows, key=lambda row: row["mean_acc"])
    tiles = (
        Tile(
            "best topology: mean accuracy",
            format_number(best["mean_acc"], "percent"),
            _edges(best),
        ),
        Tile("topologies", str(len(rows)), f"{record['num_classes']} up to isomorphism"),
        Tile("Spearman with the edges", format_number(record["spearman"], digits=3)),
    )
    chart = Chart(
        "Accuracy by the number of edges",
        Axis("edges"),
        Axis("mean accuracy", "percent"),
        tuple(
            Series(
                name,
                "dots",
                [len(row["edges"]) for row in some],
                [row["mean_acc"] for row in some],
                colour=colour,
                labels=[_edges(row) for row in some],
            )
            for name, colour, some in (
                (
                    "every edge is on a path from input to output",
                    4,
                    [r for r in joined if r["live_edges"] == len(r["edges"])],
                ),
                (
                    "some edges lead nowhere",
                    7,
                    [r for r in joined if r["live_edges"] != len(r["edges"])],
                ),
            )
            if some
        ),
        "Mean over all operations on the edges; topologies that do not join input and output are "
        "left out.",
        wide=True,
    )
    columns = (
        "edges",
        "number",
        "on paths",
        "cells",
        "mean accuracy",
        "deviation",
        "best",
        "class",
    )
    lines = tuple(
        (
            Cell(_edges(row)),
            *(
                Cell(f"{v:,}", float(v))
                for v in (len(row["edges"]), row["live_edges"], row["cells"])
            ),
            *(
                Cell(
                    format_number(row[name], "percent"),
                    float(row[name]),
                    strong=name == "mean_acc",
                )
                for name in ("mean_acc", "std_acc", "best_acc")
            ),
            Cell(str(row["isomorphism_class"]), float(row["isomorphism_class"])),
        )
        for row in rows
    )
    return tiles, (
        Section("Results", (chart,)),
        Section("All topologies", (Table(columns, lines),)),
    )


def _edges(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{i}–{j}" for i, j in row["edges"]) or "none"  # noqa: RUF001
