from __future__ import annotations

import json
import sys
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gnas.data import load_table
from gnas.data.images.parts import ImageParts, load_images
from gnas.errors import ConfigError
from gnas.models import NasgemNetworkConfig, nasgem_network, num_macs, num_params
from gnas.spaces import NASGEM
from gnas.training.recipe import ProxyRecipe
from gnas.training.short import fresh_network, train_proxy

SCRIPTS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def scripts() -> Any:
    """The two scripts, imported as they import each other, and compiled once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        import nasgem_mini
        import nasgem_native

        yield nasgem_mini, nasgem_native
    for name in ("nasgem_mini", "nasgem_native"):
        sys.modules.pop(name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Coloured noise with a class's own mean: something can be learned."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 200), ("test", 60)):
        y = rng.integers(3, size=count)
        x = rng.normal(110, 30, (count, 9, 9, 3)) + 30 * np.eye(3)[y][:, None, None]
        np.save(tmp_path / f"x_{part}.npy", x.clip(0, 255).astype(np.uint8))
        np.save(tmp_path / f"y_{part}.npy", y)
    return tmp_path


def images_of(folder: Path) -> ImageParts:
    return load_images(folder, num_train=128, num_val=60)


@pytest.mark.parametrize(
    ("form", "recipe"),
    [
        ({}, {"flip": True}),
        ({"num_stages": 2}, {"label_smoothing": 0.1, "momentum": 0.0}),
    ],
)
def test_trains_as_torch_does(
    scripts: Any, folder: Path, form: dict[str, Any], recipe: dict[str, Any]
) -> None:
    """`train_proxy` on PyTorch's own convolutions, whose sums round otherwise."""
    _, native = scripts
    images = images_of(folder)
    how = ProxyRecipe(epochs=2, batch_size=32, lr=0.02, **recipe)
    config = NasgemNetworkConfig(
        **{"channels": 4, "num_stages": 1, "stem": "imagenet", "num_classes": 3, **form}
    )
    graph = NASGEM(7).sample(np.random.default_rng(4))
    windows = native.prepared(images, how)
    losses = []
    for seed in (3, 8):
        result = native.train_native(graph, config, windows, images.image_size, how, seed)
        network = fresh_network(partial(nasgem_network, graph, config), seed)
        expected = train_proxy(network, images, how, seed=seed)
        assert result.train_loss == pytest.approx(expected.train_loss, rel=1e-4)
        assert result.val_loss == pytest.approx(expected.val_loss, rel=1e-3)
        assert result.val_acc == pytest.approx(expected.val_acc, abs=1.5 / 60)
        assert result.test_acc == pytest.approx(expected.test_acc, abs=1.5 / 60)
        losses.append(result.train_loss)
    assert abs(losses[0] - losses[1]) > 1e-3


@pytest.mark.parametrize(
    "form", [{}, {"channels": 8}, {"channels": 11}, {"num_stages": 2, "cells_per_stage": 2}]
)
@pytest.mark.parametrize("size", [(11, 32), (9, 7)])
def test_logits_and_gradients_are_those_of_the_networks(
    scripts: Any, form: dict[str, Any], size: tuple[int, int]
) -> None:
    """Channels that fill vectors and that do not, and so many images."""
    _, native = scripts
    pixels, count = size
    config = NasgemNetworkConfig(**{"channels": 4, "num_stages": 1, "stem": "imagenet", **form})
    rng = np.random.default_rng(2)
    for graph in NASGEM(5).sample_batch(4, rng):  # deeper ones magnify rounding
        x = torch.from_numpy(rng.normal(size=(count, 3, pixels, pixels)).astype(np.float32))
        y = torch.from_numpy(rng.integers(10, size=count))
        cell = native.NativeCell(graph, config, 5, pixels)
        windows = native.Patches.of(x, y).batch(torch.arange(count))
        gradient = torch.full_like(cell.values, torch.nan)
        logits, loss = cell.run(windows, y, gradient, 0.1)
        network = fresh_network(partial(nasgem_network, graph, config), 5)
        expected = network(x)
        mean = torch.nn.functional.cross_entropy(expected, y, label_smoothing=0.1)
        torch.autograd.backward(mean)
        assert torch.allclose(logits, expected, rtol=1e-3, atol=1e-4)
        assert loss / count == pytest.approx(float(mean.detach()), rel=1e-5)
        own = torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])
        assert float((gradient - own).norm() / own.norm()) < 5e-3


def test_other_stems_are_refused(scripts: Any) -> None:
    with pytest.raises(ConfigError, match="stem must be 'imagenet', but got 'cifar'"):
        scripts[1].NativeCell(
            NASGEM(3).sample(np.random.default_rng(0)), NasgemNetworkConfig(), 1, 8
        )


def test_a_journal_goes_on_and_becomes_a_table(
    scripts: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mini, _ = scripts
    monkeypatch.setattr(mini, "SPACE", NASGEM(5))
    torch.set_num_threads(1)
    setting = mini.Setting(
        image_size=9,
        num_train=128,
        num_val=60,
        num_test=60,
        network=NasgemNetworkConfig(channels=2, num_stages=1, stem="imagenet", num_classes=3),
        recipe=ProxyRecipe(epochs=1, batch_size=64, lr=0.1),
    )
    images = setting.images(str(folder))
    whole, cut = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    assert mini.train(setting, images, whole, 6) == 6
    lines = whole.read_text().splitlines()
    cut.write_text("\n".join(lines[:4]) + "\n" + lines[4][:40])  # killed while writing
    assert mini.train(setting, images, cut, 6) == 3
    halves = [tmp_path / "0.jsonl", tmp_path / "1.jsonl"]
    for k, half in enumerate(halves):
        assert mini.train(setting, images, half, 6, (k, 2)) == 3
    tables = []
    for name, journals in (("whole", [whole]), ("cut", [cut]), ("halves", halves)):
        mini.write(setting, images, journals, tmp_path / f"{name}.parquet")
        tables.append(load_table(tmp_path / f"{name}.parquet"))
    for table in tables:
        assert table.provenance.kind == "self-made" and table.provenance.space == "nasgem"
        assert np.array_equal(table.runs("val_acc"), tables[0].runs("val_acc"))
        assert np.array_equal(table.values("macs"), tables[0].values("macs"))
        assert len(table) == 6
    found = json.loads(lines[1])
    assert NASGEM(5).to_str(tables[0].graphs.data(0)) == found["cell"]
    assert tables[0].runs("test_acc")[0].tolist() == [run["test_acc"] for run in found["runs"]]
    facts = mini.facts_of(setting, images)
    known = mini.published(str(tmp_path / "cut.parquet"), facts)
    more = tmp_path / "more.jsonl"
    assert mini.train(setting, images, more, 8, known=known) == 2
    mini.write(setting, images, [more], tmp_path / "grown.parquet", known)
    grown = load_table(tmp_path / "grown.parquet")
    assert len(grown) == 8
    assert np.array_equal(grown.runs("test_acc")[:6], tables[0].runs("test_acc"))
    assert grown.values("wide").tolist() == [0, 1, 1, 1] * 2
    with pytest.raises(ConfigError, match="must be a table of these settings and images"):
        mini.published(str(tmp_path / "cut.parquet"), {**facts, "draw_seed": 7})
    other = mini.Setting(**{**setting.__dict__, "num_train": 100})
    with pytest.raises(ConfigError, match="must be a journal of these settings and images"):
        mini.train(other, other.images(str(folder)), whole, 6)


def test_agreement_of_seeds_is_told_from_the_spread_of_cells(scripts: Any) -> None:
    rng = np.random.default_rng(1)
    cells = rng.normal(0.3, 0.03, 4000)
    runs = cells[:, None] + rng.normal(0, 0.01, (4000, 2))
    records = [
        {"macs": k, "runs": [{"val_acc": v, "test_acc": v} for v in row]}
        for k, row in enumerate(runs.tolist())
    ]
    found = scripts[0].quality(records)
    assert found["deviation between cells"] == pytest.approx(0.03, rel=0.05)
    assert found["deviation between seeds"] == pytest.approx(0.01, rel=0.05)
    # of two normals with correlation .9
    assert found["tau between seeds, test"] == pytest.approx(2 / np.pi * np.arcsin(0.9), abs=0.02)


def test_the_shipped_table_goes_on_where_it_is(scripts: Any) -> None:
    """Its cells are the draw's, its recipe the script's, and its two seeds agree."""
    mini, _ = scripts
    table = load_table("nasgem-mini")
    assert table.provenance.kind == "self-made" and table.provenance.space == "nasgem"
    recipe = dict(table.provenance.recipe or {})
    plain = json.loads(json.dumps(asdict(mini.Setting())))
    assert {name: recipe[name] for name in plain} == plain
    recipe.pop("torch")
    known = mini.published("nasgem-mini", recipe)
    drawn = dict(islice(mini.drawn(), 300))
    assert [*drawn] == [*known][:300]  # so all the others are drawn likewise
    assert all(known[cell]["wide"] == wide for cell, wide in drawn.items())
    assert mini.quality(list(known.values()))["tau between seeds, test"] > 0.55
    for k in (0, len(table) // 2, len(table) - 1):
        network = nasgem_network(table[k], mini.Setting().network)
        assert num_params(network) == table.values("num_params")[k]
        assert num_macs(network, (3, 12, 12)) == table.values("macs")[k]
