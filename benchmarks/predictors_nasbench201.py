"""Tables of one or several results of `gnas bench nasbench201 --json FILE`.

Prints Kendall tau under both protocols and the bias of every predictor by number of samples.
Run from the repository's root: python benchmarks/predictors_nasbench201.py FILE... [--save NAME]
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from record import RESULTS, command_line

MEASURES = (
    ("kendall_tau", "Kendall tau, all remaining cells", 3, 1),
    ("kendall_tau_no_twins", "Kendall tau, without functional twins of the samples", 3, 1),
    ("global_bias", "Global prediction bias, percentage points", 2, 100),
)


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("results", nargs="+", help="JSON files")
    options = parser.parse_args()
    found = [json.loads(Path(name).read_text()) for name in options.results]
    text = "# Predictors on NAS-Bench-201\n\n" + "\n".join(section(result) for result in found)
    print(text)
    if options.save:
        for result in found:
            result["table"]["path"] = Path(result["table"]["path"]).name
            result["config"].pop("table")
        (RESULTS / f"{options.save}.json").write_text(json.dumps(found, indent=1) + "\n")
        (RESULTS / f"{options.save}.md").write_text(text)


def section(result: dict[str, Any]) -> str:
    """Heading and tables of one result."""
    facts, config = result["table"], result["config"]
    head = (
        f"## {config['dataset']}, {config['cells']} cells\n\n{facts['usable']:,} cells of "
        f"{facts['name']}, sha256 {facts['sha256'][:12]}. Trained on {facts['train_column']}, "
        f"ranked against {facts['test_column']}. Mean and half the 95% interval over "
        f"{config['seeds']} seeds. Ceiling ({result['protocol']['ceiling']}): "
        f"{result['ceiling']:.3f}. {result['seconds']:.0f} s.\n\n"
    )
    return head + "\n".join(table(result["rows"], *measure) for measure in MEASURES)


def table(rows: list[dict[str, Any]], measure: str, title: str, digits: int, scale: int) -> str:
    """One measure: a row per predictor, a column per number of samples."""
    sizes = list(dict.fromkeys(row["samples"] for row in rows))
    cells: dict[str, list[str]] = {}
    for row in rows:
        name = f"{row['predictor']}: {row['encoder']}".removeprefix("none: ")
        if value := row[measure]:
            half = scale * (value["high"] - value["mean"])
            cells.setdefault(name, []).append(
                f"{scale * value['mean']:.{digits}f} ± {half:.{digits}f}"
            )
    body = "".join(f"| {name} | {' | '.join(values)} |\n" for name, values in cells.items())
    return (
        f"{title}:\n\n| samples | {' | '.join(map(str, sizes))} |\n"
        f"|---|{'---|' * len(sizes)}\n{body}"
    )


if __name__ == "__main__":
    main()
