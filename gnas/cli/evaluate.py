"""``gnas evaluate``: how good and how fast saved weights are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gnas.cli.options import absolute
from gnas.cli.output import check_writable, report_console, write_json

if TYPE_CHECKING:
    from rich.console import Console

Dataset = Literal["digits", "cifar10", "folder", "imagenet"]
MAX_CLASSES = 20
"""A confusion matrix of more classes is in the JSON only."""


def evaluate(
    weights: Annotated[
        Path, typer.Argument(metavar="WEIGHTS", help="A run's weights/ folder, or the run's own")
    ],
    dataset: Annotated[Dataset, typer.Option(help="Which images")] = "digits",
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the images")] = None,
    image_size: Annotated[
        int | None, typer.Option(help="Height and width (as in training)")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")] = "auto",
    batch_size: Annotated[
        int, typer.Option(min=1, help="Images a pass when timing the network")
    ] = 1,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read files")] = 4,
    json: Annotated[str | None, typer.Option(help="File for the result; - is stdout")] = None,
) -> None:
    """Test saved weights: accuracy, confusion, parameters, multiply-accumulates, latency."""
    from gnas.data.train_test import TrainTestConfig
    from gnas.devices import resolve_device
    from gnas.models.saved import load_network
    from gnas.retrain.evaluate import evaluate_network, weights_folder

    check_writable(json)
    network, facts = load_network(weights_folder(weights))
    images = TrainTestConfig(
        dataset=dataset, data_dir=absolute(data_dir), image_size=image_size or facts.image_size,
        workers=workers,
    )  # fmt: skip
    result = evaluate_network(
        network, facts, images, device=resolve_device(device), batch_size=batch_size
    )
    print_evaluation(result, report_console(json))
    if json is not None:
        write_json(json, result)


def print_evaluation(result: dict[str, Any], target: Console) -> None:
    """The numbers, and the confusion matrix if it is not too large."""
    from rich.table import Table

    metrics, times = result["metrics"], result["latency"]
    top5 = metrics["test_top5"]
    lines = [
        f"{metrics['test_images']} test images of {result['data']['dataset']}, "
        f"top-1 {metrics['test_acc']:.2%}, top-5 {'-' if top5 is None else f'{top5:.2%}'}, "
        f"loss {metrics['test_loss']:.4f}",
        f"{result['params']:,} parameters, "
        f"{result['macs'] / 1e6:.1f} million multiply-accumulates",
        f"{times['median_ms']:.2f} ms for {times['batch_size']} image(s), the median of "
        f"{times['repeats']}, on {times['device']}, {times['threads']} thread(s)",
    ]
    if result["unreadable_test_images"]:
        lines.append(
            f"{result['unreadable_test_images']} images could not be read and are left out"
        )
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
