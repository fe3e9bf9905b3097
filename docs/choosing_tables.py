"""Writes the tables of docs/choosing.md from the records in benchmarks/results.

``python docs/choosing_tables.py`` brings the page up to date.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "choosing.md"
NB201, NB101 = "nasbench201_2core-cpu_202611", "nasbench101_partial_2core-cpu_202611"
DARTS, NASGEM = "darts_2core-cpu_202611", "nasgem_mini_2core-cpu_202611"
SUPERNETS = "supernets_nasbench201_2core-cpu_202611"
DIGITS = "nasgem_search_digits_2core-cpu_202611"
SEARCHES = {
    "NAS-Bench-201, CIFAR-10": "nasbench201_search_cifar10_202611",
    "NAS-Bench-201, CIFAR-100": "nasbench201_search_cifar100_202611",
    "NAS-Bench-101, 4,400 cells": "nasbench101_search_cifar10_202611",
}
PREDICTED = {
    "NAS-Bench-201, 156 labels": (NB201, 156),
    "NAS-Bench-101, 100": (NB101, 100),
    "DARTS' cells, 50": (DARTS, 50),
    "30-node cells, 100": (NASGEM, 100),
}
"""Record and number of labels of each column."""
PREDICTORS = {
    "number of parameters": ("none", "number of parameters"),
    "random forest, raw matrix and counts": ("random forest", "adjacency + ops + op counts"),
    "MLP, raw matrix": ("MLP", "adjacency + ops"),
    "MLP, NASGEM's embedding": ("MLP", "nasgem-*"),
    "`default_predictor(space, networks=False)`": ("default", "path statistics*"),
}
"""By predictor and encoder; of encoders that begin alike the first."""
PICKS = {
    "random pick": ("none", "random pick"),
    "best of the samples": ("none", "best of the samples"),
    **PREDICTORS,
}
QUERIES = (25, 50, 150)
METHODS = ("topo-arbitrary", "milenas", "topo-second", "beta-darts", "darts", "random")
SCORED = {
    "NASGEM as in the paper: the score from the embedding": "NASGEM",
    "accuracy from the embedding, MACs counted: the default": "accuracy, embedding",
    "`--predictor walks`": "accuracy, walks",
    "fewest MACs": "fewest MACs",
    "random search": "random search",
}  # fmt: skip


@cache
def record(name: str) -> Any:
    """A record; of that of 30-node cells the part without corrected accuracies."""
    found = json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())
    return found["plain"] if name == NASGEM else found


def row(name: str, samples: int, predictor: str, encoder: str) -> Mapping[str, Any]:
    """A row of a record of predictors."""
    start = encoder.removesuffix("*")
    for one in record(name)["rows"]:
        seen = one["encoder"]
        same = seen == encoder or (encoder != start and seen.startswith(start))
        if one["predictor"] == predictor and one["samples"] == samples and same:
            found: Mapping[str, Any] = one
            return found
    raise LookupError(f"{name} has no row of {predictor} on {encoder} with {samples} samples")


def table(head: Sequence[str], rows: Mapping[str, Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}"]
    lines += [f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()]
    return "\n".join(lines) + "\n"


def short(value: float, digits: int) -> str:
    """A number without the zero before its point."""
    return f"{value:.{digits}f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.{digits}f}"


def predictors() -> str:
    """Kendall tau by predictor."""

    def cell(name: str, samples: int, what: tuple[str, str]) -> str:
        tau = row(name, samples, *what)["kendall_tau"]
        return f"{short(tau['mean'], 3)} ± {short(tau['high'] - tau['mean'], 3)}"

    return table(
        ["Kendall's tau on unseen cells", *PREDICTED],
        {
            text: [cell(name, n, what) for name, n in PREDICTED.values()]
            for text, what in PREDICTORS.items()
        },
    )


def picks() -> str:
    """How far what is picked is from the best, in points."""

    def cell(name: str, samples: int, what: tuple[str, str]) -> str:
        bias = row(name, samples, *what)["global_bias"]
        return f"{100 * bias['mean']:.2f} ± {100 * (bias['high'] - bias['mean']):.2f}"

    return table(
        ["points below the best cell", *PREDICTED],
        {
            text: [cell(name, n, what) for name, n in PREDICTED.values()]
            for text, what in PICKS.items()
        },
    )


def searches() -> str:
    """Test regret of searchers after some queries."""
    rows: dict[str, list[str]] = {}
    for name in SEARCHES.values():
        for one in record(name)["rows"]:
            regrets = [100 * one["test_regret"][count - 1]["mean"] for count in QUERIES]
            rows.setdefault(f"`{one['searcher']}`", []).append(
                " / ".join(short(regret, 2) for regret in regrets)
            )
    return table([f"after {' / '.join(map(str, QUERIES))} trainings", *SEARCHES], rows)


def supernets() -> str:
    """True accuracy of what supernet searches derive."""
    found = record(SUPERNETS)
    by_name = {one["method"]: one for one in found["rows"]}
    rows = {}
    for name in METHODS:
        one = by_name[name]
        acc = one["test_acc"]
        half = 100 * (acc["high"] - acc["mean"])
        rows[f"`{name}`"] = [f"{100 * acc['mean']:.2f} ± {half:.2f}", f"{100 * one['worst']:.2f}"]
    rows["all cells: median, mean"] = [
        f"{100 * found['median_test_acc']:.2f}, {100 * found['mean_test_acc']:.2f}", "",
    ]  # fmt: skip
    return table(["NAS-Bench-201", "CIFAR-10 test % (5 seeds)", "worst seed"], rows)


def digits() -> str:
    """NASGEM's score on digits."""
    rows = {}
    for text, name in SCORED.items():
        chosen = [one["chosen"] for one in record(DIGITS)["rows"][name]]
        rows[text] = [
            f"{fmean(one['score'] for one in chosen):.3f}",
            f"{100 * fmean(one['test_acc'] for one in chosen):.2f}",
        ]
    return table(["digits, 5 seeds", "score", "test accuracy %"], rows)


TABLES = {
    "predictors": predictors,
    "picks": picks,
    "searches": searches,
    "supernets": supernets,
    "digits": digits,
}


def page(text: str) -> str:
    """The page with every table as the records have it."""
    for name, make in TABLES.items():
        start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        before, rest = text.split(start)
        text = before + start + make() + end + rest.split(end)[1]
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
