"""One step of a search: losses and gradients, first and second order, darts and milenas.

Every gradient is a mean over the pieces of a batch and over all processes, so the parts combine
freely: what is descended on (`Term`), at which weights (`gradients`, `gradients_ahead`), in which
order (`Updater.step`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gnas.data.batches import Batch
from gnas.search.toponas.arch import ArchParameters
from gnas.search.toponas.config import ToponasConfig
from gnas.spaces.supernets import MixedWeights
from gnas.training.distributed import SINGLE_PROCESS, DistributedContext

HVP_RADIUS = 0.01
"""Length of the finite-difference step in w (DARTS, section 2.3, footnote 2)."""
FIRST_SCALE, DOUBLE_AFTER = 2.0**13, 500
"""float16: first factor of the loss, and steps without overflow after which it doubles."""


POWER_ROUNDS, POWER_TOLERANCE = 30, 1e-3
"""Most products of a power iteration, and the relative change of the value at which it ends."""


class Term(NamedTuple):
    """A weighted loss on one batch, with the penalties of some variables."""

    batch: Batch
    weight: float = 1.0
    penalties: tuple[str, ...] = ()
    """Variables, "alpha" or "beta", whose penalty is added to the loss."""
    draw: int | None = None
    """Seed of what the relaxation draws, where that must be the same again; None draws anew."""


@dataclass(frozen=True)
class Measured:
    """What one batch showed before anything was learned from it; the same in all processes."""

    loss: float
    """Mean cross-entropy in nats, without the regulariser."""
    acc: float
    """Share of the images classified correctly."""


@dataclass(frozen=True)
class StepResult:
    """What one step measured on the batch of each stream."""

    train: Measured
    val: Measured
    """On alpha's batch."""
    val_beta: Measured | None
    """On beta's batch, if it has its own."""

    @property
    def is_finite(self) -> bool:
        """Whether no loss is NaN or infinite."""
        found = (self.train, self.val, self.val_beta)
        return all(math.isfinite(measured.loss) for measured in found if measured)


class Updater:
    """Learns w, alpha and beta from one batch of each stream at a time.

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
        self.loss_scale = FIRST_SCALE if config.precision == "float16" else 1.0
        self.good_steps = 0
        """float16: gradients in a row without overflow."""
        self.epoch = 0
        """The epoch that runs, for what changes with it: temperature and alpha's penalty."""

    def step(
        self, train: Batch, alpha: Batch, beta: Batch | None, lr: float, epoch: int = 0
    ) -> StepResult:
        """Learns from one batch of each stream: Algorithm 1's inner loop.

        Args:
            train: For w; in milenas for alpha and beta too.
            alpha: For alpha, and for beta where ``beta`` is None.
            beta: For beta alone.
            lr: Learning rate of w.
            epoch: Number of the epoch, from 0; in the first ones alpha and beta may rest.
        """
        self.epoch = epoch
        if not self.config.learns_arch(epoch):
            (val,), _ = self.gradients([Term(alpha)], [])
            return StepResult(self._learn_w(train, lr), val, None)
        if self.config.method == "darts":
            val, val_beta = self._learn_arch(train, alpha, beta, lr)
            return StepResult(self._learn_w(train, lr), val, val_beta)
        measured = self._learn_w(train, lr)
        return StepResult(measured, *self._learn_arch(train, alpha, beta, lr))

    def _learn_w(self, train: Batch, lr: float) -> Measured:
        self.w_optimizer.param_groups[0]["lr"] = lr
        (measured,), gradients = self.gradients([Term(train)], self.w)
        self._descend(self.w_optimizer, gradients, clip=self.config.gradient_clip)
        return measured

    def _learn_arch(
        self, train: Batch, alpha: Batch, beta: Batch | None, lr: float
    ) -> tuple[Measured, Measured | None]:
        """Alternating: alpha, then beta on a batch of its own; joint: both on alpha's."""
        if beta is None:
            return self._learn(tuple(self.arch_optimizers), train, alpha, lr), None
        return self._learn(("alpha",), train, alpha, lr), self._learn(("beta",), train, beta, lr)

    def _learn(self, names: Sequence[str], train: Batch, val: Batch, lr: float) -> Measured:
        """Descends with the named optimisers on the method's objective (eq. 20-23)."""
        optimizers = [self.arch_optimizers[name] for name in names]
        inputs = [p for optimizer in optimizers for p in optimizer.param_groups[0]["params"]]
        mixed = self.config.method == "milenas"
        weight = self.config.val_weight if mixed else 1.0
        terms = [Term(val, weight, penalties=tuple(names))]
        if mixed:
            terms.insert(0, Term(train))
        if self.config.order == 1:
            measured, gradients = self.gradients(terms, inputs)
        else:
            measured, gradients = self.gradients_ahead(terms, inputs, train, lr)
        for optimizer in optimizers:
            count = len(optimizer.param_groups[0]["params"])
            self._descend(optimizer, gradients[:count])
            gradients = gradients[count:]
        self.context.check_identical(inputs, " and ".join(names))
        return measured[-1]

    def _descend(
        self, optimizer: torch.optim.Optimizer, gradients: Sequence[Tensor], clip: float = math.inf
    ) -> None:
        if not self._no_overflow(gradients):
            return
        parameters = optimizer.param_groups[0]["params"]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        if math.isfinite(clip):
            nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def gradients(
        self, terms: Sequence[Term], inputs: Sequence[Tensor]
    ) -> tuple[list[Measured], list[Tensor]]:
        """Gradient of the sum of ``terms`` with respect to ``inputs``, at today's w.

        Args:
            terms: Losses.
            inputs: Parameters of the supernet or the architecture; nothing else is
                differentiated, which saves time and memory.

        Returns:
            What each term's batch showed, and one gradient per input.
        """
        totals = [torch.zeros_like(parameter) for parameter in inputs]
        shown: list[Tensor] = []
        with self._only(inputs):
            for term in terms:
                seen = []
                draw = term.draw if term.draw is not None else self.new_draw()
                for x, y in self._pieces(term.batch):
                    loss, acc = self._loss(x, y, draw)
                    weight = term.weight / self.config.accumulate
                    totals = _add(totals, self._grad(weight * loss, inputs))
                    seen.append(torch.stack([loss.detach(), acc.to(loss.dtype)]))
                shown.append(torch.stack(seen).mean(0))
                for name in term.penalties:
                    weight, penalty = self._penalty(name)
                    if weight:
                        own = self._grad(term.weight * weight * penalty(), inputs)
                        totals = _add(totals, own)
        *totals, means = self.context.average([*totals, torch.stack(shown)])
        if self.loss_scale != 1:
            totals = [total / self.loss_scale for total in totals]
        return [Measured(*pair) for pair in means.tolist()], totals

    def _penalty(self, name: str) -> tuple[float, Callable[[], Tensor]]:
        """Weight, in this epoch, and value of the penalty of a variable."""
        if name == "beta":
            return self.config.regulariser, self.arch.regulariser
        return self.config.alpha_penalty_at(self.epoch), self.arch.alpha_penalty

    def gradients_ahead(
        self, terms: Sequence[Term], inputs: Sequence[Tensor], train: Batch, lr: float
    ) -> tuple[list[Measured], list[Tensor]]:
        """As `gradients`, at w' = w - lr * (its SGD step on ``train``), seen as a function.

        That function of the inputs is differentiated too, by a finite difference: DARTS' second
        order. As there, w' has momentum and weight decay but no gradient clipping.
        """
        saved = [parameter.detach().clone() for parameter in self.w]
        inner = Term(train, draw=self.new_draw())  # the same function of the inputs each time
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
            self._place([w + sign * radius * v for w, v in zip(saved, vector, strict=True)])
            sides.append(self.gradients([inner], inputs)[1])
        self._place(saved)
        if radius == 0:
            return measured, direct
        scale = lr / (2 * radius)
        return measured, [
            d - scale * (up - down) for d, up, down in zip(direct, *sides, strict=True)
        ]

    def alpha_eigenvalue(self, batch: Batch, *, rounds: int = POWER_ROUNDS) -> float:
        """Largest eigenvalue of the Hessian of the loss in alpha, at today's w and beta.

        By power iteration with exact Hessian-vector products. What first converges is the
        eigenvalue of the largest magnitude; where that is negative, a second iteration on the
        Hessian shifted by it finds the largest one.

        Args:
            batch: Images of this process; the products of all its pieces and of all processes
                are averaged. With more than one piece every product computes the slopes anew,
                so that no more than one piece is held.
            rounds: Most products of one iteration.

        Source: Zela et al., Understanding and Robustifying Differentiable Architecture Search,
        ICLR 2020, section 4.
        """
        inputs = self.arch.alphas()
        like = torch.cat([parameter.detach().flatten() for parameter in inputs])
        pieces, draw = [*self._pieces(batch)], self.new_draw()
        with self._only(inputs), twice_differentiable(self.supernet):

            def slope(x: Tensor, y: Tensor) -> Tensor:
                return _flat_grad(self._loss(x, y, draw)[0], inputs, create_graph=True)

            held = slope(*pieces[0]) if len(pieces) == 1 else None

            def product(vector: Tensor) -> Tensor:
                total = torch.zeros_like(vector)
                for piece in pieces:
                    own = slope(*piece) if held is None else held
                    total += _flat_grad(own, inputs, vector, retain_graph=held is not None)
                return self.context.average([total / len(pieces)])[0]

            dominant = dominant_eigenvalue(product, like, rounds)
            if dominant >= 0:
                return dominant
            return dominant + dominant_eigenvalue(
                lambda v: product(v) - dominant * v, like, rounds
            )

    @torch.no_grad()
    def _place(self, values: Sequence[Tensor]) -> None:
        for parameter, value in zip(self.w, values, strict=True):
            parameter.copy_(value)

    def new_draw(self) -> int:
        """A seed for what the relaxation draws for one batch, the same in all processes.

        It comes from torch's global generator, which checkpoints keep; 0, and nothing is taken
        from it, where the relaxation does not draw.
        """
        if not self.arch.relaxation.draws:
            return 0
        return int(torch.randint(2**62, ()))

    def mixed_weights(self, draw: int) -> tuple[MixedWeights, ...]:
        """The weights of operations and edges for one batch."""
        temperature = self.config.temperature_at(self.epoch)
        if not self.arch.relaxation.draws:
            return self.arch.mixed_weights(temperature)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(draw)  # torch.manual_seed reseeds GPUs too
            return self.arch.mixed_weights(temperature)

    def _loss(self, x: Tensor, y: Tensor, draw: int) -> tuple[Tensor, Tensor]:
        """Mean cross-entropy and accuracy, both scalars."""
        weights = self.mixed_weights(draw)
        precision = self.config.precision
        with torch.autocast(
            x.device.type,
            dtype=torch.float16 if precision == "float16" else torch.bfloat16,
            enabled=precision != "float32",
        ):
            logits = self.supernet(x, *weights)
            loss = nn.functional.cross_entropy(logits, y)
        return loss, (logits.detach().argmax(1) == y).double().mean()

    def _pieces(self, batch: Batch) -> Iterator[Batch]:
        size = len(batch[1]) // self.config.accumulate
        yield from zip(torch.split(batch[0], size), torch.split(batch[1], size), strict=True)

    def _grad(self, loss: Tensor, inputs: Sequence[Tensor]) -> list[Tensor]:
        if not loss.requires_grad:  # none of the inputs takes part
            return [torch.zeros_like(parameter) for parameter in inputs]
        return list(
            torch.autograd.grad(
                loss * self.loss_scale, inputs, allow_unused=True, materialize_grads=True
            )
        )

    @contextmanager
    def _only(self, inputs: Sequence[Tensor]) -> Iterator[None]:
        """Nothing but ``inputs`` requires a gradient inside."""
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

    def _no_overflow(self, gradients: Sequence[Tensor]) -> bool:
        """Whether to take the step; in float16 adapts the loss scale."""
        if self.config.precision != "float16":
            return True
        if not all(bool(gradient.isfinite().all()) for gradient in gradients):
            self.loss_scale, self.good_steps = self.loss_scale / 2, 0
            return False
        self.good_steps += 1
        if self.good_steps % DOUBLE_AFTER == 0:
            self.loss_scale *= 2
        return True


def _add(totals: Sequence[Tensor], more: Sequence[Tensor]) -> list[Tensor]:
    return [total + part for total, part in zip(totals, more, strict=True)]


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
