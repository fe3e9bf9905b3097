"""Recipe of the short training of a candidate."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from gnas.config import (
    BelowOne,
    Count,
    CountOrZero,
    NotNegative,
    Positive,
    Rate,
    configuration,
)
from gnas.training.schedules import decay, warmup


@configuration
class ProxyRecipe:
    """Short training of a candidate on one core, the same for all candidates."""

    epochs: Count = 3
    """Passes over the training images."""
    batch_size: Annotated[int, Field(ge=2, le=10_000_000)] = 64
    """Images a step."""
    lr: Rate = 0.1
    """Peak learning rate of SGD with Nesterov momentum."""
    warmup: BelowOne = 0.2
    """Share of the steps over which the rate rises linearly from 0; then a cosine to 0."""
    momentum: BelowOne = 0.9
    """Momentum of SGD."""
    weight_decay: NotNegative = 5e-4
    """L2 penalty on all weights."""
    label_smoothing: BelowOne = 0.0
    """Probability mass spread over all classes in the training loss."""
    gradient_clip: Positive = 5.0
    """Largest norm of the gradient of all weights together."""
    flip: bool = False
    """Mirror every training image with probability 1/2; wrong for digits and other signs."""
    recalibrate: CountOrZero = 8
    """Batches after training from which batch-norm statistics are estimated anew; 0 keeps the
    running ones, which lag behind in a short training."""

    def lr_factor(self, step: int, steps: int) -> float:
        """Share of the peak learning rate at one of ``steps`` steps, from 0.

        Examples:
            >>> [ProxyRecipe(warmup=0.5).lr_factor(step, 4) for step in range(4)]
            [0.5, 1.0, 1.0, 0.5]
        """
        warm = max(1, round(self.warmup * steps))
        if step < warm:
            return warmup(step, warm)
        return decay("cosine", step - warm, max(1, steps - warm))
