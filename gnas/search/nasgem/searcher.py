"""Algorithm 1 as a searcher: random cells, then the first of a pool by a predictor."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gnas.errors import DataError
from gnas.geometric import Data
from gnas.graphs import DenseBatch
from gnas.predictors import Predictor
from gnas.predictors.features import FeatureMatrix, feature_rows
from gnas.printable import amount
from gnas.search.draws import draw_candidates, draw_pool
from gnas.search.nasgem.accuracy import ByAccuracy, MacsPenalty
from gnas.search.nasgem.config import MIN_SUCCESSES
from gnas.search.nasgem.learning import Learner
from gnas.search.objectives import Goal
from gnas.search.pools import Best, bootstrap, first_different
from gnas.search.samplers.base import CountFunction, Searcher, SpaceExhausted
from gnas.search.settings import NASGEM_POOL, PredictorSettings
from gnas.spaces.base import Space

FINAL = "final"
"""The stage at which the best predicted cells are evaluated."""


class NasgemSearch(Searcher):
    """Random cells, then the best predicted of a pool at an evaluator's longer stage.

    The ``num_initial`` random cells follow from the seed and need no result, so all may be
    evaluated at once; the best predicted ones, which are different networks, need all of theirs.
    These are asked for even if they are among the random ones: their evaluation is another one
    where the evaluator has a stage ``final``. If all scores are equal, they are drawn at random
    too.

    Args:
        space: See `Searcher`.
        predictor: Learns scores; or accuracies, where there is a ``lambda_``.
        num_initial: T of Algorithm 1: random cells.
        pool: Cells that the fitted predictor scores.
        top: Best predicted cells that are evaluated.
        min_nodes: Fewest live nodes of a cell.
        lambda_: Weight of counted MACs in the score: the predictor learns accuracy, and the
            penalty is taken from it (`ByAccuracy`). None has it learn the score.
        update_every: Scores between two updates of the predictor, which choose nothing but say
            how well it foresees; the last fit is on all.
        meanwhile: Called with this searcher while the best predicted are being evaluated.
        encoder_sha256: Digest of the weights that the predictor reads through, for the record.
        seed: See `Searcher`; also the predictor's.

    Raises:
        ConfigError: a size is too small; from `aim`: too few different cells.

    Source: Cheng et al., NASGEM, AAAI 2021, algorithm 1 and section 3.3.

    Examples:
        >>> from gnas.predictors import MLP, OneHot
        >>> from gnas.search import run_search
        >>> from gnas.spaces import NASBench201
        >>> def edges(graph, *, seed):
        ...     return float(graph.num_edges)
        >>> space = NASBench201()
        >>> searcher = NasgemSearch(space, MLP(OneHot(4, 3, 4)), num_initial=10, pool=100, top=2)
        >>> len(run_search(space, searcher, edges, budget=12).evaluations)
        12
    """

    name = "nasgem"

    def __init__(
        self,
        space: Space,
        predictor: Predictor,
        *,
        num_initial: int,
        pool: int = NASGEM_POOL,
        top: int = 5,
        min_nodes: int = 1,
        lambda_: float | None = None,
        update_every: int = 10,
        meanwhile: Callable[[NasgemSearch], None] | None = None,
        encoder_sha256: str | None = None,
        seed: int = 0,
    ) -> None:
        PredictorSettings(num_initial=num_initial, pool=pool)
        super().__init__(space, seed=seed)
        self.num_initial, self.pool, self.top, self.min_nodes = num_initial, pool, top, min_nodes
        self.lambda_, self.update_every = lambda_, update_every
        self.encoder_sha256 = encoder_sha256
        self.predictor = predictor.reseeded(seed)
        self._accuracy, self._meanwhile = self.predictor, meanwhile
        self._settled = 0
        self._reasons: list[str] = []
        self._pool: tuple[DenseBatch, FeatureMatrix] | None = None
        self._best: Best | None = None
        self._is_by_chance = False

    def metadata(self) -> dict[str, Any]:
        """See `Searcher.metadata`."""
        predictor = {"predictor": self.predictor.name, "features": self.predictor.features.name}
        return {**super().metadata(), **predictor}

    def aim(
        self, goal: Goal, count: CountFunction | None = None, counted: Collection[str] = ()
    ) -> None:
        """See `Searcher.aim`; draws the random cells."""
        super().aim(goal, count, counted)
        if self.lambda_ is not None and count is not None:
            penalty = MacsPenalty(lambda batch: count(batch, ("macs",))["macs"], self.lambda_)
            self.predictor = ByAccuracy(self._accuracy, penalty, random_state=self.seed)
        self.cells = draw_candidates(
            self.space, self.num_initial, seed=self.seed, min_nodes=self.min_nodes
        )
        self._keys |= zip(map(self.space.to_str, self.cells), self.keys(self.cells), strict=True)
        self.learner = Learner(self.predictor, self.cells, self.update_every)

    def needs(self, number: int, parallel: int) -> int:
        """See `Searcher.needs`: nothing for a random cell, all of them for the others."""
        return 0 if number < self.num_initial else self.num_initial

    def stage(self, number: int) -> str:
        """See `Searcher.stage`."""
        return "" if number < self.num_initial else FINAL

    def prepare(self) -> None:
        """See `Searcher.prepare`: the pool, then whatever the best predicted leave time for."""
        self.scored_pool()
        if self.asked > self.num_initial and self._meanwhile is not None:
            self._meanwhile(self)

    def scored_pool(self) -> tuple[DenseBatch, FeatureMatrix]:
        """The pool, and what the predictor reads of it."""
        if self._pool is None:
            pool = draw_pool(self.space, self.pool, seed=self.seed, min_nodes=self.min_nodes)
            self._pool = pool, feature_rows(self.predictor.features, pool)
        return self._pool

    def trained(self) -> tuple[DenseBatch, NDArray[np.float64]]:
        """The random cells that have a score, and these."""
        return self.cells[self.learner.rows], np.array(self.learner.scores)

    def expected(self, graph: Data) -> float | None:
        """See `Searcher.expected`; for the next architecture to be told or dropped."""
        if self._settled < self.num_initial:
            return self.learner.foresee(self._settled)
        return float(self._chosen().scores[self._settled - self.num_initial])

    def tell(self, graph: Data, measures: float | Mapping[str, float]) -> None:
        """See `Searcher.tell`; in the order of asking."""
        super().tell(graph, measures)
        if self._settled < self.num_initial:
            news = self.learner.add(self._settled, self.told[-1].score)
            if news is not None:
                self.notes.append(_note(news))
                self._is_flat(self.told)
        self._settled += 1

    def drop(self, graph: Data, reason: str = "") -> None:
        """See `Searcher.drop`; in the order of asking."""
        super().drop(graph, reason)
        self._reasons.append(reason)
        self._settled += 1

    def _propose(self, rng: np.random.Generator) -> Data:
        if self.asked < self.num_initial:
            self.is_random = True
            return self.cells.data(self.asked)
        best = self._chosen()
        rank = self.asked - self.num_initial
        if rank >= len(best.rows):
            raise SpaceExhausted(f"the pool must have a further cell, but has {rank}; stop here")
        self.is_random = self._is_by_chance
        return best.graphs.data(rank)

    def _chosen(self) -> Best:
        """The best predicted, by a fit on all scores."""
        if self._best is None:
            needed = min(MIN_SUCCESSES, self.num_initial)
            failed = self.num_initial - len(self.learner.rows)
            if len(self.learner.rows) < needed:
                reason = max(self._reasons, key=self._reasons.count)
                raise DataError(
                    f"at least {needed} candidates must be trained, but {failed} of "
                    f"{self.num_initial} failed, {self._reasons.count(reason)} of them so: "
                    f"{reason}"
                )
            pool, rows = self.scored_pool()
            trained = self.told[: len(self.learner.rows)]
            if self._is_flat(trained):
                self._is_by_chance = True
                order = np.random.default_rng(self.seed).permutation(len(pool))
                chosen = first_different(pool, order, self.top, self.space)
                scores = np.full(len(chosen), trained[0].score)
                self._best = Best(pool[torch.from_numpy(chosen)], chosen, scores)
            else:
                fitted = self.learner.finish()
                self._best = bootstrap(fitted, pool, top=self.top, rows=rows, space=self.space)
        return self._best


def _note(news: Mapping[str, Any]) -> str:
    """An update of the predictor in one line."""
    text = f"{amount(news['seen'], 'cell')} evaluated, best score {news['best_score']:.3f}"
    if news.get("kendall_tau") is not None:
        tau, r2 = news["kendall_tau"], news["r2"]
        text += f"; predictions of the last ones, made before, have Kendall tau {tau:.2f} with "
        text += f"their scores (1: the same order, 0: chance), R2 {r2:.2f}"
    return text
