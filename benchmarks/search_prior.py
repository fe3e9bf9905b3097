"""The predictor search on NAS-Bench-201 with and without knowledge of CIFAR-100 accuracies.

`gnas.predictors.default_predictor(space, prior="cifar100")` starts the processes of NAS-Bench-201
from relevances that were fitted to CIFAR-100 accuracies of the same cells. This repeats the row
`predictor` of `gnas bench search nasbench201` without that prior and with it, and prints how many
queries it takes to reach the cell with the best validation accuracy.

Run from the repository's root:
    python benchmarks/search_prior.py TABLE [--seeds 100] [--log FILE] [--save NAME]
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from record import Kept, command_line, save_record
from scipy.stats import binom
from threadpoolctl import threadpool_limits

from gnas import __version__
from gnas.data import load_table
from gnas.evaluate import TableEvaluator
from gnas.predictors import Predictor, default_predictor
from gnas.search import run_search
from gnas.search.result import Evaluation
from gnas.search.samplers import PredictorSearch
from gnas.spaces import NASBench201

BUDGET = 150


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("table", type=Path, help="Parquet table of NAS-Bench-201")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--log", type=Path, help="keeps finished searches, to go on from")
    options = parser.parse_args()
    space = NASBench201()
    table = load_table(options.table)
    lines = [
        f"| images | processes begin with | median queries until the optimum, {options.seeds} "
        f"searches [95%] | found within {BUDGET} |",
        "|---|---|---|---|",
    ]
    digest = table.provenance.summary()["sha256"]
    facts = {"table": digest, "gnas": __version__, "budget": BUDGET}
    kept = Kept(options.log, facts, "searches")
    found: list[dict[str, Any]] = []
    for dataset, (val, _) in NASBench201.table_images.items():
        if not any(column.dataset == val for column in table.columns):
            continue
        evaluator = TableEvaluator(space, table.graphs, {"val_acc": table.val_acc(dataset=val)})
        for prior, predictor in priors(space).items():
            queries = [
                kept(f"{dataset}/{prior}/{seed}", partial(search, evaluator, predictor, seed))
                for seed in range(options.seeds)
            ]
            middle, low, high = median_interval(np.array(queries))
            share = float(np.isfinite(queries).mean())
            text = f"{middle:g} [{low:g}, {high:g}] | {share:.0%} |"
            lines.append(f"| {dataset} | {prior} | {text}")
            print(lines[-1], flush=True)
            found.append(
                {
                    "dataset": dataset,
                    "prior": prior,
                    "queries": [int(q) if np.isfinite(q) else None for q in queries],
                    "median": middle,
                    "low": low,
                    "high": high,
                }
            )
    text = "\n".join(lines)
    print(text)
    if options.save:
        save_record(
            options.save,
            "Queries of the predictor search on NAS-Bench-201, with and without a prior",
            "python benchmarks/search_prior.py TABLE",
            text,
            gnas=__version__,
            budget=BUDGET,
            seeds=options.seeds,
            table=digest,
            rows=found,
        )


def priors(space: NASBench201) -> dict[str, Predictor]:
    """Predictors that differ in what they know of CIFAR-100 before the first query."""
    return {
        "nothing (the default)": default_predictor(space, networks=False),
        "a value for each column": default_predictor(space, prior="cifar100", networks=False),
    }


def search(evaluator: TableEvaluator, predictor: Predictor, seed: int) -> float:
    """Queries until the optimum; infinite if `BUDGET` does not suffice."""
    optimum = int(evaluator.values["val_acc"].argmax())
    numbers: list[int] = []

    def reached(one: Evaluation) -> bool:
        numbers.append(evaluator.number(evaluator.space.from_str(one.architecture)))
        return numbers[-1] == optimum

    space = evaluator.reachable(evaluator.space)
    searcher = PredictorSearch(space, predictor, seed=seed)
    with threadpool_limits(1):
        run_search(evaluator.space, searcher, evaluator, budget=BUDGET, until=reached)
    return len(numbers) if numbers[-1] == optimum else np.inf


def median_interval(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """Median with its distribution-free 95% interval between two order statistics."""
    ordered = np.sort(values)
    below = int(binom.ppf(0.025, len(ordered), 0.5))
    low, high = (
        ordered[max(below - 1, 0)],
        ordered[min(len(ordered) - below, len(ordered) - 1)],
    )
    return float(np.median(ordered)), float(low), float(high)


if __name__ == "__main__":
    main()
