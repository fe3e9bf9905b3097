"""NASGEM's graph encoder: a fully connected network supervised by the WL kernel."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from gnas.encoders.base import Encoder, Pretrained
from gnas.encoders.config import EncoderConfig
from gnas.encoders.features import (
    adjacency_columns,
    feature_widths,
    first_label_columns,
    graph_features,
    later_rounds,
    sparse_features,
)
from gnas.errors import GraphError
from gnas.graphs import DenseBatch, Graphs, as_batch
from gnas.spaces.vocabulary import check_vocabulary
from gnas.training.devices import own_generator, own_settings

_CHUNK_SIZE = 4096  # graphs that a thread reads at once: inputs stay in cache, memory stays flat


class NASGEMEncoder(nn.Module, Pretrained, Encoder):
    """Fully connected network f with cos(f(G1), f(G2)) close to the WL kernel of G1 and G2.

    Deliberate differences from the paper, all options of `EncoderConfig` (the ``-paper``
    presets take none of them): the input may hold, besides or instead of the flattened
    adjacency matrix, op one-hots, degree histograms and hashed histograms of WL labels; nodes
    may be put in a canonical order first. Inputs are standardised always.

    Args:
        config: The recipe.
        name: Name of this encoder in results.

    Source: Cheng et al., NASGEM, AAAI 2021, section 3.2, eq. 2-4.

    Examples:
        >>> from gnas.encoders import load_encoder
        >>> from gnas.spaces import NASBench201
        >>> encoder = load_encoder("nasgem-nasbench201")
        >>> encoder.encode(NASBench201().enumerate()[:3]).shape
        torch.Size([3, 64])
    """

    @own_settings()
    def __init__(self, config: EncoderConfig, name: str = "nasgem") -> None:
        super().__init__()
        self.config = config
        self.name = name
        self.dim = config.dim
        self.space, self.num_ops, self.max_nodes = config.space, config.num_ops, config.num_nodes
        self.sees_ops = (
            "ops" in config.features
            or ("wl" in config.features and config.labels != "degree")
            or ("adjacency" in config.features and config.num_edge_ops > 0)
        )
        width = sum(feature_widths(config).values())
        self.shift: Tensor
        self.scale: Tensor
        self.register_buffer("shift", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        generator = torch.Generator().manual_seed(config.seed)
        layers: list[nn.Module] = []
        sizes = (width, *config.hidden, config.dim)
        with own_generator():  # PyTorch draws weights, which are replaced
            for fan_in, fan_out in pairwise(sizes):
                layers += [_linear(fan_in, fan_out, generator), nn.ReLU()]
            sketch = nn.Linear(width, config.dim, bias=False) if config.sketch else None
        self.layers = nn.Sequential(*layers[:-1])
        self.sketch = sketch
        if self.sketch is not None:
            self.sketch.weight.data = _random_projection(config, width, generator)
            nn.init.zeros_(self.layers[-1].weight)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        """Embeddings of input vectors: [N, F] -> [N, d]."""
        inputs = (features - self.shift) * self.scale  # [N, F]
        output: Tensor = self.layers(inputs)
        return output if self.sketch is None else output + self.sketch(features)

    def features(self, graphs: Graphs) -> Tensor:
        """Input vectors of architectures: float32 [N, F].

        Raises:
            GraphError: an architecture comes from another space.
        """
        return graph_features(self._checked(graphs), self.config)

    @own_settings()
    @torch.inference_mode()
    def encode(self, graphs: Graphs) -> Tensor:
        """See `Encoder.encode`."""
        batch = self._checked(graphs)
        result = torch.empty(len(batch), self.dim)
        table, bias = self._table()
        workers = torch.get_num_threads()
        read = partial(sparse_features, config=self.config)
        with ThreadPoolExecutor(workers) as pool:
            for start in range(0, len(batch), workers * _CHUNK_SIZE):
                starts = range(start, min(start + workers * _CHUNK_SIZE, len(batch)), _CHUNK_SIZE)
                inputs = pool.map(read, [batch[first : first + _CHUNK_SIZE] for first in starts])
                for first, (matrix, columns) in zip(starts, inputs, strict=True):
                    embedded = self._embedded(matrix, torch.from_numpy(columns), table, bias)
                    result[first : first + _CHUNK_SIZE] = embedded
        return result

    def _table(self) -> tuple[Tensor, Tensor]:
        """Weights of unit counts in the first layer and sketch, by column, and the bias.

        Histograms have few entries: adding up their rows of this table takes a tenth of the time
        of the matrix products in `forward`. The last row is for padding.

        Shapes:
            -> [F + 1, h + d] and [h + d]; h alone without a sketch.
        """
        layer = self.layers[0]
        assert isinstance(layer, nn.Linear)
        weights = layer.weight * self.scale  # [h, F]
        bias = layer.bias - weights @ self.shift
        if self.sketch is not None:
            weights = torch.cat([weights, self.sketch.weight])  # [h + d, F]
            bias = torch.cat([bias, bias.new_zeros(self.dim)])
        return torch.cat([weights.t(), weights.new_zeros(1, len(weights))]), bias

    def _embedded(
        self, matrix: Tensor | None, columns: Tensor, table: Tensor, bias: Tensor
    ) -> Tensor:
        """`forward` of what `sparse_features` gave: [N, d]."""
        first = bias.expand(len(columns), -1)  # [N, h + d]
        if columns.size(1):
            first = first + nn.functional.embedding_bag(columns, table, mode="sum")
        if matrix is not None:
            first = first + matrix @ table[adjacency_columns(self.config)]
        if self.sketch is None:
            output: Tensor = self.layers[1:](first)
            return output
        width = first.size(1) - self.dim
        sketched: Tensor = self.layers[1:](first[:, :width]) + first[:, width:]  # [N, d]
        return sketched

    def _checked(self, graphs: Graphs) -> DenseBatch:
        """The batch padded to this encoder's number of nodes."""
        batch, config = as_batch(graphs), self.config
        try:
            check_vocabulary(batch, config.num_ops, config.num_edge_ops)
        except GraphError as error:
            raise GraphError(
                f"encoder '{self.name}' takes graphs of '{config.space}': {error}"
            ) from error
        largest = int(batch.num_nodes.max()) if len(batch) else 0
        if largest > config.num_nodes:
            raise GraphError(
                f"encoder '{self.name}' takes graphs of at most {config.num_nodes} nodes, "
                f"but one has {largest}"
            )
        return batch.pad_to(config.num_nodes)


def _linear(fan_in: int, fan_out: int, generator: torch.Generator) -> nn.Linear:
    """A linear layer with He-uniform weights and zero bias, drawn from ``generator``."""
    layer = nn.Linear(fan_in, fan_out)
    nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=generator)
    nn.init.zeros_(layer.bias)
    return layer


def _random_projection(config: EncoderConfig, width: int, generator: torch.Generator) -> Tensor:
    """A matrix [d, F] that roughly keeps the dot products of label histograms.

    Round 0 goes through an isometry, if it fits, later rounds through a Gaussian projection onto
    what that leaves free; all other columns are zero.
    """
    matrix = torch.zeros(config.dim, width)  # [d, F]
    if "wl" not in config.features:
        return matrix
    first = first_label_columns(config)
    exact, rest = first.stop - first.start, later_rounds(config) * config.wl_buckets
    basis, _ = torch.linalg.qr(torch.randn(config.dim, config.dim, generator=generator))  # [d, d]
    kept = exact if exact <= 3 * config.dim // 4 else 0
    if kept:
        matrix[:, first] = basis[:, :exact]
    else:
        matrix[:, first] = torch.randn(config.dim, exact, generator=generator) / config.dim**0.5
    free = basis[:, kept:]  # [d, d - kept]
    gaussian = torch.randn(free.shape[1], rest, generator=generator) / free.shape[1] ** 0.5
    matrix[:, first.stop : first.stop + rest] = free @ gaussian
    return matrix
