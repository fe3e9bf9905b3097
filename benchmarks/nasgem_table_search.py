"""What NASGEM searches find among the cells of a table that are all trained.

`nasgem_search.py` trains every candidate, so it affords a few seeds. Here the table's first run
is what a training says: for every seed each method pays for the same random cells, learns from
them, and pays for the ``--top`` best predicted of all others; its find is the best of those by
validation accuracy. Random search pays for as many cells more. One method learns nothing: it takes
the cells with the fewest MACs. Reported are test accuracies, means over the table's runs, of the
find, and its score S = ACC - lambda ln(MACs / 10^6) with them. Once S is searched for with the
paper's lambda, once accuracy alone (lambda = 0). Only cells of at least half of 30 nodes take
part: that is the floor of ``gnas search nasgem``.

    python benchmarks/nasgem_table_search.py [TABLE] [--seeds 40] [--save NAME]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from record import command_line, save_record

from gnas.data import BenchmarkTable, load_table
from gnas.graphs import DenseBatch
from gnas.metrics import best, kendall_tau, mean_interval
from gnas.models import NasgemNetworkConfig, nasgem_macs
from gnas.predictors import Predictor
from gnas.search.nasgem import NasgemConfig
from gnas.search.nasgem.accuracy import ByAccuracy, MacsPenalty
from gnas.search.nasgem.learning import new_predictor
from gnas.spaces import NASGEM

Values = NDArray[np.float64]
METHODS: dict[str, dict[str, Any]] = {
    "accuracy from the embedding, MACs counted (default)": {},
    "score from the embedding (the paper)": {"predict": "score"},
    "score from the raw matrix (its control)": {"predict": "score", "encoder": "none"},
    "accuracy from the raw matrix, MACs counted": {"encoder": "none"},
    "accuracy from walk statistics, MACs counted": {"predictor": "walks"},
}
SPACE = NASGEM()
FEWEST = "fewest MACs"
RANDOM = "random search"


@dataclass(frozen=True)
class Truth:
    """A table as a search sees it, and as its finds are judged."""

    table: BenchmarkTable
    lambda_: float

    @property
    def penalty(self) -> Values:
        """Of every cell: [N]."""
        found: Values = self.lambda_ * np.log(self.table.values("macs") / 1e6)
        return found

    @property
    def seen(self) -> Values:
        """The score that a training says: validation accuracy of the first run, [N]."""
        found: Values = self.table.runs("val_acc")[:, 0] - self.penalty
        return found

    @property
    def test(self) -> Values:
        """Mean test accuracy over the runs, [N]."""
        return self.table.test_acc()


def predictor_of(truth: Truth, changes: dict[str, Any], seed: int) -> Predictor:
    """What a search with this configuration fits, see `gnas.search.nasgem.learning`."""
    config = NasgemConfig(lambda_=truth.lambda_, seed=seed, **changes)
    predictor = new_predictor(config, SPACE)
    if config.predict == "score":
        return predictor
    recipe = truth.table.provenance.recipe or {}
    network, size = NasgemNetworkConfig(**recipe["network"]), recipe["image_size"]

    def count(cells: DenseBatch) -> Values:
        return nasgem_macs(cells, network, size).astype(np.float64)

    return ByAccuracy(predictor, MacsPenalty(count, truth.lambda_), random_state=seed)


def search(truth: Truth, name: str, trained: int, top: int, seed: int) -> dict[str, float]:
    """One search: its find's test accuracy, MACs and score, and the predictor's tau if any."""
    order = np.random.default_rng([seed, trained]).permutation(len(truth.table))
    few, others = order[:trained], order[trained:]
    tau = np.nan
    if name == RANDOM:
        queried = order[: trained + top]
    elif name == FEWEST:
        queried = others[best(-truth.table.values("macs")[others], top)]
    else:
        graphs = truth.table.graphs.pad_to(30)
        predictor = predictor_of(truth, METHODS[name], seed)
        predictor.fit(graphs[torch.from_numpy(few)], truth.seen[few])
        predicted = predictor.predict(graphs[torch.from_numpy(others)])
        tau = kendall_tau(predicted, (truth.test - truth.penalty)[others])
        queried = others[best(predicted, top)]
    find = queried[int(np.argmax(truth.seen[queried]))]
    return {
        "score": float((truth.test - truth.penalty)[find]),
        "test_acc": float(truth.test[find]),
        "macs": float(truth.table.values("macs")[find]),
        "tau": float(tau),
    }


def section(
    truth: Truth, seeds: int, trained: int, top: int, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """All methods with one lambda: prints Markdown, returns the rows."""
    say(f"\nlambda = {truth.lambda_:g}: {trained} + {top} trainings, {seeds} searches\n")
    say(
        "| method | score | minus random search | test accuracy % | minus random search "
        "| MACs M | tau on unseen cells |"
    )
    say("|---" * 7 + "|")
    rows, by = [], {}
    for name in (RANDOM, FEWEST, *METHODS):
        finds = [search(truth, name, trained, top, seed) for seed in range(seeds)]
        by[name] = finds
        cells = []
        for key, scale, digits in (("score", 1.0, 4), ("test_acc", 100.0, 2)):
            own = [scale * find[key] for find in finds]
            gains = [scale * (a[key] - b[key]) for a, b in zip(finds, by[RANDOM], strict=True)]
            cells += [f"{np.mean(own):.{digits}f}", "" if name == RANDOM else shown(gains, digits)]
        cells.append(f"{np.mean([find['macs'] for find in finds]) / 1e6:.3f}")
        taus = [find["tau"] for find in finds]
        cells.append("" if np.isnan(taus).any() else shown(taus, 3))
        say(f"| {name} | {' | '.join(cells)} |")
        rows.append({"lambda": truth.lambda_, "method": name, "finds": finds})
    return rows


def shown(values: list[float], digits: int) -> str:
    """Mean and half of the 95% interval."""
    found = mean_interval(values)
    return f"{found.mean:.{digits}f} +- {found.high - found.mean:.{digits}f}"


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("table", nargs="?", default="nasgem-mini")
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--trained", type=int, default=80)
    parser.add_argument("--top", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = load_table(options.table)
    floor = NasgemConfig().floor
    table = table.subset((table.graphs.num_nodes >= floor).nonzero().flatten().numpy())
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        print(line, flush=True)

    say(f"{table.provenance.name}, {len(table)} cells of at least {floor} nodes:")
    rows = []
    for lambda_ in (NasgemConfig().lambda_, 0.0):
        truth = Truth(table, lambda_)
        rows += section(truth, options.seeds, options.trained, options.top, say)
    if options.save:
        save_record(
            options.save,
            f"NASGEM searches among the cells of {table.provenance.name}",
            f"python benchmarks/nasgem_table_search.py --seeds {options.seeds}",
            "\n".join(lines),
            table=table.provenance.summary() | {"path": ""},
            rows=rows,
        )


if __name__ == "__main__":
    main()
