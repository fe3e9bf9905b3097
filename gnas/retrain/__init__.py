"""Training found architectures from new weights, and measuring what came out.

`retrain` trains one network; `plan_retrain` and `run_retrain` train several sizes and seeds in a
run folder; `measure` and `latency` say how good and how fast a network is.
"""

from gnas.retrain.config import (
    PRESETS,
    RetrainConfig,
    retrain_cifar10,
    retrain_digits,
    retrain_imagenet,
)
from gnas.retrain.loop import RetrainResult, retrain
from gnas.retrain.measure import Measures, latency, measure
from gnas.retrain.plan import RetrainPlan, plan_retrain
from gnas.retrain.run import run_retrain

__all__ = [
    "PRESETS",
    "Measures",
    "RetrainConfig",
    "RetrainPlan",
    "RetrainResult",
    "latency",
    "measure",
    "plan_retrain",
    "retrain",
    "retrain_cifar10",
    "retrain_digits",
    "retrain_imagenet",
    "run_retrain",
]
