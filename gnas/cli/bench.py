"""``gnas bench``: measure predictors on benchmark tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gnas.bench.config import (
    DARTSBench,
    NASBench101Bench,
    NASBench201Bench,
    NASGEMBench,
    PredictorsBench,
    RankingBench,
)
from gnas.cli.bench_supernet import supernet
from gnas.cli.bench_tables import Folder, Json, Out, search, topology
from gnas.cli.checks import check_early
from gnas.cli.options import Command, field_options
from gnas.cli.output import check_outputs, format_number, report_console, reporting, write_outputs
from gnas.errors import ConfigError
from gnas.predictors.names import PREDICTOR_NAMES
from gnas.printable import amount
from gnas.processes import MAX_PROCESSES, OPTIMISERS, preload, usable_cores
from gnas.spaces.names import SPACE_HOMES, check_space

if TYPE_CHECKING:
    from rich.console import Console

    from gnas.bench.result import BenchResult, Row

NO_TWINS = "no twins"
SMOOTH = "NN R2"
PICKED, BIAS = "picked", "bias"
METRICS = ("Kendall tau", NO_TWINS, "Spearman", "P@1%", "N@10", SMOOTH, PICKED, BIAS)
"""`NO_TWINS` is left out where no two cells of the table compute the same, `SMOOTH` where it is
not measured; `PICKED` is headed by the quantity of the scores."""
NARROW_METRICS = ("Kendall tau", NO_TWINS, SMOOTH, PICKED, BIAS)
WIDE = 110
"""Characters a line from which on all `METRICS` leave room for whole names."""

Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=MAX_PROCESSES,
        help="Processes that fit; by default one for each core, at most 8",
    ),
]
NETWORKS = "Graph networks too: some minutes more"
READ_ENCODERS = ("mlp", "graph-network")
"""Predictors that ``--encoders`` are for."""
FEW_DRAWS = 5
app = typer.Typer(
    help="Measure predictors and searches on benchmark tables.", no_args_is_help=True
)


def ranking_options(kind: type[RankingBench]) -> Callable[[Command], Command]:
    """Options of every experiment that ranks cells."""
    known = ", ".join(PREDICTOR_NAMES)
    return field_options(
        kind,
        table="A Parquet file or a table's name",
        samples="Training cells, one number or several",
        seeds="Repetitions with other samples",
        predictors=f"Predictors instead of the usual ones: {known}, or your own as FILE.py:NAME",
        encoders="Names or .safetensors files, or none",
        seed="Same seed, same numbers",
    )


def fitting(workers: int | None, counts: tuple[int, ...], seeds: int) -> int:
    """The number of processes that fit, for which the import of what they need is begun.

    Args:
        workers: As given; by default one process a core, and one alone for a few draws, which end
            before a second process has begun.
        counts: Numbers of samples.
        seeds: Repetitions.
    """
    few = len(counts) * seeds < FEW_DRAWS
    count = (1 if few else min(usable_cores(), 8)) if workers is None else workers
    if count > 1:
        preload("gnas.bench.experiment", OPTIMISERS)
    return count


def rank(
    kind: type[RankingBench],
    space: str,
    given: Mapping[str, Any],
    data_dir: Path | None,
    workers: int | None,
    out: Path | None,
    json: str | None,
) -> None:
    """Run an experiment, print its table and write the files that were asked for.

    Args:
        kind: The experiment.
        space: Space of its table.
        given: Its fields that were given.
        data_dir: Folder of tables.
        workers: Processes that fit; see `fitting`.
        out: Folder for result and figures.
        json: File for the result.

    Raises:
        ConfigError: encoders are given, but no predictor that reads any.
    """
    predictors = given.get("predictors")
    if given.get("encoders") and predictors is not None and not {*READ_ENCODERS} & {*predictors}:
        raise ConfigError(
            f"--encoders must go with a predictor that reads them, one of {[*READ_ENCODERS]}, "
            f"but --predictors has {[*predictors]}"
        )
    bench = kind.__name__.removesuffix("Bench").lower()
    table = given["table"] if "table" in given else kind.table
    check_early(
        json=json, out=out, data_dir=data_dir, tables=[table],
        table_space=space, columns=[given.get("train_column"), given.get("test_column")],
        seed=given.get("seed", kind.seed),
    )  # fmt: skip
    config = kind(**given, data_dir=None if data_dir is None else str(data_dir))
    check_outputs(out, json, f"bench {bench}")
    processes = fitting(workers, config.samples, config.seeds)
    experiment = getattr(import_module(f"gnas.bench.{bench}"), f"bench_{bench}")
    with reporting("fitting predictors") as progress:
        result: BenchResult = experiment(config, progress=progress, workers=processes)
    print_result(result, report_console(json))
    from gnas.viz import predictor_figures

    write_outputs(result, out, json, predictor_figures)


@app.callback()
def bench() -> None:
    """Measure predictors and searches on benchmark tables."""


@app.command()
@field_options(
    NASBench101Bench,
    pool="Most cells that are ranked",
    ops="fixed: topology only",
    networks=NETWORKS,
)
@ranking_options(NASBench101Bench)
def nasbench101(
    *,
    data_dir: Folder = None,
    workers: Workers = None,
    out: Out = None,
    json: Json = None,
    **given: Any,
) -> None:
    """Rank NAS-Bench-101 cells after seeing a few, with and without graph embedding."""
    rank(NASBench101Bench, "nasbench101", given, data_dir, workers, out, json)


@app.command()
@field_options(
    NASBench201Bench,
    dataset="Images of the accuracies",
    cells="clean: no dead part",
    networks=NETWORKS,
    train_column="Scores of the samples",
    test_column="Scores to rank by",
)
@ranking_options(NASBench201Bench)
def nasbench201(
    *,
    data_dir: Folder = None,
    workers: Workers = None,
    out: Out = None,
    json: Json = None,
    **given: Any,
) -> None:
    """Rank NAS-Bench-201 cells after seeing a few, with and without their functional twins."""
    rank(NASBench201Bench, "nasbench201", given, data_dir, workers, out, json)


@app.command()
@field_options(
    NASGEMBench,
    equal_macs="Subtract what MACs explain of accuracy",
)
@ranking_options(NASGEMBench)
def nasgem(
    *,
    data_dir: Folder = None,
    workers: Workers = None,
    out: Out = None,
    json: Json = None,
    **given: Any,
) -> None:
    """Rank NASGEM cells after seeing a few, with and without graph embedding."""
    rank(NASGEMBench, "nasgem", given, data_dir, workers, out, json)


@app.command()
@field_options(
    DARTSBench,
    run_deviation="Deviation of one cell's test accuracy, for the ceiling",
)
@ranking_options(DARTSBench)
def darts(
    *,
    data_dir: Folder = None,
    workers: Workers = None,
    out: Out = None,
    json: Json = None,
    **given: Any,
) -> None:
    """Rank pairs of DARTS' cells after seeing a few, and by zero-cost proxies."""
    rank(DARTSBench, "toponas", given, data_dir, workers, out, json)


@app.command()
@field_options(
    PredictorsBench,
    dataset="Images of the accuracies, if of several",
    train_column="Scores of the samples (val_acc)",
    test_column="Scores to rank by (test_acc)",
)
@ranking_options(PredictorsBench)
def predictors(
    *,
    space: Annotated[
        str, typer.Argument(metavar="SPACE", help=f"{', '.join(SPACE_HOMES)}, or FILE.py:NAME")
    ],
    data_dir: Folder = None,
    workers: Workers = None,
    out: Out = None,
    json: Json = None,
    **given: Any,
) -> None:
    """Rank the architectures of any table, such as one of your own, after seeing a few."""
    check_space(space)
    rank(PredictorsBench, space, {"space": space, **given}, data_dir, workers, out, json)


app.command()(search)
app.command()(supernet)
app.command()(topology)


def print_result(result: BenchResult, console: Console) -> None:
    """The result table, with what a reader must know about its numbers above and below."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from gnas.metrics import interval_note

    facts = result.table
    sizes = list(dict.fromkeys(row.samples for row in result.rows))
    console.print(
        f"Table {facts['name']}: {facts['provenance'].upper()}, {facts['rows']:,} cells, sha256 "
        f"{facts['sha256'][:12]}. {facts['note']}"
    )
    console.print(
        f"{facts['usable']:,} labelled cells usable, {facts['candidates']:,} of them candidates; "
        f"only these can be picked. {scores_line(result)}"
    )
    for n in sizes:
        rows = [row for row in result.rows if row.samples == n]
        table = Table(
            title=f"{amount(n, 'sample')}, {amount(rows[0].seeds, 'seed')}",
            title_justify="left",
            box=SIMPLE_HEAD,
            padding=0,
            pad_edge=False,
        )
        table.add_column("predictor", overflow="fold")
        table.add_column("what it sees", overflow="fold")
        wide = console.width >= WIDE
        absent = {NO_TWINS} if rows[0].kendall_tau_no_twins is None else set()
        absent |= {SMOOTH} if rows[0].neighbours_r2 is None else set()
        names = [n for n in (METRICS if wide else NARROW_METRICS) if n not in absent]
        for name in names:
            table.add_column(heading(name, result), justify="right", no_wrap=True)
        for row in rows:
            found = dict(zip(METRICS, metrics(row, result), strict=True))
            predictor = "" if row.predictor == "none" else row.predictor
            table.add_row(predictor, row.encoder, *(found[name] for name in names))
        console.print(table)
        if not wide:
            console.print(f"{WIDE} columns or --json show more: Spearman, P@1%, N@10.")
        console.print(gains_line(rows))
        if note := best_sample_note(rows, result):
            console.print(note)
    console.print(
        f"{interval_note(min(row.seeds for row in result.rows))} "
        f"Ceiling of Kendall tau {result.ceiling:.3f}: {result.protocol['ceiling']}. "
        f"{agreement_line(result)}{result.seconds:.0f} s."
    )


def scores_line(result: BenchResult) -> str:
    """Line on the training scores, the reference scores and their maximum."""
    percent = "%" if result.is_accuracy else ""
    text = (
        f"Trained on {result.table['train_column']}, ranked against "
        f"{result.table['test_column']}, best {in_unit(result.best_score, result)}{percent}"
    )
    if result.smaller_is_better:
        text += ", the smallest"
    if any(row.kendall_tau_no_twins is not None for row in result.rows):
        text += "; no twins: without the cells that compute the same function as a sample"
    return f"{text}."


def heading(metric: str, result: BenchResult) -> str:
    """The heading of a metric's column: of `PICKED` the scores' own name, with units."""
    percent = " %" if result.is_accuracy else ""
    return {PICKED: f"{result.label}{percent}", BIAS: f"{BIAS}{percent}"}.get(metric, metric)


def in_unit(score: float, result: BenchResult) -> str:
    """A score as it is printed: accuracies in percent."""
    return f"{100 * score:.2f}" if result.is_accuracy else f"{score:.6g}"


def best_sample_note(rows: list[Row], result: BenchResult) -> str:
    """Note on rows without a pick as good as the best sample; empty if there are none.

    Args:
        rows: All rows of one number of samples.
        result: The experiment that they are of.
    """
    from gnas.bench.result import BEST_SAMPLE, RANDOM_PICK

    best = next((row for row in rows if row.encoder == BEST_SAMPLE), None)
    sign = -1 if result.smaller_is_better else 1
    picks = [sign * row.picked_score.mean for row in rows if row.kendall_tau is not None]
    if best is None or not picks or max(picks) >= sign * best.picked_score.mean:
        return ""
    share = best.samples / result.table["usable"]
    told = f"{share:.0%}" if share >= 0.01 else f"{100 * share:.2g}%"
    return (
        f"No pick comes up to the best of the samples: the samples are {told} of all cells "
        "and chosen from by their measured scores, the picks come from the other cells and by "
        f"prediction alone. Compare picks with the {RANDOM_PICK}; a search keeps the better of "
        "the two.\n"
    )


def agreement_line(result: BenchResult) -> str:
    """Agreement between two runs of the table, where it is known."""
    if result.agreement_between_runs is None:
        return ""
    of = result.protocol["agreement"]
    return f"Two runs' {of} agree to {result.agreement_between_runs:.3f}. "


def gains_line(rows: list[Row]) -> str:
    """One sentence: what every other view brings the first row's predictor, paired by seed."""
    reference = rows[0]
    found = [
        f"{row.encoder} {format_number(row.kendall_tau_gain, 3, sign=True)}"
        for row in rows[1:]
        if row.predictor == reference.predictor
    ]
    if not found:
        return ""
    return (
        f"Kendall tau of {reference.predictor} minus that on {reference.encoder}, paired by seed: "
        f"{'; '.join(found)}.\n"
    )


def metrics(row: Row, result: BenchResult) -> list[str]:
    """The printed `METRICS` of a row; accuracies and their biases in percent."""
    digits, scale = (2, 100) if result.is_accuracy else (4, 1)
    return [
        format_number(row.kendall_tau, 3),
        format_number(row.kendall_tau_no_twins, 3),
        format_number(row.spearman, 3),
        format_number(row.precision_at_1_percent, 2),
        format_number(row.n_at_10, 1),
        format_number(row.neighbours_r2, 3),
        in_unit(row.picked_score.mean, result),
        format_number(row.global_bias, digits, scale=scale),
    ]
