"""NASGEM's predictor: a two-layer perceptron on an embedding or on the raw adjacency matrix."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from gnas.config import check_count
from gnas.predictors.base import ColumnScale, Predictor
from gnas.predictors.features import FeatureMatrix, Features
from gnas.predictors.losses import Loss, affine_match, get_loss, squared
from gnas.predictors.targets import Scores
from gnas.training.batching import shuffled_batches
from gnas.training.devices import own_settings

HIDDEN = 128
"""Choice: width of the hidden layer; the paper gives none."""
EPOCHS = 100
MAX_MEMBERS, MAX_EPOCHS = 1000, 100_000
"""Bounds, so that a typing error cannot request all memory or time."""
LEARNING_RATE = 1e-2
WEIGHT_DECAY = 1.0
BATCH_SIZE = 128
"""Choices, tuned once on the raw adjacency matrix (not on the embeddings) and kept for both."""


class MLP(Predictor):
    """A perceptron with one hidden layer, or several as a deep ensemble.

    Deliberate differences from the paper: targets are rank-normal instead of raw scores, and the
    optimiser (AdamW, one-cycle learning rate) is a choice, the paper naming none.

    Args:
        features: An embedding (`gnas.predictors.Embedding`) or `OneHot`; columns are standardised.
        members: Perceptrons with independent starting weights whose mean is the prediction; how
            far they lie apart is its uncertainty, where there are several. That is far less than
            their errors: see `gnas.predictors.Calibrated`.
        loss: Training loss, a key of `gnas.predictors.losses.LOSSES`. The scores of
            a ranking loss are shifted and scaled to the mean and deviation of the targets.
        epochs: Passes over the training rows.
        random_state: See `Predictor`.

    Raises:
        ConfigError: no members or epochs, or no such loss.

    Source: Cheng et al., NASGEM, AAAI 2021, section 3.3 and figure 4. Ensembles: Lakshminarayanan
    et al., Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles, NeurIPS
    2017; without its adversarial examples and its head for the noise.

    Examples:
        >>> import numpy as np
        >>> from gnas.spaces import NASBench101
        >>> cells = NASBench101().sample_batch(40, np.random.default_rng(0))
        >>> edges = cells.adjacency.sum((1, 2)).double().numpy()
        >>> from gnas.predictors import OneHot
        >>> model = MLP(OneHot(7, 5), members=3).fit(cells[:30], edges[:30])
        >>> mean, std = model.predict(cells[30:], return_std=True)
        >>> mean.shape, bool((std > 0).all())
        ((10,), True)
    """

    def __init__(
        self,
        features: Features,
        *,
        members: int = 1,
        loss: str = "squared",
        epochs: int = EPOCHS,
        random_state: int = 0,
    ) -> None:
        check_count(members, "members", 1, MAX_MEMBERS)
        check_count(epochs, "epochs", 1, MAX_EPOCHS)
        super().__init__(features, random_state=random_state)
        self.name = "MLP" if members == 1 else f"MLP x {members}"
        self.name += "" if loss == "squared" else f", {loss}"
        self.members = members
        self.loss = loss
        self._loss = get_loss(loss)
        self.epochs = epochs
        self.has_std = members > 1
        self._columns: ColumnScale | None = None
        self._weights: list[Tensor] = []

    @own_settings()
    def _fit(self, rows: FeatureMatrix, targets: Scores) -> None:
        generator = torch.Generator().manual_seed(self.random_state)
        self._columns = ColumnScale(rows)
        x = torch.from_numpy(self._columns(rows)).float()  # [N, F]
        y = torch.from_numpy(targets).float()  # [N]
        flat = _start(self.members, x.size(1), generator)
        gradient = torch.empty_like(flat)
        weights, gradients = (_parts(one, self.members, x.size(1)) for one in (flat, gradient))
        batch_size = min(BATCH_SIZE, len(x))
        num_steps = self.epochs * (len(x) // batch_size)
        moments = torch.zeros_like(flat), torch.zeros_like(flat)
        batches = shuffled_batches(len(x), batch_size, generator, epochs=self.epochs)
        for step, part in enumerate(batches):  # [B]
            _set_gradients(weights, gradients, x[part], y[part], self._loss)
            _update(flat, gradient, moments, step, num_steps)
        self._weights = weights
        if self._loss is not squared:
            slope, intercept = affine_match(_forward(self._weights, x), y)  # [members]
            self._weights[2] *= slope[:, None, None]
            self._weights[3].mul_(slope[:, None, None]).add_(intercept[:, None, None])

    @own_settings()
    def _predict(self, rows: FeatureMatrix) -> Scores:
        return self._outputs(rows).mean(0).double().numpy()

    @own_settings()
    def _predict_std(self, rows: FeatureMatrix) -> tuple[Scores, Scores]:
        if not self.has_std:
            return super()._predict_std(rows)
        outputs = self._outputs(rows)  # [members, N]
        deviation = outputs.double().std(0, correction=0)
        return outputs.mean(0).double().numpy(), deviation.numpy()

    def _outputs(self, rows: FeatureMatrix) -> Tensor:
        """Every member's prediction, [members, N]."""
        assert self._columns is not None
        parts = [
            _forward(self._weights, torch.from_numpy(self._columns(part)).float())
            for part in np.array_split(rows, math.ceil(len(rows) / 50_000))
        ]
        return torch.cat(parts, 1)


def _start(members: int, width: int, generator: torch.Generator) -> Tensor:
    """Weights and biases of ``members`` perceptrons, uniform as in `torch.nn.Linear`.

    One vector, which `_parts` cuts: an optimiser's time goes with the number of its tensors.
    """
    drawn = []
    for count, fan_in in ((width * HIDDEN, width), (HIDDEN, width), (HIDDEN, HIDDEN), (1, HIDDEN)):
        values = torch.rand(members * count, generator=generator) * 2 - 1
        drawn.append(values / math.sqrt(fan_in))
    return torch.cat(drawn)


def _parts(flat: Tensor, members: int, width: int) -> list[Tensor]:
    """Views of a vector: weights [members, width, H], biases [members, 1, H], and so on."""
    shapes = (width, HIDDEN), (1, HIDDEN), (HIDDEN, 1), (1, 1)
    parts = torch.split(flat, [members * rows * columns for rows, columns in shapes])
    return [part.view(members, *shape) for part, shape in zip(parts, shapes, strict=True)]


def _forward(weights: list[Tensor], x: Tensor) -> Tensor:
    """Outputs [members, N] of rows [N, F]."""
    _, _, second, second_bias = weights
    return (_hidden(weights, x) @ second + second_bias).squeeze(2)


def _hidden(weights: list[Tensor], x: Tensor) -> Tensor:
    """The hidden layer [members, N, H] of rows [N, F]."""
    return (x @ weights[0]).add_(weights[1]).relu_()


def _set_gradients(
    weights: list[Tensor], gradients: list[Tensor], x: Tensor, y: Tensor, loss: Loss
) -> None:
    """Write the gradient of the summed losses by every weight into ``gradients``.

    It is written out, the loss's own part aside: of a network this small automatic
    differentiation is most of the time.
    """
    _, _, second, second_bias = weights
    hidden = _hidden(weights, x)  # [members, N, H]
    outputs = (hidden @ second).add_(second_bias)  # [members, N, 1]
    by_outputs = _by_outputs(loss, outputs.squeeze(2), y).unsqueeze(2)
    by_hidden = (by_outputs @ second.mT).mul_(hidden.sign())
    torch.bmm(x.t().expand(len(hidden), -1, -1), by_hidden, out=gradients[0])
    torch.sum(by_hidden, 1, keepdim=True, out=gradients[1])
    torch.bmm(hidden.mT, by_outputs, out=gradients[2])
    torch.sum(by_outputs, 1, keepdim=True, out=gradients[3])


def _update(
    flat: Tensor, gradient: Tensor, moments: tuple[Tensor, Tensor], step: int, num_steps: int
) -> None:
    """A step of `torch.optim.AdamW` at the rate and momentum of torch's ``OneCycleLR``.

    To the bit. What torch does around it takes longer than a step of a network this small.
    """
    top = 0.3 * num_steps - 1  # the step of the highest rate
    low, up = (LEARNING_RATE / 25, 0.95), (LEARNING_RATE, 0.85)
    if step <= top:
        start, end, share = low, up, step / top
    else:
        last = (LEARNING_RATE / 25 / 1e4, 0.95)
        start, end, share = up, last, (step - top) / (num_steps - 1 - top)
    cosine = math.cos(math.pi * share) + 1
    rate, beta = (b + (a - b) / 2 * cosine for a, b in zip(start, end, strict=True))
    mean, square = moments
    flat.mul_(1 - rate * WEIGHT_DECAY)
    mean.lerp_(gradient, 1 - beta)
    square.mul_(0.999).addcmul_(gradient, gradient, value=1 - 0.999)
    deviation = (square.sqrt() / (1 - 0.999 ** (step + 1)) ** 0.5).add_(1e-8)
    flat.addcdiv_(mean, deviation, value=-rate / (1 - beta ** (step + 1)))


def _by_outputs(loss: Loss, outputs: Tensor, y: Tensor) -> Tensor:
    """Gradient of the summed losses by outputs [members, N], of their shape."""
    if loss is squared:
        return (outputs - y).mul_(2).mul_(1 / len(y))
    outputs.requires_grad_()
    (found,) = torch.autograd.grad(loss(outputs, y).sum(), outputs)
    return found
