"""TopoNAS' Table 6: cells of several numbers of nodes, each searched and then retrained.

One table: the number of nodes, the cell's edges, parameters, MACs, and the test accuracy of the
last epoch over the repeats. What is finished is kept in the folder of the runs: started again, the
script goes on where it was, in the middle of a search or a training too.

    python benchmarks/toponas_nodes.py --dataset cifar10 --data-dir DIR [--nodes 7 8 9 11]
        [--repeats 10] [--search epochs=50 ...] [--retrain epochs=600 ...] [--save NAME]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from record import command_line, save_record

from gnas.cli.options import parse_settings
from gnas.retrain import plan_retrain, run_retrain
from gnas.search.toponas.plan import plan_search
from gnas.search.toponas.run import run_search
from gnas.spaces import Genotype, space_of_record
from gnas.training.checkpoints import Checkpoints
from gnas.training.devices import resolve_device


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--dataset", choices=("digits", "cifar10", "folder"), default="cifar10")
    parser.add_argument("--data-dir", default=None)
    parser.add_argument("--nodes", type=int, nargs="+", default=[7, 8, 9, 11])
    parser.add_argument("--method", choices=("darts", "milenas"), default="milenas")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--search", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--retrain", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--runs", type=Path, default=Path("runs/toponas-nodes"))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = [row(nodes, options) for nodes in options.nodes]
    text = table(rows)
    print(text)
    if options.save:
        save_record(
            options.save,
            "TopoNAS cells by number of nodes",
            "python benchmarks/toponas_nodes.py",
            text,
            rows=rows,
            options={name: str(value) for name, value in vars(options).items()},
        )


def row(nodes: int, options: argparse.Namespace) -> dict[str, Any]:
    """One search and the trainings of what it found, or what an earlier start has of them."""
    device = resolve_device(options.device)
    images = {} if options.data_dir is None else {"data_dir": options.data_dir}
    search = plan_search(
        options.dataset,
        **(images | {"seed": options.seed, "method": options.method, "num_nodes": nodes}),
        **parse_settings(options.search),
    )
    folder = options.runs / f"nodes-{nodes}"
    begun = bool(Checkpoints(folder / "checkpoint").steps())
    found = run_search(search, device=device, out=folder, resume=begun)
    genotype = Genotype.parse(found.architecture)
    recipe = parse_settings(options.retrain)
    recipe["layers"] = [recipe["layers"]] if "layers" in recipe else []
    trainings = plan_retrain(
        space_of_record(found.space),
        found.architecture,
        options.dataset,
        repeats=options.repeats,
        **(images | {"seed": options.seed} | recipe),
    )
    out = folder / "retrained"
    result = run_retrain(trainings, device=device, out=out, resume=out.exists())["rows"][0]
    edges = [sum(map(len, getattr(genotype, cell))) for cell in ("normal", "reduce")]
    return {"nodes": nodes, "edges": edges, "genotype": found.architecture, **result}


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: test error in percent, mean and standard deviation over the repeats."""
    lines = [
        "| nodes | edges (normal, reduce) | params | MACs | repeats | test error % |",
        "|---|---|---|---|---|---|",
    ]
    for own in rows:
        acc, std = own["test_acc"]["mean"], own["test_acc"]["std"]
        spread = "" if std is None else f" ± {100 * std:.2f}"
        lines.append(
            f"| {own['nodes']} | {', '.join(map(str, own['edges']))} | {own['params']:,} | "
            f"{own['macs'] / 1e6:.1f}M | {own['repeats']} | {100 * (1 - acc):.2f}{spread} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
