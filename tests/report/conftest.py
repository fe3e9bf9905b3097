"""Small real runs of every kind, made once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch_geometric.data import Data

from gnas.bench.config import NASBench101Bench
from gnas.bench.nasbench101 import bench_nasbench101
from gnas.data import save_table
from gnas.predictors.baselines import Forest
from gnas.predictors.features import OneHot
from gnas.retrain.plan import plan_retrain
from gnas.retrain.run import run_retrain
from gnas.runs import to_json
from gnas.search import run_search
from gnas.search.nasgem import plan_nasgem, run_nasgem
from gnas.search.toponas.plan import Selection, plan_search
from gnas.search.toponas.run import run_search as run_supernet
from gnas.search.toponas.selection import select
from gnas.spaces import DagSpace, NASBench201
from tests.bench.conftest import make_table
from tests.cli.test_show import training_run

CELL = "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|"
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'<!--]]>\x1b[31m\u202e"
"""A name that would act on a page, or a terminal, that took it as it is."""
RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"


def worth(graph: Data, *, seed: int) -> dict[str, float]:
    """Convolutions are worth something, and cost something; some cells fail."""
    kinds = graph.edge_op.tolist()
    if sum(kinds) % 5 == 2:
        raise RuntimeError(f"not enough memory for {HOSTILE}")
    return {"score": sum(k in (2, 3) for k in kinds) + 0.01 * sum(kinds), "macs": 1e6 * sum(kinds)}


def sized(graph: Data, *, seed: int) -> dict[str, float]:
    return {"score": float(graph.edge_index.size(1))}


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A run by its kind, made when it is first asked for."""
    home: Path = tmp_path_factory.mktemp("runs")
    made: dict[str, Path] = {}

    def find(kind: str) -> Path:
        if kind not in made:
            made[kind] = MAKERS[kind](home / kind)
        return made[kind]

    return find


def _search(searcher: str, **options: Any) -> Callable[[Path], Path]:
    def make(out: Path) -> Path:
        run_search(NASBench201(), searcher, worth, out=out, **{"budget": 14, **options})
        return out

    return make


def _predicted(out: Path) -> Path:
    space = NASBench201()
    seen = OneHot(space.max_nodes, len(space.ops), len(space.edge_ops))
    settings = {"num_initial": 5, "refit_every": 3, "pool": 60, "predictor": Forest(seen)}
    run_search(space, "predictor", worth, budget=16, out=out, settings=settings)
    return out


def _nasgem(out: Path) -> Path:
    changes: dict[str, Any] = {"iterations": 9, "top": 2, "pool": 200, "update_every": 4}
    plan = plan_nasgem(table=("nasgem-mini",), space="nasgem", **changes)
    run_nasgem(plan, out=out)
    return out


def _supernet(out: Path) -> Path:
    small: dict[str, Any] = {"channels": 2, "num_cells": 3, "num_nodes": 5, "image_size": 8}
    run_supernet(plan_search(**small, batch_size=400, epochs=2), out=out)
    return out


def _selection(out: Path) -> Path:
    small: dict[str, Any] = {"channels": 4, "num_cells": 1, "image_size": 8, "epochs": 1}
    plan = plan_search("digits", space="nasbench201", batch_size=400, **small)
    recipe = {"epochs": 1, "batch_size": 400, "channels": 4, "layers": 1}
    select(plan, Selection(seeds=2, repeats=2, random=2, recipe=recipe), out=out)
    return out


def _retrain(out: Path) -> Path:
    sizes: dict[str, Any] = {"layers": 3, "channels": 4, "epochs": 2, "batch_size": 400}
    run_retrain(plan_retrain(NASBench201(), CELL, "digits", **sizes), out=out)
    return out


def _bench(out: Path) -> Path:
    out.mkdir()
    save_table(make_table(), out / "small.parquet")
    table = str(out / "small.parquet")
    config = NASBench101Bench(samples=(20,), seeds=3, table=table, encoders=())
    (out / "bench.json").write_text(to_json(bench_nasbench101(config)))
    return out / "bench.json"


def _table(out: Path) -> Path:
    out.mkdir()
    save_table(make_table(), out / "small.parquet")
    return out / "small.parquet"


def _hostile(out: Path) -> Path:
    """A search whose space, operations, measures, errors and data are all named by an enemy."""
    space = DagSpace(ops=("mlp", "norm"), max_nodes=5, name=HOSTILE)
    run_search(space, "random", sized, budget=4, out=out)
    for name in ("config.json", "result.json"):
        record = json.loads((out / name).read_text())
        record["data"] = {"read": HOSTILE, "sha256": HOSTILE}
        config = record["config"]
        config["evaluator"] |= {"kind": "table", "name": HOSTILE, "note": HOSTILE}
        config[HOSTILE] = HOSTILE
        if name == "result.json":
            record["stopped"] = HOSTILE
            for one in record["evaluations"]:
                one["measures"][HOSTILE] = 1.0
                one["stage"] = HOSTILE
        (out / name).write_text(to_json(record))
    return out


MAKERS: dict[str, Callable[[Path], Path]] = {
    "random": _search("random"),
    "random-1": _search("random", seed=1),
    "evolution": _search("evolution"),
    "evolution-1": _search("evolution", seed=1),
    "front": _search("evolution", objectives=("score", "macs"), constraints=("macs=14e6",)),
    "predictor": _predicted,
    "nasgem": _nasgem,
    "supernet": _supernet,
    "selection": _selection,
    "retrain": _retrain,
    "training under way": training_run,
    "bench": _bench,
    "bench search": lambda out: RESULTS / "nasbench201_search_cifar10_202611.json",
    "bench supernet": lambda out: RESULTS / "supernets_nasbench201_2core-cpu_202611.json",
    "bench topology": lambda out: RESULTS / "nasbench201_topology_cifar10_202611.json",
    "bench by samples": lambda out: RESULTS / "nasbench101_partial_2core-cpu_202611.json",
    "bench darts": lambda out: RESULTS / "darts_2core-cpu_202611.json",
    "table": _table,
    "hostile": _hostile,
}
