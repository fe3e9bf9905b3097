"""Trains NASGEM cells with two seeds each, says how far the seeds agree, and writes a table.

With the CIFAR-10 that torchvision downloads in ROOT:

    python benchmarks/prepare_cifar10.py ROOT cifar10-jpeg75 --jpeg 75
    python benchmarks/nasgem_mini.py cifar10-jpeg75 --journal cells.jsonl --cells 24
    python benchmarks/nasgem_mini.py cifar10-jpeg75 --journal cells.jsonl --out cells.parquet

The second command trains and may be interrupted: it goes on where it was. It ends with Kendall's
tau between the seeds and with the spread of the cells against that of the seeds. With
``--part 0/2`` and ``--part 1/2`` two processes share the cells, a journal each. Cells of further
journals, and of a table of this script (``--table nasgem-mini``), are not trained again. The third
command writes what is finished in all of them, so the table grows from release to release.
`nasgem_native` trains as `gnas.training.short.train_proxy` does, in C.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nasgem_native import prepared, train_native

import gnas
from gnas.data import BenchmarkTable, Column, Provenance, load_table, save_table
from gnas.data.images.parts import ImageParts, load_images
from gnas.errors import ConfigError
from gnas.graphs import DenseBatch, graph_keys
from gnas.metrics import kendall_tau
from gnas.models import NasgemNetworkConfig, nasgem_network, num_macs, num_params
from gnas.spaces import NASGEM
from gnas.training.recipe import ProxyRecipe

SPACE = NASGEM()
SEEDS = (1, 2)
DRAW_SEED = 0
OWN = 4
"""One cell in so many is as the space draws it, the others are wide."""
WIDE_DENSITIES = (0.05, 1.0)
OPS_BETA = 0.6
"""Both parameters of the Beta distribution that a wide cell's share of an operation has."""
MIN_NODES = 5
"""Of wide cells; most sparse draws end in a handful of nodes."""
PER_RUN = ("val_acc", "test_acc", "val_loss", "train_time_s")
PER_CELL = ("num_params", "macs", "wide")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """All that a cell's results depend on, besides the images."""

    image_size: int = 12
    num_train: int = 40_000
    num_val: int = 5000
    num_test: int = 10_000
    network: NasgemNetworkConfig = field(
        default_factory=lambda: NasgemNetworkConfig(channels=8, num_stages=1, stem="imagenet")
    )
    recipe: ProxyRecipe = field(
        default_factory=lambda: ProxyRecipe(epochs=2, batch_size=64, lr=0.2, flip=True)
    )

    def images(self, folder: str) -> ImageParts:
        """The images, read and reduced."""
        return load_images(
            folder,
            image_size=self.image_size,
            num_train=self.num_train,
            num_val=self.num_val,
            num_test=self.num_test,
        )


def drawn() -> Iterator[tuple[str, bool]]:
    """Cells, each different from those before up to isomorphism, and whether they are wide.

    One in `OWN` is as the space draws it. Those differ too little in accuracy for two seeds to
    agree on, so the others, the wide ones, spread further: density is uniform in `WIDE_DENSITIES`,
    and every cell has its own share of each operation.
    """
    wide = NASGEM(SPACE.max_nodes, WIDE_DENSITIES, SPACE.max_inputs)
    seen: set[int] = set()
    for k in count():
        for attempt in count():
            rng = np.random.default_rng([DRAW_SEED, k, attempt])
            if k % OWN == 0:
                cell = SPACE.sample_batch(1, rng)
            else:
                cell = wide.sample_batch(1, rng)
                second = rng.random(cell.ops.shape) < rng.beta(OPS_BETA, OPS_BETA)
                ops = torch.where(cell.ops < 0, cell.ops, torch.from_numpy(second.astype(np.int8)))
                cell = replace(cell, ops=ops)
                if int(cell.num_nodes[0]) < min(MIN_NODES, SPACE.max_nodes):
                    continue
            key = int(graph_keys(cell)[0])
            if key not in seen:
                seen.add(key)
                yield SPACE.to_str(cell.data(0)), k % OWN > 0
                break


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


def published(table: str, facts: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The results of a table that `write` wrote, by cell, as a journal has them.

    Raises:
        ConfigError: the table was made with other settings or images.
    """
    found = load_table(table)
    recipe = dict(found.provenance.recipe or {})
    recipe.pop("torch", None)
    if recipe != facts:
        raise ConfigError(
            f"{table} must be a table of these settings and images, but was made with {recipe}"
        )
    runs = {name: found.runs(name) for name in PER_RUN}  # [N, seeds]
    cells = {name: found.values(name) for name in PER_CELL}
    return {
        SPACE.to_str(found[k]): {
            "cell": SPACE.to_str(found[k]),
            "runs": [
                {name: float(runs[name][k, s]) for name in PER_RUN} for s in range(len(SEEDS))
            ],
            **{name: int(cells[name][k]) for name in PER_CELL},
        }
        for k in range(len(found))
    }


def facts_of(setting: Setting, images: ImageParts) -> dict[str, Any]:
    """What a journal and a table say of how their cells were trained."""
    facts = {
        **asdict(setting),
        "seeds": SEEDS,
        "draw_seed": DRAW_SEED,
        "max_nodes": SPACE.max_nodes,
        "max_inputs": SPACE.max_inputs,
        "densities": SPACE.densities,
        "wide": {
            "all_but_one_in": OWN,
            "densities": WIDE_DENSITIES,
            "ops_beta": OPS_BETA,
            "least_nodes": MIN_NODES,
        },
        "images_sha256": images.sha256,
    }
    plain: dict[str, Any] = json.loads(json.dumps(facts))
    return plain


def train(
    setting: Setting,
    images: ImageParts,
    journal: Path,
    cells: int,
    part: tuple[int, int] = (0, 1),
    known: Container[str] = (),
) -> int:
    """Trains what is missing in the journal, one line for each cell; how many that were.

    Args:
        setting: How to train.
        images: What to train on.
        journal: The file that results are added to.
        cells: How many of the draw.
        part: (k, n): every n-th of them from the k-th on.
        known: Cells that are not trained.
    """
    facts = facts_of(setting, images)
    done = finished(journal, facts)
    windows = prepared(images, setting.recipe)
    shape = (images.in_channels, images.image_size, images.image_size)
    start, trained = time.monotonic(), 0
    with journal.open("a") as file:
        file.write("\n" if journal.stat().st_size else "")  # ends a line that was cut short
        if not done:
            file.write(json.dumps({"facts": facts}) + "\n")
        for k, (cell, wide) in zip(range(cells), drawn(), strict=False):
            if k % part[1] != part[0] or cell in done or cell in known:
                continue
            graph = SPACE.from_str(cell)
            network = nasgem_network(graph, setting.network)
            results = [
                train_native(
                    graph, setting.network, windows, images.image_size, setting.recipe, seed
                )
                for seed in SEEDS
            ]
            record = {
                "cell": cell,
                "runs": [asdict(result) for result in results],
                "num_params": num_params(network),
                "macs": num_macs(network, shape),
                "wide": int(wide),
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


def write(
    setting: Setting,
    images: ImageParts,
    journals: Sequence[Path],
    out: Path,
    known: Mapping[str, dict[str, Any]] | None = None,
) -> None:
    """The table of the finished cells and of those ``known``, in the order of the draw."""
    facts = facts_of(setting, images)
    found: dict[str, dict[str, Any]] = dict(known or {})
    for journal in journals:
        found |= finished(journal, facts)
    if not found:
        raise ConfigError(f"journals must hold finished cells, but {[*map(str, journals)]} do not")
    cells: list[str] = []
    for cell, _ in drawn():
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
    parts = "/".join(str(len(rows)) for rows in images.rows.values())
    provenance = Provenance(
        name=out.stem,
        space=SPACE.name,
        source=f"gnas {gnas.__version__} benchmarks/nasgem_mini.py",
        kind="self-made",
        note=(
            f"short trainings of small networks on {parts} training/validation/test images of "
            f"{images.source.name} at {images.image_size}x{images.image_size}; NASGEM's authors "
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
    parser.add_argument(
        "--table", help="a table of this script, whose cells are not trained again"
    )
    parser.add_argument("--out", type=Path, help="write the table instead of training")
    parser.add_argument("--size", type=int, default=12, help="pixels a side")
    parser.add_argument("--train", type=int, default=40_000, help="training images")
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--stages", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=2)
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
    facts = facts_of(setting, images)
    known = published(options.table, facts) if options.table else {}
    for journal in options.journal[1:]:
        known |= finished(journal, facts)
    if options.out is not None:
        write(setting, images, options.journal, options.out, known)
        return
    first, step = (int(number) for number in options.part.split("/"))
    journal = options.journal[0]
    train(setting, images, journal, options.cells, (first, step), known)
    records = list((known | finished(journal, facts)).values())
    print(json.dumps(quality(records), indent=2))


if __name__ == "__main__":
    main()
