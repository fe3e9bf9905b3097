"""Reports of trainings of a found architecture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gnas.data.files import as_data_error, read_json
from gnas.printable import amount
from gnas.report.circumstances import next_commands, what_was_run
from gnas.report.formats import (
    axis,
    cell,
    duration,
    format_measure,
    format_share,
    name_of,
    told_trainings,
)
from gnas.report.gallery import Gallery
from gnas.report.outcomes import group_of, protocol_of
from gnas.report.page import (
    Axis,
    Block,
    Cell,
    Chart,
    Code,
    Outcome,
    RunReport,
    Section,
    Series,
    Table,
    Tile,
)
from gnas.report.searched import recorded
from gnas.retrain.plan import RetrainPlan
from gnas.retrain.trace import read_trainings
from gnas.spaces import Space
from gnas.spaces.names import own_space_option
from gnas.spaces.registry import own_space_text

RESULT = "the result of a training"
MAX_CLASSES_SHOWN = 30
"""Classes of the largest table of what was taken for what."""
PARTS = (("val", "validation"), ("test", "test"), ("train", "training"))


def training_report(folder: Path, own: Space | None = None) -> RunReport:
    """The report of ``gnas retrain``, ended or under way.

    Args:
        folder: The run's.
        own: Not needed: the plan names the space, as ``gnas retrain --resume`` reads it.

    Raises:
        GnasError: no epoch has ended yet, or a file is damaged.
    """
    record, path = recorded(folder), folder / "result.json"
    plan, trainings = read_trainings(folder)
    ended = path.exists()
    result = read_json(path, RESULT) if ended else {}
    gallery = Gallery(plan.space)
    text = plan.architecture
    with as_data_error(path, RESULT):
        rows = result.get("rows") or []
        sections = [
            Section(
                "The architecture",
                (*gallery.draw(text), Code(text, "In the notation of the space")),
            ),
            *_results(rows),
            Section("How the training went", tuple(_curves(trainings))),
            *_mistakes(result),
            what_was_run(
                record,
                file=path if ended else folder / "config.json",
                seconds=result.get("seconds"),
                hidden=("command", "architecture"),
            ),
            _next(folder, plan, record["config"]["space"], ended),
        ]
        return RunReport(
            name=folder.resolve().name,
            command=str(record["config"]["command"]),
            about=f"Space {record['config']['space']['name']}: {_recipe(plan)}",
            ended=ended,
            tiles=tuple(_tiles(rows, trainings, plan, result)),
            sections=tuple(sections),
            outcome=_outcome(record, plan, rows, trainings),
        )


def _recipe(plan: RetrainPlan) -> str:
    runs = len(plan.trainings())
    many = f"{runs} trainings of " if runs > 1 else ""
    return f"{many}{amount(plan.config.epochs, 'epoch')} on {plan.images.dataset}"


def _tiles(
    rows: Sequence[Mapping[str, Any]],
    trainings: Mapping[str, Sequence[Mapping[str, Any]]],
    plan: RetrainPlan,
    result: Mapping[str, Any],
) -> Iterator[Tile]:
    if rows:
        first = rows[0]
        yield Tile(
            "test accuracy", format_share(first["test_acc"]), told_trainings(first["repeats"])
        )
        if first.get("test_top5"):
            yield Tile("top-5 accuracy", format_share(first["test_top5"]))
        yield Tile("parameters", format_measure("num_params", first["params"]))
        yield Tile("multiply-accumulates", format_measure("macs", first["macs"]))
        yield Tile("epochs", str(plan.config.epochs))
        yield Tile("took", duration(result.get("seconds")))
        return
    last = [*trainings.values()][-1][-1]
    yield Tile("training loss", format_measure("train_loss", last["train_loss"]))
    yield Tile("training accuracy", format_measure("train_acc", last["train_acc"]))
    yield Tile("epochs", str(int(last["epoch"])), f"of {plan.config.epochs}")
    if len(plan.trainings()) > 1:
        yield Tile("trainings begun", str(len(trainings)), f"of {len(plan.trainings())}")


def _results(rows: Sequence[Mapping[str, Any]]) -> list[Section]:
    if not rows:
        return []
    names = [n for n in ("test_acc", "test_top5", "best_test_acc") if rows[0].get(n)]
    labels = {
        "test_top5": "top-5 accuracy",
        "best_test_acc": "test accuracy at the best validation epoch",
    }
    columns = ("layers", "channels", "repeats", *(labels.get(n, name_of(n)) for n in names))
    columns += (name_of("num_params"), name_of("macs"))
    lines = tuple(
        (
            *(Cell(*_whole(row[name])) for name in ("layers", "channels", "repeats")),
            *(Cell(format_share(row[name]), row[name]["mean"], strong=True) for name in names),
            cell("num_params", row["params"]),
            cell("macs", row["macs"]),
        )
        for row in rows
    )
    blocks: list[Block] = [Table(columns, lines, "Test images; ± is one standard deviation.")]
    values = [value for row in rows for value in row["test_acc"].get("values", ())]
    if len(values) > 1:
        chart = [
            Series(
                amount(row["layers"], "layer") if row["layers"] else "layers",
                "dots",
                row["test_acc"]["values"],
                [k] * len(row["test_acc"]["values"]),
                colour=2,
            )
            for k, row in enumerate(rows)
        ]
        places = tuple(
            amount(row["layers"], "layer") if row["layers"] else "trainings" for row in rows
        )
        blocks.append(
            Chart(
                "Single trainings",
                axis("test_acc"),
                Axis("", names=places),
                tuple(chart),
                wide=True,
            )
        )
    return [Section("Results", tuple(blocks))]


def _whole(value: int | None) -> tuple[str, float | None]:
    return ("–", None) if value is None else (str(value), float(value))  # noqa: RUF001


def _curves(trainings: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[Chart]:
    def lines(name: str, label: str = "", first: int = 0) -> Iterator[Series]:
        for place, (training, epochs) in enumerate(trainings.items()):
            known = [m for m in epochs if m.get(name) is not None]
            if known:
                yield Series(
                    f"{training} {label}".strip() or name_of(name),
                    "line",
                    [m["epoch"] for m in known],
                    [m[name] for m in known],
                    colour=(first + place) % 8 if len(trainings) > 1 else first,
                )

    accuracy = [
        series
        for place, (part, label) in enumerate(PARTS)
        for series in lines(f"{part}_acc", label, (1, 4, 2)[place])
    ]
    yield Chart("Accuracy", Axis("epoch"), Axis("accuracy", "percent"), tuple(accuracy))
    loss = [s for part, label in reversed(PARTS) for s in lines(f"{part}_loss", label, 4)]
    yield Chart("Loss", Axis("epoch"), Axis("cross-entropy (nats)"), tuple(loss))
    yield Chart("Learning rate", Axis("epoch"), Axis("learning rate"), tuple(lines("lr", first=3)))


def _mistakes(result: Mapping[str, Any]) -> list[Section]:
    """Confusion matrix, if a single training recorded one."""
    confusion = result.get("confusion")
    names = (result.get("data") or {}).get("class_names") or []
    if not confusion or len(confusion) > MAX_CLASSES_SHOWN:
        return []
    names = [str(name) for name in names] or [str(k) for k in range(len(confusion))]
    rows = []
    for true, counts in enumerate(confusion):
        total, wrong = sum(counts), {k: c for k, c in enumerate(counts) if c and k != true}
        most = max(wrong, key=lambda k: wrong[k], default=None)
        told = "" if most is None else f"{names[most]} ({wrong[most]})"
        right = counts[true] / total if total else None
        rows.append(
            (Cell(names[true]), Cell(f"{total:,}", float(total)), cell("acc", right), Cell(told))
        )
    columns = ("class", "test images", "accuracy", "most often taken for")
    return [Section("By class", (Table(columns, tuple(rows)),))]


def _next(folder: Path, plan: RetrainPlan, space: Mapping[str, Any], ended: bool) -> Section:
    if not ended:
        return next_commands(["retrain", "--resume", folder])
    one = folder / next(iter(plan.trainings()))
    own = own_space_option(own_space_text(space))
    export: list[str | Path] = ["export", one, *own, "--to", "onnx", "--out", "model.onnx"]
    return next_commands(["show", folder], ["evaluate", one, *own], export)


def _outcome(
    record: Mapping[str, Any],
    plan: RetrainPlan,
    rows: Sequence[Mapping[str, Any]],
    trainings: Mapping[str, Sequence[Mapping[str, Any]]],
) -> Outcome:
    first = next(iter(trainings.values()))
    measures = {}
    if rows:
        measures = {"test_acc": float(rows[0]["test_acc"]["mean"])}
        measures |= {"num_params": float(rows[0]["params"]), "macs": float(rows[0]["macs"])}
    is_known = all(m.get("val_acc") is not None for m in first)
    name = "val_acc" if is_known else "train_acc"
    return Outcome(
        group=group_of(record["config"]),
        seed=plan.config.seed,
        protocol=protocol_of(
            record["config"]["images"], record["config"]["retrain"], record.get("data")
        ),
        measures=measures,
        curve=[float(m[name]) for m in first],
        curve_measure=name,
        curve_step="epoch",
    )
