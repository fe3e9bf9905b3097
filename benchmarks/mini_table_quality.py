"""How far the shipped table's accuracies agree with themselves and with the published ones.

First train published cells by the shipped table's recipe, on the same images (see the card in
datasets/nasbench101-mini):

    gnas tabulate nasbench101 --like nasbench101-mini --dataset FOLDER --cells 160 \
        --cells-from PUBLISHED --out trained.parquet
    python benchmarks/mini_table_quality.py trained.parquet PUBLISHED [OUT.json]

PUBLISHED is any NAS-Bench-101 table with the official accuracies that `gnas` reads.
"""

from __future__ import annotations

import json
import sys

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap, kendalltau

from gnas.data import BenchmarkTable, load_table

Values = NDArray[np.float64]


def tau(first: Values, second: Values) -> dict[str, float]:
    """Kendall tau-b of two columns with a 95% percentile-bootstrap interval over cells."""
    interval = bootstrap(
        (first, second),
        lambda a, b: kendalltau(a, b).statistic,
        paired=True,
        vectorized=False,
        n_resamples=1000,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    value = float(kendalltau(first, second).statistic)
    return {"tau": value, "low": float(interval.low), "high": float(interval.high)}


def against_official(trained: BenchmarkTable, official: BenchmarkTable) -> dict[str, object]:
    rows = [official.index_of(digest) for digest in trained.hashes]
    truth = official.test_acc()[rows]
    one_run = trained.runs("val_acc")[:, 0]
    return {
        "cells": len(trained),
        "validation accuracy, mean over seeds": tau(trained.val_acc(), truth),
        "validation accuracy, one seed": tau(one_run, truth),
        "test accuracy, mean over seeds": tau(trained.test_acc(), truth),
        "number of parameters": tau(official.values("num_params")[rows], truth),
        "MACs": tau(trained.values("macs"), truth),
        "official validation accuracy (ceiling)": tau(official.val_acc()[rows], truth),
    }


def with_itself(table: BenchmarkTable) -> dict[str, object]:
    runs, test = table.runs("val_acc"), table.test_acc()
    seconds = table.runs("train_time_s")
    return {
        "cells": len(table),
        "seed 1 against seed 2, validation": tau(runs[:, 0], runs[:, 1]),
        "seed 1 against seed 2, test": tau(*table.runs("test_acc").T[:2]),
        "mean validation against mean test": tau(table.val_acc(), test),
        "parameters against mean test": tau(table.values("num_params"), test),
        "mean test accuracy": float(test.mean()),
        "deviation over cells": float(test.std()),
        "best mean test accuracy": float(test.max()),
        "deviation between seeds": float(np.sqrt(runs.var(axis=1, ddof=1).mean())),
        "median training seconds": float(np.median(seconds)),
    }


def main() -> None:
    trained, official = load_table(sys.argv[1]), load_table(sys.argv[2])
    result = {
        "published cells, trained by the recipe, against official mean test accuracy": (
            against_official(trained, official)
        ),
        "the shipped table": with_itself(load_table("nasbench101-mini")),
    }
    text = json.dumps(result, indent=2)
    print(text)
    if len(sys.argv) > 3:
        with open(sys.argv[3], "w") as file:
            file.write(text + "\n")


if __name__ == "__main__":
    main()
