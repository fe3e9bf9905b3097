"""Relaxations of the choice of one operation per edge: weights of operations from alpha.

A relaxation is independent of the supernet, of the topology and of the method that learns: it maps
alpha [E, O] to weights [E, O], anew for every batch, and says which weights it means on average,
from which cells are derived. `RELAXATIONS` has them by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from gnas.search.toponas.config import RelaxationName


class Relaxation(Protocol):
    """Interface of a relaxation."""

    @property
    def draws(self) -> bool:
        """Whether `weights` takes random numbers, from torch's global generator on the CPU."""
        ...

    def weights(self, alpha: Tensor, temperature: float) -> Tensor:
        """Weights of the operations for one batch, with a gradient to alpha.

        Shapes:
            alpha [E, O] -> [E, O], rows that sum to 1.
        """
        ...

    def mean(self, alpha: Tensor) -> Tensor:
        """The weights that alpha stands for, without chance: what cells are derived from.

        Shapes:
            alpha [E, O] -> [E, O], rows that sum to 1.
        """
        ...


@dataclass(frozen=True)
class Softmax:
    """Every operation at once, by the softmax of alpha.

    Source: Liu et al., DARTS, ICLR 2019, eq. 2.
    """

    draws: ClassVar[bool] = False

    def weights(self, alpha: Tensor, temperature: float) -> Tensor:
        """See `Relaxation`; the temperature does not matter."""
        return alpha.softmax(1)

    def mean(self, alpha: Tensor) -> Tensor:
        """See `Relaxation`."""
        return alpha.softmax(1)


@dataclass(frozen=True)
class GumbelSoftmax:
    """Sampled operations, by the softmax of alpha with Gumbel noise.

    ``samples=0`` weighs every operation by the relaxed sample (SNAS). ``samples=1`` takes the one
    operation that the noise makes largest, with the relaxed sample's gradient (GDAS);
    ``samples=K`` is the mean of K such draws, independent of each other.

    Difference from GDAS' published code, which computes the chosen operation alone and so has no
    gradient of how good the others would have been: here all operations are computed where alpha
    learns, so that the gradient is that of the paper.

    Args:
        samples: Hard draws of an edge, or 0.

    Source: Xie et al., SNAS, ICLR 2019, section 2; Dong and Yang, Searching for a Robust Neural
    Architecture in Four GPU Hours (GDAS), CVPR 2019, section 3; Jang et al., ICLR 2017.
    """

    samples: int = 1
    draws: ClassVar[bool] = True

    def weights(self, alpha: Tensor, temperature: float) -> Tensor:
        """See `Relaxation`."""
        logits = alpha.log_softmax(1)  # [E, O]
        if self.samples == 0:
            return ((logits + _gumbel(alpha)) / temperature).softmax(1)
        total = torch.zeros_like(alpha)
        for _ in range(self.samples):
            soft = ((logits + _gumbel(alpha)) / temperature).softmax(1)  # [E, O]
            hard = F.one_hot(soft.argmax(1), alpha.size(1)).to(soft.dtype)  # [E, O]
            # exact zeros where nothing was sampled, and the gradient of the relaxed sample
            total = total + (hard + (soft - soft.detach()))
        return total / self.samples

    def mean(self, alpha: Tensor) -> Tensor:
        """See `Relaxation`: the probability of being drawn."""
        return alpha.softmax(1)


@dataclass(frozen=True)
class Dirichlet:
    """A point of the simplex, drawn from the Dirichlet distribution of elu(alpha) + 1.

    The paper's penalty on the distance to the uniform Dirichlet distribution is, as in its
    experiments, the weight decay of alpha.

    Source: Chen et al., DrNAS, ICLR 2021, section 2.2, without the progressive learning of its
    section 2.4.
    """

    draws: ClassVar[bool] = True

    def weights(self, alpha: Tensor, temperature: float) -> Tensor:
        """See `Relaxation`; the gradient is that of the implicit reparameterisation."""
        concentration = self._concentration(alpha)  # [E, O]
        drawn: Tensor = torch.distributions.Dirichlet(concentration.cpu()).rsample()
        return drawn.to(alpha.device)

    def mean(self, alpha: Tensor) -> Tensor:
        """See `Relaxation`."""
        concentration = self._concentration(alpha)  # [E, O]
        return concentration / concentration.sum(1, keepdim=True)

    def _concentration(self, alpha: Tensor) -> Tensor:
        return F.elu(alpha) + 1 + SMALLEST


SMALLEST = 1e-6
"""Added to concentrations, which a strongly negative alpha rounds to 0."""

RELAXATIONS: dict[RelaxationName, Callable[[int], Relaxation]] = {
    "softmax": lambda samples: Softmax(),
    "gumbel": GumbelSoftmax,
    "dirichlet": lambda samples: Dirichlet(),
}
"""Makers by name, each of the number of samples."""


def logsumexp_penalty(alpha: Tensor) -> Tensor:
    """Mean over the edges of log sum exp alpha, scalar: keeps the softmax from growing sharp.

    Source: Ye et al., beta-DARTS, CVPR 2022. Choice: the weight reaches its value in the last
    epoch, however many there are.
    """
    return alpha.logsumexp(1).mean()


def edge_normalisation(logits: Tensor, targets: Tensor) -> Tensor:
    """Softmax over the edges that enter the same node.

    Args:
        logits: One for each edge.
        targets: The node that every edge enters.

    Shapes:
        logits [E], targets int64 [E] -> [E].

    Source: Xu et al., PC-DARTS, ICLR 2020, eq. 3.
    """
    same = targets[:, None] == targets  # [E, E]
    # a constant shift of each node's logits changes nothing, and keeps exp from overflowing
    largest = logits.detach().expand(len(logits), -1).masked_fill(~same, -torch.inf).amax(1)
    grown = (logits - largest).exp()  # [E]
    return grown / (same * grown).sum(1)


def _gumbel(like: Tensor) -> Tensor:
    """Independent standard Gumbel numbers, drawn on the CPU so that devices agree."""
    return -torch.empty(like.shape, dtype=like.dtype).exponential_().log().to(like.device)
