"""Training found architectures from new weights, and testing the result.

`retrain` trains one network; `plan_retrain` and `run_retrain` train several sizes and seeds in a
run folder. `gnas.training.evaluation` says how good and how fast a network is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnas.lazy import on_first_use

if TYPE_CHECKING:
    from gnas.retrain.config import PRESETS as PRESETS
    from gnas.retrain.config import RetrainConfig as RetrainConfig
    from gnas.retrain.config import retrain_cifar10 as retrain_cifar10
    from gnas.retrain.config import retrain_digits as retrain_digits
    from gnas.retrain.config import retrain_imagenet as retrain_imagenet
    from gnas.retrain.loop import RetrainResult as RetrainResult
    from gnas.retrain.loop import retrain as retrain
    from gnas.retrain.plan import RetrainPlan as RetrainPlan
    from gnas.retrain.plan import plan_retrain as plan_retrain
    from gnas.retrain.run import run_retrain as run_retrain

_HOME = {
    "PRESETS": "gnas.retrain.config",
    "RetrainConfig": "gnas.retrain.config",
    "RetrainPlan": "gnas.retrain.plan",
    "RetrainResult": "gnas.retrain.loop",
    "plan_retrain": "gnas.retrain.plan",
    "retrain": "gnas.retrain.loop",
    "retrain_cifar10": "gnas.retrain.config",
    "retrain_digits": "gnas.retrain.config",
    "retrain_imagenet": "gnas.retrain.config",
    "run_retrain": "gnas.retrain.run",
}
__all__ = [
    "PRESETS",
    "RetrainConfig",
    "RetrainPlan",
    "RetrainResult",
    "plan_retrain",
    "retrain",
    "retrain_cifar10",
    "retrain_digits",
    "retrain_imagenet",
    "run_retrain",
]
__getattr__, __dir__ = on_first_use(__name__, _HOME)
