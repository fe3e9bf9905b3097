"""Search by a predictor: fit it on scored architectures, rank a pool, propose the first."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.special import ndtr

from gnas.encoders import load_encoder
from gnas.errors import ConfigError
from gnas.geometric import Data
from gnas.graphs import DenseBatch
from gnas.graphs.dense import copied
from gnas.predictor_options import Prior
from gnas.predictors import (
    MLP,
    Embedding,
    FeatureUnion,
    OneHotOps,
    Predictor,
    WLGaussianProcess,
    WLLabels,
    default_predictor,
)
from gnas.predictors.features import FeatureMatrix, checked_rows
from gnas.search.objectives import Goal
from gnas.search.pareto import pareto_order
from gnas.search.samplers.acquisition import choose, draws
from gnas.search.samplers.base import CountFunction, Scored, Searcher
from gnas.search.settings import (
    ELITE,
    EVERY,
    NASGEM_POOL,
    POOL,
    START,
    PredictorSettings,
)
from gnas.spaces.base import Space, check_is_space, draw_batch, list_neighbours

PARETO_ELITE = 20
"""Choice: with several objectives, at least so many of the best lend their neighbours."""
PICKS = 3
"""Choice: architectures that one fit chooses with regard to each other, per score between fits."""


@dataclass(frozen=True)
class _Candidates:
    """Some architectures with what the predictor sees of them."""

    graphs: DenseBatch
    keys: list[int]
    rows: FeatureMatrix
    counted: dict[str, FeatureMatrix]
    """Measures that need no evaluation, by name [N]."""


@dataclass(frozen=True)
class _Ranking:
    """The pool after a fit, the candidate to ask for first at the front."""

    keys: Sequence[int] = ()
    homes: Sequence[tuple[DenseBatch, int]] = ()
    """Batch and row of each."""
    expected: Sequence[float | None] = ()
    """The first objective as the predictor foresees it, unsigned; None where it is counted."""

    @staticmethod
    def of(
        parts: Sequence[_Candidates], order: Sequence[int], expected: FeatureMatrix | None
    ) -> _Ranking:
        """The candidates of all parts, joined, in this order; ``expected`` [N] is in theirs."""
        keys = [key for part in parts for key in part.keys]
        homes = [(part.graphs, row) for part in parts for row in range(len(part.keys))]
        return _Ranking(
            [keys[i] for i in order],
            [homes[i] for i in order],
            [None if expected is None else float(expected[i]) for i in order],
        )


class PredictorSearch(Searcher):
    """Search by a predictor, fitted on all scores so far: the first of a pool by its ranking.

    The first ``num_initial`` architectures are random. From then on the predictor is fitted anew
    after every ``refit_every`` scores. Its pool is made of random architectures, the same all
    along, and of the neighbours of the ``num_elites`` best ones so far. Between two fits the
    pool's architectures are asked for in the order of the improvement that can be expected of
    them, or, where the predictor does not know how unsure it is, of their predicted scores. While
    all scores are equal, and when the pool is used up, architectures are random.

    With several objectives, one predictor of each learns ranks; the pool's architectures are asked
    for by the expected improvement of the dominated hypervolume (`acquisition`). Counted measures
    are exact, and bounds of learned ones count by their probability.

    The predictor sees live parts only, and the pool's features are computed once: a fit costs
    what fitting and predicting cost, an `ask` between two fits next to nothing.

    Args:
        space: See `Searcher`.
        predictor: Fitted and asked by this searcher alone; `gnas.predictors.default_predictor`
            without graph networks if None.
        num_initial: Random architectures at the beginning, at least 2.
        refit_every: Scores between two fits.
        pool: Random candidates.
        num_elites: Number of best architectures whose neighbours join the pool; 0 is the bootstrap
            of the NASGEM paper.
        expected_improvement: Whether to rank by the expected improvement over the best predicted
            so far instead of by the prediction; None does where the predictor knows its
            uncertainty.
        prior: The default predictor's; see `gnas.predictors.default_predictor`.
        seed: See `Searcher`; also the predictor's.

    Raises:
        ConfigError: a size is too small, ``expected_improvement`` of a predictor without
            uncertainty, or a ``prior`` that is unknown or does not go with the predictor or the
            space.

    Source: Cheng et al., NASGEM, AAAI 2021, algorithm 1 and section 3.3, and for the neighbours
    Wei et al., NPENAS, IEEE TNNLS 2022 (mutations of the best as candidates).

    Examples:
        >>> from gnas.spaces import NASBench201
        >>> searcher = PredictorSearch(NASBench201(), num_initial=5, pool=50, seed=0)
        >>> for _ in range(10):
        ...     cell = searcher.ask()
        ...     searcher.tell(cell, float(cell.num_edges))
        >>> len(searcher.told)
        10
    """

    def __init__(
        self,
        space: Space,
        predictor: Predictor | None = None,
        *,
        num_initial: int = START,
        refit_every: int = EVERY,
        pool: int = POOL,
        num_elites: int = ELITE,
        expected_improvement: bool | None = None,
        prior: Prior | None = None,
        seed: int = 0,
    ) -> None:
        PredictorSettings(
            num_initial=num_initial,
            refit_every=refit_every,
            pool=pool,
            num_elites=num_elites,
            expected_improvement=expected_improvement,
            prior=prior,
        )
        super().__init__(space, seed=seed)
        if predictor is None:
            predictor = default_predictor(space, prior=prior, networks=False)
        elif not isinstance(predictor, Predictor):
            raise ConfigError(f"this must be a predictor, but is {predictor!r:.80}")
        elif prior is not None:
            raise ConfigError(f"prior must go with the default predictor, not '{predictor.name}'")
        self.predictor = predictor.reseeded(seed)
        if expected_improvement and not self.predictor.has_std:
            raise ConfigError(
                "to explore needs a predictor that knows its uncertainty, "
                f"but got '{self.predictor.name}'"
            )
        self.expected_improvement = (
            self.predictor.has_std if expected_improvement is None else expected_improvement
        )
        self.num_initial = num_initial
        self.refit_every = refit_every
        self.pool = pool
        self.num_elites = num_elites
        self._random_pool: _Candidates | None = None
        self._near: dict[int, _Candidates] = {}
        self._rows: dict[int, FeatureMatrix] = {}
        self._fitted_on: list[Scored] = []
        self._ranking = _Ranking()
        self._expected: dict[int, float | None] = {}
        self._predictors: dict[str, Predictor] = {}

    @property
    def random_start(self) -> int:
        """See `Searcher.random_start`."""
        return self.num_initial

    def metadata(self) -> dict[str, Any]:
        """See `Searcher.metadata`."""
        predictor = {"predictor": self.predictor.name, "features": self.predictor.features.name}
        return {**super().metadata(), **predictor}

    def _propose(self, rng: np.random.Generator) -> Data:
        count = len(self.told)
        if count < self.num_initial:
            return self._random(rng)
        scored = self.told[: count - (count - self.num_initial) % self.refit_every]
        if scored != self._fitted_on:
            self._rank(scored)
            self._fitted_on = scored
        ranking = self._ranking
        for k, key in enumerate(ranking.keys):
            if self._is_new(key):
                self._expected[key] = ranking.expected[k]
                graphs, row = ranking.homes[k]
                return graphs.data(row)
        return self._random(rng)

    def expected(self, graph: Data) -> float | None:
        """See `Searcher.expected`: by the fit that the architecture was asked for after."""
        return self._expected.get(self.key(graph))

    def aim(
        self, goal: Goal, count: CountFunction | None = None, counted: Collection[str] = ()
    ) -> None:
        """See `Searcher.aim`; with several objectives, one predictor of each learned measure."""
        super().aim(goal, count, counted)
        self._random_pool, self._near, self._fitted_on, self._expected = None, {}, [], {}
        self._predictors = {
            name: self.predictor.reseeded(self.seed)
            for name in goal.names
            if name not in self._counted
        }

    def _rank(self, scored: Sequence[Scored]) -> None:
        """Fit the predictor and put the pool in the order of its predictions, best first."""
        learned = {bound.name for bound in self.goal.bounds} - {*self._counted}
        self._ranking = _Ranking()
        if not learned and self._is_flat(scored):
            return
        if len(self.goal.objectives) > 1 or learned:
            self._rank_several(scored)
            return
        known = self._rows_of(scored)
        self.predictor.fit_features(known, np.array([item.score for item in scored]))
        parts = self._candidates(scored)
        predicted, merit = self._predicted(np.concatenate([part.rows for part in parts]), known)
        order = np.argsort(-merit, kind="stable").tolist()
        self._ranking = _Ranking.of(parts, order, self.goal.objectives[0].sign * predicted)

    def _rank_several(self, scored: Sequence[Scored]) -> None:
        """As `_rank`, for several objectives or bounds of what has to be learned."""
        known, parts = self._rows_of(scored), self._candidates(scored)
        keys = [key for part in parts for key in part.keys]
        done = {item.key for item in scored}  # whatever else is asked for depends on the clock
        new = [i for i, key in enumerate(keys) if key not in done]
        if not new:
            return
        rows = np.concatenate([part.rows for part in parts])[new]
        rng = np.random.default_rng((self.seed, len(scored), 2))
        values = np.array([item.values for item in scored])
        told = {o.name: o.sign * values[:, k] for k, o in enumerate(self.goal.objectives)}
        for k, bound in enumerate(self.goal.bounds):
            told[bound.name] = np.array([item.bounded[k] for item in scored])
        measures = {}
        for name in self.goal.names:
            if name in self._counted:
                exact = np.concatenate([part.counted[name] for part in parts])[new]
                measures[name] = exact, exact[None]
            else:
                # learned as larger is better, so that a study's direction changes nothing
                sign = next((o.sign for o in self.goal.objectives if o.name == name), 1.0)
                found = draws(self._predictors[name], known, sign * told[name], rows, rng)
                measures[name] = sign * found[0], sign * found[1]
        violation = np.array([item.violation for item in scored])
        order = choose(self.goal, measures, values, violation, PICKS * self.refit_every)
        first, expected = self.goal.objectives[0].name, None
        if first not in self._counted:
            expected = np.zeros(len(keys))
            expected[new] = measures[first][0]
        self._ranking = _Ranking.of(parts, [new[i] for i in order], expected)

    def _predicted(
        self, rows: FeatureMatrix, known: FeatureMatrix
    ) -> tuple[FeatureMatrix, FeatureMatrix]:
        """Predictions [N], and what to order by: these, or the expected improvement."""
        if not self.expected_improvement:
            mean = self.predictor.predict_features(rows)
            return mean, mean
        mean, deviation = self.predictor.predict_features_std(rows)
        gain = mean - self.predictor.predict_features(known).max()
        z = gain / np.maximum(deviation, 1e-12)
        merit: FeatureMatrix = gain * ndtr(z) + deviation * np.exp(-0.5 * z * z) / np.sqrt(
            2 * np.pi
        )
        return mean, merit

    def _candidates(self, scored: Sequence[Scored]) -> list[_Candidates]:
        """The pool of a fit: the random part, then the neighbours of the best."""
        if self._random_pool is None:
            drawn = draw_batch(self.space, self.pool, np.random.default_rng((self.seed, 0, 1)))
            self._random_pool = self._seen_by_predictor(drawn)
        best: dict[int, Scored] = {}
        for item in self._best_first(scored):
            best.setdefault(item.key, item)
        elites = [*best.items()][: self._num_elites()]
        new = [(key, item) for key, item in elites if key not in self._near]
        around = self._seen_apart([list_neighbours(self.space, item.graph) for _, item in new])
        found = {key: part for (key, _), part in zip(new, around, strict=True)}
        self._near = {key: self._near.get(key) or found[key] for key, _ in elites}
        return [self._random_pool, *self._near.values()]

    def _num_elites(self) -> int:
        """Number of elites: with several objectives, a large part of the front."""
        several = len(self.goal.objectives) > 1 and self.num_elites > 0
        return max(self.num_elites, PARETO_ELITE) if several else self.num_elites

    def _best_first(self, scored: Sequence[Scored]) -> list[Scored]:
        if len(self.goal.objectives) == 1:
            return sorted(scored, key=lambda item: item.merit, reverse=True)
        values = np.array([item.values for item in scored])
        order = pareto_order(values, np.array([item.violation for item in scored]))
        return [scored[i] for i in order.tolist()]

    def _seen_apart(self, batches: Sequence[DenseBatch]) -> list[_Candidates]:
        """`_seen_by_predictor` of each batch; in one go where that gives the same bits."""
        if len(batches) < 2 or not getattr(self.predictor.features, "exact", False):
            return [self._seen_by_predictor(graphs) for graphs in batches]
        whole = DenseBatch.concat(batches)
        keys = np.array(self.keys(whole), dtype=np.uint64)
        allowed = self._allowed(whole)
        ends = np.cumsum([len(graphs) for graphs in batches]).tolist()
        kept = []
        for start, end in zip([0, *ends[:-1]], ends, strict=True):
            first = start + np.sort(np.unique(keys[start:end], return_index=True)[1])
            kept.append(first[allowed[first]])
        rows = np.concatenate(kept)
        graphs = whole[torch.from_numpy(rows)]
        features, counted = self._features(graphs), self._counted_of(graphs)
        parts, at = [], 0
        for own in kept:
            part = slice(at, at + len(own))
            some = {name: values[part] for name, values in counted.items()}
            parts.append(_Candidates(graphs[part], keys[own].tolist(), features[part], some))
            at += len(own)
        return parts

    def _seen_by_predictor(self, graphs: DenseBatch) -> _Candidates:
        """The different architectures among ``graphs``, with their features."""
        keys = np.array(self.keys(graphs), dtype=np.uint64)
        first = np.sort(np.unique(keys, return_index=True)[1])
        first = first[self._allowed(graphs[torch.from_numpy(first)])]
        graphs = graphs[torch.from_numpy(first)]
        counted = self._counted_of(graphs)
        return _Candidates(graphs, keys[first].tolist(), self._features(graphs), counted)

    def _rows_of(self, scored: Sequence[Scored]) -> FeatureMatrix:
        new = {item.key: item.graph for item in scored if item.key not in self._rows}
        if new:
            rows = self._features(DenseBatch.from_data(list(new.values())))
            self._rows.update(zip(new, rows, strict=True))
        return np.stack([self._rows[item.key] for item in scored])

    def _features(self, graphs: DenseBatch) -> FeatureMatrix:
        features = self.predictor.features
        rows = self.space.described(copied(graphs), features)
        return checked_rows(rows, len(graphs), features.name)


def nasgem_predictor(space: Space) -> Predictor:
    """NASGEM's predictor where an encoder for the space exists, otherwise the default one.

    A perceptron on the embedding; on the operations too, where the encoder sees wiring alone.

    Args:
        space: Space of the architectures.

    Examples:
        >>> from gnas.spaces import NASBench201
        >>> nasgem_predictor(NASBench201()).name
        'MLP'
    """
    check_is_space(space)
    encoder = load_encoder(space.wl_encoder) if space.wl_encoder else None
    if encoder is None or encoder.max_nodes < space.max_nodes:
        return default_predictor(space, networks=False)
    embedding = Embedding(encoder)
    if encoder.sees_ops:
        return MLP(embedding)
    return MLP(FeatureUnion((embedding, OneHotOps(space.max_nodes, len(space.ops)))))


def nasgem_search(
    space: Space,
    *,
    num_initial: int = START,
    refit_every: int = EVERY,
    pool: int = NASGEM_POOL,
    seed: int = 0,
) -> PredictorSearch:
    """NASGEM's own search: its predictor and its bootstrap, without neighbours of the best.

    Args:
        space: See `PredictorSearch`.
        num_initial: See `PredictorSearch`.
        refit_every: See `PredictorSearch`.
        pool: See `PredictorSearch`.
        seed: See `PredictorSearch`.

    Source: Cheng et al., NASGEM, AAAI 2021, algorithm 1 and section 3.3.

    Examples:
        >>> from gnas.spaces import NASBench201
        >>> searcher = nasgem_search(NASBench201(), num_initial=10, seed=0)
        >>> searcher.predictor.name
        'MLP'
    """
    predictor = nasgem_predictor(space)
    return PredictorSearch(
        space,
        predictor,
        num_initial=num_initial,
        refit_every=refit_every,
        pool=pool,
        num_elites=0,
        expected_improvement=False,
        seed=seed,
    )


def bayes_search(
    space: Space,
    *,
    num_initial: int = START,
    refit_every: int = EVERY,
    pool: int = POOL,
    num_elites: int = ELITE,
    seed: int = 0,
) -> PredictorSearch:
    """Bayesian optimisation: expected improvement under a Gaussian process with the WL kernel.

    Args:
        space: See `PredictorSearch`.
        num_initial: See `PredictorSearch`.
        refit_every: See `PredictorSearch`.
        pool: See `PredictorSearch`.
        num_elites: See `PredictorSearch`; Ru et al. mutate the best for their candidates too.
        seed: See `PredictorSearch`.

    Source: Ru et al., Interpretable Neural Architecture Search via Bayesian Optimisation with
    Weisfeiler-Lehman Kernels, ICLR 2021; see `WLGaussianProcess` for what differs.

    Examples:
        >>> from gnas.spaces import NASBench201
        >>> searcher = bayes_search(NASBench201(), num_initial=10, seed=0)
        >>> searcher.predictor.features.name
        'WL labels'
    """
    predictor = WLGaussianProcess(WLLabels(space))
    return PredictorSearch(
        space, predictor, num_initial=num_initial, refit_every=refit_every, pool=pool,
        num_elites=num_elites, expected_improvement=True, seed=seed,
    )  # fmt: skip
