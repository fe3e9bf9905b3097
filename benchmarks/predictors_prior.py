"""Kendall's tau on NAS-Bench-201 with and without knowledge of CIFAR-100, by two protocols.

- "all": n cells train on validation accuracy, and all other cells are ranked. Samples are those of
  `gnas bench nasbench201`, whose row `default` is the one with the prior.
- "half": cells without dead parts are split into halves; n cells of the first half (1, 5, 10 and
  20%) train, and the second half is ranked, both by test accuracy: the protocol of TA-GATES and
  GRAF.

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
from gnas.bench.tables import IMAGES
from gnas.data import load_table
from gnas.metrics import kendall_tau, mean_interval
from gnas.predictors import Predictor
from gnas.predictors.features import Rows
from gnas.spaces import NASBench201

SIZES = {"all": (39, 78, 156, 469), "half": (46, 233, 467, 935)}


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("table", type=Path, help="Parquet table of NAS-Bench-201")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--log", type=Path, help="keeps finished fits, to go on from")
    options = parser.parse_args()
    space = NASBench201()
    table = load_table(options.table)
    val, test = IMAGES["cifar10"]
    scores = {"all": table.val_acc(dataset=val), "half": table.test_acc(dataset=test)}
    clean = np.flatnonzero(~has_dead_part(table.graphs))
    digest = table.provenance.summary()["sha256"]
    kept = Kept(options.log, {"table": digest, "gnas": __version__}, "fits")
    models = priors(space)
    rows = {name: model.features(table.graphs) for name, model in models.items()}
    lines: list[str] = []
    taus: dict[str, dict[str, dict[int, list[float]]]] = {}
    for protocol, sizes in SIZES.items():
        lines += [
            f"| {protocol}: processes begin with | " + " | ".join(map(str, sizes)) + " |",
            "|---" * (len(sizes) + 1) + "|",
        ]
        named = {"nothing": models["nothing"]} if protocol == "all" else models
        taus[protocol] = {name: {size: [] for size in sizes} for name in named}
        for name, model in named.items():
            for size in sizes:
                for seed in range(options.seeds):
                    cells = np.arange(len(table)) if protocol == "all" else clean
                    parts = split(cells, size, seed, half=protocol == "half")
                    work = partial(tau, model, rows[name], scores[protocol], *parts, seed)
                    found = kept(f"{protocol}/{name}/{size}/{seed}", work)
                    taus[protocol][name][size].append(found)
            means = [mean_interval(np.array(values)) for values in taus[protocol][name].values()]
            shown = [f"{one.mean:.3f} ± {one.high - one.mean:.3f}" for one in means]
            lines.append(f"| {name} | " + " | ".join(shown) + " |")
            print(lines[-1], flush=True)
    if options.save:
        save_record(
            options.save,
            "Predictors on NAS-Bench-201, CIFAR-10, with and without a prior from CIFAR-100",
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
    rows: Rows,
    scores: NDArray[np.float64],
    few: list[int],
    rest: list[int],
    seed: int,
) -> float:
    """Kendall's tau on ``rest`` of a predictor fitted on ``few``."""
    with threadpool_limits(1):
        fitted = model.clone(seed)
        fitted.fit_rows(rows[few], scores[few])
        return float(kendall_tau(fitted.predict_rows(rows[rest]), scores[rest]))


def split(
    cells: NDArray[np.int64], size: int, seed: int, *, half: bool
) -> tuple[list[int], list[int]]:
    """Rows that train, and rows that are ranked."""
    order = np.random.default_rng([0, 1, seed]).permutation(cells)
    return order[:size].tolist(), order[len(order) // 2 if half else size :].tolist()


if __name__ == "__main__":
    main()
