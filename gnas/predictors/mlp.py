"""NASGEM's predictor: a two-layer perceptron on an embedding or on the raw adjacency matrix."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from gnas.predictors.base import ColumnScale, Predictor
from gnas.predictors.features import Features, Rows
from gnas.predictors.targets import Scores

HIDDEN = 128
"""Choice: width of the hidden layer; the paper gives none."""
EPOCHS = 100
LEARNING_RATE = 1e-2
WEIGHT_DECAY = 1.0
BATCH_SIZE = 128
"""Choices, tuned once on the raw adjacency matrix (not on the embeddings) and kept for both."""


class MLP(Predictor):
    """A perceptron with one hidden layer, trained with squared error.

    Deliberate differences from the paper: targets are rank-normal instead of raw scores, and the
    optimiser (AdamW, one-cycle learning rate) is a choice, the paper naming none.

    Args:
        features: An embedding (`gnas.predictors.Embedding`) or `OneHot`; columns are standardised.
        members: Perceptrons with independent starting weights whose mean is the prediction.
        epochs: Passes over the training rows.
        seed: See `Predictor`.

    Source: Cheng et al., NASGEM, AAAI 2021, section 3.4 and figure 4.
    """

    def __init__(
        self, features: Features, *, members: int = 1, epochs: int = EPOCHS, seed: int = 0
    ) -> None:
        super().__init__(features, seed=seed)
        self.name = "MLP" if members == 1 else f"MLP x {members}"
        self.members = members
        self.epochs = epochs
        self._columns: ColumnScale | None = None
        self._weights: list[Tensor] = []

    def _fit(self, rows: Rows, targets: Scores) -> None:
        generator = torch.Generator().manual_seed(self.seed)
        self._columns = ColumnScale(rows)
        x = torch.from_numpy(self._columns(rows)).float()
        y = torch.from_numpy(targets).float()
        weights = _start(self.members, x.size(1), generator)
        batch_size = min(BATCH_SIZE, len(x))
        num_steps = self.epochs * (len(x) // batch_size)
        optimizer = torch.optim.AdamW(weights, LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, num_steps)
        for _ in range(self.epochs):
            order = torch.randperm(len(x), generator=generator)
            for start in range(0, len(x) - batch_size + 1, batch_size):
                part = order[start : start + batch_size]
                loss = (_forward(weights, x[part]) - y[part]).square().mean(1).sum()
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
                schedule.step()
        self._weights = [weight.detach() for weight in weights]

    def _predict(self, rows: Rows) -> Scores:
        assert self._columns is not None
        parts = [
            _forward(self._weights, torch.from_numpy(self._columns(part)).float()).mean(0)
            for part in np.array_split(rows, math.ceil(len(rows) / 50_000))
        ]
        return torch.cat(parts).double().numpy()


def _start(members: int, width: int, generator: torch.Generator) -> list[Tensor]:
    """Weights and biases of ``members`` perceptrons, uniform as in `torch.nn.Linear`."""

    def uniform(*shape: int, fan_in: int) -> Tensor:
        values = torch.rand(*shape, generator=generator) * 2 - 1
        return (values / math.sqrt(fan_in)).requires_grad_()

    return [
        uniform(members, width, HIDDEN, fan_in=width),
        uniform(members, 1, HIDDEN, fan_in=width),
        uniform(members, HIDDEN, 1, fan_in=HIDDEN),
        uniform(members, 1, 1, fan_in=HIDDEN),
    ]


def _forward(weights: list[Tensor], x: Tensor) -> Tensor:
    """Outputs [members, N] of rows [N, F]."""
    first, first_bias, second, second_bias = weights
    return (torch.relu(x @ first + first_bias) @ second + second_bias).squeeze(2)
