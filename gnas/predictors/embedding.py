"""An encoder's embedding as what a predictor sees, alone or beside other features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from gnas.errors import ConfigError
from gnas.graphs import DenseBatch, Graphs, as_batch
from gnas.graphs.dense import copied
from gnas.predictors.features import (
    FeatureMatrix,
    Features,
    check_features,
    checked_rows,
    feature_rows,
)

CHUNK_SIZE = 50_000
"""Graphs embedded at a time: bounds memory."""


class EncoderLike(Protocol):
    """Protocol of encoders, as returned by `gnas.encoders.load_encoder`."""

    @property
    def name(self) -> str:
        """The name it was loaded by."""
        ...

    def encode(self, graphs: DenseBatch) -> Tensor:
        """Embeddings float32 [N, d]."""
        ...


@dataclass(frozen=True)
class Embedding:
    """Rows are ``encoder``'s embeddings.

    Args:
        encoder: Has a ``name`` and `gnas.encoders.Encoder.encode`.

    Examples:
        >>> import numpy as np
        >>> from gnas.encoders import load_encoder
        >>> from gnas.spaces import NASBench101
        >>> cells = NASBench101().sample_batch(5, np.random.default_rng(0))
        >>> Embedding(load_encoder("nasgem-nasbench101"))(cells).shape
        (5, 256)
    """

    encoder: EncoderLike

    def __post_init__(self) -> None:
        known = hasattr(self.encoder, "name") and hasattr(self.encoder, "encode")
        if not known or isinstance(self.encoder, type):
            raise ConfigError(
                "encoder must be one such as load_encoder('nasgem-nasbench101'), but got "
                f"{self.encoder!r:.80}"
            )

    @property
    def name(self) -> str:
        """The encoder's name."""
        return self.encoder.name

    def __call__(self, graphs: Graphs) -> FeatureMatrix:
        """Rows float64 [N, d]."""
        batch = as_batch(graphs)
        starts = range(0, max(len(batch), 1), CHUNK_SIZE)
        chunks = [batch[start : start + CHUNK_SIZE] for start in starts]
        parts = [checked_rows(self.encoder.encode(copied(c)), len(c), self.name) for c in chunks]
        return np.concatenate(parts)


@dataclass(frozen=True)
class FeatureUnion:
    """The columns of several features side by side.

    Args:
        parts: The features, in the order of their columns.

    Examples:
        >>> import numpy as np
        >>> from gnas.predictors import OneHot, PathStatistics
        >>> from gnas.spaces import NASBench101
        >>> space = NASBench101()
        >>> FeatureUnion((OneHot(7, 5), PathStatistics(space)))(space.enumerate()[:3]).shape
        (3, 260)
    """

    parts: tuple[Features, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.parts, Sequence) or not self.parts:
            raise ConfigError(f"parts must be a tuple of features, but got {self.parts!r:.80}")
        for part in self.parts:
            check_features(part, "each of parts")

    @property
    def exact(self) -> bool:
        """Whether a row is the same bits whatever else is in its batch."""
        return all(getattr(part, "exact", False) for part in self.parts)

    @property
    def name(self) -> str:
        """The names of the parts."""
        return " + ".join(part.name for part in self.parts)

    def __call__(self, graphs: Graphs) -> FeatureMatrix:
        """Rows float64 [N, sum of the parts' widths]."""
        batch = as_batch(graphs)
        return np.concatenate([feature_rows(part, batch) for part in self.parts], axis=1)
