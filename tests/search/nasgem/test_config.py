from __future__ import annotations

import dataclasses
import json
import math

import pytest
import torch

from gnas.data.proxy import ProxyImagesConfig, open_proxy_images
from gnas.errors import ConfigError, DataError
from gnas.graphs.hashing import graph_keys
from gnas.models import nasgem_network, num_macs
from gnas.search.nasgem import NasgemConfig, NasgemJob, efficiency_score
from gnas.search.nasgem.candidates import draw_candidates, draw_pool
from gnas.search.nasgem.config import PRESETS
from gnas.search.nasgem.job import evaluate
from gnas.search.nasgem.learning import new_predictor
from tests.search.nasgem.conftest import tiny


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
    splits = open_proxy_images(plan.images)
    job = NasgemJob.of(plan.config, plan.images, splits)
    cell = plan.config.space().to_str(draw_candidates(plan.config).data(0))
    candidate = {"architecture": cell, "seed": 0, "stage": "search"}
    result = evaluate(job, splits, candidate)
    network = nasgem_network(plan.config.space().from_str(cell), job.network)
    assert result["macs"] == num_macs(network, (1, 8, 8))
    assert result["score"] == result["val_acc"] - 0.1 * math.log(result["macs"] / 1e6)
    longer = evaluate(job, splits, {**candidate, "stage": "final"})
    assert longer["train_loss"] < result["train_loss"]


def test_a_training_that_diverges_is_refused() -> None:
    plan = tiny(lr=100.0, weight_decay=1e9)
    splits = open_proxy_images(plan.images)
    job = NasgemJob.of(plan.config, plan.images, splits)
    cell = plan.config.space().to_str(draw_candidates(plan.config).data(0))
    with pytest.raises(DataError, match="must keep its losses finite, but they ended at"):
        evaluate(job, splits, {"architecture": cell, "seed": 0, "stage": "search"})


def test_workers_elsewhere_make_the_job_from_its_facts() -> None:
    plan = tiny(seed=3)
    splits = open_proxy_images(plan.images)
    job = NasgemJob.of(plan.config, plan.images, splits)
    facts = json.loads(json.dumps(job.facts()))
    assert "data_dir" not in facts["images"]
    assert NasgemJob.from_facts(facts) == job
    wrong = NasgemJob.from_facts({**facts, "images_sha256": "ab"})
    with pytest.raises(DataError, match="must be those that the search was begun with"):
        wrong.open()
    with pytest.raises(ConfigError, match="must be one of this version of gnas"):
        NasgemJob.from_facts({"images": {}, "lambda_": 0.1})
    elsewhere = {**facts, "images": {**facts["images"], "dataset": "folder"}}
    with pytest.raises(ConfigError, match="give --data-dir"):
        NasgemJob.from_facts(elsewhere)


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
    with pytest.raises(ConfigError, match="iterations must be at most the number of different"):
        draw_candidates(tiny(num_nodes=3, iterations=60).config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_nodes": 1}, "num_nodes must be at least 2, but got 1"),
        ({"num_nodes": 128}, r"num_nodes must be in \[1, 127\]"),
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
        ({"encoder": "nasgem-nasbench101"}, "must be one of NASGEM cells"),
        ({"encoder": "best"}, "unknown encoder 'best'"),
    ],
)
def test_encoders_that_do_not_fit(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        new_predictor(tiny(**changes).config)


def test_stages_that_leave_no_pixel() -> None:
    plan = tiny(num_stages=5)
    with pytest.raises(ConfigError, match="at least 16 pixels a side for 5 stages, but have 8"):
        NasgemJob.of(plan.config, plan.images, open_proxy_images(ProxyImagesConfig()))
