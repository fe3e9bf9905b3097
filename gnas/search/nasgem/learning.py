"""The efficiency-score predictor of a search: what it reads, and how it learns."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnas.encoders import Encoder, GraphEncoderConfig, encoder_metadata, load_encoder
from gnas.errors import ConfigError
from gnas.graphs import DenseBatch
from gnas.metrics import kendall_tau
from gnas.predictors import (
    MLP,
    Average,
    Embedding,
    Features,
    FeatureUnion,
    Forest,
    GaussianProcess,
    OneHot,
    OneHotOps,
    Predictor,
    RandomWalkStatistics,
    default_predictor,
)
from gnas.predictors.features import feature_rows
from gnas.search.nasgem.config import NO_ENCODER, NasgemConfig
from gnas.spaces.base import Space

Scores = NDArray[np.float64]


def encoder_of(space: Space, name: str) -> Encoder:
    """The encoder of that name or file, if it reads the space's cells.

    Raises:
        ConfigError: unknown name, or an encoder of other cells.
        MissingDataError: no such file.
        DataError: a damaged file.
    """
    encoder = load_encoder(name)
    config = encoder.config
    own = config.vocabulary if isinstance(config, GraphEncoderConfig) else config.reading
    same = (own.ops, own.edge_ops) == (space.ops, space.edge_ops)
    if not same or not (space.edge_ops or encoder.num_ops == len(space.ops)):
        raise ConfigError(
            f"the encoder must be one of {space.name} cells, but {name} is one of "
            f"'{encoder.space}'; choose another, or none"
        )
    if encoder.max_nodes < space.max_nodes and not space.edge_ops:
        raise ConfigError(
            f"the encoder must take cells of {space.max_nodes} nodes, but {name} takes at most "
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


def raw_features(space: Space) -> Features:
    """The raw adjacency matrix with the operations: the paper's control."""
    return OneHot(space.max_nodes, len(space.ops), len(space.edge_ops))


def embedded_features(config: NasgemConfig, space: Space, encoder: Encoder) -> Features:
    """The embedding, and the operations beside it if the config wants them and it lacks them."""
    embedding = Embedding(encoder)
    if not config.ops or encoder.sees_ops or space.edge_ops:
        return embedding
    return FeatureUnion((embedding, OneHotOps(space.max_nodes, len(space.ops))))


def new_predictor(config: NasgemConfig, space: Space) -> Predictor:
    """Unfitted predictor of scores or accuracies (``config.predict``).

    Raises:
        GnasError: see `encoder_of`.
    """
    if config.predictor == "default":
        return default_predictor(space, random_state=config.seed)
    if config.predictor == "walks":
        if space.edge_ops:
            raise ConfigError(
                f"predictor walks reads operations on nodes, but '{space.name}' has them on "
                "edges; choose mlp or default"
            )
        return random_walk_predictor(len(space.ops), seed=config.seed)
    if config.encoder == NO_ENCODER:
        features = raw_features(space)
    else:
        features = embedded_features(config, space, encoder_of(space, config.encoder))
    return MLP(features, members=config.members, random_state=config.seed)


def random_walk_predictor(num_ops: int, *, seed: int = 0) -> Predictor:
    """Extra trees and a Gaussian process on walk statistics, averaged, not fitted.

    Args:
        num_ops: Operations of the cells.
        seed: Fixes every random choice.
    """
    features = RandomWalkStatistics(num_ops)
    process = GaussianProcess(features, kernel="matern")
    return Average([Forest(features, kind="extra"), process], random_state=seed)


def compared_predictors(
    config: NasgemConfig, space: Space
) -> dict[str, tuple[Predictor, int | None]]:
    """The paper's perceptron on an embedding and on the raw matrix, for figure 3.

    It learns scores, as in the paper, whatever the search's own predictor is.

    Returns:
        For "embedding" (the config's encoder, or the space's own if that is none; left out where
        there is none, or the search itself does without and the encoder takes no such cells) and
        "raw": the predictor, not fitted, and how many of the first columns that it reads are
        mapped (None: all).
    """
    found: dict[str, tuple[Predictor, int | None]] = {}
    name = space.wl_encoder if config.encoder == NO_ENCODER else config.encoder
    try:
        encoder = encoder_of(space, name) if name else None
    except ConfigError:
        if config.encoder != NO_ENCODER and config.predictor == "mlp":
            raise
        encoder = None
    if encoder is not None:
        seen = embedded_features(config, space, encoder)
        found["embedding"] = (
            MLP(seen, members=config.members, random_state=config.seed),
            encoder.dim,
        )
    raw = MLP(raw_features(space), members=config.members, random_state=config.seed)
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
        self._all = feature_rows(predictor.features, cells)
        self.rows: list[int] = []
        self.scores: list[float] = []
        self._fitted = 0
        self._foreseen: dict[int, Scores] = {}  # of all cells, by the scores seen at an update
        self._waiting: list[float] = []

    def foresee(self, row: int) -> float | None:
        """The predicted score of a cell of the plan; None before the first update."""
        if not self._fitted:
            return None
        return float(self.predictor.predict_features(self._all[[row]])[0])

    def add(self, row: int, score: float) -> dict[str, Any] | None:
        """Record the score of the plan's next trained cell.

        Returns:
            If this one made an update: how well the predictor foresaw the scores since the one
            before.
        """
        predicted = self.foresee(row)
        if predicted is not None:
            self._waiting.append(predicted)
        self.rows.append(row)
        self.scores.append(score)
        if len(self.rows) % self.every:
            return None
        news = np.array(self.scores[self._fitted :])
        found: dict[str, Any] = {"seen": len(self.rows), "best_score": max(self.scores)}
        if self._waiting:
            found |= quality(np.array(self._waiting), news)
        if np.ptp(self.scores) > 0:
            self.predictor.fit_features(self._all[self.rows], self.scores)
            self._fitted, self._waiting = len(self.rows), []
            self._foreseen[self._fitted] = self.predictor.predict_features(self._all)
        return found

    def finish(self) -> Predictor:
        """The predictor, fitted on all scores.

        Raises:
            ConfigError: the scores are all equal.
        """
        if self._fitted < len(self.rows):
            self.predictor.fit_features(self._all[self.rows], self.scores)
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
