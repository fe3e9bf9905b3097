"""Reports of supernet searches: a single one, and the protocol of several with retrainings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from gnas.data.files import as_data_error, read_json
from gnas.metrics import p_text
from gnas.printable import amount
from gnas.report.circumstances import next_commands, what_was_run
from gnas.report.drawing import inline_svg
from gnas.report.formats import (
    axis,
    cell,
    duration,
    format_measure,
    format_share,
    mean_name,
    name_of,
    told_trainings,
)
from gnas.report.gallery import MAX_DRAWN, Gallery
from gnas.report.outcomes import divided, group_of, protocol_of
from gnas.report.page import (
    Axis,
    Block,
    Cell,
    Chart,
    Code,
    Drawing,
    Outcome,
    RunReport,
    Section,
    Series,
    Table,
    Text,
    Tile,
)
from gnas.report.searched import recorded
from gnas.search.toponas.arch import uniform_entropies
from gnas.search.toponas.relaxations import RELAXATIONS
from gnas.search.toponas.selection import chosen_search, final_training
from gnas.search.toponas.trace import SearchTrace, read_trace
from gnas.search.toponas.where import search_space, supernets_of
from gnas.spaces.names import own_space_option
from gnas.viz.search import found_cells

RESULT = "the result of a search"


def supernet_report(folder: Path, drawings: int = MAX_DRAWN) -> RunReport:
    """The report of a supernet search, ended or under way.

    Args:
        folder: The run's.
        drawings: Cells of single epochs that get a drawing.

    Raises:
        GnasError: no epoch has ended yet, or a file is damaged.
    """
    trace, record = read_trace(folder), recorded(folder)
    result = read_json(folder / "result.json", RESULT) if trace.ended else {}
    gallery = Gallery(search_space(trace.config), drawings)
    for epoch in trace.epochs:
        gallery.add(str(epoch["genotype"]))
    with as_data_error(folder / "result.json", RESULT):
        return RunReport(
            name=folder.resolve().name,
            command=str(record["config"]["command"]),
            about=f"Space {trace.config.space}, method {trace.config.method}, topology "
            f"{trace.config.topology}",
            ended=trace.ended,
            tiles=tuple(_tiles(trace, result)),
            sections=(
                Section("The architecture", tuple(_architecture(trace, result))),
                Section("How the search went", tuple(_curves(trace, gallery))),
                Section("The cell of every epoch", (_epochs(trace, gallery),)),
                Section("Why this one", tuple(_choice(trace, result))),
                what_was_run(
                    record,
                    file=folder / ("result.json" if trace.ended else "metrics.jsonl"),
                    seconds=result.get("seconds"),
                    more=_machine(result),
                ),
                _next(folder, trace),
            ),
            cells=gallery.drawn([trace.text]),
            outcome=Outcome(
                group=group_of(record["config"]),
                seed=trace.config.seed,
                protocol=protocol_of(
                    record["config"]["images"], divided(record.get("data")), trace.config.space
                ),
                measures=_measures(result),
                curve=[float(epoch["val_acc"]) for epoch in trace.epochs],
                curve_measure="val_acc",
                curve_step="epoch",
            ),
        )


def _measures(result: Mapping[str, Any]) -> dict[str, float]:
    if not result:
        return {}
    return {
        "supernet validation accuracy": float(result["metrics"]["val_acc"]),
        "num_params": float(result["params"]),
        "macs": float(result["macs"]),
    }


def _tiles(trace: SearchTrace, result: Mapping[str, Any]) -> Iterator[Tile]:
    found = trace.epochs[trace.epoch - 1]
    yield Tile(
        "supernet accuracy", format_measure("val_acc", found["val_acc"]), "validation images"
    )
    if result:
        yield Tile(
            "parameters",
            format_measure("num_params", result["params"]),
            "as gnas retrain builds it",
        )
        yield Tile("multiply-accumulates", format_measure("macs", result["macs"]))
    note = "" if trace.ended else f"of {trace.config.epochs}"
    yield Tile("epochs", str(len(trace.epochs)), note)
    if result:
        yield Tile("took", duration(result["seconds"]))


def _architecture(trace: SearchTrace, result: Mapping[str, Any]) -> Iterator[Block]:
    for name, figure in found_cells(trace).items():
        yield Drawing(inline_svg(figure, f"{name} cell"))
    yield Code(trace.text, "Genotype" if trace.text.startswith("Genotype") else "Architecture")
    if not result:
        yield Text("The search goes on; this is the cell of its last epoch.")
        return
    network = dict(result["network"] or {})
    if network:
        size = ", ".join(f"{name} {value}" for name, value in network.items())
        yield Text(f"Its network, as gnas retrain and gnas export build it from this run: {size}.")


def _curves(trace: SearchTrace, gallery: Gallery) -> Iterator[Chart]:
    cells = supernets_of(trace.config).cells
    epochs = [int(epoch["epoch"]) for epoch in trace.epochs]
    numbers = [gallery.add(str(epoch["genotype"])) for epoch in trace.epochs]
    uniform = uniform_entropies(trace.config)

    def chart(title: str, unit: Axis, names: Mapping[str, str]) -> Chart | None:
        known = {k: v for k, v in names.items() if all(k in epoch for epoch in trace.epochs)}
        if not known:
            return None
        series = [
            Series(
                label,
                "line",
                epochs,
                [epoch[name] for epoch in trace.epochs],
                colour=4 - 3 * place,
                cells=numbers,
                labels=[f"epoch {epoch}" for epoch in epochs],
            )
            for place, (name, label) in enumerate(known.items())
        ]
        limit = uniform.get(next(iter(known)))
        if limit:
            ends = [epochs[0], epochs[-1]]
            series.append(Series("uniform choice", "guide", ends, [limit, limit], colour=7))
        return Chart(title, Axis("epoch"), unit, tuple(series))

    def of_cells(name: str) -> dict[str, str]:
        return {f"{name}_{cell_}": _cell_name(cell_) for cell_ in cells}

    both = {"train": "weights' images", "val": "validation images"}
    for made in (
        chart(
            "Accuracy of the supernet",
            Axis("accuracy", "percent"),
            {f"{k}_acc": v for k, v in both.items()},
        ),
        chart(
            "Loss of the supernet",
            Axis("cross-entropy (nats)"),
            {f"{k}_loss": v for k, v in both.items()},
        ),
        chart("How undecided: operations", Axis("entropy (nats)"), of_cells("alpha_entropy")),
        chart("How undecided: sets of edges", Axis("entropy (nats)"), of_cells("beta_entropy")),
        chart(
            "Probability of an invalid cell",
            Axis("probability", "percent"),
            of_cells("invalid_mass"),
        ),
        chart(
            "Skip connections", Axis("share of the operations", "percent"), of_cells("skip_share")
        ),
        chart("Largest eigenvalue of the Hessian", Axis("eigenvalue"), {"eigenvalue": "in alpha"}),
    ):
        if made is not None:
            yield made
    yield from _weights(trace, cells)


def _weights(trace: SearchTrace, cells: Sequence[str]) -> Iterator[Chart]:
    """Mean weight of every operation by epoch, a chart a cell."""
    form = supernets_of(trace.config)
    relaxation = RELAXATIONS[trace.config.relaxation](trace.config.samples)
    for name in cells:
        history = trace.history[f"alpha.{name}"]
        means = torch.stack([relaxation.mean(alpha).mean(0) for alpha in history])  # [T + 1, O]
        steps = list(range(len(means)))
        series = tuple(
            Series(op, "line", steps, means[:, k].tolist(), colour=(k + 1) % 8)
            for k, op in enumerate((*form.ops, "none")[: means.size(1)])
        )
        yield Chart(
            f"Weights of operations: {_cell_name(name)}",
            Axis("epoch"),
            Axis("mean over the edges", "percent"),
            series,
        )


def _epochs(trace: SearchTrace, gallery: Gallery) -> Table:
    names = [n for n in ("val_acc", "train_acc", "val_loss", "train_loss") if n in trace.epochs[0]]
    rows = tuple(
        (
            Cell(str(epoch["epoch"]), float(epoch["epoch"])),
            Cell(str(epoch["genotype"]), None, gallery.add(str(epoch["genotype"]))),
            *(cell(name, epoch.get(name)) for name in names),
        )
        for epoch in trace.epochs
    )
    columns = ("epoch", "architecture", *map(name_of, names))
    return Table(columns, rows, "Marked: the cell that was derived.", frozenset({trace.epoch - 1}))


def _choice(trace: SearchTrace, result: Mapping[str, Any]) -> Iterator[Block]:
    learned = "operations and sets of edges" if trace.config.learns_topology else "operations"
    yield Text(
        f"The supernet's own variables chose: the {learned} with the largest probability after "
        f"epoch {trace.epoch}. No cell was trained alone, so the supernet's accuracy is not the "
        "cell's; gnas retrain measures that."
    )
    if not result:
        return
    for cell_, how in result["derived"].items():
        if how != "argmax":
            yield Text(
                f"The most probable edges of the {cell_} cell left a node without input; it was "
                f"derived by {how}.",
                True,
            )
    for name, share in result["undecided"].items():
        yield Text(
            f"Undecided: the entropy of {name} is {share:.0%} of that of a uniform choice, so "
            "this cell is hardly better founded than a random one.",
            True,
        )
    if result["stopped"]:
        yield Text(f"The search stopped early: {result['stopped']}", True)
    random = result["random"]
    rows = tuple(
        (Cell(name), cell("num_params", one["params"]), cell("macs", one["macs"]))
        for name, one in (("found", result), ("a random cell of the space", random))
    )
    columns = ("cell, in the same network", name_of("num_params"), name_of("macs"))
    yield Table(columns, rows)


def _machine(result: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if result:
        yield "Threads", f"{result['threads']} in {result['processes']} process(es)"
        yield "Parameters of the supernet", format_measure("num_params", result["supernet_params"])


def _next(folder: Path, trace: SearchTrace) -> Section:
    if not trace.ended:
        return next_commands(["search", "toponas", "--resume", folder])
    own = own_space_option(trace.config.space)
    return next_commands(["show", folder], ["retrain", folder, *own])


def selection_report(folder: Path, drawings: int = MAX_DRAWN) -> RunReport:
    """The report of several supernet searches, the best of which was retrained.

    Args:
        folder: The run's.
        drawings: Cells that get a drawing beside the chosen one.

    Raises:
        GnasError: the run has not ended, or a file is damaged.
    """
    chosen, record = chosen_search(folder), recorded(folder)
    data, one = recorded(chosen).get("data"), final_training(folder)
    path = folder / "result.json"
    result = read_json(path, RESULT)
    trace = read_trace(chosen)
    own = own_space_option(trace.config.space)
    with as_data_error(path, RESULT):
        gallery = Gallery(search_space(trace.config), drawings)
        test = result["test_acc"]
        tiles = (
            Tile("test accuracy", format_share(test), told_trainings(len(test["values"]))),
            Tile("parameters", format_measure("num_params", result["params"])),
            Tile("multiply-accumulates", format_measure("macs", result["macs"])),
            Tile("searches", str(len(result["searches"]))),
        )
        blocks: list[Block] = [
            Drawing(inline_svg(figure, f"{name} cell"))
            for name, figure in found_cells(trace).items()
        ]
        count = len(result["searches"])
        return RunReport(
            name=folder.resolve().name,
            command=str(record["config"]["command"]),
            about=f"{amount(count, 'search')}; the cell that validates best, trained anew",
            ended=True,
            tiles=tiles,
            sections=(
                Section("The architecture", (*blocks, Code(result["architecture"], "Genotype"))),
                Section("Beside random cells", tuple(_beside(result))),
                Section("Why this one", tuple(_chosen(result, gallery))),
                Section(
                    f"How search {result['chosen_seed']} went", tuple(_curves(trace, gallery))
                ),
                what_was_run(record | {"data": data}, file=path),
                next_commands(["show", folder], ["evaluate", one, *own]),
            ),
            cells=gallery.drawn([result["architecture"]]),
            outcome=Outcome(
                group=group_of(record["config"]),
                seed=trace.config.seed,
                protocol=protocol_of(
                    record["config"]["images"], divided(data), record["config"]["selection"]
                ),
                measures={"test_acc": float(test["mean"])},
            ),
        )


def _beside(result: Mapping[str, Any]) -> Iterator[Block]:
    groups = {"found": result["test_acc"]}
    if result["random"] is not None:
        count = len(result["random"]["architectures"])
        groups[f"{count} random cell{'s' * (count != 1)}"] = result["random"]["test_acc"]
    names = tuple(groups)
    means = [one["mean"] for one in groups.values()]
    series = [
        Series(
            mean_name(one["low"] for one in groups.values()),
            "intervals",
            means,
            range(len(names)),
            low=[one["low"] for one in groups.values()],
            high=[one["high"] for one in groups.values()],
            colour=1,
        )
    ]
    for place, one in enumerate(groups.values()):
        values = one["values"]
        series.insert(
            0,
            Series(
                "single trainings" if not place else "",
                "dots",
                values,
                [place] * len(values),
                colour=2,
            ),
        )
    yield Chart("Test accuracy", axis("test_acc"), Axis("", names=names), tuple(series), wide=True)
    if result["p_random"] is not None:
        yield Text(f"Welch's t-test between the two: p = {p_text(result['p_random'])}.")
    elif result["random"] is None:
        yield Text("No random cells were trained beside it; --random N does.")


def _chosen(result: Mapping[str, Any], gallery: Gallery) -> Iterator[Block]:
    yield Text(
        "Every search's cell was trained once, and validated on images held out of the training "
        "images; the best was trained anew on all of them and tested."
    )
    rows, marked = [], frozenset[int]()
    for place, one in enumerate(result["searches"]):
        rows.append(
            (
                Cell(str(one["seed"]), float(one["seed"])),
                Cell(one["architecture"], None, gallery.add(one["architecture"])),
                cell("val_acc", one["val_acc"]),
                cell("num_params", one["params"]),
            )
        )
        if one["seed"] == result["chosen_seed"]:
            marked = frozenset({place})
    columns = ("search", "architecture", name_of("val_acc"), name_of("num_params"))
    yield Table(columns, tuple(rows), "Marked: the choice.", marked)


def _cell_name(cell: str) -> str:
    return cell if cell == "cell" else f"{cell} cell"
