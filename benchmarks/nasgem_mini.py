"""Trains NASGEM cells with two seeds each, says how far the seeds agree, and writes a table.

With the CIFAR-10 that torchvision downloads in ROOT:

    python benchmarks/prepare_cifar10.py ROOT cifar10-jpeg75 --jpeg 75
    python benchmarks/nasgem_mini.py cifar10-jpeg75 --journal cells.jsonl --cells 24
    python benchmarks/nasgem_mini.py cifar10-jpeg75 --journal cells.jsonl --out cells.parquet

The second command trains and may be interrupted: it goes on where it was. It ends with Kendall's
tau between the seeds and with the spread of the cells against that of the seeds. With
``--part 0/2`` and ``--part 1/2`` two processes share the cells, a journal each; the third command
takes all journals and writes what is finished. `nasgem_stacked` trains a cell's seeds at once, as
`gnas.train.train_proxy` would one by one.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nasgem_stacked import prepared, train_stacked

import gnas
from gnas.data import BenchmarkTable, Column, Provenance, save_table
from gnas.data.images import ImageSplits, load_images
from gnas.errors import ConfigError
from gnas.graphs import DenseBatch, graph_keys
from gnas.metrics import kendall_tau
from gnas.models import NasgemNetworkConfig, nasgem_network, num_macs, num_params
from gnas.spaces import NASGEM
from gnas.train import ProxyRecipe

SPACE = NASGEM()
SEEDS = (1, 2)
DRAW_SEED = 0
PER_RUN = ("val_acc", "test_acc", "val_loss", "train_time_s")
PER_CELL = ("num_params", "macs")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """All that a cell's results depend on, besides the images."""

    image_size: int = 16
    num_train: int = 24_000
    num_val: int = 5000
    num_test: int = 10_000
    network: NasgemNetworkConfig = field(
        default_factory=lambda: NasgemNetworkConfig(channels=8, num_stages=1, stem="imagenet")
    )
    recipe: ProxyRecipe = field(
        default_factory=lambda: ProxyRecipe(epochs=1, batch_size=64, lr=0.2, flip=True)
    )

    def images(self, folder: str) -> ImageSplits:
        """The images, read and reduced."""
        return load_images(
            folder,
            image_size=self.image_size,
            num_train=self.num_train,
            num_val=self.num_val,
            num_test=self.num_test,
        )


def drawn() -> Iterator[str]:
    """Cells of the space, each different from those before up to isomorphism."""
    seen: set[int] = set()
    k = 0
    while True:
        cell = SPACE.sample_batch(1, np.random.default_rng([DRAW_SEED, k]))
        key = int(graph_keys(cell)[0])
        if key not in seen:
            seen.add(key)
            yield SPACE.to_str(cell.data(0))
        k += 1


def finished(journal: Path, facts: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The results of a journal by cell; a line that a kill cut short does not count.

    Raises:
        ConfigError: the journal was begun with other settings or images.
    """
    found: dict[str, dict[str, Any]] = {}
    for line in journal.read_text().splitlines() if journal.exists() else []:
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if "facts" in record and record["facts"] != facts:
            raise ConfigError(
                f"{journal} must be a journal of these settings and images, but was begun with "
                f"{record['facts']}; name another file"
            )
        if "cell" in record:
            found[record["cell"]] = record
    return found


def facts_of(setting: Setting, images: ImageSplits) -> dict[str, Any]:
    """What a journal and a table say of how their cells were trained."""
    facts = {
        **asdict(setting),
        "seeds": SEEDS,
        "draw_seed": DRAW_SEED,
        "max_nodes": SPACE.max_nodes,
        "max_inputs": SPACE.max_inputs,
        "densities": SPACE.densities,
        "images_sha256": images.sha256,
    }
    plain: dict[str, Any] = json.loads(json.dumps(facts))
    return plain


def train(
    setting: Setting,
    images: ImageSplits,
    journal: Path,
    cells: int,
    part: tuple[int, int] = (0, 1),
) -> int:
    """Trains what is missing in the journal, one line for each cell; how many that were."""
    facts = facts_of(setting, images)
    done = finished(journal, facts)
    windows = prepared(images, setting.recipe)
    shape = (images.in_channels, images.image_size, images.image_size)
    start, trained = time.monotonic(), 0
    with journal.open("a") as file:
        file.write("\n" if journal.stat().st_size else "")  # ends a line that was cut short
        if not done:
            file.write(json.dumps({"facts": facts}) + "\n")
        for k, cell in zip(range(cells), drawn(), strict=False):
            if k % part[1] != part[0] or cell in done:
                continue
            graph = SPACE.from_str(cell)
            network = nasgem_network(graph, setting.network)
            results = train_stacked(
                graph, setting.network, windows, images.image_size, setting.recipe, SEEDS
            )
            record = {
                "cell": cell,
                "runs": [asdict(result) for result in results],
                "num_params": num_params(network),
                "macs": num_macs(network, shape),
            }
            file.write(json.dumps(record) + "\n")
            file.flush()
            trained += 1
            if trained % 10 == 0:
                each = (time.monotonic() - start) / trained
                print(f"cell {k + 1} of {cells}, {each:.2f} s each", flush=True)
    return trained


def quality(records: Sequence[dict[str, Any]]) -> dict[str, float]:
    """How far the seeds agree, and what can be known of a cell without training it.

    Standard deviations are those of one training; that of the cells is without the seeds' share.
    """
    val = np.array([[run["val_acc"] for run in record["runs"]] for record in records])
    test = np.array([[run["test_acc"] for run in record["runs"]] for record in records])
    macs = np.array([float(record["macs"]) for record in records])
    between_seeds = val.var(1, ddof=1).mean()
    between_cells = max(0.0, val.mean(1).var(ddof=1) - between_seeds / len(SEEDS))
    return {
        "cells": len(records),
        "tau between seeds, validation": kendall_tau(val[:, 0], val[:, 1]),
        "tau between seeds, test": kendall_tau(test[:, 0], test[:, 1]),
        "tau of mean validation and mean test": kendall_tau(val.mean(1), test.mean(1)),
        "tau of MACs and mean test": kendall_tau(macs, test.mean(1)),
        "mean validation accuracy": float(val.mean()),
        "deviation between cells": float(between_cells**0.5),
        "deviation between seeds": float(between_seeds**0.5),
    }


def write(setting: Setting, images: ImageSplits, journals: Sequence[Path], out: Path) -> None:
    """The table of the finished cells, in the order of the draw."""
    facts = facts_of(setting, images)
    found: dict[str, dict[str, Any]] = {}
    for journal in journals:
        found |= finished(journal, facts)
    if not found:
        raise ConfigError(f"journals must hold finished cells, but {[*map(str, journals)]} do not")
    cells: list[str] = []
    for cell in drawn():
        if cell in found:
            cells.append(cell)
        if len(cells) == len(found):
            break
    values = {}
    for quantity in PER_RUN:
        for s, seed in enumerate(SEEDS):
            column = Column.of(quantity, epochs=setting.recipe.epochs, run=seed)
            values[column] = np.array([found[cell]["runs"][s][quantity] for cell in cells])
    for quantity in PER_CELL:
        values[Column.of(quantity)] = np.array([found[cell][quantity] for cell in cells])
    parts = f"{len(images.y_train)}/{len(images.y_val)}/{len(images.y_test)}"
    provenance = Provenance(
        name=out.stem,
        space=SPACE.name,
        source=f"gnas {gnas.__version__} benchmarks/nasgem_mini.py",
        kind="self-made",
        note=(
            f"short trainings of small networks on {parts} training/validation/test images of "
            f"{images.source} at {images.image_size}x{images.image_size}; NASGEM's authors "
            "publish no accuracies of cells"
        ),
        recipe={**facts, "torch": torch.__version__},
    )
    graphs = DenseBatch.from_data([SPACE.from_str(cell) for cell in cells])
    named = {column.name: array for column, array in values.items()}
    save_table(BenchmarkTable(graphs, list(values), provenance, named), out)
    print(f"{len(cells)} cells, {out.stat().st_size} bytes")
    print(json.dumps(quality([found[cell] for cell in cells]), indent=2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", help="folder that prepare_cifar10.py wrote")
    parser.add_argument("--journal", type=Path, nargs="+", required=True)
    parser.add_argument("--cells", type=int, default=24)
    parser.add_argument("--part", default="0/1", metavar="K/N", help="every N-th cell from K on")
    parser.add_argument("--out", type=Path, help="write the table instead of training")
    parser.add_argument("--size", type=int, default=16, help="pixels a side")
    parser.add_argument("--train", type=int, default=24_000, help="training images")
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--stages", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--lr", type=float, default=0.2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    setting = Setting(
        image_size=options.size,
        num_train=options.train,
        network=NasgemNetworkConfig(
            channels=options.channels, num_stages=options.stages, stem="imagenet"
        ),
        recipe=ProxyRecipe(epochs=options.epochs, batch_size=64, lr=options.lr, flip=True),
    )
    images = setting.images(options.images)
    if options.out is not None:
        write(setting, images, options.journal, options.out)
        return
    first, step = (int(number) for number in options.part.split("/"))
    journal = options.journal[0]
    train(setting, images, journal, options.cells, (first, step))
    records = list(finished(journal, facts_of(setting, images)).values())
    print(json.dumps(quality(records), indent=2))


if __name__ == "__main__":
    main()
