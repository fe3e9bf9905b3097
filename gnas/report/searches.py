"""Reports of searches that ask and tell, those of ``gnas search nasgem`` among them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gnas.metrics import kendall_tau
from gnas.report.circumstances import next_commands, what_was_run
from gnas.report.formats import (
    NOTHING,
    axis,
    cell,
    duration,
    format_measure,
    format_number,
    name_of,
)
from gnas.report.gallery import MAX_DRAWN, Gallery, space_of
from gnas.report.outcomes import group_of, protocol_of
from gnas.report.page import (
    Axis,
    Block,
    Cell,
    Chart,
    Code,
    Facts,
    Outcome,
    RunReport,
    Section,
    Series,
    Table,
    Text,
    Tile,
)
from gnas.report.searched import Searched, read_searched, recorded
from gnas.search.nasgem.result import Candidate, NasgemResult
from gnas.search.result import Evaluation
from gnas.spaces import Space
from gnas.spaces.names import own_space_option
from gnas.spaces.registry import own_space_text

MAX_TABLE_ROWS = 1_000
"""Candidates of the longest table."""
MIN_PAIRS = 5
"""Predictions that can be told from chance."""
SIZES = ("macs", "num_params")
"""Measures that accuracies are drawn against where they were no objectives."""
_DRAWINGS = (
    f"{' and '.join(map(name_of, SIZES)).capitalize()} are those of the cell as it is drawn; "
    "other measures of cells that are the same network, drawn differently, are means over the "
    "table's drawings."
)


def search_report(folder: Path, own: Space | None = None, drawings: int = MAX_DRAWN) -> RunReport:
    """The report of a search in a run's folder, ended or under way.

    Args:
        folder: The run's.
        own: Its space, where that is of a user's own file.
        drawings: Candidates that get a drawing.

    Raises:
        GnasError: nothing was evaluated yet, or a file is damaged.
    """
    search, record = read_searched(folder), recorded(folder)
    gallery = Gallery(space_of(dict(search.space), own), drawings)
    texts = [one.architecture for one in search.evaluations]
    for text in texts:
        gallery.add(text)
    result = search.result
    seconds = None if result is None else result.seconds
    sections = [
        Section("The architecture", tuple(_architecture(search, gallery))),
        *_course(search, gallery),
        Section("Candidates", (_table(search, gallery),)),
        Section("Why this one", tuple(_choice(search))),
        what_was_run(
            record,
            file=folder / ("config.json" if result is None else "result.json"),
            seconds=seconds,
            hidden=("command", "plan", "search", "images"),
        ),
        _next(folder, search),
    ]
    shown = [search.best.number, *search.front, *_ranked(search)]
    return RunReport(
        name=folder.resolve().name,
        command=str(search.config["command"]),
        about=_about(search),
        ended=result is not None,
        tiles=tuple(_tiles(search)),
        sections=tuple(sections),
        cells=gallery.drawn(texts[number_] for number_ in shown),
        outcome=_outcome(search),
    )


def _about(search: Searched) -> str:
    goals = " and ".join(
        f"{'largest' if o.direction == 'max' else 'smallest'} {name_of(o.name)}"
        for o in search.goal.objectives
    )
    bounds = ", ".join(
        f"{name_of(b.name)} at most {format_measure(b.name, b.at_most)}"
        for b in search.goal.bounds
    )
    return f"Space {search.space['name']}: {goals}" + (f"; {bounds}" if bounds else "")


def _tiles(search: Searched) -> Iterator[Tile]:
    measures, goal = search.best.measures or {}, search.goal
    for name in _told(search):
        yield Tile(name_of(name), format_measure(name, measures.get(name)))
    failed = len(search.evaluations) - len(search.done)
    budget = search.config.get("budget")
    note = f"of {budget:,}" if isinstance(budget, int) and search.result is None else ""
    note = note or (f"{failed} failed" if failed else "")
    yield Tile("evaluated", f"{len(search.done):,}", note)
    if len(goal.objectives) > 1:
        yield Tile("on the front", str(len(search.front)))
    if search.result is not None:
        yield Tile("took", duration(search.result.seconds))


def _told(search: Searched) -> list[str]:
    """The measures of the best architecture that stand out."""
    names = [objective.name for objective in search.goal.objectives]
    known = search.best.measures or {}
    names += [n for n in ("val_acc", "test_acc", *SIZES) if n in known and n not in names]
    return names[:5]


def _architecture(search: Searched, gallery: Gallery) -> Iterator[Block]:
    yield from gallery.draw(search.best.architecture)
    yield Code(search.best.architecture, "In the notation of the space")
    more = {k: v for k, v in (search.best.measures or {}).items() if k not in _told(search)}
    if more:
        yield Facts(
            tuple((name_of(name), format_measure(name, value)) for name, value in more.items())
        )
    evaluator = search.config["evaluator"]
    if evaluator.get("kind") == "table":
        yield Text(_DRAWINGS)
    network = evaluator.get("network")
    nasgem = search.nasgem
    network = dict(nasgem.network or {}) if nasgem is not None else network
    if network:
        size = ", ".join(f"{name} {value}" for name, value in network.items())
        yield Text(f"Its network, as it was trained here: {size}.")


def _course(search: Searched, gallery: Gallery) -> list[Section]:
    charts: list[Block] = [_progress(search, gallery)]
    trade = _trade_off(search, gallery)
    if trade is not None:
        charts.append(trade)
    foreseen = _foreseen(search, gallery)
    if foreseen is not None:
        charts.append(foreseen)
    if search.nasgem is not None and search.nasgem.learning:
        charts.append(_learning(search.nasgem))
    return [Section("How the search went", tuple(charts))]


def _points(
    search: Searched, gallery: Gallery, found: Sequence[Evaluation], x: str, y: str, **look: Any
) -> Series:
    """Dots of evaluations; ``x`` is "" for the order of asking."""
    values = [one.measures or {} for one in found]
    members = _members(search)

    def label(one: Evaluation) -> str:
        member = f", member {members[one.number]} of the front" if one.number in members else ""
        return f"evaluation {one.number}{f' ({one.stage})' if one.stage else ''}{member}"

    return Series(
        kind="dots",
        x=[v.get(x) if x else one.number for one, v in zip(found, values, strict=True)],
        y=[v.get(y) for v in values],
        cells=[gallery.add(one.architecture) for one in found],
        labels=[label(one) for one in found],
        **look,
    )


def _members(search: Searched) -> dict[int, int]:
    """What ``--member`` calls each evaluation of the front, where there is one."""
    if len(search.goal.objectives) == 1:
        return {}
    return {number: place for place, number in enumerate(search.front)}


def _progress(search: Searched, gallery: Gallery) -> Chart:
    objective, goal = search.goal.objectives[0], search.goal
    kept = [one for one in search.done if goal.violation(one.measures or {}) == 0]
    broken = [one for one in search.done if goal.violation(one.measures or {}) > 0]
    short = [one for one in kept if not one.stage]
    groups = [
        ("drawn at random", [one for one in short if one.is_random], 7, "circle"),
        ("chosen", [one for one in short if one.is_random is False], 2, "circle"),
        ("evaluated", [one for one in short if one.is_random is None], 2, "circle"),
        ("trained longer", [one for one in kept if one.stage], 4, "square"),
        ("breaks a bound", broken, 5, "times"),
    ]
    series = [
        _points(
            search, gallery, found, "", objective.name, name=name, colour=colour, symbol=symbol
        )
        for name, found, colour, symbol in groups
        if found
    ]
    best = _best_so_far(search)
    first = [number_ for number_, _ in best]
    series.append(Series("best so far", "step", first, [v for _, v in best], colour=0))
    return Chart(
        name_of(objective.name),
        Axis("evaluation"),
        axis(objective.name),
        tuple(series),
        wide=len(search.goal.objectives) == 1 and not _sized(search),
    )


def _best_so_far(search: Searched) -> list[tuple[int, float]]:
    """Number and value of the first objective, the best of those that keep the bounds.

    What is trained longer is better than all before, as for the search.
    """
    objective, goal = search.goal.objectives[0], search.goal
    found: list[tuple[int, float]] = []
    stage = ""
    for one in search.done:
        if goal.violation(one.measures or {}) == 0:
            value, same = (one.measures or {})[objective.name], one.stage == stage
            if found and same and objective.sign * value < objective.sign * found[-1][1]:
                value = found[-1][1]
            found.append((one.number, value))
            stage = one.stage
    return found


def _curve(search: Searched) -> list[float | None]:
    """The best so far after every evaluation, those that fail or break a bound among them."""
    best = dict(_best_so_far(search))
    found: list[float | None] = []
    for one in search.evaluations:
        found.append(best.get(one.number, found[-1] if found else None))
    return found


def _sized(search: Searched) -> str | None:
    """The measure that the objective is drawn against."""
    others = [o.name for o in search.goal.objectives[1:]]
    taken = search.goal.objectives[0].name
    known = [n for n in SIZES if n != taken and n in (search.best.measures or {})]
    return next(iter(others + known), None)


def _trade_off(search: Searched, gallery: Gallery) -> Chart | None:
    size = _sized(search)
    if size is None:
        return None
    up = search.goal.objectives[0]
    name = "val_acc" if search.nasgem and "val_acc" in (search.best.measures or {}) else up.name
    others = [o for o in search.done if o.number not in search.front]
    kept = [o for o in others if search.goal.violation(o.measures or {}) == 0]
    several = len(search.goal.objectives) > 1
    groups = [
        ("evaluated", [o for o in kept if not o.stage], 7, "circle"),
        ("trained longer", [o for o in kept if o.stage], 4, "square"),
        ("breaks a bound", [o for o in others if o not in kept], 5, "times"),
    ]
    series = [
        _points(search, gallery, found, size, name, name=told, colour=colour, symbol=symbol)
        for told, found, colour, symbol in groups
        if found
    ]
    front = sorted(
        (search.evaluations[number_] for number_ in search.front),
        key=lambda one: (one.measures or {}).get(size, math.inf),
    )
    if several:
        members = _points(search, gallery, front, size, name, name="Pareto front", colour=5)
        if len(search.goal.objectives) == 2:
            series.append(Series("", "step", members.x, members.y, colour=5))
        series.append(members)
    chosen: dict[str, Any] = {"name": "best", "colour": 1, "symbol": "star"}
    series.append(_points(search, gallery, [search.best], size, name, **chosen))
    values = [(one.measures or {}).get(size) for one in search.done]
    known = [v for v in values if v is not None]
    wide = min(known, default=0) > 0 and max(known) > 8 * min(known)
    title = f"{name_of(name)} against {name_of(size)}"
    caption = ""
    if several:
        within = " within the bounds" if search.goal.bounds else ""
        caption = (
            f"No evaluated architecture{within} is at least as good as a member of the front in "
        )
        caption += f"every one of the {len(search.goal.objectives)} objectives and better in one."
    return Chart(title, axis(size, log=wide), axis(name), tuple(series), caption)


def _pairs(search: Searched) -> list[Evaluation]:
    """Evaluations of which the searcher foresaw the first objective."""
    first = search.goal.objectives[0].name
    return [
        one
        for one in search.done
        if one.expected is not None and first in (one.measures or {}) and not one.stage
    ]


def _foreseen(search: Searched, gallery: Gallery) -> Chart | None:
    pairs, first = _pairs(search), search.goal.objectives[0].name
    if len(pairs) < MIN_PAIRS:
        return None
    expected = [one.expected for one in pairs]
    values = [(one.measures or {})[first] for one in pairs]
    ends = [find(v for v in expected if v is not None) for find in (min, max)]
    dots = _points(search, gallery, pairs, "", first, name="evaluated", colour=4)
    tau = kendall_tau([float(v or 0) for v in expected], values)
    return Chart(
        "Foreseen, and found",
        Axis(f"predicted {name_of(first)}, before the evaluation", axis(first).form),
        axis(first),
        (
            Series("as foreseen", "guide", ends, ends, colour=7),
            Series(**{**vars(dots), "x": expected}),
        ),
        f"Kendall's tau of the {len(pairs)} predictions is {format_number(tau, digits=2)}: 1 is "
        "the true order, 0 an order by chance. Predictors learn the order; their scale is "
        "approximate.",
    )


def _learning(result: NasgemResult) -> Chart:
    seen = [one.seen for one in result.learning]
    series = tuple(
        Series(label, "line", seen, [getattr(one, name) for one in result.learning], colour=colour)
        for name, label, colour in (("kendall_tau", "Kendall's tau", 4), ("r2", "R²", 1))
    )
    return Chart(
        "What the predictor had learned",
        Axis("cells seen"),
        Axis("on the cells it had not seen"),
        series,
    )


def _ranked(search: Searched) -> list[int]:
    """Numbers of the evaluations, the best by the first objective first; failed ones last."""
    objective = search.goal.objectives[0]
    return [
        one.number
        for one in sorted(
            search.evaluations,
            key=lambda one: (
                one.measures is None,
                -objective.sign * (one.measures or {}).get(objective.name, 0.0),
            ),
        )
    ]


def _table(search: Searched, gallery: Gallery) -> Table:
    goal = search.goal
    names = list(goal.names)
    known = dict.fromkeys(name for one in search.done for name in one.measures or {})
    names += [name for name in known if name not in names]
    stages = any(one.stage for one in search.evaluations)
    expected = any(one.expected is not None for one in search.evaluations)
    errors = any(one.error for one in search.evaluations)
    numbers = _members(search)
    columns = ["evaluation", *(["member"] if numbers else []), "architecture"]
    columns += [*(["stage"] if stages else []), *map(name_of, names)]
    columns += ["foreseen"] if expected else []
    columns += ["error"] if errors else []
    order = _ranked(search)
    members = {search.best.number, *search.front}
    shown = [n for n in order if n in members]
    shown += [n for n in order if n not in members][: max(0, MAX_TABLE_ROWS - len(shown))]
    place = {n: k for k, n in enumerate(order)}
    rows: list[tuple[Cell, ...]] = []
    marked: set[int] = set()
    for number_ in sorted(shown, key=place.__getitem__):
        one = search.evaluations[number_]
        if number_ in members:
            marked.add(len(rows))
        measures = one.measures or {}
        row = [Cell(str(number_), number_)]
        if numbers:
            known_as = numbers.get(number_)
            row.append(Cell(NOTHING if known_as is None else str(known_as), known_as))
        row.append(Cell(one.architecture, None, gallery.add(one.architecture)))
        row += [Cell(one.stage or "first")] if stages else []
        row += [cell(name, measures.get(name), strong=name in goal.names) for name in names]
        row += [cell(goal.objectives[0].name, one.expected)] if expected else []
        row += [Cell(one.error or "")] if errors else []
        rows.append(tuple(row))
    left = len(order) - len(rows)
    what = "the best one" if len(members) == 1 else "the Pareto front"
    what = "the chosen one and the front" if search.best.number not in search.front else what
    caption = f"Marked: {what}. " + (f"The {left:,} worst are left out." if left else "")
    caption += " `gnas retrain RUN --member` takes the member's number." if numbers else ""
    return Table(tuple(columns), tuple(rows), caption.strip(), frozenset(marked))


def _choice(search: Searched) -> Iterator[Block]:
    goal, searcher = search.goal, search.config["searcher"]
    first = goal.objectives[0]
    most = "largest" if first.direction == "max" else "smallest"
    is_broken = goal.violation(search.best.measures or {}) > 0
    if search.nasgem is not None:
        yield from _nasgem_choice(search.nasgem)
    elif not is_broken:
        bounds = " among those that keep the bounds" if goal.bounds else ""
        yield Text(
            f"Of {len(search.done):,} evaluated architectures it has the {most} "
            f"{name_of(first.name)}{bounds}."
        )
    if is_broken:
        yield Text("No architecture keeps all bounds; this one breaks them least.", True)
    if search.result is not None and search.result.stopped:
        yield Text(f"The search stopped early: {search.result.stopped}", True)
    facts = [("Searcher", str(searcher.get("name")))]
    for name, label in (
        ("predictor", "Predictor"),
        ("features", "What the predictor sees"),
        ("num_initial", "Random architectures that it begins with"),
        ("refit_every", "Evaluations between two fits"),
        ("update_every", "Evaluations between two fits"),
        ("pool", "Architectures that it ranks at a time"),
    ):
        value = searcher.get(name)
        if value is not None:
            facts.append((label, format_number(value) if isinstance(value, int) else str(value)))
    pairs = _pairs(search)
    if len(pairs) >= MIN_PAIRS:
        tau = kendall_tau(
            [float(one.expected or 0) for one in pairs],
            [(one.measures or {})[first.name] for one in pairs],
        )
        told = f"Kendall's tau {format_number(tau, digits=2)} over {len(pairs)} predictions"
        facts.append(("How well it foresaw", f"{told}, each made before its evaluation"))
    facts += _random_start(search)
    yield Facts(tuple(facts))


def _random_start(search: Searched) -> Iterator[tuple[str, str]]:
    """Comparison of a search's random architectures with those it chose."""
    first = search.goal.objectives[0]

    def told(some: list[Evaluation]) -> str:
        values = [(one.measures or {})[first.name] for one in some]
        best = max(values) if first.direction == "max" else min(values)
        mean = float(np.mean(values))
        return f"best {format_measure(first.name, best)}, mean {format_measure(first.name, mean)}"

    random = [one for one in search.done if one.is_random]
    chosen = [one for one in search.done if one.is_random is False]
    if random and chosen:
        longer = ", trained longer" if search.best.stage else ""
        yield "Random baseline", f"{len(random)} drawn at random: {told(random)}"
        yield "Chosen ones", f"{len(chosen)} chosen{longer}: {told(chosen)}"


def _nasgem_choice(result: NasgemResult) -> Iterator[Block]:
    longer = bool(result.finals) and any(one.stage for one in result.evaluations)
    encoder = result.predictor.encoder
    best = "the best of these is the choice"
    if result.evaluations[result.best].is_random:
        best = "the choice is one of the random cells, which none of these exceeds"
    yield Text(
        f"A predictor ({result.predictor.name} on {result.predictor.features}) learned from "
        f"{result.trained:,} random cells and scored {result.pool:,} others. Its "
        f"{len(result.finals)} best were {'trained longer' if longer else 'evaluated'}; {best}."
    )
    rows = {
        "chosen by its training" if longer else "chosen": result.chosen,
        "best predicted (argmax)": result.argmax,
        "best trained (shorter)" if longer else "best random": result.best_trained,
    }
    columns = ("cell", "predicted score", "score", *map(name_of, ("val_acc", "test_acc")))
    columns += tuple(map(name_of, ("num_params", "macs")))
    cells = [_candidate(name, row) for name, row in rows.items()]
    kept = [k for k in range(len(columns)) if any(line[k].text != NOTHING for line in cells)]
    yield Table(
        tuple(columns[k] for k in kept), tuple(tuple(line[k] for k in kept) for line in cells)
    )
    facts = []
    if encoder:
        sha = encoder.get("sha256")
        facts.append(("Encoder", f"{encoder.get('name')}" + (f", sha256 {sha}" if sha else "")))
    for name, numbers in result.surface.items():
        facts.append(
            (
                f"Smoothness of the score over {'raw adjacency' if name == 'raw' else name}",
                "How well the mean of a cell's neighbours tells its score (R², at most 1): of "
                f"predicted scores {_two(numbers, 'predicted_r2_plane')} in the plane of two "
                f"principal components, {_two(numbers, 'predicted_r2_full')} in all coordinates; "
                "of evaluated ones "
                f"{_two(numbers, 'trained_r2_plane')} and {_two(numbers, 'trained_r2_full')}",
            )
        )
    if facts:
        yield Facts(tuple(facts))


def _two(numbers: Mapping[str, float | None], name: str) -> str:
    value = numbers.get(name)
    return NOTHING if value is None else f"{value:.2f}"


def _candidate(name: str, row: Candidate) -> tuple[Cell, ...]:
    return (
        Cell(name),
        cell("score", row.predicted_score),
        cell("score", row.score),
        cell("val_acc", row.val_acc),
        cell("test_acc", row.test_acc),
        cell("num_params", row.params),
        cell("macs", row.macs),
    )


def _next(folder: Path, search: Searched) -> Section:
    if search.result is None:
        name = search.config["searcher"].get("name")
        return next_commands(["search", str(name), "--resume", folder])
    own = own_space_option(own_space_text(search.space))
    commands: list[list[str | Path]] = [["show", folder, *own]]
    kind = search.config["evaluator"].get("kind")
    if kind != "function" and not (own and kind == "table"):
        commands.append(["retrain", folder, *own])
    return next_commands(*commands)


def _outcome(search: Searched) -> Outcome:
    config, result = search.config, search.result
    measures = {
        name: value
        for name, value in (search.best.measures or {}).items()
        if isinstance(value, int | float) and not name.endswith("_s")
    }
    first = search.goal.objectives[0]
    return Outcome(
        group=group_of(config),
        seed=int(config.get("seed", 0)),
        protocol=protocol_of(
            search.space,
            config["evaluator"],
            list(map(str, search.goal.objectives)),
            config["bounds"],
        ),
        measures=measures if result is not None else {},
        curve=_curve(search),
        curve_measure=first.name,
        curve_step="evaluation",
    )
