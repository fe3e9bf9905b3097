"""Zero-cost proxies on NAS-Bench-201: how each ranks alone, and what they add to other features.

Measures every function of the space once (5,425 networks of three cells) and keeps the values in
a file, so that a second run starts from there. With --functions N instead: how N drawn functions
are ranked by networks of other sizes. Run from the repository's root:
python benchmarks/zero_cost.py TABLE [--column NAME] [--store FILE] [--functions N] [--save NAME]
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from record import command_line, save_record

from gnas.bench.experiment import RankingTask, run
from gnas.bench.result import Row
from gnas.bench.setups import PredictorSetup
from gnas.data import load_table
from gnas.graphs import DenseBatch, graph_keys
from gnas.metrics import kendall_tau
from gnas.models import NASBench201NetworkConfig
from gnas.predictors import (
    ARDGaussianProcess,
    Average,
    Features,
    FeatureUnion,
    Forest,
    OneHot,
    PathStatistics,
    Predictor,
    ZeroCost,
    default_predictor,
)
from gnas.predictors.features import FeatureMatrix
from gnas.proxies import PROXIES, ProxyConfig, ProxyStore, compute_proxies
from gnas.spaces import NASBench201

SAMPLES = (39, 78, 156)
SPACE = NASBench201()
TITLE = "zero-cost proxies on NAS-Bench-201"
NOTE = """
Kendall tau over all remaining cells, mean and half the 95% interval; in brackets the gain over the
same predictor without proxies, on the same draws.
"""


def sized(channels: int, cells: int) -> ProxyConfig:
    """All proxies on networks of three stages of ``cells`` cells."""
    return ProxyConfig(network=NASBench201NetworkConfig(channels=channels, cells_per_stage=cells))


def widened(predictor: Predictor, features: Features, more: int) -> Predictor:
    """The predictor on ``features``, whose last ``more`` columns are new to it."""
    if isinstance(predictor, Average):
        return Average([widened(member, features, more) for member in predictor.members])
    other = predictor.reseeded(predictor.random_state)
    other.features = features
    if isinstance(other, ARDGaussianProcess):
        width = sum(PathStatistics(SPACE).widths.values())
        if other.columns is not None:
            other.columns = (*other.columns, *range(width, width + more))
        if other.relevance is not None:
            other.relevance = (*other.relevance, *[1.0] * more)
    return other


def predictor_setups(store: ProxyStore) -> list[list[PredictorSetup]]:
    """Groups of a predictor without proxies, and the same with them."""
    whole, paths = ProxyConfig(), PathStatistics(SPACE)
    proxies = ZeroCost(SPACE, whole, store)
    ours, alone = default_predictor(SPACE, networks=False), ARDGaussianProcess(paths)
    raw = OneHot(SPACE.max_nodes, len(SPACE.ops), len(SPACE.edge_ops), with_counts=True)
    both, beside = FeatureUnion((paths, proxies)), FeatureUnion((raw, proxies))
    more = len(PROXIES)
    return [
        [
            PredictorSetup(ours, "default", "path statistics"),
            PredictorSetup(widened(ours, both, more), "default", "path statistics + proxies"),
        ],
        [
            PredictorSetup(alone, "one ARD process", "path statistics"),
            PredictorSetup(
                widened(alone, both, more), "one ARD process", "path statistics + proxies"
            ),
            PredictorSetup(ARDGaussianProcess(proxies), "one ARD process", "proxies alone"),
        ],
        [
            PredictorSetup(Forest(raw), "random forest", "raw matrix and counts"),
            PredictorSetup(Forest(beside), "random forest", "raw matrix and counts + proxies"),
        ],
    ]


def alone(values: FeatureMatrix, score: FeatureMatrix) -> list[str]:
    """A line of the first table for every proxy."""
    pairs = zip(PROXIES, values.T, strict=True)
    return [f"| {name} | {kendall_tau(column, score):.3f} |" for name, column in pairs]


def lines(rows: Sequence[Row]) -> list[str]:
    """A line of the second table for every predictor of one group."""
    names = dict.fromkeys((row.predictor, row.encoder) for row in rows if row.kendall_tau)
    found = []
    for predictor, encoder in names:
        cells = []
        for row in rows:
            if (row.predictor, row.encoder) == (predictor, encoder) and row.kendall_tau:
                tau, gain = row.kendall_tau, row.kendall_tau_gain
                text = f"{tau.mean:.3f} ± {tau.high - tau.mean:.3f}"
                if gain is not None:
                    text += f" ({gain.mean:+.3f} ± {gain.high - gain.mean:.3f})"
                cells.append(text)
        found.append(f"| {predictor}: {encoder} | {' | '.join(cells)} |")
    return found


def speed(count: int) -> float:
    """Functions measured in a second of one core, of ``count`` cells that no store knows."""
    cells = SPACE.sample_batch(count, np.random.default_rng(0))
    start, done = time.process_time(), []
    compute_proxies(SPACE, cells, progress=lambda i, _: done.append(i))
    return len(done) / (time.process_time() - start)


SIZES = (
    (ProxyConfig(), "3 cells, 8 channels, 8x8, 32 images"),
    (sized(8, 3), "9 cells, 8 channels, 8x8, 32 images"),
)
"""The networks that are compared."""


def by_size(graphs: DenseBatch, score: FeatureMatrix, count: int) -> list[str]:
    """A line for every network: Kendall tau of its proxies over ``count`` drawn functions."""
    _, first, group = np.unique(
        graph_keys(SPACE.functional_form(graphs)), return_index=True, return_inverse=True
    )
    mean = np.bincount(group, score) / np.bincount(group)
    drawn = np.random.default_rng(0).permutation(len(first))[:count]
    text = [f"| {count} functions, mean accuracy of each | {' | '.join(PROXIES)} | ms |"]
    text += ["|---" * (len(PROXIES) + 2) + "|"]
    for config, name in SIZES:
        start = time.process_time()
        values = compute_proxies(SPACE, graphs[torch.from_numpy(first[drawn])], config)
        each = 1000 * (time.process_time() - start) / count
        taus = [f"{kendall_tau(column, mean[drawn]):.3f}" for column in values.T]
        text.append(f"| {name} | {' | '.join(taus)} | {each:.0f} |")
        print(text[-1], flush=True)
    return text


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("table", help="a table of `gnas data convert nasbench201`")
    parser.add_argument("--column", default="cifar10_val_acc_200", help="accuracies")
    parser.add_argument("--store", help="file that keeps the proxies")
    parser.add_argument("--functions", type=int, help="compare networks on so many functions")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the first draw")
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = load_table(Path(options.table))
    score, store = table.values(options.column), ProxyStore(options.store)
    if options.functions:
        text = by_size(table.graphs, score, options.functions)
        if options.save:
            command = f"python benchmarks/zero_cost.py TABLE --functions {options.functions}"
            save_record(options.save, TITLE, command, "\n".join(text), column=options.column)
        return
    rate = speed(50)
    values = compute_proxies(SPACE, table.graphs, store=store)
    text = [
        f"{options.column}, all {len(table):,} cells; {rate:.0f} functions a second of one core.",
        "",
    ]
    text += ["| proxy alone | Kendall tau |", "|---|---|", *alone(values, score), ""]
    text += [f"| samples | {' | '.join(map(str, SAMPLES))} |", "|---" * (len(SAMPLES) + 1) + "|"]
    print("\n".join(text), flush=True)
    functions = graph_keys(SPACE.functional_form(table.graphs))
    task = RankingTask(table.graphs, table.graphs, score, score, np.arange(len(table)), functions)
    found: list[Row] = []
    for group in predictor_setups(store):
        rows = run(
            task,
            group,
            samples=SAMPLES,
            seeds=options.seeds,
            seed=options.seed,
            progress=lambda done, total: None,
        )
        found += [row for row in rows if row.kendall_tau]
        text += lines(rows)
        print("\n".join(lines(rows)), flush=True)
    if options.save:
        save_record(
            options.save,
            TITLE,
            f"python benchmarks/zero_cost.py TABLE --column {options.column} "
            f"--seeds {options.seeds} --seed {options.seed}",
            "\n".join([*text, NOTE]),
            table=table.provenance.summary() | {"path": Path(options.table).name},
            functions_per_core_second=rate,
            alone={
                name: kendall_tau(column, score)
                for name, column in zip(PROXIES, values.T, strict=True)
            },
            rows=[asdict(row) for row in found],
        )


if __name__ == "__main__":
    main()
