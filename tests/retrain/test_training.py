from __future__ import annotations

import copy
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from gnas.errors import ConfigError, DataError, GnasError
from gnas.retrain import RetrainConfig, retrain, retrain_cifar10, retrain_imagenet
from gnas.retrain.plan import network_of
from gnas.retrain.state import RetrainState
from gnas.retrain.trainings import plan_trainings
from gnas.training.checkpoints import Checkpoints
from gnas.training.evaluation import evaluate
from tests import commands
from tests.conftest import ROOT
from tests.retrain import ranks
from tests.retrain.conftest import GENOTYPE, SPACE, make_images, tiny, train


def start(module: str, folder: Path) -> str:
    done = commands.run(
        [sys.executable, "-m", module, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def without_time(path: Path) -> list[dict[str, Any]]:
    return [{**json.loads(line), "seconds": 0} for line in path.read_text().splitlines()]


def same(first: nn.Module, second: nn.Module) -> bool:
    others = second.state_dict()
    return all(torch.equal(value, others[key]) for key, value in first.state_dict().items())


def far(weights: dict[str, torch.Tensor], network: nn.Module) -> float:
    """Largest relative difference of a parameter, in its norm."""
    return max(
        float(
            (weights[key] - p).detach().norm() / (p.detach().norm() + 1e-6)
        )  # some are 0 but for rounding
        for key, p in network.named_parameters()
    )


def test_the_papers_recipes() -> None:
    cifar, imagenet = retrain_cifar10(), retrain_imagenet()
    assert (cifar.epochs, cifar.batch_size, cifar.lr, cifar.weight_decay) == (600, 96, 0.025, 3e-4)
    assert (cifar.cutout, cifar.drop_path, cifar.auxiliary_weight) == (16, 0.2, 0.4)
    assert [cifar.lr_at(epoch) for epoch in (0, 300)] == pytest.approx([0.025, 0.0125])
    assert [cifar.drop_path_at(epoch) for epoch in (0, 300, 599)] == pytest.approx(
        [0, 0.1, 0.2 * 599 / 600]
    )
    assert (imagenet.epochs, imagenet.batch_size, imagenet.weight_decay) == (250, 1024, 3e-5)
    assert (imagenet.label_smoothing, imagenet.auxiliary_weight) == (0.1, 0.4)
    assert [imagenet.lr_at(epoch) for epoch in (0, 4, 125, 249)] == pytest.approx(
        [0.1, 0.5 * 246 / 250, 0.25, 0.002]
    )


def test_it_learns_and_repeats_itself_and_leaves_the_generator_alone() -> None:
    state = torch.get_rng_state()
    config = tiny(epochs=25, channels=8, drop_path=0.1)
    short = replace(config, epochs=3)
    first, second, other = train(short), train(short), train(replace(short, seed=1))
    assert same(first.network, second.network) and not same(first.network, other.network)
    learned = train(config)
    assert torch.equal(torch.get_rng_state(), state)
    assert learned.epochs[-1]["train_loss"] < 0.6 * learned.epochs[0]["train_loss"]
    assert learned.test.acc > 0.7
    assert learned.best is None and "test_acc" not in learned.epochs[-1]


def test_one_step_is_what_the_recipe_says() -> None:
    """Against torch's own modules: smoothing, auxiliary loss, clipping, decay, momentum."""
    config = tiny(label_smoothing=0.1, gradient_clip=0.3, weight_decay=0.01, drop_path=0.0)
    images = make_images()
    before = train(config, images, report=lambda progress: None).network
    reference = train(config, images).network
    training = RetrainState(before, config, "cpu")
    training.step = 3  # the second epoch
    x, y = next(images.eval_batches("train", 8))
    training.learn((x, y), 1)

    reference.train()
    optimizer = torch.optim.SGD(
        reference.parameters(), lr=config.lr_at(1), momentum=0.9, weight_decay=0.01
    )
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    logits, second = reference(x)
    loss = criterion(logits, y) + 0.4 * criterion(second, y)
    loss.backward()
    norm = nn.utils.clip_grad_norm_(reference.parameters(), 0.3)
    assert norm > 0.3
    optimizer.step()
    for a, b in zip(before.parameters(), reference.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)
    assert training.sums[0].item() == pytest.approx(loss.item(), rel=1e-5)


def test_accumulated_pieces_are_one_batch_where_images_are_independent() -> None:
    images = make_images()
    x, y = next(images.eval_batches("train", 8))
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    other = copy.deepcopy(network)
    RetrainState(network, tiny(), "cpu").learn((x, y), 0)
    RetrainState(other, tiny(accumulate=4), "cpu").learn((x, y), 0)
    assert far(dict(other.named_parameters()), network) < 1e-5


def test_variants_of_speed_do_not_change_what_is_learned() -> None:
    plain = train(tiny(drop_path=0.0))
    last = train(tiny(drop_path=0.0, channels_last=True))
    assert last.epochs[0]["train_loss"] == pytest.approx(plain.epochs[0]["train_loss"], rel=1e-3)
    half = train(tiny(drop_path=0.0, precision="bfloat16"))
    assert half.epochs[0]["train_loss"] == pytest.approx(plain.epochs[0]["train_loss"], rel=0.05)
    assert half.epochs != plain.epochs


def test_a_killed_training_ends_with_the_bits_of_an_undisturbed_one(tmp_path: Path) -> None:
    lines = [[int(word) for word in line.split()] for line in
             start("tests.retrain.killed", tmp_path).splitlines()]  # fmt: skip
    assert [line[0] for line in lines] == [-9] * 6 + [0, 0]
    steps = [line[-1] for line in lines]
    assert steps == sorted(steps) and steps[-3] < 40
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    tensors, facts = Checkpoints(whole / "checkpoint").load()
    others, _ = Checkpoints(killed / "checkpoint").load()
    assert facts["step"] == 40 and tensors.keys() == others.keys()
    assert {k.split(".")[0] for k in tensors} == {"w", "best", "sgd", "sums"}
    for name in tensors:
        assert torch.equal(tensors[name], others[name]), name
    metrics = without_time(whole / "metrics.jsonl")
    assert metrics == without_time(killed / "metrics.jsonl") and len(metrics) == 20
    assert ["test_acc" in epoch for epoch in metrics[:8]] == [False] * 6 + [True, False]
    assert not [path for path in killed.rglob("*") if path.name.endswith(".tmp")]


def test_two_processes(tmp_path: Path) -> None:
    start("tests.retrain.ranks", tmp_path)

    def of(name: str, rank: int = 0) -> dict[str, torch.Tensor]:
        return load_file(tmp_path / f"{name}-{rank}.safetensors")

    for name in ranks.CONFIGS:
        first, second = of(name), of(name, 1)
        assert all(torch.equal(first[key], second[key]) for key in first), name
    assert all(torch.equal(of("halves")[key], of("resumed")[key]) for key in of("halves"))
    for name, pieces in (("halves", 2), ("quarters", 4), ("dead_end", 2)):
        options = ranks.options_of(name)
        alone = train(replace(ranks.CONFIGS[name], accumulate=pieces), **options)
        assert far(of(name), alone.network) < 0.01
        whole = train(replace(ranks.CONFIGS[name], accumulate=1), **options)
        assert far(of(name), whole.network) > 0.1
        acc, loss, count = of(name)["test"].tolist()
        assert count == 16 and acc == pytest.approx(alone.test.acc, abs=0.13)
        assert loss == pytest.approx(alone.test.loss, rel=0.2)
    result = json.loads((tmp_path / "digits" / "result.json").read_text())
    assert result["rows"][0]["repeats"] == 2
    assert (tmp_path / "digits" / "seed-1" / "weights" / "model.safetensors").exists()
    for rank in (0, 1):  # started with different seeds
        said = (tmp_path / f"refused-{rank}").read_text()
        assert "2 processes must have the same settings and images" in said
    assert not (tmp_path / "other" / "config.json").exists()


def test_best_weights_only_where_images_are_held_out() -> None:
    images = make_images(val_share=0.34)
    assert [len(images.rows[part]) for part in ("train", "val", "test")] == [16, 8, 16]
    result = train(tiny(epochs=6), images)
    shares = [epoch["val_acc"] for epoch in result.epochs]
    assert result.best_epoch == 1 + shares.index(max(shares))
    assert result.best is not None and result.best_test is not None
    found = evaluate(result.best, images.eval_batches("val", 3), 4)
    assert found.acc == max(shares) and found.count == 8


def test_losses_that_are_not_finite() -> None:
    with pytest.raises(
        GnasError, match=r"must be finite, but up to step \d+ one is not; lower lr"
    ):
        train(tiny(lr=100.0, gradient_clip=1e9, epochs=8))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, but got 0"),
        ({"epochs": 2.5}, "epochs must be a whole number, but got 2.5"),
        ({"layers": 0}, "layers must be at least 1, but got 0"),
        ({"lr": 0}, "lr must be positive"),
        ({"lr": float("nan")}, "lr must be a finite number, but got nan"),
        ({"schedule": "step"}, "schedule must be one of cosine, linear, but got 'step'"),
        ({"drop_path": 1.0}, r"drop_path must be below 1, but got 1\.0"),
        ({"cutout": -1}, "cutout must be at least 0"),
        ({"flip": 1}, "flip must be true or false, but got 1"),
        ({"batch_size": 9, "accumulate": 2}, "batch_size must be a multiple of accumulate"),
    ],
)
def test_impossible_recipes(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RetrainConfig(**change)


@pytest.mark.parametrize("layers", [8.0, "8,10", ""])
def test_impossible_numbers_of_layers(layers: Any) -> None:
    with pytest.raises(ConfigError, match=f"layers must be a whole .* but got {layers!r}"):
        plan_trainings("digits", layers=layers)


def test_networks_for_other_images() -> None:
    images, graph = make_images(), SPACE.from_str(GENOTYPE)
    size = network_of(SPACE, tiny(), in_channels=1, num_classes=4)
    with pytest.raises(ConfigError, match=r"in_channels=3 and num_classes=4, .* but has 1 and 4"):
        retrain(SPACE, graph, size, images, tiny())


def test_batches_that_do_not_fit() -> None:
    with pytest.raises(ConfigError, match="batch_size must be between 1 and the 24 images"):
        train(tiny(batch_size=25))
    with pytest.raises(DataError, match="every class must keep images to train on, but class 0"):
        make_images(val_share=0.95)
