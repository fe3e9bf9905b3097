"""Options of predictors that commands know without PyTorch; see `gnas.predictors`."""

from __future__ import annotations

from typing import Literal

Prior = Literal["cifar100"]
"""Accuracies that a prior was fitted to; see `gnas.predictors.default_predictor`."""
