"""The architecture variables alpha and beta, and the architecture that they mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn

from gnas.search.toponas.config import ToponasConfig
from gnas.search.toponas.relaxations import (
    RELAXATIONS,
    edge_normalisation,
    logsumexp_penalty,
)
from gnas.search.toponas.where import supernets_of
from gnas.spaces.supernets import MixedWeights, Supernets
from gnas.topology import TopologyDistribution, TopologySpace

ALPHA_SCALE = 1e-3
"""Deviation of the first alphas, as in DARTS."""


@dataclass(frozen=True)
class DerivedCell:
    """Choice of the variables of one cell type.

    Examples:
        >>> edges, ops = torch.tensor([True, True, False]), torch.tensor([2, 0, 2])
        >>> DerivedCell(edges, ops, how="argmax", skip=2).skip_share
        0.5
    """

    edges: Tensor
    """bool [E], in the order of the candidate edges."""
    ops: Tensor
    """int64 [E]: best operation of every edge, kept or not."""
    how: Literal["argmax", "best valid"]
    """The most probable set of edges of every node; or, as those left a node without an input,
    the most probable joint topology that does not."""
    skip: int
    """The place of the skip connection among the operations."""

    @property
    def skip_share(self) -> float:
        """Share of skip connections among the kept edges; 0 where there is none."""
        kept = self.ops[self.edges]
        return float((kept == self.skip).double().mean()) if len(kept) else 0.0


class ArchParameters(nn.Module):
    """alpha and, where a topology is learned, beta of every cell type.

    Args:
        config: Space, relaxation and topology variables of the search.
        generator: Source of the first values; None takes PyTorch's global one.

    Shapes:
        ``alpha[cell]`` [E, O], or [E, O + 1] with `none` last where no topology is learned.

    Examples:
        >>> arch = ArchParameters(ToponasConfig())
        >>> {cell: alpha.shape for cell, alpha in arch.alpha.items()}
        {'normal': torch.Size([14, 7]), 'reduce': torch.Size([14, 7])}
        >>> [scales.shape for scales in (arch.edge_scales("normal"), arch.op_weights("normal"))]
        [torch.Size([14]), torch.Size([14, 7])]
    """

    targets: Tensor

    def __init__(self, config: ToponasConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        self.form: Supernets = supernets_of(config)
        """Supernet of the space."""
        edges = self.form.edges
        columns = len(self.form.ops) + (0 if config.learns_topology else 1)
        self.relaxation = RELAXATIONS[config.relaxation](config.samples)
        self.alpha = nn.ParameterDict(
            {
                cell: nn.Parameter(
                    ALPHA_SCALE * torch.randn(len(edges), columns, generator=generator)
                )
                for cell in self.form.cells
            }
        )
        self.edge_logits = nn.ParameterDict(
            {cell: nn.Parameter(torch.zeros(len(edges))) for cell in self.form.cells}
            if config.edge_norm
            else {}
        )
        self.topology = nn.ModuleDict(
            {cell: self._distribution() for cell in self.form.cells}
            if config.learns_topology
            else {}
        )
        self.register_buffer("targets", torch.tensor([j for _, j in edges]), persistent=False)

    def _distribution(self) -> TopologyDistribution:
        c = self.config
        space: TopologySpace = "arbitrary" if c.topology == "arbitrary" else "fixed"
        return TopologyDistribution(
            self.form.code_nodes, space=space, k=c.k, mode=c.mode, num_inputs=self.form.num_inputs
        )

    def alphas(self) -> list[nn.Parameter]:
        """The parameters of alpha, with those that normalise edges."""
        return [*self.alpha.values(), *self.edge_logits.values()]

    def betas(self) -> list[nn.Parameter]:
        """The parameters of beta; none where no topology is learned."""
        return list(self.topology.parameters())

    def distribution(self, cell: str) -> TopologyDistribution:
        """The topology distribution of a cell type, where one is learned."""
        return cast(TopologyDistribution, self.topology[cell])

    def op_weights(self, cell: str) -> Tensor:
        """Mean weights of the operations, without the column of `none`: [E, O] (eq. 1)."""
        return self.relaxation.mean(self.alpha[cell])[:, : len(self.form.ops)]

    def edge_scales(self, cell: str) -> Tensor:
        """s(i, j): [E] (eq. 10, 13); ones where no topology is learned."""
        if self.config.learns_topology:
            return self.distribution(cell).edge_scales()
        return torch.ones_like(self.alpha[cell][:, 0])

    def mixed_weights(self, temperature: float = 1.0) -> tuple[MixedWeights, ...]:
        """Arguments of the supernet beside images: the weights of every cell type.

        Relaxations that draw take their numbers from torch's global generator.
        """
        return tuple(
            MixedWeights(
                self.relaxation.weights(self.alpha[cell], temperature)[:, : len(self.form.ops)],
                self._edge_weights(cell),
            )
            for cell in self.form.cells
        )

    def _edge_weights(self, cell: str) -> Tensor:
        """s(i, j), times the weights that normalise edges where these are learned: [E]."""
        scales = self.edge_scales(cell)
        if self.config.edge_norm:
            scales = scales * edge_normalisation(self.edge_logits[cell], self.targets)
        return scales

    def regulariser(self) -> Tensor:
        """r(beta) of all cell types together (eq. 14)."""
        return torch.stack([self.distribution(c).regulariser() for c in self.form.cells]).sum()

    def alpha_penalty(self) -> Tensor:
        """The mean log sum exp of alpha, of all cell types together."""
        return torch.stack([logsumexp_penalty(alpha) for alpha in self.alpha.values()]).sum()

    @torch.no_grad()
    def derive(self) -> dict[str, DerivedCell]:
        """The cell of every type that alpha and beta mean today.

        Raises:
            ConfigError: a value is not finite.
        """
        return {cell: self._derive(cell) for cell in self.form.cells}

    def _derive(self, cell: str) -> DerivedCell:
        weights = self.op_weights(cell)  # [E, O]
        ops, skip = weights.argmax(1).cpu(), self.form.ops.index(self.form.skip)
        if self.config.learns_topology:
            distribution = self.distribution(cell)
        elif not self.form.prunes:
            none = self.relaxation.mean(self.alpha[cell])[:, -1]  # [E]
            return DerivedCell((weights.amax(1) > none).cpu(), ops, "argmax", skip)
        else:
            # As a distribution in which a set of edges weighs as much as its edges together:
            # its argmax are the k edges of the largest weights.
            strength = weights.amax(1)  # [E]
            if self.config.edge_norm:
                strength = strength * edge_normalisation(self.edge_logits[cell], self.targets)
            distribution = self._distribution().to(weights.device)
            distribution.logits.copy_(distribution.incidence.to(weights.dtype) @ strength)
        argmax = distribution.argmax()  # [E]
        valid = bool(distribution.codes.is_valid(argmax))
        return DerivedCell(
            argmax if valid else distribution.best_valid(),
            ops,
            "argmax" if valid else "best valid",
            skip,
        )

    @torch.no_grad()
    def snapshot(self) -> dict[str, Tensor]:
        """alpha, beta and s of all cell types, on the CPU, as a search records them."""
        found = {}
        for cell in self.form.cells:
            found[f"alpha.{cell}"] = self.alpha[cell]
            found[f"scale.{cell}"] = self.edge_scales(cell)
            if self.config.edge_norm:
                found[f"edge.{cell}"] = self.edge_logits[cell]
            if self.config.learns_topology:
                found[f"beta.{cell}"] = self.distribution(cell).logits
        return {name: tensor.detach().cpu().clone() for name, tensor in found.items()}

    @torch.no_grad()
    def restore(self, snapshot: Mapping[str, Tensor]) -> None:
        """Take the variables of a `snapshot`."""
        for cell in self.form.cells:
            self.alpha[cell].copy_(snapshot[f"alpha.{cell}"])
            if self.config.edge_norm:
                self.edge_logits[cell].copy_(snapshot[f"edge.{cell}"])
            if self.config.learns_topology:
                self.distribution(cell).logits.copy_(snapshot[f"beta.{cell}"])

    @torch.no_grad()
    def statistics(self) -> dict[str, float]:
        """Entropies in nats, mass of invalid topologies and the regulariser, by name."""
        found: dict[str, float] = {}
        for cell in self.form.cells:
            p = self.relaxation.mean(self.alpha[cell])  # [E, O]
            found[f"alpha_entropy_{cell}"] = float(-(p * p.log()).sum(1).mean())
            if self.config.learns_topology:
                distribution = self.distribution(cell)
                found[f"beta_entropy_{cell}"] = float(distribution.entropy())
                found[f"invalid_mass_{cell}"] = float(distribution.invalid_mass())
                found[f"regulariser_{cell}"] = float(distribution.regulariser())
        return found

    def skip_advantage(self, cell: str, edges: Tensor) -> tuple[float, float]:
        """Mean weights, over the kept edges, of the skip and of the best operation with weights.

        Shapes:
            edges bool [E].
        """
        weights = self.op_weights(cell).detach()
        kept = weights[edges.to(weights.device)]
        learned = [k for k, name in enumerate(self.form.ops) if name in self.form.learned]
        skip = self.form.ops.index(self.form.skip)
        return float(kept[:, skip].mean()), float(kept[:, learned].amax(1).mean())


@torch.no_grad()
def uniform_entropies(config: ToponasConfig) -> dict[str, float]:
    """The largest values, in nats, of the entropies that `ArchParameters.statistics` has, by name.

    They are reached where every operation, and every set of edges of a node, is equally likely.
    """
    uniform = ArchParameters(config, torch.Generator())
    for parameter in uniform.parameters():
        parameter.zero_()
    return {name: value for name, value in uniform.statistics().items() if "_entropy_" in name}


def derived_codes(cells: Mapping[str, DerivedCell]) -> Tensor:
    """All cells as `Supernets.graph` reads them: int64 [cell types, E], 0 for no edge."""
    return torch.stack([torch.where(c.edges, c.ops + 1, 0) for c in cells.values()])
