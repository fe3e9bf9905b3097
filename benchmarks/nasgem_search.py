"""What a NASGEM search finds, against random search at the same number of trainings.

For every seed: the cells that Algorithm 1 trains are trained once and shared by NASGEM with its
embedding, its control on the raw adjacency matrix, and gnas' predictor of NAS-Bench cells, all of
which learn the score as the paper has it; by two that learn the accuracy alone and count the
MACs, from the embedding and from walk statistics (the search's default); and by random search,
which gives the longer final training to its own best few. With --priors also random search over
the random graphs of RandWire, with trainings of their own. All these pay for the same number of
trainings. One method learns nothing and pays for its final trainings only: those of the pool's
cells with the fewest MACs. Every method chooses by the validation images' score of its final
trainings; test accuracy chooses nothing. What is finished is kept in the folder of the runs:
started again, the script goes on where it was.

    python benchmarks/nasgem_search.py [--seeds 5] [--runs DIR] [--workers 1] [--save NAME]
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import command_line, save_record

from gnas.evaluate import EvaluationJob, Evaluator
from gnas.graphs import DenseBatch
from gnas.metrics import best, mean_interval
from gnas.runs import to_json, to_jsonable
from gnas.search.draws import draw_candidates, draw_pool
from gnas.search.nasgem import NasgemConfig, NasgemPlan, plan_nasgem, run_nasgem
from gnas.search.nasgem.run import nasgem_evaluator
from gnas.studies import CandidateRecord, CandidateStudy, candidate_key, local_workers

METHODS: dict[str, dict[str, Any]] = {
    "NASGEM": {"predictor": "mlp", "predict": "score"},
    "no embedding": {"predictor": "mlp", "encoder": "none", "predict": "score"},
    "gnas' predictor": {"predictor": "default", "predict": "score"},
    "accuracy, embedding": {"predictor": "mlp", "predict": "accuracy"},
    "accuracy, walks": {"predictor": "walks", "predict": "accuracy"},
}
FEWEST = "fewest MACs"
RANDOM = "random search"
PRIORS = ("erdos-renyi", "barabasi-albert", "watts-strogatz")
NUMBERS = ("score", "val_acc", "test_acc", "macs", "params")


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--data-dir")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--runs", type=Path, default=Path("runs/nasgem-search"))
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--priors", action="store_true", help="random search over RandWire's too")
    parser.add_argument("--set", action="append", default=[], help="NAME=VALUE of the config")
    options = parser.parse_args()
    changes = {
        name: json.loads(value) for name, _, value in (s.partition("=") for s in options.set)
    }
    if options.data_dir:
        changes["data_dir"] = options.data_dir
    rows: dict[str, list[dict[str, Any]]] = {}
    for seed in range(options.seeds):
        for name, more in methods(options.priors).items():
            row = finished(options, name, {**changes, **more, "seed": seed})
            rows.setdefault(name, []).append(row)
            print(name, seed, {k: round(row["chosen"][k], 4) for k in NUMBERS}, flush=True)
    text = table(rows) + "\n\n" + differences(rows)
    print(text)
    if options.save:
        plan = plan_nasgem(options.dataset, **changes)
        priors = " --priors" if options.priors else ""
        save_record(
            options.save,
            f"NASGEM searches on {options.dataset} against random search",
            f"python benchmarks/nasgem_search.py --seeds {options.seeds}{priors}",
            text,
            config=asdict(plan.config), methods=methods(options.priors),
            seeds=options.seeds, rows=json.loads(to_json(rows)),
        )  # fmt: skip


def methods(priors: bool) -> dict[str, dict[str, Any]]:
    """Changes of the config by the name of the method."""
    random = {f"{RANDOM}, {prior}": {"prior": prior} for prior in PRIORS} if priors else {}
    return {**METHODS, FEWEST: {}, RANDOM: {}, **random}


def finished(options: Any, name: str, changes: dict[str, Any]) -> dict[str, Any]:
    """What a method found with a seed, or what an earlier start has of it."""
    seed = changes["seed"]
    folder = (
        options.runs
        / f"seed-{seed}"
        / name.replace("' ", "-").replace(", ", "-").replace(" ", "-")
    )
    path = folder / "row.json"
    if path.exists():
        row: dict[str, Any] = json.loads(path.read_text())
        return row
    storage = options.runs / f"seed-{seed}" / "study.db"
    plan = plan_nasgem(
        options.dataset, storage=str(storage.absolute()), study=f"seed-{seed}", **changes
    )
    folder.mkdir(parents=True, exist_ok=True)
    if name.startswith(RANDOM):
        row = without_predictor(plan, options.workers, best_trained)
    elif name == FEWEST:
        row = without_predictor(plan, options.workers, fewest_macs)
    else:
        resume = (folder / "config.json").exists()
        found = to_jsonable(run_nasgem(plan, out=folder, workers=options.workers, resume=resume))
        row = {k: found[k] for k in ("chosen", "argmax", "best_trained", "learning", "surface")}
    path.write_text(to_json(row))
    return row


def without_predictor(plan: NasgemPlan, workers: int, choose: Any) -> dict[str, Any]:
    """The best by its final training of the ``top`` cells that ``choose`` names."""
    space = plan.config.space()
    plan, evaluator = nasgem_evaluator(plan, space)
    evaluator.open(space)
    job = EvaluationJob(space, evaluator, ("score",))
    assert plan.study is not None and plan.storage is not None
    study = CandidateStudy.open(job, name=plan.study, storage=plan.storage)
    with local_workers(study, job, workers) as wait:

        def train(cells: DenseBatch, **stage: str) -> list[CandidateRecord]:
            own = {"seed": plan.config.seed, **stage}
            wanted = [{"architecture": space.to_str(cell), **own} for cell in cells]
            return evaluated(study, wait, wanted)

        kept = choose(plan.config, evaluator, train)
        finals = train(kept, stage="final")
    study.finish()
    done = [told(one) for one in finals if one.result is not None]
    return {"chosen": max(done, key=lambda one: one["score"]), "argmax": done[0]}


def drawn(config: NasgemConfig, draw: Any, count: int) -> DenseBatch:
    """Cells of the search's space."""
    cells: DenseBatch = draw(config.space(), count, seed=config.seed, min_nodes=config.floor)
    return cells


def best_trained(config: NasgemConfig, evaluator: Evaluator, train: Any) -> DenseBatch:
    """The best scores of the ``iterations`` random cells."""
    trained = train(drawn(config, draw_candidates, config.iterations))
    scores = np.array([one.result["score"] if one.result else -np.inf for one in trained])
    first = [trained[k] for k in best(scores, config.top)]
    space = config.space()
    return DenseBatch.from_data([space.from_str(one.candidate["architecture"]) for one in first])


def fewest_macs(config: NasgemConfig, evaluator: Evaluator, train: Any) -> DenseBatch:
    """The cheapest of the pool's cells."""
    pool = drawn(config, draw_pool, config.pool)
    cheapest = best(-evaluator.count(pool, ("macs",))["macs"], config.top)
    return pool[torch.from_numpy(cheapest)]


def evaluated(
    study: CandidateStudy, wait: Any, candidates: list[dict[str, Any]]
) -> list[CandidateRecord]:
    """The candidates when all are trained, in their order."""
    study.plan(candidates)
    wait(lambda progress: None)
    found = {candidate_key(one.candidate): one for one in study.results()}
    return [found[candidate_key(candidate)] for candidate in candidates]


def told(one: CandidateRecord) -> dict[str, Any]:
    """A candidate and its numbers."""
    assert one.result is not None
    measures = one.result["measures"]
    numbers = {"params": round(measures["num_params"]), "macs": round(measures["macs"])}
    return {"architecture": one.candidate["architecture"], **measures, **numbers}


def table(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Markdown: means and 95% intervals over seeds of each method's chosen cell."""
    lines = [
        "| method | score | val acc % | test acc % | MACs M | score of the argmax | predicted |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, own in rows.items():
        chosen = [row["chosen"] for row in own]
        cells = [
            shown([one["score"] for one in chosen]),
            shown([100 * one["val_acc"] for one in chosen], 2),
            shown([100 * one["test_acc"] for one in chosen], 2),
            shown([one["macs"] / 1e6 for one in chosen]),
        ]
        first = [row["argmax"] for row in own]
        predicted = "predicted_score" in first[0]
        cells.append(shown([one["score"] for one in first]) if predicted else "")
        cells.append(shown([one["predicted_score"] for one in first]) if predicted else "")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def differences(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Differences to random search within a seed, whose cells and images are the same."""
    lines = ["| method minus random search | score | test acc % |", "|---|---|---|"]
    for name in [*METHODS, FEWEST]:
        pairs = list(zip(rows[name], rows[RANDOM], strict=True))
        parts = [
            shown([a["chosen"][key] * by - b["chosen"][key] * by for a, b in pairs], digits)
            for key, by, digits in (("score", 1, 3), ("test_acc", 100, 2))
        ]
        lines.append(f"| {name} | {' | '.join(parts)} |")
    lines += ["", "| predictor | tau on unseen cells | R2 on them | local R2, plane | full |",
              "|---|---|---|---|---|"]  # fmt: skip
    for name in METHODS:
        half = [row["learning"][len(row["learning"]) // 2] for row in rows[name]]
        parts = [shown([one[key] for one in half]) for key in ("kendall_tau", "r2")]
        kind = "raw" if name == "no embedding" else "embedding"
        if name in ("NASGEM", "no embedding"):
            surfaces = [row["surface"][kind] for row in rows[name]]
            parts += [shown([s[f"trained_r2_{k}"] for s in surfaces]) for k in ("plane", "full")]
        else:
            parts += ["", ""]
        lines.append(f"| {name} | {' | '.join(parts)} |")
    return "\n".join(lines)


def shown(values: Sequence[float], digits: int = 3) -> str:
    """Mean [95% interval]."""
    found = mean_interval(values)
    return f"{found.mean:.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"


if __name__ == "__main__":
    main()
