"""Curvature of the loss in alpha, by which a search can be stopped before it collapses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from gnas.data.images.loading import Batch
from gnas.search.toponas.bilevel import BilevelOptimizer
from gnas.training.batching import micro_batches

POWER_ROUNDS, POWER_TOLERANCE = 30, 1e-3
"""Most products of a power iteration, and the relative change of the value at which it ends."""


def alpha_eigenvalue(
    bilevel: BilevelOptimizer, batch: Batch, *, rounds: int = POWER_ROUNDS
) -> float:
    """Largest eigenvalue of the Hessian of the loss in alpha, at the current w and beta.

    By power iteration with exact Hessian-vector products. What first converges is the
    eigenvalue of the largest magnitude; where that is negative, a second iteration on the
    Hessian shifted by it finds the largest one.

    Args:
        bilevel: Supernet, alpha and beta.
        batch: Images of this process; the products of all its pieces and of all processes
            are averaged. With more than one piece every product computes the slopes anew,
            so that no more than one piece is held.
        rounds: Most products of one iteration.

    Source: Zela et al., Understanding and Robustifying Differentiable Architecture Search,
    ICLR 2020, section 4.
    """
    inputs = bilevel.arch.alphas()
    like = torch.cat([parameter.detach().flatten() for parameter in inputs])  # [n]
    pieces, draw = micro_batches(batch, bilevel.config.accumulate), bilevel.new_draw()
    with bilevel.requires_grad_only(inputs), twice_differentiable(bilevel.supernet):

        def slope(x: Tensor, y: Tensor) -> Tensor:
            return _flat_grad(bilevel.loss(x, y, draw)[0], inputs, create_graph=True)

        held = slope(*pieces[0]) if len(pieces) == 1 else None

        def product(vector: Tensor) -> Tensor:
            total = torch.zeros_like(vector)  # [n]
            for piece in pieces:
                own = slope(*piece) if held is None else held
                total += _flat_grad(own, inputs, vector, retain_graph=held is not None)
            return bilevel.context.average([total / len(pieces)])[0]

        dominant = dominant_eigenvalue(product, like, rounds)
        if dominant >= 0:
            return dominant
        return dominant + dominant_eigenvalue(lambda v: product(v) - dominant * v, like, rounds)


def _flat_grad(
    outputs: Tensor, inputs: Sequence[Tensor], vector: Tensor | None = None, **options: bool
) -> Tensor:
    """The gradient of ``outputs``, times ``vector`` where they are one too: [n]."""
    parts = torch.autograd.grad(
        outputs, inputs, vector, allow_unused=True, materialize_grads=True, **options
    )
    return torch.cat([part.flatten() for part in parts])


def dominant_eigenvalue(
    product: Callable[[Tensor], Tensor], like: Tensor, rounds: int = POWER_ROUNDS
) -> float:
    """The eigenvalue of the largest magnitude of a symmetric matrix, by power iteration.

    Args:
        product: Maps a vector [n] to the matrix times it.
        like: A vector [n] of the wanted device and type.
        rounds: Most products; it ends before where the value no longer changes.
    """
    generator = torch.Generator().manual_seed(0)
    vector = torch.randn(like.shape, generator=generator, dtype=torch.float64).to(like)
    value = 0.0
    for _ in range(rounds):
        vector = vector / vector.norm()
        image = product(vector)
        before, value = value, float(vector @ image)
        if abs(value - before) <= POWER_TOLERANCE * abs(value) or not image.any():
            break
        vector = image
    return value


@contextmanager
def twice_differentiable(supernet: nn.Module) -> Iterator[None]:
    """PyTorch's kernels in a supernet, as the C ones can be differentiated once only."""
    own: Any = supernet
    chosen = getattr(own, "kernels", None)
    if chosen is not None:
        own.kernels = "torch"
    try:
        yield
    finally:
        if chosen is not None:
            own.kernels = chosen
