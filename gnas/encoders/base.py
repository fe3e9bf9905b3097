"""Base class of encoders."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Self

from torch import Tensor

from gnas.errors import ConfigError, DataError
from gnas.graphs import Graphs

if TYPE_CHECKING:
    from gnas.encoders.pretraining import GraphEncoderQuality
    from gnas.encoders.training import EncoderQuality

WEIGHTS_FILE = "model.safetensors"
"""File of an encoder in a folder of its own."""


class Encoder(ABC):
    """A map from architectures to vectors; predictors call `encode` before they fit or predict.

    Examples:
        >>> from gnas.graphs import as_batch
        >>> class Sizes(Encoder):
        ...     name, dim, sees_ops = "sizes", 1, False
        ...     def encode(self, graphs):
        ...         return as_batch(graphs).num_nodes.float()[:, None]
        >>> from gnas.spaces import NASBench201
        >>> Sizes().encode(NASBench201().enumerate()[:2]).tolist()
        [[4.0], [4.0]]
    """

    name: str
    """Name of this encoder in results."""
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

    def __repr__(self) -> str:
        return f"{type(self).__name__}(dim={self.dim})"

    @abstractmethod
    def encode(self, graphs: Graphs) -> Tensor:
        """The embedding of every architecture.

        Shapes:
            N architectures -> float32 [N, d].

        Raises:
            GraphError: an architecture comes from a space that this encoder does not know.
        """


class Pretrained:
    """Encoders with weights, read and written as those of Hugging Face and PyG are.

    One file holds all: the weights as safetensors, the recipe and its quality in the header.
    """

    @classmethod
    def from_pretrained(cls, name: str | Path) -> Self:
        """Read a trained encoder, in evaluation mode.

        Args:
            name: Name of a shipped encoder (`gnas.list_encoders`), a ``.safetensors`` file, or a
                folder of `save_pretrained`.

        Raises:
            ConfigError: no shipped encoder has this name.
            MissingDataError: there is no such file.
            DataError: the file is damaged, or holds an encoder of another class.

        Examples:
            >>> from gnas.encoders import NASGEMEncoder
            >>> encoder = NASGEMEncoder.from_pretrained("nasgem-nasbench201")
            >>> encoder.dim
            64
        """
        from gnas.encoders.storage import load_encoder

        path = Path(name)
        found = load_encoder(path / WEIGHTS_FILE if path.is_dir() else name)
        if not isinstance(found, cls):
            raise DataError(f"{name} must be a {cls.__name__}, but is a {type(found).__name__}")
        return found

    def save_pretrained(
        self,
        path: str | Path,
        *,
        quality: EncoderQuality | GraphEncoderQuality | None = None,
        command: str = "",
    ) -> None:
        """Write the encoder, whole or not at all.

        Args:
            path: A folder, made if need be, or a file that ends in ``.safetensors``.
            quality: Held-out quality, kept in the header.
            command: The command that reproduces the file, kept in the header.

        Raises:
            ConfigError: the folder has a ``config.json``, of a network or a run for example.
            DataError: the file cannot be written.
        """
        from gnas.encoders.graph import GraphEncoder
        from gnas.encoders.nasgem import NASGEMEncoder
        from gnas.encoders.storage import save_encoder

        assert isinstance(self, NASGEMEncoder | GraphEncoder)
        target = Path(path)
        file = target if target.suffix == ".safetensors" else target / WEIGHTS_FILE
        if file != target and (target / "config.json").exists():
            raise ConfigError(
                f"an encoder needs a folder of its own, but {target} has a config.json, perhaps "
                "of a network or a run; choose another, or name a file that ends in .safetensors"
            )
        save_encoder(self, file, quality=quality, command=command)
