"""Tables and pictures of one or several results of `gnas bench search --json FILE`.

Prints what every searcher found and how many queries it took. `--save 202611` writes that to
results/searches_202611.md, and every result with its pictures to
results/SPACE_search_DATASET_202611*. Run from the repository's root:
python benchmarks/searches.py FILE... [--save MONTH] [--picture docs/images/regret.svg]
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from record import RESULTS, command_line

from gnas.bench.config import SearchBench
from gnas.bench.search import SearchBenchResult, SearcherRow
from gnas.metrics import Interval, Quantiles
from gnas.viz import regret_figures

AFTER = (25, 50, 100, 150)
"""Queries after which the regret is printed."""


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("results", nargs="+", help="JSON files")
    parser.add_argument("--picture", help="also draw the first result's regret there")
    options = parser.parse_args()
    found = [json.loads(Path(name).read_text()) for name in options.results]
    text = "# Searches on benchmark tables\n\n" + "\n".join(section(result) for result in found)
    print(text)
    if options.picture:
        figure = regret_figures(read(found[0]))["regret"]
        figure.savefig(options.picture, metadata={"Date": None})
    if options.save:
        (RESULTS / f"searches_{options.save}.md").write_text(text)
        for result in found:
            config = result["config"]
            name = f"{config['space']}_search_{config['dataset']}_{options.save}"
            figures = regret_figures(read(result))
            for kind, figure in figures.items():
                figure.savefig(RESULTS / f"{name}_{kind}.png", dpi=120)
            result["table"]["path"] = Path(result["table"]["path"]).name
            config["table"] = Path(config["table"]).name
            (RESULTS / f"{name}.json").write_text(json.dumps(result) + "\n")


def section(result: dict[str, Any]) -> str:
    """Heading and table of one result."""
    facts, config = result["table"], result["config"]
    after = [k for k in AFTER if k <= config["budget"]]
    head = (
        f"## {config['space']}, {config['dataset']}\n\n{facts['rows']:,} cells of "
        f"{facts['name']} ({facts['provenance']}), {facts['architectures']:,} different networks, "
        f"sha256 {facts['sha256'][:12]}. {config['budget']} queries, {config['seeds']} searches "
        f"each from seed {config['seed']} on; chosen by validation, reported by mean test "
        f"accuracy (best {100 * result['best_test_acc']:.2f}%). ± is half the 95% interval over "
        f"searches. {result['protocol']['refits'].capitalize()}.\n\n"
        "| searcher | test accuracy % | regret after "
        f"{' / '.join(map(str, after))} | found the optimum | median queries until then | "
        "processor s a search |\n|---|---|---|---|---|---|\n"
    )
    return head + "".join(line(row, after) for row in result["rows"])


def line(row: dict[str, Any], after: list[int]) -> str:
    """One searcher's row."""
    acc = row["test_acc"]
    half = 100 * (acc["high"] - acc["mean"]) if row["seeds"] > 1 else 0.0
    regret = " / ".join(f"{100 * row['test_regret'][k - 1]['mean']:.2f}" for k in after)
    median = "-" if row["median_queries"] is None else f"{row['median_queries']:g}"
    return (
        f"| {row['searcher']} | {100 * acc['mean']:.2f} ± {half:.2f} | {regret} | "
        f"{row['found_optimum']:.0%} | {median} | {row['seconds']:.1f} |\n"
    )


def read(result: dict[str, Any]) -> SearchBenchResult:
    """The result that a JSON object was written from."""
    config = {**result["config"], "searchers": tuple(result["config"]["searchers"])}
    rows = []
    for row in result["rows"]:
        curves: dict[str, tuple[Interval | Quantiles | None, ...]] = {
            name: tuple(Interval(**value) for value in row[name])
            for name in ("test_regret", "val_regret")
        }
        test_acc = Interval(**row["test_acc"])
        curves["test_regret_spread"] = tuple(
            None if value is None else Quantiles(**value)
            for value in row.get("test_regret_spread", ())
        )
        queries = tuple(row["queries"])
        rows.append(SearcherRow(**{**row, **curves, "test_acc": test_acc, "queries": queries}))
    table = {"val_column": "val_acc", "test_column": "test_acc", **result["table"]}
    known = {**result, "config": SearchBench(**config), "table": table, "rows": tuple(rows)}
    return SearchBenchResult(**known)


if __name__ == "__main__":
    main()
