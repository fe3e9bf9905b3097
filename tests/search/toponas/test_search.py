from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from gnas.data.images.loading import Batch, Batches
from gnas.errors import ConfigError, DataError, GnasError
from gnas.search.toponas import ArchParameters, SupernetSearchResult, search_toponas, toponas_space
from gnas.spaces.supernets import SupernetConfig
from gnas.spaces.toponas import TopoNAS
from gnas.spaces.toponas.genotype import Genotype
from gnas.topology import is_valid
from tests.models.plain_supernet import PlainSupernet
from tests.search.toponas.conftest import (
    TINY,
    SmallSupernet,
    make_images,
    make_loaders,
    search,
    tiny,
)

NETWORK: dict[str, Any] = {
    k: TINY[k] for k in ("channels", "num_cells", "num_nodes", "stem_multiplier")
}


@pytest.mark.parametrize("mode", ["output", "input"])
@pytest.mark.parametrize("topology", ["arbitrary", "fixed", "none"])
@pytest.mark.parametrize("update", ["alternating", "joint"])
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("method", ["darts", "milenas"])
def test_every_way_to_search(
    method: str, order: int, update: str, topology: str, mode: str
) -> None:
    config = tiny(method=method, order=order, update=update, topology=topology, mode=mode)
    result = search(replace(config, epochs=1))
    toponas_space(config).validate(result.architecture)
    assert set(result.derived.values()) <= {"argmax", "best valid"}
    assert Genotype.parse(str(result.genotype)) == result.genotype
    assert math.isfinite(result.metrics["train_loss"])
    assert ("beta.normal" in result.history) == (topology != "none")
    for name, values in result.history.items():
        moved = not torch.equal(values[0], values[1])
        assert moved == (not (name.startswith("scale") and topology == "none")), name


@pytest.mark.parametrize("topology", ["arbitrary", "none"])
def test_a_supernet_of_cells_learns(topology: str) -> None:
    result = search(tiny(epochs=8, topology=topology), build=PlainSupernet)
    losses = [epoch["train_loss"] for epoch in result.epochs]
    assert losses[-1] < 0.5 * losses[0] and result.metrics["val_acc"] > 0.6
    network = PlainSupernet(SupernetConfig(**NETWORK, num_classes=4))
    assert result.supernet_params == sum(p.numel() for p in network.parameters())


def test_same_seed_same_bits_and_the_global_generator_is_left_alone() -> None:
    state = torch.random.get_rng_state()
    first, second, other = (search(tiny(seed=seed)) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), state)

    def facts(result: SupernetSearchResult) -> list[dict[str, Any]]:
        return [{**epoch, "seconds": 0} for epoch in result.epochs]

    assert facts(first) == facts(second) != facts(other)
    assert all(torch.equal(first.history[k], second.history[k]) for k in first.history)


def test_metrics_say_what_happened() -> None:
    result = search(tiny(epochs=3))
    assert [epoch["epoch"] for epoch in result.epochs] == [1, 2, 3]
    assert [epoch["step"] for epoch in result.epochs] == [2, 4, 6]
    assert result.epochs[0]["lr"] == 0.1 > result.epochs[1]["lr"] > result.epochs[2]["lr"]
    assert result.history["alpha.normal"].shape == (4, 5, 7)
    assert result.history["scale.normal"][0].tolist() == pytest.approx([1] * 5)
    last = result.metrics
    alpha = result.history["alpha.reduce"][-1].softmax(1)
    assert last["alpha_entropy_reduce"] == pytest.approx(
        float(-(alpha * alpha.log()).sum(1).mean())
    )
    assert last["genotype"] == str(result.genotype)
    assert last["edges_normal"] == sum(len(node) for node in result.genotype.normal)
    ops = [op for node in result.genotype.normal for op, _ in node]
    assert last["skip_share_normal"] == ops.count("skip_connect") / len(ops)
    assert 0 <= last["invalid_mass_normal"] < 1 and 0 <= last["train_acc"] <= 1


def test_an_invalid_argmax_is_replaced_by_the_best_valid_topology() -> None:
    arch = ArchParameters(tiny(topology="fixed", k=1))
    with torch.no_grad():  # nodes 0 and 1 choose node 3; node 2 has no other; so node 2 starves
        for cell in ("normal", "reduce"):
            beta = arch.distribution(cell)
            beta.logits.copy_(torch.tensor([0.0, 3.0, 0.0, 2.0, 0.0]))
    cells = arch.derive()
    assert cells["normal"].how == "best valid"
    assert bool(is_valid(cells["normal"].edges, 5))
    # giving up node 1's choice costs 2, node 0's 3
    assert cells["normal"].edges.tolist() == [False, True, True, False, True]


def test_baselines_keep_the_edges_of_the_largest_weights() -> None:
    generator = torch.Generator().manual_seed(0)
    arch = ArchParameters(tiny(topology="none", mode="input", num_nodes=7))
    with torch.no_grad():
        for alpha in arch.alphas():
            alpha.copy_(torch.randn(14, 8, generator=generator))
    weights = arch.alpha["normal"].softmax(1)[:, :-1]  # without none
    strength = weights.amax(1).tolist()
    kept = arch.derive()["normal"].edges.tolist()
    start = 0
    for node in range(2, 6):
        own = range(start, start + node)
        best = sorted(own, key=lambda e: -strength[e])[:2]
        assert [e for e in own if kept[e]] == sorted(best)
        start += node


def test_collapse_is_told_and_can_stop_the_search(caplog: pytest.LogCaptureFixture) -> None:
    class Skipping(nn.Module):
        """Every loss falls with the weight of skip connections."""

        def __init__(self, config: SupernetConfig) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.zeros(config.num_classes))

        def forward(self, images: Any, normal: Any, reduce: Any) -> Any:
            right = torch.nn.functional.one_hot(self.labels(images), 4)
            return self.w + 50 * normal.ops[:, 2].mean() * right + 0 * reduce.ops.sum()

        def labels(self, images: Any) -> Any:
            return torch.zeros(len(images), dtype=torch.int64)

    config = tiny(epochs=6, arch_lr=0.5, stop_skip_share=0.9)
    loaders = replace_labels(make_loaders(config))
    with caplog.at_level(logging.WARNING):
        result = search(config, build=Skipping, loaders=loaders)
    assert len(result.epochs) < 6 and result.metrics["skip_share_normal"] == 1
    assert result.stopped is not None and "100% of the normal cell's edges" in result.stopped
    assert "the search collapses: after epoch 1" in caplog.text
    assert "stopped early: 100%" in caplog.text
    caplog.clear()
    assert (
        search(replace(config, stop_skip_share=None), build=Skipping, loaders=loaders).stopped
        is None
    )
    assert caplog.text.count("collapses") == 1  # told once


class Relabelled:
    """Batches in which every label is 0."""

    def __init__(self, inner: Batches) -> None:
        self.inner, self.batches_per_epoch = inner, inner.batches_per_epoch

    def iter_from(self, start: int) -> Iterator[Batch]:
        for x, y in self.inner.iter_from(start):
            yield x, torch.zeros_like(y)


def replace_labels(loaders: Any) -> Any:
    return replace(
        loaders,
        train=Relabelled(loaders.train),
        alpha=Relabelled(loaders.alpha),
        beta=Relabelled(loaders.beta),
    )


def test_a_loss_that_is_not_finite() -> None:
    class Diverging(SmallSupernet):
        calls = 0

        def forward(self, *args: Any) -> Any:
            self.calls += 1
            return super().forward(*args) * (math.inf if self.calls > 7 else 1)

    with pytest.raises(GnasError, match=r"finite, but up to step 3 .* lower lr \(0.1\)"):
        search(tiny(), build=Diverging)


def test_running_out_of_memory_names_the_settings() -> None:
    class Hungry(SmallSupernet):
        def forward(self, images: Any, *args: Any) -> Any:
            torch.empty(2**60, dtype=torch.uint8)
            return super().forward(images, *args)

    with pytest.raises(ConfigError, match=r"out of memory: raise accumulate \(now 1.*recompute"):
        search(tiny(), build=Hungry)

    class Broken(SmallSupernet):
        def forward(self, images: Any, *args: Any) -> Any:
            raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        search(tiny(), build=Broken)


def test_what_does_not_fit_together() -> None:
    config = tiny()
    loaders = make_loaders(config)
    with pytest.raises(ConfigError, match=r"space must be .*num_nodes=5.* got .*num_nodes=6"):
        search_toponas(TopoNAS(6), loaders, config)
    with pytest.raises(ConfigError, match=r"beta must have batches of its own .* no loader"):
        search(config, loaders=replace(loaders, beta=None))
    with pytest.raises(ConfigError, match=r"beta must have batches .*'joint' and loader of beta"):
        search(tiny(update="joint"), loaders=loaders)
    with pytest.raises(ConfigError, match=r"at least 32 pixels .* imagenet stem, but are 8"):
        search(tiny(stem="imagenet"))
    with pytest.raises(
        DataError, match=r"must hold images \[B, 3, 16, 16\] .* got \[8, 3, 8, 8\]"
    ):
        search(config, loaders=replace(loaders, image_size=16))
    with pytest.raises(DataError, match=r"must hold images \[B, 1, 8, 8\]"):
        search(config, loaders=replace(loaders, in_channels=1))
    with pytest.raises(ConfigError, match="at least 4 pixels"):
        search(config, loaders=replace(loaders, image_size=2))
    with pytest.raises(ConfigError, match="between 1 and the 16 images of the smallest part"):
        make_loaders(tiny(batch_size=17))


def test_too_few_images_for_three_parts() -> None:
    with pytest.raises(DataError, match=r"at least 3 images, one for each part .* class 3 has 2"):
        make_images(11)


def test_the_search_has_the_name_that_stays() -> None:
    import gnas.search

    assert gnas.search.search_toponas is search_toponas
    assert set(gnas.search.__all__) <= set(dir(gnas.search))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = gnas.search.nonsense
