"""Losses of networks that predict scores: squared error, and ranking losses.

A predictor is used for its order, so a loss may ask for nothing else. Scores trained with such a
loss have no scale of their own; `affine_match` gives them that of the targets.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import softplus

from gnas.errors import ConfigError

Loss = Callable[[Tensor, Tensor], Tensor]
"""Predicted scores [..., N] and their targets [N] -> mean loss [...], one for each leading index.

Does not depend on the order of the N, and is finite (with finite gradients) for any N >= 1 and
any ties.
"""

MARGIN = 0.1
"""Margin of `hinge` between two scores, as in GATES' published settings."""


def squared(predicted: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error: [..., N], [N] -> [...].

    Args:
        predicted: Predicted scores [..., N].
        targets: Targets [N].
    """
    return (predicted - targets).square().mean(-1)


def logistic(predicted: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy of "i is better than j", over the pairs of different targets.

    The probability that i is better is the logistic function of the difference of the scores.

    Args:
        predicted: Predicted scores [..., N].
        targets: Targets [N].

    Shapes: [..., N], [N] -> [...]; 0 if no two targets differ. Memory grows with N squared.
    Source: Burges et al., Learning to Rank using Gradient Descent, ICML 2005; in predictors of
    architectures: Lu et al., PINAT, AAAI 2023.
    """
    return _over_pairs(softplus(-_differences(predicted)), targets)


def hinge(predicted: Tensor, targets: Tensor, *, margin: float = MARGIN) -> Tensor:
    """Hinge loss: shortfall of the better score from a ``margin`` above the other, over pairs.

    Args:
        predicted: Predicted scores [..., N].
        targets: Targets [N].
        margin: Required distance of the better score from the other.

    Shapes: [..., N], [N] -> [...]; 0 if no two targets differ. Memory grows with N squared.
    Source: Ning et al., GATES, ECCV 2020.
    """
    return _over_pairs((margin - _differences(predicted)).relu(), targets)


def list_mle(predicted: Tensor, targets: Tensor) -> Tensor:
    """Negative log likelihood, per score, of the whole order: best first, then the next, ...

    Each is drawn by softmax of the scores among those that are not better. Deliberate difference
    from the paper: equal targets are drawn among each other (Breslow's rule), so that their
    order in the list does not matter.

    Args:
        predicted: Predicted scores [..., N].
        targets: Targets [N].

    Shapes: [..., N], [N] -> [...].
    Source: Xia et al., Listwise Approach to Learning to Rank (ListMLE), ICML 2008.
    """
    ascending, order = targets.sort()  # [N] each
    left = predicted[..., order].logcumsumexp(-1)  # [..., N]
    last = torch.searchsorted(ascending, ascending, right=True) - 1  # of those with its target
    return (left[..., last] - predicted[..., order]).mean(-1)


LOSSES: dict[str, Loss] = {
    "squared": squared,
    "bce": logistic,
    "hinge": hinge,
    "listwise": list_mle,
}
"""By the name that predictors take."""


def get_loss(name: str) -> Loss:
    """A loss by its key in `LOSSES`; ConfigError if it is none."""
    if not isinstance(name, str) or name not in LOSSES:
        raise ConfigError(f"unknown loss {name!r}; choose from {sorted(LOSSES)}")
    return LOSSES[name]


def affine_match(predicted: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The line that gives scores the mean and deviation of their targets, and keeps their order.

    Args:
        predicted: Predicted scores [..., N].
        targets: Targets [N].

    Shapes: [..., N], [N] -> slope > 0 [...] and intercept [...]; the slope is 1 where all scores
    are equal.
    """
    spread = predicted.std(-1, correction=0)  # [...]
    tiny = torch.finfo(predicted.dtype).eps * predicted.abs().amax(-1)
    slope = torch.where(spread > tiny, targets.std(correction=0) / spread, 1.0)
    return slope, targets.mean() - slope * predicted.mean(-1)


def _differences(predicted: Tensor) -> Tensor:
    """Score i minus score j: [..., N] -> [..., N, N]."""
    return predicted[..., :, None] - predicted[..., None, :]


def _over_pairs(values: Tensor, targets: Tensor) -> Tensor:
    """Mean of values [..., N, N] over the (i, j) whose target i is above target j."""
    better = (targets[:, None] > targets[None, :]).to(values.dtype)
    return (values * better).sum((-2, -1)) / better.sum().clamp(min=1)
