"""Rank statistics of predictions and choices, and intervals over seeds.

Wherever order matters, a higher value is better. Inputs must be finite and of one length (else
ConfigError). What is not defined is NaN: a correlation where either side is constant or has fewer
than two values, an interval from fewer than `MIN_SEEDS` values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gnas.config import check_count, check_number
from gnas.errors import ConfigError

Values = NDArray[np.float64]


def kendall_tau(predicted: ArrayLike, true: ArrayLike) -> float:
    """Kendall's tau-b in [-1, 1] of two rankings of N architectures; NaN if one is constant.

    Args:
        predicted: Predicted scores [N].
        true: True scores [N].

    Raises:
        ConfigError: different lengths, or a value that is not finite.

    Source: Kendall, The treatment of ties in ranking problems, Biometrika 1945; by scipy.

    Examples:
        >>> round(kendall_tau([1, 2, 4, 3], [0.1, 0.2, 0.3, 0.4]), 3)
        0.667
    """
    from scipy.stats import kendalltau

    left, right = _pair(predicted, true)
    return float(kendalltau(left, right).statistic) if _varied(left, right) else float("nan")


def spearman(predicted: ArrayLike, true: ArrayLike) -> float:
    """Spearman's rank correlation in [-1, 1], ties at their mean rank; NaN if one is constant.

    Args:
        predicted: Predicted scores [N].
        true: True scores [N].

    Raises:
        ConfigError: different lengths, or a value that is not finite.

    Examples:
        >>> round(spearman([1, 2, 4, 3], [0.1, 0.2, 0.3, 0.4]), 3)
        0.8
    """
    from scipy.stats import spearmanr

    left, right = _pair(predicted, true)
    return float(spearmanr(left, right).statistic) if _varied(left, right) else float("nan")


def precision_at_top(predicted: ArrayLike, true: ArrayLike, fraction: float = 0.01) -> float:
    """Share of the k best predicted that are among the k truly best, k = ``fraction`` of N.

    k is rounded to the nearest integer and at least 1; of equal values the first count as better.

    Args:
        predicted: Predicted scores [N].
        true: True scores [N].
        fraction: Fraction of the N architectures that counts as the top.

    Raises:
        ConfigError: no values, different lengths, a value that is not finite, or ``fraction``
            outside (0, 1].

    Examples:
        >>> precision_at_top([4, 3, 2, 1], [0.9, 0.7, 0.8, 0.1], fraction=0.5)
        0.5
    """
    check_number(fraction, "fraction", most=1)
    left, right = _pair(predicted, true, least=1)
    k = max(1, round(fraction * len(left)))
    return len(set(best(left, k).tolist()) & set(best(right, k).tolist())) / k


def n_at_k(predicted: ArrayLike, true: ArrayLike, k: int = 10) -> int:
    """True rank (1 is best) of the truly best among the ``k`` best predicted: "N@k".

    Architectures that tie share the best of their ranks.

    Args:
        predicted: Predicted scores [N].
        true: True scores [N].
        k: Number of best predicted architectures to look at.

    Raises:
        ConfigError: no values, different lengths, a value that is not finite, or ``k`` < 1.

    Source: Ning et al., A Generic Graph-based Neural Architecture Encoding Scheme (GATES), 2020.

    Examples:
        >>> n_at_k([4, 3, 2, 1], [0.7, 0.8, 0.9, 0.1], k=2)
        2
    """
    check_count(k, "k")
    left, right = _pair(predicted, true, least=1)
    return 1 + int((right > right[best(left, k)].max()).sum())


def global_bias(picked: float, best_of_table: float) -> float:
    """Global prediction bias B = A_B - A_P: what the choice misses of the best, as a fraction.

    Args:
        picked: A_P, accuracy of the architecture that was picked.
        best_of_table: A_B, the best accuracy in the whole table.

    Source: Cheng et al., NASGEM, AAAI 2021, section 4.3.

    Examples:
        >>> round(global_bias(0.93, 0.94), 3)
        0.01
    """
    found: float = as_scores(best_of_table).item() - as_scores(picked).item()
    return found


def noise_ceiling(val_acc: ArrayLike, test_acc: ArrayLike) -> float:
    """Kendall tau between mean validation and mean test accuracy.

    What a predictor that knew every validation accuracy exactly would reach on test accuracy.

    Args:
        val_acc: Mean validation accuracies [N].
        test_acc: Mean test accuracies [N].

    Raises:
        ConfigError: different lengths, or a value that is not finite.
    """
    return kendall_tau(val_acc, test_acc)


def group_means(groups: ArrayLike, values: ArrayLike) -> Values:
    """For every architecture the mean value of its group: float64 [N].

    The best ranking that a predictor could reach for which all members of a group are one.

    Args:
        groups: Keys of any type [N]; equal keys are one group.
        values: [N].

    Raises:
        ConfigError: different lengths, or keys that are not of one type.
    """
    numbers = as_scores(values, "values")
    try:
        _, group = np.unique(np.asarray(groups), return_inverse=True)
    except TypeError as error:
        raise ConfigError(f"groups must be keys of one type, but got {groups!r:.80}") from error
    if numbers.ndim != 1 or np.shape(groups) != numbers.shape:
        raise ConfigError(
            f"groups and values must be two lists of one length, but got shapes "
            f"{np.shape(groups)} and {numbers.shape}"
        )
    means: Values = (np.bincount(group, numbers) / np.bincount(group))[group]
    return means


def agreement_between_runs(runs: ArrayLike) -> float:
    """Mean Kendall tau between every two runs, over the architectures that have both.

    Args:
        runs: [N, R], NaN where an architecture lacks a run; fewer than two runs give NaN.

    Raises:
        ConfigError: another shape, or a value is infinite.
    """
    values = as_scores(runs, "runs")
    if values.ndim != 2:
        raise ConfigError(f"runs must have shape [N, R], but got {values.shape}")
    taus = []
    for i in range(values.shape[1]):
        for j in range(i):
            both = ~np.isnan(values[:, i]) & ~np.isnan(values[:, j])
            taus.append(kendall_tau(values[both, i], values[both, j]))
    return float(np.mean(taus)) if taus else float("nan")


MIN_SEEDS = 5
"""Fewer values than this say little about their spread."""


@dataclass(frozen=True)
class Interval:
    """A mean and its confidence interval; NaN bounds where there are fewer than `MIN_SEEDS`."""

    mean: float
    low: float
    high: float


def mean_interval(values: Sequence[float] | Values, level: float = 0.95) -> Interval:
    """Mean over seeds with Student's t interval of confidence ``level``.

    One NaN makes everything NaN. Fewer than five values say little about their spread: their
    interval, often wider than the metric's range, is NaN. That of more is symmetric and can leave
    the range, too.

    Args:
        values: One value per seed.
        level: Confidence level of the interval.

    Raises:
        ConfigError: no values, or ``level`` outside (0, 1).

    Examples:
        >>> found = mean_interval([0.70, 0.71, 0.72, 0.73, 0.74])
        >>> round(found.low, 3), round(found.mean, 3), round(found.high, 3)
        (0.7, 0.72, 0.74)
    """
    from scipy.stats import t

    array = as_scores(values, "values")
    if check_number(level, "level", most=1) == 1:
        raise ConfigError("level must be below 1")
    if array.ndim != 1 or len(array) == 0:
        raise ConfigError(f"values must be a list of at least one, but got shape {array.shape}")
    mean = float(array.mean())
    if len(array) < MIN_SEEDS:
        return Interval(mean, math.nan, math.nan)  # one object, so that results can be equal
    error = float(array.std(ddof=1)) / len(array) ** 0.5
    half = float(t.ppf((1 + level) / 2, len(array) - 1)) * error
    return Interval(mean, mean - half, mean + half)


def interval_note(seeds: int, over: str = "seeds") -> str:
    """What ± is where intervals are printed, or why there is none.

    Args:
        seeds: Values of each mean.
        over: What there are several of.

    Examples:
        >>> interval_note(10), interval_note(2, "searches")
        ('± is half the 95% interval over seeds.', '2 searches: no intervals, which need 5.')
    """
    if seeds >= MIN_SEEDS:
        return f"± is half the 95% interval over {over}."
    one = over.removesuffix("es" if over == "searches" else "s")
    return f"{seeds} {one if seeds == 1 else over}: no intervals, which need {MIN_SEEDS}."


def p_text(p: float) -> str:
    """A p value with two significant digits.

    Args:
        p: The value.

    Examples:
        >>> p_text(0.9), p_text(0.571), p_text(0.00012)
        ('0.90', '0.57', '0.00012')
    """
    return f"{p:#.2g}"


@dataclass(frozen=True)
class Quantiles:
    """Between which values most seeds lie."""

    low: float
    """A tenth of the seeds lie below."""
    median: float
    high: float
    """A tenth lie above."""


QUANTILE_LEVELS = (0.1, 0.5, 0.9)


def quantiles(values: Sequence[float] | Values) -> Quantiles | None:
    """Deciles 1, 5 and 9 over seeds; None for fewer than five seeds.

    Unlike an interval around the mean, they stay in the metric's range.

    Raises:
        ConfigError: the values are no list of numbers.
    """
    array = as_scores(values, "values")
    if array.ndim != 1:
        raise ConfigError(f"values must be a list, but got shape {array.shape}")
    if len(array) < MIN_SEEDS or np.isnan(array).any():
        return None
    return Quantiles(*np.quantile(array, QUANTILE_LEVELS).tolist())


def best(values: Values, k: int) -> NDArray[np.int64]:
    """Indices of the ``k`` highest values (all, if fewer), best first; of equal ones the first.

    Args:
        values: Values [N].
        k: Number of indices.
    """
    order: NDArray[np.int64] = np.argsort(-as_scores(values, "values"), kind="stable")[:k]
    return order


def as_scores(values: object, name: str = "scores") -> Values:
    """Numbers as a float64 array; no texts, dates or complex numbers.

    Args:
        values: A list, array or tensor of any shape.
        name: Name of the numbers, for messages.

    Raises:
        ConfigError: something in it is no number.

    Examples:
        >>> as_scores([1, 2.5]).tolist()
        [1.0, 2.5]
    """
    detach = getattr(values, "detach", None)  # a tensor's
    try:
        if detach is not None:
            tensor = detach().cpu()
            values = tensor.double() if tensor.is_floating_point() else tensor
        found = np.asarray(values)
        if isinstance(values, np.ma.MaskedArray):
            found = np.where(np.ma.getmaskarray(values), np.nan, found)
        if found.dtype.kind == "O" and any(isinstance(value, str | bytes) for value in found.flat):
            raise TypeError
        if found.dtype.kind in "biufO":
            return found.astype(np.float64)
    except (TypeError, ValueError, RuntimeError):  # torch's, of tensors without values too
        pass
    text = " ".join(repr(values).split())
    raise ConfigError(f"{name} must be numbers, but got {text:.80}")


def _pair(predicted: ArrayLike, true: ArrayLike, *, least: int = 0) -> tuple[Values, Values]:
    left = as_scores(predicted, "predicted values")
    right = as_scores(true, "true values")
    if left.ndim != 1 or left.shape != right.shape or len(left) < least:
        raise ConfigError(
            f"predicted and true values must be two lists of one length (at least {least}), but "
            f"got shapes {left.shape} and {right.shape}"
        )
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        count = int((~np.isfinite(left) | ~np.isfinite(right)).sum())
        raise ConfigError(f"predicted and true values must be finite, but {count} are not")
    return left, right


def _varied(left: Values, right: Values) -> bool:
    return len(left) > 1 and bool(np.ptp(left) > 0) and bool(np.ptp(right) > 0)
