"""Relaxations against literal versions of their papers' equations."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from gnas.search.toponas.relaxations import (
    RELAXATIONS,
    Dirichlet,
    GumbelSoftmax,
    Softmax,
    edge_normalisation,
    logsumexp_penalty,
)

ALPHA = torch.randn(5, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def seeded(draw: object, seed: int = 7) -> Tensor:
    torch.manual_seed(seed)
    assert callable(draw)
    out: Tensor = draw()
    return out


@pytest.mark.parametrize("name", RELAXATIONS)
@pytest.mark.parametrize("samples", [0, 1, 3])
def test_weights_are_a_mean_of_choices(name: str, samples: int) -> None:
    relaxation = RELAXATIONS[name](samples)  # type: ignore[index]
    for found in (relaxation.mean(ALPHA), relaxation.weights(ALPHA, 0.7)):
        assert found.shape == ALPHA.shape and bool((found >= 0).all())
        torch.testing.assert_close(found.sum(1), torch.ones(5, dtype=torch.float64))
    state = torch.get_rng_state()
    relaxation.weights(ALPHA, 0.7)
    assert relaxation.draws == (not torch.equal(state, torch.get_rng_state()))


def test_softmax_is_that_of_darts() -> None:
    found = Softmax().weights(ALPHA, 3.0)
    for e in range(5):
        total = sum(math.exp(a) for a in ALPHA[e].tolist())
        for o in range(4):
            assert float(found[e, o]) == pytest.approx(math.exp(float(ALPHA[e, o])) / total)


def gdas(alpha: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """The sampling of GDAS' published code, word for word but for its retries: hard, relaxed."""
    gumbels = -torch.empty_like(alpha).exponential_().log()
    logits = (alpha.log_softmax(dim=1) + gumbels) / temperature
    probs = F.softmax(logits, dim=1)
    index = probs.max(-1, keepdim=True)[1]
    one_h = torch.zeros_like(logits).scatter_(-1, index, 1.0)
    return one_h - probs.detach() + probs, probs


@pytest.mark.parametrize("temperature", [10.0, 1.0, 0.1])
def test_gumbel_equals_the_code_of_gdas(temperature: float) -> None:
    direction = torch.randn(5, 4, dtype=torch.float64)
    slopes = []
    for draw in (
        lambda a: GumbelSoftmax(1).weights(a, temperature),
        lambda a: gdas(a, temperature)[0],
        lambda a: GumbelSoftmax(0).weights(a, temperature),
        lambda a: gdas(a, temperature)[1],
    ):
        alpha = ALPHA.clone().requires_grad_()
        out = seeded(lambda draw=draw, alpha=alpha: draw(alpha))
        slopes.append((out.detach(), *torch.autograd.grad((out * direction).sum(), alpha)))
    for ours, theirs in (slopes[:2], slopes[2:]):
        torch.testing.assert_close(ours[0], theirs[0])
        torch.testing.assert_close(ours[1], theirs[1])
    hard = slopes[0][0]
    assert set(hard.flatten().tolist()) == {0.0, 1.0}  # exact, so that the rest is not computed


def test_several_draws_are_independent_and_have_the_right_frequencies() -> None:
    found = torch.stack(
        [seeded(lambda: GumbelSoftmax(4).weights(ALPHA, 0.5), k) for k in range(800)]
    )
    assert {0.0, 0.25, 0.5, 0.75, 1.0} == set(found.flatten().tolist())
    # the Gumbel-max trick: an operation is drawn with its softmax probability
    expected = ALPHA.softmax(1)
    deviation = (expected * (1 - expected) / 3200).sqrt()
    assert bool(((found.mean(0) - expected).abs() < 4.5 * deviation).all())


def test_dirichlet_has_its_moments_and_its_gradient() -> None:
    relaxation = Dirichlet()
    concentration = F.elu(ALPHA) + 1
    torch.testing.assert_close(
        relaxation.mean(ALPHA),
        concentration / concentration.sum(1, keepdim=True),
        rtol=1e-5,
        atol=0,
    )
    repeated = ALPHA.repeat(4000, 1)
    draws = seeded(lambda: relaxation.weights(repeated, 1.0), 0).view(4000, 5, 4)
    total = concentration.sum(1, keepdim=True)
    mean = concentration / total
    variance = mean * (1 - mean) / (total + 1)
    assert bool(((draws.mean(0) - mean).abs() < 4.5 * (variance / 4000).sqrt() + 1e-5).all())
    torch.testing.assert_close(draws.var(0), variance, rtol=0.2, atol=2e-4)
    # the mean gradient of the draws is the gradient of the mean
    alpha = ALPHA.clone().requires_grad_()
    direction = torch.randn(5, 4, dtype=torch.float64)
    torch.manual_seed(0)
    many = relaxation.weights(alpha.repeat(6000, 1), 1.0).view(6000, 5, 4).mean(0)
    (found,) = torch.autograd.grad((many * direction).sum(), alpha)
    (exact,) = torch.autograd.grad((relaxation.mean(alpha) * direction).sum(), alpha)
    torch.testing.assert_close(found, exact, rtol=0.15, atol=0.02)


def test_dirichlet_survives_any_alpha() -> None:
    found = Dirichlet().weights(torch.tensor([[-200.0, -200.0, 5.0]]), 1.0)
    assert bool(found.isfinite().all())


def test_edges_are_normalised_by_target_as_in_pc_darts() -> None:
    targets = torch.tensor([2, 2, 3, 3, 3])
    logits = torch.tensor([0.3, -1.0, 2.0, 500.0, 499.0], requires_grad=True)
    found = edge_normalisation(logits, targets)
    expected = torch.cat([logits[:2].softmax(0), logits[2:].softmax(0)])
    torch.testing.assert_close(found, expected)
    direction = torch.randn(5)
    (ours,) = torch.autograd.grad((found * direction).sum(), logits)
    (theirs,) = torch.autograd.grad((expected * direction).sum(), logits)
    torch.testing.assert_close(ours, theirs)


def test_penalty_of_beta_darts() -> None:
    rows = [math.log(sum(math.exp(a) for a in row)) for row in ALPHA.tolist()]
    assert float(logsumexp_penalty(ALPHA)) == pytest.approx(sum(rows) / len(rows))
