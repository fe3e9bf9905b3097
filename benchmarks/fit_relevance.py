"""Fits the relevance prior of the default predictor to NAS-Bench-201.

Gaussian processes with a length scale for every column are fitted to draws of cells; the mean of
what they learn is where the next round starts; the first starts from one value for each group of
columns, as on every space with operations on edges. Use accuracies that nothing is reported on.
Writes gnas/predictors/relevance/nasbench201.json. Run from the repository's root:

    python benchmarks/fit_relevance.py TABLE [--column cifar100_val_acc_200]
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from gnas.data import load_table
from gnas.graphs import graph_keys
from gnas.predictors import ARDGaussianProcess, PathStatistics
from gnas.predictors.defaults import FITTED, RELEVANCE
from gnas.predictors.targets import Scores
from gnas.spaces import NASBench201
from gnas.spaces.vocabulary import Vocabulary

OUT = Path("gnas/predictors") / FITTED
ROUNDS, DRAWS, CELLS = 4, 6, 500
SPREAD = 0.5
"""Choices; more cells, draws or rounds change nothing that matters."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("table")
    parser.add_argument("--column", default="cifar100_val_acc_200")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    table, space = load_table(options.table), NASBench201()
    features = PathStatistics(space)
    rows, scores = features(table.graphs), table.values(options.column)
    _, functions = np.unique(graph_keys(space.functional_form(table.graphs)), return_index=True)
    relevance: Scores = np.array(features.per_column(RELEVANCE))
    for number in range(ROUNDS):
        logs = []
        for draw in range(DRAWS):
            cells = np.random.default_rng([number, draw, 77]).permutation(functions)[:CELLS]
            process = ARDGaussianProcess(
                features, relevance=relevance.tolist(), length_std=SPREAD, tail_weight=0.5
            )
            process.fit_features(rows[cells], scores[cells])
            logs.append(np.log(process.learned_relevance()))
        change = np.mean(logs, axis=0) - np.log(relevance)
        relevance = np.exp(np.mean(logs, axis=0))
        print(f"round {number + 1}: changed by a factor of {np.exp(change.std()):.2f}", flush=True)
    groups = {name: relevance[list(features.columns(name))] for name in features.widths}
    source = f"{options.column} of {table.provenance.name}"
    rounded = {name: [round(float(v), 3) for v in group] for name, group in groups.items()}
    record = {
        "source": f"{source}: {ROUNDS * DRAWS} draws of {CELLS} cells",
        "vocabulary": asdict(Vocabulary.of(space)),
        "relevance": rounded,
    }
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
