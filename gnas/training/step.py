"""One optimisation step: precision, loss scaling, clipping, update; and the loop around it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from gnas.config import Precision

T = TypeVar("T")


def autocast(device: str, precision: Precision) -> torch.autocast:
    """Context in which operations that tolerate it compute in ``precision``.

    Args:
        device: "cpu", "cuda" or "cuda:N".
        precision: "float32" changes nothing.
    """
    return torch.autocast(
        device.split(":")[0],
        dtype=torch.float16 if precision == "float16" else torch.bfloat16,
        enabled=precision != "float32",
        # PyTorch drops the weights that it has cast at the end of the outermost context alone,
        # which may be the program's: each step would see the first ones
        cache_enabled=False,
    )


def loss_scaler(
    device: str, precision: Precision, *, first: float = 2.0**16, double_after: int = 2000
) -> GradScaler:
    """Scaler that keeps small gradients in float16 from vanishing; the identity otherwise.

    Args:
        device: "cpu", "cuda" or "cuda:N".
        precision: Type of `autocast`.
        first: First factor of the loss; it is halved when a gradient overflows.
        double_after: Steps in a row without overflow after which the factor doubles.
    """
    return GradScaler(
        device.split(":")[0],
        init_scale=first,
        growth_interval=double_after,
        enabled=precision == "float16",
    )


def momentum_sgd(
    network: nn.Module, *, lr: float, momentum: float, weight_decay: float, nesterov: bool = False
) -> torch.optim.SGD:
    """SGD of all weights of a network, which need not take part in every step.

    Args:
        network: The network, in its final memory format. Scalars of it do not learn: they are
            place-holders.
        lr: Learning rate.
        momentum: Momentum.
        weight_decay: L2 penalty.
        nesterov: Whether the gradient is taken ahead, by Nesterov's method.

    Examples:
        >>> used, unused = nn.Linear(1, 1), nn.Linear(1, 1)
        >>> network = nn.ModuleList([used, unused])
        >>> optimizer = momentum_sgd(network, lr=0.1, momentum=0.9, weight_decay=0)
        >>> torch.autograd.backward(used(torch.ones(1, 1)).sum())
        >>> optimizer_step(optimizer)
    """
    parameters = [p for p in network.parameters() if p.dim() > 0]
    optimizer = torch.optim.SGD(
        parameters,
        lr=lr,
        momentum=momentum,
        weight_decay=weight_decay,
        nesterov=nesterov,
        fused=True,
    )
    # PyTorch makes momenta when there is a gradient, and its fused step fails where some have one
    # and others do not; zeros give the same first step.
    for parameter in parameters if momentum else []:
        optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def parameters_of(optimizer: Optimizer) -> list[nn.Parameter]:
    """Parameters of an optimiser in its own order."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def optimizer_step(
    *optimizers: Optimizer,
    scaler: GradScaler | None = None,
    clip_norm: float = math.inf,
    scheduler: LRScheduler | None = None,
) -> None:
    """Update parameters by their gradients, which are dropped afterwards.

    Args:
        optimizers: Optimisers of different parameters.
        scaler: Scaler by which the loss was multiplied. A step whose gradient overflowed is left
            out.
        clip_norm: Largest norm of the gradient of each optimiser's parameters.
        scheduler: Schedule whose next learning rate holds afterwards.

    Examples:
        >>> w = nn.Parameter(torch.ones(2))
        >>> optimizer = torch.optim.SGD([w], lr=0.5)
        >>> torch.autograd.backward(3 * w.sum())
        >>> optimizer_step(optimizer)
        >>> w.tolist()
        [-0.5, -0.5]
    """
    for optimizer in optimizers:
        if scaler is not None:
            scaler.unscale_(optimizer)
        if math.isfinite(clip_norm):
            nn.utils.clip_grad_norm_(parameters_of(optimizer), clip_norm)
        if scaler is not None:
            scaler.step(optimizer)
        else:
            optimizer.step()
    if scaler is not None:
        scaler.update()
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    if scheduler is not None:
        scheduler.step()


def minimize(
    batches: Iterable[T],
    loss_of: Callable[[T], Tensor],
    optimizer: Optimizer,
    *,
    clip_norm: float = math.inf,
    scheduler: LRScheduler | None = None,
    report: Callable[[int, float], None] | None = None,
) -> None:
    """Descend on the loss of one batch after the other.

    Args:
        batches: Whatever ``loss_of`` takes.
        loss_of: Scalar loss of a batch.
        optimizer: See `optimizer_step`.
        clip_norm: See `optimizer_step`.
        scheduler: See `optimizer_step`.
        report: Called after every step with its number, from 1, and the loss before it.

    Examples:
        >>> w, losses = nn.Parameter(torch.ones(1)), []
        >>> optimizer = torch.optim.SGD([w], lr=0.25)
        >>> minimize(range(3), lambda _: w.square().sum(), optimizer,
        ...          report=lambda step, loss: losses.append(loss))
        >>> losses
        [1.0, 0.25, 0.0625]
    """
    for number, batch in enumerate(batches, 1):
        loss = loss_of(batch)
        torch.autograd.backward(loss)
        optimizer_step(optimizer, clip_norm=clip_norm, scheduler=scheduler)
        if report is not None:
            report(number, loss.item())
