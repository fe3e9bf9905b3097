"""Effect of single settings on TopoNAS, judged by NAS-Bench-201's known truth.

Every FILE is the result of `gnas bench supernet nasbench201 --methods topo-arbitrary --json FILE`
with the same seeds and images; the first one has the preset's settings, each other one changes
some by ``--set``. Test accuracies are compared in pairs of one seed.

    python benchmarks/supernet_settings.py BASE FILE... [--save NAME]
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from record import command_line, save_record

from gnas.errors import ConfigError
from gnas.metrics import mean_interval

METHOD = "topo-arbitrary"
COMMAND = (
    "gnas bench supernet nasbench201 --methods topo-arbitrary --seed 100 --seeds 3 --table TABLE "
    "--dataset folder --data-dir IMAGES --set image_size=16 [--set NAME=VALUE] --json FILE, then "
    "python benchmarks/supernet_settings.py BASE FILE..."
)


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("base", type=Path)
    parser.add_argument("others", type=Path, nargs="+")
    options = parser.parse_args()
    base, *others = (
        json.loads(path.read_text(encoding="utf-8")) for path in (options.base, *options.others)
    )
    lines = [
        "| setting | validation % | test % | each seed | skips | edges | minus the preset [95%] |",
        "|---|---|---|---|---|---|---|",
        line("preset", base, None),
    ]
    changes = {"preset": searched(base)}
    for other in others:
        check_comparable(base, other)
        name = changed(base, other)
        lines.append(line(name, other, base))
        changes[name] = searched(other)
    text = "\n".join(lines)
    print(text)
    if options.save:
        save_record(
            options.save,
            "Settings of TopoNAS judged by NAS-Bench-201",
            COMMAND,
            text,
            table=base["table"], data=base["data"], rows=changes,
        )  # fmt: skip


def check_comparable(base: dict[str, Any], other: dict[str, Any]) -> None:
    """Checks that both results are about the same seeds, images and table."""
    for name, was, now in (
        ("seeds", row_of(base)["seeds"], row_of(other)["seeds"]),
        ("images", base["data"], other["data"]),
        ("table", base["table"]["sha256"], other["table"]["sha256"]),
    ):
        if was != now:
            raise ConfigError(f"all results must have the same {name}, but got {was} and {now}")


def changed(base: dict[str, Any], other: dict[str, Any]) -> str:
    """The settings by which a result differs from the first one."""
    before, after = base["config"]["settings"], other["config"]["settings"]
    return ", ".join(f"`{k}={v}`" for k, v in after.items() if before.get(k) != v)


def row_of(result: dict[str, Any]) -> dict[str, Any]:
    """The row of `METHOD`."""
    return next(row for row in result["rows"] if row["method"] == METHOD)


def tests(result: dict[str, Any]) -> list[float]:
    """Test accuracy of every seed's derived cell, in percent."""
    return [100 * curve[-1] for curve in row_of(result)["curves"]]


def searched(result: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a result."""
    ended = [one for one in result["searches"] if one["method"] == METHOD]
    return {
        "settings": result["config"]["settings"],
        "row": row_of(result),
        "cells": {one["seed"]: one["architecture"] for one in ended},
    }


def line(name: str, result: dict[str, Any], base: dict[str, Any] | None) -> str:
    """A row of the table."""
    row, found = row_of(result), tests(result)
    gain = ""
    if base is not None:
        pairs = zip(found, tests(base), strict=True)
        by = mean_interval([now - was for now, was in pairs])
        gain = f"{by.mean:+.2f} [{by.low:+.2f}, {by.high:+.2f}]"
    return (
        f"| {name} | {100 * row['val_acc']['mean']:.2f} | {mean_interval(found).mean:.2f} | "
        f"{', '.join(f'{one:.2f}' for one in found)} | {row['skip_share']:.0%} | "
        f"{row['edges']:.1f} | {gain} |"
    )


if __name__ == "__main__":
    main()
