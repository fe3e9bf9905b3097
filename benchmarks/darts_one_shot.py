"""How well supernets rank measured pairs of DARTS' cells: Kendall's tau of one-shot accuracies.

Searches by each method and seed on a folder of images, then gives every cell of the table the
supernet's weights, with weight 1 for the operation of each of its edges, and compares its accuracy
on images that no weights learned from with its accuracy in the table. Started again with the same
``--keep``, the script goes on where it was.

    python benchmarks/darts_one_shot.py TABLE IMAGES [--seeds 3] [--keep FILE] [--save NAME]
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import Kept, command_line, save_record
from torch import Tensor
from torch.nn import functional as F

from gnas.data import load_table
from gnas.data.images.parts import ImageParts, open_search_images, search_loaders
from gnas.graphs import DenseBatch
from gnas.metrics import kendall_tau, mean_interval
from gnas.search.toponas import SupernetSearchResult, search_toponas
from gnas.search.toponas.plan import plan_search
from gnas.search.toponas.where import search_space
from gnas.spaces.supernets import MixedWeights
from gnas.spaces.toponas.cells import edge_codes

METHODS: dict[str, dict[str, Any]] = {"TopoNAS arbitrary": {}, "DARTS": {"baseline": "darts"}}
SEARCH: dict[str, Any] = {
    "image_size": 16, "channels": 8, "num_cells": 4, "batch_size": 128, "lr": 0.05, "epochs": 8,
    "arch_lr": 0.01,
}  # fmt: skip
NUM_IMAGES, BATCH = 250, 125


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("table")
    parser.add_argument("images", help="train/<class>/* and test/<class>/*, or .npy")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="a file for what is finished")
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = load_table(options.table)
    facts = {"search": SEARCH, "images": NUM_IMAGES, "table": table.provenance.sha256}
    kept = Kept(options.keep, facts, what="one-shot rankings")
    lines = ["| method | Kendall tau [95%] | seeds |", "|---|---|---|"]
    rows: dict[str, list[float]] = {}
    for name in METHODS:
        rows[name] = []
        for seed in range(options.seeds):
            compute = partial(ranked, name, seed, options.images, table.graphs, table.test_acc())
            rows[name].append(kept(f"{name} {seed}", compute))
            print(name, seed, f"{rows[name][-1]:.3f}", flush=True)
        interval = mean_interval(rows[name])
        bounds = f" [{interval.low:.3f}, {interval.high:.3f}]" if options.seeds > 1 else ""
        lines.append(f"| {name} | {interval.mean:.3f}{bounds} | {options.seeds} |")
    text = "\n".join(lines)
    print(text)
    if options.save:
        save_record(
            options.save,
            f"One-shot accuracy of {len(table)} pairs of DARTS' cells in small supernets",
            "python benchmarks/darts_one_shot.py TABLE IMAGES",
            text,
            **facts, rows=rows,
        )  # fmt: skip


def ranked(
    name: str, seed: int, folder: str, graphs: DenseBatch, truth: np.ndarray[Any, Any]
) -> float:
    """Kendall's tau with ``truth`` of a search's supernet."""
    plan = plan_search("folder", data_dir=folder, seed=seed, **SEARCH, **METHODS[name])
    images = open_search_images(plan.images, num_parts=plan.config.num_parts)
    loaders = search_loaders(images, plan.config.batch_size, seed=seed)
    result = search_toponas(search_space(plan.config), loaders, plan.config)
    return kendall_tau(one_shot(result, images, graphs), truth)


@torch.no_grad()
def one_shot(result: SupernetSearchResult, images: ImageParts, graphs: DenseBatch) -> list[float]:
    """The accuracy of every pair of cells under the supernet's weights, on alpha's images.

    Batch norms use the batch's statistics, as in training.
    """
    rows = [*images.rows.values()][1][:NUM_IMAGES]
    x, y = images.normalised(rows)
    ops = len(result.bilevel.arch.form.ops)
    found = []
    for row in range(len(graphs)):
        weights = [one_hot(codes, ops) for codes in edge_codes(graphs.data(row))]
        logits = torch.cat(
            [result.bilevel.supernet(part, *weights) for part in torch.split(x, BATCH)]
        )
        found.append(float((logits.argmax(1) == y).double().mean()))
    return found


def one_hot(codes: Tensor, ops: int) -> MixedWeights:
    """One operation with weight 1 on every edge that there is: codes int64 [E]."""
    present = (codes > 0).float()
    return MixedWeights(F.one_hot((codes - 1).clamp_min(0), ops) * present[:, None], present)


if __name__ == "__main__":
    main()
