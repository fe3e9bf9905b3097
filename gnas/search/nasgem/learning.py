"""The efficiency-score predictor of a search: what it reads, and how it learns."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnas.encoders import Encoder, encoder_metadata, load_encoder
from gnas.errors import ConfigError
from gnas.graphs import DenseBatch
from gnas.metrics import kendall_tau
from gnas.predictors import (
    MLP,
    Average,
    Embedding,
    Features,
    Forest,
    GaussianProcess,
    Joined,
    OneHot,
    OneHotOps,
    Predictor,
    WalkStatistics,
    default,
)
from gnas.search.nasgem.accuracy import ByAccuracy, MacsPenalty
from gnas.search.nasgem.config import DEFAULT_ENCODER, NO_ENCODER, NasgemConfig
from gnas.search.nasgem.job import NasgemJob
from gnas.spaces.nasgem import OPS

Scores = NDArray[np.float64]


def encoder_of(config: NasgemConfig, name: str) -> Encoder:
    """The encoder of that name or file, if it reads the search's cells.

    Raises:
        ConfigError: unknown name, or an encoder of other cells.
        MissingDataError: no such file.
        DataError: a damaged file.
    """
    encoder = load_encoder(name)
    if encoder.num_ops != len(OPS) or encoder.space != "nasgem":
        raise ConfigError(
            f"the encoder must be one of NASGEM cells, but {name} is one of '{encoder.space}'; "
            f"choose another, or none"
        )
    if encoder.max_nodes < config.num_nodes:
        raise ConfigError(
            f"the encoder must take cells of {config.num_nodes} nodes, but {name} takes at most "
            f"{encoder.max_nodes}; train one with `gnas encoder train`, lower num_nodes, or take "
            "none"
        )
    return encoder


def encoder_facts(config: NasgemConfig) -> dict[str, Any] | None:
    """Name and digest of the encoder that the search's predictor reads through; None without."""
    if config.encoder == NO_ENCODER or config.predictor != "mlp":
        return None
    metadata = encoder_metadata(config.encoder)
    return {"name": metadata.get("name"), "sha256": metadata.get("sha256")}


def raw_features(config: NasgemConfig) -> Features:
    """The raw adjacency matrix (with operations, if ``config.ops``): the paper's control."""
    return OneHot(config.num_nodes, len(OPS))


def embedded_features(config: NasgemConfig, encoder: Encoder) -> Features:
    """The embedding, and the operations beside it if the config wants them and it lacks them."""
    embedding = Embedding(encoder)
    if not config.ops or encoder.sees_ops:
        return embedding
    return Joined((embedding, OneHotOps(config.num_nodes, len(OPS))))


def new_predictor(config: NasgemConfig) -> Predictor:
    """What learns scores or accuracies (``config.predict``), not fitted.

    Raises:
        GnasError: see `encoder_of`.
    """
    if config.predictor == "default":
        return default(config.space(), seed=config.seed)
    if config.predictor == "walks":
        return walks(len(OPS), seed=config.seed)
    if config.encoder == NO_ENCODER:
        features = raw_features(config)
    else:
        features = embedded_features(config, encoder_of(config, config.encoder))
    return MLP(features, members=config.members, seed=config.seed)


def walks(num_ops: int, *, seed: int = 0) -> Predictor:
    """Extra trees and a Gaussian process on walk statistics, averaged, not fitted.

    Args:
        num_ops: Operations of the cells.
        seed: Fixes every random choice.
    """
    features = WalkStatistics(num_ops)
    process = GaussianProcess(features, kernel="matern")
    return Average([Forest(features, kind="extra"), process], seed=seed)


def scored_by(predictor: Predictor, config: NasgemConfig, job: NasgemJob, size: int) -> Predictor:
    """The predictor of scores that a search fits.

    Args:
        predictor: `new_predictor`.
        config: Whether it learns scores or accuracies.
        job: Says what networks cost.
        size: Pixels a side of the images.
    """
    if config.predict == "score":
        return predictor
    penalty = MacsPenalty(job.network, size, config.lambda_)
    return ByAccuracy(predictor, penalty, seed=config.seed)


def compared_predictors(config: NasgemConfig) -> dict[str, tuple[Predictor, int | None]]:
    """The paper's perceptron on an embedding and on the raw matrix, for figure 3.

    It learns scores, as in the paper, whatever the search's own predictor is.

    Returns:
        For "embedding" (the config's encoder, or the default one if that is none; left out if
        the search itself does without and the encoder takes no such cells) and "raw": the
        predictor, not fitted, and how many of the first columns that it reads are mapped (None:
        all).
    """
    found: dict[str, tuple[Predictor, int | None]] = {}
    name = DEFAULT_ENCODER if config.encoder == NO_ENCODER else config.encoder
    try:
        encoder = encoder_of(config, name)
    except ConfigError:
        if config.encoder != NO_ENCODER and config.predictor == "mlp":
            raise
    else:
        seen = embedded_features(config, encoder)
        found["embedding"] = (MLP(seen, members=config.members, seed=config.seed), encoder.dim)
    raw = MLP(raw_features(config), members=config.members, seed=config.seed)
    found["raw"] = (raw, None)
    return found


def quality(predicted: Scores, true: Scores) -> dict[str, float | None]:
    """Kendall tau and R2 of predicted scores; None where they are not defined."""
    from sklearn.metrics import r2_score

    if len(true) < 2 or np.ptp(true) == 0:
        return {"kendall_tau": None, "r2": None}
    tau = kendall_tau(predicted, true)
    return {
        "kendall_tau": tau if np.isfinite(tau) else None,
        "r2": float(r2_score(true, predicted)),
    }


class Learner:
    """Algorithm 1's predictor while scores come in, in the order of the plan.

    Args:
        predictor: Not fitted.
        cells: All cells of the plan.
        every: Scores between two updates.
    """

    def __init__(self, predictor: Predictor, cells: DenseBatch, every: int) -> None:
        self.predictor, self.every = predictor, every
        self._all = predictor.features(cells)
        self.rows: list[int] = []
        self.scores: list[float] = []
        self._fitted = 0
        self._foreseen: dict[int, Scores] = {}  # of all cells, by the scores seen at an update
        self._waiting: list[float] = []

    def add(self, row: int, score: float) -> tuple[float | None, dict[str, Any] | None]:
        """Takes the score of the plan's next trained cell.

        Returns:
            What was predicted before (None before the first update); and if this one made an
            update: how well the predictor foresaw the scores since the one before.
        """
        predicted = None
        if self._fitted:
            predicted = float(self.predictor.predict_rows(self._all[[row]])[0])
            self._waiting.append(predicted)
        self.rows.append(row)
        self.scores.append(score)
        if len(self.rows) % self.every:
            return predicted, None
        news = np.array(self.scores[self._fitted :])
        found: dict[str, Any] = {"seen": len(self.rows), "best_score": max(self.scores)}
        if self._waiting:
            found |= quality(np.array(self._waiting), news)
        if np.ptp(self.scores) > 0:
            self.predictor.fit_rows(self._all[self.rows], self.scores)
            self._fitted, self._waiting = len(self.rows), []
            self._foreseen[self._fitted] = self.predictor.predict_rows(self._all)
        return predicted, found

    def finish(self) -> Predictor:
        """The predictor, fitted on all scores.

        Raises:
            ConfigError: the scores are all equal.
        """
        if self._fitted < len(self.rows):
            self.predictor.fit_rows(self._all[self.rows], self.scores)
            self._fitted = len(self.rows)
        return self.predictor

    def curve(self) -> list[dict[str, Any]]:
        """After every update: quality on all cells that the predictor had not seen by then."""
        scores, found = np.array(self.scores), []
        for seen, foreseen in self._foreseen.items():
            left = len(scores) - seen
            if left > 1:
                unseen = quality(foreseen[self.rows[seen:]], scores[seen:])
                found.append({"seen": seen, "unseen": left, **unseen})
        return found
