from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from gnas.data.images.parts import ImageParts, load_images
from gnas.errors import ConfigError
from gnas.training.evaluation import evaluate
from gnas.training.recipe import ProxyRecipe
from gnas.training.short import ProxyResult, fresh_network, train_proxy


@pytest.fixture(scope="module")
def digits() -> ImageParts:
    return load_images("digits", num_train=600, num_val=300, num_test=300)


def small_network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(128, 10),
    )


def test_training_learns(digits: ImageParts) -> None:
    recipe = ProxyRecipe(epochs=5, batch_size=32, lr=0.05)
    result = train_proxy(fresh_network(small_network, 1), digits, recipe, seed=1)
    assert result.val_acc > 0.85 and result.test_acc > 0.85
    assert result.val_loss < 0.6 and result.train_loss < 0.6 and result.train_time_s > 0


class Rests(nn.Module):
    """A network one of whose layers takes part in every second step alone."""

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.layer, self.last = 0, nn.Linear(64, 64), nn.Linear(64, 10)
        self.norm = nn.BatchNorm1d(64)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = images.flatten(1)
        self.calls += 1
        x = x if self.calls % 2 else self.layer(x).relu()
        logits: torch.Tensor = self.last(self.norm(x))
        return logits


def test_layers_that_rest_in_some_steps(digits: ImageParts) -> None:
    network = fresh_network(Rests, 1)
    assert isinstance(network, Rests)
    before = network.layer.weight.clone()
    train_proxy(network, digits, ProxyRecipe(epochs=1), seed=1)
    assert not torch.equal(network.layer.weight, before)
    assert network.norm.num_batches_tracked == 3  # 600 images in batches of 256: anew


class Drops(nn.Module):
    """Draws from a generator of the program's; ``fraction()`` is in [0, 1)."""

    def __init__(self, fraction: Callable[[], float]) -> None:
        super().__init__()
        self.fraction = fraction
        self.scale = nn.Parameter(torch.tensor([1 + fraction()]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale * (1.1 if self.training and self.fraction() < 0.5 else 1)


LEGACY = np.random.mtrand._rand
"""The global generator of NumPy."""


def states() -> tuple[Any, ...]:
    return random.getstate(), LEGACY.get_state(legacy=False)["state"]["key"].tolist()


@pytest.mark.parametrize(
    "layer",
    [lambda: nn.Dropout(0.1), lambda: Drops(random.random), lambda: Drops(LEGACY.rand)],
    ids=["torch", "random", "numpy"],
)
def test_same_seed_same_bits_and_the_global_generators_are_left_alone(
    digits: ImageParts, layer: Callable[[], nn.Module]
) -> None:
    """Although the network draws, and the program too."""

    def build() -> nn.Module:
        return nn.Sequential(small_network(), layer())

    def train(seed: int) -> ProxyResult:
        torch.rand(seed), random.random(), LEGACY.rand()
        before, state = states(), torch.random.get_rng_state()
        found = train_proxy(fresh_network(build, seed), digits, recipe, seed=seed)
        assert torch.equal(torch.random.get_rng_state(), state)
        assert states() == before
        return found

    recipe = ProxyRecipe(epochs=1, flip=True)
    first, second, other = map(train, (3, 3, 4))
    assert (first.val_loss, first.train_loss) == (second.val_loss, second.train_loss)
    assert first.val_loss != other.val_loss


def test_evaluation_counts_every_image_once() -> None:
    class Constant(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.tensor([0.0, 1.0]).expand(len(x), 2)

    y = torch.tensor([1] * 300 + [0] * 100)
    parts = (torch.split(part, 150) for part in (torch.zeros(400, 1, 2, 2), y))
    batches = zip(*parts, strict=True)
    found = evaluate(Constant(), batches, 2)
    reference = nn.functional.cross_entropy(torch.tensor([[0.0, 1.0]]).expand(400, 2), y)
    assert found.acc == 0.75 and found.count == 400
    assert found.confusion.tolist() == [[0, 100], [0, 300]]
    assert found.loss == pytest.approx(float(reference), rel=1e-6)


def test_recalibration_gives_the_statistics_of_the_final_weights(digits: ImageParts) -> None:
    """With all images in the estimate, evaluation equals normalising by the whole set."""
    network = fresh_network(small_network, 0)
    train_proxy(network, digits, ProxyRecipe(epochs=1, recalibrate=100), seed=0)
    x = digits.pixels("train").x.float()
    x = (x - x.mean()) / x.std()
    convolution, norm = network[0], network[1]  # type: ignore[index]
    expected = convolution(x).mean((0, 2, 3))
    assert torch.allclose(norm.running_mean, expected, atol=2e-2)


def test_a_diverging_training_is_reported_not_hidden(digits: ImageParts) -> None:
    recipe = ProxyRecipe(epochs=1, lr=100.0, gradient_clip=1e9)
    result = train_proxy(fresh_network(small_network, 0), digits, recipe, seed=0)
    assert not result.train_loss < 1e3
    assert result.val_acc < 0.3


def test_label_smoothing_keeps_the_loss_above_the_entropy_of_its_labels(
    digits: ImageParts,
) -> None:
    plain, smoothed = (
        train_proxy(
            fresh_network(small_network, 0),
            digits,
            ProxyRecipe(epochs=5, batch_size=32, lr=0.05, label_smoothing=smoothing),
            seed=0,
        )
        for smoothing in (0.0, 0.5)
    )
    shares = torch.tensor([0.55] + 9 * [0.05])  # of a label smoothed over ten classes by 0.5
    assert plain.train_loss < 1 < -float((shares * shares.log()).sum()) < smoothed.train_loss


@pytest.mark.parametrize(
    ("field", "value"),
    [("epochs", 0), ("batch_size", 0), ("lr", 0.0), ("lr", float("nan")), ("warmup", 1.0)],
)
def test_impossible_recipes(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=field):
        ProxyRecipe(**{field: value})  # type: ignore[arg-type]
