"""Predictors with and without graph embedding on a NAS-Bench-101 table, by number of samples.

Runs `gnas bench nasbench101` for operations that vary and for one fixed operation list, prints
the Kendall tau and the bias of every predictor.
Run from the repository's root: python benchmarks/predictors.py TABLE [--networks] [--save NAME]
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from record import RESULTS, command_line

from gnas.bench.config import NASBench101Bench
from gnas.bench.nasbench101 import bench_nasbench101
from gnas.bench.result import BenchResult
from gnas.metrics import Interval
from gnas.runs import to_json
from gnas.viz import predictor_figures

SAMPLES = (100, 200, 500, 1000, 2000)
FIXED_SAMPLES = (50, 100, 200, 400)
"""Fewer cells share one operation list."""
SEEDS = 20


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("table", help="Parquet file")
    parser.add_argument("--networks", action="store_true", help="graph networks too: minutes")
    options = parser.parse_args()
    vary = bench_nasbench101(
        NASBench101Bench(
            table=options.table, samples=SAMPLES, seeds=SEEDS, networks=options.networks
        )
    )
    fixed = bench_nasbench101(
        NASBench101Bench(table=options.table, samples=FIXED_SAMPLES, seeds=SEEDS, ops="fixed")
    )
    facts = vary.table
    text = (
        f"# Predictors on {facts['name']}\n\n{facts['provenance']} table of {facts['rows']:,} "
        f"NAS-Bench-101 cells, sha256 {facts['sha256'][:12]}. {facts['note']}. Mean and half the "
        f"95% interval over {vary.rows[0].seeds} seeds.\n\n## Operations vary\n\n"
        f"{markdown(vary)}\n## One operation list, wiring only\n\n{markdown(fixed)}"
    )
    print(text)
    if options.save:
        for name, result in (("", vary), ("_fixed_ops", fixed)):
            facts = {**result.table, "path": Path(result.table["path"]).name}
            plain = dataclasses.replace(result, table=facts, config=None)
            (RESULTS / f"{options.save}{name}.json").write_text(to_json(plain))
        predictor_figures(vary)["bias"].savefig(RESULTS / f"{options.save}_bias.png", dpi=120)
        predictor_figures(vary)["kendall_tau"].savefig(
            RESULTS / f"{options.save}_tau.png", dpi=120
        )
        (RESULTS / f"{options.save}.md").write_text(text)


def markdown(result: BenchResult) -> str:
    """Two tables, Kendall tau and bias in percent: a row per predictor, a column per size."""
    sizes = list(dict.fromkeys(row.samples for row in result.rows))
    labels = list(dict.fromkeys(row.label for row in result.rows))
    by_place = {(row.label, row.samples): row for row in result.rows}
    head = f"| samples | {' | '.join(map(str, sizes))} |\n|---|{'---|' * len(sizes)}\n"
    taus = {key: number(row.kendall_tau, 3, 1) for key, row in by_place.items()}
    biases = {key: number(row.global_bias, 2, 100) for key, row in by_place.items()}
    parts = []
    for title, values in (
        (f"Kendall tau on mean test accuracy (ceiling {result.ceiling:.3f})", taus),
        ("Global prediction bias, percentage points", biases),
    ):
        rows = [[label, *(values[label, n] for n in sizes)] for label in labels]
        body = "".join(f"| {' | '.join(row)} |\n" for row in rows if any(row[1:]))
        parts.append(f"{title}:\n\n{head}{body}")
    return "\n".join(parts)


def number(value: Interval | None, digits: int, scale: float) -> str:
    if value is None:
        return ""
    return f"{scale * value.mean:.{digits}f} ± {scale * (value.high - value.mean):.{digits}f}"


if __name__ == "__main__":
    main()
