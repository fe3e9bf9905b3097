"""Bilevel steps of a supernet search: w, alpha and beta, each by its own loss.

Every gradient is a mean over the pieces of a batch and over all processes, so the parts combine
freely: the losses (`LossTerm`), the weights at which they are taken (`BilevelOptimizer.gradients`,
`BilevelOptimizer.unrolled_gradients`), and the order of the updates (`BilevelOptimizer.step`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gnas.data.images.loading import Batch
from gnas.search.toponas.arch import ArchParameters
from gnas.search.toponas.config import ToponasConfig
from gnas.spaces.supernets import MixedWeights
from gnas.training.batching import micro_batches
from gnas.training.devices import own_generator
from gnas.training.distributed import SINGLE_PROCESS, DistributedContext
from gnas.training.step import autocast, loss_scaler, optimizer_step, parameters_of

HVP_RADIUS = 0.01
"""Length of the finite-difference step in w (DARTS, section 2.3, footnote 2)."""
FIRST_SCALE, DOUBLE_AFTER = 2.0**13, 500
"""float16: first factor of the loss, and steps without overflow after which it doubles."""


class LossTerm(NamedTuple):
    """A weighted loss on one batch, with the penalties of some variables."""

    batch: Batch
    weight: float = 1.0
    penalties: tuple[str, ...] = ()
    """Variables, "alpha" or "beta", whose penalty is added to the loss."""
    draw: int | None = None
    """Seed of what the relaxation draws, where that must be the same again; None draws anew."""


@dataclass(frozen=True)
class BatchMetrics:
    """Loss and accuracy on a batch before anything was learned from it, over all processes."""

    loss: float
    """Mean cross-entropy in nats, without the penalties."""
    acc: float
    """Share of the images classified correctly."""


@dataclass(frozen=True)
class StepMetrics:
    """Metrics of one step on the batch of each stream."""

    train: BatchMetrics
    val: BatchMetrics
    """Metrics on alpha's batch."""
    val_beta: BatchMetrics | None
    """Metrics on beta's batch, if it has its own."""


class BilevelOptimizer:
    """The updates of w, alpha and beta from one batch of each stream at a time.

    Args:
        supernet: Network with weights w, called with images and `ArchParameters.mixed_weights`.
        arch: alpha and beta.
        config: The configuration.
        context: This process among all that search together.

    Source: Huang et al. 2020, Algorithm 1 and eq. 17-23; order 2: Liu et al., DARTS, eq. 6-8.
    """

    def __init__(
        self,
        supernet: nn.Module,
        arch: ArchParameters,
        config: ToponasConfig,
        context: DistributedContext = SINGLE_PROCESS,
    ) -> None:
        self.supernet, self.arch, self.config, self.context = supernet, arch, config, context
        self.w = list(supernet.parameters())
        self.w_optimizer = torch.optim.SGD(
            self.w, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay
        )
        groups = {"alpha": arch.alphas(), "beta": arch.betas()}
        rates = {"alpha": config.arch_lr, "beta": config.beta_lr or config.arch_lr}
        self.arch_optimizers = {
            name: torch.optim.Adam(
                group,
                lr=rates[name],
                betas=config.arch_betas,
                weight_decay=config.arch_weight_decay,
            )
            for name, group in groups.items()
            if group
        }
        self.scaler = loss_scaler(
            self.w[0].device.type, config.precision, first=FIRST_SCALE, double_after=DOUBLE_AFTER
        )
        self.epoch = 0
        """Number of the epoch, for what changes with it: temperature and alpha's penalty."""

    def step(
        self, train: Batch, alpha: Batch, beta: Batch | None, lr: float, epoch: int = 0
    ) -> StepMetrics:
        """Learn from one batch of each stream: the inner loop of Algorithm 1.

        Args:
            train: Batch for w; in milenas for alpha and beta too.
            alpha: Batch for alpha, and for beta where ``beta`` is None.
            beta: Batch for beta alone.
            lr: Learning rate of w.
            epoch: Number of the epoch, from 0; in the first ones alpha and beta may rest.
        """
        self.epoch = epoch
        if not self.config.learns_arch(epoch):
            (val,), _ = self.gradients([LossTerm(alpha)], [])
            return StepMetrics(self._update_weights(train, lr), val, None)
        if self.config.method == "darts":
            val, val_beta = self._update_arch(train, alpha, beta, lr)
            return StepMetrics(self._update_weights(train, lr), val, val_beta)
        measured = self._update_weights(train, lr)
        return StepMetrics(measured, *self._update_arch(train, alpha, beta, lr))

    def _update_weights(self, train: Batch, lr: float) -> BatchMetrics:
        """W by the training loss (eq. 17, 20)."""
        self.w_optimizer.param_groups[0]["lr"] = lr
        (measured,), gradients = self.gradients([LossTerm(train)], self.w)
        self._apply_gradients([self.w_optimizer], gradients, clip_norm=self.config.gradient_clip)
        return measured

    def _update_arch(
        self, train: Batch, alpha: Batch, beta: Batch | None, lr: float
    ) -> tuple[BatchMetrics, BatchMetrics | None]:
        """Alternating: alpha, then beta on a batch of its own; joint: both on alpha's."""
        if beta is None:
            return self._update(tuple(self.arch_optimizers), train, alpha, lr), None
        return self._update(("alpha",), train, alpha, lr), self._update(("beta",), train, beta, lr)

    def _update(self, names: Sequence[str], train: Batch, val: Batch, lr: float) -> BatchMetrics:
        """The variables named by the method's objective (eq. 18-19, 21-23)."""
        optimizers = [self.arch_optimizers[name] for name in names]
        inputs = [parameter for one in optimizers for parameter in parameters_of(one)]
        mixed = self.config.method == "milenas"
        weight = self.config.val_weight if mixed else 1.0
        terms = [LossTerm(val, weight, penalties=tuple(names))]
        if mixed:
            terms.insert(0, LossTerm(train))
        if self.config.order == 1:
            measured, gradients = self.gradients(terms, inputs)
        else:
            measured, gradients = self.unrolled_gradients(terms, inputs, train, lr)
        self._apply_gradients(optimizers, gradients)
        self.context.check_identical(inputs, " and ".join(names))
        return measured[-1]

    def _apply_gradients(
        self,
        optimizers: Sequence[torch.optim.Optimizer],
        gradients: Sequence[Tensor],
        clip_norm: float = math.inf,
    ) -> None:
        parameters = [parameter for one in optimizers for parameter in parameters_of(one)]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        optimizer_step(*optimizers, scaler=self.scaler, clip_norm=clip_norm)

    def gradients(
        self, terms: Sequence[LossTerm], inputs: Sequence[Tensor]
    ) -> tuple[list[BatchMetrics], list[Tensor]]:
        """Gradient of the sum of ``terms`` with respect to ``inputs``, at the current w.

        Args:
            terms: Losses.
            inputs: Parameters of the supernet or the architecture; nothing else is
                differentiated, which saves time and memory.

        Returns:
            Metrics on the batch of each term, and one gradient per input; in float16 times the
            scale of `scaler`.
        """
        totals = [torch.zeros_like(parameter) for parameter in inputs]
        shown: list[Tensor] = []
        with self.requires_grad_only(inputs):
            for term in terms:
                seen = []
                draw = term.draw if term.draw is not None else self.new_draw()
                for x, y in micro_batches(term.batch, self.config.accumulate):
                    loss, acc = self.loss(x, y, draw)
                    weight = term.weight / self.config.accumulate
                    totals = _add(totals, self._grad(weight * loss, inputs))
                    seen.append(torch.stack([loss.detach(), acc.to(loss.dtype)]))
                shown.append(torch.stack(seen).mean(0))
                for name in term.penalties:
                    weight, penalty = self._penalty(name)
                    if weight:
                        own = self._grad(term.weight * weight * penalty(), inputs)
                        totals = _add(totals, own)
        *totals, means = self.context.average([*totals, torch.stack(shown)])  # means [terms, 2]
        return [BatchMetrics(*pair) for pair in means.tolist()], totals

    def _penalty(self, name: str) -> tuple[float, Callable[[], Tensor]]:
        """Weight, in this epoch, and value of the penalty of a variable."""
        if name == "beta":
            return self.config.regulariser, self.arch.regulariser
        return self.config.alpha_penalty_at(self.epoch), self.arch.alpha_penalty

    def unrolled_gradients(
        self, terms: Sequence[LossTerm], inputs: Sequence[Tensor], train: Batch, lr: float
    ) -> tuple[list[BatchMetrics], list[Tensor]]:
        """As `gradients`, at w' = w - lr * (its SGD step on ``train``), seen as a function.

        That function of the inputs is differentiated too, by a finite difference: DARTS' second
        order. As there, w' has momentum and weight decay but no gradient clipping.

        Args:
            terms: See `gradients`.
            inputs: See `gradients`.
            train: Batch of the step of w that is unrolled.
            lr: Learning rate of that step.

        Returns:
            See `gradients`.
        """
        saved = [parameter.detach().clone() for parameter in self.w]
        inner = LossTerm(train, draw=self.new_draw())  # the same function of the inputs each time
        _, slopes = self.gradients([inner], self.w)
        with torch.no_grad():
            for parameter, slope in zip(self.w, slopes, strict=True):
                velocity = self.w_optimizer.state[parameter].get("momentum_buffer")
                ahead = slope + self.config.weight_decay * parameter
                if velocity is not None:
                    ahead = ahead + self.config.momentum * velocity
                parameter.sub_(ahead, alpha=lr)
        measured, both = self.gradients(terms, [*inputs, *self.w])
        direct, vector = both[: len(inputs)], both[len(inputs) :]
        norm = float(torch.stack([part.square().sum() for part in vector]).sum().sqrt())
        radius = HVP_RADIUS / norm if norm > 0 else 0.0
        sides = []
        for sign in (1, -1):
            self._set_weights([w + sign * radius * v for w, v in zip(saved, vector, strict=True)])
            sides.append(self.gradients([inner], inputs)[1])
        self._set_weights(saved)
        if radius == 0:
            return measured, direct
        scale = lr / (2 * radius)
        return measured, [
            d - scale * (up - down) for d, up, down in zip(direct, *sides, strict=True)
        ]

    @torch.no_grad()
    def _set_weights(self, values: Sequence[Tensor]) -> None:
        for parameter, value in zip(self.w, values, strict=True):
            parameter.copy_(value)

    def new_draw(self) -> int:
        """Seed for what the relaxation draws for one batch, the same in all processes.

        It comes from torch's global generator, which checkpoints keep; 0, and nothing is taken
        from it, where the relaxation does not draw.
        """
        if not self.arch.relaxation.draws:
            return 0
        return int(torch.randint(2**62, ()))

    def mixed_weights(self, draw: int) -> tuple[MixedWeights, ...]:
        """Weights of operations and edges for one batch, by the seed of `new_draw`."""
        temperature = self.config.temperature_at(self.epoch)
        if not self.arch.relaxation.draws:
            return self.arch.mixed_weights(temperature)
        with own_generator(draw):
            return self.arch.mixed_weights(temperature)

    def loss(self, x: Tensor, y: Tensor, draw: int) -> tuple[Tensor, Tensor]:
        """Mean cross-entropy and accuracy, both scalars.

        Args:
            x: Images [B, C, H, W].
            y: Labels int64 [B].
            draw: See `new_draw`.
        """
        weights = self.mixed_weights(draw)
        with autocast(x.device.type, self.config.precision):
            logits = self.supernet(x, *weights)  # [B, classes]
            loss = nn.functional.cross_entropy(logits, y)
        return loss, (logits.detach().argmax(1) == y).double().mean()

    def _grad(self, loss: Tensor, inputs: Sequence[Tensor]) -> list[Tensor]:
        if not loss.requires_grad:  # none of the inputs takes part
            return [torch.zeros_like(parameter) for parameter in inputs]
        return list(
            torch.autograd.grad(
                self.scaler.scale(loss), inputs, allow_unused=True, materialize_grads=True
            )
        )

    @contextmanager
    def requires_grad_only(self, inputs: Sequence[Tensor]) -> Iterator[None]:
        """Context in which nothing but ``inputs`` requires a gradient."""
        everything = [*self.w, *self.arch.parameters()]
        for parameter in everything:
            parameter.requires_grad_(False)
        for chosen in inputs:
            chosen.requires_grad_(True)
        try:
            yield
        finally:
            for parameter in everything:
                parameter.requires_grad_(True)


def _add(totals: Sequence[Tensor], more: Sequence[Tensor]) -> list[Tensor]:
    return [total + part for total, part in zip(totals, more, strict=True)]
