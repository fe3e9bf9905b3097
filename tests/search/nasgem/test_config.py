from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gnas.errors import ConfigError, DataError
from gnas.evaluate import (
    EfficiencyEvaluator,
    EvaluationJob,
    FunctionEvaluator,
    TrainingEvaluator,
)
from gnas.graphs import DenseBatch
from gnas.graphs.hashing import graph_keys
from gnas.models import nasgem_network, num_macs
from gnas.search import draws as drawing
from gnas.search.nasgem import NasgemConfig, NasgemPlan, efficiency_score, plan_nasgem, run_nasgem
from gnas.search.nasgem.config import PRESETS
from gnas.search.nasgem.learning import new_predictor
from gnas.spaces import DagSpace
from tests.search.nasgem.conftest import tiny


def draw_candidates(config: NasgemConfig) -> DenseBatch:
    return drawing.draw_candidates(
        config.space(), config.iterations, seed=config.seed, min_nodes=config.floor
    )


def draw_pool(config: NasgemConfig) -> DenseBatch:
    return drawing.draw_pool(config.space(), config.pool, seed=config.seed, min_nodes=config.floor)


def opened(plan: NasgemPlan) -> EfficiencyEvaluator:
    """The evaluator of a plan."""
    config = plan.config
    size = {name: getattr(config, name) for name in ("channels", "num_stages", "cells_per_stage")}
    training = TrainingEvaluator(
        plan.images, config.recipe("search", flip=False), network=size,
        stages={"final": config.recipe("final", flip=False)},
    )  # fmt: skip
    evaluator = EfficiencyEvaluator(training, config.lambda_)
    evaluator.open(config.space())
    return evaluator


def test_the_papers_values_are_the_defaults() -> None:
    config = NasgemConfig()
    assert (config.num_nodes, config.lambda_, config.pool) == (30, 0.1, 50_000)
    assert config.encoder == "nasgem-30" and config.members == 1
    for preset in PRESETS.values():
        record = json.loads(json.dumps(dataclasses.asdict(preset())))
        assert NasgemConfig.from_dict(record) == preset()


def test_the_score() -> None:
    assert efficiency_score(0.9, 1_000_000) == 0.9
    assert efficiency_score(0.9, 463_000_000) == pytest.approx(0.9 - 0.1 * math.log(463))
    assert efficiency_score(0.5, 10_000, lambda_=0.2) == pytest.approx(0.5 + 0.4 * math.log(10))
    assert efficiency_score(0.5, 10_000, lambda_=0.0) == 0.5


def test_a_candidate_is_scored_by_its_own_training() -> None:
    plan = tiny()
    evaluator = opened(plan)
    cell = draw_candidates(plan.config).data(0)
    result = evaluator.evaluate(cell, seed=0)
    size = plan.config.network(in_channels=1, num_classes=10)
    assert result["macs"] == num_macs(nasgem_network(cell, size), (1, 8, 8))
    assert result["score"] == result["val_acc"] - 0.1 * math.log(result["macs"] / 1e6)
    longer = evaluator.at("final").evaluate(cell, seed=0)
    assert longer["train_loss"] < result["train_loss"]
    assert evaluator.at("no stage").evaluate(cell, seed=0)["val_acc"] == result["val_acc"]


def test_macs_are_counted_for_many_cells_as_for_one() -> None:
    plan = tiny()
    evaluator, cells = opened(plan), draw_candidates(tiny(iterations=20).config)
    together = evaluator.count(cells, ("macs",))
    assert list(together) == ["macs"]
    assert np.array_equal(together["macs"], evaluator.count(cells)["macs"])
    assert {*evaluator.count(cells)} == {"macs", "num_params"}


def test_an_efficiency_score_needs_accuracy_and_macs() -> None:
    with pytest.raises(ConfigError, match="needs val_acc and counted macs, but this evaluation"):
        EfficiencyEvaluator(FunctionEvaluator(lambda graph, *, seed: 1.0))


def test_a_training_that_diverges_is_refused() -> None:
    plan = tiny(lr=100.0, weight_decay=1e9)
    with pytest.raises(DataError, match="must keep its losses finite, but they ended at"):
        opened(plan).evaluate(draw_candidates(plan.config).data(0), seed=0)


def test_workers_elsewhere_make_the_job_from_its_facts() -> None:
    plan = tiny(seed=3)
    space, evaluator = plan.config.space(), opened(plan)
    job = EvaluationJob(space, evaluator, ("score",))
    facts = json.loads(json.dumps(job.metadata()))
    again = EvaluationJob.from_metadata(facts)
    assert again.metadata() == facts
    cell = {"architecture": space.to_str(draw_candidates(plan.config).data(0)), "seed": 1}
    for stage in ({}, {"stage": "final"}):
        here, there = (one.open()({**cell, **stage})["measures"] for one in (job, again))
        for one in (here, there):
            one.pop("train_time_s")
        assert here == there
    other = {**facts["evaluator"], "images_sha256": "ab"}
    with pytest.raises(DataError, match="must be those that the search was begun with"):
        EvaluationJob.from_metadata({**facts, "evaluator": other}).open()
    images = {**facts["evaluator"]["images"], "dataset": "folder"}
    elsewhere = {**facts, "evaluator": {**facts["evaluator"], "images": images}}
    with pytest.raises(ConfigError, match="give --data-dir"):
        EvaluationJob.from_metadata(elsewhere)


def test_candidates_follow_from_the_seed() -> None:
    few, many = draw_candidates(tiny().config), draw_candidates(tiny(iterations=20).config)
    assert torch.equal(few.adjacency, many.adjacency[:6])
    assert len(set(graph_keys(many).tolist())) == 20
    assert int(many.num_nodes.min()) >= 4
    other = draw_candidates(tiny(seed=1).config)
    assert not torch.equal(few.adjacency, other.adjacency)


def test_the_pool_is_different_cells_of_enough_nodes() -> None:
    pool = draw_pool(tiny(min_nodes=7).config)
    assert len(pool) == 300 and int(pool.num_nodes.min()) == 7
    assert len(set(graph_keys(pool).tolist())) == 300
    small = draw_pool(tiny(num_nodes=3).config)
    assert 2 < len(small) < 100
    with pytest.raises(ConfigError, match=r"different cells of .* live nodes must be drawn from"):
        draw_candidates(tiny(num_nodes=3, iterations=60).config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_nodes": 1}, "num_nodes must be at least 2, but got 1"),
        ({"num_nodes": 128}, "num_nodes must be at most 127"),
        ({"num_nodes": 5, "prior": "barabasi-albert"}, "num_nodes must be at least 6"),
        ({"prior": "complete"}, "prior must be one of density"),
        ({"spread": True}, "prior is density, which has a spread of its own"),
        ({"min_nodes": 9}, r"min_nodes must be in \[1, num_nodes=8\], but got 9"),
        ({"min_nodes": 2.5}, "min_nodes must be a whole number"),
        ({"iterations": 1}, "iterations must be at least 2"),
        ({"top": 301}, "top must be at most the pool's 300 cells"),
        ({"lambda_": -1.0}, "lambda_ must be at least 0"),
        ({"encoder": 3}, "encoder must be a text"),
        ({"predictor": "default", "encoder": "nasgem-30-paper"}, "leave one of them out"),
        ({"predict": "macs"}, "predict must be one of score, accuracy"),
        ({"lr": 0.0}, "lr must be positive"),
        ({"channels": 0}, "channels must be at least 1"),
        ({"epochs": 1.5}, "epochs must be a whole number"),
        ({"num_nods": 8}, "unknown setting 'num_nods'; did you mean num_nodes"),
    ],
)
def test_impossible_configs(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tiny(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"num_nodes": 40, "predictor": "mlp"},
            "must take cells of 40 nodes, but nasgem-30 takes at most 30",
        ),
        ({"encoder": "nasgem-nasbench101"}, "must be one of nasgem cells"),
        ({"encoder": "best"}, "unknown encoder 'best'"),
    ],
)
def test_encoders_that_do_not_fit(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config = tiny(**changes).config
        new_predictor(config, config.space())


def test_stages_that_leave_no_pixel(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least 16 pixels a side for 5 stages, but have 8"):
        run_nasgem(tiny(num_stages=5), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"space": "nasbench201", "num_nodes": 8}, "num_nodes is a setting of NASGEM's cells"),
        ({"space": "nasbench201", "channels": 8}, "channels is a setting of NASGEM's cells"),
        ({"table": ("x",), "evaluate": "y.py:f"}, "must be evaluated in one way"),
        ({"evaluate": "y.py:f", "dataset": "digits"}, "--evaluate sees no --dataset"),
        ({"space": "mars"}, "unknown space 'mars'"),
    ],
)
def test_impossible_plans(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_nasgem(**options)


def test_cells_drawn_together_are_those_drawn_one_by_one() -> None:
    """Against a loop, in a space so small that most draws are repeats."""
    space, count = DagSpace(ops=("a", "b"), max_nodes=4), 12
    seen, expected = set(), []
    for k in range(count):
        rng = np.random.default_rng((3, drawing.CELLS, k))
        while True:
            cell = space.prune(space.sample_batch(1, rng))
            key = int(space.keys(cell)[0])
            if cell.num_nodes[0] >= 3 and key not in seen:
                break
        seen.add(key)
        expected.append(space.to_str(cell.data(0)))
    for few in (count, 5):
        cells = drawing.draw_candidates(space, few, seed=3, min_nodes=3)
        assert [space.to_str(cell) for cell in cells] == expected[:few]
    with pytest.raises(ConfigError, match="must be drawn from DagSpace"):
        drawing.draw_candidates(space, 2000, seed=3)
