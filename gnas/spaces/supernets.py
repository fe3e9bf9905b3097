"""Supernets of the cells of a space, for differentiable search."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

from pydantic import Field
from torch import Tensor, nn

from gnas.config import Channels, Count, Depth, configuration
from gnas.errors import ConfigError
from gnas.geometric import Data
from gnas.topology import Mode, TopologyCodes, TopologySpace, candidate_edges


class MixedWeights(NamedTuple):
    """Weights of the operations and edges of one cell type."""

    ops: Tensor
    """[E, O]: relaxed alpha, in the orders of the candidate edges and of `Supernets.ops`."""
    edges: Tensor
    """[E]: s(i, j); ones where no topology is learned."""


@configuration
class SupernetConfig:
    """Size and form of a supernet; the defaults are DARTS' on CIFAR-10."""

    in_channels: Channels = 3
    """Image channels."""
    num_classes: Count = 10
    """Width of the classifier."""
    channels: Channels = 16
    """Channels of the first cells' nodes; each reduction doubles them."""
    num_cells: Depth = 8
    """Cells. DARTS' supernet reduces in those at 1/3 and 2/3 of the depth; NAS-Bench-201's has so
    many in each of its three stages."""
    num_nodes: Annotated[int, Field(ge=4, le=1000)] = 7
    """Nodes of a cell, its inputs and its output included."""
    stem: Literal["cifar", "imagenet"] = "cifar"
    """One 3x3 convolution, or three with stride 2."""
    stem_multiplier: Channels = 3
    """Channels of the DARTS supernet's CIFAR stem, in multiples of ``channels``."""
    partial: Channels = 1
    """Only 1/partial of the channels go through the operations; 4 is PC-DARTS."""
    kernels: Literal["auto", "native", "torch"] = "auto"
    """Implementation of the cells: C code (CPU, float32, float64), PyTorch, or C where it can."""
    recompute: bool = False
    """Keep only the cells' outputs and compute the rest again in the backward: less memory."""

    def __post_init__(self) -> None:
        if self.channels % 2:
            raise ConfigError(f"channels must be even, but got {self.channels}")
        if self.channels % self.partial:
            raise ConfigError(
                f"partial must divide the {self.channels} channels, but got {self.partial}"
            )


@dataclass(frozen=True, kw_only=True)
class Supernets:
    """The supernet of one space: what is searched in it, how it is built and how it is read.

    `gnas.search.search_toponas` learns alpha over ``ops`` on the candidate edges of every cell
    type, and a topology over those edges; it calls the network with the images and one
    `MixedWeights` for each cell type.
    """

    cells: tuple[str, ...]
    """Names of the cell types; each has its own alpha and beta."""
    ops: tuple[str, ...]
    """Operations of an edge; that an edge is absent ("none") is none of them."""
    skip: str
    """The operation that only passes on its input, whose share tells a collapse."""
    learned: tuple[str, ...]
    """The operations that have weights."""
    num_nodes: int
    """Nodes of a cell as a config counts them: inputs and output included."""
    num_inputs: int = 2
    """Nodes that no edge enters."""
    joins: bool = True
    """Whether the last node joins the others, so that no edge into it is learned."""
    prunes: bool = True
    """Whether, where no topology is learned, every node keeps its k strongest edges, as in DARTS;
    otherwise an edge falls away where `none` is its strongest operation, as is the custom on
    NAS-Bench-201."""
    build: Callable[[SupernetConfig], nn.Module]
    """Makes the network from torch's global generator."""
    graph: Callable[[Tensor], Data]
    """The architecture of edge codes int64 [cell types, E]: 0 for no edge, else 1 + the place of
    the operation in ``ops``."""
    smallest: int = 4
    """Height and width of the smallest images that something is left of."""

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """Candidate edges of a cell."""
        return candidate_edges(self.code_nodes, self.num_inputs)

    @property
    def code_nodes(self) -> int:
        """Nodes as `gnas.topology` counts them, which takes the last for one that joins."""
        return self.num_nodes if self.joins else self.num_nodes + 1

    def codes(self, space: TopologySpace, k: int, mode: Mode) -> TopologyCodes:
        """The sets of edges that the nodes of a cell choose from."""
        return TopologyCodes(
            num_nodes=self.code_nodes, space=space, k=k, mode=mode, num_inputs=self.num_inputs
        )
