"""Several runs beside each other: means and intervals over seeds, and paired tests."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from gnas.metrics import MIN_SEEDS, interval_note, mean_interval
from gnas.report.formats import (
    axis,
    format_interval,
    format_number,
    format_of,
    mean_name,
    name_of,
    settings,
)
from gnas.report.page import (
    Axis,
    Block,
    Cell,
    Chart,
    Outcome,
    RunReport,
    Section,
    Series,
    Table,
    Text,
)

MAX_DIFFERENCES = 3
"""Settings that distinguish the names of groups of runs."""


def compare(runs: Sequence[RunReport]) -> tuple[Section, ...]:
    """Sections that compare the runs, by what they were measured by; none of a single run.

    Runs that are equal but for their seed form a group. Only runs that were measured alike (the
    same data, table and protocol) stand in one table.
    """
    told = [(run, run.outcome) for run in runs if run.outcome is not None]
    protocols: dict[str, list[tuple[RunReport, Outcome]]] = {}
    for run, outcome in told:
        protocols.setdefault(f"{run.command.split()[0]} {outcome.protocol}", []).append(
            (run, outcome)
        )
    shared = [some for some in protocols.values() if len(some) > 1]
    sections = [
        Section(
            "Comparison" if len(shared) == 1 else f"Comparison {k + 1}", tuple(_compared(some))
        )
        for k, some in enumerate(shared)
    ]
    alone = [some[0][0].name for some in protocols.values() if len(some) == 1]
    if len(runs) > 1 and alone:
        text = f"Measured unlike any other run here, and so not compared: {', '.join(alone)}."
        sections.append(Section("Not compared", (Text(text),)))
    return tuple(sections)


def _compared(some: Sequence[tuple[RunReport, Outcome]]) -> Iterator[Block]:
    groups: dict[str, dict[int, list[Outcome]]] = {}
    for _, outcome in some:
        own = groups.setdefault(outcome.group, {})
        own.setdefault(outcome.seed, []).append(outcome)
    names = _names([(run.command, outcome.group) for run, outcome in some])
    ended = {
        names[group]: {seed: ones[0].measures for seed, ones in own.items() if ones[0].measures}
        for group, own in groups.items()
    }
    ended = {name: own for name, own in ended.items() if own}
    twice = [names[g] for g, own in groups.items() if any(len(ones) > 1 for ones in own.values())]
    if twice:
        yield Text(
            f"Some runs of {', '.join(twice)} have the same seed; the first one counts.", True
        )
    curves = _curves(groups, names)
    if curves is not None:
        yield curves
    if not ended:
        return
    known = [dict.fromkeys(n for m in own.values() for n in m) for own in ended.values()]
    measures = [n for n in known[0] if all(n in own for own in known)]
    first = next((n for n in ("test_acc", "val_acc") if n in measures), next(iter(measures), None))
    if first is not None:
        yield _intervals(ended, first)
    columns = ("runs", "seeds", *map(name_of, measures))
    rows = tuple(
        (
            Cell(name),
            Cell(str(len(own)), float(len(own))),
            *(
                _mean(n, [m[n] for m in own.values() if n in m], strong=n == first)
                for n in measures
            ),
        )
        for name, own in ended.items()
    )
    seeds = min(map(len, ended.values()))
    yield Table(columns, rows, f"Means. {interval_note(seeds)}")
    if first is not None:
        yield from _tests(ended, first)


def _mean(name: str, values: Sequence[float], *, strong: bool) -> Cell:
    mean = mean_interval(values)
    return Cell(format_interval(mean, format_of(name)), mean.mean, strong=strong)


def _names(runs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """A name for every group: its command, and the settings by which it differs from others."""
    leaves = {group: dict(settings(json.loads(group))) for _, group in runs}
    found = {}
    for command, group in runs:
        others = {g for c, g in runs if c == command and g != group}
        different = [
            name
            for name in leaves[group]
            if any(leaves[o].get(name) != leaves[group][name] for o in others)
        ]
        told = ", ".join(f"{n}={leaves[group][n]}" for n in different[:MAX_DIFFERENCES])
        found[group] = f"{command} ({told})" if told else command
    doubled = [name for name in found.values() if [*found.values()].count(name) > 1]
    for k, (group, name) in enumerate(found.items()):
        if name in doubled:
            found[group] = f"{name} [{k + 1}]"
    return found


def _curves(
    groups: Mapping[str, Mapping[int, Sequence[Outcome]]], names: Mapping[str, str]
) -> Chart | None:
    first = next(iter(next(iter(groups.values())).values()))[0]
    best = " so far" if first.curve_step == "evaluation" else ""
    series, most = [], 0
    for place, (group, own) in enumerate(groups.items()):
        curves = [ones[0].curve for ones in own.values() if ones[0].curve]
        if not curves or any(o[0].curve_measure != first.curve_measure for o in own.values()):
            continue
        steps: dict[int, list[float]] = {}  # those at which every run has a value
        for step, row in enumerate(zip(*curves, strict=False), 0 if best else 1):
            values = [value for value in row if value is not None]
            if len(values) == len(row):
                steps[step] = values
        if not steps:
            continue
        columns = [mean_interval(values) for values in steps.values()]
        several, most = len(curves) >= MIN_SEEDS, max(most, len(curves))
        series.append(
            Series(
                names[group],
                "band" if several else "step" if best else "line",
                [*steps],
                [one.mean for one in columns],
                colour=(place + 1) % 8,
                low=[one.low for one in columns] if several else (),
                high=[one.high for one in columns] if several else (),
            )
        )
    if not series:
        return None
    bands = "bands are 95% Student t intervals"
    if not any(one.kind == "band" for one in series):
        bands = f"no bands, which need {MIN_SEEDS}"
    return Chart(
        f"{name_of(first.curve_measure)}{best}",
        Axis(first.curve_step),
        axis(first.curve_measure),
        tuple(series),
        f"Means over seeds; {bands}." if most > 1 else "",
        wide=True,
    )


def _intervals(ended: Mapping[str, Mapping[int, Mapping[str, float]]], name: str) -> Chart:
    series = []
    means = [mean_interval([m[name] for m in own.values()]) for own in ended.values()]
    for place, own in enumerate(ended.values()):
        values = [m[name] for m in own.values()]
        labels = [f"seed {seed}" for seed in own]
        series.append(
            Series(
                "single runs" if place == 0 else "",
                "dots",
                values,
                [place] * len(values),
                colour=2,
                labels=labels,
            )
        )
    series.append(
        Series(
            mean_name(m.low for m in means),
            "intervals",
            [m.mean for m in means],
            range(len(means)),
            colour=1,
            low=[None if math.isnan(m.low) else m.low for m in means],
            high=[None if math.isnan(m.high) else m.high for m in means],
        )
    )
    return Chart(name_of(name), axis(name), Axis("", names=tuple(ended)), tuple(series), wide=True)


def _tests(ended: Mapping[str, Mapping[int, Mapping[str, float]]], name: str) -> Iterator[Block]:
    from scipy.stats import ttest_rel

    rows = []
    for (left, own), (right, other) in itertools.combinations(ended.items(), 2):
        seeds = sorted(own.keys() & other.keys())
        differences = np.array([own[s][name] - other[s][name] for s in seeds])
        if len(seeds) < 2:
            continue
        mean = mean_interval(differences)
        equal = np.ptp(differences) == 0
        p = 1.0 if equal and not mean.mean else None
        if not equal:
            p = float(
                ttest_rel([own[s][name] for s in seeds], [other[s][name] for s in seeds]).pvalue
            )
        rows.append(
            (
                Cell(f"{left} − {right}"),  # noqa: RUF001
                Cell(str(len(seeds)), float(len(seeds))),
                Cell(format_interval(mean, format_of(name)), mean.mean, strong=True),
                Cell(format_number(p, digits=2), p),
            )
        )
    if rows:
        columns = ("difference", "pairs", name_of(name), "p")
        yield Table(
            columns,
            tuple(rows),
            "Pairs have the same seed. p is of a two-sided paired t-test, not corrected for the "
            f"{len(rows)} comparison{'s' if len(rows) > 1 else ''}.",
        )
    elif len(ended) > 1:
        yield Text("No paired test: no two groups of runs share at least two seeds.")
