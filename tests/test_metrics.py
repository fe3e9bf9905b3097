from __future__ import annotations

import math

import numpy as np
import pytest

from gnas.errors import ConfigError
from gnas.metrics import (
    agreement_between_runs,
    best,
    global_bias,
    interval_note,
    kendall_tau,
    mean_interval,
    n_at_k,
    noise_ceiling,
    precision_at_top,
    spearman,
)


def tau_b(a: np.ndarray, b: np.ndarray) -> float:
    """Kendall's tau-b pair by pair, straight from its definition."""
    concordant = ties_a = ties_b = 0
    pairs = [(i, j) for i in range(len(a)) for j in range(i)]
    for i, j in pairs:
        product = np.sign(a[i] - a[j]) * np.sign(b[i] - b[j])
        concordant += product
        ties_a += a[i] == a[j]
        ties_b += b[i] == b[j]
    return float(concordant / math.sqrt((len(pairs) - ties_a) * (len(pairs) - ties_b)))


def mean_ranks(values: np.ndarray) -> list[float]:
    return [float((values < v).sum() + ((values == v).sum() - 1) / 2) for v in values]


@pytest.mark.parametrize("levels", [4, 1000])
def test_correlations_match_their_definitions(levels: int, rng: np.random.Generator) -> None:
    for _ in range(20):
        a, b = rng.integers(levels, size=(2, 30)) / levels
        assert kendall_tau(a, b) == pytest.approx(tau_b(a, b), abs=1e-12)
        expected = np.corrcoef(mean_ranks(a), mean_ranks(b))[0, 1]
        assert spearman(a, b) == pytest.approx(expected, abs=1e-12)


def test_constant_and_tiny_inputs_have_no_correlation() -> None:
    for function in (kendall_tau, spearman):
        assert math.isnan(function([1, 1, 1], [1, 2, 3]))
        assert math.isnan(function([1, 2, 3], [5, 5, 5]))
        assert math.isnan(function([1], [2]))
        assert math.isnan(function([], []))


@pytest.mark.parametrize("function", [kendall_tau, spearman, precision_at_top, n_at_k])
def test_bad_inputs_are_named(function: object) -> None:
    assert callable(function)
    with pytest.raises(ConfigError, match="finite, but 2 are not"):
        function([1, math.nan, 2], [math.inf, 1, 2])
    with pytest.raises(ConfigError, match=r"shapes \(2,\) and \(3,\)"):
        function([1, 2], [1, 2, 3])


def test_precision_and_rank_of_the_best_by_hand() -> None:
    true = [0.1, 0.9, 0.5, 0.8, 0.3]
    predicted = [5, 1, 4, 3, 2]  # order of rows: 0, 2, 3, 4, 1
    assert precision_at_top(predicted, true, 0.4) == 0.0  # {0, 2} against {1, 3}
    assert precision_at_top(predicted, true, 0.6) == pytest.approx(2 / 3)
    assert precision_at_top(predicted, true) == 0.0  # k is at least 1
    assert precision_at_top(true, true) == 1.0
    assert n_at_k(predicted, true, 1) == 5
    assert n_at_k(predicted, true, 2) == 3
    assert n_at_k(predicted, true, 3) == 2
    assert n_at_k(predicted, true) == 1
    with pytest.raises(ConfigError, match="k must be at least 1"):
        n_at_k(predicted, true, 0)
    with pytest.raises(ConfigError, match="fraction must be a number above 0 and at most 1"):
        precision_at_top(predicted, true, 0)


def test_top_one_percent_matches_sets(rng: np.random.Generator) -> None:
    predicted, true = rng.normal(size=(2, 1000))
    predicted += 3 * true
    top = [set(sorted(range(1000), key=lambda i: -v[i])[:10]) for v in (predicted, true)]
    assert precision_at_top(predicted, true) == len(top[0] & top[1]) / 10
    assert 0 < precision_at_top(predicted, true) < 1
    ranks = sorted(true, reverse=True)
    assert n_at_k(predicted, true) == 1 + min(ranks.index(true[i]) for i in top[0])


def test_equal_values_go_to_the_first() -> None:
    assert best(np.array([1.0, 2.0, 2.0, 0.0]), 3).tolist() == [1, 2, 0]
    assert best(np.array([1.0]), 5).tolist() == [0]


def test_interval_matches_a_t_table() -> None:
    interval = mean_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    half = 2.776445 * math.sqrt(2.5) / math.sqrt(5)  # t(0.975, 4 degrees of freedom)
    assert interval.mean == 3
    assert interval.high - 3 == pytest.approx(half, rel=1e-6)
    assert 3 - interval.low == pytest.approx(half, rel=1e-6)
    for few in ([0.5], [0.0, 1.0], [0.0, 1.0, 0.0, 1.0]):  # +-6.35 for shares of 0 and 1
        found = mean_interval(few)
        assert found.mean == 0.5 and math.isnan(found.low) and math.isnan(found.high)
    assert interval_note(1) == "1 seed: no intervals, which need 5."
    assert interval_note(1, "searches") == "1 search: no intervals, which need 5."
    assert math.isnan(mean_interval([0.5, math.nan]).mean)
    with pytest.raises(ConfigError, match="at least one"):
        mean_interval([])


def test_bias_and_ceiling() -> None:
    assert global_bias(0.93, 0.942) == pytest.approx(0.012)
    assert noise_ceiling([0.1, 0.2, 0.3], [0.2, 0.1, 0.3]) == pytest.approx(1 / 3)


def test_agreement_skips_missing_runs() -> None:
    runs = np.array([[1, 1, np.nan], [2, 3, 1], [3, 2, 2], [4, 4, 3]], dtype=float)
    expected = np.mean([tau_b(runs[:, 0], runs[:, 1]), 1.0, tau_b(runs[1:, 1], runs[1:, 2])])
    assert agreement_between_runs(runs) == pytest.approx(expected)
    assert math.isnan(agreement_between_runs(runs[:, :1]))
