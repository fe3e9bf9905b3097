"""The table of docs/your-search.md: the loop there, on several features and with ten seeds.

The loop is read from the page itself, whose first two examples are run.

Run from the repository's root:
    python benchmarks/your_search.py [--seeds 10] [--save NAME]
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from record import command_line, save_record

from gnas import NASBench101
from gnas.metrics import mean_interval
from gnas.predictors import OneHot, PathStatistics

PAGE = Path(__file__).parents[1] / "docs" / "your-search.md"
BUDGET = 60


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    page = examples(2)
    graphs, score, search = page["table"].graphs, page["score"], page["search"]
    space = NASBench101()
    rows = {
        "NASGEM's embedding": page["rows"],
        "`OneHot(7, 5)`, the raw matrix": OneHot(7, 5)(graphs),
        "`PathStatistics(NASBench101())`": PathStatistics(space)(graphs),
    }

    def at_random(seed: int) -> int:
        drawn = np.random.default_rng(seed).permutation(len(score))[:BUDGET]
        return int(drawn[score[drawn].argmax()])

    searchers: dict[str, Callable[[int], int]] = {"random draws": at_random}
    for name, seen in rows.items():
        searchers[f"this loop, forest on {name}"] = partial(query, search, seen)
    counted = page["ours"].features(graphs)
    searchers["this loop, `predictors.default_predictor(NASBench101())`"] = partial(
        query, search, counted, believe=page["believe"]
    )
    lines = ["| searcher | below the best | better cells |", "|---|---|---|"]
    found: dict[str, list[int]] = {}
    for name, searcher in searchers.items():
        seeds = options.seeds * (20 if searcher is at_random else 1)  # they cost nothing
        found[name] = [searcher(seed) for seed in range(seeds)]
        below = mean_interval(100 * (score.max() - score[found[name]]))
        better = mean_interval(np.array([(score > score[cell]).sum() for cell in found[name]]))
        lines.append(
            f"| {name} | {below.mean:.2f} ± {below.high - below.mean:.2f} "
            f"| {better.mean:.1f} ± {better.high - better.mean:.1f} |"
        )
        print(lines[-1], flush=True)
    if options.save:
        what = f"{BUDGET} queries of the shipped table's {len(score):,} cells"
        text = "\n".join(lines)
        save_record(options.save, what, "python benchmarks/your_search.py", text, found=found)


def query(search: Callable[..., int], rows: Any, seed: int, **options: Any) -> int:
    """What a search with a seed finds."""
    return search(rows, seed=seed, budget=BUDGET, **options)


def examples(count: int) -> dict[str, Any]:
    """The names that the page's first Python examples define."""
    names: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[:count]:
        exec(code, names)
    return names


if __name__ == "__main__":
    main()
