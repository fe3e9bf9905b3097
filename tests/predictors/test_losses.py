"""Losses against loops over pairs and lists."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from gnas.predictors.losses import LOSSES, MARGIN, affine_match, hinge

ALL = pytest.mark.parametrize("name", sorted(LOSSES))


def scores(n: int = 12, members: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Predictions [members, n] and targets [n], of which the last three are equal."""
    generator = torch.Generator().manual_seed(seed)
    predicted = torch.randn(members, n, generator=generator, dtype=torch.float64)
    targets = torch.randn(n, generator=generator, dtype=torch.float64)
    targets[-3:] = targets[-1].item()
    return predicted, targets


def over_pairs(p: list[float], t: list[float], of_pair: Callable[[float], float]) -> float:
    pairs = [(i, j) for i in range(len(t)) for j in range(len(t)) if t[i] > t[j]]
    return sum(of_pair(p[i] - p[j]) for i, j in pairs) / len(pairs)


def naive(name: str, p: list[float], t: list[float]) -> float:
    n = len(t)
    if name == "squared":
        return sum((a - b) ** 2 for a, b in zip(p, t, strict=True)) / n
    if name == "bce":
        return over_pairs(p, t, lambda d: -math.log(1 / (1 + math.exp(-d))))
    if name == "hinge":
        return over_pairs(p, t, lambda d: max(0.0, MARGIN - d))
    total = 0.0
    for i in range(n):
        left = sum(math.exp(p[j]) for j in range(n) if t[j] <= t[i])
        total -= math.log(math.exp(p[i]) / left)
    return total / n


@ALL
def test_equals_the_loop(name: str) -> None:
    predicted, targets = scores()
    found = LOSSES[name](predicted, targets)
    expected = [naive(name, row, targets.tolist()) for row in predicted.tolist()]
    assert found.tolist() == pytest.approx(expected, abs=1e-12)
    assert LOSSES[name](predicted[0], targets).item() == pytest.approx(expected[0], abs=1e-12)


@ALL
def test_does_not_depend_on_the_order_of_the_list(name: str) -> None:
    predicted, targets = scores()
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(1))
    mixed = LOSSES[name](predicted[:, order], targets[order])
    assert torch.allclose(mixed, LOSSES[name](predicted, targets), atol=1e-12)


@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"squared"}))
def test_ranking_losses_see_differences_only_and_fall_towards_the_right_order(name: str) -> None:
    predicted, targets = scores()
    loss = LOSSES[name]
    assert torch.allclose(loss(predicted + 7, targets), loss(predicted, targets), atol=1e-12)
    assert loss(targets, targets) < loss(predicted, targets).min()
    assert loss(predicted, targets).min() < loss(-targets, targets)


@ALL
@pytest.mark.parametrize("targets", [[0.3], [1.0, 1.0], [0.0, 1.0]])
def test_is_finite_with_finite_gradients(name: str, targets: list[float]) -> None:
    predicted = torch.full((len(targets),), 80.0, requires_grad=True)
    loss = LOSSES[name](predicted, torch.tensor(targets))
    (gradient,) = torch.autograd.grad(loss, predicted)
    assert loss.isfinite() and gradient.isfinite().all()


def test_hinge_is_zero_once_all_are_a_margin_apart() -> None:
    targets = torch.tensor([2.0, 1.0, 0.0])
    assert hinge(targets, targets).item() == 0
    assert hinge(targets, targets, margin=1.5).item() == pytest.approx(1 / 3)


def test_matched_scores_have_the_targets_mean_and_deviation() -> None:
    predicted, targets = scores()
    slope, intercept = affine_match(predicted * 30 - 5, targets)
    on_scale = slope[:, None] * (predicted * 30 - 5) + intercept[:, None]
    assert torch.allclose(on_scale.mean(1), targets.mean())
    assert torch.allclose(on_scale.std(1, correction=0), targets.std(correction=0))
    assert torch.equal(on_scale.argsort(1), predicted.argsort(1))


def test_scores_that_are_all_equal_are_only_shifted() -> None:
    _, targets = scores()
    slope, intercept = affine_match(torch.full_like(targets, 0.7), targets)
    assert slope.item() == 1
    assert (0.7 + intercept).item() == pytest.approx(targets.mean().item())
