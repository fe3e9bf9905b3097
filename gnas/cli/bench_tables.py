"""``gnas bench search`` and ``gnas bench topology``: what tables say beside predictors."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gnas.bench.config import SearchBench, TopologyBench
from gnas.cli.checks import check_early
from gnas.cli.options import field_options
from gnas.cli.output import (
    check_outputs,
    format_number,
    report_console,
    reporting,
    rerun_hint,
    write_outputs,
)
from gnas.printable import amount
from gnas.processes import MAX_PROCESSES
from gnas.spaces.names import SPACE_HOMES, check_space

if TYPE_CHECKING:
    from rich.console import Console

    from gnas.bench.search import SearchBenchResult
    from gnas.bench.topology import TopologyResult

Folder = Annotated[Path | None, typer.Option(help="Folder of tables")]
Out = Annotated[Path | None, typer.Option(help="Folder for result and figures")]
Json = Annotated[str | None, typer.Option(help="File for the result; - is stdout")]


@field_options(
    SearchBench,
    budget="Architectures that a search may query",
    seeds="Searches by each searcher",
    searchers="Searchers, or your own as FILE.py:NAME",
    dataset="Images of the accuracies, if of several",
    epochs="Training epochs of the accuracies (the longest)",
    table="A Parquet file or a table's name",
    seed="Same seed, same numbers",
)
def search(
    *,
    space: Annotated[
        str, typer.Argument(metavar="SPACE", help=f"{', '.join(SPACE_HOMES)}, or FILE.py:NAME")
    ],
    data_dir: Folder = None,
    workers: Annotated[
        int, typer.Option(min=1, max=MAX_PROCESSES, help="Processes that search")
    ] = 1,
    out: Out = None,
    json: Json = None,
    **given: Any,
) -> None:
    """Find the best cell of a table with few queries: regret and queries to the optimum.

    Searches that --out has from an earlier, perhaps stopped, run are not run again.
    """
    check_space(space)
    config = SearchBench(
        space=space, data_dir=None if data_dir is None else str(data_dir), **given
    )
    check_early(
        json=json, out=out, data_dir=data_dir, tables=[config.table or space], table_space=space
    )
    check_outputs(out, json, "bench search")
    from gnas.bench.search import bench_search

    rerun_hint(out)
    with reporting("searches") as progress:
        result = bench_search(config, folder=out, workers=workers, progress=progress)
    print_searches(result, report_console(json))
    from gnas.viz import regret_figures

    write_outputs(result, out, json, regret_figures)


def print_searches(result: SearchBenchResult, console: Console) -> None:
    """Print the result of every searcher and explain the columns."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as Grid

    from gnas.metrics import interval_note

    facts = result.table
    console.print(
        f"Table {facts['name']}: {facts['provenance'].upper()}, {facts['rows']:,} cells, "
        f"{facts['architectures']:,} different networks, sha256 {facts['sha256'][:12]}. "
        f"{facts['note']}",
        soft_wrap=True,
    )
    grid = Grid(box=SIMPLE_HEAD, padding=0, pad_edge=False)
    grid.title = (
        f"{amount(result.config.budget, 'query')}, {amount(result.config.seeds, 'search')} each"
    )
    grid.title_justify = "left"
    grid.add_column("searcher", overflow="fold")
    for name in ("test acc %", "test regret", "found", "median queries", "s each"):
        grid.add_column(name, justify="right", no_wrap=True)
    for row in result.rows:
        acc, regret = row.test_acc, row.test_regret[-1]
        grid.add_row(
            row.searcher,
            format_number(acc, 2, scale=100),
            f"{100 * regret.mean:.3f}",
            f"{row.found_optimum:.0%}",
            "-" if row.median_queries is None else f"{row.median_queries:g}",
            f"{row.seconds:.1f}",
        )
    console.print(grid)
    console.print(
        f"Chosen by {facts['val_column']}, reported by {facts['test_column']} (best "
        f"{100 * result.best_test_acc:.2f}%), regret in percentage points; found: the best "
        f"{facts['val_column']}, {100 * result.best_val_acc:.2f}%, was queried. "
        f"{interval_note(result.config.seeds, 'searches')} {result.seconds:.0f} s.",
        soft_wrap=True,
    )
    alike: dict[tuple[Any, ...], list[str]] = {}
    for row in result.rows:
        alike.setdefault((row.test_regret, row.val_regret), []).append(row.searcher)
    for names in alike.values():
        if len(names) > 1:
            console.print(
                f"{', '.join(names)}: the same regrets after every query, so this table tells "
                "nothing of their differences. Of cells that it has no neighbours of, and before "
                "a searcher has learned, all are drawn at random.",
                soft_wrap=True,
            )


@field_options(
    TopologyBench,
    dataset="Images that the accuracies are of",
    split="Split of the accuracies",
    epochs="Training epochs of the accuracies (the longest)",
    table="A Parquet file or a table's name",
)
def topology(*, data_dir: Folder = None, out: Out = None, json: Json = None, **given: Any) -> None:
    """Average the accuracy of each of NAS-Bench-201's 64 topologies (TopoNAS, figure 1)."""
    config = TopologyBench(data_dir=None if data_dir is None else str(data_dir), **given)
    check_early(
        json=json, out=out, data_dir=data_dir, tables=[config.table], table_space="nasbench201"
    )
    check_outputs(out, json, "bench topology")
    from gnas.bench.topology import bench_topology

    result = bench_topology(config)
    print_topologies(result, report_console(json))
    from gnas.viz.topology import topology_figures

    write_outputs(result, out, json, topology_figures)


def print_topologies(result: TopologyResult, console: Console) -> None:
    """A row for each class of isomorphic topologies, by number of edges, the best first."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as Grid

    facts = result.table
    console.print(
        f"Table {facts['name']}: {facts['provenance'].upper()}, {facts['rows']:,} cells, sha256 "
        f"{facts['sha256'][:12]}. {facts['note']}",
        soft_wrap=True,
    )
    grid = Grid(box=SIMPLE_HEAD, padding=0, pad_edge=False)
    grid.add_column("edges", justify="right")
    grid.add_column("live", justify="right")
    grid.add_column("joined nodes", overflow="fold")
    for name in ("cells", "mean acc %", "deviation", "best"):
        grid.add_column(name, justify="right", no_wrap=True)
    sizes = Counter(row.isomorphism_class for row in result.rows)
    for row in result.rows:
        grid.add_row(
            f"{len(row.edges)}",
            f"{row.live_edges}",
            " ".join(f"{i}{j}" for i, j in row.edges) + " *" * (sizes[row.isomorphism_class] > 1),
            f"{row.cells:,}",
            f"{100 * row.mean_acc:.2f}",
            f"{100 * row.std_acc:.2f}",
            f"{100 * row.best_acc:.2f}",
        )
    console.print(grid)
    console.print(
        f"Accuracies: {facts['column']}. "
        f"{result.num_classes} classes of isomorphic topologies; * another one is isomorphic. "
        "Node 0 is the input, 3 the output; live edges are on a path between them. Rank "
        f"correlation of mean accuracy with the number of edges {result.spearman:.2f}, with live "
        f"edges {result.spearman_live:.2f}, over the topologies that join input and output.",
        soft_wrap=True,
    )
