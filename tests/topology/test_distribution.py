from __future__ import annotations

import time
from typing import Any

import pytest
import torch
from torch import Tensor

from gnas.errors import ConfigError
from gnas.topology import TopologyDistribution, enumerate_joint, is_valid

OPTIONS: list[dict[str, Any]] = [
    {"space": "fixed", "k": 1},
    {"space": "fixed", "k": 2},
    {"space": "fixed", "k": 3},
    {"space": "arbitrary"},
    {"space": "fixed", "k": 2, "mode": "input"},
    {"space": "arbitrary", "mode": "input", "num_nodes": 6},
    {"space": "arbitrary", "num_nodes": 5},
]


def drawn(options: dict[str, Any], seed: int, scale: float = 2.0) -> TopologyDistribution:
    distribution = TopologyDistribution(**options).double()
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(distribution.logits.shape, generator=generator, dtype=torch.float64)
    distribution.logits.data = scale * logits
    return distribution


def joint(distribution: TopologyDistribution) -> tuple[Tensor, Tensor]:
    """Every joint topology and its probability, by multiplying node by node."""
    masks = torch.cat(list(enumerate_joint(distribution.codes)))
    probability = torch.ones(1, dtype=torch.float64)
    for p in distribution.probabilities():
        probability = (probability[:, None] * p).flatten()
    return masks, probability.detach()


@pytest.fixture(params=OPTIONS, ids=str)
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = request.param
    return found


def test_probabilities_sum_to_one(options: dict[str, Any]) -> None:
    distribution = drawn(options, 0)
    assert [len(p) for p in distribution.probabilities()] == list(distribution.codes.sizes)
    for p in distribution.probabilities():
        assert p.min() > 0 and float(p.sum().detach()) == pytest.approx(1, abs=1e-12)


def test_scales_equal_the_sum_over_all_joint_topologies(options: dict[str, Any]) -> None:
    distribution = drawn(options, 1)
    masks, probability = joint(distribution)
    marginal = (masks * probability[:, None]).sum(0)
    uniform = masks.double().mean(0)
    torch.testing.assert_close(distribution.edge_probabilities(), marginal)
    torch.testing.assert_close(distribution.edge_scales(), marginal / uniform)


def test_uniform_probabilities_scale_nothing(options: dict[str, Any]) -> None:
    distribution = TopologyDistribution(**options)
    torch.testing.assert_close(
        distribution(), torch.ones(len(distribution.codes.edges)), rtol=0, atol=5e-7
    )
    assert (distribution.logits == 0).all()


def test_published_factors() -> None:
    # 7 nodes: M = 4 targets of node 0. Eq. 10: C(4, 2) / C(3, 1) = 2; eq. 13: 15 / 8.
    for distribution, factor in (
        (TopologyDistribution(space="fixed", k=2), 2),
        (TopologyDistribution(space="arbitrary"), 15 / 8),
    ):
        ratio = distribution.edge_scales() / distribution.edge_probabilities()
        assert float(ratio[0].detach()) == pytest.approx(factor)


@pytest.mark.parametrize("seed", range(40))
def test_regulariser_is_zero_exactly_on_valid_argmax(seed: int) -> None:
    for options in OPTIONS:
        distribution = drawn(options, seed)
        valid = bool(is_valid(distribution.argmax(), distribution.codes.num_nodes))
        penalty = float(distribution.regulariser().detach())
        assert (penalty == 0) == valid and penalty >= 0


def test_regulariser_equals_the_printed_formula() -> None:
    distribution = next(d for s in range(99) if (d := drawn({}, s)).regulariser() > 0)
    p, codes = distribution.probabilities(), distribution.codes
    total = torch.zeros((), dtype=torch.float64)
    for j in range(2, 6):
        product = torch.ones((), dtype=torch.float64)
        for i in range(j):
            column = j - max(2, i + 1)
            product *= 1 - p[i][codes.codes[i][:, column]].max() / p[i].max()
        total += product
    assert total > 0
    torch.testing.assert_close(distribution.regulariser(), total)


def test_regulariser_sees_small_differences() -> None:
    distribution = TopologyDistribution(5, space="fixed", k=1)  # nodes 0, 1 -> 2 or 3
    distribution.logits.data = torch.tensor([0.0, 1e-12, 0.0, 1e-12, 0.0])
    assert not is_valid(distribution.argmax(), 5)
    assert float(distribution.regulariser().detach()) == pytest.approx(1e-24, rel=1e-5)


def test_a_valid_argmax_is_left_in_peace(options: dict[str, Any]) -> None:
    distribution = TopologyDistribution(**options)
    distribution.regulariser().backward()  # type: ignore[no-untyped-call]
    assert distribution.logits.grad is not None
    assert (distribution.logits.grad == 0).all()  # every code ties at the start


def test_descending_the_regulariser_ends_valid() -> None:
    distribution = next(d for s in range(99) if (d := drawn({}, s)).regulariser() > 0.05)
    optimiser = torch.optim.SGD(distribution.parameters(), lr=1.0)
    for _ in range(500):
        optimiser.zero_grad()
        distribution.regulariser().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert is_valid(distribution.argmax(), 7) and distribution.regulariser() == 0


@pytest.mark.parametrize("name", ["edge_scales", "regulariser", "entropy", "invalid_mass"])
def test_gradients_equal_finite_differences(options: dict[str, Any], name: str) -> None:
    for seed in (4, 5):
        distribution = drawn(options, seed, scale=1.0)

        def value(logits: Tensor, distribution: TopologyDistribution = distribution) -> Tensor:
            found: Tensor = torch.func.functional_call(
                _Method(distribution, name), {"distribution.logits": logits}
            )
            return found + 0 * logits.sum()  # where nothing depends on the logits

        assert torch.autograd.gradcheck(value, (distribution.logits,))


class _Method(torch.nn.Module):
    def __init__(self, distribution: TopologyDistribution, name: str) -> None:
        super().__init__()
        self.distribution, self.name = distribution, name

    def forward(self) -> Tensor:
        found: Tensor = getattr(self.distribution, self.name)()
        return found


def test_entropy() -> None:
    distribution = TopologyDistribution()
    expected = torch.tensor([15.0, 15, 7, 3, 1]).log().mean()
    torch.testing.assert_close(distribution.entropy(), expected)
    distribution.logits.data[0] = distribution.logits.data[15] = 200.0
    assert float(distribution.entropy().detach()) == pytest.approx(
        float(torch.tensor([7.0, 3, 1]).log().sum() / 5)
    )


def test_invalid_mass_equals_the_sum_over_invalid_topologies(options: dict[str, Any]) -> None:
    distribution = drawn(options, 6)
    masks, probability = joint(distribution)
    valid = is_valid(masks, distribution.codes.num_nodes)
    mass = probability[~valid].sum()
    torch.testing.assert_close(distribution.invalid_mass().detach(), mass)
    assert (float(mass) > 0) == (distribution.codes.mode == "output")


def _check_best(distribution: TopologyDistribution) -> bool:
    masks, probability = joint(distribution)
    valid = is_valid(masks, distribution.codes.num_nodes)
    best = masks[valid][probability[valid].argmax()]
    assert torch.equal(distribution.best_valid(), best)
    return bool(is_valid(distribution.argmax(), distribution.codes.num_nodes))


def test_best_valid_equals_brute_force() -> None:
    for options in OPTIONS:
        found = {_check_best(drawn(options, seed)) for seed in range(60)}
        assert True in found and (False in found) == (options.get("mode") != "input")


@pytest.mark.parametrize(
    "options",
    [{"num_nodes": 8}, {"num_nodes": 8, "space": "fixed"}, {"num_nodes": 9, "space": "fixed"}],
    ids=str,
)
def test_best_valid_of_larger_cells(options: dict[str, Any]) -> None:
    assert {_check_best(drawn(options, seed)) for seed in range(6)} == {True, False}


def test_best_valid_of_nine_nodes_is_the_best_of_38_million() -> None:
    distribution = next(
        d for s in range(99) if not is_valid((d := drawn({"num_nodes": 9}, s)).argmax(), 9)
    )
    logs = [p.detach().log().float() for p in distribution.probabilities()]
    scores, covered = torch.zeros(1), torch.zeros(1, dtype=torch.uint8)
    for log, cover in zip(logs, distribution.codes.covers, strict=True):
        scores = (scores[:, None] + log).flatten()
        covered = (covered[:, None] | cover.to(torch.uint8)).flatten()
    assert len(scores) == distribution.codes.num_joint == 38_757_285
    best = distribution.codes.choice(distribution.best_valid())
    score = torch.stack([log[c] for log, c in zip(logs, best, strict=True)]).sum()
    torch.testing.assert_close(score, scores[covered == 2**6 - 1].max())


def test_eleven_nodes_are_fast() -> None:
    distribution = drawn({"num_nodes": 11}, 0)
    distribution.best_valid()  # the first call lists the codes
    start = time.perf_counter()
    mask = distribution.best_valid()
    assert is_valid(mask, 11) and 0 < distribution.invalid_mass() < 1
    assert time.perf_counter() - start < 0.5


def test_a_diverged_search_is_refused() -> None:
    distribution = TopologyDistribution()
    distribution.logits.data[3] = torch.nan
    for derive in (distribution.argmax, distribution.best_valid):
        with pytest.raises(ConfigError, match="must be finite"):
            derive()


def test_only_the_logits_are_stored() -> None:
    distribution = TopologyDistribution()
    assert list(distribution.state_dict()) == ["logits"]
    assert "space='arbitrary'" in repr(distribution)


def test_autocast_keeps_full_precision() -> None:
    distribution = drawn({}, 0).float()
    expected = [distribution.edge_scales(), distribution.invalid_mass()]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = [distribution.edge_scales(), distribution.invalid_mass()]
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
