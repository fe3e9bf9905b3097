"""The architecture variables alpha and beta, and the architecture that they mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn

from gnas.models.supercell import MixedWeights
from gnas.search.toponas.config import ToponasConfig
from gnas.spaces.toponas.cells import CELL_TYPES, PRIMITIVES
from gnas.topology import TopologyDistribution, TopologySpace, candidate_edges, is_valid

ALPHA_SCALE = 1e-3
"""Deviation of the first alphas, as in DARTS."""


@dataclass(frozen=True)
class DerivedCell:
    """What the variables of one cell type choose."""

    edges: Tensor
    """bool [E], in the order of `candidate_edges`."""
    ops: Tensor
    """int64 [E]: best primitive of every edge, kept or not."""
    how: Literal["argmax", "best valid"]
    """The sets of edges that every node likes best; or, as those left a node without an input,
    the most probable joint topology that does not."""

    @property
    def skip_share(self) -> float:
        """Share of skip connections among the kept edges."""
        skip = PRIMITIVES.index("skip_connect")
        return float((self.ops[self.edges] == skip).double().mean())


class ArchParameters(nn.Module):
    """alpha and, where a topology is learned, beta of both cell types.

    Shapes:
        ``alpha[cell]`` [E, 7], or [E, 8] with `none` last where no topology is learned.
    """

    def __init__(self, config: ToponasConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        edges = len(candidate_edges(config.num_nodes))
        columns = len(PRIMITIVES) + (0 if config.learns_topology else 1)
        self.alpha = nn.ParameterDict(
            {
                cell: nn.Parameter(ALPHA_SCALE * torch.randn(edges, columns, generator=generator))
                for cell in CELL_TYPES
            }
        )
        self.topology = nn.ModuleDict(
            {cell: self._distribution() for cell in CELL_TYPES} if config.learns_topology else {}
        )

    def _distribution(self) -> TopologyDistribution:
        c = self.config
        space: TopologySpace = "arbitrary" if c.topology == "arbitrary" else "fixed"
        return TopologyDistribution(c.num_nodes, space=space, k=c.k, mode=c.mode)

    def alphas(self) -> list[nn.Parameter]:
        """The parameters of alpha."""
        return list(self.alpha.values())

    def betas(self) -> list[nn.Parameter]:
        """The parameters of beta; none where no topology is learned."""
        return list(self.topology.parameters())

    def distribution(self, cell: str) -> TopologyDistribution:
        """The topology distribution of a cell type, where one is learned."""
        return cast(TopologyDistribution, self.topology[cell])

    def op_weights(self, cell: str) -> Tensor:
        """Softmax of alpha without the column of `none`: [E, 7] (eq. 1)."""
        weights: Tensor = self.alpha[cell].softmax(1)[:, : len(PRIMITIVES)]
        return weights

    def edge_scales(self, cell: str) -> Tensor:
        """s(i, j): [E] (eq. 10, 13); ones where no topology is learned."""
        if self.config.learns_topology:
            return self.distribution(cell).edge_scales()
        return torch.ones_like(self.alpha[cell][:, 0])

    def mixed_weights(self) -> tuple[MixedWeights, MixedWeights]:
        """What the supernet is called with: of normal and of reduction cells."""
        normal, reduce = (
            MixedWeights(self.op_weights(cell), self.edge_scales(cell)) for cell in CELL_TYPES
        )
        return normal, reduce

    def regulariser(self) -> Tensor:
        """r(beta) of both cell types together (eq. 14)."""
        return torch.stack([self.distribution(cell).regulariser() for cell in CELL_TYPES]).sum()

    @torch.no_grad()
    def derive(self) -> dict[str, DerivedCell]:
        """The cell of every type that alpha and beta mean today.

        Raises:
            ConfigError: a value is not finite.
        """
        return {cell: self._derive(cell) for cell in CELL_TYPES}

    def _derive(self, cell: str) -> DerivedCell:
        weights = self.op_weights(cell)
        if self.config.learns_topology:
            distribution = self.distribution(cell)
        else:
            # As a distribution in which a set of edges weighs as much as its edges together:
            # its argmax are the k edges of the largest weights.
            distribution = self._distribution().to(weights.device)
            distribution.logits.copy_(distribution.incidence.to(weights.dtype) @ weights.amax(1))
        argmax = distribution.argmax()
        valid = bool(is_valid(argmax, self.config.num_nodes))
        return DerivedCell(
            argmax if valid else distribution.best_valid(),
            weights.argmax(1).cpu(),
            "argmax" if valid else "best valid",
        )

    @torch.no_grad()
    def snapshot(self) -> dict[str, Tensor]:
        """alpha, beta and s of both cell types, on the CPU, as a search records them."""
        found = {}
        for cell in CELL_TYPES:
            found[f"alpha.{cell}"] = self.alpha[cell]
            found[f"scale.{cell}"] = self.edge_scales(cell)
            if self.config.learns_topology:
                found[f"beta.{cell}"] = self.distribution(cell).logits
        return {name: tensor.detach().cpu().clone() for name, tensor in found.items()}

    @torch.no_grad()
    def facts(self) -> dict[str, float]:
        """Entropies in nats, mass of invalid topologies and the regulariser, by name."""
        found: dict[str, float] = {}
        for cell in CELL_TYPES:
            p = self.alpha[cell].softmax(1)
            found[f"alpha_entropy_{cell}"] = float(-(p * p.log()).sum(1).mean())
            if self.config.learns_topology:
                distribution = self.distribution(cell)
                found[f"beta_entropy_{cell}"] = float(distribution.entropy())
                found[f"invalid_mass_{cell}"] = float(distribution.invalid_mass())
                found[f"regulariser_{cell}"] = float(distribution.regulariser())
        return found


@torch.no_grad()
def uniform_entropies(config: ToponasConfig) -> dict[str, float]:
    """The largest values, in nats, of the entropies that `ArchParameters.facts` has, by name.

    They are reached where every operation, and every set of edges of a node, is equally likely.
    """
    uniform = ArchParameters(config)
    for parameter in uniform.parameters():
        parameter.zero_()
    return {name: value for name, value in uniform.facts().items() if "_entropy_" in name}


def skip_advantage(weights: Tensor, edges: Tensor) -> tuple[float, float]:
    """Mean weights, over the kept edges, of skip_connect and of the best operation with weights.

    Shapes:
        weights [E, 7], edges bool [E].
    """
    kept = weights[edges.to(weights.device)]
    skip = PRIMITIVES.index("skip_connect")
    convolutions = [k for k, name in enumerate(PRIMITIVES) if "conv" in name]
    return float(kept[:, skip].mean()), float(kept[:, convolutions].amax(1).mean())


def edge_codes(cells: Mapping[str, DerivedCell]) -> Tensor:
    """Both cells as `gnas.spaces.toponas.cells` codes them: int64 [2, E], 0 for no edge."""
    return torch.stack(
        [torch.where(c.edges, c.ops + 1, 0) for c in (cells[t] for t in CELL_TYPES)]
    )
