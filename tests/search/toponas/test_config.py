from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from gnas.config import from_record
from gnas.errors import ConfigError, DataError, MissingDataError
from gnas.search.toponas import (
    BASELINES,
    PRESETS,
    ToponasConfig,
    toponas_cifar10,
    toponas_digits,
    toponas_imagenet,
    toponas_space,
)
from gnas.search.toponas.plan import plan_search, planned, resumed_plan


def test_presets_are_the_papers() -> None:
    """Huang et al. 2020, section 4.1 and appendices A.1 and A.3."""
    cifar, imagenet = toponas_cifar10(), toponas_imagenet()
    assert (cifar.num_cells, cifar.channels, cifar.num_nodes) == (8, 16, 7)
    assert (cifar.epochs, cifar.batch_size, cifar.lr, cifar.momentum) == (50, 64, 0.025, 0.9)
    assert (cifar.weight_decay, cifar.arch_lr, cifar.arch_weight_decay) == (3e-4, 3e-4, 1e-3)
    assert (cifar.regulariser, cifar.order, cifar.update) == (10, 1, "alternating")
    assert (imagenet.batch_size, imagenet.lr, imagenet.arch_lr) == (1024, 0.5, 0.05)
    assert imagenet.arch_weight_decay == imagenet.weight_decay == 3e-4
    assert imagenet.stem == "imagenet" and imagenet.epochs == 50
    assert toponas_digits().topology == "arbitrary"
    assert set(PRESETS) == {"digits", "cifar10", "folder", "imagenet-3pct"}


def test_learning_rate_is_a_cosine_over_epochs() -> None:
    config = ToponasConfig()
    assert config.lr_at(0) == 0.025
    assert config.lr_at(25) == pytest.approx(0.013)
    assert 0.001 < config.lr_at(49) < 0.0011


def test_configs_survive_json() -> None:
    for preset in PRESETS.values():
        config = preset()
        assert from_record(ToponasConfig, json.loads(json.dumps(asdict(config)))) == config
    with pytest.raises(ConfigError, match="unknown field 'epoch'; did you mean epochs"):
        from_record(ToponasConfig, {"epoch": 3})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "nas"}, "method must be one of darts, milenas, but got 'nas'"),
        ({"order": 3}, "order must be at most 2"),
        ({"order": 0}, "order must be at least 1"),
        ({"order": 2, "precision": "float16"}, "order 2 needs float32 or bfloat16"),
        (
            {"compile": True, "stop_eigenvalue": 0.75},
            "second derivatives, which torch.compile has none of",
        ),
        ({"epochs": 2.5}, "epochs must be a whole number, but got 2.5"),
        ({"seed": True}, "seed must be a whole number"),
        ({"compile": 1}, "compile must be true or false"),
        ({"lr": float("nan")}, "lr must be a finite number, but got nan"),
        ({"lr": 0}, "lr must be positive"),
        ({"lr_min": 1.0}, "lr_min must be at most lr"),
        ({"regulariser": -1.0}, "regulariser must be at least 0"),
        ({"channels": 15}, "channels must be a multiple of 2"),
        ({"channels": 4, "partial": 4}, "multiple of 8 with partial=4, but got 4"),
        ({"batch_size": 10, "accumulate": 4}, "multiple of accumulate, but got 10 and 4"),
        ({"stop_skip_share": 0.0}, "stop_skip_share must be positive"),
        ({"stop_skip_share": "x"}, "stop_skip_share must be a number"),
        ({"arch_betas": (0.5,)}, r"arch_betas\[1\] must be given"),
        ({"arch_betas": 0.5}, "arch_betas must be a list"),
        ({"num_nodes": 3}, "num_nodes must be at least 4"),
        ({"space": "toponas"}, "space must be 'darts' for DARTS' cells"),
    ],
)
def test_impossible_configs(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ToponasConfig(**changes)


def test_plans() -> None:
    plan = plan_search("folder", seed=3, epochs=7, data_dir="x", image_size=40)
    assert plan.config.seed == plan.images.seed == 3
    assert plan.config.epochs == 7 and plan.images.size == 40
    for name in BASELINES:
        config = plan_search(baseline=name).config
        assert not config.learns_topology and config.num_parts == 2
        assert toponas_space(config).codes.space == "fixed"
    assert plan_search(baseline="darts", k=1).config.k == 1
    fixed: dict[str, Any] = {"topology": "fixed", "k": 1, "mode": "input", "num_nodes": 5}
    assert plan_search(space="toponas", **fixed) == plan_search(space="darts", **fixed)
    with pytest.raises(ConfigError, match="unknown setting 'epoch'; did you mean epochs"):
        plan_search(epoch=3)
    with pytest.raises(ConfigError, match="unknown baseline 'x'"):
        plan_search(baseline="x")


def test_only_the_place_of_the_images_may_change_in_a_resumed_run(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"must have a config.json"):
        planned(tmp_path)
    plan = plan_search("folder", data_dir="a", epochs=7)
    parts = {"search": asdict(plan.config), "images": asdict(plan.images)}
    record = {"command": "search toponas", **parts}
    (tmp_path / "config.json").write_text(json.dumps({"config": record}))
    assert planned(tmp_path) == plan
    moved = resumed_plan(tmp_path, {"data_dir": "b", "epochs": 7, "workers": 1})
    assert moved.config == plan.config
    assert (moved.images.data_dir, moved.images.workers) == ("b", 1)
    with pytest.raises(ConfigError, match=r"goes on as it began, .* epochs is 7, not 8, k is 2"):
        resumed_plan(tmp_path, {"data_dir": "b", "epochs": 8, "k": 1})
    (tmp_path / "config.json").write_text('{"config": {"search": {}, "images": {}}}')
    with pytest.raises(ConfigError, match=r"or damaged: its config\.json names no command"):
        planned(tmp_path)
    damaged = '{"config": {"command": "search toponas", "search": {"x": 1}, "images": {}}}'
    for text in ("{}", "no", damaged, '{"config": 3}'):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(DataError, match=r"config.json must be the config of such a run"):
            planned(tmp_path)
