"""The acquisition of a search by predictors for several objectives or for bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import rankdata

from gnas.predictors import Predictor
from gnas.predictors.features import FeatureMatrix
from gnas.search.objectives import Goal
from gnas.search.pareto import hypervolume_improvement, non_dominated

Values = NDArray[np.float64]

SAMPLES = 32
"""Choice: draws from what is predicted of a candidate, over which improvements are averaged."""
SHORT_LIST = 300
"""Choice: candidates among which the second and later choices of one fit are made."""
TAIL = 0.25
"""Choice: share of the values whose slope goes on beyond the smallest and the largest one."""


@dataclass(frozen=True)
class RankTransform:
    """The map between values and the normal quantiles of their ranks, linear in between.

    Predictors learn ranks (`gnas.predictors.targets.NormalScores`); what they predict has to come
    back to the values' own scale before it is weighed against other objectives.
    """

    levels: Values
    """Normal quantiles, ascending, float64 [K]."""
    values: Values
    """Values there, ascending, float64 [K]."""

    @staticmethod
    def of(values: Values) -> tuple[RankTransform, Values]:
        """The map of values [N], and the quantile of each, float64 [N]; ties share one."""
        targets: Values = ndtri((rankdata(values) - 0.5) / len(values))
        levels, first = np.unique(targets, return_index=True)
        return RankTransform(levels, values[first]), targets

    def to_values(self, targets: Values) -> Values:
        """Values at any quantiles; beyond the ends, the slope of the outer `TAIL` goes on."""
        found: Values = np.interp(targets, self.levels, self.values)
        if len(self.levels) < 2:
            return found
        count = max(1, int(TAIL * (len(self.levels) - 1)))
        for end, inner, beyond in (
            (0, count, targets < self.levels[0]),
            (-1, -1 - count, targets > self.levels[-1]),
        ):
            run = self.levels[end] - self.levels[inner]
            slope = (self.values[end] - self.values[inner]) / run
            further = self.values[end] + slope * (targets - self.levels[end])
            found = np.where(beyond, further, found)
        return found


def draws(
    predictor: Predictor,
    known: FeatureMatrix,
    values: Values,
    rows: FeatureMatrix,
    rng: np.random.Generator,
) -> tuple[Values, Values]:
    """Posterior samples of a measure of candidates, from a predictor fitted on scored ones.

    Args:
        predictor: Fitted here.
        known: Features of the N scored architectures, [N, F].
        values: The measure of each, [N].
        rows: Features of the C candidates, [C, F].
        rng: Source of the draws.

    Returns:
        The expected measure [C], and `SAMPLES` draws of it [S, C]; one draw, the expectation,
        where the predictor does not know its uncertainty.
    """
    if values.min() == values.max():
        same = np.full(len(rows), values[0])
        return same, same[None]
    quantiles, targets = RankTransform.of(values)
    predictor.fit_features(known, targets)
    if not predictor.has_std:
        mean = quantiles.to_values(predictor.predict_features(rows))
        return mean, mean[None]
    mean, deviation = predictor.predict_features_std(rows)
    noise = rng.standard_normal((SAMPLES, len(rows)))
    return quantiles.to_values(mean), quantiles.to_values(mean + deviation * noise)


def choose(
    goal: Goal,
    measures: Mapping[str, tuple[Values, Values]],
    told: Values,
    violation: Values,
    picks: int,
) -> list[int]:
    """Candidates in the order in which they should be evaluated.

    The first ``picks`` are chosen one after the other, each by the mean hypervolume improvement
    over the draws that keep the bounds, as if those before it had come out as expected; the others
    follow by the improvement that each would be alone. While no architecture keeps the bounds,
    those go first that are expected to break them least.

    Args:
        goal: Objectives and bounds.
        measures: By name, the expectation [C] and the draws [S, C] (or [1, C]) of the candidates.
        told: Signed objectives of the N scored architectures, [N, M].
        violation: By how much each of them breaks the bounds, [N].
        picks: Number of candidates to choose jointly.

    Source: Emmerich et al., Single- and Multiobjective Evolutionary Optimization Assisted by
    Gaussian Random Field Metamodels, IEEE Transactions on Evolutionary Computation 2006 (expected
    hypervolume improvement); Ginsbourger et al., Kriging Is Well-Suited to Parallelize
    Optimization, 2010, for the choice of several.
    """
    if goal.bounds and violation.min() > 0:
        broken = _total([bound.violation(measures[bound.name][1]) for bound in goal.bounds])
        return [int(i) for i in np.argsort(broken, kind="stable")]
    mean = np.stack([o.sign * measures[o.name][0] for o in goal.objectives], axis=1)  # [C, M]
    shape = max(draws.shape[0] for _, draws in measures.values()), len(mean)
    drawn = np.stack(
        [np.broadcast_to(o.sign * measures[o.name][1], shape) for o in goal.objectives], axis=2
    )  # [S, C, M]
    kept = np.ones(shape, dtype=bool)
    for bound in goal.bounds:
        kept &= bound.violation(measures[bound.name][1]) == 0
    good = told[violation == 0]
    reference, front = good.min(0), good[non_dominated(good)]
    second = ((mean - mean.mean(0)) / (mean.std(0) + 1e-12)).sum(1)  # where no gain is expected
    gain = _expected(drawn, kept, front, reference)
    order = np.lexsort((-second, -gain))
    chosen = [int(order[0])]
    left = order[1:SHORT_LIST]
    while len(chosen) < picks and len(left):
        front = np.vstack([front, mean[chosen[-1]]])
        gain = _expected(drawn[:, left], kept[:, left], front, reference)
        best = int(np.lexsort((-second[left], -gain))[0])
        chosen.append(int(left[best]))
        left = np.delete(left, best)
    taken = set(chosen)
    return chosen + [i for i in order.tolist() if i not in taken]


def _expected(drawn: Values, kept: NDArray[np.bool_], front: Values, reference: Values) -> Values:
    """The mean improvement over the draws that keep the bounds, [C]."""
    flat = drawn.reshape(-1, drawn.shape[2])
    gains = hypervolume_improvement(flat, front, reference).reshape(drawn.shape[:2])
    mean: Values = np.where(kept, gains, 0.0).mean(0)
    return mean


def _total(violations: Sequence[Values]) -> Values:
    """The sum of the bounds' mean violations over draws [S, C]: [C]."""
    total: Values = np.sum([violation.mean(0) for violation in violations], axis=0)
    return total
