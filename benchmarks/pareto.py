"""Accuracy against latency on NAS-Bench-201: the dominated hypervolume of several searchers.

Every searcher queries the validation accuracy (CIFAR-10, 200 epochs) and the latency of one
device (HW-NAS-Bench) of the same number of different networks. A network that a sampler of Optuna
suggests again costs no query; ours never ask twice. Of cells that are one network, drawn
differently, both are means. Finished searches are kept in --out and not run again.

Run from the repository's root:
    python benchmarks/pareto.py TABLE HARDWARE [--seeds 20] [--out DIR] [--save NAME]
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from record import RESULTS, command_line, save_record
from threadpoolctl import threadpool_limits

from gnas import NASBench201, load_table, run_search
from gnas.evaluate import TableEvaluator
from gnas.figure import Figure
from gnas.jsonl import JsonlLog
from gnas.metrics import mean_interval
from gnas.search.pareto import hypervolume
from gnas.spaces.nasbench201.space import CANDIDATES, EDGES
from gnas.style import COLOURS

Values = NDArray[np.float64]
DEVICES = ("edgegpu", "raspi4", "fpga")
MAX_TRIALS = 300
"""Suggestions after which a sampler that repeats itself is stopped, with fewer queries."""
SHOWN = (20, 30, 50, 75, 100)
BANDS = ("predictor", "evolution", "Optuna NSGA-II")
"""Methods whose intervals are drawn."""


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("hardware", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--budget", type=int, default=100)
    parser.add_argument("--devices", default=",".join(DEVICES))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = NASBench201()
    accuracy = TableEvaluator.from_table(
        space, load_table(options.table), ["val_acc"], dataset="cifar10"
    )
    hardware = load_table(options.hardware)
    text, record = "", {}
    for device in options.devices.split(","):
        name = f"{device}_latency_ms"
        evaluator = accuracy.join(TableEvaluator.from_table(space, hardware, [name]))
        goals = ["val_acc", name]
        facts = {"budget": options.budget, "objectives": goals, "table": evaluator.metadata()}
        found = searches(evaluator, goals, options.seeds, options.budget, options.out, facts)
        rows = {
            method: curves(evaluator, goals, runs, options.budget)
            for method, runs in found.items()
        }
        record[device] = {
            method: summary(volumes, rows["Optuna NSGA-II"]) | {"seconds": seconds(found[method])}
            for method, volumes in rows.items()
        }
        text += table_of(device, record[device], options.seeds)
        print(text, flush=True)
    if options.save:
        save_record(
            options.save,
            "Hypervolume of accuracy against latency on NAS-Bench-201",
            f"python benchmarks/pareto.py TABLE HARDWARE --seeds {options.seeds} "
            f"--budget {options.budget}",
            text,
            tables=[accuracy.metadata(), hardware.provenance.summary() | {"path": ""}],
            seeds=options.seeds,
            budget=options.budget,
            devices=record,
        )
        figure_of(record, options.seeds).savefig(
            RESULTS / f"{options.save}.svg", metadata={"Date": None}
        )


Method = Callable[[TableEvaluator, list[str], int, int], list[int]]
"""From evaluator, objectives, seed and budget to the numbers of the networks queried, in order."""


def ours(
    searcher: str, evaluator: TableEvaluator, goals: list[str], seed: int, budget: int
) -> list[int]:
    found = run_search(
        NASBench201(), searcher, evaluator, budget=budget, objectives=goals, seed=seed
    )
    space = evaluator.space
    return [evaluator.number(space.from_str(one.architecture)) for one in found.evaluations]


def optunas(
    make: Callable[[int], optuna.samplers.BaseSampler],
    evaluator: TableEvaluator,
    goals: list[str],
    seed: int,
    budget: int,
) -> list[int]:
    """A sampler of Optuna on six categorical parameters, one an edge."""
    study = optuna.create_study(sampler=make(seed), directions=["maximize", "minimize"])
    queried: dict[int, None] = {}  # in order
    space = NASBench201()
    for _ in range(MAX_TRIALS):
        trial = study.ask()
        ops = [trial.suggest_categorical(f"edge{k}", CANDIDATES) for k in range(len(EDGES))]
        parts, text = iter(ops), []
        for node in range(1, 4):
            text.append("|" + "|".join(f"{next(parts)}~{k}" for k in range(node)) + "|")
        number = evaluator.number(space.from_str("+".join(text)))
        study.tell(trial, [float(evaluator.values[name][number]) for name in goals])
        queried[number] = None
        if len(queried) == budget:
            break
    return [*queried]


METHODS: dict[str, Method] = {
    "random": partial(ours, "random"),
    "evolution": partial(ours, "evolution"),
    "local": partial(ours, "local"),
    "predictor": partial(ours, "predictor"),
    "Optuna NSGA-II": partial(optunas, lambda seed: optuna.samplers.NSGAIISampler(seed=seed)),
    "Optuna NSGA-II, population 20": partial(
        optunas, lambda seed: optuna.samplers.NSGAIISampler(seed=seed, population_size=20)
    ),
    "Optuna TPE": partial(optunas, lambda seed: optuna.samplers.TPESampler(seed=seed)),
}


def searches(
    evaluator: TableEvaluator,
    goals: list[str],
    seeds: int,
    budget: int,
    out: Path | None,
    facts: dict[str, Any],
) -> dict[str, list[dict[str, Any]]]:
    """Every search by method and seed; those that ``out`` has are not run again."""
    log = None
    done: dict[tuple[str, int], dict[str, Any]] = {}
    if out is not None:
        log = JsonlLog(out / f"{goals[1]}.jsonl", facts, what="searches", read=dict)
        done = {(one["method"], one["seed"]): one for one in log.records}
    found: dict[str, list[dict[str, Any]]] = {}
    for method, run in METHODS.items():
        found[method] = []
        for seed in range(seeds):
            if (method, seed) not in done:
                start = time.process_time()
                with threadpool_limits(1):
                    queried = run(evaluator, goals, seed, budget)
                one = {"method": method, "seed": seed, "queried": queried}
                one["seconds"] = time.process_time() - start
                done[method, seed] = one
                if log is not None:
                    log.add(one)
            found[method].append(done[method, seed])
    return found


def curves(
    evaluator: TableEvaluator, goals: list[str], runs: list[dict[str, Any]], budget: int
) -> dict[str, Values]:
    """Hypervolume after each query, as a share of the whole table's: [seeds, budget].

    By two reference points: the worst value of each objective in the table, and the median one,
    above which only the better half of the cells in both counts.
    """
    points = np.stack([evaluator.values[goals[0]], -evaluator.values[goals[1]]], axis=1)
    found = {}
    for name, reference in (("worst", points.min(0)), ("median", np.median(points, 0))):
        whole = hypervolume(points, reference)
        rows = []
        for run in runs:
            queried = points[run["queried"]]
            volumes, front = [], queried[:0]
            for point in queried:
                if not (front >= point).all(1).any():
                    front = np.vstack([front[~(point >= front).all(1)], point])
                    volume = hypervolume(front, reference) / whole
                volumes.append(volume)
            rows.append([*volumes, *[volumes[-1]] * (budget - len(volumes))])
        found[name] = np.array(rows)
    return found


def summary(volumes: dict[str, Values], theirs: dict[str, Values]) -> dict[str, Any]:
    """Mean hypervolumes, and queries until NSGA-II's mean at its end is reached."""
    found: dict[str, Any] = {}
    for name, rows in volumes.items():
        goal = theirs[name][:, -1].mean()
        needed = [int((row >= goal).argmax()) + 1 if row.max() >= goal else None for row in rows]
        mean = rows.mean(0)
        found[name] = {
            **{
                part: [round(getattr(one, part), 5) for one in map(mean_interval, rows.T)]
                for part in ("mean", "low", "high")
            },
            "queries_to_nsga2": needed,
            "mean_reaches_nsga2": int((mean >= goal).argmax()) + 1 if mean.max() >= goal else None,
        }
    return found


def seconds(runs: list[dict[str, Any]]) -> float:
    return float(np.mean([run["seconds"] for run in runs]))


def table_of(device: str, rows: dict[str, Any], seeds: int) -> str:
    text = f"\n## {device}\n"
    for name in ("worst", "median"):
        text += (
            f"\nHypervolume (%) after so many queries, reference point: the {name} of the table; "
            f"mean over {seeds} seeds and half of its 95% interval. Last columns: queries at "
            "which the mean curve reaches the mean of Optuna's NSGA-II at the end, and processor "
            "seconds of a search.\n\n"
        )
        shown = [k for k in SHOWN if k <= len(rows["random"][name]["mean"])]
        text += f"| searcher | {' | '.join(map(str, shown))} | to NSGA-II | s |\n"
        text += "|---|" + "---|" * (len(shown) + 2) + "\n"
        for method, row in rows.items():
            one = row[name]
            halves = [50 * (one["high"][k - 1] - one["low"][k - 1]) for k in shown]
            values = " | ".join(
                f"{100 * one['mean'][k - 1]:.2f} ± {half:.2f}"
                for k, half in zip(shown, halves, strict=True)
            )
            reached = row[name]["mean_reaches_nsga2"] or "-"
            text += f"| {method} | {values} | {reached} | {row['seconds']:.1f} |\n"
    return text


def figure_of(record: Mapping[str, Any], seeds: int) -> Figure:
    """Mean hypervolume by queries, a panel a device, with 95% intervals of three of the lines."""
    figure = Figure(figsize=(5.0 * len(record), 4.3), layout="constrained")
    panels = figure.subplots(1, len(record), sharey=True, squeeze=False)[0]
    for axes, (device, rows) in zip(panels, record.items(), strict=True):
        goal = rows["Optuna NSGA-II"]["median"]["mean"][-1]
        axes.axhline(100 * goal, color="#888888", linewidth=0.8, linestyle="--")
        for colour, (method, row) in zip(COLOURS, rows.items(), strict=False):
            mean, low, high = (
                100 * np.array(row["median"][part]) for part in ("mean", "low", "high")
            )
            queries = np.arange(1, len(mean) + 1)
            axes.plot(queries, mean, color=colour, label=method)
            if method in BANDS:
                axes.fill_between(queries, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.set_title(f"accuracy against latency on {device}", fontsize=10)
        axes.set_xlabel("architectures queried", fontsize=9)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel(f"dominated hypervolume (%), mean of {seeds} searches", fontsize=9)
    panels[0].set_ylim(0, 100)
    panels[-1].legend(fontsize=8, frameon=False, loc="lower right")
    return figure


if __name__ == "__main__":
    main()
