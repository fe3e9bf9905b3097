"""Encoders that are graph networks: they read what a cell computes, node by node."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from gnas.encoders.base import Encoder, Pretrained
from gnas.encoders.graph_config import GraphEncoderConfig
from gnas.encoders.networks import NETWORKS
from gnas.errors import GraphError
from gnas.graphs import DenseBatch, Graphs, as_batch
from gnas.spaces.vocabulary import functional_forms
from gnas.training.devices import own_generator, own_settings

CHUNK_SIZE = 2048
"""Graphs that go through a network at once: bounds memory."""


class GraphEncoder(nn.Module, Pretrained, Encoder):
    """A graph network over the functional form of an architecture.

    The functional form (`gnas.graphs.functional_form`) has operations on nodes whatever the space,
    no dead branch and no skip connection, so cells that compute the same get the same embedding.
    A node starts as its operation; a network (`gnas.encoders.networks`) passes messages among
    the nodes; the embedding is a perceptron on the sum of all states, of the sources' and of the
    sinks'. No hand-made number enters.

    Args:
        config: The recipe. Weights are random, seeded by it, until `pretrain` or a predictor
            trains them.
        name: Name of this encoder in results.

    Examples:
        >>> from gnas.spaces import NASBench201
        >>> from gnas.spaces.vocabulary import Vocabulary
        >>> recipe = GraphEncoderConfig(vocabulary=Vocabulary.of(NASBench201()), dim=16)
        >>> GraphEncoder(recipe).encode(NASBench201().enumerate()[:3]).shape
        torch.Size([3, 16])
    """

    @own_settings()
    def __init__(self, config: GraphEncoderConfig, name: str = "graph network") -> None:
        super().__init__()
        self.config = config
        self.name = name
        self.dim = config.dim
        vocabulary = config.vocabulary
        self.space, self.num_ops = config.space, len(vocabulary.ops)
        self.max_nodes, self.sees_ops = vocabulary.max_nodes, True
        with own_generator(config.seed):
            self.op_embedding = nn.Embedding(config.vocabulary.num_kinds + 1, config.width)
            self.network = NETWORKS[config.network](config.width, config.layers)
            states = self.network.out_width
            self.sum_proj = nn.Linear(states, states)
            self.readout = nn.Sequential(
                nn.LayerNorm(3 * states),
                nn.Linear(3 * states, 2 * config.width),
                nn.SiLU(),
                nn.Linear(2 * config.width, config.dim),
            )

    @property
    def hidden(self) -> int:
        """The number that stands for an operation that is hidden, see `states`."""
        return self.config.vocabulary.num_kinds

    def states(self, ops: Tensor, edges: Tensor) -> Tensor:
        """States of the nodes of functional forms.

        Args:
            ops: Kinds, `hidden` where the network may not know, -1 on padding.
            edges: Multiplicities.

        Shapes:
            int64 [N, n], float32 [N, n, n] -> [N, n, w].
        """
        real = (ops >= 0).unsqueeze(2).to(edges.dtype)  # [N, n, 1]
        found: Tensor = self.network(self.op_embedding(ops.clamp(min=0)) * real, edges, real)
        return found

    def forward(self, ops: Tensor, edges: Tensor) -> Tensor:
        """Embeddings [N, d] of functional forms, see `states`."""
        states = self.states(ops, edges)  # [N, n, w]
        real = (ops >= 0).to(edges.dtype)  # [N, n]
        sources = (edges.sum(1) == 0) * real  # [N, n]
        sinks = (edges.sum(2) == 0) * real  # [N, n]
        summed = (self.sum_proj(states).relu() * real[:, :, None]).sum(1)  # [N, w]
        ends = [torch.einsum("nv,nvw->nw", which, states) for which in (sources, sinks)]  # [N, w]
        embedding: Tensor = self.readout(torch.cat([summed, *ends], 1).relu().log1p())
        return embedding

    def forms(self, graphs: Graphs) -> DenseBatch:
        """The functional forms that the network reads.

        Raises:
            GraphError: an architecture is of another vocabulary, or too large.
        """
        try:
            return functional_forms(self.config.vocabulary, as_batch(graphs))
        except GraphError as error:
            raise GraphError(f"encoder '{self.name}': {error}") from error

    @own_settings()
    @torch.inference_mode()
    def encode(self, graphs: Graphs) -> Tensor:
        """See `Encoder.encode`."""
        forms = self.forms(graphs)
        if not len(forms):
            return torch.zeros(0, self.dim)
        rows, inverse = np.unique(pack_graphs(forms), axis=0, return_inverse=True)
        return apply_in_chunks(self, rows)[torch.from_numpy(inverse.reshape(-1))]


def pack_graphs(forms: DenseBatch) -> np.ndarray:
    """Functional forms as rows of small numbers: kinds, then the upper triangle of multiplicities.

    Shapes: N forms of n nodes -> int16 [N, n + n (n - 1) / 2].
    """
    n = forms.max_nodes
    upper = tuple(torch.triu_indices(n, n, 1))  # n (n - 1) / 2 pairs
    parts = [forms.ops.short(), forms.adjacency[:, upper[0], upper[1]].short()]
    return torch.cat(parts, 1).numpy()


def unpack_graphs(rows: np.ndarray) -> tuple[Tensor, Tensor]:
    """Inputs of networks, padded no further than the largest form: the inverse of `pack_graphs`.

    Shapes: [N, n + n (n - 1) / 2] -> int64 [N, m], float32 [N, m, m] with m <= n.
    """
    n = (math.isqrt(8 * rows.shape[1] + 1) - 1) // 2
    numbers = torch.from_numpy(rows)
    ops = numbers[:, :n].long()  # [N, n]
    edges = torch.zeros(len(rows), n, n, dtype=torch.float32)  # [N, n, n]
    upper = tuple(torch.triu_indices(n, n, 1))
    edges[:, upper[0], upper[1]] = numbers[:, n:].float()
    most = int((ops >= 0).sum(1).max()) if len(ops) else 1
    return ops[:, :most], edges[:, :most, :most].contiguous()


@torch.inference_mode()
def apply_in_chunks(network: Callable[[Tensor, Tensor], Tensor], rows: np.ndarray) -> Tensor:
    """Outputs of a network that reads `unpack_graphs` for rows of `pack_graphs`, by chunks.

    Shapes: [N, n + n (n - 1) / 2] -> [N, ...].
    """
    starts = range(0, max(len(rows), 1), CHUNK_SIZE)
    return torch.cat([network(*unpack_graphs(rows[i : i + CHUNK_SIZE])) for i in starts])
