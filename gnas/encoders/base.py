"""Base class of encoders."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from gnas.graphs import Graphs


class Encoder(ABC):
    """A map from architectures to vectors; predictors call `encode` before they fit or predict."""

    name: str
    """What results call this encoder."""
    dim: int
    """Width d of an embedding."""
    space: str
    """Key in `gnas.spaces.SPACES` of the space that it was trained on; empty for one's own."""
    num_ops: int
    """Width of the one-hot ``x`` that it takes."""
    max_nodes: int
    """Most nodes of an architecture that it takes."""
    sees_ops: bool
    """Whether operations change the embedding."""

    @abstractmethod
    def encode(self, graphs: Graphs) -> Tensor:
        """The embedding of every architecture.

        Shapes:
            N architectures -> float32 [N, d].

        Raises:
            GraphError: an architecture comes from a space that this encoder does not know.
        """
