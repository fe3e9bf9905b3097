"""``gnas evaluate``: how good and how fast saved weights are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from gnas.cli.architectures import SpaceOption
from gnas.cli.checks import check_early
from gnas.cli.options import absolute
from gnas.cli.output import report_console, write_json
from gnas.data.images.listing import check_images
from gnas.data.images.names import TrainDataset as Dataset
from gnas.errors import MissingDataError
from gnas.spaces.names import check_space

if TYPE_CHECKING:
    from rich.console import Console

    from gnas.models import NetworkMetadata
    from gnas.retrain.source import RunSource

MAX_CLASSES = 20
"""A confusion matrix of more classes is in the JSON only."""


def evaluate(
    weights: Annotated[
        Path, typer.Argument(metavar="WEIGHTS", help="A run's weights/ folder, or the run's own")
    ],
    space: SpaceOption = None,
    dataset: Annotated[Dataset | None, typer.Option(help="Dataset [of the training]")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the images")] = None,
    image_size: Annotated[
        int | None, typer.Option(help="Height and width (as in training)")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")] = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Batch size for timing the network")] = 1,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read files")] = 4,
    json: Annotated[str | None, typer.Option(help="File for the result; - is stdout")] = None,
) -> None:
    """Test saved weights: accuracy, confusion, parameters, multiply-accumulates, latency."""
    check_early(json=json, data_dir=data_dir, device=device, inputs=[weights])
    if not weights.exists():
        raise MissingDataError(f"WEIGHTS must be a folder or a file, but there is no {weights}")
    if space is not None:
        check_space(space)
    source = _source(weights)
    _check_images(source, dataset, data_dir)
    from gnas.data.images.config import TrainImagesConfig
    from gnas.models.saved import load_network
    from gnas.retrain.evaluate import evaluate_network, weights_folder
    from gnas.spaces import load_space
    from gnas.training.devices import resolve_device

    own = None if space is None else load_space(space)
    network, facts = load_network(weights_folder(weights), own)
    dataset, folder = _trained_on(source, facts, dataset)
    images = TrainImagesConfig(
        dataset=dataset, data_dir=absolute(data_dir) or folder,
        image_size=facts.image_size if image_size is None else image_size, workers=workers,
    )  # fmt: skip
    result = evaluate_network(
        network, facts, images, device=resolve_device(device), batch_size=batch_size
    )
    print_evaluation(result, report_console(json))
    if json is not None:
        write_json(json, result)


def _source(weights: Path) -> RunSource | None:
    """Images of the run that weights are from, if they lie in one.

    Args:
        weights: As they were given: a run, or the weights in it.
    """
    from gnas.retrain.source import run_source

    here = weights.absolute()
    found = (run_source(path) for path in (here, *list(here.parents)[:2]))
    return next((source for source in found if source), None)


def _check_images(
    source: RunSource | None, dataset: Dataset | None, data_dir: Path | None
) -> None:
    """Check, as far as it is known by now, that there are the images to test on."""
    if source is not None and dataset in (None, source.dataset):
        dataset = source.dataset
        data_dir = data_dir or (None if source.data_dir is None else Path(source.data_dir))
    if dataset is not None and data_dir is not None:
        check_images(dataset, data_dir, only_test=True)


def _trained_on(
    source: RunSource | None, facts: NetworkMetadata, dataset: Dataset | None
) -> tuple[Dataset, str | None]:
    """The data set and the folder of the training, unless another data set was asked for.

    Args:
        source: See `_source`.
        facts: Metadata of the weights.
        dataset: As it was given.
    """
    import logging

    from gnas.retrain.config import PRESETS
    from gnas.runs import NOTICE

    if source is not None and dataset in (None, source.dataset):
        logging.getLogger("gnas").log(NOTICE, "%s", source.line())
        return source.dataset, source.data_dir
    told = facts.details.get("data")
    named = told.get("dataset") if isinstance(told, dict) else None
    if dataset is None and named in PRESETS:
        return cast("Dataset", named), None
    return dataset or "digits", None


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
