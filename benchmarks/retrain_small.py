"""A found cell, DARTS' published one and random ones, retrained small with several seeds.

Every row is one kind of cell: those that searches found (FOUND: their folders, or texts), each
trained with a seed of its own; DARTS' second-order cell with the same seeds; as many cells drawn
uniformly from the valid topologies and operations. One recipe, fixed beforehand, for all;
accuracies are of the last epoch on test images at which nothing was chosen. What is finished is
kept in the folder of the runs: started again, the script goes on where it was.

    python benchmarks/retrain_small.py IMAGES FOUND... [--runs DIR] [--save NAME]
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu_check import GENOTYPE
from record import command_line, save_record

from gnas.cli.architectures import read_architecture
from gnas.metrics import mean_interval
from gnas.retrain import plan_retrain, run_retrain
from gnas.spaces import TopoNAS, space_of_text

RECIPE: dict[str, Any] = {
    "layers": (5,), "channels": 8, "epochs": 12, "batch_size": 64, "lr": 0.1, "drop_path": 0.0,
    "cutout": 0, "channels_last": True,
}  # fmt: skip


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("images", type=Path, help="train/<class>/* and test/<class>/*, or .npy")
    parser.add_argument("found", nargs="+", help="folders of searches, or texts")
    parser.add_argument("--runs", type=Path, default=Path("runs/retrain-small"))
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    seeds = range(len(options.found))
    cells = {
        "TopoNAS": [read_architecture(found).text for found in options.found],
        "DARTS_V2": [str(GENOTYPE)] * len(seeds),
        "random": [
            TopoNAS().to_str(TopoNAS().sample(np.random.default_rng(seed))) for seed in seeds
        ],
    }
    rows: dict[str, list[dict[str, Any]]] = {}
    for seed in seeds:
        for name, texts in cells.items():
            folder = options.runs / f"{name}-{seed}"
            rows.setdefault(name, []).append(trained(texts[seed], options.images, seed, folder))
            print(name, seed, rows[name][-1]["test_acc"], flush=True)
    text = table(rows)
    print(text)
    if options.save:
        save_record(
            options.save,
            f"Cells retrained on {rows['random'][0]['train_images']:,} images at 32x32",
            "python benchmarks/retrain_small.py IMAGES FOUND...",
            text, recipe=RECIPE, seeds=len(seeds), rows=rows,
        )  # fmt: skip


def trained(text: str, images: Path, seed: int, folder: Path) -> dict[str, Any]:
    """One training through its run folder, or what an earlier start has of it."""
    plan = plan_retrain(
        space_of_text(text), text, "folder", data_dir=str(images), seed=seed, **RECIPE
    )
    result = run_retrain(plan, out=folder, resume=folder.exists())
    return {
        "genotype": text,
        "test_acc": result["metrics"]["test_acc"],
        "train_acc": result["metrics"]["train_acc"],
        "train_images": result["data"]["parts"][0]["images"],
        "num_params": result["params"],
        "macs": result["macs"],
        "seconds": result["seconds"],
    }


def table(rows: dict[str, list[dict[str, Any]]]) -> str:
    """Markdown: means over seeds, with 95% intervals of the accuracy."""
    lines = ["| cells | test_acc [95%] | of each seed | train_acc | params | MACs |"]
    lines.append("|---" * 6 + "|")
    for name, own in rows.items():
        acc = mean_interval([row["test_acc"] for row in own])
        means = {
            key: np.mean([row[key] for row in own]) for key in ("train_acc", "num_params", "macs")
        }
        each = ", ".join(f"{row['test_acc']:.3f}" for row in own)
        lines.append(
            f"| {name} | {acc.mean:.3f} [{acc.low:.3f}, {acc.high:.3f}] | "
            f"{each} | {means['train_acc']:.3f} | "
            f"{means['num_params']:,.0f} | {means['macs'] / 1e6:.1f}M |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
