"""How small supernet searches of several methods differ: derived cells and their accuracy.

Searches on part of a folder of images by each method and seed, and trains every derived cell for a
few epochs on all training images. In the same table: cells drawn uniformly from the same space.
Test accuracies are of the last epoch; nothing is chosen by them. What is finished is kept in
the folder of the runs: started again, the script goes on where it was.

    python benchmarks/toponas_small.py IMAGES [--seeds 3] [--runs DIR] [--save NAME]
"""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import command_line, save_record

from gnas.data.files import atomic_write
from gnas.data.images.parts import load_images
from gnas.metrics import mean_interval
from gnas.models import DartsNetworkConfig, darts_network, num_params
from gnas.search.toponas.plan import plan_search
from gnas.search.toponas.run import run_search
from gnas.search.toponas.where import search_space
from gnas.spaces import Genotype, TopoNAS
from gnas.topology import candidate_edges
from gnas.training.checkpoints import Checkpoints
from gnas.training.recipe import ProxyRecipe
from gnas.training.short import fresh_network, train_proxy

METHODS: dict[str, dict[str, Any]] = {
    "TopoNAS arbitrary, DARTS": {},
    "TopoNAS fixed, MiLeNAS": {"topology": "fixed", "method": "milenas"},
    "DARTS": {"baseline": "darts"},
}
RANDOM = "random cells (arbitrary)"
SEARCH: dict[str, Any] = {
    "image_size": 16, "channels": 16, "num_cells": 4, "batch_size": 64, "lr": 0.05,
    "epochs": 12, "arch_lr": 0.01,
}  # fmt: skip
NETWORK: dict[str, Any] = {"channels": 16, "num_cells": 5}
RECIPE = ProxyRecipe(epochs=10, batch_size=64, lr=0.1, flip=True)


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("images", type=Path, help="train/<class>/* and test/<class>/*, or .npy")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--runs", type=Path, default=Path("runs/toponas-small"))
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows: dict[str, list[dict[str, float]]] = {}
    for seed in range(options.seeds):
        for name in (*METHODS, RANDOM):
            folder = options.runs / f"{name.replace(', ', '-').replace(' ', '-')}-{seed}"
            rows.setdefault(name, []).append(finished(name, seed, folder, options.images))
            print(name, seed, {k: round(v, 3) for k, v in rows[name][-1].items()}, flush=True)
    text = table(rows)
    print(text)
    if options.save:
        save_record(
            options.save,
            "Small TopoNAS searches on 4,000 CIFAR-10 images at 16x16",
            "python benchmarks/toponas_small.py IMAGES",
            text,
            search=SEARCH, network=NETWORK, recipe=asdict(RECIPE), seeds=options.seeds, rows=rows,
        )  # fmt: skip


def finished(name: str, seed: int, folder: Path, images: Path) -> dict[str, float]:
    """One search and the training of what it found, or what an earlier start has of it."""
    path = folder / "row.json"
    if path.exists():
        row: dict[str, float] = json.loads(path.read_text())
        return row
    row = {}
    if name == RANDOM:
        graph = TopoNAS().sample(np.random.default_rng(seed))
        genotype = Genotype.from_graph(graph)
    else:
        settings = {**SEARCH, **METHODS[name], "seed": seed, "data_dir": str(images)}
        plan = plan_search("folder", **settings)
        resume = bool(Checkpoints(folder / "checkpoint").steps())
        result = run_search(plan, out=folder, resume=resume)
        genotype = Genotype.parse(result.architecture)
        row["supernet_val_acc"] = result.metrics["val_acc"]
        search_space(plan.config).validate(genotype.to_graph())
        row["valid"] = 1.0  # or the line above has raised
        row["by_argmax"] = float(set(result.derived.values()) == {"argmax"})
    row |= shape(genotype) | trained(genotype, images, seed)
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(row, indent=2) + "\n")
    return row


def shape(genotype: Genotype) -> dict[str, float]:
    """Edges, longest path and share of skip connections of both cells."""
    facts: dict[str, float] = {}
    for cell in ("normal", "reduce"):
        nodes = getattr(genotype, cell)
        depth = [0, 0]
        for node in nodes:
            depth.append(1 + max(depth[source] for _, source in node))
        ops = [op for node in nodes for op, _ in node]
        facts[f"edges_{cell}"] = len(ops)
        facts[f"depth_{cell}"] = max(depth)
        facts[f"skips_{cell}"] = ops.count("skip_connect") / len(ops)
    facts["edges_possible"] = len(candidate_edges(len(genotype.normal) + 3))
    return facts


def trained(genotype: Genotype, images: Path, seed: int) -> dict[str, float]:
    """Parameters and test accuracy of the network of the derived cells."""
    splits = load_images(images, image_size=SEARCH["image_size"], num_val=100)
    config = DartsNetworkConfig(num_classes=splits.num_classes, **NETWORK)
    network = fresh_network(partial(darts_network, genotype.to_graph(), config), seed)
    result = train_proxy(network, splits, RECIPE, seed=seed)
    return {
        "num_params": num_params(network),
        "test_acc": result.test_acc,
    }


def table(rows: dict[str, list[dict[str, float]]]) -> str:
    """Markdown: means over seeds, with 95% intervals of the accuracy."""
    columns = (
        "edges_normal", "edges_reduce", "depth_normal", "depth_reduce", "skips_normal",
        "skips_reduce", "valid", "by_argmax", "num_params", "supernet_val_acc",
    )  # fmt: skip
    lines = [f"| method | test_acc [95%] | {' | '.join(columns)} |"]
    lines.append("|---" * (len(columns) + 2) + "|")
    for name, own in rows.items():
        acc = mean_interval([row["test_acc"] for row in own])
        cells = [
            f"{np.mean([row[c] for row in own]):,.3g}" if c in own[0] else "" for c in columns
        ]
        interval = f"{acc.mean:.3f} [{acc.low:.3f}, {acc.high:.3f}]"
        lines.append(f"| {name} | {interval} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
