"""Ranking losses and the uncertainty of ensembles on NAS-Bench-201.

Run from the repository's root:
python benchmarks/losses.py TABLE [--column NAME] [--seeds N] [--save NAME]
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from record import command_line, save_record

from gnas.bench.experiment import RankingTask, run
from gnas.bench.result import Row
from gnas.bench.setups import PredictorSetup
from gnas.data import load_table
from gnas.graphs import graph_keys
from gnas.metrics import mean_interval, spearman
from gnas.predictors import (
    LOSSES,
    MLP,
    ARDGaussianProcess,
    Average,
    Calibrated,
    PathStatistics,
    Predictor,
    default_predictor,
)
from gnas.predictors.features import FeatureMatrix
from gnas.predictors.targets import NormalScores, Scores
from gnas.spaces import NASBench201

SAMPLES = (39, 78, 156)
HELD_OUT = 156
SPACE = NASBench201()
PATHS = PathStatistics(SPACE)
NOTE = """
Kendall tau over all remaining cells, mean and half the 95% interval; in brackets the gain over the
first row of its group, on the same draws. Path statistics throughout. Shares: how many of the
errors are below one and two standard deviations (68% and 95% of a normal distribution are), on the
normal scale that predictors learn; the factor is what `Calibrated` found.
"""


def groups() -> Iterator[list[PredictorSetup]]:
    """The losses against squared error, and an ensemble beside the default."""
    names = ["squared", *(name for name in LOSSES if name != "squared")]
    yield [
        PredictorSetup(MLP(PATHS, members=5, loss=name), f"MLP x 5, {name}", "") for name in names
    ]
    ours = default_predictor(SPACE, networks=False)
    assert isinstance(ours, Average)
    perceptrons = MLP(PATHS, members=5, loss="listwise")
    yield [
        PredictorSetup(ours, "default", ""),
        PredictorSetup(Average([*ours.members, perceptrons]), "default + MLP x 5, listwise", ""),
    ]


def lines(rows: list[Row]) -> list[str]:
    """A line for every predictor of one group."""
    found = []
    for name in dict.fromkeys(row.predictor for row in rows):
        cells = []
        for row in rows:
            if row.predictor == name and row.kendall_tau:
                tau, gain = row.kendall_tau, row.kendall_tau_gain
                more = f" ({gain.mean:+.3f} ± {gain.high - gain.mean:.3f})" if gain else ""
                cells.append(f"{tau.mean:.3f} ± {tau.high - tau.mean:.3f}{more}")
        found.append(f"| {name} | {' | '.join(cells)} |")
    return found


def coverage(predictor: Predictor, rows: FeatureMatrix, score: Scores, seed: int) -> list[float]:
    """Shares within one and two deviations as they are and calibrated, correlation, factor."""
    order = np.random.default_rng([0, 1, seed]).permutation(len(score))
    train, test = order[:HELD_OUT], order[HELD_OUT:]
    fitted = Calibrated(predictor, random_state=seed).fit_features(rows[train], score[train])
    mean, deviation = fitted.predict_features_std(rows[test])
    scale, targets = NormalScores.fit(score[train])
    true = np.interp(score[test], np.sort(score[train]), np.sort(targets))
    error = np.abs(true - (mean - scale.median) / scale.scale)
    deviation = deviation / scale.scale
    raw = deviation / fitted.factor
    shares = [float((error < k * std).mean()) for std in (raw, deviation) for k in (1, 2)]
    return [*shares, spearman(deviation, error), fitted.factor]


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("table", help="a table of `gnas data convert nasbench201`")
    parser.add_argument("--column", default="cifar10_val_acc_200", help="accuracies")
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = load_table(Path(options.table))
    score = table.values(options.column)
    functions = graph_keys(SPACE.functional_form(table.graphs))
    task = RankingTask(table.graphs, table.graphs, score, score, np.arange(len(table)), functions)
    text = [f"| samples | {' | '.join(map(str, SAMPLES))} |", "|---" * (len(SAMPLES) + 1) + "|"]
    print("\n".join(text), flush=True)
    found: list[Row] = []
    for group in groups():
        result = run(
            task, group, samples=SAMPLES, seeds=options.seeds, seed=0, progress=lambda *_: None
        )
        rows = [row for row in result if row.kendall_tau]
        found += rows
        text += lines(rows)
        print("\n".join(lines(rows)), flush=True)
    heads = ["one", "two", "one, calibrated", "two, calibrated", "correlation", "factor"]
    text += ["", f"| {HELD_OUT} samples | {' | '.join(heads)} |", "|---" * 7 + "|"]
    unsure = {}
    paths = PATHS(table.graphs)
    for loss in ("squared", "hinge", "listwise", ""):
        predictor = MLP(PATHS, members=5, loss=loss) if loss else ARDGaussianProcess(PATHS)
        numbers = [coverage(predictor, paths, score, seed) for seed in range(options.seeds)]
        means = [mean_interval(values) for values in zip(*numbers, strict=True)]
        unsure[predictor.name] = dict(zip(heads, map(asdict, means), strict=True))
        text.append(f"| {predictor.name} | {' | '.join(f'{one.mean:.2f}' for one in means)} |")
        print(text[-1], flush=True)
    if options.save:
        save_record(
            options.save,
            "losses and uncertainty of perceptrons on NAS-Bench-201",
            f"python benchmarks/losses.py TABLE --column {options.column} --seeds {options.seeds}",
            f"{options.column}, all {len(table):,} cells.\n\n" + "\n".join([*text, NOTE]),
            table=table.provenance.summary() | {"path": Path(options.table).name},
            rows=[asdict(row) for row in found],
            uncertainty=unsure,
        )


if __name__ == "__main__":
    main()
