"""``gnas evaluate``: how good and how fast saved weights are."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from gnas.cli.architectures import SpaceOption
from gnas.cli.checks import check_early
from gnas.cli.options import absolute
from gnas.cli.output import report_console, write_json
from gnas.data.files import FORMAT_ERRORS, read_json
from gnas.data.images.config import TrainImagesConfig
from gnas.data.images.names import TrainDataset as Dataset
from gnas.errors import DataError, MissingDataError
from gnas.printable import amount
from gnas.processes import MAX_PROCESSES
from gnas.retrain.config import MAX_TIMED, PRESETS
from gnas.retrain.source import RunSource, run_source, weights_folder
from gnas.runs import NOTICE
from gnas.spaces.names import check_space

if TYPE_CHECKING:
    from rich.console import Console

MAX_CLASSES = 20
"""A confusion matrix of more classes is in the JSON only."""


def evaluate(
    weights: Annotated[
        Path, typer.Argument(metavar="WEIGHTS", help="A run's weights/ folder, or the run's own")
    ],
    space: SpaceOption = None,
    dataset: Annotated[Dataset | None, typer.Option(help="Dataset (of the training)")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the images")] = None,
    image_size: Annotated[
        int | None, typer.Option(help="Height and width (as in training)")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")] = "auto",
    batch_size: Annotated[
        int, typer.Option(min=1, max=MAX_TIMED, help="Batch size for timing the network")
    ] = 1,
    workers: Annotated[
        int, typer.Option(min=0, max=MAX_PROCESSES, help="Processes that read files")
    ] = 4,
    json: Annotated[str | None, typer.Option(help="File for the result; - is stdout")] = None,
) -> None:
    """Test saved weights: accuracy, confusion, parameters, multiply-accumulates, latency."""
    check_early(json=json, data_dir=data_dir, device=device, inputs=[weights])
    if not weights.exists():
        raise MissingDataError(f"WEIGHTS must be a folder or a file, but there is no {weights}")
    if space is not None:
        check_space(space)
    source = _source(weights, dataset)
    images = TrainImagesConfig(
        dataset=source.dataset if source is not None else dataset or _recorded(weights),
        data_dir=absolute(data_dir) or (None if source is None else source.data_dir),
        image_size=image_size, workers=workers,
    )  # fmt: skip
    images.check_folder(only_test=True)
    if source is not None:
        logging.getLogger("gnas").log(NOTICE, "%s", source.line(images))
    from gnas.models.saved import load_network
    from gnas.retrain.evaluate import evaluate_network
    from gnas.spaces import load_space
    from gnas.training.devices import resolve_device

    own = None if space is None else load_space(space)
    network, facts = load_network(weights_folder(weights), own)
    if image_size is None:
        images = replace(images, image_size=facts.image_size)
    result = evaluate_network(
        network, facts, images, device=resolve_device(device), batch_size=batch_size
    )
    print_evaluation(result, report_console(json))
    if json is not None:
        write_json(json, result)


def _source(weights: Path, dataset: Dataset | None) -> RunSource | None:
    """Images of the run that weights are from, if they lie in one and no others are asked for.

    Args:
        weights: As they were given: a run, or the weights in it.
        dataset: As it was given.
    """
    here = weights.absolute()
    found = (run_source(path) for path in (here, *list(here.parents)[:2]))
    source = next((source for source in found if source), None)
    return source if source is not None and dataset in (None, source.dataset) else None


def _recorded(weights: Path) -> Dataset:
    """The data set that weights were trained on by what is written beside them, else digits."""
    folder = weights_folder(weights)
    try:
        record = read_json((folder if folder.is_dir() else folder.parent) / "config.json", "JSON")
        named = record["details"]["data"]["dataset"]
        return cast("Dataset", named) if named in PRESETS else "digits"
    except (DataError, *FORMAT_ERRORS):  # told when the weights are read
        return "digits"


def print_evaluation(result: dict[str, Any], target: Console) -> None:
    """The numbers, and the confusion matrix if it is not too large."""
    from rich.table import Table

    metrics, times = result["metrics"], result["latency"]
    top5 = metrics["test_top5"]
    lines = [
        f"{amount(metrics['test_images'], 'test image')} of {result['data']['dataset']}, "
        f"top-1 {metrics['test_acc']:.2%}, top-5 {'-' if top5 is None else f'{top5:.2%}'}, "
        f"loss {metrics['test_loss']:.4f}",
        f"{result['params']:,} parameters, {result['macs']:,} multiply-accumulates",
        f"{times['median_ms']:.2f} ms for {amount(times['batch_size'], 'image')}, the median of "
        f"{times['repeats']}, on {times['device']}, {amount(times['threads'], 'thread')}",
    ]
    if result["unreadable_test_images"]:
        lines.append(f"{amount(result['unreadable_test_images'], 'image')} left out as unreadable")
    matrix = result["confusion"].tolist()
    if len(matrix) <= MAX_CLASSES:
        table = Table(title="images of a class (row) by what they were taken for (column)")
        for name in ("", *result["classes"]):
            table.add_column(name, justify="right")
        for name, row in zip(result["classes"], matrix, strict=True):
            table.add_row(name, *(str(count) if count else "." for count in row))
        target.print(table)
    for line in lines:
        target.print(line, markup=False, soft_wrap=True)
