"""Learning rates over a training, as factors of the first one; pure functions of the step.

``step`` and ``steps`` may count steps or epochs.
"""

from __future__ import annotations

import math
from typing import Literal

Decay = Literal["cosine", "linear"]


def decay(kind: Decay, step: int, steps: int) -> float:
    """Factor that falls from 1 at step 0 to 0 at step ``steps``.

    Args:
        kind: Half a cosine wave, or a straight line.
        step: Number of the step, from 0.
        steps: Steps in all.

    Returns:
        A number in [0, 1].

    Source: the cosine is Loshchilov and Hutter, SGDR, ICLR 2017, eq. 5, without restarts.

    Examples:
        >>> [decay("linear", step, 4) for step in range(4)]
        [1.0, 0.75, 0.5, 0.25]
    """
    if kind == "linear":
        return 1 - step / steps
    return 0.5 * (1 + math.cos(math.pi * step / steps))


def warmup(step: int, steps: int) -> float:
    """Factor that rises linearly over the first ``steps`` steps, and is 1 afterwards.

    Args:
        step: Number of the step, from 0.
        steps: Steps of the warm-up; 0 for none.

    Examples:
        >>> [warmup(step, 2) for step in range(3)]
        [0.5, 1.0, 1.0]
    """
    return min(1.0, (step + 1) / steps) if steps else 1.0
