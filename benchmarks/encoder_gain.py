"""What the paper's predictor gains when it reads an embedding instead of the raw matrix.

The two-layer perceptron of `gnas.predictors.MLP` reads, on the same samples: the adjacency matrix
with operations (the reference), a shipped encoder, and the exact kernel map that the encoder was
trained to (principal coordinates of the table's own cells), which is its bound. Printed are means
and paired 95% intervals of the gains in Kendall's tau and in global bias B (points; less is
better). Encoders were chosen on draws of seed 100; here the seed is 0.
Run from the repository's root:
python benchmarks/encoder_gain.py TABLE... [--seeds N] [--save NAME]
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from record import command_line, save_record

from gnas.bench import nasbench101, nasbench201
from gnas.bench.config import NASBench101Bench, NASBench201Bench
from gnas.bench.experiment import RankingTask, run_fits
from gnas.bench.setups import KernelMap, PredictorSetup
from gnas.data import load_table
from gnas.encoders import PRESETS, load_encoder
from gnas.metrics import mean_interval
from gnas.predictors import MLP, Embedding, Features, OneHot
from gnas.spaces import SPACES

SAMPLES = {"nasbench101": (100, 200, 500, 1000, 2000), "nasbench201": (39, 78, 156, 469)}


def task_of(path: str) -> tuple[str, RankingTask]:
    """The space of a table and its experiment: that of ``gnas bench`` with its defaults."""
    table = load_table(Path(path) if Path(path).is_file() else path)
    if table.graphs.has_edge_ops:
        everyone = np.arange(len(table))
        return "nasbench201", nasbench201.make_task(table, everyone, NASBench201Bench())
    rows = nasbench101.usable_rows(table.graphs, fixed=False)
    return "nasbench101", nasbench101.make_task(table, rows, NASBench101Bench())


def compared_features(name: str) -> Iterator[Features]:
    """What the perceptron reads; the first is the reference."""
    space = SPACES[name]()
    yield OneHot(space.max_nodes, len(space.ops), len(space.edge_ops))
    for encoder, make in PRESETS.items():
        if make().space == name:
            yield Embedding(load_encoder(encoder))
            yield KernelMap(make(), encoder)


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("tables", nargs="+", help="names or files of benchmark tables")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="draws of 100 and more chose")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines, rows = [], []
    for path in options.tables:
        name, task = task_of(path)
        samples = [n for n in SAMPLES[name] if n <= len(task.graphs) // 2]
        lines += [f"\n{Path(path).stem}, {len(task.graphs)} cells:\n"]
        lines += ["| what the perceptron reads | " + " | ".join(map(str, samples)) + " |"]
        lines += ["|---" * (len(samples) + 1) + "|"]
        print("\n".join(lines[-3:]), flush=True)
        reference: dict[int, list[dict[str, float]]] = {}
        for features in compared_features(name):
            setup = PredictorSetup(MLP(features), "MLP", features.name)
            fits = run_fits(task, setup, samples=samples, seeds=options.seeds, seed=options.seed)
            reference = reference or fits
            cells = []
            for n in samples:
                row: dict[str, object] = {"table": Path(path).stem, "reads": features.name}
                row |= {"samples": n, "seeds": options.seeds}
                text = []
                for metric, scale, digits in (("kendall_tau", 1, 3), ("global_bias", 100, 2)):
                    own = [scale * fit[metric] for fit in fits[n]]
                    other = [scale * fit[metric] for fit in reference[n]]
                    gain = mean_interval([a - b for a, b in zip(own, other, strict=True)])
                    row[metric] = float(np.mean(own))
                    row[f"{metric}_gain"] = [gain.mean, gain.low, gain.high]
                    part = f"{np.mean(own):.{digits}f}"
                    if fits is not reference:
                        half = (gain.high - gain.low) / 2
                        part += f" ({gain.mean:+.{digits}f} +- {half:.{digits}f})"
                    text.append(part)
                rows.append(row)
                cells.append(" / B ".join(text))
            lines.append(f"| {features.name} | {' | '.join(cells)} |")
            print(lines[-1], flush=True)
    if options.save:
        save_record(
            options.save,
            "Kendall's tau and global bias B (points) of the paper's perceptron, by what it "
            "reads; in brackets the paired gain over the first row with its 95% interval",
            f"python benchmarks/encoder_gain.py {' '.join(Path(t).name for t in options.tables)} "
            f"--seeds {options.seeds}",
            "\n".join(lines),
            seed=options.seed,
            rows=rows,
        )


if __name__ == "__main__":
    main()
