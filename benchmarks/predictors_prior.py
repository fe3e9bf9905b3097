"""Kendall's tau on NAS-Bench-201 by the protocol of TA-GATES and GRAF, with and without a prior.

Cells without dead parts are split into halves; n cells of the first half (1, 5, 10 and 20%) train,
and the second half is ranked, both by CIFAR-10 test accuracy. The predictor is
`gnas.predictors.default_predictor` without graph networks, the prior its knowledge of CIFAR-100
accuracies. `gnas bench nasbench201` has both rows by its own protocol.

Run from the repository's root:
    python benchmarks/predictors_prior.py TABLE [--seeds 10] [--log FILE] [--save NAME]
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from record import Kept, command_line, save_record
from search_prior import priors
from threadpoolctl import threadpool_limits

from gnas import __version__
from gnas.bench.nasbench201 import has_dead_part
from gnas.data import load_table
from gnas.metrics import kendall_tau, mean_interval
from gnas.predictors import Predictor
from gnas.predictors.features import FeatureMatrix
from gnas.spaces import NASBench201

SIZES = (46, 233, 467, 935)


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("table", type=Path, help="Parquet table of NAS-Bench-201")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--log", type=Path, help="keeps finished fits, to go on from")
    options = parser.parse_args()
    table = load_table(options.table)
    scores = table.test_acc(dataset=NASBench201.table_images["cifar10"][1])
    clean = np.flatnonzero(~has_dead_part(table.graphs))
    digest = table.provenance.summary()["sha256"]
    kept = Kept(options.log, {"table": digest, "gnas": __version__}, "fits")
    lines = ["| processes begin with | " + " | ".join(map(str, SIZES)) + " |"]
    lines += ["|---" * (len(SIZES) + 1) + "|"]
    taus: dict[str, dict[int, list[float]]] = {}
    for name, model in priors(NASBench201()).items():
        rows = model.features(table.graphs)
        taus[name] = {}
        for size in SIZES:
            taus[name][size] = [
                kept(
                    f"{name}/{size}/{seed}",
                    partial(tau, model, rows, scores, *split(clean, size, seed), seed),
                )
                for seed in range(options.seeds)
            ]
        means = [mean_interval(np.array(values)) for values in taus[name].values()]
        shown = [f"{one.mean:.3f} ± {one.high - one.mean:.3f}" for one in means]
        lines.append(f"| {name} | " + " | ".join(shown) + " |")
        print(lines[-1], flush=True)
    if options.save:
        save_record(
            options.save,
            "Predictors on halves of NAS-Bench-201, CIFAR-10, with and without a prior from "
            "CIFAR-100",
            "python benchmarks/predictors_prior.py TABLE",
            "\n".join(lines),
            gnas=__version__,
            seeds=options.seeds,
            clean_cells=len(clean),
            table=digest,
            kendall_tau=taus,
        )


def tau(
    model: Predictor,
    rows: FeatureMatrix,
    scores: NDArray[np.float64],
    few: list[int],
    rest: list[int],
    seed: int,
) -> float:
    """Kendall's tau on ``rest`` of a predictor fitted on ``few``."""
    with threadpool_limits(1):
        fitted = model.reseeded(seed)
        fitted.fit_features(rows[few], scores[few])
        return float(kendall_tau(fitted.predict_features(rows[rest]), scores[rest]))


def split(cells: NDArray[np.int64], size: int, seed: int) -> tuple[list[int], list[int]]:
    """Rows that train, of one half, and those that are ranked, the other half."""
    order = np.random.default_rng([0, 1, seed]).permutation(cells)
    return order[:size].tolist(), order[len(order) // 2 :].tolist()


if __name__ == "__main__":
    main()
