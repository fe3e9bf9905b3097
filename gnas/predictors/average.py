"""Several predictors as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np

from gnas.config import SEEDS, check_seed
from gnas.errors import ConfigError
from gnas.predictors.base import Predictor
from gnas.predictors.features import FeatureMatrix
from gnas.predictors.targets import Scores


class Average(Predictor):
    """The mean of several predictors' predictions on the normal scale.

    Its uncertainty is that of the mixture: what the members that know theirs say, and how far
    the members lie apart. A deep ensemble of any predictor that starts from chance is
    ``Average([predictor] * 5)``.

    Args:
        members: Predictors that share their features; the same one may stand here several times.
        from_samples: For each member, how many samples it needs to take part; None: all always
            do. One must take part always.
        random_state: Each member gets its own seed derived from this one.

    Source: Lakshminarayanan et al., Simple and Scalable Predictive Uncertainty Estimation using
    Deep Ensembles, NeurIPS 2017, section 2.4, for the mixture.

    Raises:
        ConfigError: no members, members with different features, or ``from_samples`` that leave
            none for few samples.

    Examples:
        >>> import numpy as np
        >>> from gnas.spaces import NASBench101
        >>> cells = NASBench101().sample_batch(40, np.random.default_rng(0))
        >>> edges = cells.adjacency.sum((1, 2)).double().numpy()
        >>> from gnas.predictors import MLP, OneHot
        >>> ensemble = Average([MLP(OneHot(7, 5))] * 3).fit(cells[:30], edges[:30])
        >>> mean, std = ensemble.predict(cells[30:], return_std=True)
        >>> ensemble.has_std, mean.shape
        (True, (10,))
    """

    def __init__(
        self,
        members: Sequence[Predictor],
        *,
        from_samples: Sequence[int] | None = None,
        random_state: int = 0,
    ) -> None:
        if not isinstance(members, Sequence) or not all(
            isinstance(member, Predictor) for member in members
        ):
            raise ConfigError(f"members must be a list of predictors, but got {members!r:.80}")
        for member in members:
            member._check_made()
        if not members or any(member.features != members[0].features for member in members):
            raise ConfigError(f"members must be at least one and share features, got {members}")
        least = (0,) * len(members)
        if from_samples is not None:
            if not isinstance(from_samples, Sequence):
                raise ConfigError(f"from_samples must be a list, but got {from_samples!r:.80}")
            least = tuple(from_samples)
        are_counts = all(isinstance(number, int) for number in least)
        if not are_counts or len(least) != len(members) or min(least) != 0:
            raise ConfigError(
                f"from_samples must have a number for each of the {len(members)} members, one of "
                f"them 0, but got {least}"
            )
        super().__init__(members[0].features, random_state=random_state)
        self.members = [
            member.reseeded((check_seed(random_state, "random_state") + i) % SEEDS)
            for i, member in enumerate(members)
        ]
        self.name = " + ".join(dict.fromkeys(member.name for member in members))
        self.from_samples = least
        always = [member for member, n in zip(self.members, least, strict=True) if n == 0]
        self.has_std = len(always) > 1 or always[0].has_std
        self._taking_part = always

    def reseeded(self, random_state: int) -> Self:
        """See `Predictor.reseeded`."""
        return type(self)(self.members, from_samples=self.from_samples, random_state=random_state)

    def _fit(self, rows: FeatureMatrix, targets: Scores) -> None:
        asked = zip(self.members, self.from_samples, strict=True)
        self._taking_part = [member for member, least in asked if len(rows) >= least]
        for member in self._taking_part:
            member._fit(rows, targets)

    def _predict(self, rows: FeatureMatrix) -> Scores:
        mean: Scores = np.mean(
            [member._checked_predict(rows) for member in self._taking_part], axis=0
        )
        return mean

    def _predict_std(self, rows: FeatureMatrix) -> tuple[Scores, Scores]:
        if not self.has_std:
            return super()._predict_std(rows)
        means, within = [], []
        for member in self._taking_part:
            if member.has_std:
                mean, deviation = member._checked_predict_std(rows)
                within.append(deviation**2)
            else:
                mean = member._checked_predict(rows)
            means.append(mean)
        variance = np.var(means, axis=0) + (np.mean(within, axis=0) if within else 0.0)
        return np.mean(means, axis=0), np.sqrt(variance)
