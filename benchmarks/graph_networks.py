"""Kendall tau of graph networks alone, and of what each pretraining task brings.

Part "main": the shipped encoders with the end-to-end predictor and with a Gaussian process on the
embedding, and the library's default beside them. Part "tasks": every network from scratch and
pretrained on every task by a short recipe. Every fit is a line of the cache, so that a run that
was stopped goes on where it was; delete the cache to measure anew.

Run from the repository's root, with the table in $GNAS_DATA or --table:
    python benchmarks/graph_networks.py [--part main] [--space nasbench201] [--save NAME]
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from record import command_line, save_record

from gnas.bench.nasbench101 import usable_rows
from gnas.bench.nasbench201 import scores
from gnas.bench.tables import open_table
from gnas.encoders import GraphEncoder, graph_preset, load_encoder, pool_of, pretrain
from gnas.encoders.graph_config import TASKS, TaskName
from gnas.encoders.networks import NETWORKS
from gnas.graphs import graph_keys
from gnas.metrics import kendall_tau, mean_interval
from gnas.predictors import (
    ARDGaussianProcess,
    Embedding,
    GraphNetwork,
    Predictor,
    default_predictor,
)
from gnas.spaces import SPACES

Values = NDArray[np.float64]
Rows = NDArray[np.int64]
SHORT_STEPS = 500
"""Pretraining steps of part "tasks"."""


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--part", choices=("main", "tasks"), default="main")
    parser.add_argument("--space", choices=("nasbench101", "nasbench201"), default="nasbench201")
    parser.add_argument("--table", help="name or file; the space's by default")
    parser.add_argument("--dataset", default="cifar10", help="of NAS-Bench-201")
    parser.add_argument("--samples", default="39,78,156,469,1563")
    parser.add_argument("--seeds", type=int, default=10, help="0 prints what the cache has")
    parser.add_argument("--seed", type=int, default=0, help="fixes the draws of samples")
    parser.add_argument("--only", default="", help="predictors, separated by commas")
    parser.add_argument("--cache", type=Path, default=Path("runs/graph_networks.jsonl"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    samples = [int(number) for number in options.samples.split(",")]
    experiment = Experiment(
        options.space, options.table or options.space, options.dataset, options.seed, options.cache
    )
    makers = (of_main if options.part == "main" else of_tasks)(options.space)
    chosen = options.only.split(",") if options.only else list(makers)
    for n in samples:
        for repetition in range(options.seeds):
            for name in chosen:
                experiment.run(f"{options.part}: {name}", makers[name], n, repetition)
    if options.part == "main":
        experiment.together("main: default", "main: dag trained + 3 processes")
    text = experiment.text(options.part, samples)
    print(text)
    if options.save:
        command = (
            f"python benchmarks/graph_networks.py --part {options.part} --space {options.space}"
        )
        what = f"Graph networks alone: {' '.join(map(str, experiment.key[:-1]))}"
        save_record(options.save, what, command, text, fits=experiment.found)


def of_main(space: str) -> dict[str, Callable[[], Predictor]]:
    """Predictors by name; made when first needed."""
    makers: dict[str, Callable[[], Predictor]] = {
        "default": partial(default_predictor, SPACES[space](), networks=False)
    }
    for network in NETWORKS:
        name = f"{network}-{space}"
        makers[f"{network} trained + process"] = partial(end_to_end, [name], gaussian_process=True)
        makers[f"{network} trained"] = partial(end_to_end, [name], gaussian_process=False)
        makers[f"{network} process"] = partial(process_alone, name)
    names = [f"{network}-{space}" for network in NETWORKS]
    makers["dag trained + 3 processes"] = partial(end_to_end, names, gaussian_process=True)
    return makers


def end_to_end(names: list[str], *, gaussian_process: bool) -> Predictor:
    encoders = [
        encoder for name in names if isinstance(encoder := load_encoder(name), GraphEncoder)
    ]
    return GraphNetwork(encoders, gaussian_process=gaussian_process)


def process_alone(name: str) -> Predictor:
    return ARDGaussianProcess(Embedding(load_encoder(name)))


SCRATCH_OR_TASKS: tuple[TaskName | Literal["scratch"], ...] = ("scratch", *TASKS)


def of_tasks(space: str) -> dict[str, Callable[[], Predictor]]:
    """Every network from scratch, and after every task, as a single member."""
    return {
        f"{network} after {task}": partial(one_member, f"{network}-{space}", task)
        for network in NETWORKS
        for task in SCRATCH_OR_TASKS
    }


def one_member(name: str, task: TaskName | Literal["scratch"]) -> Predictor:
    return GraphNetwork(after(name, task), members=1, gaussian_process=False)


def after(name: str, task: TaskName | Literal["scratch"]) -> GraphEncoder:
    """The encoder of a short recipe."""
    config = replace(graph_preset(name), steps=SHORT_STEPS)
    if task == "scratch":
        return GraphEncoder(config)
    encoder = GraphEncoder(replace(config, tasks=(task,)))
    pretrain(encoder, pool_of(config))
    return encoder


class Experiment:
    """A table's scores to train on and to rank by, and the fits that were made so far.

    NAS-Bench-201: validation accuracy for both; NAS-Bench-101: mean validation, mean test.
    """

    def __init__(self, space: str, table: str, dataset: str, seed: int, cache: Path) -> None:
        opened = open_table(SPACES[space], table, None)
        if space == "nasbench201":
            rows = np.arange(len(opened))
            self.scores = self.true = scores(opened, dataset, None)[-1]
        else:
            rows = usable_rows(opened.graphs, fixed=False)
            self.scores, self.true = opened.val_acc()[rows], opened.test_acc()[rows]
        self.graphs = opened.graphs[torch.from_numpy(rows)]
        self.functions = graph_keys(SPACES[space]().functional_form(self.graphs))
        self.key = [dataset, seed] if space == "nasbench201" else [space, seed]
        self.seed = seed
        self.cache = cache
        cache.parent.mkdir(parents=True, exist_ok=True)
        lines = cache.read_text().splitlines() if cache.is_file() else []
        self.found: list[dict[str, Any]] = [
            fit for line in lines if (fit := json.loads(line))["key"] == self.key
        ]
        self._predictors: dict[str, tuple[Predictor, Values]] = {}

    def run(self, name: str, make: Callable[[], Predictor], n: int, repetition: int) -> None:
        """Fits, ranks and writes, unless the cache has it."""
        at = {"name": name, "samples": n, "repetition": repetition}
        if any(at.items() <= fit.items() for fit in self.found):
            return
        if name not in self._predictors:
            predictor = make()
            self._predictors[name] = predictor, predictor.features(self.graphs)
        predictor, rows = self._predictors[name]
        draw = self.draw(repetition)
        few, rest = draw[:n], draw[n:]
        start, used = time.monotonic(), time.process_time()
        model = predictor.reseeded(repetition).fit_features(rows[few], self.scores[few])
        predicted = model.predict_features(rows)
        seconds, used = time.monotonic() - start, time.process_time() - used
        fit = {
            "key": self.key,
            **at,
            **self.agreement(predicted, few, rest),
            "seconds": seconds,
            "cpu_seconds": used,
        }
        np.save(self.file(name, n, repetition), predicted.astype(np.float32))
        self.found.append(fit)
        with self.cache.open("a") as file:
            file.write(json.dumps(fit) + "\n")

    def together(self, *names: str) -> None:
        """Adds the mean of predictors, each scaled to deviation 1, wherever all were fitted."""
        for n, repetition in sorted({(fit["samples"], fit["repetition"]) for fit in self.found}):
            files = [self.file(name, n, repetition) for name in names]
            if not all(file.is_file() for file in files):
                continue
            parts = [np.load(file).astype(np.float64) for file in files]
            predicted = np.sum([part / part.std() for part in parts], axis=0)
            draw = self.draw(repetition)
            at = {"samples": n, "repetition": repetition, "name": " + ".join(names)}
            self.found.append({**at, **self.agreement(predicted, draw[:n], draw[n:])})

    def agreement(self, predicted: Values, few: Rows, rest: Rows) -> dict[str, float]:
        """Kendall tau by protocol."""
        new = rest[~np.isin(self.functions[rest], self.functions[few])]
        return {
            "kendall_tau": kendall_tau(predicted[rest], self.true[rest]),
            "kendall_tau_no_twins": kendall_tau(predicted[new], self.true[new]),
        }

    def draw(self, repetition: int) -> Rows:
        """All rows in the order of one repetition, as in `gnas.bench`."""
        return np.random.default_rng([self.seed, 1, repetition]).permutation(len(self.functions))

    def file(self, name: str, n: int, repetition: int) -> Path:
        """Where a fit's predictions for all cells lie."""
        folder = self.cache.with_suffix("")
        folder.mkdir(exist_ok=True)
        words = "-".join(map(str, (*self.key, name, n, repetition)))
        return folder / f"{re.sub('[^a-z0-9]+', '-', words)}.npy"

    def text(self, part: str, samples: list[int]) -> str:
        """Markdown: a row per predictor, a column per number of samples."""
        parts = []
        for measure, title in (
            ("kendall_tau", "Kendall tau, all remaining cells"),
            ("kendall_tau_no_twins", "Kendall tau, without functional twins of the samples"),
            ("cpu_seconds", "Processor seconds to train and to rank all cells"),
        ):
            head = f"| samples | {' | '.join(map(str, samples))} |\n|---|{'---|' * len(samples)}"
            parts.append(f"{title}; mean, half the 95% interval, seeds:\n\n{head}")
            mine = [fit for fit in self.found if fit["name"].startswith(f"{part}: ")]
            for name in dict.fromkeys(fit["name"] for fit in mine):
                cells = []
                for n in samples:
                    fits = [f for f in mine if f["name"] == name and f["samples"] == n]
                    cells.append(_cell(np.array([f[measure] for f in fits if measure in f])))
                parts[-1] += f"\n| {name.replace(part + ': ', '')} | {' | '.join(cells)} |"
        return "\n\n".join(parts)


def _cell(values: Values) -> str:
    if len(values) < 2:
        return f"{values[0]:.3f} (1)" if len(values) else ""
    interval = mean_interval(values)
    return f"{interval.mean:.3f} ± {interval.high - interval.mean:.3f} ({len(values)})"


if __name__ == "__main__":
    main()
